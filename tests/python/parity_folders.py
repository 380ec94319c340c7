"""Makes tests/parity/folders: fixtures that differ from those of tests/fixtures in what the parity test must not take for granted.

    python tests/python/parity_folders.py

with torch, transformers 5.24 and safetensors, without torchvision (so that image processors are those on PIL). Random weights,
tiny. None has `config_legacy.json`, `pixel_values` or gradients; the pictures are others, one of them a WebP, and README.txt lists
them in an order of its own:

- siglip_headless: a tower without head, and so without a pooled output; pixels from the pictures that its README.txt lists.
- llava_next_headless: that tower kind in a tiled LLaVA-NeXT, whose expected.json has no pictures: README.txt has them.
- parrot_four_experts: four experts, the first sample is the one without a picture. transformers has no Parrot: its experts are
  written out below, tower and decoder are transformers'.
"""

import json
import random
import shutil
from pathlib import Path

import numpy
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[1]
OUT, FIXTURES = ROOT / "parity/folders", ROOT / "fixtures"
TOKENS = 8
PAD, IMAGE_ID = 420, 423


def pictures():
    """Smooth colours with noise: what a resizer has to work on."""
    folder = OUT / "images"
    folder.mkdir()
    noise = numpy.random.default_rng(7)
    for name, width, height in [("zebra.png", 90, 41), ("a b.png", 33, 77), ("2.webp", 64, 64)]:
        y, x = numpy.mgrid[0:height, 0:width]
        planes = [x * 255 // width, y * 255 // height, (x + y) * 3 % 256]
        pixels = numpy.stack(planes, -1) * 0.8 + noise.uniform(0, 50, (height, width, 3))
        options = {"lossless": True} if name.endswith("webp") else {}
        Image.fromarray(pixels.astype(numpy.uint8)).save(folder / name, **options)


def read(name):
    path = next(path for path in sorted((OUT / "images").iterdir()) if path.stem == name)
    return Image.open(path).convert("RGB")


def write(folder, tensors, readme, expected=None):
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, folder / "expected.safetensors")
    if expected is not None:
        (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1) + "\n")
    made = f"Made by tests/python/parity_folders.py with transformers {transformers.__version__}, torch {torch.__version__}, on a CPU in f32."
    (folder / "README.txt").write_text(f"{readme}\n\n{made}\n")


