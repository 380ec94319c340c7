"""Seconds and memory of answering about a video of 32 frames (6,273 visual tokens) with a decoder of 100 million parameters: this library's
`chat` beside transformers, in turns in one run, on the same folder of random weights.

    pip install av decord numpy pillow torch torchvision transformers
    cargo build --release --bin burn-vlm
    python tests/python/video_prefill.py target/release/burn-vlm

The folder is a LlavaOnevision of transformers' own making: SigLIP of width 384 with 6 layers over 27 x 27 patches of 384 pixels, and the Qwen 2
of `cargo bench --bench generate` (width 768, 12 layers, vocabulary 32,000). Each way answers one token about the clip, about a picture of seven
tiles, and without either; what is printed is the first less the last, so that starting and loading do not count. Two threads each, f32.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

FRAMES, SIDE, ROUNDS = 32, 384, int(os.environ.get("ROUNDS", "3"))
# One grid of two tiles by three, so that a picture of these proportions has seven tiles with its thumbnail.
PICTURE = (2 * SIDE, 3 * SIDE)
LAYERS, HEADS, KV_HEADS, WIDTH = 12, 12, 4, 768
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}{% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\\n"
    "{% elif part['type'] == 'video' %}<video>\\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

TRANSFORMERS = """
import json, sys, time
import numpy as np, torch
from PIL import Image
from transformers import AutoProcessor, LlavaOnevisionForConditionalGeneration
torch.set_num_threads(2)
folder, what, path = sys.argv[1:]
processor = AutoProcessor.from_pretrained(folder)
model = LlavaOnevisionForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
model.eval()
more, content = {}, [{"type": "text", "text": "What happens?"}]
if what == "video":
    import decord
    reader = decord.VideoReader(path, num_threads=1)
    frames = reader.get_batch(np.linspace(0, len(reader) - 1, 32, dtype=int)).asnumpy()
    more, content = {"videos": [torch.from_numpy(frames).permute(0, 3, 1, 2)]}, [{"type": "video"}] + content
elif what == "picture":
    more, content = {"images": [Image.open(path)]}, [{"type": "image"}] + content
text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
inputs = processor(text=[text], return_tensors="pt", **more)
with torch.no_grad():
    out = model.generate(**inputs, max_new_tokens=1, do_sample=False)
print(json.dumps({"prompt": inputs["input_ids"].shape[1], "token": int(out[0, -1])}))
"""


def folder_of(where):
    """Writes the model's folder."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessor,
        LlavaOnevisionProcessor,
        LlavaOnevisionVideoProcessor,
        PreTrainedTokenizerFast,
        Qwen2Config,
        SiglipVisionConfig,
    )

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    image, video = (tokenizer.token_to_id(token) for token in special[3:])
    text = Qwen2Config(
        vocab_size=32_000,
        hidden_size=WIDTH,
        intermediate_size=2048,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=16_384,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.token_to_id("<|im_end|>"),
        bos_token_id=None,
    )
    vision = SiglipVisionConfig(
        hidden_size=384,
        intermediate_size=1536,
        num_hidden_layers=6,
        num_attention_heads=6,
        image_size=SIDE,
        patch_size=14,
        vision_use_head=False,
    )
    grids = [[down * SIDE, across * SIDE] for down in range(1, 7) for across in range(1, 7)]
    config = LlavaOnevisionConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=image,
        video_token_index=video,
        image_grid_pinpoints=grids,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = LlavaOnevisionForConditionalGeneration(config)
    model.save_pretrained(where)
    processor = LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(image_grid_pinpoints=grids, size={"height": SIDE, "width": SIDE}),
        tokenizer=fast,
        video_processor=LlavaOnevisionVideoProcessor(size={"height": SIDE, "width": SIDE}),
        num_image_tokens=(SIDE // 14) ** 2,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATE,
    )
    processor.save_pretrained(where)


def run(command):
    """Wall seconds, processor seconds, and the most MiB that the program held."""
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command[:4])} ...: {said}")
    return time.monotonic() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    # In a process of its own: a program that is started counts the memory of the one that started it, until it is replaced.
    if sys.argv[1] == "--folder":
        return folder_of(sys.argv[2])
    program = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as where:
        model, clip, picture = (f"{where}/{name}" for name in ("model", "clip.mp4", "picture.png"))
        subprocess.run([sys.executable, __file__, "--folder", model], check=True, stderr=subprocess.DEVNULL)
        source = ["-f", "lavfi", "-i", "testsrc2=s=640x360:r=30:d=4", "-pix_fmt", "yuv420p"]
        subprocess.run(["ffmpeg", "-v", "error", *source, clip], check=True)
        from PIL import Image

        noise = np.random.default_rng(0).integers(0, 255, (*PICTURE, 3), dtype=np.uint8)
        Image.fromarray(noise).save(picture)
        base = [program, "chat", "--model", model, "--prompt", "What happens?", "--max-new-tokens", "1", "--device", "flex"]
        ours = {
            "text": base,
            "picture": [*base, "--image", picture],
            "video": [*base, "--video", clip, "--frames", str(FRAMES)],
        }
        theirs = {
            what: [sys.executable, "-c", TRANSFORMERS, model, what, path]
            for what, path in (("text", "-"), ("picture", picture), ("video", clip))
        }
        ways = {"ours": ours, "transformers": theirs}
        runs = {way: {what: [] for what in commands} for way, commands in ways.items()}
        for _ in range(ROUNDS):
            for way, commands in ways.items():
                for what, command in commands.items():
                    runs[way][what].append(run(command))
        # Keys and values of the video's tokens, f32.
        cache = 2 * LAYERS * KV_HEADS * (WIDTH // HEADS) * 6273 * 4 / 2**20
        result = {"cache_mib": round(cache)}
        for way, measured in runs.items():
            middle = {what: [statistics.median(column) for column in zip(*rows)] for what, rows in measured.items()}
            result[way] = {
                what: {
                    "wall": round(middle[what][0] - middle["text"][0], 2),
                    "cpu": round(middle[what][1] - middle["text"][1], 2),
                    "peak_mib": round(middle[what][2]),
                }
                for what in middle
            }
        video, one = result["ours"]["video"], result["ours"]["picture"]
        result["memory_to_picture_and_cache"] = round(video["peak_mib"] / (one["peak_mib"] + cache), 3)
        result["speed_to_transformers"] = round(result["transformers"]["video"]["wall"] / video["wall"], 2)
        print(json.dumps(result, indent=1))


main()
