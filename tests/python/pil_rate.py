"""This library's image preprocessing and Pillow's, in one run, on one thread each, by one clock.

    pip install pillow numpy
    cargo build --release --example preprocess_rate
    python tests/python/pil_rate.py [path of preprocess_rate]

Prints images/s for decode + convert to RGB + resize to 384 x 384 (bicubic) + normalise to float32 channels first, and for the
parts. Both are processor time (getrusage: this process for Pillow, the child for ours), so that other work on the machine does
not count; what it does to caches and clock rates does, and the load is printed. Rounds of the two alternate, medians are
printed. Pillow's normalisation is the cheapest that numpy offers (in place, float32 throughout).
"""

import io
import os
import pathlib
import resource
import subprocess
import sys

import numpy as np
import PIL
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = ["burn-vlm-data/benches/china_501x334.jpg", "tests/fixtures/images/china_501x334.png"]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
SIZE = (384, 384)
ROUNDS = 7
SECONDS = 0.5
# Calls of the run that is taken off for reading the file and starting.
WARM_UP = 10


def decode(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image.convert("RGB")


def resize_normalise(image):
    pixels = np.asarray(image.resize(SIZE, Image.Resampling.BICUBIC)).transpose(2, 0, 1).astype(np.float32)
    pixels *= np.float32(1 / 255)
    pixels -= np.float32(0.5)
    pixels /= np.float32(0.5)
    return np.ascontiguousarray(pixels)


def spent(who):
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def pillow(work):
    """Calls per second of processor time."""
    begin, count = spent(resource.RUSAGE_SELF), 0
    while spent(resource.RUSAGE_SELF) - begin < SECONDS:
        work()
        count += 1
    return count / (spent(resource.RUSAGE_SELF) - begin)


def ours(binary, file, part, count):
    """As above, for `count` calls beyond those of the start."""
    times = []
    for calls in (WARM_UP, WARM_UP + count):
        begin = spent(resource.RUSAGE_CHILDREN)
        subprocess.run([binary, file, part, str(calls)], check=True)
        times.append(spent(resource.RUSAGE_CHILDREN) - begin)
    return count / (times[1] - times[0])


def median(values):
    return sorted(values)[len(values) // 2]


def main(binary):
    print("Pillow", PIL.__version__, "numpy", np.__version__, "load", *(f"{load:.1f}" for load in os.getloadavg()))
    print(f"{'images/s, processor time':28} {'ours':>8} {'Pillow':>8} {'ratio':>6}")
    for file in (ROOT / name for name in FILES):
        data = file.read_bytes()
        image = decode(data)
        parts = {
            "whole": lambda: resize_normalise(decode(data)),
            "decode": lambda: decode(data),
            "resize_normalise": lambda: resize_normalise(image),
        }
        for part, work in parts.items():
            count = max(int(ours(binary, file, part, 100) * SECONDS), 10)
            rounds = [(ours(binary, file, part, count), pillow(work)) for _ in range(ROUNDS)]
            mine, theirs = (median([pair[side] for pair in rounds]) for side in (0, 1))
            print(f"{file.suffix[1:]} {part:24} {mine:8.0f} {theirs:8.0f} {mine / theirs:6.1f}")


if __name__ == "__main__":
    main(*(sys.argv[1:] or [TARGET / "release/examples/preprocess_rate"]))
