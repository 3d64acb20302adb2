#!/usr/bin/env bash
# Everything a user can get wrong: one sentence, exit status 1 (it failed) or 2 (it was asked wrongly), no file left.
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"

quick=(--steps 1 --width 64 --height 64 --seed 1)

# refused NAME PATTERN ARGUMENT...: status 2, and stderr says what matches PATTERN.
refused() {
    begin "$1"
    run 2 "${@:3}"
    stderr_has "$2"
    stdout_is_empty
    no_files
    end
}

refused "an unknown command suggests the nearest" "run" rnu
refused "an unknown flag suggests the nearest" "--steps" run --prompt x --stepz 3
refused "a flag without its value" "--steps" run --prompt x --steps
refused "a number that is none" "steps.*many" run --prompt x --steps many
refused "a number with a tail" "steps.*10x" run --prompt x --steps 10x
refused "steps beyond the limit" "steps.*1000.*1001" run --prompt x --steps 1001
refused "no steps" "steps" run --prompt x --steps 0
refused "width 1000001" "width.*1000001" run --prompt x --width 1000001
refused "a width that is no multiple of 8" "width.*multiple of 8.*100" run --prompt x --width 100
refused "a negative height" "height.*-64" run --prompt x --height -64
refused "a number beyond 64 bits" "seed" run --prompt x --seed 99999999999999999999999
refused "not a number at all" "cfg" run --prompt x --cfg nan
refused "an unknown sampler names the known ones" "euler" run --prompt x --sampler magic
refused "an unknown schedule names the known ones" "karras" run --prompt x --schedule magic
refused "an unknown dtype" "f32" run --prompt x --dtype f13
refused "a clip skip that no encoder has" "clip-skip.*1 to 12.*13" run --prompt x --clip-skip 13
refused "guidance that ends before it starts" "guidance-start.*0\.5.*0\.9" run --prompt x --guidance-start 0.9 --guidance-end 0.5
refused "an unknown recipe names the known ones" "lightning-4" run --prompt x --recipe slow
refused "an unknown program to be compatible with" "comfyui" run --prompt x --compat invoke
refused "a LoRA that is not there is named" "--lora: no file nowhere\.safetensors" run --prompt x --lora nowhere.safetensors
refused "a LoRA's scale that is none" "--lora.*te=loud" run --prompt x --lora "style:1,te=loud"
refused "a folder of LoRAs that is not there" "--lora-folder.*nowhere" run --prompt x --lora-folder nowhere
refused "a picture that is not there" "--image.*nowhere\.png" run --prompt x --image nowhere.png
refused "a mask without a picture" "--mask.*--image" run --prompt x --mask mask.png
refused "outpaint without a picture" "--outpaint.*--image" run --prompt x --outpaint 64
refused "outpaint with three sides" "outpaint.*four" run --prompt x --outpaint 1,2,3
refused "a picture behind plain http" "https://" run --prompt x --image http://host/a.png
refused "a strength of nothing" "strength.*above 0" run --prompt x --image a.png --strength 0
refused "a prompt that is not UTF-8" "UTF-8" run --prompt "$(printf 'caf\351')"
refused "no prompt and no test_input json" "test_input\.json|prompt" run --steps 3

begin "every problem is told at once"
run 2 run --prompt x --width 1000001 --steps 0 --sampler magic
stderr_has "width"
stderr_has "steps"
stderr_has "sampler"
end

begin "a missing model is named"
run 1 run --model no/such/model.safetensors --prompt x "${quick[@]}" --out x.png
stderr_has "no/such/model\.safetensors"
no_files
end

begin "a directory that is no model is named"
mkdir empty
run 1 run --model empty --prompt x "${quick[@]}" --out x.png
stderr_has "empty"
rmdir empty
no_files
end

begin "a pickle file is refused with advice"
printf 'PK\003\004 and so on' >model.ckpt
run 1 run --model model.ckpt --prompt x "${quick[@]}" --out x.png
stderr_has "safetensors"
rm -f model.ckpt
no_files
end

begin "a cut model is refused"
head -c 1000000 "$TINTYPE_MODEL" >cut.safetensors
run 1 run --model cut.safetensors --prompt x "${quick[@]}" --out x.png
stderr_has "cut\.safetensors"
rm -f cut.safetensors
no_files
end

begin "an empty model is refused"
: >nothing.safetensors
run 1 run --model nothing.safetensors --prompt x "${quick[@]}" --out x.png
stderr_has "nothing\.safetensors"
rm -f nothing.safetensors
no_files
end

begin "a picture that is none is refused"
printf 'GIF89a and so on' >animated.gif
run 2 run --prompt x "${quick[@]}" --image animated.gif --out x.png
stderr_has "--image.*PNG, JPEG or WebP"
rm -f animated.gif
no_files
end

begin "a LoRA that is none is refused"
printf 'PK\003\004 and so on' >lora.safetensors
run 1 run --prompt x "${quick[@]}" --lora lora.safetensors --out x.png
stderr_has "lora\.safetensors"
rm -f lora.safetensors
no_files
end

