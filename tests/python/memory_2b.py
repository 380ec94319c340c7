"""The most memory that `burn-vlm chat` holds with a model of TowerVision-2B's shape: one picture of five tiles and about 4,096 tokens.

    pip install numpy pillow
    cargo build --release --bin burn-vlm
    python tests/python/memory_2b.py target/release/burn-vlm [--dtype q8 q4 bf16]

A folder of random weights in bf16 is written into a temporary folder (6 GB; TMPDIR says where): Gemma 2 of 26 layers of 2,304 with 256,001
words, SigLIP 2 so400m for 384 pixels with 26 layers, LLaVA-NeXT's tiles. Names of tensors, tokenizer and templates are those of
`tests/fixtures/llava_next_siglip_gemma2`. The answer means nothing; tokens read, rates and the peak of the process (`ru_maxrss`) do.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

FIXTURE = pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "llava_next_siglip_gemma2"
LAYERS, SIDE, SMALL_SIDE = 26, 384, 62
# The fixture's sizes, and what stands in their place.
DECODER = {48: 2304, 80: 9216, 64: 2048, 32: 1024, 896: 256_001}
TOWER = {40: 1152, 72: 4304, 16: 729}
VALUES = 1 << 24


def resized(value):
    """Sides in pixels of another tower."""
    if isinstance(value, dict):
        return {key: resized(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [resized(inner) for inner in value]
    return value // SMALL_SIDE * SIDE if isinstance(value, int) and value >= SMALL_SIDE and value % SMALL_SIDE == 0 else value


def write_config(folder):
    config = json.loads((FIXTURE / "config.json").read_text())
    config["image_grid_pinpoints"], config["image_seq_length"] = resized(config["image_grid_pinpoints"]), 729
    config["text_config"] |= {
        "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": LAYERS, "num_attention_heads": 8, "num_key_value_heads": 4,
        "head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window": 4096, "max_position_embeddings": 8192, "vocab_size": 256_001,
        "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
        "layer_types": ["sliding_attention", "full_attention"] * (LAYERS // 2),
    }
    config["vision_config"] |= {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": LAYERS, "num_attention_heads": 16,
                                "image_size": SIDE, "vision_use_head": False}
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("preprocessor_config.json", "processor_config.json"):
        (folder / name).write_text(json.dumps(resized(json.loads((FIXTURE / name).read_text()))))
    for name in ("chat_template.jinja", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(FIXTURE / name, folder / name)


def shapes():
    """Names and shapes of the tensors."""
    with open(FIXTURE / "model.safetensors", "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    for name, tensor in header.items():
        layer = re.search(r"\.layers\.(\d+)\.", name)
        if name == "__metadata__" or ".head." in name or layer and layer[1] != "0":
            continue
        sizes = TOWER if name.startswith("vision_tower") else {40: 1152, 48: 2304} if "projector" in name else DECODER
        # The sides of a patch stay.
        shape = [sizes.get(side, side) for side in tensor["shape"][:2]] + tensor["shape"][2:]
        for at in range(LAYERS if layer else 1):
            yield name.replace(".layers.0.", f".layers.{at}."), shape


def write_weights(folder):
    random = np.random.default_rng(0)
    # The upper halves of f32 are bf16; a piece of random numbers is used again and again.
    values = (random.standard_normal(VALUES, dtype=np.float32) * np.float32(0.02)).view(np.uint32) >> 16
    values = values.astype("<u2").tobytes()
    header, start, count = {}, 0, 0
    for name, shape in shapes():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, start + size]}
        start, count = start + size, count + size // 2
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        while start > 0:
            file.write(values[:start])
            start -= min(start, len(values))
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--dtype", nargs="+", default=["q8", "q4"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_config(folder)
        count = write_weights(folder)
        picture = folder / "picture.png"
        noise = np.random.default_rng(1).integers(0, 256, (2 * SIDE, 2 * SIDE, 3), dtype=np.uint8)
        Image.fromarray(noise).save(picture)
        print(f"{count / 1e9:.2f} billion parameters, {2 * count / 1e9:.2f} GB in bf16")
        words = "a " * 180
        for dtype in args.dtype:
            line = [args.program, "chat", "--model", folder, "--dtype", dtype, "--device", "flex", "--image", picture, "--temperature", "0",
                    "--max-new-tokens", "8", "--prompt", words]
            process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ)
            said = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            rates = re.search(r"read ([\d,]+) tokens .*", said)
            if status != 0 or not rates:
                sys.exit(f"chat --dtype {dtype}: {said[-800:]}")
            print(f"{dtype}: at most {usage.ru_maxrss * 1024 / 1e9:.2f} GB; {rates[0]}")


if __name__ == "__main__":
    main()
