#!/usr/bin/env bash
# Everything a card has to show, in one command: builds gsplat's kernels once, runs the GPU tests and the benchmark.
#
#     tools/gpu_check.sh [FOLDER]      writes FOLDER/{build,tests}.log, bench.json, machine.txt (default gpu_check)
#
# CUDA_HOME is the toolkit's real folder; a script named nvcc on PATH misleads PyTorch. MAX_JOBS bounds the compile; free memory does unless it is set.
set -euo pipefail
cd "$(dirname "$0")/.."
results=${1:-gpu_check}
mkdir -p "$results"
python=${PYTHON:-python3}
if [ -z "${CUDA_HOME:-}" ]; then
  for folder in /usr/local/cuda /usr/local/cuda-*; do
    if [ -x "$folder/bin/nvcc" ]; then CUDA_HOME=$folder; fi
  done
fi
export CUDA_HOME=${CUDA_HOME:-}
export TORCH_CUDA_ARCH_LIST=${TORCH_CUDA_ARCH_LIST:-$("$python" -c 'import torch; print("%d.%d" % torch.cuda.get_device_capability())')}
{ nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv; "$python" -m gaussian_splatting.doctor || true; } \
  >"$results/machine.txt" 2>&1
echo "building gsplat's kernels for $TORCH_CUDA_ARCH_LIST (log: $results/build.log)"
"$python" -c 'import torch; from gaussian_splatting.rasterizer import gsplat; gsplat.load_library(torch.device("cuda"))' \
  >"$results/build.log" 2>&1 || { tail -20 "$results/build.log"; exit 1; }
status=0
"$python" -m pytest -m gpu tests/gpu -q 2>&1 | tee "$results/tests.log" || status=$?
"$python" tools/bench_gpu.py --json "$results/bench.json"
exit "$status"
