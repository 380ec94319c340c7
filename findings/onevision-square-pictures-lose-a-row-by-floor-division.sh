#!/usr/bin/env bash
# LLaVA-OneVision in transformers: a picture of 1920 x 1920 gets fewer visual tokens than one of 1536 x 1536 or 2304 x 2304, whose limit is
# the same.
#
# `anyres_max_9` shrinks the patches of a picture's tiles to at most 9 x 27 x 27 = 6,561: to 81 x 81 for every square picture of four
# tiles a side or more. Both the processor (the number of placeholders) and the model (the interpolation) compute a side as
# `int(side // ratio)`, where the ratio is a rounded square root. Of 135 and 1.6666666666666667, which is above 5/3, Python's `//` gives
# 80.0, since it takes the remainder of the exact numbers; `/` rounds to 81.0. So a square of five tiles is shrunk to 80 x 80.
#
# Seen (transformers 5.24.0, the default 27 x 27 patches a tile, tiles of 384 pixels):
#   tiles   picture       // gives   / gives   tokens without the base tile
#   4 x 4   1536 x 1536   81         81        6642
#   5 x 5   1920 x 1920   80         81        6480
#   6 x 6   2304 x 2304   81         81        6642
# Expected: 6642 for all three.
#
# Why it matters: whoever ports processor and model with a plain division and a cast (`(side / ratio) as usize`) has 162 tokens more for
# such pictures than the library that the checkpoints are served with: other positions for all text that follows, and an error where one
# side's count meets the other's model. Pictures of other shapes do not show it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet transformers==5.24.0 pillow==12.0.0 numpy
cat > see.py <<'PY'
import math
from types import SimpleNamespace

from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor

PATCHES, SIDE = 27, 384
settings = SimpleNamespace(vision_aspect_ratio="anyres_max_9")
seen = []
print("tiles   picture       // gives   / gives   tokens without the base tile")
for tiles in (4, 5, 6):
    pixels = tiles * SIDE
    features, newlines = LlavaOnevisionProcessor._get_unpadded_features(
        settings, pixels, pixels, PATCHES, PATCHES, tiles, tiles
    )
    side = tiles * PATCHES
    ratio = math.sqrt(side * side / (9 * PATCHES**2))
    print(f"{tiles} x {tiles}   {pixels} x {pixels}   {newlines:<8}   {int(side / ratio):<7}   {features + newlines}")
    seen.append((newlines, int(side / ratio), features + newlines))
assert seen == [(81, 81, 6642), (80, 81, 6480), (81, 81, 6642)], seen
PY
venv/bin/python see.py
