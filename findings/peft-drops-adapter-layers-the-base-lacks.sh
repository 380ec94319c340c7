#!/usr/bin/env bash
# peft: an adapter of a model with two layers is loaded into a model with one, and what belongs to the second layer is dropped without a
# word. The other way round, where the file has too little, peft warns.
#
# `PeftModel.from_pretrained` makes adapters for the layers that the base has and loads the file with `strict=False`. Keys that are missing
# become a warning; keys that find no place are returned to the caller inside and are not looked at.
#
# Seen (peft 0.21.2, transformers 5.24.0, torch 2.15.0):
#   adapter of 2 layers in a base of 1: 4 of 8 tensors used, peft's warnings: 0
#   adapter of 1 layer in a base of 2: 4 of 4 tensors used, peft's warnings: 1
# Expected: a warning both times.
#
# Why it matters: bases of one family share their widths (a decoder cut to its first layers, a smaller sister), so that shapes tell
# nothing. Scores of such a pair are of an adapter that nobody trained. Whoever compares a loader of adapters with peft's must expect that
# peft takes folders which a loader that counts its keys refuses.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet peft==0.21.2 transformers==5.24.0 torch==2.15.0 numpy
cat > see.py <<'PY'
import warnings
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM


def base(layers):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config)


seen = []
for trained, loaded in ((2, 1), (1, 2)):
    folder = Path(f"adapter{trained}")
    lora = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(base(trained), lora).save_pretrained(folder)
    stored = load_file(folder / "adapter_model.safetensors")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(base(loaded), folder)
    has = {name.replace(".default", ""): value for name, value in model.named_parameters() if "lora_" in name}
    used = sum(name in has and torch.equal(has[name], value) for name, value in stored.items())
    warned = sum("adapter keys" in str(one.message) for one in said)
    layers = "layer" if trained == 1 else "layers"
    print(f"adapter of {trained} {layers} in a base of {loaded}: {used} of {len(stored)} tensors used, peft's warnings: {warned}")
    seen.append((used, len(stored), warned))
assert seen == [(4, 8, 0), (4, 4, 1)], seen
PY
venv/bin/python see.py 2> err || { cat err; exit 1; }
