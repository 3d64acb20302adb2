#!/usr/bin/env bash
# `tintype bench`: what it measures is told in full, in words and as JSON; what it cannot measure, in a sentence.
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"

quick=(--steps 1 --width 64 --height 64)

begin "a bench is one object with every part"
run 0 bench "${quick[@]}" --json
judge "(b := result()) and b['width'] == 64 and b['height'] == 64 and b['steps'] == 1 and b['s_per_step'] > 0 and b['vae_s'] > 0"
judge "(b := result()) and b['model'] == 'tintype-tiny.safetensors' and b['parameters'] > 10**7 and b['peak_bytes'] > b['weight_bytes']"
end

begin "operations add up to the step"
run 0 bench "${quick[@]}" --dtype f32 --json
judge "(s := result()['step']) and s['precision'] == 'f32' and {'linear', 'conv', 'attention'} <= {o['name'] for o in s['operations']}"
judge "(s := result()['step']) and abs(sum(o['ms'] for o in s['operations']) + s['other_ms'] - s['ms']) < 1e-6 * s['ms']"
judge "(s := result()['step']) and abs(sum(o['gflop'] for o in s['operations']) - s['gflop']) < 1e-6 * s['gflop']"
end

begin "larger pictures are said to take longer, and nothing is said of far larger ones"
judge "result()['estimates'] == []"
run 0 bench --steps 1 --width 256 --height 256 --json
judge "(e := result()['estimates']) and [x['width'] for x in e] == [512, 1024] and e[1]['seconds'] > 3 * e[0]['seconds'] > 0"
end

begin "the tables say what the object says"
run 0 bench --steps 2 --width 128 --height 128
stdout_has 'One step, (f32|bf16)'
stdout_has '^  linear .*[0-9] %'
stdout_has 'VAE decode'
stdout_has '24 steps .* for 128x128 as measured, about .* for 512x512'
no_files
end

begin "a model is found by its path, and missed in a sentence"
run 0 bench "${quick[@]}" --json --model "$TINTYPE_MODEL" --threads 1
judge "result()['threads'] == 1"
export TINTYPE_MODELS=$folder/store
run 1 bench "${quick[@]}" --model civitai:1
stderr_has 'civitai:1'
stdout_is_empty
rm -rf store
end

begin "values that make no sense are told"
run 2 bench --steps 0
stderr_has 'steps'
run 2 bench --steps 1 --width 63
stderr_has '63'
run 2 bench --stepps 1
stderr_has 'did you mean --steps'
run 2 bench --dtype f33 --threads many
stderr_has 'dtype'
stderr_has 'threads'
run 2 bench boat.png
stderr_has 'boat.png'
end

begin "bench has its help"
run 0 help bench
stdout_has '--width N'
run 0 bench --help
stdout_has '--width N'
run 0 help
stdout_has 'tintype bench'
end

finish
