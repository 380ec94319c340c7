"""`burn-vlm data translate` and `data regenerate` against llama.cpp's own server.

    python -m venv llama && llama/bin/pip install xllamacpp==2026.10.11549 gguf==0.19.0
    cargo build --release --bin burn-vlm
    llama/bin/python tests/python/endpoint_llama.py target/release/burn-vlm

A decoder and a projector for pictures, both of random numbers and of less than a megabyte, are written as GGUF files into a temporary
folder, and asked through a proxy that notes what goes over the wire. What they answer is noise: it is checked that every row ends as a
record with the right reason, that nothing is asked twice, whatever is killed, and that runs end by themselves. Where a reply must have a
certain fault, llama.cpp's own `logit_bias` and `ignore_eos` make it. Ends with 1 at the first check that fails; takes a quarter of a
minute.
"""

import argparse
import collections
import http.client
import http.server
import importlib.metadata
import json
import os
import pathlib
import string
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zlib

import gguf
import numpy as np

WIDTH, LAYERS, HEADS, INNER = 64, 2, 4, 128
# Of the projector's encoder, and of the pictures that it makes of all: a token for each patch.
EYE, EYE_INNER, PATCH, SIDE = 32, 64, 14, 56
PICTURE_TOKENS = (SIDE // PATCH) ** 2
# The context is shared out among the slots: each conversation has a fourth.
CONTEXT, SLOTS = 4096, 4
BYTES, END = 5, 4  # The first token of a byte; the token that ends a turn.
# Requests at once.
AT_ONCE = 4
# Longer than any run here; one that does not end by itself is a failure.
PATIENCE = 30
KEY = "sk-of-this-test"
VARIABLE = "BURN_VLM_ENDPOINT_KEY"
ROWS = 12

TEMPLATE = """{%- for message in messages %}<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{%- endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

PROMPTS = """
[[prompt]]
name = "{form}"
form = "{form}"
user = "Look at this."
"""

# In a process of its own, which can be killed.
SERVE = """
import json, sys, xllamacpp
given, said = xllamacpp.CommonParams(), json.loads(sys.argv[1])
given.model.path, given.n_gpu_layers, given.warmup, given.fit_params, given.use_jinja = said["model"], 0, False, False, True
given.cpuparams.n_threads = given.cpuparams_batch.n_threads = 1
given.n_ctx, given.n_parallel, given.port = said["context"], said["slots"], said["port"]
given.mmproj.path, given.api_keys, given.model_alias = said["projector"], said["keys"], set(said["names"])
server = xllamacpp.Server(given)
print(server.listening_address, flush=True)
sys.stdin.read()
"""

checks = 0


def check(what, right, found=""):
    global checks
    if not right:
        sys.exit(f"FAILED: {what}: {found}")
    checks += 1
    print(f"ok: {what}", flush=True)


# The files.

def close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def drawn(random, *shape, scale=1.0):
    return (random.standard_normal(shape) * scale / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def tokens():
    """Pieces with their types (control, byte, normal), as SentencePiece's vocabularies have them."""
    found = [("<unk>", 2), ("<s>", 3), ("</s>", 3), ("<|im_start|>", 3), ("<|im_end|>", 3)]
    found += [(f"<0x{byte:02X}>", 6) for byte in range(256)]
    found += [(letter, 1) for letter in "▁" + string.ascii_letters + string.digits + ".,:;!?\"'()[]{}-_/\\<>|äöüß"]
    return found + [(word, 1) for word in ("▁apple", "▁Haus", "▁der", "▁ein", "▁red", "▁Baum", "▁und")]


def write_decoder(path):
    random, pieces = np.random.default_rng(1), tokens()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(pieces))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([piece for piece, _ in pieces])
    writer.add_token_types([kind for _, kind in pieces])
    writer.add_token_scores([-float(at) for at in range(len(pieces))])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(END)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)
    head = drawn(random, len(pieces), WIDTH, scale=3)
    # It writes letters and the end of its turn, neither single bytes nor other marks.
    head[:BYTES + 256][np.arange(BYTES + 256) != END] = 0
    writer.add_tensor("token_embd.weight", drawn(random, len(pieces), WIDTH, scale=8))
    writer.add_tensor("output.weight", head)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    shapes = {"attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, WIDTH), "attn_v": (WIDTH, WIDTH), "attn_output": (WIDTH, WIDTH),
              "ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH), "ffn_down": (WIDTH, INNER)}
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(WIDTH, np.float32))
        for name, shape in shapes.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", drawn(random, *shape))
    close(writer)


