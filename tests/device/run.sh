#!/usr/bin/env bash
# What this library does on a GPU, checked and measured unattended in under eight minutes; PyTorch beside it.
#
#     tests/device/run.sh [--out DIR] [--program PATH] [--device cuda|flex] [--shape 2b|tiny] [--minutes 8] [--no-torch]
#
# The machine needs an NVIDIA driver, CUDA's NVRTC and headers (a toolkit, or the wheels that PyTorch brings) and python3 with torch and
# transformers; no Rust. The program is built before, elsewhere (docs/backends.md, "Carrying a program to a GPU"), and lies beside this
# script as burn-vlm.xz, or is given by --program. `--device flex --shape tiny` tries everything but the device, on any machine.
#
# Writes DIR/result.json, which is there after every step, and DIR/result.html. Ends with 1 if a check fails, figures aside.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ -f "$here/burn-vlm.xz" ] && ! [ -x "$here/burn-vlm" ]; then
  # Under another name until it is whole.
  xz -dc "$here/burn-vlm.xz" > "$here/burn-vlm.part"
  chmod +x "$here/burn-vlm.part"
  mv "$here/burn-vlm.part" "$here/burn-vlm"
fi
exec python3 "$here/measure.py" "$@"
