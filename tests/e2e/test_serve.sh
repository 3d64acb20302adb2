#!/usr/bin/env bash
# Served workers: the runpod client and plain HTTP against the examples and `tintype serve`; the program on the platform; flags.
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"

# The package runpod is installed by ./dev test; without it those cases are skipped by name.
client_python=$TT_BUILD_DIR/venv/bin/python
[ -x "$client_python" ] || client_python=python3
"$client_python" "$REPOSITORY/tests/e2e/serve/client.py" || n_bad=$((n_bad + 1))
for script in endpoint on_platform; do
    python3 "$REPOSITORY/tests/e2e/serve/$script.py" || n_bad=$((n_bad + 1))
done

refused() { # NAME PATTERN ARGUMENT...
    begin "$1"
    run 2 "${@:3}"
    stderr_has "$2"
    stdout_is_empty
    end
}

refused "serve refuses a flag of run" "--steps.*TINTYPE_STEPS" serve --steps 3
refused "serve refuses a port that is none" "--port.*65535.*99999" serve --port 99999
refused "serve refuses an unknown flag with the nearest" "--port" serve --prot 8000
refused "serve refuses an unknown log level" "log-level" serve --log-level loud
refused "serve tells all faults at once" "2 things" serve --port x --dtype f13
refused "run refuses a flag of serve" "serve" run --prompt x --port 8000
TINTYPE_STEPS=0 refused "serve judges the environment before any job" "TINTYPE_STEPS" serve

begin "serve with a missing model ends with its name"
run 1 serve --port 0 --model no/such/model.safetensors
grep -q "model\.safetensors" stdout stderr || problem "the model is not named"
end

for command in serve worker dev; do
    begin "$command tells its options"
    run 0 "$command" --help
    stdout_has "$command"
    run 0 help "$command"
    stdout_has "$command"
    end
done

begin "worker runs one test input"
run 0 worker --test_input '{"input": {"prompt": "a boat", "steps": 1, "width": 64, "height": 64, "seed": 3}}' \
    --test_output result.json
judge "png(result('result.json')['output']['image']).width == 64"
rm -f result.json
end

finish
