#!/usr/bin/env bash
# Workers under a recorder that plays RunPod's platform: the wire byte for byte, faults, kills. The scenarios are Python
# (stdlib only); each prints its own line.
set -uo pipefail
: "${TT_BUILD_DIR:?set TT_BUILD_DIR to the folder that holds examples/}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
status=0
for file in protocol faults; do
    python3 "$here/platform/test_$file.py" "$@" || status=1
done
exit "$status"
