"""Do adapters trained here load in peft, and give the logits that this library gave?

Run by hand, with torch 2.8.0, peft 0.21.2, safetensors, and transformers 5.24.0 or 4.57.1 installed. A run of `burn-vlm train` whose
recipe starts from a model that transformers knows (`model.from`, LLaVA or LLaVA-NeXT) and has `lora` in its last stage:

    burn-vlm export BASE base                                      # names that every version reads
    burn-vlm merge --model BASE --adapter RUN/adapter --out merged
    burn-vlm export merged outputs --outputs
    python tests/python/lora_in_peft.py base RUN/adapter outputs

Puts the adapter on the base with peft, which must miss no key and know every one, and compares what that computes with the outputs of
the merged model here. Exits with 1 if they differ.
"""

import json
import sys
import warnings
from pathlib import Path

import peft
import torch
import transformers
from roundtrip import CLASSES, INPUTS, TOLERANCE, older
from safetensors.torch import load_file


def main(base, adapter, outputs):
    transformers.logging.set_verbosity_error()
    config = json.loads((base / "config.json").read_text())
    model_class = getattr(transformers, CLASSES[config["model_type"]])
    model, info = model_class.from_pretrained(base, output_loading_info=True, attn_implementation="eager")
    problems = [f"{what}: {sorted(info[what])}" for what in info if info[what]]
    finish = older(model, config)
    tensors = load_file(outputs / "outputs.safetensors")
    inputs = {name: tensors[name] for name in INPUTS if name in tensors}
    with torch.no_grad():
        plain = model.eval()(**inputs)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = peft.PeftModel.from_pretrained(model, adapter)
    problems += [str(warning.message) for warning in told if "keys" in str(warning.message)]
    stored = set(load_file(adapter / "adapter_model.safetensors"))
    held = sum(1 for name, _ in model.named_parameters() if "lora_" in name or "modules_to_save" in name)
    if held != len(stored):
        problems.append(f"{len(stored)} tensors in the file, {held} in the model")
    with torch.no_grad():
        adapted = model.eval()(**inputs)
    expected, found = finish(adapted.logits), tensors["logits"]
    difference = lambda a, b: ((a - b).abs().max() / a.abs().max()).item()
    worst, changed = difference(expected, found), difference(expected, finish(plain.logits))
    if not worst <= TOLERANCE:
        problems.append(f"logits: relative difference {worst:.2e}")
    if not changed > 10 * TOLERANCE:
        problems.append(f"the adapter changes the logits by {changed:.2e} only: nothing is shown")
    versions = f"peft {peft.__version__}, transformers {transformers.__version__}, torch {torch.__version__}"
    verdict = "; ".join(problems) or "equal, no key missing or left over"
    print(f"{versions}\n{adapter}: {worst:.1e}, of {changed:.1e} that the adapter changes  {verdict}")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
