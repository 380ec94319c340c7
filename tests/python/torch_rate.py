"""Training steps of this library and of PyTorch, in one run, on two threads each, by one clock.

    pip install torch
    cargo bench --workspace --bench train_step --no-run
    python tests/python/torch_rate.py [path of the bench's program]

Prints tokens/s of forward + backward + AdamW in f32 for the two models of `benches/train_step.rs`: a decoder (d 256, 6 layers,
4 heads of 64, gated tanh-GELU 1024, vocabulary 8192, tied head, batch 8 x 256) and a tiny VLM (ViT 224/16 of width 192 and 6
layers before it, 196 visual and 64 text tokens, batch 8, logits at the text positions only). PyTorch runs them as one would write
them: scaled_dot_product_attention, F.rms_norm, F.layer_norm, fused AdamW. Rounds of the two alternate, medians are printed, and the
share of the machine that other programs took meanwhile.
"""

import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
THREADS = 2
STEPS = 3
BATCH, TEXT, VLM_TEXT, PATCHES, VOCAB, WIDTH = 8, 256, 64, 196, 8192, 256


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return F.rms_norm(x, x.shape[-1:], 1 + self.weight, 1e-6)


def rotate(x, cos, sin):
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


class DecoderLayer(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(RmsNorm(width) for _ in range(4))
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x, cos, sin):
        rows, tokens, width = x.shape
        y = self.norms[0](x)
        split = lambda t: t.view(rows, tokens, self.heads, -1).transpose(1, 2)
        q, k, v = rotate(split(self.q(y)), cos, sin), rotate(split(self.k(y)), cos, sin), split(self.v(y))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(rows, tokens, width)
        x = x + self.norms[1](self.o(y))
        y = self.norms[2](x)
        return x + self.norms[3](self.down(F.gelu(self.gate(y), approximate="tanh") * self.up(y)))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(VOCAB, WIDTH)
        nn.init.normal_(self.table.weight, std=0.02)
        self.layers = nn.ModuleList(DecoderLayer(WIDTH, 4, 1024) for _ in range(6))
        self.norm = RmsNorm(WIDTH)

    def embed(self, ids):
        return self.table(ids) * math.sqrt(WIDTH)

    def trunk(self, x):
        half = WIDTH // 4 // 2
        angles = torch.arange(x.shape[1])[:, None] * 10_000.0 ** (-torch.arange(half) / half)
        cos, sin = (torch.cat([f(angles)] * 2, -1) for f in (torch.cos, torch.sin))
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)

    def head(self, x):
        return x @ self.table.weight.T


class TowerLayer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        y = self.norm1(x)
        split = lambda t: t.view(*t.shape[:2], self.heads, -1).transpose(1, 2)
        y = F.scaled_dot_product_attention(split(self.q(y)), split(self.k(y)), split(self.v(y)))
        x = x + self.o(y.transpose(1, 2).reshape(x.shape))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x)), approximate="tanh"))


class TinyVlm(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 192, 16, 16)
        self.positions = nn.Parameter(torch.randn(PATCHES, 192) * 0.02)
        self.layers = nn.ModuleList(TowerLayer(192, 3) for _ in range(6))
        self.projector = nn.Sequential(nn.Linear(192, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.decoder = Decoder()

    def forward(self, pixels, ids):
        x = self.patch(pixels).flatten(2).transpose(1, 2) + self.positions
        for layer in self.layers:
            x = layer(x)
        x = torch.cat([self.projector(x), self.decoder.embed(ids)], 1)
        return self.decoder.trunk(x)[:, PATCHES - 1 : -1]


def steps():
    """Name -> (one step, its tokens)."""
    decoder, vlm = Decoder(), TinyVlm()
    ids = torch.randint(0, VOCAB, (BATCH, TEXT + 1))
    pixels, words = torch.randn(BATCH, 3, 224, 224), torch.randint(0, VOCAB, (BATCH, VLM_TEXT))
    optimizers = {model: torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True) for model in (decoder, vlm)}

    def step(model, hidden, head, targets):
        F.cross_entropy(head(hidden).reshape(-1, VOCAB), targets.reshape(-1)).backward()
        optimizers[model].step()
        optimizers[model].zero_grad(set_to_none=True)

    return {
        "decoder": (lambda: step(decoder, decoder.trunk(decoder.embed(ids[:, :-1])), decoder.head, ids[:, 1:]), BATCH * TEXT),
        "tiny_vlm": (lambda: step(vlm, vlm(pixels, words), vlm.decoder.head, words), BATCH * (PATCHES + VLM_TEXT)),
    }


def busy():
    fields = [int(field) for field in open("/proc/stat").readline().split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / os.sysconf("SC_CLK_TCK")


def own():
    spent = os.times()
    return sum(spent[:4])


def others(work):
    """What the work returns, and the share of the machine's processors that other programs took meanwhile."""
    began, before, mine = time.perf_counter(), busy(), own()
    result = work()
    seconds = (time.perf_counter() - began) * os.cpu_count()
    return result, max(0.0, (busy() - before - (own() - mine)) / seconds)


def pytorch(step, tokens):
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    return STEPS * tokens / (time.perf_counter() - began)


def ours(program, name):
    """The median that criterion prints."""
    command = [program, "--bench", f"train_step/{name}$", "--warm-up-time", "2", "--measurement-time", "5", "--sample-size", "10", "--noplot"]
    # The second is what .cargo/config.toml sets for programs that cargo starts.
    environment = {**os.environ, "RAYON_NUM_THREADS": str(THREADS), "MIMALLOC_PURGE_DELAY": "-1"}
    text = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    rate = re.search(r"thrpt:\s+\[\S+ \S+ (\S+) (\S+)elem/s", text)
    return float(rate[1]) * {"": 1, "K": 1e3, "M": 1e6}[rate[2]]


def main(program=None):
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    found = sorted((TARGET / "release/deps").glob("train_step-*"), key=os.path.getmtime)
    program = program or next(str(path) for path in reversed(found) if path.suffix == "")
    cases = steps()
    print("torch", torch.__version__, f"{THREADS} threads, {ROUNDS} rounds, load", *(f"{load:.1f}" for load in os.getloadavg()))
    rates = {name: ([], [], []) for name in cases}
    for step, tokens in cases.values():
        pytorch(step, tokens)
    for _ in range(ROUNDS):
        for name, (step, tokens) in cases.items():
            for side, work in enumerate((lambda: ours(program, name), lambda: pytorch(step, tokens))):
                rate, share = others(work)
                rates[name][side].append(rate)
                rates[name][2].append(share)
    print(f"{'tokens/s':10} {'ours':>8} {'(range)':>14} {'PyTorch':>8} {'(range)':>14} {'ratio':>6} {'others':>7}")
    for name, (mine, theirs, share) in rates.items():
        ratio = statistics.median(mine) / statistics.median(theirs)
        shown = (f"{statistics.median(r):8.0f} {f'{min(r):.0f}-{max(r):.0f}':>14}" for r in (mine, theirs))
        print(f"{name:10}", *shown, f"{ratio:6.2f} {statistics.mean(share):6.0%}")


if __name__ == "__main__":
    main(*sys.argv[1:])
