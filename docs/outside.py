"""mdBook's preprocessor: what pages link to outside of docs/ is linked to in the repository, and pictures from there stand in the page.

mdBook calls it (book.toml); it needs Python's own library alone. See https://rust-lang.github.io/mdBook/for_developers/preprocessors.html
"""

import base64
import json
import mimetypes
import posixpath
import re
import sys
from pathlib import Path

LINK = re.compile(r"(!?)(\[[^\]]*\])\(([^)\s:]+)\)")


def main():
    if sys.argv[1:2] == ["supports"]:
        sys.exit(sys.argv[2:] != ["html"])
    context, book = json.load(sys.stdin)
    repository = context["config"]["output"]["html"]["git-repository-url"]
    root = Path(context["root"]).resolve().parent

    def chapter(part):
        page = part["path"]

        def link(found):
            picture, text, target = found.groups()
            file, mark, heading = target.partition("#")
            path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), file))
            if not file or path.startswith("docs/"):
                return found.group()
            if not (root / path).exists():
                sys.exit(f"docs/{page}: {target}: there is no {path}")
            if picture:
                kind = mimetypes.guess_type(path)[0]
                return f"![{text[1:-1]}](data:{kind};base64,{base64.b64encode((root / path).read_bytes()).decode()})"
            kind = "tree" if (root / path).is_dir() else "blob"
            return f"{text}({repository}/{kind}/main/{path}{mark}{heading})"

        part["content"] = LINK.sub(link, part["content"])
        for item in part["sub_items"]:
            if "Chapter" in item:
                chapter(item["Chapter"])

    for item in book.get("items", book.get("sections")):
        if "Chapter" in item:
            chapter(item["Chapter"])
    json.dump(book, sys.stdout)


main()
