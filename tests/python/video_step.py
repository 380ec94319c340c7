"""Seconds of a training step on video: frames decoded and encoded in every step, beside features that were kept before the stage.

    cargo build --release --bin burn-vlm
    python tests/python/video_step.py target/release/burn-vlm parts

Sixteen clips (H.264, 640 x 360, 10 s), 32 frames each, four in a step; the shipped encoder (frozen) and backbone, which become a model for videos:
16 tokens a frame, 513 a clip. Wall seconds by the log of the stage, and processor seconds of the whole run over its steps, the programs that decode
included.
"""

import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile

CLIPS, EPOCHS = 16, 2
RECIPE = """
stages = ["video"]

[model]
encoder = "siglip2"
backbone = "backbone"
scale_visual_embeds = true

[video]
extend_model = true
sampling = {{ rule = "linspace", frames = 32 }}
time_instruction = false

[stage.video]
objective = "vlm"
epochs = {epochs}
batch = 4
log_every = 1
checkpoint_every = 0
train = {{ multi_modal_projector = 1e-3, image_newline = 1e-3, language_model = 5e-4 }}
mixture = {{ file = "mixture.toml"{more} }}
"""


def main():
    program, parts = (os.path.abspath(path) for path in sys.argv[1:3])
    with tempfile.TemporaryDirectory() as where:
        folder = pathlib.Path(where)
        for part in ("siglip2", "backbone"):
            shutil.copytree(pathlib.Path(parts) / part, folder / "parts" / part)
        # The shipped backbone has 256 positions; rotations go on.
        config = folder / "parts/backbone/config.json"
        values = json.loads(config.read_text())
        config.write_text(json.dumps({**values, "max_position_embeddings": 1024}))
        records = []
        (folder / "clips").mkdir()
        for number in range(CLIPS):
            source = f"testsrc2=s=640x360:r=30:d=10,hue=h={number * 20}"
            coder = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"]
            clip = str(folder / "clips" / f"{number}.mp4")
            subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, *coder, clip], check=True)
            turns = [{"from": "human", "value": "<video>\nWhat happens?"}, {"from": "gpt", "value": f"number {number}"}]
            records.append({"id": number, "video": f"{number}.mp4", "conversations": turns})
        (folder / "data.json").write_text(json.dumps(records))
        source = 'name = "clips"\npath = "data.json"\nformat = "llava_json"\nvideo_root = "clips"\nlanguage = "en"\n'
        (folder / "mixture.toml").write_text(f"seed = 3\n[[source]]\n{source}")
        result = {}
        for name, more in (("decoded", ""), ("kept", ", views = 1")):
            recipe = folder / f"{name}.toml"
            recipe.write_text(RECIPE.format(epochs=EPOCHS, more=more))
            out = folder / name
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = [program, "train", recipe, "--parts", folder / "parts", "--out", out, "--device", "flex", "--quiet"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            lines = [json.loads(line) for line in (out / "stages/1-video/log.jsonl").read_text().splitlines()]
            times = [lines[0]["seconds"]] + [b["seconds"] - a["seconds"] for a, b in zip(lines, lines[1:])]
            result[name] = {
                "steps": len(times),
                "wall_a_step": round(statistics.median(times), 3),
                "cpu_of_the_run": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
            }
        result["ratio"] = round(result["decoded"]["wall_a_step"] / result["kept"]["wall_a_step"], 1)
        print(json.dumps(result))


main()
