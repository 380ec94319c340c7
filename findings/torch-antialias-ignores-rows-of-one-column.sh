#!/usr/bin/env bash
# PyTorch's antialiased resizing of one column gives every row the value of the first rows.
#
# `torch.nn.functional.interpolate(..., antialias=True)` to a width of 1 resizes along the width first, and what is then one column
# wide is not resized along the height: every row of the output is the same. A column that was one pixel wide before comes out so
# too. The same values lying on their side, and every other width, are right; without `antialias` one column is right as well.
# There is no warning.
#
# Seen (torch 2.15.0, CPU, float32; [1, 1, 4, 4] with 0 to 15 row by row), to height 8 and width 1:
#   standing: 1.5 eight times
#   the same on its side, to 1 x 8: 1.5, 2.5, 4.5, 6.5, 8.5, 10.5, 12.5, 13.5, as expected (means of rows, mixed between rows)
#   [1, 1, 4, 1] with 0 to 3, to height 8: 0 eight times; without antialias 0, 0.25, 0.75, ...
# The same with ATEN_CPU_CAPABILITY=default, avx2 and avx512.
#
# Why it matters: encoders for pictures in their own aspect ratio (SigLIP 2 NaFlex and its like) resize their learned positions to
# each picture's grid this way, and a receipt or a panorama on its side is one patch wide. Whoever compares a port with torch there
# finds the port wrong, and a model that does it so sees a tall picture as many times its first row.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.15.0 numpy==2.4.6
cat > see.py <<'PY'
import torch
from torch.nn.functional import interpolate


def resized(values, size, antialias):
    return interpolate(values, size=size, mode="bilinear", align_corners=False, antialias=antialias)


def column(tensor):
    return [round(value, 4) for value in tensor.flatten().tolist()]


square = torch.arange(16.0).reshape(1, 1, 4, 4)
standing = column(resized(square, (8, 1), True))
lying = column(resized(square.transpose(2, 3).contiguous(), (1, 8), True))
thin = torch.arange(4.0).reshape(1, 1, 4, 1)
thin_antialiased = column(resized(thin, (8, 1), True))
thin_plain = column(resized(thin, (8, 1), False))
print("torch", torch.__version__)
print("4 x 4 to 8 x 1:                ", standing)
print("the same on its side, 1 x 8:   ", lying)
print("4 x 1 to 8 x 1, antialiased:   ", thin_antialiased)
print("4 x 1 to 8 x 1, not:           ", thin_plain)
# Several channels, and a width of two, to show where it ends.
many = torch.arange(128.0).reshape(1, 8, 4, 4)
print("8 channels, 8 x 1, rows differ:", bool((resized(many, (8, 1), True).diff(dim=2) != 0).any()))
print("8 channels, 8 x 2, rows differ:", bool((resized(many, (8, 2), True).diff(dim=2) != 0).any()))
assert len(set(standing)) == 1 and len(set(lying)) > 4, "one column is resized along its height now"
assert len(set(thin_antialiased)) == 1 and len(set(thin_plain)) > 4, "a thin picture is resized now"
assert not (resized(many, (8, 1), True).diff(dim=2) != 0).any()
assert (resized(many, (8, 2), True).diff(dim=2) != 0).any()
PY
venv/bin/python see.py
