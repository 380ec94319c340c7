"""The measurements of run.sh: losses and answers against the CPU, a study, and steps and decoding of a 2B shape beside PyTorch."""

import argparse
import contextlib
import glob
import html
import json
import os
import pathlib
import random
import re
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Losses of the first steps on the device and on the CPU. Sums have another order, and matrix products of a GPU may round their inputs
# to 10 bits (TF32), which is 5e-4 a product.
LOSS_TOLERANCE = 5e-3
CHECKED_STEPS = 3
# Kernels are compiled and chosen in the first steps: the median of the others counts.
WARM_UP = 4
# Decoded tokens of the two requests whose difference in time is the rate: prompt and start cancel out.
SHORT, LONG = 16, 144
ROUNDS = 3
QUESTION = "What is this?"

# Gemma 2 2B and SigLIP2 so400m at 384 pixels, without soft caps, which not every attention of PyTorch's has.
SHAPES = {
    "2b": {
        "text": dict(vocab_size=256_000, hidden_size=2304, intermediate_size=9216, num_hidden_layers=26, num_attention_heads=8,
                     num_key_value_heads=4, head_dim=256, query_pre_attn_scalar=256, max_position_embeddings=8192),
        "vision": dict(hidden_size=1152, intermediate_size=4304, num_hidden_layers=27, num_attention_heads=16, image_size=384,
                       patch_size=14),
        "batch": 8, "steps": {"align": 12, "finetune": 10}, "precision": "bf16", "study": ["--preset", "tiny"], "matmul": 8192,
    },
    "tiny": {
        "text": dict(vocab_size=8192, hidden_size=192, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
                     num_key_value_heads=2, head_dim=48, query_pre_attn_scalar=48, max_position_embeddings=1024),
        "vision": dict(hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4, image_size=64, patch_size=8),
        "batch": 4, "steps": {"align": 8, "finetune": 8}, "precision": "f32", "study": ["--preset", "smoke"], "matmul": 512,
    },
}


class Failed(Exception):
    """A check that does not hold, or a program that does not run."""


def options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/device"))
    parser.add_argument("--program", type=pathlib.Path, help="the program burn-vlm [default: the one beside this script]")
    parser.add_argument("--device", default="cuda", help="as of burn-vlm --device")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="2b")
    parser.add_argument("--minutes", type=float, default=8, help="steps that would end later are skipped, and said")
    parser.add_argument("--no-torch", action="store_true", help="measure nothing of PyTorch's; random weights of a 2B need it")
    return parser.parse_args()


def cuda_environment():
    """The environment in which the program finds NVRTC and CUDA's headers: a toolkit's, or those of PyTorch's wheels."""
    environment = dict(os.environ)
    roots = [pathlib.Path(place) for place in sys.path if place] + [pathlib.Path("/usr/local/cuda")]
    for pattern, variable in [("**/libnvrtc.so*", "LD_LIBRARY_PATH"), ("**/include/cuda_runtime.h", "CUDA_PATH")]:
        for root in roots:
            below = root / "nvidia" if (root / "nvidia").is_dir() else root
            if below == root and root.name != "cuda":
                continue
            found = sorted(below.glob(pattern))
            if found and variable == "LD_LIBRARY_PATH":
                environment[variable] = ":".join(filter(None, [str(found[0].parent), environment.get(variable, "")]))
                break
            if found and variable not in environment:
                environment[variable] = str(found[0].parents[1])
                break
    return environment


