"""Makes tests/lora: adapters as peft writes them, with what peft computes by them on models of tests/fixtures.

    python tests/python/lora_adapters.py

with torch 2.8.0, transformers 5.24.0, peft 0.21.2 and safetensors. Inputs are those of the model's own folder (`input_ids`,
`attention_mask`, `pixel_values`, `labels` of its expected.safetensors), so that only outputs are stored:

- logits            of the last token, with the adapter beside the weights
- loss              mean over the labels that are not -100
- step.*            the adapter after one step of AdamW (LR, EPS, WEIGHT_DECAY) on that loss, under peft's keys
- merged.*          some weights after merge_and_unload, under the model's keys

- llava       LoRA on every linear layer of all three parts
- llava_next  rank-stabilised LoRA on q_proj and v_proj of the language model alone, the projector trained as a whole
- dora        DoRA on some layers of the language model and on the projector, one of them with a bias

No dropout: the configs have some, but peft's masks are torch's, and all is computed in eval mode.
"""

import json
import shutil
from pathlib import Path

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

ROOT = Path(__file__).resolve().parents[1]
OUT, FIXTURES = ROOT / "lora", ROOT / "fixtures"
# A large epsilon keeps the first step from being the sign of the gradient, which rounding decides where that is near zero.
LR, EPS, WEIGHT_DECAY = 1e-2, 1e-3, 0.01

LANGUAGE = r".*language_model.*"
CASES = {
    "llava": (
        "llava_clip_llama",
        dict(r=2, lora_alpha=6, lora_dropout=0.1, target_modules="all-linear"),
        ["model.language_model.layers.1.mlp.down_proj.weight", "model.vision_tower.encoder.layers.0.mlp.fc1.weight",
         "model.multi_modal_projector.linear_1.weight"],
    ),
    "llava_next": (
        "llava_next_siglip_gemma2",
        dict(r=2, lora_alpha=5, use_rslora=True, target_modules=LANGUAGE + r"\.(q_proj|v_proj)",
             modules_to_save=["multi_modal_projector"]),
        ["model.language_model.layers.1.self_attn.v_proj.weight"],
    ),
    "dora": (
        "llava_clip_llama",
        dict(r=3, lora_alpha=6, use_dora=True,
             target_modules=LANGUAGE + r"layers\.[01]\..*(k_proj|gate_proj|down_proj)|.*multi_modal_projector\.linear_[12]"),
        ["model.language_model.layers.0.mlp.gate_proj.weight", "model.multi_modal_projector.linear_2.weight"],
    ),
}


def randomise(model):
    """An adapter that changes something: peft's own B is zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_magnitude" in name:
                weight *= 1 + 0.2 * torch.rand(weight.shape, generator=generator)
            elif "lora_" in name or "modules_to_save" in name:
                weight += 0.1 * torch.randn(weight.shape, generator=generator)


def make(name, base, config, merged):
    folder = OUT / name
    inputs = load_file(FIXTURES / base / "expected.safetensors")
    mask = inputs["attention_mask"]
    call = dict(input_ids=inputs["input_ids"], attention_mask=mask, pixel_values=inputs["pixel_values"],
                position_ids=(mask.cumsum(1) - 1).clamp_min(0), labels=inputs["labels"])
    if "image_sizes" in inputs:
        call["image_sizes"] = inputs["image_sizes"]
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_pretrained(FIXTURES / base, attn_implementation="eager", dtype=torch.float32)
    model = peft.get_peft_model(model, peft.LoraConfig(**config)).eval()
    randomise(model)
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    written = json.loads((folder / "adapter_config.json").read_text())
    # Sets come in any order, and the base by its path on this machine.
    if isinstance(written["target_modules"], list):
        written["target_modules"] = sorted(written["target_modules"])
    written["base_model_name_or_path"] = base
    (folder / "adapter_config.json").write_text(json.dumps(written, indent=2) + "\n")

    output = model(**call)
    expected = {"logits": output.logits[:, -1:].detach(), "loss": output.loss.detach().reshape(1)}
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LR, eps=EPS, weight_decay=WEIGHT_DECAY)
    output.loss.backward()
    optimizer.step()
    for key, value in peft.get_peft_model_state_dict(model).items():
        expected[f"step.{key}"] = value
    # Merged as it was before the step.
    model = AutoModelForImageTextToText.from_pretrained(FIXTURES / base, attn_implementation="eager", dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(model, folder).merge_and_unload()
    weights = dict(model.named_parameters())
    for key in merged:
        expected[f"merged.{key}"] = weights[key]
    save_file({key: value.detach().contiguous().clone() for key, value in expected.items()}, folder / "expected.safetensors")


def main():
    for name, case in CASES.items():
        shutil.rmtree(OUT / name, ignore_errors=True)
        (OUT / name).mkdir(parents=True)
        make(name, *case)
    (OUT / "README.txt").write_text(
        "Adapters in peft's layout on models of tests/fixtures, and what peft computes with them.\n\n"
        f"Made by tests/python/lora_adapters.py with peft {peft.__version__}, transformers {transformers.__version__}, "
        f"torch {torch.__version__.split('+')[0]}, on a CPU in f32.\n"
    )


if __name__ == "__main__":
    main()
