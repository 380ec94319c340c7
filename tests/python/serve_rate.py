"""How fast `burn-vlm serve` answers: eight clients against one, a short question beside a long answer, and memory over 2,000 requests.

    python tests/python/serve_rate.py target/release/burn-vlm          # python's own library is enough; Linux

The model is written by this script: LLaVA's form with random weights, 116 million parameters (a Llama decoder of 10 layers and width 768
with 32,000 words, a CLIP tower of 4 layers and width 256). It says nothing; how long it takes does not depend on that. Lines alternate
round by round, and medians are printed, with the server's own processor time, since other programs may take the machine meanwhile. Memory
is that of a server with a model of a tenth of this, so that 2,000 requests are a matter of a minute.
"""

import argparse
import array
import base64
import concurrent.futures
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURE = ROOT / "tests/fixtures/llava_clip_llama"
ROWS, WIDTH, LAYERS, INNER, HEADS, SHARED = 32_000, 768, 10, 2048, 12, 4
SMALL = {"ROWS": 12_000, "WIDTH": 256, "LAYERS": 6, "INNER": 704, "HEADS": 4, "SHARED": 2}
TOWER, TOWER_LAYERS, TOWER_INNER, TOWER_HEADS, IMAGE, PATCH = 256, 4, 1024, 4, 112, 14
POSITIONS = 2048
CLIENTS = 8
QUESTION = "What is this?"