begin "a cut LoRA is refused"
head -c 100000 "$REPOSITORY/models/tintype-old-photo.safetensors" >cut.safetensors
run 1 run --prompt x "${quick[@]}" --lora cut.safetensors --out x.png
stderr_has "cut\.safetensors"
rm -f cut.safetensors
no_files
end

begin "a LoRA that only the prompt names is missed in words"
run 1 run --prompt "a boat <lora:nothing:1>" "${quick[@]}" --out x.png
stderr_has "nothing.*--lora-folder"
no_files
end

begin "a full disk is one sentence"
if [ -w /dev/full ]; then
    run 1 run --prompt x "${quick[@]}" --out /dev/full
    stderr_has "/dev/full.*No space left"
    no_files
    end
else
    skip_case
fi

begin "an output folder that does not exist is told before the work"
run 2 run --prompt x --steps 1000 --width 1024 --height 1024 --out no/such/folder/x.png
stderr_has "no/such/folder"
end

begin "an unknown file extension names the known ones"
run 2 run --prompt x "${quick[@]}" --out x.bmp
stderr_has "png"
no_files
end

begin "stdout that is full is noticed"
if [ -w /dev/full ]; then
    status=0
    last_command="run --json >/dev/full"
    "$TINTYPE" run --prompt x "${quick[@]}" --json >/dev/full 2>stderr </dev/null || status=$?
    : >stdout
    [ "$status" -eq 1 ] || problem "exit status $status, expected 1"
    end
else
    skip_case
fi

# ---- the same through JSON ----

# refused_json NAME PATTERN JSON
refused_json() {
    begin "$1"
    printf '%s' "$3" >job.json
    run 2 run --input job.json --json
    judge "__import__('re').search(r'''$2''', error_of(), 2) is not None"
    rm -f job.json
    no_files
    end
}

refused_json "json that breaks off" "line 1, column" '{"input": {"prompt": "x"'
refused_json "json with a name twice" "twice" '{"input": {"prompt": "x", "prompt": "y"}}'
refused_json "json without input" "input" '{"prompt": "x"}'
refused_json "json without a prompt" "prompt" '{"input": {"steps": 3}}'
refused_json "json with text for a number" "steps" '{"input": {"prompt": "x", "steps": "24"}}'
refused_json "json with an unknown field" "steps" '{"input": {"prompt": "x", "stepz": 24}}'
refused_json "json with a width of 1000001" "width.*1000001" '{"input": {"prompt": "x", "width": 1000001}}'
refused_json "json with a NUL in the prompt" "prompt" '{"input": {"prompt": "a\u0000b"}}'
refused_json "json with half a surrogate pair" "surrogate" '{"input": {"prompt": "\ud800"}}'
refused_json "json with two problems tells both" "steps.*width|width.*steps" \
    '{"input": {"prompt": "x", "steps": 0, "width": 1}}'

refused_json "json that names a LoRA by its path" "loras.0.*path" \
    '{"input": {"prompt": "x", "loras": [{"name": "a", "path": "/etc/passwd"}]}}'
refused_json "json that climbs out of the folder of LoRAs" "loras.0.*path" '{"input": {"prompt": "x", "loras": ["../a:1"]}}'
refused_json "json with a LoRA's member misspelt" "strength" \
    '{"input": {"prompt": "x", "loras": [{"name": "a", "stength": 1}]}}'
refused_json "json with a file for a picture" "base64" '{"input": {"prompt": "x", "image": "boat.png"}}'
refused_json "json with a picture behind an address that is not public" "not asked|HTTP|resolve" '{"input": {"prompt": "x", "image_url": "https://127.0.0.1/a.png"}}'
refused_json "json with bytes that are no picture" "PNG, JPEG or WebP" '{"input": {"prompt": "x", "image": "AAAA"}}'

begin "a missing input file is named"
run 2 run --input no-such.json
stderr_has "no-such\.json"
end

begin "json errors of a running job are json too"
run 1 run --model no/such/model.safetensors --prompt x "${quick[@]}" --json
judge "'no/such/model.safetensors' in error_of()"
end

# ---- what is not an error ----

for words in "--help" "help" "run --help" "run --help all" "help run all" "serve --help" "--version" "schema"; do
    begin "$words prints to stdout and succeeds"
    # shellcheck disable=SC2086 # the words are arguments
    run 0 $words
    [ -s stdout ] || problem "nothing on stdout"
    [ ! -s stderr ] || problem "something on stderr"
    end
done

begin "the schema is JSON"
run 0 schema
judge "'properties' in str(result())"
end

begin "help all names every flag of this script's neighbours"
run 0 run --help all
for flag in model prompt negative steps cfg guidance-rescale seed count width height sampler schedule dtype threads out \
    json no-preview lora image mask outpaint recipe variation hires refiner; do
    stdout_has "--$flag"
    stdout_has "Example: --$flag"
done
end

begin "help is short and says where the rest is"
run 0 run --help
stdout_has "--help all"
stdout_has "--lora "
[ "$(wc -l <stdout)" -lt 100 ] || problem "$(wc -l <stdout) lines"
end

finish
