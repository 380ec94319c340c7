#!/usr/bin/env python3
"""Pairs a second and peak memory of `burn-vlm data score` beside unbabel-comet, on one random model, in one run, on as many threads.

    pip install "unbabel-comet==2.2.7" "setuptools<82"
    cargo build --release --bin burn-vlm
    python tests/python/comet_rate.py --encoder DIR [--size tiny|large] [--pairs 64] [--rounds 3] [--threads 2]

`--encoder` is a folder with an XLM-RoBERTa tokenizer (tokenizer.json or sentencepiece.bpe.model; that of tests/fixtures/comet_x will do).
`large` is infoxlm-large's size (24 layers, 1024, 565 million parameters with 250,002 words; the script writes 2.3 GB to a temporary
folder). Texts are random words of the vocabulary, so that a joined pair has 40 to 400 ids. Rounds of the two alternate; loading is
taken off by a run of one pair; medians are printed. Without unbabel-comet its column stays empty.
"""

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import XLMRobertaConfig, XLMRobertaModel, XLMRobertaTokenizerFast

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/burn-vlm"
SIZES = {
    "tiny": dict(hidden_size=64, num_hidden_layers=4, num_attention_heads=4, intermediate_size=256),
    "large": dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096),
}
HEAD = {"tiny": [64, 32], "large": [3072, 1024]}
LENGTHS = (20, 200)


def build(folder, encoder, size, vocabulary):
    config = XLMRobertaConfig(vocab_size=vocabulary, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5,
                              pad_token_id=1, bos_token_id=0, eos_token_id=2, **SIZES[size])
    (folder / "encoder").mkdir(parents=True)
    config.save_pretrained(folder / "encoder")
    for path in encoder.iterdir():
        if path.name != "config.json" and path.is_file():
            shutil.copy(path, folder / "encoder")
    torch.manual_seed(0)
    body = XLMRobertaModel(config, add_pooling_layer=False).state_dict()
    state = {f"encoder.model.{key}": value for key, value in body.items()}
    count, width = config.num_hidden_layers + 1, config.hidden_size
    for index in range(count):
        state[f"layerwise_attention.scalar_parameters.{index}"] = torch.randn(1)
    state["layerwise_attention.gamma"] = torch.ones(1)
    for index, output in enumerate(HEAD[size] + [1]):
        layer = torch.nn.Linear(width, output)
        state[f"estimator.ff.{3 * index}.weight"], state[f"estimator.ff.{3 * index}.bias"] = layer.weight.data, layer.bias.data
        width = output
    hparams = {
        "nr_frozen_epochs": 0.3, "keep_embeddings_frozen": True, "optimizer": "AdamW", "encoder_learning_rate": 1e-6,
        "learning_rate": 1.5e-5, "layerwise_decay": 0.95, "encoder_model": "XLM-RoBERTa", "pretrained_model": str(folder / "encoder"),
        "sent_layer": "mix", "layer_transformation": "softmax", "layer_norm": False, "word_layer": 4, "loss": "mse", "dropout": 0.1,
        "batch_size": 4, "train_data": [], "validation_data": [], "hidden_sizes": HEAD[size], "activations": "Tanh",
        "final_activation": None, "input_segments": ["mt", "src"], "word_level_training": False, "class_identifier": "unified_metric",
    }
    (folder / "hparams.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in hparams.items()))
    (folder / "checkpoints").mkdir()
    checkpoint = {"state_dict": state, "hyper_parameters": hparams, "epoch": 0, "global_step": 0, "pytorch-lightning_version": "2.0.0"}
    torch.save(checkpoint, folder / "checkpoints/model.ckpt")


def texts(encoder, pairs):
    """Random words, of as many tokens as asked for, give or take those that are cut otherwise when read back."""
    tokenizer = XLMRobertaTokenizerFast.from_pretrained(encoder)
    draw = random.Random(1)
    text = lambda: tokenizer.decode([draw.randrange(4, len(tokenizer) - 1) for _ in range(draw.randint(*LENGTHS))])
    return [{"src": text(), "mt": text()} for _ in range(pairs)], len(tokenizer)


def ours(folder, data, threads):
    with tempfile.TemporaryDirectory() as work:
        rows = "".join(json.dumps({"source": row["src"], "translation": row["mt"]}, ensure_ascii=False) + "\n" for row in data)
        (Path(work) / "pairs.jsonl").write_text(rows)
        began = time.perf_counter()
        command = [PROGRAM, "data", "score", "pairs.jsonl", "--model", folder, "--out", "out.jsonl", "--device", "flex"]
        process = subprocess.Popen(command, cwd=work, stdout=subprocess.DEVNULL, env=os.environ | {"RAYON_NUM_THREADS": str(threads)})
        # `ru_maxrss` of a child would hold what this process held when it began the child.
        peak = 0
        while process.poll() is None:
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
            peak = max(peak, int(found[1]) if found else 0)
            time.sleep(0.02)
        seconds = time.perf_counter() - began
        if process.returncode:
            sys.exit(f"burn-vlm ended with {process.returncode}")
        scores = [json.loads(line)["quality"] for line in (Path(work) / "out.jsonl").read_text().splitlines()]
    return seconds, scores, peak * 1024 / 1e6


def theirs(model, data):
    began = time.perf_counter()
    found = model.predict(data, batch_size=16, gpus=0, num_workers=0, progress_bar=False)
    return time.perf_counter() - began, found.scores


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "model"
        data, vocabulary = texts(args.encoder, args.pairs)
        build(folder, args.encoder, args.size, 250_002 if args.size == "large" else vocabulary)
        weights = (folder / "checkpoints/model.ckpt").stat().st_size / 1e6
        print(f"{args.size}: weights {weights:.0f} MB, {args.pairs} pairs, {args.threads} threads")
        model = None
        try:
            from comet import load_from_checkpoint

            model = load_from_checkpoint(str(folder / "checkpoints/model.ckpt"), local_files_only=True)
        except ImportError as error:
            print("unbabel-comet is not here:", error)
        rates = {"burn-vlm": [], "unbabel-comet": []}
        scores = {}
        for _ in range(args.rounds):
            load, _, _ = ours(folder, data[:1], args.threads)
            whole, scores["burn-vlm"], peak = ours(folder, data, args.threads)
            rates["burn-vlm"].append((args.pairs - 1) / (whole - load))
            if model:
                seconds, scores["unbabel-comet"] = theirs(model, data)
                rates["unbabel-comet"].append(args.pairs / seconds)
        print(f"burn-vlm: peak memory {peak:.0f} MB, {peak / weights:.2f} x the weights")
        for name, found in rates.items():
            if found:
                print(f"{name:14} {statistics.median(found):8.2f} pairs/s  (rounds {', '.join(f'{rate:.2f}' for rate in found)})")
        if len(scores) == 2:
            print("largest difference of a score:", max(abs(a - b) for a, b in zip(*scores.values(), strict=True)))
            print(f"ratio {statistics.median(rates['burn-vlm']) / statistics.median(rates['unbabel-comet']):.2f}")


if __name__ == "__main__":
    sys.exit(main())
