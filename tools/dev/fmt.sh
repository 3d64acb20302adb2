# ./dev fmt, and what is formatted: all C sources. Formatters disagree between versions, so it is always version 14.
# shellcheck shell=bash

c_sources() { find src include tests bench -name '*.[ch]' -print0; }

# Prints the command, or nothing where version 14 cannot be had (Debian 13 does not have it).
clang_format_14() {
    if command -v clang-format-14; then return; fi
    if clang-format --version 2>/dev/null | grep -q 'version 14\.'; then command -v clang-format; fi
}

need_clang_format() {
    [ -z "$(clang_format_14)" ] || return 0
    command -v apt-cache >/dev/null || return 0
    apt_knows clang-format-14 || return 0
    say "missing packages:"
    printf '         %-18s%s\n' clang-format-14 "formats C" >&2
    install_packages clang-format-14
}

dev_fmt() {
    need_clang_format
    local tool
    tool=$(clang_format_14)
    [ -n "$tool" ] || die "clang-format 14 is not available here; another version would format differently"
    c_sources | xargs -0 -r "$tool" -i
}
