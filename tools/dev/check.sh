# ./dev check: everything that can be judged without running the program.
# shellcheck shell=bash

dev_check() {
    # shellcheck source=tools/dev/fmt.sh
    source tools/dev/fmt.sh
    need_packages build check
    need_clang_format
    step "lint self-test" python3 tools/lint/selftest.py
    step "layers" python3 tools/lint/layers.py
    step "banned words" python3 tools/lint/words.py
    step "shell scripts" check_shell
    if [ -n "$(clang_format_14)" ]; then
        step "format" check_format
    else
        skip "format" "clang-format 14 is not packaged here"
    fi
    step "warnings (gcc)" build_tree check -DCMAKE_BUILD_TYPE=Release -DTT_TESTS=ON -DTT_WERROR=ON
    step "cppcheck" check_cppcheck
    step "clang-tidy, warnings (clang)" check_clang_tidy
    echo
    python3 tools/lint/stats.py
    finish
}

check_shell() {
    find dev .ci/run tools tests bench -type f \( -name '*.sh' -o -name dev -o -name run \) -print0 |
        xargs -0 shellcheck -x
}

check_format() { c_sources | xargs -0 -r "$(clang_format_14)" --dry-run -Werror; }

check_cppcheck() {
    mkdir -p build/cppcheck # remembers unchanged files
    cppcheck --quiet -j "$(n_cores)" --std=c11 --error-exitcode=1 --inline-suppr --enable=warning,portability \
        --suppressions-list=tools/lint/cppcheck.txt --cppcheck-build-dir=build/cppcheck \
        --library=posix -D_GNU_SOURCE -DTT_VERSION='"0"' -I src -I include src
}

# clang-tidy reads how each file is compiled; configuring for clang is enough, nothing is built.
check_clang_tidy() {
    configure_tree build/tidy -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Debug -DTT_TESTS=ON
    python3 tools/lint/tidy.py build/tidy "$(n_cores)"
}
