"""CPU seconds to get 32 uniform frames of 900, as RGB: ours (through the ffmpeg program) beside PyAV, and as pixels beside decord with
transformers' video processor too, in turns in one run.

    pip install av numpy pillow decord torch torchvision transformers
    cargo test --release --workspace --no-run          # builds the example too
    python tests/python/video_rate.py target/release/examples/video_frames

Makes the clip itself (30 s, 1280 x 720, H.264 with two B frames in a row) where the second argument names none. User and system seconds
of all processes are added up, one decoding thread each. `pixels`: with 384 x 384 normalised pixels, by PyAV and Pillow, and by decord and
`LlavaOnevisionVideoProcessor`.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

PYAV = """
import sys, av, numpy as np
from PIL import Image
side = int(sys.argv[2])
with av.open(sys.argv[1]) as container:
    stream = container.streams.video[0]
    stream.thread_type = "NONE"
    wanted = set(np.linspace(0, stream.frames - 1, 32, dtype=int).tolist())
    frames = []
    for index, frame in enumerate(container.decode(stream)):
        if index in wanted:
            frame = frame.to_ndarray(format="rgb24")
            if side:
                frame = np.asarray(Image.fromarray(frame).resize((side, side), Image.BICUBIC))
                frame = (frame.astype(np.float32) / 255 - 0.5) / 0.5
            frames.append(frame)
print(sum(frame.size for frame in frames))
"""

START = "import av, numpy; from PIL import Image"

DECORD_START = """
import sys, decord, numpy as np, torch
from transformers import LlavaOnevisionVideoProcessor
torch.set_num_threads(1)
"""

DECORD = DECORD_START + """
side = int(sys.argv[2])
reader = decord.VideoReader(sys.argv[1], num_threads=1)
frames = reader.get_batch(np.linspace(0, len(reader) - 1, 32, dtype=int)).asnumpy()
processor = LlavaOnevisionVideoProcessor(size={"height": side, "width": side})
print(processor([torch.from_numpy(frames).permute(0, 3, 1, 2)], return_tensors="pt")["pixel_values_videos"].numel())
"""


def seconds(command):
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.monotonic() - begin


def memory(command, count):
    """The most megabytes that `count` commands at once and their programs hold, shared pages counted once (Linux)."""
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(count)]
    own, most = {process.pid for process in running}, 0
    while any(process.poll() is None for process in running):
        held = 0
        for number in filter(str.isdigit, os.listdir("/proc")):
            try:
                parent = int(open(f"/proc/{number}/stat").read().rsplit(")", 1)[1].split()[1])
                if int(number) in own or parent in own:
                    lines = open(f"/proc/{number}/smaps_rollup").readlines()
                    held += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            except (OSError, IndexError):
                pass
        most = max(most, held / 1024)
        time.sleep(0.05)
    return round(most)


def make(folder):
    clip = f"{folder}/clip.mp4"
    source = "testsrc2=s=1280x720:r=30:d=30,noise=alls=10:allf=t"
    coder = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "26", "-bf", "2", "-g", "250", "-pix_fmt", "yuv420p"]
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, *coder, clip], check=True)
    return clip


def main():
    ours = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        clip = sys.argv[2] if len(sys.argv) > 2 else make(folder)
        print(json.dumps({"clips_at_once": 8, "megabytes": memory([ours, clip, "32", "384"], 8)}))
        for name, side in (("frames", 0), ("pixels", 384)):
            size = [str(side)] if side else []
            ways = {
                "ours": [ours, clip, "32", *size],
                "pyav": [sys.executable, "-c", PYAV, clip, str(side)],
                # What Python and its libraries cost by themselves.
                "pyav_start": [sys.executable, "-c", START],
            }
            if side:
                ways["decord"] = [sys.executable, "-c", DECORD, clip, str(side)]
                ways["decord_start"] = [sys.executable, "-c", DECORD_START]
            cpu = {way: [] for way in ways}
            for _ in range(5):
                for way, command in ways.items():
                    cpu[way].append(seconds(command)[0])
            result = {way: round(statistics.median(values), 3) for way, values in cpu.items()}
            ratios = {}
            for peer in ("pyav", "decord")[: 1 + (side > 0)]:
                ratios[f"to_{peer}"] = round(result["ours"] / result[peer], 3)
                ratios[f"to_{peer}_without_start"] = round(result["ours"] / (result[peer] - result[f"{peer}_start"]), 3)
            print(json.dumps({"what": name, "cpu_seconds": result, **ratios, "rounds": cpu}))


main()