class Memory:
    """The most memory that the device (or, on a CPU, the process) holds while it is asked for."""

    def __init__(self, device, process=None):
        self.device, self.process, self.most, self.ended = device, process, 0, False
        self.before = self.now() if device != "flex" else 0

    def now(self):
        if self.device == "flex":
            with contextlib.suppress(OSError):
                status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
                found = re.search(r"VmHWM:\s+(\d+) kB", status)
                return int(found[1]) * 1024 if found else 0
            return 0
        said = subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"], capture_output=True, text=True)
        return int(said.stdout.split()[0]) << 20 if said.returncode == 0 else 0

    def __enter__(self):
        def watch():
            while not self.ended:
                self.most = max(self.most, self.now() - self.before)
                time.sleep(0.2)
        self.thread = threading.Thread(target=watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended = True
        self.thread.join()


class Measuring:
    """What all steps share: the program, where they write, how long there is."""

    def __init__(self, args):
        self.args, self.shape = args, SHAPES[args.shape]
        self.out = args.out.resolve()
        self.program = (args.program or pathlib.Path(__file__).with_name("burn-vlm")).resolve()
        self.ends = time.monotonic() + 60 * args.minutes
        self.environment = cuda_environment()
        self.result, self.failed = {"arguments": " ".join(sys.argv[1:])}, False

    def left(self):
        return self.ends - time.monotonic()

    def step(self, name, seconds, work):
        """Runs a step that takes about so many seconds; what it gives, or why there is nothing, is in the result at once."""
        began = time.monotonic()
        if self.left() < seconds:
            given = {"skipped": f"it takes about {seconds} s, and {self.left():.0f} s are left"}
        else:
            try:
                given = work()
            except Failed as error:
                given, self.failed = {"failed": str(error)}, True
            except Exception as error:  # PyTorch's, say: the other steps are measured all the same
                given, self.failed = {"failed": f"{type(error).__name__}: {error}"}, True
        given["seconds"] = round(time.monotonic() - began, 1)
        self.result[name] = given
        print(f"{name}: {json.dumps(given)}", flush=True)
        self.write()

    def write(self):
        for name, text in [("result.json", json.dumps(self.result, indent=1)), ("result.html", page(self.result))]:
            part = self.out / f"{name}.part"
            part.write_text(text)
            part.replace(self.out / name)

    def call(self, arguments, limit):
        """Runs the program, no longer than there is time."""
        line = [str(self.program), *map(str, arguments)]
        try:
            done = subprocess.run(line, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=min(limit, self.left()))
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{' '.join(line)}: not done within {error.timeout:.0f} s") from None
        if done.returncode != 0:
            raise Failed(f"{' '.join(line)}: {(done.stderr or done.stdout).strip()[-800:]}")
        return done.stdout

    def train_until(self, recipe, out, steps, limit, more=()):
        """The log of a training run that is ended as soon as it has so many steps, and the most memory it held."""
        line = [str(self.program), "train", str(recipe), "--out", str(out), "--device", self.args.device, *more]
        ends = time.monotonic() + min(limit, self.left())
        with open(self.out / f"{out.name}.log", "w") as told:
            device = self.args.device
            process = subprocess.Popen(line, cwd=ROOT, env=self.environment, stdout=told, stderr=told)
            try:
                with Memory(device, process) as memory:
                    while True:
                        lines = log(out)
                        if len(lines) >= steps:
                            return lines, memory.most
                        if process.poll() is not None and len(log(out)) < steps:
                            raise Failed(f"{' '.join(line)}: {pathlib.Path(told.name).read_text().strip()[-800:]}")
                        if time.monotonic() > ends:
                            raise Failed(f"{' '.join(line)}: {len(lines)} of {steps} steps within {limit} s")
                        time.sleep(0.1)
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()

    def dry_run(self, recipe, more=()):
        """Of each stage the operations of a step, and the visual and text tokens of a sample."""
        text = self.call(["train", recipe, "--dry-run", "--device", self.args.device, *more], 60)
        units = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
        operations = [float(number) * units[unit] for number, unit in re.findall(r"compute +([\d.]+) ([kMGTP]?)FLOP a step", text)]
        sizes = [(int(visual), int(words)) for visual, words in re.findall(r"a sample +(\d+) visual and (\d+) text tokens", text)]
        if not operations or len(operations) != len(sizes):
            raise Failed(f"train {recipe} --dry-run does not say what a step has: {text[-400:]}")
        return operations, sizes


def log(out):
    """The lines of a run's log that are whole."""
    lines = []
    for path in sorted(glob.glob(f"{glob.escape(str(out))}/**/log.jsonl", recursive=True)):
        for line in pathlib.Path(path).read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                lines.append(json.loads(line))
    return lines


def torch_or_none(args):
    if args.no_torch:
        return None
    try:
        import torch
        import transformers  # noqa: F401  the 2B shape is one of its models
    except ImportError:
        return None
    return torch


def machine(m, torch):
    """The device, the driver, and what a large matrix product reaches on it."""
    given = {"cpu": next((line.split(": ")[1] for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                          if line.startswith("model name")), "unknown"),
             "program": m.call(["--version"], 20).strip(), "shape": m.args.shape, "device": m.args.device}
    if m.args.device != "flex":
        asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        said = subprocess.run(asked, capture_output=True, text=True)
        if said.returncode != 0:
            raise Failed(f"no NVIDIA device answers: {said.stderr.strip() or said.stdout.strip()}")
        given["gpu"] = said.stdout.strip().splitlines()[0]
    if torch:
        import transformers
        on = torch_device(m)
        size, kind = m.shape["matmul"], torch.bfloat16 if m.shape["precision"] == "bf16" else torch.float32
        a, b = (torch.randn(size, size, device=on, dtype=kind) for _ in range(2))
        seconds = timed(torch, on, lambda: a @ b, 10)
        given |= {"torch": torch.__version__, "transformers": transformers.__version__,
                  "matmul_tflops": round(2 * size**3 / seconds / 1e12, 3)}
    return given


def torch_device(m):
    return "cpu" if m.args.device == "flex" else "cuda"


def timed(torch, on, work, rounds):
    """Seconds of one call: the median of several, after three that do not count."""
    seconds = []
    for number in range(3 + rounds):
        if on == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        if on == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[3:])


