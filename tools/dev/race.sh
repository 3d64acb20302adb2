# ./dev race: the tests of the rooms with threads of their own, under ThreadSanitizer.
#
# Not part of ./dev test: a second build of everything would double its time. OpenMP's threads are left out: libgomp is not
# built for ThreadSanitizer, which then reports what is none.
# shellcheck shell=bash

RACING_ROOMS='test_(net|job|api|worker|store)_|test_app_(handler|metrics|models|presets|resident|start|worker)'

dev_race() {
    need_packages build test
    build_tree race -DCMAKE_BUILD_TYPE=Debug -DTT_TESTS=ON -DTT_RACE=ON
    local results=$PWD/build/race/results.xml
    rm -f "$results"
    export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}
    (cd build/race && ctest -j "$(n_cores)" --output-on-failure --test-output-size-passed 1000000 \
        --test-output-size-failed 1000000 --no-tests=error --output-junit "$results" -R "${1:-$RACING_ROOMS}") || true
    [ -f "$results" ] || die "no test matches '${1:-}'" 2
    python3 tools/dev/summary.py "$results" tests/expected_skips.txt
}
