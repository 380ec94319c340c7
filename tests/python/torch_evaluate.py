"""Answers to the questions of `benches/evaluate.rs` by transformers' batched `generate`, on the same exported folder.

    pip install torch transformers numpy pillow
    EXPORT=/tmp/evaluate QUESTIONS=1000 PER_PICTURE=4 cargo bench --bench evaluate -- generate
    python tests/python/torch_evaluate.py /tmp/evaluate [rows of a batch]

The bench writes model, pictures and prompts, and prints this library's rate. Here the prompts are sorted by length, padded on the left
and generated in batches of fixed rows, each until its longest answer ends (f32, two threads, scaled_dot_product_attention): how both
evaluation kits call it. Prints questions a second, and how many answers are token by token those that this library wrote.
"""

import json
import os
import pathlib
import sys
import time

import numpy
import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration

THREADS = 2


def main():
    folder = pathlib.Path(sys.argv[1])
    batch = int(sys.argv[2]) if len(sys.argv) > 2 else 128
    torch.set_num_threads(THREADS)
    rows = json.loads((folder / "prompts.json").read_text())
    limit = int(os.environ.get("QUESTIONS", len(rows)))
    rows = sorted(rows[:limit], key=lambda row: len(row["ids"]))
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()
    model.generation_config.eos_token_id = None
    answers, equal, began = 0, 0, time.time()
    for start in range(0, len(rows), batch):
        chunk = rows[start : start + batch]
        width = max(len(row["ids"]) for row in chunk)
        ids = torch.zeros(len(chunk), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for at, row in enumerate(chunk):
            ids[at, width - len(row["ids"]) :] = torch.tensor(row["ids"])
            mask[at, width - len(row["ids"]) :] = 1
        pictures = [numpy.asarray(Image.open(folder / row["picture"]).convert("RGB")) for row in chunk]
        pixels = (torch.tensor(numpy.stack(pictures)).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        with torch.inference_mode():
            out = model.generate(
                input_ids=ids, attention_mask=mask, pixel_values=pixels, do_sample=False, pad_token_id=0,
                max_new_tokens=max(row["tokens"] for row in chunk),
            )
        for row, new in zip(chunk, out[:, width:].tolist()):
            answers += 1
            equal += new[: len(row["new"])] == row["new"]
        print(f"{answers} of {len(rows)}, {answers / (time.time() - began):.2f}/s", file=sys.stderr, flush=True)
    seconds = time.time() - began
    print(f"transformers, batch {batch}: {answers / seconds:.2f} questions/s; {equal} of {answers} answers equal")


if __name__ == "__main__":
    main()
