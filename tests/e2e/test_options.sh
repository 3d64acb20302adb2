#!/usr/bin/env bash
# What a picture can be made from besides a prompt: LoRAs, other pictures, masks, recipes. The program draws, judge.py measures.
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"

style=$REPOSITORY/models/tintype-old-photo.safetensors
quick=(--steps 2 --width 64 --height 64 --seed 1 --dtype f32 --no-preview)

# draw NAME ARGUMENT...: a picture called NAME.png of the case's prompt.
draw() { run 0 run --prompt "a lighthouse on the sea" "${quick[@]}" --out "$1.png" "${@:2}"; }

same='png("a.png").rgb == png("b.png").rgb'
far='sum(abs(p - q) for p, q in zip(png("a.png").rgb, png("b.png").rgb)) / len(png("a.png").rgb)'
# told EXPRESSION: over m, the answer's metadata.
told() { judge "(m := result()['output']['metadata']) and ($1)"; }

# A picture with hard edges and a mask whose left half is white, by Python alone.
python3 - <<'END' || exit 1
import struct, zlib

def write(name, width, height, pixel, channels=3):
    raw = b"".join(b"\0" + bytes(v for x in range(width) for v in pixel(x, y)) for y in range(height))
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    head = struct.pack(">IIBBBBB", width, height, 8, 6 if channels == 4 else 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    open(name, "wb").write(data)

scene = lambda x, y: (x * 2, 255 - y * 2, 40 if (x // 8 + y // 8) % 2 else 200)
write("scene", 128, 96, scene)
write("mask", 128, 96, lambda x, y: (255,) * 3 if x < 64 else (0,) * 3)
write("cutout", 64, 64, lambda x, y: scene(x, y) + (0 if x < 32 else 255,), 4)
END

clean() { rm -f ./*.png ./*.json; }

# ---- LoRAs ----

begin "a LoRA changes the picture, and at scale 0 does not"
draw a
draw b --lora "$style:0"
judge "$same"
draw b --lora "$style"
judge "$far > 2"
clean
end

begin "a LoRA by name, by flag, by prompt and by job is one LoRA"
cp "$style" .
draw a --lora tintype-old-photo.safetensors:0.7
draw b --lora-folder . --lora tintype-old-photo:0.7
judge "$same"
run 0 run --prompt "a lighthouse on the sea <lora:tintype-old-photo:0.7>" --lora-folder . "${quick[@]}" --out b.png
judge "$same"
printf '{"input": {"prompt": "a lighthouse on the sea", "loras": [{"name": "tintype-old-photo", "weight": 0.7}]}}' >job.json
run 0 run --input job.json --lora-folder . "${quick[@]}" --out b.png
judge "$same"
rm -f tintype-old-photo.safetensors
clean
end

begin "the answer tells what became of a LoRA"
run 0 run --prompt x "${quick[@]}" --lora "$style:unet=0.5,te=0" --json
told "(l := m['loras'][0])['name'] == 'tintype-old-photo' and l['scale'] == 0.5 and l['rank'] == 8"
told "(l := m['loras'][0])['unmatched'] == 0 and l['matched'] > 100 and l['kind'] == 'LoRA'"
told "'/' not in str(m['loras'])"
clean
end

begin "the README's pictures are what its commands make"
for word in mountains.png mountains-old-photo.png; do
    grep -qF -- "--out docs/$word" "$REPOSITORY/README.md" || problem "README.md has no command for $word"
done
cp "$REPOSITORY/docs/mountains-old-photo.png" b.png
run 0 run --prompt "snowy mountains under a blue sky" --seed 7 --width 256 --height 256 --dtype f32 --lora "$style:0.9" \
    --out a.png --no-preview
judge "$far < 3"
clean
end

begin "two LoRAs are applied in their order"
run 0 run --prompt x "${quick[@]}" --lora "$style:0.5" --lora "$style:-0.5" --json
told "[l['scale'] for l in m['loras']] == [0.5, -0.5]"
clean
end

# ---- pictures to start from ----

begin "a picture gives its size and shows through"
run 0 run --prompt x --seed 1 --steps 4 --dtype f32 --no-preview --image scene --strength 0.25 --out a.png
judge "(p := png('a.png')).width == 128 and p.height == 96"
judge "sum(abs(p - q) for p, q in zip(png('a.png').rgb, png('scene').rgb)) / len(png('scene').rgb) < 60"
clean
end

begin "a picture is cropped to a size that was asked for"
run 0 run --prompt x --seed 1 --steps 2 --width 64 --height 64 --no-preview --image scene --out a.png
judge "(p := png('a.png')).width == 64 and p.height == 64"
clean
end

begin "a mask keeps the rest to the last bit but one"
run 0 run --prompt "a boat" --seed 1 --steps 3 --no-preview --image scene --mask mask --strength 1 --out a.png
judge "([p := png('a.png').rgb, q := png('scene').rgb] and
        all(abs(p[i] - q[i]) <= 1 for i in range(len(q)) if i // 3 % 128 >= 66) and
        any(abs(p[i] - q[i]) > 9 for i in range(len(q)) if i // 3 % 128 < 60))"
clean
end

begin "what is transparent is painted in"
run 0 run --prompt "a boat" --seed 1 --steps 2 --no-preview --image cutout --mask alpha --strength 1 --out a.png
judge "(p := png('a.png').rgb) and all(abs(p[(y * 64 + x) * 3] - x * 2) <= 1 for y in range(64) for x in range(36, 64))"
clean
end

begin "outpaint makes room and keeps the picture"
run 0 run --prompt "a boat" --seed 1 --steps 2 --no-preview --image scene --outpaint 16,0,32,8 --out a.png
judge "(p := png('a.png')).width == 176 and p.height == 104"
judge "([p := png('a.png').rgb, q := png('scene').rgb] and
        all(abs(p[(y * 176 + x + 16) * 3 + c] - q[(y * 128 + x) * 3 + c]) <= 1
            for y in range(80) for x in range(34, 94) for c in range(3)))"
judge "png('a.png').spread() > 5"
clean
end

begin "a job brings its picture as base64 or data URI"
python3 -c 'import base64, json
p = base64.b64encode(open("scene", "rb").read()).decode()
json.dump({"input": {"prompt": "x", "init_image": p, "denoising_strength": 0.5}}, open("job.json", "w"))
json.dump({"input": {"prompt": "x", "image": "data:image/png;base64," + p, "strength": 0.5}}, open("uri.json", "w"))'
run 0 run --input job.json --seed 1 --steps 2 --no-preview --out a.png
run 0 run --input uri.json --seed 1 --steps 2 --no-preview --out b.png
judge "$same"
judge "png('a.png').width == 128"
clean
end

# ---- other ways to draw ----

begin "a variation is another picture, and none at strength 0"
draw a
draw b --variation 0 --variation-seed 9
judge "$same"
draw b --variation 0.2 --variation-seed 9
judge "$far > 0.5"
clean
end

begin "a recipe sets what nobody said"
run 0 run --prompt x --seed 1 --width 64 --height 64 --recipe lightning-4 --json
told "m['steps'] == 4 and m['cfg_scale'] == 1 and m['recipe'] == 'lightning-4'"
run 0 run --prompt x --seed 1 --width 64 --height 64 --recipe lightning-4 --steps 2 --json
told "m['steps'] == 2 and m['cfg_scale'] == 1"
clean
end

begin "compat a1111 draws its noise on a graphics card"
run 0 run --prompt x "${quick[@]}" --compat a1111 --json
told "m['noise'] == 'cuda' and m['compat'] == 'a1111'"
clean
end

begin "prompts are weighed, and plain ones are not"
run 0 run --prompt "a (lighthouse:1.5)" "${quick[@]}" --out a.png
run 0 run --prompt "a lighthouse" "${quick[@]}" --out b.png
judge "$far > 0"
run 0 run --prompt "a lighthouse" --prompt-syntax plain "${quick[@]}" --out a.png
judge "$same"
clean
end

begin "guidance may rest, and clip skip is counted as people do"
draw a
draw b --guidance-end 0.5
judge "$far > 0"
draw b --clip-skip 2
judge "$same"
draw b --clip-skip 3
judge "$far > 0"
clean
end

begin "settings that had no effect are told"
run 0 run --prompt "x <nothing:here>" "${quick[@]}" --strength 0.5 --refiner-start 0.8 --json
told "len(m['warnings']) == 3"
draw a --strength 0.5
stderr_has "--strength was not used"
clean
end

begin "VAE tiling is asked for and told"
run 0 run --prompt x "${quick[@]}" --vae-tiling never --json
told "m['vae_tiled'] is False"
clean
end

finish
