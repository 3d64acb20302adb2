# ./dev test: every test program, every end-to-end script and the fuzzers' starting inputs, under ASan and UBSan.
# shellcheck shell=bash

# RunPod's own client, unmodified, is a judge of the served API (tests/e2e/serve/client.py).
RUNPOD_CLIENT=runpod==1.12.0

# Installs it into the build tree, once. Where it cannot be had (no network), its cases are skipped by name, and since
# tests/expected_skips.txt does not list them, that is a failure.
need_runpod_client() {
    local venv=build/test/venv log=build/pip.log
    [ ! -e "$venv/$RUNPOD_CLIENT" ] || return 0
    say "installing $RUNPOD_CLIENT into $venv (log: $log)"
    mkdir -p build/test
    if python3 -m venv --clear "$venv" && "$venv/bin/pip" install --disable-pip-version-check "$RUNPOD_CLIENT"; then
        touch "$venv/$RUNPOD_CLIENT" # complete
    fi >"$log" 2>&1
    [ -e "$venv/$RUNPOD_CLIENT" ] || say "it could not be installed; the last lines of $log:" "$(tail -n 3 "$log")"
}

# Prometheus' linter judges the metrics. Only that program is unpacked: its package would start a server on this machine.
need_promtool() {
    local folder=$PWD/build/promtool
    export PATH=$PATH:$folder/usr/bin
    if command -v promtool >/dev/null || ! command -v apt-get >/dev/null; then return; fi
    say "fetching promtool, which judges the metrics, into $folder (log: build/promtool.log)"
    mkdir -p "$folder"
    apt_knows prometheus || say "apt does not know the package prometheus: its lists may be out of date"
    (cd "$folder" && apt-get -q download prometheus && dpkg -x prometheus_*.deb . && rm prometheus_*.deb) >build/promtool.log 2>&1 ||
        say "it could not be fetched: $(tail -n 1 build/promtool.log)"
}

dev_test() {
    need_packages build test
    [[ ! e2e_serve =~ ${1:-} ]] || need_runpod_client
    [[ ! test_api_metrics =~ ${1:-} ]] || need_promtool
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
