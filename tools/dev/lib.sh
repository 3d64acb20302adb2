# What every word of ./dev shares: messages, packages, build trees, counting. Sourced by ./dev in the repository's root.
# shellcheck shell=bash

say() { printf 'dev: %s\n' "$*" >&2; }

# die MESSAGE [STATUS]
die() {
    say "$1"
    exit "${2:-1}"
}

n_cores() { nproc 2>/dev/null || echo 2; }

# ---- packages -------------------------------------------------------------------------------------------------------
#
# One row each: set | how to see that it is there | Debian/Ubuntu package | what it is for.
# `command X`: X is in PATH, however it came there. `package`: dpkg knows the package as installed. `debian X`: as `command X`,
# but Ubuntu, which has it as a snap only, does without.
# The names are the same on Debian 12 and 13 and Ubuntu 22.04 and 24.04.
PACKAGES='
build | command gcc        | gcc              | compiles C
build | package            | libc6-dev        | headers of the C library
build | command cmake      | cmake            | describes the build
build | command ninja      | ninja-build      | runs the build
build | command pkg-config | pkg-config       | finds libraries
build | package            | libdnnl-dev      | oneDNN: fast matrix products and convolutions
build | package            | libjson-c-dev    | JSON
build | package            | libpng-dev       | PNG
build | package            | libjpeg-dev      | JPEG
build | package            | libwebp-dev      | WebP
build | package            | libutf8proc-dev  | Unicode for the tokenizer
build | package            | zlib1g-dev       | compressed data: the merge table, PNG
build | package            | libcurl4-openssl-dev | HTTP client
build | package            | libmicrohttpd-dev | HTTP server
build | package            | libssl-dev       | signatures of webhooks
test  | package            | libcmocka-dev    | unit tests
test  | command python3    | python3          | reads test results; an independent judge of JSON and PNG
test  | command openssl    | openssl          | certificates of the fake model sources
test  | command curl       | curl             | an independent client and signer, which judges the fakes
test  | debian chromium    | chromium         | shows the playground
test  | package            | python3-venv     | a place of its own for the runpod client, a judge of what is served
check | command python3    | python3          | runs the checks in tools/lint
check | command cppcheck   | cppcheck         | static analysis
check | command clang      | clang            | a second compiler, whose flags clang-tidy reads
check | command clang-tidy | clang-tidy       | static analysis
check | command shellcheck | shellcheck       | checks the shell scripts
check | package            | libcmocka-dev    | the tests are checked too
check | package            | libomp-dev       | OpenMP headers for clang
bench | command python3    | python3          | drives the measurements
peer  | package            | python3-venv     | a place of its own for torch and diffusers
fuzz  | command clang      | clang            | the compiler with libFuzzer
fuzz  | package            | libomp-dev       | OpenMP for clang
'

is_installed() { # package
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

is_ubuntu() { grep -q '^ID=ubuntu' /etc/os-release 2>/dev/null; }

is_there() { # probe package
    case $1 in
    "command "*) command -v "${1#command }" >/dev/null ;;
    "debian "*) command -v "${1#debian }" >/dev/null || is_ubuntu ;;
    *) is_installed "$2" ;;
    esac
}

# need_packages SET...: installs what is missing from the sets.
need_packages() {
    local missing=() set probe package why
    while IFS='|' read -r set probe package why; do
        read -r set <<<"$set"
        read -r probe <<<"$probe"
        read -r package <<<"$package"
        [[ -n $package && " $* " == *" $set "* ]] || continue
        is_there "$probe" "$package" && continue
        [[ " ${missing[*]:-} " == *" $package "* ]] && continue
        [ ${#missing[@]} -gt 0 ] || say "missing packages:"
        printf '         %-18s%s\n' "$package" "$why" >&2
        missing+=("$package")
    done <<<"$PACKAGES"
    [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
}

install_packages() { # package...
    command -v apt-get >/dev/null ||
        die "this system has no apt-get: install the equivalents of these packages, then run again: $*"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        # Without a terminal nobody could type a password.
        if ! command -v sudo >/dev/null || { [ ! -t 0 ] && ! sudo -n true 2>/dev/null; }; then
            die "not root and no usable sudo; as root run:  apt-get install --no-install-recommends $*"
        fi
        as_root=(sudo)
    fi
    local log=build/apt.log
    mkdir -p build
    : >"$log"
    say "installing them with apt-get${as_root[0]:+, as root through sudo} (log: $log)"
    if ! all_known "$@"; then update_lists; fi
    # A list that is out of date names files that the mirror has replaced: refresh it once.
    if ! run_apt install --no-install-recommends "$@"; then
        update_lists
        run_apt install --no-install-recommends "$@" || apt_failed "$@"
    fi
}

run_apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C \
        apt-get -y -q -o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$log" 2>&1
}

update_lists() {
    say "refreshing apt's package lists"
    run_apt update || say "apt-get update reported errors; going on with the lists there are"
}

all_known() { # package...
    local package
    for package; do apt_knows "$package" || return 1; done
}

apt_knows() { # package
    LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [^(]'
}

apt_failed() { # package...
    tail -n 15 "$log" >&2
    say "apt-get could not install: $*"
    if is_ubuntu; then
        say "libdnnl-dev and others are in Ubuntu's 'universe': add-apt-repository universe"
    fi
    exit 1
}

# ---- build trees ----------------------------------------------------------------------------------------------------

# build_tree NAME [CMAKE FLAGS...]: configures build/NAME and builds all of it.
build_tree() {
    local tree=build/$1
    shift
    configure_tree "$tree" "$@"
    cmake --build "$tree" -j "$(n_cores)" || die "the build in $tree failed (above)"
}

configure_tree() { # folder [CMAKE FLAGS...]
    local tree=$1
    shift
    mkdir -p "$tree"
    cmake -S . -B "$tree" -G Ninja "$@" >"$tree/configure.log" 2>&1 || {
        tail -n 30 "$tree/configure.log" >&2
        die "cmake could not configure $tree (above)"
    }
}

# ---- counting -------------------------------------------------------------------------------------------------------

n_passed=0 n_failed=0 n_skipped=0

# step NAME COMMAND...: runs the command quietly; its output is shown when it fails.
step() {
    local name=$1 log=build/step.log start=$SECONDS
    shift
    mkdir -p build
    if ("$@") >"$log" 2>&1; then
        n_passed=$((n_passed + 1))
        printf '  %-28s ok      %4d s\n' "$name" $((SECONDS - start))
    else
        n_failed=$((n_failed + 1))
        printf '  %-28s FAILED  %4d s\n' "$name" $((SECONDS - start))
        tail -n 200 "$log" | sed 's/^/    /'
    fi
}

skip() { # name reason
    n_skipped=$((n_skipped + 1))
    printf '  %-28s skipped: %s\n' "$1" "$2"
}

# The last line of every word that checks something.
finish() {
    printf '%d passed, %d failed, %d skipped\n' "$n_passed" "$n_failed" "$n_skipped"
    [ "$n_failed" -eq 0 ]
}
