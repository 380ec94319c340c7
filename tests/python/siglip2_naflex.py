"""Makes the fixtures of SigLIP 2 NaFlex: tests/fixtures/siglip2_naflex_vision and siglip2_naflex_dual.

Run by hand, from the root of the repository, with torch and torchvision (CPU builds), Pillow, safetensors and transformers 5.24:

    python tests/python/siglip2_naflex.py

A tiny Siglip2Model with random weights: the whole of it in one folder, its vision tower in the other, where the image processor and
what both gave stand too. Pictures are three of tests/fixtures/images and small ones of the folder's own, drawn here.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from transformers import Siglip2Config, Siglip2Model, Siglip2VisionModel
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil
from transformers.models.siglip2.image_processing_siglip2 import (
    Siglip2ImageProcessor,
    get_image_size_for_max_num_patches,
)
from transformers.models.siglip2.modeling_siglip2 import Siglip2VisionEmbeddings

ROOT = Path(__file__).resolve().parent.parent / "fixtures"
TOWER, DUAL = ROOT / "siglip2_naflex_vision", ROOT / "siglip2_naflex_dual"
PATCH, BUDGET = 4, 20
PUBLISHED = ("cat_451x300", "coffee_wide_600x171", "astronaut_tall_171x437")
# Width and height: smaller than the budget of 20 patches of 4 x 4, square, wide, tall, one pixel.
DRAWN = ((9, 5), (16, 16), (40, 4), (6, 61), (1, 1))
# (patch_size, max_num_patches) that published processors have, and small ones.
BUDGETS = ((16, 256), (14, 256), (16, 1024), (16, 576), (4, 20), (7, 1), (32, 3))
SIDES = (1, 2, 3, 7, 16, 17, 100, 171, 224, 256, 300, 437, 451, 600, 641, 1000, 1333, 4000)
# Gradients that are kept.
KEPT = (
    "embeddings.patch_embedding.weight",
    "embeddings.patch_embedding.bias",
    "embeddings.position_embedding.weight",
    "encoder.layers.0.self_attn.q_proj.weight",
    "encoder.layers.1.mlp.fc2.bias",
    "post_layernorm.weight",
    "head.probe",
    "head.attention.in_proj_weight",
)


def drawn(width, height):
    """A picture of noise over a gradient, the same on every run."""
    noise = np.random.default_rng(width * 1000 + height).integers(0, 90, (height, width, 3))
    across = np.linspace(0, 160, width)[None, :, None]
    down = np.linspace(0, 5, height)[:, None, None]
    return Image.fromarray((noise + across + down).astype(np.uint8))


def randomize(model):
    """All weights of a size that matters: norms and biases too."""
    generator = torch.Generator().manual_seed(13)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name and name.endswith("weight"):
                parameter.copy_(1 + 0.2 * noise)
            elif parameter.ndim < 2:
                parameter.copy_(0.1 * noise)
            else:
                parameter.copy_(noise * (0.5 if "position" in name or "probe" in name else parameter.shape[-1] ** -0.5))


def check_positions(tower, shapes):
    """The resized table is what torch's own antialiased interpolation makes of it. (Of a grid one column wide torch 2.15 makes
    something else than of the same grid lying on its side, so that those are turned.)"""
    side = int(tower.config.num_patches**0.5)
    table = tower.embeddings.position_embedding.weight.reshape(side, side, -1)
    resized = Siglip2VisionEmbeddings.resize_positional_embeddings(table, shapes, BUDGET)
    for (rows, columns), found in zip(shapes.tolist(), resized):
        turned = columns == 1
        grid = table.permute(2, 1, 0) if turned else table.permute(2, 0, 1)
        size = (columns, rows) if turned else (rows, columns)
        direct = torch.nn.functional.interpolate(
            grid[None], size=size, mode="bilinear", align_corners=False, antialias=True
        )
        direct = direct[0].reshape(table.shape[-1], -1).T
        assert torch.allclose(found[: rows * columns], direct, atol=1e-5), (rows, columns)


def readme(folder, text, tensors):
    lines = [text.strip(), "", f"Made by tests/python/siglip2_naflex.py with transformers {transformers.__version__},"]
    lines[-1] += f" torch {torch.__version__}, CPU float32, attn_implementation=eager, eval mode (no dropout)."
    if tensors:
        lines += ["", "expected.safetensors:"]
        lines += [f"  {name:60} {str(t.dtype)[6:]:8} {list(t.shape)}" for name, t in sorted(tensors.items())]
    (folder / "README.txt").write_text("\n".join(lines) + "\n")


def main():
    if not transformers.__version__.startswith("5.24."):
        sys.exit(f"transformers {transformers.__version__}, expected 5.24")
    for folder in (TOWER, DUAL):
        folder.mkdir(exist_ok=True)
    config = Siglip2Config(
        vision_config=dict(
            hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, patch_size=PATCH, num_patches=16
        ),
        text_config=dict(
            hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2, vocab_size=12,
            max_position_embeddings=4, projection_size=32, bos_token_id=2, eos_token_id=3,
        ),
    )
    config._attn_implementation = "eager"
    model = Siglip2Model(config).eval()
    randomize(model)
    model.save_pretrained(DUAL)
    config.vision_config._attn_implementation = "eager"
    tower = Siglip2VisionModel(config.vision_config).eval()
    tower.load_state_dict(model.vision_model.state_dict())
    tower.save_pretrained(TOWER)

    pictures = {name: Image.open(ROOT / "images" / f"{name}.png").convert("RGB") for name in PUBLISHED}
    for width, height in DRAWN:
        name = f"drawn_{width}x{height}"
        drawn(width, height).save(TOWER / f"{name}.png")
        pictures[name] = Image.open(TOWER / f"{name}.png").convert("RGB")
    settings = dict(patch_size=PATCH, max_num_patches=BUDGET)
    Siglip2ImageProcessorPil(**settings).save_pretrained(TOWER)
    expected = {}
    for kind, processor in (("pil", Siglip2ImageProcessorPil(**settings)), ("tv", Siglip2ImageProcessor(**settings))):
        batch = processor(images=list(pictures.values()), return_tensors="pt")
        for name, patches in zip(pictures, batch["pixel_values"]):
            expected[f"{kind}.{name}"] = patches.float().contiguous()
        if kind == "pil":
            inputs = batch
    expected["pixel_attention_mask"] = inputs["pixel_attention_mask"].long()
    expected["spatial_shapes"] = inputs["spatial_shapes"].long()
    check_positions(tower, inputs["spatial_shapes"])

    inputs = {name: value.float() if name == "pixel_values" else value for name, value in inputs.items()}
    output = tower(**inputs, output_hidden_states=True)
    expected["last_hidden_state"] = output.last_hidden_state
    expected["pooler_output"] = output.pooler_output
    # Before the final norm, as a VLM reads them.
    expected["hidden_states"] = torch.stack(output.hidden_states)
    # No gradient for what padding computes: nobody reads it.
    mask = inputs["pixel_attention_mask"][..., None]
    weights = torch.randn(output.last_hidden_state.shape, generator=torch.Generator().manual_seed(7)) * mask
    loss = 10 * (output.hidden_states[-2] * weights).mean() + (output.pooler_output * weights[:, 0]).mean()
    loss.backward()
    expected |= {"grad_w": weights, "loss": loss[None]}
    expected |= {f"grad.{name}": dict(tower.named_parameters())[name].grad for name in KEPT}
    expected = {name: tensor.detach().clone().contiguous() for name, tensor in expected.items()}
    save_file(expected, TOWER / "expected.safetensors")

    grids = []
    for patch, budget in BUDGETS:
        for height in SIDES:
            for width in SIDES:
                size = get_image_size_for_max_num_patches(height, width, patch, budget)
                grids.append([patch, budget, height, width, size[0] // patch, size[1] // patch])
    lines = ",\n".join(json.dumps(grid) for grid in grids)
    (TOWER / "grids.json").write_text(f"[\n{lines}\n]\n")
    readme(
        TOWER,
        """Siglip2VisionModel (NaFlex): patches of pictures, each with its own grid, padded to max_num_patches.
