# ./dev bench: numbers for SPEED.md.
# shellcheck shell=bash

dev_bench() {
    # shellcheck source=tools/dev/build.sh
    source tools/dev/build.sh
    dev_build
    exec bash bench/run "$@"
}