def tensors():
    """Names and shapes; a vector's third part is what it is filled with."""
    yield "language_model.lm_head.weight", [ROWS, WIDTH], None
    yield "language_model.model.embed_tokens.weight", [ROWS, WIDTH], None
    yield "language_model.model.norm.weight", [WIDTH], 1.0
    kept = WIDTH // HEADS * SHARED
    for layer in range(LAYERS):
        at = f"language_model.model.layers.{layer}."
        yield at + "input_layernorm.weight", [WIDTH], 1.0
        yield at + "post_attention_layernorm.weight", [WIDTH], 1.0
        for name, shape in (("q", [WIDTH, WIDTH]), ("k", [kept, WIDTH]), ("v", [kept, WIDTH]), ("o", [WIDTH, WIDTH])):
            yield at + f"self_attn.{name}_proj.weight", shape, None
        for name, shape in (("gate", [INNER, WIDTH]), ("up", [INNER, WIDTH]), ("down", [WIDTH, INNER])):
            yield at + f"mlp.{name}_proj.weight", shape, None
    for number, shape in ((1, [WIDTH, TOWER]), (2, [WIDTH, WIDTH])):
        yield f"multi_modal_projector.linear_{number}.weight", shape, None
        yield f"multi_modal_projector.linear_{number}.bias", [WIDTH], 0.0
    yield "vision_tower.embeddings.class_embedding", [TOWER], 0.1
    yield "vision_tower.embeddings.patch_embedding.weight", [TOWER, 3, PATCH, PATCH], None
    yield "vision_tower.embeddings.position_embedding.weight", [(IMAGE // PATCH) ** 2 + 1, TOWER], None
    for name in ("pre_layrnorm", "post_layernorm"):
        yield f"vision_tower.{name}.weight", [TOWER], 1.0
        yield f"vision_tower.{name}.bias", [TOWER], 0.0
    for layer in range(TOWER_LAYERS):
        at = f"vision_tower.encoder.layers.{layer}."
        for name in ("layer_norm1", "layer_norm2"):
            yield at + name + ".weight", [TOWER], 1.0
            yield at + name + ".bias", [TOWER], 0.0
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield at + f"self_attn.{name}.weight", [TOWER, TOWER], None
            yield at + f"self_attn.{name}.bias", [TOWER], 0.0
        for name, shape in (("fc1", [TOWER_INNER, TOWER]), ("fc2", [TOWER, TOWER_INNER])):
            yield at + f"mlp.{name}.weight", shape, None
            yield at + f"mlp.{name}.bias", shape[:1], 0.0


def write_model(folder):
    """A folder of the model; its number of parameters."""
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        shutil.copy(FIXTURE / name, folder / name)
    config = json.loads((FIXTURE / "config.json").read_text())
    words = config["text_config"]["vocab_size"]
    patches = (IMAGE // PATCH) ** 2
    config["image_seq_length"] = patches
    config["text_config"].update(
        vocab_size=ROWS, hidden_size=WIDTH, num_hidden_layers=LAYERS, intermediate_size=INNER, num_attention_heads=HEADS,
        num_key_value_heads=SHARED, head_dim=WIDTH // HEADS, max_position_embeddings=POSITIONS,
    )
    config["vision_config"].update(
        hidden_size=TOWER, num_hidden_layers=TOWER_LAYERS, intermediate_size=TOWER_INNER, num_attention_heads=TOWER_HEADS,
        image_size=IMAGE, patch_size=PATCH,
    )
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("preprocessor_config.json", "processor_config.json"):
        text = (FIXTURE / name).read_text().replace("70", str(IMAGE))
        (folder / name).write_text(text)
    header, begin = {}, 0
    for name, shape, _ in tensors():
        size = 4
        for length in shape:
            size *= length
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, begin + size]}
        begin += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    draw = random.Random(1)
    noise = array.array("f", (draw.gauss(0, 0.03) for _ in range(1 << 20)))
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape, value in tensors():
            count = 1
            for length in shape:
                count *= length
            if value is not None:
                array.array("f", [value] * count).tofile(file)
                continue
            numbers = array.array("f")
            while len(numbers) < count:
                start = draw.randrange(len(noise) // 2)
                numbers.extend(noise[start : start + count - len(numbers)])
            if name.endswith("lm_head.weight"):
                # Only words of the small vocabulary are said, and no special token, so that no answer ends by itself.
                first = (words - 4) * shape[1]
                numbers[first:] = array.array("f", bytes(4 * (count - first)))
            numbers.tofile(file)
    return begin // 4


def picture(number):
    """A PNG of another colour for every number."""
    row = b"\0" + bytes([number % 256, number // 256 % 256, 90]) * 32
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0))
    png += chunk(b"IDAT", zlib.compress(row * 32)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(png).decode()


class Server:
    def __init__(self, program, model):
        command = [program, "serve", "--model", str(model), "--name", "m", "--port", "0", "--device", "flex", "--quiet", "--batch", str(CLIENTS)]
        # Full after the first tenth of the requests about memory: what is kept on purpose does not grow then.
        command += ["--picture-cache", "4MB"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.host = self.process.stdout.readline().split()[2].removeprefix("http://")

    def cpu(self):
        """Seconds of processor time."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """Megabytes that it has."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise SystemExit("no VmRSS: this script needs Linux")

    def post(self, content, tokens, **more):
        body = {"model": "m", "messages": [{"role": "user", "content": content}], "max_tokens": tokens, "temperature": 0, **more}
        connection = http.client.HTTPConnection(self.host, timeout=600)
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            sys.exit(f"{response.status}: {response.read().decode()}")
        return response

    def answer(self, content, tokens):
        reply = json.loads(self.post(content, tokens).read())
        if reply["usage"]["completion_tokens"] != tokens:
            sys.exit(f"{reply['usage']}, expected {tokens} tokens")

    def first_token(self, content):
        """Seconds until the first word of an answer."""
        began = time.monotonic()
        response = self.post(content, 4, stream=True)
        seconds = None
        for line in response:
            if line.startswith(b"data: {") and seconds is None and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                seconds = time.monotonic() - began
        if seconds is None:
            sys.exit("an answer without a word")
        return seconds

    def rate(self, clients, tokens):
        """Tokens a second of so many clients at a time, and the same by the server's processor time."""
        cpu, began = self.cpu(), time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            list(pool.map(lambda _: self.answer(QUESTION, tokens), range(clients)))
        seconds, cpu = time.monotonic() - began, self.cpu() - cpu
        return clients * tokens / seconds, clients * tokens / cpu


def median(values):
    return statistics.median(values)


def together(server, rounds):
    one, many = [], []
    for _ in range(rounds):
        one.append(server.rate(1, 48))
        many.append(server.rate(CLIENTS, 48))
    for at, what in enumerate(("second", "second of processor time")):
        alone, all_of_them = (median([rate[at] for rate in rates]) for rates in (one, many))
        print(f"tokens/{what}: 1 client {alone:.1f}, {CLIENTS} clients {all_of_them:.1f}, {all_of_them / alone:.2f} times as many")


def read_on(response):
    """Reads until the answer or its client has left."""
    try:
        response.read()
    except (http.client.HTTPException, OSError):
        pass


def beside(server, rounds):
    """The first word of a short question, alone and while a long answer is written."""
    alone, busy = [], []
    for _ in range(rounds):
        alone.append(server.first_token(QUESTION))
        long = server.post("Tell me all about it.", 600, stream=True)
        for line in long:
            if line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                break
        reader = threading.Thread(target=read_on, args=(long,), daemon=True)
        reader.start()
        for _ in range(3):
            busy.append(server.first_token(QUESTION))
        if not reader.is_alive():
            sys.exit("the long answer ended before the short ones")
        # The client leaves.
        long.fp.raw._sock.shutdown(2)
        reader.join()
        time.sleep(0.3)
    a, b = median(alone), median(busy)
    print(f"first word of a short question: {1000 * a:.0f} ms alone, {1000 * b:.0f} ms beside a long answer, {b / a:.2f} times as long")


def memory(server, requests):
    def ask(number):
        content = QUESTION + f" {number}"
        if number % 2:
            content = [{"type": "image_url", "image_url": {"url": picture(number)}}, {"type": "text", "text": content}]
        server.answer(content, 1 + number % 3)

    seen = []
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        for begin in range(0, requests, requests // 10):
            list(pool.map(ask, range(begin, begin + requests // 10)))
            seen.append(server.memory())
    print(f"memory after each tenth of {requests} requests, half with another picture each, MB: {' '.join(f'{megabytes:.0f}' for megabytes in seen)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--only", choices=("together", "beside", "memory"))
    args = parser.parse_args()
    if args.only != "memory":
        checks = [(together, args.rounds)] if args.only == "together" else [(beside, args.rounds)]
        measure(args.program, [(together, args.rounds), (beside, args.rounds)] if args.only is None else checks)
    if args.only in (None, "memory"):
        globals().update(SMALL)
        measure(args.program, [(memory, args.requests)])


def measure(program, lines):
    """Serves a new model, and prints some lines about it."""
    with tempfile.TemporaryDirectory() as folder:
        parameters = write_model(pathlib.Path(folder))
        server = Server(program, folder)
        try:
            print(f"{parameters / 1e6:.0f} million parameters, f32, flex, {os.cpu_count()} cores; load {os.getloadavg()[0]:.1f}", flush=True)
            server.answer(QUESTION, 8)
            for line, times in lines:
                line(server, times)
            server.process.send_signal(signal.SIGTERM)
            if server.process.wait(timeout=120) != 0:
                sys.exit("the server did not end well")
        finally:
            server.process.kill()


if __name__ == "__main__":
    main()