def randomised(model, scale=0.25):
    """Weights large enough that outputs differ by more than rounding."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 or name.endswith(("class_embedding", "image_newline", "bias")):
                parameter.normal_(0, scale)
    return model.eval()


def tower(**more):
    return transformers.SiglipVisionConfig(
        hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8,
        vision_use_head=False, **more
    )


def siglip_headless():
    folder = OUT / "siglip_headless"
    model = randomised(transformers.SiglipVisionModel._from_config(tower(), attn_implementation="eager"))
    model.save_pretrained(folder)
    names = ["zebra", "2", "a b"]
    images = json.loads((FIXTURES / "proc_siglip_96/preprocessor_config.json").read_text())
    images["size"] = {"height": 32, "width": 32}
    (folder / "preprocessor_config.json").write_text(json.dumps(images, indent=1) + "\n")
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    assert "Pil" in type(processor).__name__, "torchvision is installed"
    pixels = torch.tensor(numpy.array(processor(images=[read(name) for name in names])["pixel_values"]))
    with torch.no_grad():
        output = model(pixel_values=pixels, output_hidden_states=True)
    states = torch.stack(output.hidden_states)
    tensors = {"last_hidden_state": output.last_hidden_state, "hidden_states": states, "hidden_states_m2": states[-2]}
    write(folder, tensors, f"SiglipVisionModel without head.\nPictures in this order, by preprocessor_config.json: {names}")


def llava_next_headless():
    folder = OUT / "llava_next_headless"
    grid = [[32, 64], [64, 32], [64, 64]]
    text = transformers.Qwen2Config(
        vocab_size=424, hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, eos_token_id=422, bos_token_id=None, pad_token_id=PAD,
    )
    config = transformers.LlavaNextConfig(
        vision_config=tower(), text_config=text, image_grid_pinpoints=grid, image_token_index=IMAGE_ID,
        vision_feature_select_strategy="full", vision_feature_layer=-1, image_seq_length=16, tie_word_embeddings=False,
    )
    model = randomised(transformers.LlavaNextForConditionalGeneration._from_config(config, attn_implementation="eager"))
    model.save_pretrained(folder)
    source = FIXTURES / "llava_next_clip_qwen2"
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]:
        shutil.copy(source / name, folder)
    processor = json.loads((source / "processor_config.json").read_text())
    images = json.loads((source / "preprocessor_config.json").read_text())
    side = {"height": 32, "width": 32}
    images |= {"image_grid_pinpoints": grid, "crop_size": side, "size": {"shortest_edge": 32}}
    processor |= {"image_processor": images, "num_additional_image_tokens": 0, "patch_size": 8, "vision_feature_select_strategy": "full"}
    (folder / "processor_config.json").write_text(json.dumps(processor, indent=1) + "\n")
    (folder / "preprocessor_config.json").write_text(json.dumps(images, indent=1) + "\n")

    processor = transformers.LlavaNextProcessor.from_pretrained(folder)
    assert "Pil" in type(processor.image_processor).__name__, "torchvision is installed"
    samples = [["2"], ["a b", "zebra"]]
    conversations = [
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]}],
        [
            {"role": "user", "content": [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "两张图片。"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "A zebra."}]},
            {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
        ],
    ]
    prompts = [processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False) for turns in conversations]
    flat = [read(name) for sample in samples for name in sample]
    inputs = processor(images=flat, text=prompts, padding=True, return_tensors="pt")
    mask = inputs["attention_mask"]
    with torch.no_grad():
        output = model(**inputs, position_ids=(mask.cumsum(-1) - 1).clamp(min=0), output_hidden_states=True)
        new = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)[:, mask.shape[1]:]
    real = mask.unsqueeze(-1)
    tensors = {
        "input_ids": inputs["input_ids"], "attention_mask": mask, "image_sizes": inputs["image_sizes"],
        "logits_last5": output.logits[:, -5:], "last_hidden_state": output.hidden_states[-1] * real, "gen.new_tokens": new,
    }
    write(folder, tensors, f"LlavaNext with a SigLIP tower without head and Qwen2.\nPictures per sample: {samples}", {
        "conversations": conversations, "prompts": prompts, "image_token_id": IMAGE_ID,
    })


class Experts(torch.nn.Module):
    """The authors' experts (moe.py): softmax(W g) over all of them, output + weight * input."""

    def __init__(self, experts, hidden, width):
        super().__init__()
        linear = lambda rows, columns: torch.nn.Linear(columns, rows, bias=False)
        self.gate = linear(experts, hidden)
        self.experts = torch.nn.ModuleList(
            torch.nn.ModuleDict({"gate_proj": linear(width, hidden), "up_proj": linear(width, hidden), "down_proj": linear(hidden, width)})
            for _ in range(experts)
        )

    def forward(self, visual, words, weight):
        scores = visual[:1] @ words.T / visual.shape[-1] ** 0.5
        gating = torch.softmax(scores, -1) @ words
        routing = torch.softmax(self.gate(gating), -1)
        mixed = 0
        for share, expert in zip(routing[0], self.experts):
            inner = torch.nn.functional.silu(expert["gate_proj"](visual)) * expert["up_proj"](visual)
            mixed = mixed + share * expert["down_proj"](inner)
        return gating, routing, mixed + weight * visual


