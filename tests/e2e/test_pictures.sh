#!/usr/bin/env bash
# Pictures as a user asks for them: from test_input.json, from flags, as JSON, several at once.
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"

# Small and short: what the pictures show is the golden tests' concern.
quick=(--steps 2 --width 64 --height 64)

begin "test_input json makes the sunset picture"
cp "$REPOSITORY/test_input.json" .
run 0 run --out picture.png
stdout_has "picture\.png"
stdout_has "(^|[^0-9])5([^0-9]|$)"
judge "(p := png('picture.png')).width == 256 and p.height == 256 and p.spread() > 20"
# Its prompt is a sea at sunset: the sky in the middle is warmer than it is blue.
judge "(c := png('picture.png').mean(0, 0.3, 1, 0.55))[0] > c[2]"
judge "'a lighthouse on the sea at sunset' in ' '.join(png('picture.png').text.values())"
only_files picture.png test_input.json
cp picture.png first.png
end

begin "the same request gives the same picture"
run 0 run --out picture.png
judge "png('picture.png').rgb == png('first.png').rgb"
end

begin "without a command the program runs test_input json"
run 0 --out picture.png
judge "png('picture.png').rgb == png('first.png').rgb"
rm -f ./*.png test_input.json
end

begin "flags make a picture"
run 0 run --prompt "a red sailing boat" --seed 7 "${quick[@]}" --out boat.png
stdout_has "boat\.png"
judge "(p := png('boat.png')).width == 64 and p.height == 64"
only_files boat.png
rm -f boat.png
end

begin "an empty prompt is allowed"
run 0 run --prompt "" --seed 7 "${quick[@]}" --out empty.png
is_file empty.png
rm -f empty.png
end

begin "a folder as output takes the picture"
mkdir folder
run 0 run --prompt "a boat" --seed 7 "${quick[@]}" --out folder
only_files folder/tintype-7.png
rm -r folder
end

begin "several pictures are named after their seeds"
run 0 run --prompt "a boat" --seed 7 --count 3 "${quick[@]}" --out boat.png
only_files boat-7.png boat-8.png boat-9.png
judge "len({png(f'boat-{s}.png').rgb for s in (7, 8, 9)}) == 3"
run 0 run --prompt "a boat" --seed 8 "${quick[@]}" --out alone.png
judge "png('alone.png').rgb == png('boat-8.png').rgb"
rm -f ./*.png
end

begin "seeds at the end of the range are understood"
run 0 run --prompt "a boat" --seed 18446744073709551615 --json "${quick[@]}"
judge "result()['output']['metadata']['seed'] == 18446744073709551615"
end

begin "json is the job result and nothing else"
run 0 run --prompt "caf$(printf '\303\251') \"quoted\"" --seed 7 "${quick[@]}" --json
judge "list(result()) == ['output']"
judge "png(result()['output']['image']).width == 64"
judge "(m := result()['output']['metadata'])['seed'] == 7 and m['steps'] == 2 and m['width'] == 64"
judge "result()['output']['metadata']['prompt'] == 'caf\u00e9 \"quoted\"'"
no_files
end

begin "json of several pictures"
run 0 run --prompt "a boat" --seed 7 --count 2 "${quick[@]}" --json
judge "len(result()['output']['images']) == 2"
judge "all(png(i).height == 64 for i in result()['output']['images'])"
end

begin "a random seed is told and gives the picture again"
run 0 run --prompt "a boat" "${quick[@]}" --json
cp stdout random.json
seed=$(python3 -c 'import json; print(json.load(open("random.json"))["output"]["metadata"]["seed"])')
run 0 run --prompt "a boat" --seed "$seed" "${quick[@]}" --json
judge "png(result()['output']['image']).rgb == png(result('random.json')['output']['image']).rgb"
rm -f random.json
end

begin "names people paste are understood"
for name in "DPM++ 2M Karras" "Euler a" EulerDiscreteScheduler K_EULER; do
    run 0 run --prompt "a boat" --seed 7 --sampler "$name" "${quick[@]}" --out x.png
done
rm -f x.png
end

begin "the file's extension chooses the format"
for format in png jpg webp; do
    run 0 run --prompt "a boat" --seed 7 "${quick[@]}" --out "x.$format"
done
judge "bytes_of('x.jpg')[:3] == b'\xff\xd8\xff'"
judge "bytes_of('x.webp')[:4] == b'RIFF' and bytes_of('x.webp')[8:12] == b'WEBP'"
judge "png('x.png').width == 64"
rm -f x.*
end

begin "sizes that are odd in latents work"
run 0 run --prompt "a boat" --seed 7 --steps 1 --width 72 --height 104 --out x.png
judge "(p := png('x.png')).width == 72 and p.height == 104"
rm -f x.png
end

begin "no prompt is printed while it works"
run 0 run --prompt "a very private lighthouse" --seed 7 "${quick[@]}" --out x.png --no-preview
if grep -qi "private" stdout stderr; then problem "the prompt was printed"; fi
rm -f x.png
end

begin "no escape sequences reach a file"
run 0 run --prompt "a boat" --seed 7 "${quick[@]}" --out x.png
if grep -q "$(printf '\033')" stdout stderr; then problem "escape sequences in stdout or stderr"; fi
rm -f x.png
end

finish
