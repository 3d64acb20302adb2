# ./dev test: every test program, every end-to-end script and the fuzzers' starting inputs, under ASan and UBSan.
# shellcheck shell=bash

dev_test() {
    need_packages build test
    build_tree test -DCMAKE_BUILD_TYPE=Debug -DTT_TESTS=ON -DTT_SANITIZE=ON
    local filter=()
    [ $# -eq 0 ] || filter=(-R "$1")
    local results=$PWD/build/test/results.xml
    rm -f "$results"
    export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:allocator_may_return_null=1}
    export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
    # The results file decides, not ctest's status: it knows skips and single cases.
    (cd build/test && ctest -j "$(n_cores)" --output-on-failure --test-output-size-passed 1000000 \
        --test-output-size-failed 1000000 --no-tests=error --output-junit "$results" "${filter[@]}") || true
    [ -f "$results" ] || die "no test matches '${1:-}'" 2
    python3 tools/dev/summary.py "$results" tests/expected_skips.txt
}
