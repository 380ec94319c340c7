"""Do exported folders load in transformers, and give the logits that this library gave?

Run by hand, with torch (any build), transformers and safetensors installed:

    for name in gemma2 qwen2_tied qwen2_untied clip_vision_p14 siglip_vision_p16 clip_dual siglip_dual llava_clip_qwen2; do
        cargo run --release -p burn-vlm --example export -- tests/fixtures/$name /tmp/roundtrip/$name
    done
    python tests/python/roundtrip.py /tmp/roundtrip/*

For each folder: no missing, unexpected or mismatched key, and every output within TOLERANCE of the largest value of the
tensor. Prints one line a folder; exits with 1 if any fails.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file

# Sums of f32 in another order.
TOLERANCE = 1e-4

CLASSES = {
    "gemma2": "Gemma2ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "llama": "LlamaForCausalLM",
    "llava": "LlavaForConditionalGeneration",
    "clip": "CLIPModel",
    "siglip": "SiglipModel",
    "clip_vision_model": "CLIPVisionModel",
    "siglip_vision_model": "SiglipVisionModel",
}
INPUTS = ("input_ids", "pixel_values")


def check(folder):
    """Returns a list of problems and the largest relative difference."""
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    model_class = getattr(transformers, CLASSES[kind])
    model, info = model_class.from_pretrained(folder, output_loading_info=True, attn_implementation="eager")
    problems = [f"{what}: {sorted(info[what])}" for what in info if info[what]]
    tensors = load_file(folder / "outputs.safetensors")
    with torch.no_grad():
        outputs = model.eval()(**{name: tensors[name] for name in INPUTS if name in tensors})
    worst = 0.0
    for name in sorted(set(tensors) - set(INPUTS)):
        expected, found = outputs[name], tensors[name]
        if expected.shape != found.shape:
            problems.append(f"{name}: shape {tuple(found.shape)}, transformers has {tuple(expected.shape)}")
            continue
        relative = ((expected - found).abs().max() / expected.abs().max()).item()
        worst = max(worst, relative)
        if not relative <= TOLERANCE:
            problems.append(f"{name}: relative difference {relative:.2e}")
    return problems, worst


def main(folders):
    transformers.logging.set_verbosity_error()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    failed = False
    for folder in map(Path, folders):
        problems, worst = check(folder)
        failed |= bool(problems)
        print(f"{folder.name:24} {worst:.1e}  {'; '.join(problems) or 'equal, no key missing or left over'}")
    sys.exit(failed)


if __name__ == "__main__":
    main(sys.argv[1:])
