#!/usr/bin/env bash
# Ctrl-C between steps: the program says so, leaves no file, and its status tells a shell that it was interrupted.
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"

interrupt() { # signal expected-status
    begin "$1 cancels between steps"
    last_command="run --steps 1000 ... then $1"
    "$TINTYPE" run --prompt x --steps 1000 --width 64 --height 64 --seed 1 --out x.png >stdout 2>stderr </dev/null &
    local process=$! status=0
    for _ in $(seq 300); do # until it denoises, or 30 s
        grep -q '[0-9]' stderr && break
        sleep 0.1
    done
    kill -s "$1" "$process"
    wait "$process" || status=$?
    [ "$status" -eq "$2" ] || problem "exit status $status, expected $2"
    stderr_has "interrupt|cancel|stopped"
    no_files
    end
}

# A shell ignores SIGINT in what it starts in the background; SIGTERM it does not.
interrupt TERM 143

finish