pictures, in the order of the batch: """
        + ", ".join(pictures)
        + """ (drawn_*: here, the others in ../images).
pil.* and tv.* = pixel_values of each picture from Siglip2ImageProcessorPil and Siglip2ImageProcessor (torchvision); the model saw pil.*.
hidden_states = stack of hidden states, [layers+1, B, patches, hidden], the last before post_layernorm; padding attends, and is not attended to.
loss = 10*mean(hidden_states[-2]*grad_w) + mean(pooler_output*grad_w[:,0]), grad_w 0 at padding; grad.NAME = d loss / d NAME.
grids.json: patch_size, max_num_patches, height, width -> rows, columns of get_image_size_for_max_num_patches.""",
        expected,
    )

    text = torch.tensor([[2, 5, 7, 3], [4, 4, 1, 1]])
    whole = model(**inputs, input_ids=text)
    whole_expected = {"image_embeds": whole.image_embeds, "vision_pooler_output": whole.vision_model_output.pooler_output}
    whole_expected = {name: tensor.detach().clone().contiguous() for name, tensor in whole_expected.items()}
    save_file(whole_expected, DUAL / "expected.safetensors")
    readme(
        DUAL,
        """Siglip2Model (text + vision), of which the vision tower is read: it is that of ../siglip2_naflex_vision, whose pictures it saw.
image_embeds are L2-normalised.""",
        whole_expected,
    )


main()
