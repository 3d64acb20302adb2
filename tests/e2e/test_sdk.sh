#!/usr/bin/env bash
# The SDK as someone outside this tree meets it: installed into a folder, a worker built with cc and pkg-config, run.
# shellcheck disable=SC2317 # the cases are called by judge
set -uo pipefail
: "${TT_BUILD_DIR:?set TT_BUILD_DIR to a build tree}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source=$here/../../examples/hello/hello.c
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0

flags=()
for flag in sanitize=address,undefined sanitize=thread; do
    if grep -q "fsanitize=${flag#sanitize=}\|TT_SANITIZE:BOOL=ON" "$TT_BUILD_DIR/CMakeCache.txt"; then
        flags+=("-f$flag")
        break
    fi
done

judge() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >"$folder/said" 2>&1; then
        echo "[       OK ] $name"
    else
        echo "[  FAILED  ] $name"
        sed 's/^/    /' "$folder/said"
        failed=1
    fi
}

install_sdk() { cmake --install "$TT_BUILD_DIR" --component sdk --prefix "$folder/sdk" && mv "$folder/sdk" "$folder/moved"; }

build_worker() {
    local wanted
    wanted=$(find "$folder/moved" -name pkgconfig -type d)
    read -ra wanted <<<"$(PKG_CONFIG_PATH=$wanted pkg-config --cflags --libs tintype-worker)"
    cc -std=c11 -Wall -Wextra -Werror "${flags[@]}" "$source" -o "$folder/hello" "${wanted[@]}"
}

build_as_cxx() { echo '#include <tintype/worker.h>' | c++ -x c++ -std=c++17 -Wall -Werror -fsyntax-only -I "$folder/moved/include" -; }

run_worker() { "$folder/hello" --test_input '{"input": {"name": "Ann"}}' | grep -F 'Job result: {"output": "Hello, Ann!"}'; }

judge the_sdk_is_installed_into_any_folder install_sdk
judge a_worker_is_built_with_cc_and_pkg_config build_worker
judge the_worker_runs_its_test_job run_worker
judge the_header_is_fit_for_cxx build_as_cxx
exit "$failed"
