# ./dev run: from a fresh clone to a picture.
# shellcheck shell=bash

dev_run() {
    # shellcheck source=tools/dev/build.sh
    source tools/dev/build.sh
    dev_build
    if [ $# -gt 0 ]; then exec build/tintype run "$@"; fi
    mkdir -p out
    say "making the picture that test_input.json asks for"
    exec build/tintype run --input test_input.json --out out/picture.png
}
