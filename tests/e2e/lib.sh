# What the end-to-end scripts share: run the program as a person does, and judge status, stdout, stderr and files.
#
#     source "$(dirname "$0")/lib.sh"
#     begin "a case's name"; run 2 run --steps many; stderr_has "steps"; end
#
# $TT_BUILD_DIR/tintype is the program. Each script works in a folder of its own, removed at the end. The output has one
# line per case in cmocka's form, which tools/dev/summary.py counts.
# shellcheck shell=bash
set -uo pipefail

TINTYPE=${TT_BUILD_DIR:?set TT_BUILD_DIR to the folder that holds tintype}/tintype
REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export TINTYPE_MODEL=$REPOSITORY/models/tintype-tiny.safetensors
[ -x "$TINTYPE" ] || { echo "no program at $TINTYPE"; exit 1; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1

n_bad=0
case_name='' case_problem=''

begin() {
    case_name=$1
    case_problem=''
}

# Only the first problem of a case is told: the others usually follow from it.
problem() { [ -n "$case_problem" ] || case_problem=$1; }

end() {
    local name=${case_name// /_}
    if [ -z "$case_problem" ]; then
        printf '[       OK ] %s\n' "$name"
    else
        printf '[  FAILED  ] %s\n' "$name"
        printf '    %s\n    command: tintype %s\n' "$case_problem" "${last_command:-}"
        printf '    stdout:\n'
        head -c 2000 stdout | sed 's/^/      /'
        printf '\n    stderr:\n'
        head -c 2000 stderr | sed 's/^/      /'
        n_bad=$((n_bad + 1))
    fi
}

skip_case() { printf '[  SKIPPED ] %s\n' "${case_name// /_}"; }

# run STATUS ARGUMENT...: the program must end with that status, and never by a signal or a sanitizer's report.
run() {
    local expected=$1 status=0
    shift
    last_command=$*
    timeout 600 "$TINTYPE" "$@" >stdout 2>stderr </dev/null || status=$?
    if grep -qE 'ERROR: (Address|Leak)Sanitizer|runtime error:' stderr; then
        problem "a sanitizer complained"
    elif [ "$status" -ne "$expected" ]; then
        problem "exit status $status, expected $expected"
    fi
}

stdout_has() { grep -qiE -- "$1" stdout || problem "stdout lacks /$1/"; }
stderr_has() { grep -qiE -- "$1" stderr || problem "stderr lacks /$1/"; }
stdout_is_empty() { [ ! -s stdout ] || problem "stdout is not empty"; }
is_file() { [ -f "$1" ] || problem "no file $1"; }
# No file but the ones named (and our own stdout, stderr) lies in the folder.
only_files() {
    local found
    found=$(find . -type f ! -name stdout ! -name stderr -printf '%P\n' | sort | tr '\n' ' ')
    [ "${found% }" = "$(printf '%s\n' "$@" | sort | paste -sd ' ')" ] || problem "files here: $found"
}

no_files() { only_files ''; }

# judge PYTHON [ARGUMENT...]: assertions by an independent reader; see judge.py for what it offers.
judge() {
    python3 "$REPOSITORY/tests/e2e/judge.py" "$@" >judge.out 2>&1 || problem "$(tail -n 1 judge.out)"
    rm -f judge.out
}

finish() { exit $((n_bad > 0)); }
