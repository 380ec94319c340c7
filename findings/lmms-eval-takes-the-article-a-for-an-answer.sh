#!/usr/bin/env bash
# lmms-eval scores a reply that begins with the word "A" as the answer A, whatever answer it states.
#
# `lmms_eval.tasks._task_utils.mcq_extract.extract_mcq_answer` reads the replies of MMStar, RealWorldQA, MMBench (static), Video-MME,
# MLVU and others. It ranks what it finds: a letter at the begin of the reply comes before a stated one ("the answer is C", "(C)"), and
# a letter at the begin is one that no other letter follows. So is the article "A" of English, Portuguese and Hungarian sentences.
# Its docstring says that the ranking handles replies that discuss options before they give a final answer. A reply without a letter in
# any of its forms still gives one: a capital A to D inside of a word.
#
# Seen (lmms-eval 0.7.3):
#   "A cat is on the mat. The answer is (C)."  A
#   "A resposta correta é C."                  A   (Portuguese: the right answer is C)
#   "A helyes válasz: C."                      A   (Hungarian: the same)
#   "B is wrong, so D"                         B
#   "Cannot determine the answer"              C   (the C of Cannot)
#   100 replies "A resposta correta é X." that name the right letter, each letter 25 times: 25 % right; "X" alone: 100 %
# Expected: C, C, C, D and none; 100 %.
#
# Why it matters: a Portuguese model that answers in sentences is scored as one that guesses, and looks worse than one that answers with
# bare letters, in a benchmark that is to compare languages. A model that refuses everything scores as one that guesses, too.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
# The function needs none of the package's dependencies.
venv/bin/pip install --quiet --no-deps lmms-eval==0.7.3
cat > see.py <<'PY'
import importlib.util
import sysconfig
from importlib.metadata import version
from pathlib import Path

path = Path(sysconfig.get_paths()["purelib"]) / "lmms_eval/tasks/_task_utils/mcq_extract.py"
spec = importlib.util.spec_from_file_location("mcq_extract", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

LETTERS = ["A", "B", "C", "D"]


def read(reply):
    return module.extract_mcq_answer(reply, LETTERS)


def percent(reply):
    right = [letter for letter in LETTERS for _ in range(25)]
    return sum(read(reply(letter)) == letter for letter in right)


print("lmms-eval", version("lmms-eval"))
seen = {
    "A cat is on the mat. The answer is (C).": "A",
    "A resposta correta é C.": "A",
    "A helyes válasz: C.": "A",
    "B is wrong, so D": "B",
    "Cannot determine the answer": "C",
    # Without the article the same sentences are understood.
    "The cat is on the mat. The answer is (C).": "C",
    "Resposta correta: C.": "C",
}
for reply, letter in seen.items():
    print(f"{reply!r:48} {read(reply)!r}")
sentences = percent(lambda letter: f"A resposta correta é {letter}.")
letters = percent(lambda letter: letter)
print(f"all right, in Portuguese sentences: {sentences} %; as bare letters: {letters} %")
for reply, letter in seen.items():
    assert read(reply) == letter, f"{reply!r} is read as {read(reply)!r} now"
assert (sentences, letters) == (25, 100), "sentences that begin with A are understood now"
PY
venv/bin/python see.py || { echo "changed"; exit 1; }
