# ./dev fuzz: libFuzzer on every target in tests/fuzz.
#
# Starting inputs are tests/fuzz/corpus/<target>/; new ones that reach new code are kept in build/fuzz/corpus/<target>/, so
# that the next run goes on from there. Inputs that crash are left in build/fuzz/crashes/ and belong, once fixed, into the
# starting inputs: `./dev test` replays those.
# shellcheck shell=bash disable=SC2154 # n_passed and n_failed are counted in lib.sh

dev_fuzz() {
    local seconds=${1:-60} only=${2:-}
    [[ $seconds =~ ^[0-9]+$ ]] || die "SECONDS must be a whole number, found '$seconds'" 2
    need_packages build fuzz
    need_fuzzer_runtime
    build_tree fuzz -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Debug -DTT_FUZZ=ON -DTT_SANITIZE=ON
    local source target
    for source in tests/fuzz/fuzz_*.c; do
        target=$(basename "$source" .c)
        [ -z "$only" ] || [[ $target == *"$only"* ]] || continue
        step "$target" fuzz_one "$target" "$seconds"
        grep -h '^stat::number_of_executed_units' build/step.log | sed 's/^.*: */      inputs tried: /' || true
    done
    [ $((n_passed + n_failed)) -gt 0 ] || die "no fuzz target matches '$only'" 2
    finish
}

fuzz_one() { # target seconds
    local kept=build/fuzz/corpus/$1 given=tests/fuzz/corpus/$1
    mkdir -p "$kept" build/fuzz/crashes
    local corpora=("$kept")
    [ ! -d "$given" ] || corpora+=("$given")
    "build/fuzz/$1" -max_total_time="$2" -timeout=20 -rss_limit_mb=3072 -print_final_stats=1 \
        -artifact_prefix="build/fuzz/crashes/$1-" "${corpora[@]}"
}

# The sanitizers' and libFuzzer's libraries are a package of their own that carries clang's version in its name.
need_fuzzer_runtime() {
    mkdir -p build
    local probe='int LLVMFuzzerTestOneInput(const unsigned char *p, unsigned long n) { return !p + !n > 9; }'
    if clang -x c -fsanitize=fuzzer,address - -o build/fuzzer-probe <<<"$probe" 2>/dev/null; then return; fi
    local major
    major=$(clang -dumpversion)
    install_packages "libclang-rt-${major%%.*}-dev"
}
