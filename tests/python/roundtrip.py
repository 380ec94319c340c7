"""Do exported folders load in transformers, and give the logits that this library gave?

Run by hand, with torch (any build), transformers and safetensors installed:

    for config in tests/fixtures/*/config.json; do
        name=$(basename $(dirname $config))
        cargo run --release -- export tests/fixtures/$name /tmp/roundtrip/$name --outputs --max-shard-size 100KB --device flex || exit 1
    done
    python tests/python/roundtrip.py /tmp/roundtrip/*

For each folder: no missing, unexpected or mismatched key, and every output within TOLERANCE of the largest value of the
tensor. Prints one line a folder; exits with 1 if any fails. A folder that transformers has no model for (Parrot) is named,
and is no failure.

A config with `scale_visual_embeds` or `softcap_logits` asks for what transformers did before 5.4 and 4.52. Later ones know
neither key, so that is put back here: the rows that become visual tokens are multiplied by sqrt(hidden), the logits capped.
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
    "mistral": "MistralForCausalLM",
    "llava": "LlavaForConditionalGeneration",
    "llava_next": "LlavaNextForConditionalGeneration",
    "llava_onevision": "LlavaOnevisionForConditionalGeneration",
    "clip": "CLIPModel",
    "siglip": "SiglipModel",
    "clip_vision_model": "CLIPVisionModel",
    "siglip_vision_model": "SiglipVisionModel",
    "siglip2_vision_model": "Siglip2VisionModel",
    "chinese_clip_vision_model": "ChineseCLIPVisionModel",
}
UNKNOWN = ("parrot_qwen2",)
INPUTS = ("input_ids", "pixel_values", "image_sizes")
# The versions from which on transformers does not scale visual tokens, and does not cap a VLM's logits.
UNSCALED, UNCAPPED = (5, 4), (4, 52)
VERSION = tuple(int(part) for part in transformers.__version__.split(".")[:2])


def older(model, config):
    """Makes a Gemma 2 VLM scale its visual tokens as older versions did; returns what it does to its logits."""
    text = config.get("text_config", {})
    if text.get("model_type") != "gemma2":
        return lambda logits: logits
    if config.get("scale_visual_embeds") and VERSION >= UNSCALED:
        factor = text["hidden_size"] ** 0.5
        inner = model.model
        with torch.no_grad():
            for parameter in inner.multi_modal_projector.linear_2.parameters():
                parameter.mul_(factor)
            if getattr(inner, "image_newline", None) is not None:
                inner.image_newline.mul_(factor)
    cap = text.get("final_logit_softcapping")
    if config.get("softcap_logits") and cap and VERSION >= UNCAPPED:
        return lambda logits: cap * torch.tanh(logits / cap)
    return lambda logits: logits


def patches(inputs, side):
    """Squares as SigLIP 2 NaFlex takes them: patches with their grid, none of them padding."""
    pixels = inputs["pixel_values"]
    n, channels, height, width = pixels.shape
    rows, columns = height // side, width // side
    cut = pixels.reshape(n, channels, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1)
    return {
        "pixel_values": cut.reshape(n, rows * columns, -1),
        "pixel_attention_mask": torch.ones(n, rows * columns, dtype=torch.int32),
        "spatial_shapes": torch.tensor([[rows, columns]] * n),
    }


def check(folder):
    """Returns a list of problems and the largest relative difference."""
    config = json.loads((folder / "config.json").read_text())
    kind = config["model_type"]
    model_class = getattr(transformers, CLASSES[kind])
    model, info = model_class.from_pretrained(folder, output_loading_info=True, attn_implementation="eager")
    problems = [f"{what}: {sorted(info[what])}" for what in info if info[what]]
    tensors = load_file(folder / "outputs.safetensors")
    finish = older(model, config)
    inputs = {name: tensors[name] for name in INPUTS if name in tensors}
    if kind == "siglip2_vision_model":
        inputs = patches(inputs, config["patch_size"])
    with torch.no_grad():
        outputs = model.eval()(**inputs)
    worst = 0.0
    for name in sorted(set(tensors) - set(INPUTS)):
        expected, found = outputs[name], tensors[name]
        if name == "logits":
            expected = finish(expected)
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
        kind = json.loads((folder / "config.json").read_text())["model_type"]
        if kind in UNKNOWN:
            print(f"{folder.name:32} transformers has no {kind}: nothing to compare")
            continue
        problems, worst = check(folder)
        failed |= bool(problems)
        print(f"{folder.name:32} {worst:.1e}  {'; '.join(problems) or 'equal, no key missing or left over'}")
    sys.exit(failed)


if __name__ == "__main__":
    main(sys.argv[1:])
