"""Links and pictures of the built book (`mdbook build docs`) lead to files and headings that are there: python tests/python/book_links.py

Addresses of other hosts are not asked. Those that lead into the repository are looked up in this copy of it.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
BOOK = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "target/book"
REPOSITORY = "https://github.com/burn-vlm/burn-vlm/"


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.pictures = [], set(), 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids |= {value for key, value in attributes.items() if key in ("id", "name") and value}
        target = attributes.get("href") or attributes.get("src")
        self.pictures += tag == "img"
        if target:
            self.links.append(target)


pages = {path: Page(path.read_text()) for path in BOOK.rglob("*.html") if path.name not in ("toc.html", "404.html")}
dead, checked, pictures = [], 0, sum(page.pictures for page in pages.values())
for path, page in pages.items():
    for link in page.links:
        parts = urlsplit(link)
        if link.startswith(REPOSITORY):
            kind, _, file = parts.path.removeprefix("/burn-vlm/burn-vlm/").partition("/main/")
            found = kind == "edit" or not file or (ROOT / unquote(file)).exists()
        elif parts.scheme or parts.netloc:
            continue
        else:
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            found = target.exists() and (not parts.fragment or target not in pages or parts.fragment in pages[target].ids)
            # One page of all pages (print.html) shortens headings that several pages have.
            found = found or path.name == "print.html"
        checked += 1
        if not found:
            dead.append(f"{path.relative_to(BOOK)}: {link}")
print(f"{len(pages)} pages, {checked} links, {pictures} pictures")
if dead or checked < 500:
    sys.exit("\n".join(["dead:", *dead]))