def agreement(m):
    """Three training steps and a greedy answer of the device against the CPU's."""
    sets = [f"--set=stage.{stage}.{key}" for stage in ("align", "finetune")
            for key in (f"steps={CHECKED_STEPS}", "log_every=1", "checkpoint_every=0")]
    losses, answers = {}, {}
    for device in dict.fromkeys(["flex", m.args.device]):
        out = m.out / f"agree-{device.replace(':', '-')}"
        m.call(["train", "recipes/tiny.toml", "--out", out, "--device", device, "--quiet", *sets], 120)
        losses[device] = [line["loss"] for line in log(out)]
    model = m.out / "agree-flex" / "model"
    for device in losses:
        answers[device] = m.call(["chat", "--model", model, "--device", device, "--temperature", 0, "--max-new-tokens", 12, "--prompt",
                                  QUESTION], 60).strip()
    ours, cpu = losses[m.args.device], losses["flex"]
    if len(ours) != 2 * CHECKED_STEPS or len(cpu) != len(ours):
        raise Failed(f"{len(ours)} and {len(cpu)} losses, expected {2 * CHECKED_STEPS}")
    apart = max(abs(a - b) / abs(b) for a, b in zip(ours, cpu))
    given = {"losses": ours, "losses_flex": cpu, "largest_relative_difference": apart, "answer": answers[m.args.device],
             "answer_flex": answers["flex"]}
    if not apart <= LOSS_TOLERANCE:
        raise Failed(f"losses differ by {apart:.2e} of their size, allowed are {LOSS_TOLERANCE:.0e}: {json.dumps(given)}")
    if answers[m.args.device] != answers["flex"]:
        raise Failed(f"the greedy answers differ: {json.dumps(given)}")
    return given


def study(m):
    """The default study on the device."""
    out = m.out / "study"
    m.call(["study", "encoder", *m.shape["study"], "--device", m.args.device, "--out", out, "--quiet"], m.left())
    if not (out / "summary.json").is_file():
        raise Failed(f"the study left no {out / 'summary.json'}")
    return {"command": f"burn-vlm study encoder {' '.join(m.shape['study'])} --device {m.args.device}"}


