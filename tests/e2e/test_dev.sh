#!/usr/bin/env bash
# `tintype dev`: a handler's author compiles, runs and saves again.
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"

mkdir handler
cp "$REPOSITORY"/examples/hello/hello.c "$REPOSITORY"/examples/hello/test_input.json handler/

begin "a handler is compiled and run once"
run 0 dev handler/hello.c --once
stdout_has "Hello"
stderr_has "compiled in .* s"
stderr_has "exit status 0"
end

begin "the compiler's own words are shown"
printf 'int main(void) { return missing; }\n' >handler/broken.c
run 1 dev handler/broken.c --once
stderr_has "broken\.c:1:.*missing"
rm handler/broken.c
end

begin "a run that fails gives its status"
printf 'int main(void) { return 3; }\n' >handler/three.c
run 3 dev handler/three.c --once
rm handler/three.c
end

begin "a crash is told"
printf '#include <stdlib.h>\n#include <signal.h>\nint main(void) { raise(SIGKILL); }\n' >handler/crash.c
run 1 dev handler/crash.c --once
stderr_has "signal 9"
rm handler/crash.c
end

begin "a folder without the SDK is one sentence"
mkdir empty
run 1 dev handler/hello.c --once --sdk empty
stderr_has "no SDK in empty"
rmdir empty
end

begin "an installed SDK is used"
mkdir -p prefix/lib
cp -r "$REPOSITORY/include" prefix/
{
    echo "create prefix/lib/libtintype-worker.a"
    for room in worker api job net base; do echo "addlib $TT_BUILD_DIR/libtt_$room.a"; done
    printf 'save\nend\n'
} | ar -M
run 0 dev handler/hello.c --once --sdk prefix
stdout_has "Hello"
rm -r prefix
end

begin "no file is one sentence"
run 2 dev
stderr_has "tintype dev handler\.c"
run 2 dev no-such.c --once
stderr_has "no-such\.c"
end

# has TEXT FILE: within a minute.
has() {
    for _ in $(seq 600); do
        grep -q -- "$1" "$2" && return
        sleep 0.1
    done
    problem "$2 lacks $1"
}

begin "a saved file is compiled and run again"
last_command="dev handler/hello.c"
"$TINTYPE" dev handler/hello.c >stdout 2>stderr </dev/null &
process=$!
has "Ctrl-C ends" stderr
: >stdout
: >stderr
sed 's/Hello/Goodbye/' handler/hello.c >handler/new.tmp && mv handler/new.tmp handler/hello.c
has "Goodbye" stdout
has "Ctrl-C ends" stderr
kill -s TERM "$process"
status=0
wait "$process" || status=$?
[ "$status" -eq 143 ] || problem "exit status $status, expected 143"
end

finish
