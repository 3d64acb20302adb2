#!/usr/bin/env bash
# The whole way from a reference to a picture, under fake services: `tintype run` and a worker. Each case prints its own line.
set -uo pipefail
: "${TT_BUILD_DIR:?set TT_BUILD_DIR to the folder that holds tintype}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
status=0
for file in run worker; do
    python3 "$here/flow/test_$file.py" "$@" || status=1
done
exit "$status"
