"""Pillow's rate on the work that `benches/preprocess.rs` measures, on one thread, by processor time.

    pip install pillow numpy
    python tests/python/pil_rate.py

Prints images/s for decode + convert to RGB + resize to 384 x 384 (bicubic) + normalise to float32 channels first, and for the
parts. The normalisation is the cheapest that numpy offers (in place, float32 throughout).
"""

import io
import pathlib
import time

import numpy as np
import PIL
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = ["burn-vlm-data/benches/china_501x334.jpg", "tests/fixtures/images/china_501x334.png"]
SIZE = (384, 384)


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


def rate(work, rounds=7, seconds=0.5):
    """The median over rounds of calls per second."""
    rates = []
    for _ in range(rounds):
        begin, count = time.process_time(), 0
        while time.process_time() - begin < seconds:
            work()
            count += 1
        rates.append(count / (time.process_time() - begin))
    return sorted(rates)[rounds // 2]


print("Pillow", PIL.__version__, "numpy", np.__version__)
for name in FILES:
    data = (ROOT / name).read_bytes()
    image = decode(data)
    print(f"{name.rsplit('.')[-1]}_whole            {rate(lambda: resize_normalise(decode(data))):8.1f} images/s")
    print(f"{name.rsplit('.')[-1]}_decode           {rate(lambda: decode(data)):8.1f} images/s")
    print(f"{name.rsplit('.')[-1]}_resize_normalise {rate(lambda: resize_normalise(image)):8.1f} images/s")
