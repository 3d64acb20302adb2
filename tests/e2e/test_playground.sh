#!/usr/bin/env bash
# The playground as a person sees it: a real browser on a real server. Leaves a picture of it in $TT_BUILD_DIR/playground.png.
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"

export PYTHONDONTWRITEBYTECODE=1
begin "the playground in a browser"
if ! (cd "$REPOSITORY/tests/e2e/playground" && python3 -c 'import browser, sys; sys.exit(not browser.find_chromium())'); then
    # Ubuntu has Chromium as a snap only, which neither a container nor a test machine can be expected to run.
    if grep -q '^ID=ubuntu' /etc/os-release; then
        skip_case
        exit 0
    fi
    problem "no chromium here: ./dev test installs it"
    end
    finish
fi

python3 "$REPOSITORY/tests/e2e/playground/cases.py" \
    "$TINTYPE" "$REPOSITORY/src/api/page/playground.html" "$TT_BUILD_DIR/playground.png"
