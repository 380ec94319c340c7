#!/usr/bin/env python3
"""The folders tests/fixtures/comet_*: small random COMETKiwi and XCOMET models with what an independent forward pass makes of them.

The encoders are transformers' own; joining, mixture, head and spans are written here from COMET's formulas (facts are in README.txt of
each folder). `--check DIR ...` runs the same pass on folders that COMET itself made and prints the largest differences, which is the
reason to believe it.

    python tests/python/comet_fixture.py --check DIR ...            # folders of the same form, made by unbabel-comet
    python tests/python/comet_fixture.py --from DIR --out tests/fixtures

needs torch, transformers (4.x), safetensors, tokenizers. `--from` is a folder whose `encoder` has tokenizer.json and
sentencepiece.bpe.model in XLM-RoBERTa's layout.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import nn
from transformers import XLMRobertaConfig, XLMRobertaModel, XLMRobertaXLConfig, XLMRobertaXLModel

BOS, PAD, EOS = 0, 1, 2
SEVERITIES = ["minor", "major", "critical"]
MQM = {"minor": 1, "major": 5, "critical": 10}
CLASSES = {"xlm-roberta": (XLMRobertaConfig, XLMRobertaModel), "xlm-roberta-xl": (XLMRobertaXLConfig, XLMRobertaXLModel)}


def hparams_of(folder):
    """The few keys that matter, from a file that `yaml.dump` wrote."""
    found, key = {}, None
    for line in (folder / "hparams.yaml").read_text().splitlines():
        if line.startswith("- "):
            found[key] = (found[key] or []) + [line[2:].strip()]
        else:
            key, _, value = line.partition(":")
            found[key] = value.strip() or None
    return found


class Comet:
    def __init__(self, folder, state=None, tokenizer=None):
        self.hparams = hparams_of(folder)
        config = json.loads((folder / "encoder/config.json").read_text())
        config_class, model_class = CLASSES[config["model_type"]]
        self.encoder = model_class(config_class(**config), add_pooling_layer=False).eval()
        path = tokenizer or folder / "encoder/tokenizer.json"
        self.tokenizer = Tokenizer.from_file(str(path))
        self.max_joint = config["max_position_embeddings"] - 2
        if state is None:
            state = torch.load(folder / "checkpoints/model.ckpt", weights_only=True)["state_dict"]
        self.state = state
        body = {k.removeprefix("encoder.model."): v for k, v in state.items() if k.startswith("encoder.model.")}
        body = {k: v for k, v in body.items() if not k.endswith("position_ids")}
        missing, unexpected = self.encoder.load_state_dict(body, strict=False)
        assert not unexpected and all("position_ids" in k or "token_type_ids" in k for k in missing), (missing, unexpected)
        count = config["num_hidden_layers"] + 1
        scalars = torch.cat([state[f"layerwise_attention.scalar_parameters.{i}"] for i in range(count)])
        assert self.hparams["layer_transformation"] in ("softmax", "sparsemax_patch")
        self.weights = torch.softmax(scalars, 0)
        self.scalars, self.gamma = scalars, state["layerwise_attention.gamma"]
        self.xcomet = self.hparams["class_identifier"] == "xcomet_metric"

    def piece(self, text):
        encoding = self.tokenizer.encode(text)
        ids, offsets = encoding.ids, encoding.offsets
        most = self.max_joint - 2
        if len(ids) > most:
            ids, offsets = ids[: most - 1] + [EOS], offsets[: most - 1] + [(0, 0)]
        return ids, offsets

    def join(self, pieces):
        pieces = [[i for i in ids if i != PAD] for ids in pieces]
        joint = [BOS] + pieces[0][1:-1] + [EOS]
        for ids in pieces[1:]:
            joint = [BOS] + joint[1:-1] + [EOS, EOS] + ids[1:-1] + [EOS]
        return joint[: self.max_joint]

    @torch.no_grad()
    def forward(self, rows):
        width = max(map(len, rows))
        ids = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
        mask = torch.arange(width)[None] < torch.tensor([len(row) for row in rows])[:, None]
        states = self.encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        states = torch.stack(states)
        mixed = self.gamma * (self.weights[:, None, None, None] * states).sum(0)
        x, layer = mixed[:, 0], 0
        while f"estimator.ff.{layer}.weight" in self.state:
            x = nn.functional.linear(x, self.state[f"estimator.ff.{layer}.weight"], self.state[f"estimator.ff.{layer}.bias"])
            layer += 3
            if f"estimator.ff.{layer}.weight" in self.state:
                x = torch.tanh(x)
        out = {"ids": ids, "mask": mask, "states": states, "mixed": mixed * mask[..., None], "sentence": mixed[:, 0], "score": x[:, 0]}
        if "hidden2tag.weight" in self.state:
            words = states[int(self.hparams["word_layer"])]
            out["logits"] = nn.functional.linear(words, self.state["hidden2tag.weight"], self.state["hidden2tag.bias"])
        return out

    def spans(self, ids, probabilities, offsets):
        spans, span = [], None
        for token, row, offset in zip(ids, probabilities, offsets):
            value, label = row.max(0)
            if label == 0:
                if span:
                    spans.append(span)
                span = None
            elif span is None:
                span = {"tokens": [token], "p": [value], "severity": SEVERITIES[label - 1], "offset": list(offset)}
            else:
                span["tokens"].append(token)
                span["p"].append(value)
                span["offset"][1] = offset[1]
        return [
            {
                "text": self.tokenizer.decode(span["tokens"], skip_special_tokens=False),
                "confidence": torch.stack(span["p"]).mean().item(),
                "severity": span["severity"],
                "start": span["offset"][0],
                "end": span["offset"][1],
            }
            for span in spans
        ]

    def one(self, sample, reference=False):
        mt, offsets = self.piece(sample["mt"])
        src = self.piece(sample["src"])[0]
        inputs = [[mt, src]]
        if reference:
            ref = self.piece(sample["ref"])[0]
            inputs += [[mt, ref], [mt, src, ref]]
        joints = [self.join(pieces) for pieces in inputs]
        outs = [self.forward([joint]) for joint in joints]
        found = {"score": outs[0]["score"][0].item()}
        if not self.xcomet:
            return found
        weights = [0.1667, 0.3333, 0.5] if reference else [1.0]
        length = min([len(offsets)] + [len(joint) for joint in joints])
        p = sum(w * torch.softmax(out["logits"][0, :length], 1) for w, out in zip(weights, outs))
        found["spans"] = self.spans(joints[0], p, offsets)
        found["mqm"] = (25 - min(25, sum(MQM[span["severity"]] for span in found["spans"]))) / 25
        parts = [out["score"][0].item() for out in outs]
        found["parts"] = parts
        share = [0.12, 0.33, 0.33] if reference else [0.78]
        found["score"] = sum(s * min(part, 1.0) for s, part in zip(share, parts)) + 0.22 * found["mqm"]
        return found


def check(folder):
    model, expected = Comet(folder), json.loads((folder / "expected.json").read_text())
    samples = json.loads((folder / "samples.json").read_text())
    worst = lambda found, wanted: max(abs(a - b) for a, b in zip(found, wanted, strict=True))
    plain = [model.one(sample) for sample in samples]
    print(folder.name, "scores", worst([found["score"] for found in plain], expected["scores"]))
    if model.xcomet:
        print("   mqm", worst([found["mqm"] for found in plain], expected["mqm_scores"]))
        same = sum([dict(s, confidence=0) for s in f["spans"]] == [dict(s, confidence=0) for s in e]
                   for f, e in zip(plain, expected["error_spans"], strict=True))
        print("   spans", same, "of", len(samples))
        both = [model.one(sample, True) for sample in samples]
        print("   with references", worst([found["score"] for found in both], expected["with_ref"]["scores"]))


def state_of(kind, config, sizes, labels, seed):
    """Random weights large enough that every part moves the score."""
    config_class, model_class = CLASSES[kind]
    torch.manual_seed(seed)
    body = model_class(config_class(**config), add_pooling_layer=False).state_dict()
    state = {}
    for key, value in body.items():
        if value.dtype == torch.float32:
            noise = torch.randn_like(value)
            value = 1 + 0.1 * noise if key.endswith("LayerNorm.weight") or "layer_norm.weight" in key else 0.5 * noise
        state[f"encoder.model.{key}"] = value
    state["encoder.model.embeddings.position_ids"] = torch.arange(config["max_position_embeddings"])[None]
    count, width = config["num_hidden_layers"] + 1, config["hidden_size"]
    for index in range(count):
        state[f"layerwise_attention.scalar_parameters.{index}"] = torch.randn(1)
    state["layerwise_attention.gamma"] = torch.tensor([1.1])
    state["layerwise_attention.dropout_mask"] = torch.zeros(count)
    state["layerwise_attention.dropout_fill"] = torch.full((count,), -1e20)
    for index, size in enumerate(sizes + [1]):
        state[f"estimator.ff.{3 * index}.weight"] = torch.randn(size, width) * width**-0.5
        state[f"estimator.ff.{3 * index}.bias"] = torch.randn(size) * 0.1
        width = size
    state[f"estimator.ff.{3 * len(sizes)}.bias"] += 0.65
    if labels:
        state["hidden2tag.weight"] = torch.randn(len(labels) + 1, config["hidden_size"]) * 0.5
        state["hidden2tag.bias"] = torch.tensor([4.5, 2.0, 2.0, -1.0])
        state["wordloss.weight"] = torch.ones(len(labels) + 1)
    return state


SHORT = ["pair_ja", "empty_mt", "special_literals", "nfkc", "pair_fr", "pair_zh", "pair_ko", "emoji_rare", "src_over_limit", "mt_over_limit"]


def make(name, kind, xcomet, source, out, seed):
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "encoder").mkdir()
    vocabulary = json.loads((source / "encoder/config.json").read_text())["vocab_size"]
    config = {
        "model_type": kind, "vocab_size": vocabulary, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
        "intermediate_size": 24, "hidden_act": "gelu", "layer_norm_eps": 1e-5, "max_position_embeddings": 130,
        "type_vocab_size": 1, "pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS, "position_embedding_type": "absolute",
    }
    (folder / "encoder/config.json").write_text(json.dumps(config, indent=1) + "\n")
    tokenizer = json.loads((source / "encoder/tokenizer.json").read_text())
    used = source / "encoder/tokenizer.json"
    if xcomet:
        # As older repositories have it: a SentencePiece model and no tokenizer.json.
        shutil.copyfile(source / "encoder/sentencepiece.bpe.model", folder / "encoder/sentencepiece.bpe.model")
    else:
        # Without the table of NFKC, which is most of the file.
        steps = tokenizer["normalizer"]["normalizers"]
        tokenizer["normalizer"]["normalizers"] = [step for step in steps if step["type"] != "Precompiled"]
        used = folder / "encoder/tokenizer.json"
        used.write_text(json.dumps(tokenizer, ensure_ascii=False))
    sizes, labels = [12, 8], SEVERITIES if xcomet else []
    lines = [
        "activations: Tanh", f"class_identifier: {'xcomet_metric' if xcomet else 'unified_metric'}", "dropout: 0.1",
        "encoder_model: XLM-RoBERTa" + ("-XL" if kind.endswith("xl") else ""), "final_activation: null", "hidden_sizes:",
        *[f"- {size}" for size in sizes], "layer: mix", "layer_norm: false", "layer_transformation: sparsemax_patch",
        "learning_rate: 1.5e-05", "pool: avg", "pretrained_model: encoder", "sent_layer: mix", f"word_layer: {2 if xcomet else 3}",
        f"word_level_training: {str(xcomet).lower()}",
    ]
    lines += ["error_labels:"] + [f"- {label}" for label in labels] if xcomet else ["input_segments:", "- mt", "- src"]
    (folder / "hparams.yaml").write_text("\n".join(lines) + "\n")
    state = state_of(kind, config, sizes, labels, seed)
    checkpoint = {"epoch": 0, "global_step": 7, "pytorch-lightning_version": "2.0.0", "state_dict": state, "loops": {"a": [1, 2.5, None]},
                  "hyper_parameters": {"layer_transformation": "sparsemax", "hidden_sizes": sizes}}
    torch.save(checkpoint, folder / "checkpoints/model.ckpt")

    all_samples = {sample["tag"]: sample for sample in json.loads((source / "samples.json").read_text())}
    samples = [all_samples[tag] for tag in SHORT]
    # 128 tokens are a text here: long ones are cut to what still is too long.
    samples = [{key: value[:400] for key, value in sample.items()} for sample in samples]
    (folder / "samples.json").write_text(json.dumps(samples, ensure_ascii=False, indent=0) + "\n")
    model = Comet(folder, state, used)
    plain = [model.one(sample) for sample in samples]
    pieces = [[model.piece(sample[key])[0] for key in ("mt", "src")] for sample in samples]
    joints = [model.join(pair) for pair in pieces]
    expected = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "layer_transform_used": "softmax",
        "scores": [found["score"] for found in plain],
        "batch": {"samples": [sample["tag"] for sample in samples[:4]], "lengths": [len(joint) for joint in joints[:4]]},
        "ids": [
            {"tag": sample["tag"], "n_mt": len(mt), "n_src": len(src), "joint": joint, "n_joint": len(joint)}
            for sample, (mt, src), joint in zip(samples, pieces, joints)
        ],
    }
    if xcomet:
        both = [model.one(sample, True) for sample in samples]
        expected |= {
            "mqm_scores": [found["mqm"] for found in plain],
            "src_scores_clamped": [min(found["parts"][0], 1.0) for found in plain],
            "error_spans": [found["spans"] for found in plain],
            "with_ref": {
                "scores": [found["score"] for found in both],
                "src_scores": [found["parts"][0] for found in both],
                "ref_scores": [found["parts"][1] for found in both],
                "unified_scores": [found["parts"][2] for found in both],
                "mqm_scores": [found["mqm"] for found in both],
                "error_spans": [found["spans"] for found in both],
            },
        }
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False) + "\n")
    batch = model.forward(joints[:4])
    tensors = {
        "batch.input_ids": batch["ids"].int(), "batch.attention_mask": batch["mask"].to(torch.uint8),
        "batch.hidden_states": batch["states"], "batch.mixed": batch["mixed"], "batch.sentence_embedding": batch["sentence"],
        "batch.score": batch["score"], "mix.weights": model.weights, "mix.scalars": model.scalars, "mix.gamma": model.gamma,
    }
    if xcomet:
        tensors["batch.tag_logits"] = batch["logits"]
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "expected.safetensors")
    (folder / "README.txt").write_text(README.format(name=name, kind=kind, seed=seed, torch=torch.__version__,
                                                     transformers=transformers.__version__))
    print(name, "scores", [round(found["score"], 3) for found in plain])
    if xcomet:
        print("   spans", [len(found["spans"]) for found in plain], "mqm", expected["mqm_scores"])


README = """{name}: a small random COMET model (encoder {kind}, 3 layers, hidden 16, 130 positions, so that 128 tokens are a whole input),
seed {seed}, made by tests/python/comet_fixture.py with torch {torch} and transformers {transformers}, CPU, float32.

As published: hparams.yaml, checkpoints/model.ckpt (torch.save of a dictionary with state_dict and other entries). The encoder's config and
tokenizer, which a published repository does not have, are in encoder/. The estimator's layers are numbered 0, 3, 6; position_ids,
layerwise_attention.dropout_* and wordloss.weight are there and unused.
samples.json: texts; expected.json: joined ids, scores, spans (text, mean probability, severity, characters start and end).
batch.*: the first four samples joined and padded; the mixture is multiplied by the mask.

The pass that made the numbers is the script's own, with transformers' encoders; on the folders that unbabel-comet 2.2.7 made, its scores
differ from COMET's by less than 1e-5 and all spans are equal (the script's --check).
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", nargs="*", type=Path, default=[])
    parser.add_argument("--from", dest="source", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for folder in args.check:
        check(folder)
    if args.source and args.out:
        make("comet_kiwi", "xlm-roberta", False, args.source, args.out, 3)
        make("comet_x", "xlm-roberta-xl", True, args.source, args.out, 5)


if __name__ == "__main__":
    main()