def random_parts(m, torch):
    """Folders of an encoder and a backbone with random weights in the shape; of the tiny shape the shipped ones, without PyTorch."""
    if not torch:
        if m.args.shape != "tiny":
            raise Failed("random weights of this shape are made by torch and transformers, which are not here")
        backbone = pathlib.Path(shutil.copytree(ROOT / "parts" / "tower-it", m.out / "backbone"))
        never_end(m, backbone)
        random_weights(backbone / "model.safetensors")
        return ROOT / "parts" / "siglip2", backbone
    from transformers import Gemma2Config, Gemma2ForCausalLM, SiglipConfig, SiglipModel
    kind = torch.bfloat16 if m.shape["precision"] == "bf16" else torch.float32
    torch.manual_seed(0)
    vision, text = m.shape["vision"], m.shape["text"]
    small = dict(vocab_size=64, bos_token_id=2, eos_token_id=1, hidden_size=vision["hidden_size"], intermediate_size=64, num_hidden_layers=1,
                 num_attention_heads=vision["num_attention_heads"])
    ids = dict(bos_token_id=2, eos_token_id=1, pad_token_id=0)
    models = {
        "encoder": (SiglipModel, SiglipConfig(vision_config=vision, text_config=small)),
        "backbone": (Gemma2ForCausalLM, Gemma2Config(**text, **ids, attn_logit_softcapping=None, final_logit_softcapping=None)),
    }
    for name, (model, config) in models.items():
        with torch.device(torch_device(m)):
            made = model(config).to(kind)
        made.save_pretrained(m.out / name)
        del made
    if torch_device(m) == "cuda":
        torch.cuda.empty_cache()
    size = {"height": vision["image_size"], "width": vision["image_size"]}
    picture = {"image_processor_type": "SiglipImageProcessor", "do_resize": True, "size": size, "resample": 3, "do_rescale": True,
               "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (m.out / "encoder" / "preprocessor_config.json").write_text(json.dumps(picture))
    for name in ("tokenizer.json", "chat_template.jinja"):
        shutil.copy(ROOT / "parts" / "tower-it" / name, m.out / "backbone" / name)
    never_end(m, m.out / "backbone")
    return m.out / "encoder", m.out / "backbone"


def random_weights(path):
    """Other weights in a file of safetensors in half precision: a model that was trained ends its answers."""
    content = path.read_bytes()
    begin = 8 + struct.unpack("<Q", content[:8])[0]
    kinds = {tensor["dtype"] for name, tensor in json.loads(content[8:begin]).items() if name != "__metadata__"}
    encode = {"F16": lambda value: struct.pack("<e", value), "BF16": lambda value: struct.pack("<f", value)[2:]}
    if len(kinds) != 1 or not kinds <= set(encode):
        raise Failed(f"{path}: tensors of {sorted(kinds)}, expected F16 or BF16")
    draw = random.Random(0)
    kind = kinds.pop()
    values = [encode[kind](draw.gauss(0, 0.02)) for _ in range(4096)]
    path.write_bytes(content[:begin] + b"".join(draw.choices(values, k=(len(content) - begin) // 2)))


def never_end(m, folder):
    """Answers of the model end after the tokens that are asked for: its last id, which it hardly says, is what would end them."""
    end = {"eos_token_id": m.shape["text"]["vocab_size"] - 1}
    (folder / "generation_config.json").write_text(json.dumps(end))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | end))


def recipe(m, parts):
    """Alignment and finetuning of the shape on the embedded corpus: every patch is a token, the tower is frozen and runs in every step."""
    encoder, backbone = (json.dumps(str(part)) for part in parts)
    stage = """
[stage.{name}]
objective = "vlm"
steps = {steps}
batch = {batch}
log_every = 1
checkpoint_every = 0
train = {train}
data = {{ languages = ["en"], tasks = {{ caption = 1.0 }} }}
"""
    trained = {"align": "{ multi_modal_projector = 1e-3 }", "finetune": "{ multi_modal_projector = 1e-5, language_model = 1e-5 }"}
    text = f"""stages = ["align", "finetune"]

[model]
encoder = {encoder}
backbone = {backbone}
vision_feature_layer = -2
vision_feature_select_strategy = "full"
projector_hidden_act = "gelu"

[compute]
precision = "{m.shape['precision']}"
gradient_checkpointing = true
""" + "".join(stage.format(name=name, steps=steps + 1, batch=m.shape["batch"], train=trained[name])
              for name, steps in m.shape["steps"].items())
    path = m.out / "shape.toml"
    path.write_text(text)
    return path


def our_step(m, path, name, number):
    """Tokens a second of a stage's steps, and the share of the measured matrix product's rate."""
    only = [f"--set=stages=[\"{name}\"]"]
    operations, sizes = m.dry_run(path, only)
    steps = m.shape["steps"][name]
    lines, most = m.train_until(path, m.out / f"step-{name}", steps, 150, only)
    rate = statistics.median(line["tokens_per_second"] for line in lines[WARM_UP:])
    visual, words = sizes[0]
    tokens = m.shape["batch"] * (visual + words)
    tflops = operations[0] * rate / tokens / 1e12
    given = {"tokens_per_second": round(rate), "tflops": round(tflops, 3), "memory_bytes": most, "steps": steps,
             "visual_tokens": visual, "text_tokens": words, "batch": m.shape["batch"], "losses": [line["loss"] for line in lines]}
    peak = m.result.get("machine", {}).get("matmul_tflops")
    return given | ({"share_of_matmul": round(tflops / peak, 3)} if peak else {})


def torch_step(m, torch, name):
    """The same step by transformers, with the attention that it chooses: f32 weights, autocast, gradient checkpointing, fused AdamW."""
    from transformers import Gemma2Config, LlavaConfig, LlavaForConditionalGeneration, SiglipVisionConfig
    ours = m.result.get(f"{name}_step", {})
    words = ours.get("text_tokens", 12)
    on, batch = torch_device(m), m.shape["batch"]
    vision = SiglipVisionConfig(**m.shape["vision"])
    patches = (vision.image_size // vision.patch_size) ** 2
    image = m.shape["text"]["vocab_size"] - 1
    text = Gemma2Config(**m.shape["text"], attn_logit_softcapping=None, final_logit_softcapping=None)
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=image, vision_feature_layer=-2,
                         vision_feature_select_strategy="full", image_seq_length=patches)
    torch.manual_seed(0)
    with torch.device(on):
        model = LlavaForConditionalGeneration._from_config(config, dtype=torch.float32)
    model.train()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for parameter, trained in ((parameter, "multi_modal_projector" in key or (name == "finetune" and "vision_tower" not in key))
                               for key, parameter in model.named_parameters()):
        parameter.requires_grad_(trained)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, fused=on == "cuda")
    ids = torch.randint(3, image, (batch, patches + words), device=on)
    ids[:, :patches] = image
    labels = ids.clone()
    labels[:, : patches + words // 2] = -100
    pixels = torch.randn(batch, 3, vision.image_size, vision.image_size, device=on)
    half = torch.autocast(on, torch.bfloat16, enabled=m.shape["precision"] == "bf16")

    def step():
        with half:
            loss = model(input_ids=ids, pixel_values=pixels, labels=labels, attention_mask=torch.ones_like(ids)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    if on == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = timed(torch, on, step, max(m.shape["steps"][name] - WARM_UP, 1))
    given = {"tokens_per_second": round(batch * (patches + words) / seconds), "attention": text._attn_implementation}
    if on == "cuda":
        given["memory_bytes"] = torch.cuda.max_memory_allocated()
        del model, optimizer
        torch.cuda.empty_cache()
    if ours.get("tokens_per_second"):
        given["ours_by_theirs"] = round(ours["tokens_per_second"] / given["tokens_per_second"], 3)
    return given


def our_decode(m, backbone):
    """Tokens a second of a greedy answer by the server, one alone and eight at a time."""
    line = [str(m.program), "serve", "--model", str(backbone), "--name", "shape", "--port", "0", "--device", m.args.device, "--dtype",
            m.shape["precision"], "--quiet"]
    process = subprocess.Popen(line, cwd=ROOT, env=m.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        with Memory(m.args.device, process) as memory:
            address = re.search(r"http://[\w.:\[\]]+", process.stdout.readline())
            if not address:
                process.kill()
                raise Failed(f"{' '.join(line)}: {process.stderr.read().strip()[-800:]}")

            def answer(tokens, count):
                body = {"model": "shape", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": tokens, "n": count,
                        "temperature": 0}
                asked = urllib.request.Request(f"{address[0]}/v1/chat/completions", json.dumps(body).encode(),
                                               {"Content-Type": "application/json"})
                began = time.perf_counter()
                reply = json.loads(urllib.request.urlopen(asked, timeout=max(m.left(), 1)).read())
                seconds, written = time.perf_counter() - began, reply["usage"]["completion_tokens"]
                if written != tokens * count:
                    raise Failed(f"an answer ended after {written} tokens of {tokens * count}")
                return seconds

            given = {}
            for count in (1, 8):
                answer(LONG, count)
                seconds = [answer(LONG, count) - answer(SHORT, count) for _ in range(ROUNDS)]
                given[f"tokens_per_second_{count}"] = round(count * (LONG - SHORT) / statistics.median(seconds), 1)
            return given | {"memory_bytes": memory.most}
    finally:
        process.kill()
        process.wait()


def torch_decode(m, torch, backbone):
    """The same by transformers' `generate`, greedy, as it comes."""
    from transformers import Gemma2ForCausalLM
    on, kind = torch_device(m), torch.bfloat16 if m.shape["precision"] == "bf16" else torch.float32
    model = Gemma2ForCausalLM.from_pretrained(backbone, dtype=kind).to(on).eval()
    given = {"attention": model.config._attn_implementation}
    for count in (1, 8):
        ids = torch.randint(3, 8000, (count, 12), device=on)

        def answer(tokens):
            model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)

        seconds = timed(torch, on, lambda: answer(LONG), ROUNDS) - timed(torch, on, lambda: answer(SHORT), ROUNDS)
        rate = count * (LONG - SHORT) / seconds
        given[f"tokens_per_second_{count}"] = round(rate, 1)
        ours = m.result.get("decode", {}).get(f"tokens_per_second_{count}")
        if ours:
            given[f"ours_by_theirs_{count}"] = round(ours / rate, 3)
    return given


def page(result):
    """All of it as one page."""
    def cell(value):
        return html.escape(f"{value:,}" if isinstance(value, int) else str(value))

    rows = []
    for name, given in result.items():
        given = given if isinstance(given, dict) else {"": given}
        for key, value in given.items():
            rows.append(f"<tr><th>{html.escape(name)}</th><td>{html.escape(key)}</td><td>{cell(value)}</td></tr>")
            name = ""
    style = "body{font:15px system-ui;margin:2em auto;max-width:60em;padding:0 1em}td,th{text-align:left;vertical-align:top;padding:.2em .8em}" \
            "td:last-child{overflow-wrap:anywhere}:root{color-scheme:light dark}"
    return f"<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'><title>burn-vlm on a device</title>" \
           f"<style>{style}</style><h1>burn-vlm on a device</h1><table>{''.join(rows)}</table>\n"


def main():
    args = options()
    m = Measuring(args)
    if not os.access(m.program, os.X_OK):
        sys.exit(f"error: there is no program at {m.program}: build it (docs/backends.md), and put it there as burn-vlm or burn-vlm.xz, "
                 "or give --program")
    m.out.mkdir(parents=True, exist_ok=True)
    if any(m.out.iterdir()):
        sys.exit(f"error: {m.out} is not empty: give another folder with --out")
    torch = torch_or_none(args)
    large = args.shape != "tiny"
    m.step("machine", 20, lambda: machine(m, torch))
    m.step("agreement", 40, lambda: agreement(m))
    parts = []
    m.step("parts", 40 if large else 5, lambda: parts.extend(random_parts(m, torch)) or {"folders": [part.name for part in parts]})
    if parts:
        path = recipe(m, parts)
        for number, name in enumerate(m.shape["steps"]):
            m.step(f"{name}_step", 60 if large else 10, lambda: our_step(m, path, name, number))
            if torch:
                m.step(f"{name}_step_torch", 40 if large else 10, lambda: torch_step(m, torch, name))
        m.step("decode", 40 if large else 10, lambda: our_decode(m, parts[1]))
        if torch:
            m.step("decode_torch", 40 if large else 10, lambda: torch_decode(m, torch, parts[1]))
    m.step("study", 60, lambda: study(m))
    # Weights are gigabytes, and no result.
    for name in ("encoder", "backbone", "agree-flex", f"agree-{args.device.replace(':', '-')}", "step-align", "step-finetune"):
        shutil.rmtree(m.out / name, ignore_errors=True)
    m.write()
    print(f"{m.out / 'result.json'} and result.html are written")
    return 1 if m.failed else 0


if __name__ == "__main__":
    sys.exit(main())