def write_projector(path):
    """LLaVA's: CLIP's encoder without its last norm, and two layers."""
    random = np.random.default_rng(2)
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_clip_has_vision_encoder(True)
    writer.add_bool("clip.has_llava_projector", True)
    writer.add_clip_projector_type("mlp")
    writer.add_vision_image_size(SIDE)
    writer.add_vision_patch_size(PATCH)
    writer.add_vision_embedding_length(EYE)
    writer.add_vision_feed_forward_length(EYE_INNER)
    writer.add_vision_projection_dim(WIDTH)
    writer.add_vision_head_count(2)
    writer.add_vision_block_count(LAYERS)
    writer.add_vision_attention_layernorm_eps(1e-5)
    writer.add_vision_image_mean([0.5] * 3)
    writer.add_vision_image_std([0.5] * 3)
    writer.add_vision_use_gelu(True)

    def layer(name, *shape):
        writer.add_tensor(f"{name}.weight", drawn(random, *shape) if len(shape) > 1 else np.ones(shape, np.float32))
        writer.add_tensor(f"{name}.bias", np.zeros(shape[0], np.float32))

    writer.add_tensor("v.patch_embd.weight", drawn(random, EYE, 3, PATCH, PATCH))
    writer.add_tensor("v.class_embd", drawn(random, 1, EYE)[0])
    writer.add_tensor("v.position_embd.weight", drawn(random, PICTURE_TOKENS + 1, EYE))
    layer("v.pre_ln", EYE)
    for number in range(LAYERS):
        begin = f"v.blk.{number}."
        for name in ("ln1", "ln2"):
            layer(begin + name, EYE)
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            layer(begin + name, EYE, EYE)
        layer(begin + "ffn_up", EYE_INNER, EYE)
        layer(begin + "ffn_down", EYE, EYE_INNER)
    layer("mm.0", WIDTH, EYE)
    layer("mm.2", WIDTH, WIDTH)
    close(writer)


def png(number):
    """A picture of its own for each number."""
    width, height = 40, 30 + number
    lines = b"".join(b"\0" + bytes((x * (number + 3) + channel * y * 7) % 256 for x in range(width) for channel in range(3))
                     for y in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


# The server, and what stands before it.

class Server:
    def __init__(self, folder, model="tiny.gguf", projector=True, keys=(), names=(), port=0):
        said = {"model": str(model), "projector": str(folder / "projector.gguf") if projector else "",
                "keys": list(keys), "names": list(names), "port": port, "context": CONTEXT, "slots": SLOTS}
        with open(folder / "server.log", "a", encoding="utf-8") as log:
            self.process = subprocess.Popen([sys.executable, "-c", SERVE, json.dumps(said)], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder)
        line = self.process.stdout.readline().strip()
        if not line.startswith("http://"):
            sys.exit(f"llama.cpp's server has not come up: {(folder / 'server.log').read_text()[-2000:]}")
        self.port = int(line.rsplit(":", 1)[1])

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


Exchange = collections.namedtuple("Exchange", "asked status said")


class Proxy(http.server.ThreadingHTTPServer):
    """Passes on to a server, and notes what it said. `watch` is told the number of each request before it is passed on."""

    daemon_threads = True

    def __init__(self, server, watch=None):
        self.server, self.watch, self.seen, self.count, self.lock = server, watch, [], 0, threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request, client_address):
        pass  # Who asked was killed.

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        proxy = self.server
        with proxy.lock:
            proxy.count += 1
            number = proxy.count
        if proxy.watch:
            proxy.watch(number)
        there = http.client.HTTPConnection("127.0.0.1", proxy.server.port, timeout=PATIENCE)
        passed = {name: self.headers[name] for name in ("Content-Type", "Authorization") if name in self.headers}
        there.request("POST", self.path, body, passed)
        came = there.getresponse()
        said = came.read()
        with proxy.lock:
            proxy.seen.append(Exchange(json.loads(body), came.status, said.decode()))
        self.send_response(came.status)
        self.send_header("Content-Type", came.getheader("Content-Type"))
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


# The program.

