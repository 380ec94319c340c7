#!/usr/bin/env bash
# FFmpeg's filter `select`: frames chosen by a sum of their numbers, `eq(n,0)+eq(n,2)+...`, are given up to 100 terms. With 101 the filter
# fails with "Cannot allocate memory", whatever the frame's size, in recent versions; the same sum with its halves in parentheses is taken
# with any number of terms.
#
# A sum without parentheses is a tree as deep as it has terms, and recent versions refuse an expression deeper than 100, by the error of
# allocating. FFmpeg 8.0 takes the long sum.
#
# Seen (PyAV's wheels, which bring FFmpeg's libraries):
#   FFmpeg (PyAV)      100 terms   101 terms                 101 terms, in halves   1,000 terms, in halves
#   8.0    (16.0.1)    taken       taken                     taken                  taken
#   8.1.2  (18.1.0)    taken       cannot allocate memory    taken                  taken
# The program of Debian 12 (5.1.9) does as 8.1.2.
# Expected: a sum of a thousand comparisons, or an error that names the depth.
#
# Why it matters: choosing frames of a video by their numbers in one pass is done by this sum everywhere. It works for 8 to 64 frames, as
# models are shown, and fails for a long video after an update within the same major version, with an error that sends people to look
# for memory. Frames that are neighbours can be one `between(n,..,..)`; others need the parentheses.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > see.py <<'PY'
import sys
from fractions import Fraction

import av


def halves(terms):
    if len(terms) == 1:
        return terms[0]
    return f"({halves(terms[: len(terms) // 2])}+{halves(terms[len(terms) // 2 :])})"


def chosen(expression):
    """Whether a graph with this filter can be made."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=16, height=16, format="rgb24", time_base=Fraction(1, 10))
    try:
        select = graph.add("select", expression.replace(",", "\\,"))
    except MemoryError:
        return "cannot allocate memory"
    sink = graph.add("buffersink")
    source.link_to(select)
    select.link_to(sink)
    graph.configure()
    return "taken"


def terms(count):
    return [f"eq(n,{2 * number})" for number in range(count)]


seen = [chosen("+".join(terms(100))), chosen("+".join(terms(101))), chosen(halves(terms(101))), chosen(halves(terms(1000)))]
print(f"PyAV {av.__version__}: ", "; ".join(seen))
expected = ["taken", sys.argv[1], "taken", "taken"]
assert seen == expected, expected
PY
for pair in "16.0.1=taken" "18.1.0=cannot allocate memory"; do
  python3 -m venv "venv-${pair%%=*}"
  "venv-${pair%%=*}/bin/pip" install --quiet "av==${pair%%=*}"
  "venv-${pair%%=*}/bin/python" see.py "${pair#*=}"
done
