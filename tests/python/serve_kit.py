"""Evaluates a model behind `burn-vlm serve` with lmms-eval's own command, and compares the answers that it writes down with those of `chat`.

    python -m venv kit && kit/bin/pip install lmms-eval==0.7.3 'filelock<4'
    kit/bin/python tests/python/serve_kit.py target/release/burn-vlm tests/fixtures/llava_clip_llama

The kit is used as anybody uses it: `lmms-eval eval --model openai`, with a task that this script writes into a folder. Both of its classes
for servers that speak OpenAI's API are run, `openai` (threads) and `async_openai`, several requests at a time. The model may be any folder
that `chat` takes, of a model that is shown pictures.
"""

import argparse
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import tempfile

from PIL import Image

KEY = "sk-test"
TOKENS = 24
# A question, and how many pictures stand before it.
QUESTIONS = [
    ("What is this?", 1),
    ("Was ist das? äöü 猫", 1),
    ("Which of the two is red? Answer the question using a single word or phrase.", 2),
    ("A. red\nB. green\nAnswer with the option's letter from the given choices directly.", 1),
    ("Why is the sky blue?", 0),
    ("Describe the picture.", 3),
    ("  spaces around it  ", 1),
    ("\"quotes\", <angles> and \\ backslashes", 1),
]

TASK = """
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
task: burn_vlm_serve
test_split: test
output_type: generate_until
doc_to_visual: !function utils.pictures
doc_to_text: "{{{{question}}}}"
doc_to_target: "answer"
generation_kwargs:
  max_new_tokens: {tokens}
  temperature: 0
  top_p: 1.0
  num_beams: 1
  do_sample: false
process_results: !function utils.score
metric_list:
  - metric: same
    aggregation: mean
    higher_is_better: true
metadata:
  - version: 0.0
"""

UTILS = """
from PIL import Image


def pictures(doc):
    return [Image.open(path).convert("RGB") for path in doc["pictures"]]


def score(doc, results):
    return {"same": float(results[0] == doc["answer"])}
"""


def write_pictures(folder):
    paths = []
    for number in range(3):
        image = Image.new("RGB", (40, 30 + number))
        image.putdata([(x * 6, y * 7, number * 90) for y in range(30 + number) for x in range(40)])
        paths.append(os.path.join(folder, f"{number}.png"))
        image.save(paths[-1])
    return paths


def chat(args, question, pictures):
    """The answer of `chat`, without the line end behind it."""
    command = [args.program, "chat", "--model", args.model, "--quiet", "--device", "flex", "--temperature", "0"]
    command += ["--max-new-tokens", str(TOKENS), "--prompt", question]
    for picture in pictures:
        command += ["--image", picture]
    out = subprocess.run(command, check=True, capture_output=True).stdout.decode()
    return out.removesuffix("\n")


def write_task(folder, args):
    """The folder of a task whose answers are those of `chat`, and what stands in it."""
    task = os.path.join(folder, "task")
    os.mkdir(task)
    paths = write_pictures(folder)
    docs = []
    for number, (question, count) in enumerate(QUESTIONS):
        pictures = [paths[(number + at) % len(paths)] for at in range(count)]
        docs.append({"question": question, "pictures": pictures, "answer": chat(args, question, pictures)})
    data = os.path.join(folder, "data.jsonl")
    with open(data, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(doc) + "\n" for doc in docs)
    with open(os.path.join(task, "task.yaml"), "w", encoding="utf-8") as file:
        file.write(TASK.format(data=data, tokens=TOKENS))
    with open(os.path.join(task, "utils.py"), "w", encoding="utf-8") as file:
        file.write(UTILS)
    return task, docs


def evaluate(kind, url, task, out):
    """The samples that the kit writes down, in the order of the questions."""
    model = f"model=tiny,base_url={url},api_key={KEY},max_retries=1" + (",num_cpus=4" if kind == "async_openai" else ",num_concurrent=4")
    command = [sys.executable, "-m", "lmms_eval", "eval", "--model", kind, "--model_args", model, "--tasks", "burn_vlm_serve"]
    command += ["--include_path", task, "--log_samples", "--output_path", out, "--batch_size", "1"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": os.path.join(out, "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{kind}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
    files = [os.path.join(at, name) for at, _, names in os.walk(out) for name in names if name.endswith("_samples_burn_vlm_serve.jsonl")]
    if len(files) != 1:
        sys.exit(f"{kind}: {len(files)} files of samples in {out}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
    with open(files[0], encoding="utf-8") as file:
        samples = [json.loads(line) for line in file]
    return sorted(samples, key=lambda sample: sample["doc_id"])


def answer(sample):
    """The one answer of a sample, however deep the kit puts it."""
    value = sample["filtered_resps"]
    while isinstance(value, list):
        if len(value) != 1:
            sys.exit(f"{len(value)} answers to one question: {sample}")
        value = value[0]
    return value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    args = parser.parse_args()
    command = [args.program, "serve", "--model", args.model, "--name", "tiny", "--port", "0", "--device", "flex", "--batch", "4"]
    command += ["--api-key-env", "BURN_VLM_KEY"]
    checks = 0
    with tempfile.TemporaryDirectory() as folder:
        task, docs = write_task(folder, args)
        log = open(os.path.join(folder, "log"), "w+", encoding="utf-8")
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env={**os.environ, "BURN_VLM_KEY": KEY}, text=True)
        try:
            url = server.stdout.readline().split()[2] + "/v1"
            for kind in ("openai", "async_openai"):
                samples = evaluate(kind, url, task, os.path.join(folder, kind))
                if len(samples) != len(docs):
                    sys.exit(f"{kind}: {len(samples)} samples of {len(docs)}")
                for doc, sample in zip(docs, samples):
                    if answer(sample) != doc["answer"]:
                        sys.exit(f"{kind}: {doc['question']!r}: found {answer(sample)!r}, chat has {doc['answer']!r}")
                    checks += 1
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=60)
            log.seek(0)
            asked = [line for line in log if "/v1/chat/completions" in line]
            refused = [line for line in asked if " 200 " not in line]
            # Nothing was refused, and nothing asked twice.
            if refused or len(asked) != 2 * len(docs):
                sys.exit(f"{len(asked)} requests for {2 * len(docs)} answers, refused: {refused}")
        finally:
            server.kill()
            log.close()
    print(f"{checks} answers of lmms-eval {importlib.metadata.version('lmms-eval')} are those of chat, in {len(asked)} requests")


if __name__ == "__main__":
    main()
