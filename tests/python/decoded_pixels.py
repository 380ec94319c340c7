"""Makes burn-vlm-data/tests/fixtures/decoded: small pictures, and the pixels that Pillow has of them as PNG.

    python tests/python/decoded_pixels.py

with Pillow (13 made what is committed; 11 and 12 resize one of them otherwise, see docs/image-processing.md) and numpy.
NAME.png beside NAME.jpg or NAME.webp is what Pillow decodes; noise.resized.png is noise.png resized to 38 x 38, bicubic.
"""

from pathlib import Path

import numpy
from PIL import Image, __version__, features

OUT = Path(__file__).resolve().parents[2] / "burn-vlm-data/tests/fixtures/decoded"


def main():
    OUT.mkdir(exist_ok=True)
    random = numpy.random.default_rng(5)
    y, x = numpy.mgrid[0:27, 0:35]
    smooth = numpy.stack([x * 7, y * 9, (x * 3 + y * 5) % 256], -1)
    # Odd sizes, edges of colour inside a block: what the chroma's enlargement shows most.
    edges = numpy.where(((x // 5 + y // 3) % 2 == 0)[..., None], [250, 20, 30], [10, 60, 240])
    mixed = Image.fromarray(numpy.where(x[..., None] < 18, edges, smooth + random.integers(0, 20, smooth.shape)).clip(0, 255).astype(numpy.uint8))
    noise = Image.fromarray(random.integers(0, 256, (50, 33, 3), dtype=numpy.uint8))
    made = []

    def save(name, image, **options):
        path = OUT / name
        image.save(path, **options)
        Image.open(path).convert("RGB").save(path.with_suffix(".png"))
        made.append(name)

    for sampling, name in [(0, "444"), (1, "422"), (2, "420")]:
        save(f"baseline_{name}.jpg", mixed, quality=80, subsampling=sampling)
    save("progressive_420.jpg", mixed, quality=60, subsampling=2, progressive=True)
    save("restart_420.jpg", mixed, quality=90, subsampling=2, restart_marker_blocks=2)
    save("noise_422.jpg", noise, quality=95, subsampling=1)
    save("grey.jpg", mixed.convert("L"), quality=75)
    save("cmyk.jpg", mixed.convert("CMYK"), quality=85)
    save("one_pixel.jpg", mixed.crop((3, 3, 4, 4)), quality=75)
    save("lossy.webp", mixed, quality=60)
    save("lossless.webp", mixed, lossless=True)
    noise.save(OUT / "noise.png")
    noise.resize((38, 38), Image.Resampling.BICUBIC).save(OUT / "noise.resized.png")
    print(f"{len(made)} pictures by Pillow {__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}, libwebp {features.version('webp')}")


if __name__ == "__main__":
    main()