class Program:
    def __init__(self, path, folder):
        self.path, self.folder = path, folder

    def begin(self, verb, url, source, out, *more, key=None, model="tiny", most=24, tries=2):
        line = [self.path, "data", verb, str(source), "--out", str(self.folder / out), "--endpoint", url, "--endpoint-model", model]
        line += ["--at-once", str(AT_ONCE), "--tries", str(tries), "--max-tokens", str(most), *more]
        environment = {name: value for name, value in os.environ.items() if name != VARIABLE} | ({VARIABLE: key} if key else {})
        return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)

    def run(self, *given, **named):
        """The exit status and what was printed."""
        process = self.begin(*given, **named)
        try:
            said = process.communicate(timeout=PATIENCE)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            sys.exit(f"FAILED: data {given[0]} has not ended by itself after {PATIENCE} s: {process.communicate()[0][-2000:]}")
        return process.returncode, said

    def log(self, out):
        """The last record of each question."""
        with open(self.folder / out / "log.jsonl", encoding="utf-8") as file:
            return {record["key"]: record for record in map(json.loads, file)}

    def reasons(self, out):
        return collections.Counter((record["outcome"], record.get("reason")) for record in self.log(out).values())

    def report(self, out):
        return json.loads((self.folder / out / "report.json").read_text())

    def rows(self, out, verb="translate"):
        """What became of each row, by id; those that were kept have the language behind it."""
        found = {}
        made = {"translate": "translated", "regenerate": "regenerated"}[verb]
        for name, kept in ((f"{made}.jsonl", True), ("left_out.jsonl", False)):
            for line in (self.folder / out / name).read_text().splitlines():
                row = json.loads(line)
                found[row["id"].rsplit(".", 1)[0] if kept else row["id"]] = "kept" if kept else row["outcome"]
        return found


def settled(report, rows):
    total = report["total"]
    return total["kept"] + total["rejected"] + total["failed"] == rows and total["unknown"] == 0


def usage(proxy):
    said = [json.loads(one.said)["usage"] for one in proxy.seen if one.status == 200]
    return sum(one["prompt_tokens"] for one in said), sum(one["completion_tokens"] for one in said)


def write_rows(path, rows):
    path.write_text(json.dumps(rows))
    return path


def conversation(number, *turns, **more):
    who = ("human", "gpt")
    return {"id": f"row{number}", "conversations": [{"from": who[at % 2], "value": turn} for at, turn in enumerate(turns)], **more}


# What is checked.

def translations(program, folder):
    texts = [conversation(number, f"What is in box {'abcdefghijklmnop'[number]}?", f"A red apple, and a {'very ' * number}old hat.")
             for number in range(ROWS)]
    questions = 2 * ROWS
    source = write_rows(folder / "texts.json", texts)
    de = ("--languages", "de")
    with Server(folder) as server:
        with Proxy(server) as proxy:
            status, said = program.run("translate", proxy.url, source, "plain", *de)
            report = program.report("plain")
            check("every row of a translation ends as a record", status == 0 and settled(report, ROWS), said)
            check("each turn is asked once", len(proxy.seen) == questions == report["spent"]["requests"], report["spent"])
            check("tokens are counted as the server counts them",
                  (report["spent"]["prompt_tokens"], report["spent"]["completion_tokens"]) == usage(proxy), report["spent"])
            bodies = {(record["body"]["text"], record["body"]["finish"]) for record in program.log("plain").values()}
            replies = {(choice["message"]["content"], choice["finish_reason"])
                       for choice in (json.loads(one.said)["choices"][0] for one in proxy.seen)}
            check("texts and finish reasons are in the log as the server said them", bodies == replies, bodies ^ replies)
            cut = [record for record in program.log("plain").values() if record["body"]["finish"] == "length"]
            check("what the server says was cut is rejected as cut",
                  cut and all((record["outcome"], record["reason"]) == ("rejected", "cut") for record in cut), cut)
            made = {path.name: path.read_bytes() for path in (folder / "plain").iterdir()}
            status, said = program.run("translate", proxy.url, source, "plain", *de)
            again = {path.name: path.read_bytes() for path in (folder / "plain").iterdir()}
            differ = [name for name in made if name.endswith(".jsonl") and made[name] != again.get(name)]
            check("a second run asks nothing and writes the same", status == 0 and len(proxy.seen) == questions and not differ,
                  f"{len(proxy.seen)} {differ}")
        killed(program, server, source, de, questions)
        faults(program, server, source, de, folder)
        dry(program, server, source, de, questions)
        names(program, server, source, de, folder)
    gone(program, folder, source, de)
    keys(program, folder, source, de)


