"""Makes greek-hebrew.tsv and fonts/ from their sources; see README.md beside this file.

    pip install fonttools==4.68.0 pyarrow
    python make.py CLDR FONTS

CLDR: the unpacked npm package cldr-annotations-full 48.2.0. FONTS: a folder with the fonts named in FONTS_OF, from the Debian packages
fonts-noto-core, fonts-noto-mono and fonts-noto-cjk. Writing the same twice gives the same bytes.
"""

import json
import os
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pyarrow.parquet as parquet
from fontTools import subset
from fontTools.ttLib import TTCollection, TTFont

HERE = Path(__file__).parent
EMOJI = HERE.parent / "emoji"

# Script -> languages of the corpus whose words are drawn in it, the most characters of a word, and the fonts. Face of a collection
# by number. Words are chosen in src/words/lexicon.rs; here it is enough to have all characters that they may have.
FONTS_OF = {
    "european": (None, 8, ["NotoSans-Regular.ttf", "NotoSansMono-Regular.ttf", "NotoSerif-Regular.ttf"]),
    "arabic": (["ar", "ur"], 8, ["NotoNaskhArabic-Regular.ttf", "NotoKufiArabic-Regular.ttf", "NotoSansArabic-Regular.ttf"]),
    "hebrew": (["he"], 8, ["NotoSansHebrew-Regular.ttf", "NotoSansHebrew-Bold.ttf", "NotoSerifHebrew-Regular.ttf"]),
    "devanagari": (["hi"], 8, ["NotoSansDevanagari-Regular.ttf", "NotoSerifDevanagari-Regular.ttf"]),
    "bengali": (["bn"], 8, ["NotoSansBengali-Regular.ttf", "NotoSerifBengali-Regular.ttf"]),
    "tamil": (["ta"], 8, ["NotoSansTamil-Regular.ttf", "NotoSerifTamil-Regular.ttf"]),
    "cjk": (["zh-Hans", "zh-Hant", "ja", "ko"], 7, ["NotoSansCJK-Regular.ttc:2", "NotoSerifCJK-Regular.ttc:2"]),
}
BLOCKS = {
    "arabic": [(0x600, 0x6FF)],
    "hebrew": [(0x5D0, 0x5EA)],
    "devanagari": [(0x900, 0x97F)],
    "bengali": [(0x980, 0x9FF)],
    "tamil": [(0xB80, 0xBFF)],
    "cjk": [(0x3041, 0x3096), (0x30A1, 0x30FC), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3)],
    "european": [(0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x1E00, 0x1EFF), (0x386, 0x3CE), (0x400, 0x52F)],
}
# The longest word in Greek and Hebrew.
LONGEST = 8
# Han characters and Hangul syllables, by how many words have them: a bound on the size of the fonts.
MOST_HAN, MOST_HANGUL = 900, 500


def annotations(cldr, language):
    path = cldr / "annotations" / language / "annotations.json"
    return json.loads(path.read_text())["annotations"]["annotations"]


def greek_hebrew(cldr):
    """Short names and keywords of the corpus's concepts, of one word, in languages that it does not have itself."""
    rows = parquet.read_table(EMOJI / "images64_webp.parquet", columns=["concept", "char"]).to_pylist()
    chars = {row["concept"]: row["char"] for row in rows}
    lines = []
    for language in ["el", "he"]:
        found = annotations(cldr, language)
        for concept in sorted(chars):
            char = chars[concept]
            texts = found.get(char) or found.get(char.replace("\ufe0f", ""))
            if texts:
                for text in texts.get("tts", []) + texts.get("default", []):
                    if len(text) <= LONGEST and text.isalpha():
                        lines.append((language, concept, unicodedata.normalize("NFC", text)))
    lines = sorted(set(lines))
    (HERE / "greek-hebrew.tsv").write_text("".join("\t".join(line) + "\n" for line in lines))
    return lines


def characters(lines):
    """The characters of short words by script."""
    rows = parquet.read_table(EMOJI / "texts.parquet", columns=["lang", "name", "keywords"]).to_pylist()
    texts = {(row["lang"], text) for row in rows for text in [row["name"], *row["keywords"]]}
    texts |= {(language, text) for language, _, text in lines}
    wanted = {}
    for script, (languages, longest, _) in FONTS_OF.items():
        inside = lambda char: any(low <= ord(char) <= high for low, high in BLOCKS[script])
        counts = Counter()
        for language, text in texts:
            if (languages is None or language in languages) and len(text) <= longest and not any(map(str.isspace, text)):
                counts.update(set(filter(inside, text)))
        if script == "cjk":
            ranked = sorted(counts, key=lambda char: (-counts[char], char))
            han = [char for char in ranked if "\u4e00" <= char <= "\u9fff"][:MOST_HAN]
            hangul = [char for char in ranked if "\uac00" <= char <= "\ud7a3"][:MOST_HANGUL]
            kana = [char for char in ranked if char < "\u4e00"]
            counts = dict.fromkeys(han + hangul + kana)
        # Joiners, which shape Persian, Bengali and Tamil words.
        wanted[script] = sorted(counts) + (["\u200c", "\u200d"] if script not in ["european", "cjk", "hebrew"] else [])
    return wanted


def write_subset(source, out, chars):
    file, _, number = source.partition(":")
    font = TTCollection(file, lazy=True).fonts[int(number)] if number else TTFont(file, lazy=True)
    options = subset.Options(hinting=False, desubroutinize=False, notdef_outline=True, glyph_names=False)
    options.layout_features = [f for f in subset.Options._layout_features_default if f not in ("vert", "vrt2", "vkrn", "vpal", "valt", "vhal")]
    options.drop_tables += ["GDEF", "BASE", "vhea", "vmtx", "VORG", "DSIG"] if "CJK" in source else ["DSIG", "MVAR"]
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 14]
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=[ord(char) for char in chars])
    subsetter.subset(font)
    font["head"].modified = font["head"].created
    font.recalcTimestamp = False
    subset.save_font(font, out, options)


def main():
    cldr, fonts = Path(sys.argv[1]), Path(sys.argv[2])
    wanted = characters(greek_hebrew(cldr))
    (HERE / "fonts").mkdir(exist_ok=True)
    for script, (_, _, names) in FONTS_OF.items():
        for name in names:
            found = next(fonts.rglob(name.partition(":")[0]))
            face = ":" + name.partition(":")[2] if ":" in name else ""
            suffix = ".otf" if "CJK" in name else ".ttf"
            out = HERE / "fonts" / (Path(name.partition(":")[0]).stem + suffix)
            write_subset(str(found) + face, str(out), wanted[script])
            print(f"{out.name}: {len(wanted[script])} characters, {os.path.getsize(out):,} bytes")


main()
