"""Writes tests/fixtures/gguf, files of llama.cpp's format, with the Python package of llama.cpp itself.

    pip install gguf==0.19.0 safetensors
    python tests/python/gguf_fixture.py

- blocks.gguf: a tensor of each type that is read, as `gguf.quants` stores it (random bytes for the K types, which it only reads), and, as
  `expected.NAME` in f32, what `gguf.quants.dequantize` makes of it;
- llama.gguf, qwen2.gguf, gemma2.gguf: the first layer of the decoders of the folders beside them, table of embeddings, norm and head, as
  llama.cpp's `convert_hf_to_gguf.py` writes them: names by the package's own map, rows of q and k of llama interleaved, Gemma's norms
  plus one, matrices as F16;
- words.gguf: the vocabulary of tok_qwen, without tensors.
"""

import json
import re
from pathlib import Path

import gguf
import numpy
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import load_file

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
OUT = FIXTURES / "gguf"
ROWS, COLUMNS = 3, 512
KINDS = [Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0, Type.Q4_K, Type.Q5_K, Type.Q6_K]
# Where a block of the K types has its scales, as binary16.
SCALES = {Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208]}


def stored(kind, random):
    if kind not in SCALES:
        values = random.standard_normal((ROWS, COLUMNS)).astype(numpy.float32)
        return gguf.quants.quantize(values, kind) if kind not in (Type.F32, Type.F16) else values.astype(
            numpy.float16 if kind == Type.F16 else numpy.float32)
    values, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (ROWS * COLUMNS // values, size), dtype=numpy.uint8)
    for at in SCALES[kind]:
        scales = random.uniform(0.001, 0.1, len(blocks)).astype(numpy.float16)
        blocks[:, at:at + 2] = scales.view(numpy.uint8).reshape(-1, 2)
    return blocks.reshape(ROWS, -1)


def blocks():
    random = numpy.random.default_rng(1)
    writer = gguf.GGUFWriter(OUT / "blocks.gguf", "none")
    for kind in KINDS:
        data = stored(kind, random)
        raw = None if kind in (Type.F32, Type.F16) else kind
        writer.add_tensor(kind.name, data, raw_dtype=raw)
        writer.add_tensor(f"expected.{kind.name}", gguf.quants.dequantize(data, kind).astype(numpy.float32))
    close(writer)


def interleaved(weight, heads):
    """`permute` of convert_hf_to_gguf.py."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def decoder(folder, name, architecture):
    config = json.loads((FIXTURES / folder / "config.json").read_text())
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(OUT / f"{name}.gguf", name)
    writer.add_block_count(1)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    rope = config.get("rope_parameters") or config
    writer.add_rope_freq_base(rope["rope_theta"])
    if name != "qwen2":
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
    if name == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
        writer.add_sliding_window(config["sliding_window"])
    names = gguf.get_tensor_name_map(architecture, config["num_hidden_layers"])
    for key, tensor in load_file(FIXTURES / folder / "model.safetensors").items():
        layer = re.match(r"model\.layers\.(\d+)\.", key)
        if layer and layer[1] != "0":
            continue
        tensor = tensor.astype(numpy.float32)
        if name == "llama" and re.search(r"[qk]_proj", key):
            tensor = interleaved(tensor, heads if "q_proj" in key else kv_heads)
        if name == "gemma2" and key.endswith("norm.weight"):
            tensor = tensor + 1
        own = names.get_name(key, try_suffixes=(".weight", ".bias"))
        writer.add_tensor(own, tensor.astype(numpy.float16) if tensor.ndim == 2 else tensor)
    close(writer)


def words():
    tokenizer = json.loads((FIXTURES / "tok_qwen/tokenizer.json").read_text())
    tokens = dict(tokenizer["model"]["vocab"])
    kinds = {token: 1 for token in tokens}
    for added in tokenizer["added_tokens"]:
        tokens[added["content"]] = added["id"]
        kinds[added["content"]] = 3 if added["special"] else 4
    order = sorted(tokens, key=tokens.get)
    assert [tokens[token] for token in order] == list(range(len(order)))
    writer = gguf.GGUFWriter(OUT / "words.gguf", "qwen2")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    # Rows that are no token.
    writer.add_token_list(order + ["[PAD0]", "[PAD1]"])
    writer.add_token_types([kinds[token] for token in order] + [5, 5])
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(tokens["<|im_end|>"])
    writer.add_pad_token_id(tokens["<|endoftext|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template((FIXTURES / "tok_qwen/chat_template.jinja").read_text())
    close(writer)


def close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


OUT.mkdir(exist_ok=True)
blocks()
decoder("llama", "llama", gguf.MODEL_ARCH.LLAMA)
decoder("qwen2_untied", "qwen2", gguf.MODEL_ARCH.QWEN2)
decoder("gemma2", "gemma2", gguf.MODEL_ARCH.GEMMA2)
words()