def padded_square(image, mean):
    side = max(image.size)
    square = Image.new("RGB", (side, side), tuple(int(255 * value) for value in mean))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def parrot_four_experts():
    folder = OUT / "parrot_four_experts"
    folder.mkdir()
    source = FIXTURES / "parrot_clip_qwen2"
    hidden, weight, count = 24, 0.1, 4
    vision = transformers.CLIPVisionConfig(
        hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8,
        projection_dim=16,
    )
    text = transformers.Qwen2Config(
        vocab_size=424, hidden_size=hidden, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, eos_token_id=422, bos_token_id=None, pad_token_id=PAD,
        tie_word_embeddings=False,
    )
    clip = randomised(transformers.CLIPVisionModel._from_config(vision, attn_implementation="eager"))
    language = randomised(transformers.Qwen2ForCausalLM._from_config(text, attn_implementation="eager"))
    projector = randomised(torch.nn.Sequential(torch.nn.Linear(24, hidden), torch.nn.GELU(), torch.nn.Linear(hidden, hidden)))
    experts = randomised(Experts(count, hidden, 32))
    tower_keys = {name.removeprefix("vision_model."): tensor for name, tensor in clip.state_dict().items()}
    weights = dict(language.state_dict())
    weights |= {f"model.vision_tower.vision_tower.vision_model.{name}": tensor for name, tensor in tower_keys.items() if "position_ids" not in name}
    weights |= {f"model.mm_projector.{name}": tensor for name, tensor in projector.state_dict().items()}
    weights |= {f"model.moe_model.{name}": tensor for name, tensor in experts.state_dict().items()}
    save_file({name: tensor.contiguous().clone() for name, tensor in weights.items()}, folder / "model.safetensors", metadata={"format": "pt"})

    config = json.loads((source / "config.json").read_text())
    config |= {"hidden_size": hidden, "intermediate_size": 32, "mm_hidden_size": 24, "num_experts": count,
               "moe_hidden_size": hidden, "moe_intermediate_size": 32}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (folder / "vision_config.json").write_text(json.dumps(vision.to_dict(), indent=1) + "\n")
    images = json.loads((source / "preprocessor_config.json").read_text())
    images |= {"crop_size": {"height": 32, "width": 32}, "size": {"shortest_edge": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(images, indent=1) + "\n")
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]:
        shutil.copy(source / name, folder)

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    assert "Pil" in type(processor).__name__, "torchvision is installed"
    names = [None, "zebra", "a b"]
    conversations = [
        [{"from": "human", "value": "What is the capital of Portugal?"}, {"from": "gpt", "value": "Lisbon."}],
        [{"from": "human", "value": "<image>\n请描述这张图片。"}, {"from": "gpt", "value": "一只猫。"}],
        [{"from": "human", "value": "<image>\nBu resimde ne var?"}, {"from": "gpt", "value": "Bir elma."},
         {"from": "human", "value": "Hangi renk?"}, {"from": "gpt", "value": "Turuncu."}],
    ]
    system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>"

    def ids_of(text):
        """-200 where the image stands, as the authors have it."""
        first, *rest = [tokenizer(piece, add_special_tokens=False)["input_ids"] for piece in text.split("<image>")]
        return first + [id for piece in rest for id in [-200] + piece]

    prompts, rows = [], []
    for turns in conversations:
        # The line break belongs to the turn before it, and is trained with an answer that is not the last turn.
        pieces = [(f"{system}\n", False)]
        for turn in turns:
            answer, end = turn["from"] == "gpt", "" if turn is turns[-1] else "\n"
            head, body = f"<|im_start|>{'assistant' if answer else 'user'}\n", f"{turn['value']}<|im_end|>{end}"
            pieces += [(head, False), (body, True)] if answer else [(head + body, False)]
        text, ids, labels = "".join(piece for piece, _ in pieces), [], []
        for piece, trained in pieces:
            new = ids_of(piece)
            ids += new
            labels += new if trained else [-100] * len(new)
        prompts.append(text)
        rows.append((ids, labels))

    pixels = []
    for name in names:
        if name is None:
            pixels.append(torch.zeros(3, 32, 32))
        else:
            square = padded_square(read(name), images["image_mean"])
            pixels.append(torch.tensor(numpy.array(processor(images=square)["pixel_values"][0])))
    with torch.no_grad():
        features = clip(pixel_values=torch.stack(pixels), output_hidden_states=True).hidden_states[-2]
        projected = projector(features)
        embed = language.get_input_embeddings()
        gating, routing, merged = [], [], []
        for (ids, labels), visual in zip(rows, projected):
            words = torch.tensor([id for id, label in zip(ids, labels) if label == -100 and id != -200])
            g, p, visual = experts(visual, embed(words), weight)
            gating.append(g[0])
            routing.append(p[0])
            pieces, piece_labels = [], []
            for id, label in zip(ids, labels):
                if id == -200:
                    pieces.append(visual)
                    piece_labels += [-100] * len(visual)
                else:
                    pieces.append(embed(torch.tensor([id])))
                    piece_labels.append(label)
            merged.append((torch.cat(pieces), piece_labels))
        width, long = max(len(row) for row, _ in merged), max(len(ids) for ids, _ in rows)
        embeds, mask = torch.zeros(3, width, hidden), torch.zeros(3, width, dtype=torch.int64)
        merged_labels = torch.full((3, width), -100)
        for at, (row, labels) in enumerate(merged):
            embeds[at, :len(row)], mask[at, :len(row)] = row, 1
            merged_labels[at, :len(row)] = torch.tensor(labels)
        logits = language(inputs_embeds=embeds, attention_mask=mask).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), merged_labels[:, 1:].flatten(), ignore_index=-100)

    fill = lambda row, value: torch.tensor(row + [value] * (long - len(row)))
    tensors = {
        "input_ids": torch.stack([fill(ids, PAD) for ids, _ in rows]),
        "labels": torch.stack([fill(labels, -100) for _, labels in rows]),
        "attention_mask": torch.stack([fill([1] * len(ids), 0) for ids, _ in rows]),
        "projected": projected, "gating_input": torch.stack(gating), "routing_weights": torch.stack(routing),
        "inputs_embeds": embeds, "merged_labels": merged_labels, "merged_attention_mask": mask,
        "logits": logits * mask.unsqueeze(-1), "loss": loss.reshape(1),
    }
    write(folder, tensors, "Parrot's layout with four experts; tower and decoder by transformers, the experts by hand.\n"
          "The first sample has no picture; the others have zebra.png and \"a b.png\", padded to a square.", {
        "conversations": conversations, "images": names, "prompts": prompts,
    })


def main():
    transformers.logging.set_verbosity_error()
    torch.manual_seed(3)
    random.seed(3)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    pictures()
    siglip_headless()
    llava_next_headless()
    parrot_four_experts()


if __name__ == "__main__":
    main()
