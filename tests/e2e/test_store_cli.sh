#!/usr/bin/env bash
# The commands about models (tintype pull, models, show, rm, pin, gc, verify, backup, restore) against the fakes of CivitAI,
# Hugging Face and S3, and the examples of docs/models.md. Each case prints its own line.
set -uo pipefail
: "${TT_BUILD_DIR:?set TT_BUILD_DIR to the folder that holds tintype}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
status=0
for file in pull refusals keep care terminal words; do
    python3 "$here/store/test_$file.py" "$@" || status=1
done
exit "$status"
