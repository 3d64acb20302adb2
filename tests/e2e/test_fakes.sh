#!/usr/bin/env bash
# The fakes that tests of model downloads rely on (tests/fake/models.py): each answer and each fault, judged by the standard
# library, curl and the documents the real services follow. Each case prints its own line.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
status=0
for file in bytes sources faults life; do
    python3 "$here/fakes/test_$file.py" "$@" || status=1
done
exit "$status"
