"""Makes names.tsv from a scored file of `burn-vlm data score`; see README.md beside this file.

    python make.py scored.jsonl

Writing the same twice gives the same bytes.
"""

import json
import sys
from pathlib import Path

# Rows are by picture; their source's id ends with the code of the concept.
def line(row):
    code = row["provenance"]["source_id"].split("/")[-1]
    text = row["conversations"][-1]["value"]
    if "\t" in text or "\n" in text:
        raise SystemExit(f"{row['id']}: a tab or a line break in {text!r}")
    return code, row["language"], repr(float(row["quality"])), text


with open(sys.argv[1], encoding="utf-8") as file:
    rows = sorted({line(json.loads(text)) for text in file})
out = Path(__file__).parent / "names.tsv"
out.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
print(f"{out}: {len(rows)} names")