def killed(program, server, source, de, questions):
    process, at = [], questions // 2

    def watch(number):
        if number == at:
            process[0].kill()

    with Proxy(server, watch) as proxy:
        process.append(program.begin("translate", proxy.url, source, "killed", *de))
        process[0].wait(PATIENCE)
        # Those under way when it was killed end first.
        time.sleep(0.3)
        log = (program.folder / "killed" / "log.jsonl").read_bytes()
        answered = log.count(b"\n")
        check("killed in the middle, with answers in the log", process[0].returncode == -9 and 0 < answered < questions, answered)
        asked = proxy.count
        status, said = program.run("translate", proxy.url, source, "killed", *de)
        check("the same command after it asks what the log lacks", status == 0 and proxy.count - asked == questions - answered,
              f"{proxy.count} {asked} {answered}")
        check("and brings the rows of a run that was not killed", set(program.rows("killed")) == set(program.rows("plain")), said)
        check("only what was under way is asked twice", proxy.count - questions <= AT_ONCE, proxy.count)


def faults(program, server, source, de, folder):
    """Replies with a fault that llama.cpp is asked to make."""
    for what, fields, expected in [
        ("replies that never end are cut", {"ignore_eos": True}, ("rejected", "cut")),
        ("replies of the end alone are empty", {"logit_bias": {str(END): 100}}, ("rejected", "empty")),
        # Half of an "ä"; the server writes U+FFFD for it.
        ("halves of characters are broken characters", {"logit_bias": {str(BYTES + 0xC3): 100}}, ("rejected", "broken_character")),
    ]:
        with Proxy(server) as proxy:
            out, skip = expected[1], () if expected[1] == "cut" else ("--skip-checks", "cut")
            status, said = program.run("translate", proxy.url, source, out, *de, *skip, "--request-fields", json.dumps(fields))
            check(what, status == 0 and set(program.reasons(out)) == {expected} and len(proxy.seen) == 2 * ROWS, program.reasons(out))
    rows = [conversation(0, "Hi.", "hello " * 400), conversation(1, "Hi.", "A hat."), conversation(2, "hello " * 120, "A hat.")]
    with Proxy(server) as proxy:
        long = write_rows(folder / "long.json", rows)
        status, said = program.run("translate", proxy.url, long, "long", *de, "--request-fields", '{"ignore_eos": true}', most=400)
        found = program.reasons("long")
        check("a text that no slot can hold fails as too_long at once", status == 0 and found["failed", "too_long"] == 1
              and len(proxy.seen) == 6, found)
        full = [choice for choice in (json.loads(one.said) for one in proxy.seen if one.status == 200)
                if choice["usage"]["total_tokens"] == CONTEXT // SLOTS]
        check("a reply that the context cuts before --max-tokens is cut",
              len(full) == 1 and full[0]["usage"]["completion_tokens"] < 400 and found["rejected", "cut"] == 5, found)
    with Proxy(server) as proxy:
        fields = {"stream": True, "stream_options": {"include_usage": True}}
        status, said = program.run("translate", proxy.url, source, "stream", *de, "--request-fields", json.dumps(fields))
        report = program.report("stream")
        whole = all(one.said.startswith("data: ") for one in proxy.seen)
        check("streams are read as streams, with their tokens", status == 0 and whole and settled(report, ROWS)
              and report["spent"]["completion_tokens"] > 0, report["spent"])


def dry(program, server, source, de, questions):
    with Proxy(server) as proxy:
        status, said = program.run("translate", proxy.url, source, "dry", *de, "--dry-run", "5")
        check("a dry run asks its questions and tells of the rest", status == 0 and len(proxy.seen) == 5
              and f"{questions - 5} questions are left" in said, said)
        status, said = program.run("translate", proxy.url, source, "dry", *de)
        check("the run after it asks the rest alone", status == 0 and len(proxy.seen) == questions, len(proxy.seen))


def names(program, server, source, de, folder):
    with Proxy(server) as proxy:
        status, said = program.run("translate", proxy.url, source, "names", *de, model="tower")
        check("the server takes any name and answers with its own; the run ends", status != 0 and "tiny.gguf" in said
              and 0 < len(proxy.seen) <= AT_ONCE and {one.status for one in proxy.seen} == {200}, said)
        check("what it answered is put off as wrong_model", set(program.reasons("names")) == {("deferred", "wrong_model")},
              program.reasons("names"))
        status, said = program.run("translate", proxy.url, source, "names", *de, "--any-model", model="tower")
        check("--any-model takes it", status == 0 and settled(program.report("names"), ROWS), said)
    with Server(folder, folder / "tiny.gguf") as other, Proxy(other) as proxy:
        path = str(folder / "tiny.gguf")
        status, said = program.run("translate", proxy.url, source, "path", *de)
        check("without an alias the server's name is the path that it was given", status != 0 and f'"{path}" answered' in said, said)
        status, said = program.run("translate", proxy.url, source, "path", *de, model=path)
        check("that name is taken", status == 0 and settled(program.report("path"), ROWS), said)
    with Server(folder, names=["tower", "alpha"]) as other, Proxy(other) as proxy:
        status, said = program.run("translate", proxy.url, source, "aliases", *de, model="tower")
        check("of two aliases the server tells the first, whichever was asked", status != 0 and '"alpha" answered' in said, said)
        status, said = program.run("translate", proxy.url, source, "alias", *de, model="alpha")
        check("the alias that it tells is taken", status == 0 and settled(program.report("alias"), ROWS), said)


def gone(program, folder, source, de):
    """The server is killed while it answers; the program speaks to it without the proxy."""
    more, named = (*de, "--request-fields", '{"ignore_eos": true}', "--skip-checks", "cut"), {"most": 600, "tries": 1}
    with Server(folder) as server:
        url = f"http://127.0.0.1:{server.port}/v1"
        process = program.begin("translate", url, source, "gone", *more, **named)
        log, end = folder / "gone" / "log.jsonl", time.monotonic() + PATIENCE
        while (not log.exists() or b"\n" not in log.read_bytes()) and time.monotonic() < end:
            time.sleep(0.005)
        server.kill()
        said = process.communicate(timeout=PATIENCE)[0]
        found = program.reasons("gone")
        lost = {reason for outcome, reason in found if outcome in ("failed", "deferred")}
        check("a server that dies ends the run", process.returncode != 0 and lost and lost <= {"connection", "unreachable"},
              f"{found} {said}")
    with Server(folder, port=server.port):
        status, said = program.run("translate", url, source, "gone", *more, "--retry-failed", **named)
        check("the same command goes on when it is back", status == 0 and settled(program.report("gone"), ROWS)
              and program.report("gone")["total"]["failed"] == 0, said)


def keys(program, folder, source, de):
    with Server(folder, keys=[KEY]) as server, Proxy(server) as proxy:
        status, said = program.run("translate", proxy.url, source, "key", *de)
        check("a server that wants a key ends the run, which names the variable", status != 0 and VARIABLE in said
              and len(proxy.seen) <= AT_ONCE and set(program.reasons("key")) == {("deferred", "key")}, said)
        status, said = program.run("translate", proxy.url, source, "key", *de, key="sk-another")
        check("a wrong key does too", status != 0 and VARIABLE in said and "sk-another" not in said, said)
        status, said = program.run("translate", proxy.url, source, "key", *de, key=KEY)
        written = "".join(path.read_text() for path in (folder / "key").rglob("*") if path.is_file())
        check("the right one is taken, and written nowhere", status == 0 and settled(program.report("key"), ROWS)
              and KEY not in said + written, said)


def pictures(program, folder):
    for number in range(ROWS):
        (folder / f"{number}.png").write_bytes(png(number))
    rows = [conversation(number, "<image>\nWhat is this?", "A box.", image=f"{number}.png") for number in range(ROWS)]
    source = write_rows(folder / "pictures.json", rows)
    prompts = folder / "caption.toml"
    prompts.write_text(PROMPTS.format(form="caption"))
    given = ("--prompts", str(prompts), "--languages", "en")
    with Server(folder, projector=False) as blind, Proxy(blind) as proxy:
        status, said = program.run("regenerate", proxy.url, source, "seen", *given)
        check("a server without projector fails with 500, and the run ends and says so", status != 0
              and {one.status for one in proxy.seen} == {500} and "takes no pictures" in said, said)
        check("after no more requests than are made at once", 0 < len(proxy.seen) <= AT_ONCE, len(proxy.seen))
        found = program.reasons("seen")
        check("its rows are put off, for no row is at fault", set(found) == {("deferred", "no_pictures")}, found)
    with Server(folder) as server:
        with Proxy(server) as proxy:
            status, said = program.run("regenerate", proxy.url, source, "seen", *given)
            report = program.report("seen")
            check("the same command asks them when there is one", status == 0 and settled(report, ROWS) and len(proxy.seen) == ROWS
                  and {one.status for one in proxy.seen} == {200}, said)
            check("every row is told", len(program.rows("seen", "regenerate")) == ROWS, program.rows("seen", "regenerate"))
            exchange = json.loads(proxy.seen[0].said)["usage"], without_picture(server, proxy.seen[0].asked)
            check(f"a picture is read as {PICTURE_TOKENS} tokens",
                  exchange[0]["prompt_tokens"] - exchange[1]["prompt_tokens"] == PICTURE_TOKENS, exchange)
            texts = {json.loads(one.said)["choices"][0]["message"]["content"] for one in proxy.seen}
            check("other pixels give other answers", len(texts) > 1, texts)
            status, said = program.run("regenerate", proxy.url, source, "seen", *given)
            check("a second run asks nothing", status == 0 and len(proxy.seen) == ROWS, len(proxy.seen))
            status, said = program.run("regenerate", proxy.url, source, "dry-pictures", *given, "--dry-run", "4")
            check("a dry run shows some pictures and tells of the rest", status == 0 and len(proxy.seen) == ROWS + 4
                  and f"{ROWS - 4} questions are left" in said, said)
        (folder / "torn.png").write_bytes(png(0)[:50])
        torn = [conversation("torn", "<image>\nWhat is this?", "A box.", image="torn.png"), rows[0]]
        with Proxy(server) as proxy:
            status, said = program.run("regenerate", proxy.url, write_rows(folder / "torn.json", torn), "torn", *given)
            found = program.reasons("torn")
            check("a torn picture fails as bad_request after one request", status == 0 and found["failed", "bad_request"] == 1
                  and len(proxy.seen) == 2, f"{found} {said}")
        schema(program, server, source, folder)


def without_picture(server, asked):
    """The server's count of tokens of the same question without its picture."""
    message = asked["messages"][-1]
    message = {**message, "content": [part for part in message["content"] if part["type"] == "text"]}
    body = json.dumps({**asked, "messages": [*asked["messages"][:-1], message]}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/v1/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=PATIENCE) as came:
        return json.load(came)["usage"]


def schema(program, server, source, folder):
    """llama.cpp makes a grammar of the schema: noise has its form."""
    prompts = folder / "pairs.toml"
    prompts.write_text(PROMPTS.format(form="qa_json"))
    # Strings that end soon and lists that are not left empty are likelier then; the grammar stays.
    names = [piece for piece, _ in tokens()]
    bias = {str(names.index(piece)): value for piece, value in (('"', 3), ("]", -3), ("▁", -6))}
    fields = {"seed": 2, "logit_bias": bias}
    given = ("--prompts", str(prompts), "--languages", "en", "--temperature", "1", "--request-fields", json.dumps(fields))
    for out, most in (("pairs", 500), ("pairs-cut", 12)):
        with Proxy(server) as proxy:
            status, said = program.run("regenerate", proxy.url, source, out, *given, "--schema", most=most)
            sent = {json.dumps(one.asked.get("response_format"), sort_keys=True) for one in proxy.seen}
            check("the schema is sent", len(sent) == 1 and "pairs" in sent.pop() and len(proxy.seen) == ROWS, said)
            check("every row has an outcome", status == 0 and settled(program.report(out), ROWS), said)
            records = program.log(out).values()
            if out == "pairs-cut":
                check("JSON that was cut is recorded as cut", {(record["outcome"], record.get("reason"), record["body"]["finish"])
                      for record in records} == {("rejected", "cut", "length")}, program.reasons(out))
                continue
            whole = [record for record in records if record["body"]["finish"] == "stop"]
            parsed = [json.loads(record["body"]["text"])["pairs"] for record in whole]
            right = all(set(pair) == {"question", "answer"} for pairs in parsed for pair in pairs)
            check("noise that the server ends is JSON of the schema", whole and right, program.reasons(out))
            empty = [record for record in whole if not json.loads(record["body"]["text"])["pairs"]]
            check("lists of pairs are kept, empty ones malformed", program.reasons(out)["kept", None] > 0
                  and all(record["reason"] == "malformed" for record in empty), program.reasons(out))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    args = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_decoder(folder / "tiny.gguf")
        write_projector(folder / "projector.gguf")
        program = Program(args.program, folder)
        translations(program, folder)
        pictures(program, folder)
    version, seconds = importlib.metadata.version("xllamacpp"), time.monotonic() - begin
    print(f"{checks} checks against llama.cpp's server (xllamacpp {version}) in {seconds:.0f} s")


if __name__ == "__main__":
    main()
