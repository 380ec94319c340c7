"""Does transformers' pipeline talk to a model that was trained here on a language model, as `chat` does?

Run by hand, with torch 2.15, transformers 5.24 and pillow installed, on the `model` folder of a run whose recipe has no `visual_tokens`:

    burn-vlm train recipes/tiny.toml --set 'model.visual_tokens={ normalize = false }' --set model.scale_visual_embeds=false --out RUN
    python tests/python/pipeline.py target/release/burn-vlm RUN/model tests/fixtures/images/cat_451x300.png

The chat template must write lists of parts as it writes texts, and the pipeline `image-text-to-text` must answer, greedily, what `chat`
answers. Exits with 1 if they differ.
"""

import subprocess
import sys

import transformers
from PIL import Image
from transformers import AutoProcessor, pipeline

QUESTION, TOKENS = "What is this?", 12


def main(program, folder, picture):
    transformers.logging.set_verbosity_error()
    processor = AutoProcessor.from_pretrained(folder)
    written = [
        processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        for content in (f"<image>\n{QUESTION}", [{"type": "image"}, {"type": "text", "text": QUESTION}])
    ]
    parts = [{"type": "image", "image": Image.open(picture).convert("RGB")}, {"type": "text", "text": QUESTION}]
    told = pipeline("image-text-to-text", model=folder)(text=[{"role": "user", "content": parts}], max_new_tokens=TOKENS)
    theirs = told[0]["generated_text"][-1]["content"]
    asked = ["chat", "--quiet", "--device", "flex", "--model", folder, "--image", picture]
    asked += ["--prompt", QUESTION, "--max-new-tokens", str(TOKENS)]
    ours = subprocess.run([program, *asked], check=True, capture_output=True, text=True).stdout.rstrip("\n")
    print(f"transformers {transformers.__version__}: prompts {written!r}, answers {theirs!r} and here {ours!r}")
    sys.exit(written[0] != written[1] or theirs.strip() != ours.strip())


if __name__ == "__main__":
    main(*sys.argv[1:])
