#!/usr/bin/env bash
# Everything that needs an NVIDIA GPU, in a few minutes: the operations against the reference, the same under
# compute-sanitizer, the shipped model's pictures, and speed in SDXL's full size beside torch's.
#
#     tools/dev/gpu_check.sh [--programs DIR] [--out DIR] [--only ops,memcheck,golden,speed,torch]
#
# --programs  a folder with test_ops_ops, test_golden_shipped and bench_breakdown, for a machine that cannot build them;
#             else they are built in build/gpu. Libraries in DIR/lib are used.
# --out       where logs go; build/gpu/check by default.
# --only      some of the parts. torch wants a python3 with torch, and diffusers for whole steps.
#
# cuBLAS and cuDNN are found by the program itself, or in the Python packages of NVIDIA. The last line is
# "N passed, N failed, N skipped"; a test that is skipped counts as failed, since here is a GPU.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
# shellcheck source=tools/dev/lib.sh
source tools/dev/lib.sh

programs='' out=build/gpu/check only=ops,memcheck,golden,speed,torch
SECONDS_PER_PART=${SECONDS_PER_PART:-120}
MODEL_BYTES_GB=8

while [ $# -gt 0 ]; do
    case $1 in
    --programs) programs=$2 ;;
    --out) out=$2 ;;
    --only) only=$2 ;;
    *) die "gpu_check.sh: unknown argument '$1'" 2 ;;
    esac
    shift 2 || die "gpu_check.sh: $1 wants a value" 2
done
mkdir -p "$out"

wants() { [[ ",$only," == *",$1,"* ]]; }

build_programs() {
    programs=build/gpu
    configure_tree build/gpu -DCMAKE_BUILD_TYPE=Release -DTT_TESTS=ON -DTT_CUDA=ON
    cmake --build build/gpu -j "$(n_cores)" --target test_ops_ops test_golden_shipped bench_breakdown ||
        die "the build in build/gpu failed (above)"
}

# Folders of cuBLASLt and cuDNN among Python's packages, joined by colons.
python_libraries() {
    python3 - <<'PYTHON' 2>/dev/null
import os, site, sys
roots = [os.path.join(p, "nvidia") for p in sys.path + site.getsitepackages()]
names = ("libcublasLt.so", "libcudnn.so")
print(":".join(sorted({f for r in roots for f, _, files in os.walk(r) if any(x.startswith(names) for x in files)})))
PYTHON
}

# part NAME LOG COMMAND...: one row of the table; skips and failures of cmocka's cases count.
part() {
    local name=$1 log=$out/$2 start=$SECONDS
    shift 2
    if timeout "$SECONDS_PER_PART" "$@" >"$log" 2>&1 && ! grep -q '^\[  SKIPPED' "$log"; then
        n_passed=$((n_passed + 1))
        printf '  %-28s ok      %4d s\n' "$name" $((SECONDS - start))
    else
        n_failed=$((n_failed + 1))
        printf '  %-28s FAILED  %4d s (%s)\n' "$name" $((SECONDS - start)) "$log"
        grep -E 'FAILED|SKIPPED|error|ERROR|dB <-|no CUDA' "$log" | sort | uniq -c | head -n 20
    fi
}

memory_folder() { # where a model of some GB may lie
    local free
    free=$(df --output=avail -BG /dev/shm 2>/dev/null | tail -n 1 | tr -dc 0-9)
    if [ "${free:-0}" -gt $((2 * MODEL_BYTES_GB)) ]; then echo /dev/shm; else echo build/gpu; fi
}

# speed DTYPE SIZE STEPS [FLAGS...]
speed() {
    local dtype=$1 size=$2 steps=$3 tag
    shift 3
    tag=$(printf '%s' "$dtype-$size" "$@")
    part "speed $dtype $size $*" "speed-$tag.json" "$programs/bench_breakdown" --model "$model" --device cuda \
        --dtype "$dtype" --width "$size" --height "$size" --steps "$steps" --warm "$@"
    cat "$out/speed-$tag.json"
}

all_speeds() {
    model=$(memory_folder)/tintype-gpu-check-$$.safetensors
    trap 'rm -f "$model"' EXIT
    part "random SDXL" write.log python3 tools/bench/write_random_sdxl.py --dtype bf16 --out "$model"
    local size
    for size in 512 1024; do
        speed bf16 "$size" 12 --untimed
        speed bf16 "$size" 12
        speed f32 "$size" 4
    done
}

[ -n "$programs" ] || build_programs
LD_LIBRARY_PATH=$(python_libraries):$programs/lib:${LD_LIBRARY_PATH:-}
export LD_LIBRARY_PATH TT_BUILD_DIR=$programs OMP_WAIT_POLICY=passive
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader || die "no NVIDIA GPU here"

wants ops && part "operations" ops.log "$programs/test_ops_ops" 'cuda_*'
wants memcheck && part "operations, memcheck" memcheck.log compute-sanitizer --tool memcheck --report-api-errors no \
    --error-exitcode 9 \
    "$programs/test_ops_ops" 'cuda_*'
wants golden && part "the shipped model" golden.log "$programs/test_golden_shipped"
wants golden && grep ' dB' "$out/golden.log"
wants speed && all_speeds
wants torch && part "torch" torch.jsonl python3 tools/bench/gpu_torch.py && cat "$out/torch.jsonl"
finish
