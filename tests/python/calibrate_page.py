"""Opens the page of `burn-vlm data benchmark calibrate` in a headless Chromium and uses it as several people do.

    apt-get install chromium && pip install playwright==1.55.0
    python tests/python/calibrate_page.py target/release/burn-vlm [--screenshots DIR]

The benchmark is four questions of the AI2D fixture with letters of another alphabet for a translation, which is written from right to left.
"""

import argparse
import contextlib
import csv
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

from playwright.sync_api import expect, sync_playwright

from serve_page import CONTRAST, DESKTOP, FIXTURES, LONGEST, MARKUP, PHONE, Checks, contrast, luminance

AI2D = FIXTURES / "eval/ai2d/data/AI2D_TEST.tsv"
QUESTIONS = 4
LETTERS = dict(zip("abcdefghijklmnopqrstuvwxyz", "\u0627\u0628\u062a\u062b\u062c\u062d\u062e\u062f\u0630\u0631\u0632\u0633\u0634\u0635\u0636\u0637\u0638\u0639\u063a\u0641\u0642\u0643\u0644\u0645\u0646\u0647"))


def arabic(text):
    return "".join(LETTERS.get(letter.lower(), letter) for letter in text)


def ran(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"failed: {command}: {done.stderr}")
    return done.stdout


def build(program, folder):
    """A folder of `data benchmark build`: the options A and C of the second question collide, and a back translation is far off."""
    csv.field_size_limit(1 << 30)
    with open(AI2D, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file, delimiter="\t")
    options = [header.index(letter) for letter in "ABCD"]
    is_of_words = lambda row: all(sum(letter.isalpha() for letter in row[at]) > 1 for at in options)
    rows = [header, *[row for row in rows if is_of_words(row)][:QUESTIONS]]
    source, texts, table, out = (folder / name for name in ("AI2D.tsv", "texts.jsonl", "table.jsonl", "built"))
    with open(source, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows(rows)
    ran(program, "data", "benchmark", "texts", source, "--kind", "ai2d", "--out", texts)
    lines = [json.loads(line) for line in texts.read_text("utf-8").splitlines()]
    second = list(dict.fromkeys(line["id"] for line in lines))[1]
    for line in lines:
        line |= {"lang": "ar", "translation": arabic(line["source"])}
        if line["id"] == second and line["field"] in ("A", "B", "C", "D"):
            line["translation"] = arabic("same")
        if line["field"] == "question":
            line["back_translation"] = line["source"] if line["id"] == second else "quite another thing"
    table.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    told = ran(program, "data", "benchmark", "build", source, "--kind", "ai2d", "--translations", table, "--out", out)
    return out, told


@contextlib.contextmanager
def served(program, built, port=0, records=None):
    command = [program, "data", "benchmark", "calibrate", built, "--language", "ar", "--port", str(port)]
    process = subprocess.Popen(command + (["--records", records] if records else []), stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            sys.exit(f"the server did not begin: {line!r}")
        yield line.split()[2], process
    finally:
        process.kill()
        process.wait()


class Page:
    """A tab in a profile of its own, of a person."""

    def __init__(self, browser, address, checks, name=None, viewport=DESKTOP, scheme="light", **options):
        self.checks, self.address = checks, address
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme, accept_downloads=True, **options)
        self.context.set_default_timeout(LONGEST)
        self.tab = self.context.new_page()
        self.foreign, self.errors = [], []
        self.tab.on("request", lambda request: self.take(request.url))
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        told = lambda message: message.type in ("error", "warning") and "Failed to load resource" not in message.text
        self.tab.on("console", lambda message: self.errors.append(message.text) if told(message) else None)
        self.open()
        if name:
            self.tab.fill("#name", name)
            self.tab.click("#who-done")

    def take(self, url):
        if not url.startswith((self.address, "data:", "blob:")):
            self.foreign.append(url)

    def open(self):
        self.tab.goto(self.address)
        self.tab.wait_for_selector("html[data-ready]")

    def reload(self):
        # What a page keeps is handed on to another process, which takes a moment.
        self.tab.wait_for_timeout(300)
        self.tab.reload()
        self.tab.wait_for_selector("html[data-ready]")

    def close(self):
        self.checks.equal((self.foreign, self.errors), ([], []), "requests to others, and errors")
        self.context.close()

    def find(self, selector, **more):
        return self.tab.locator(selector, **more)

    def item(self, number):
        self.tab.select_option("#filter", "all")
        self.tab.select_option("#pick", index=number)

    def keep(self, **texts):
        for name, text in texts.items():
            self.find(f"#text-{name}").fill(text)
        self.tab.click("#keep")

    def vote(self, number, words):
        """Votes for the version that has these words."""
        self.tab.click("#mode-vote")
        self.item(number)
        self.find(".version", has_text=words).locator("input").check()
        self.tab.click("#vote")

    def sent(self):
        expect(self.find("#failed")).to_be_hidden()
        self.tab.wait_for_selector("html[data-sent]")

    def saved(self, folder):
        self.tab.click("#open-file")
        with self.tab.expect_download() as download:
            self.tab.click("#save")
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        self.tab.click("#file-done")
        return path

    def shot(self, folder, name, whole=False):
        if folder:
            self.tab.screenshot(path=folder / f"{name}.png", full_page=whole)


def records(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def questions(out):
    with open(next(out.glob("*_ar.tsv")), newline="", encoding="utf-8") as file:
        return [row["question"] for row in csv.DictReader(file, delimiter="\t")]


def check_served(browser, program, built, checks, folder, shots):
    log = folder / "log.jsonl"
    with served(program, built, records=log) as (address, process):
        port = int(address.rsplit(":", 1)[1])
        ana = Page(browser, address, checks)
        # Nobody goes on without a name, nor with the machine's.
        for name, words in (("", "A name is needed"), ("Machine", "machine's version")):
            ana.tab.fill("#name", name)
            ana.tab.click("#who-done")
            expect(ana.find("#who-wrong")).to_contain_text(words)
        ana.tab.fill("#name", "Ana")
        ana.tab.keyboard.press("Enter")
        expect(ana.find("#progress")).to_have_text(f"0 of {QUESTIONS} refined")
        directions = "selector => getComputedStyle(document.querySelector(selector)).direction"
        checks.equal([ana.tab.evaluate(directions, name) for name in ("#text-question", ".source")], ["rtl", "ltr"], "directions")
        expect(ana.find(".side")).to_contain_text("translated back")
        widths = ana.find(".side img").evaluate("image => image.decode().then(() => image.naturalWidth)")
        checks.true(widths > 0, "the picture is shown")
        machine = ana.find("#text-question").input_value()
        ana.shot(shots, "refine")
        ana.keep(question=arabic("ana says"))
        # The second has options that collide, which is told and refused.
        expect(ana.find(".side")).to_contain_text("are the same")
        ana.tab.click("#keep")
        expect(ana.find("#refine-wrong")).to_contain_text("read the same")
        expect(ana.find("#progress")).to_have_text(f"1 of {QUESTIONS} refined")
        for number, letter in enumerate("ABCD"):
            ana.find(f"#text-{letter}").fill(arabic("one two three four".split()[number]))
        # A draft is there after a reload, and so is what was kept.
        ana.reload()
        checks.equal(ana.find("#text-B").input_value(), arabic("two"), "the draft")
        checks.equal(ana.find("#open-who").inner_text(), "Ana", "the name")
        ana.tab.click("#keep")
        ana.item(0)
        checks.equal(ana.find("#text-question").input_value(), arabic("ana says"), "the version")
        ana.find("#comment").fill(MARKUP)
        ana.tab.click("#add-comment")
        expect(ana.find(".comments li")).to_have_count(1)
        expect(ana.find(".comments li")).to_contain_text(MARKUP)
        checks.equal(ana.find(".comments img, .comments b b").count(), 0, "markup is text")
        ana.sent()

        ben = Page(browser, address, checks, "Ben")
        expect(ben.find(".comments li")).to_contain_text("Ana")
        ben.keep(question=arabic("ben writes"))
        ben.sent()
        # Who has refined does not vote; who has not sees three versions and no names.
        ben.tab.click("#mode-vote")
        ben.item(0)
        expect(ben.find("#no-vote")).to_contain_text("others vote")
        cem = Page(browser, address, checks, "Cem")
        cem.keep(question=arabic("cem means"))
        cem.sent()
        dan = Page(browser, address, checks, "Dan")
        dan.tab.click("#mode-vote")
        expect(dan.find(".version")).to_have_count(3)
        said = dan.find(".versions, fieldset").first.inner_text()
        checks.true(machine not in said and not any(name in said for name in ("Ana", "Ben", "Cem")), f"three versions without names: {said}")
        dan.tab.click("#vote")
        expect(dan.find("#vote-wrong")).to_contain_text("Choose")
        dan.shot(shots, "vote")
        dan.vote(0, arabic("ben writes"))
        dan.sent()
        eva = Page(browser, address, checks, "Eva")
        eva.vote(0, arabic("ben writes"))
        # The second voter votes anew: the last vote counts.
        eva.vote(0, arabic("ana says"))
        eva.vote(0, arabic("ben writes"))
        eva.sent()
        eva.reload()
        eva.item(0)
        checks.true(eva.find(".version", has_text=arabic("ben writes")).locator("input").is_checked(), "the vote is there after a reload")
        # The server dies, and what is done meanwhile waits.
        process.kill()
        process.wait()
        dan.vote(1, arabic("three"))
        expect(dan.find("#failed")).to_contain_text("wait in this browser")
    before = len(records(log))
    with served(program, built, port=port, records=log) as (address, _):
        dan.reload()
        dan.sent()
        checks.equal(len(records(log)), before + 1, "what waited was sent, once")
        dan.item(1)
        checks.true(dan.find(".version", has_text=arabic("three")).locator("input").is_checked(), "and is there")
        # Another site's page is refused, and so is what is no record.
        def post(body, **headers):
            request = urllib.request.Request(address + "/records", json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
            try:
                with urllib.request.urlopen(request) as reply:
                    return reply.status, json.load(reply)
            except urllib.error.HTTPError as error:
                return error.code, None
        checks.equal(post([], Origin="http://example.org")[0], 403, "another site's page")
        status, told = post([{"id": "x", "time": 1, "annotator": "Eve", "language": "ar", "item": "none", "event": "comment", "text": "x"}])
        checks.true(status == 200 and len(told["refused"]) == 1, f"what is of no item: {told}")
        checks.equal(len(records(log)), before + 1, "nothing of it is kept")
    for page in (ana, ben, cem, dan, eva):
        page.close()
    out = folder / "calibrated"
    told = ran(program, "data", "benchmark", "calibrate", built, "--language", "ar", "--records", log, "--export", out)
    found = questions(out)
    checks.equal(found[0], arabic("ben writes"), "what was voted for is built")
    checks.equal(len(found), QUESTIONS, "all items")
    rows = list(csv.DictReader(open(out / "AI2D_ar.tsv", newline="", encoding="utf-8"), delimiter="\t"))
    checks.equal([rows[1][letter] for letter in "ABCD"], [arabic(word) for word in "one two three four".split()], "options that were told apart")
    checks.equal(rows[1]["text_language"], "ar", "the second item is translated now")
    checks.true("Agreement of the voters" in told and (out / "agreement_ar/agreement.md").is_file(), f"agreement: {told}")


def check_file(browser, program, built, checks, folder, shots):
    """The same without a server: a file, what it saves, and both files together."""
    file = folder / "page.html"
    ran(program, "data", "benchmark", "calibrate", built, "--language", "ar", "--html", file)
    address = file.as_uri()
    pages = [Page(browser, address, checks, name) for name in ("Ana", "Ben", "Dan")]
    ana, ben, dan = pages
    ana.keep(question=arabic("ana says"))
    ana.reload()
    ana.item(0)
    checks.equal(ana.find("#text-question").input_value(), arabic("ana says"), "after a reload")
    from_ana = ana.saved(folder)
    checks.equal(from_ana.name, "records_ar_Ana.jsonl", "the file's name")
    ben.keep(question=arabic("ben writes"))
    ben.tab.click("#open-file")
    wrong = folder / "wrong.jsonl"
    wrong.write_text("{}\nno JSON\n")
    ben.find("#load").set_input_files(str(wrong))
    expect(ben.find("#file-told")).to_contain_text("2 lines are no records")
    ben.find("#load").set_input_files(str(from_ana))
    expect(ben.find("#file-told")).to_contain_text("1 records are new")
    ben.find("#load").set_input_files(str(from_ana))
    expect(ben.find("#file-told")).to_contain_text("0 records are new")
    ben.tab.click("#file-done")
    both = ben.saved(folder)
    checks.equal(len(records(both)), 2, "both are in one file")
    dan.tab.click("#open-file")
    dan.find("#load").set_input_files(str(both))
    dan.tab.click("#file-done")
    dan.vote(0, arabic("ana says"))
    dan.reload()
    dan.item(0)
    checks.true(dan.find(".version", has_text=arabic("ana says")).locator("input").is_checked(), "the vote after a reload")
    all_three = dan.saved(folder)
    out = folder / "from-files"
    ran(program, "data", "benchmark", "calibrate", built, "--language", "ar", "--records", from_ana, both, all_three, "--export", out)
    checks.equal(questions(out)[0], arabic("ana says"), "what the files say is built")
    decision = json.loads((out / "decisions_ar.jsonl").read_text("utf-8").splitlines()[0])
    checks.equal((decision["by"], [version["votes"] for version in decision["versions"] if version["votes"]]), ("votes", [["Dan"]]), "each vote once")
    for page in pages:
        page.close()


def check_looks(browser, address, checks, shots):
    for scheme in ("light", "dark"):
        for name, viewport in (("desktop", DESKTOP), ("phone", PHONE)):
            page = Page(browser, address, checks, "Fay", viewport, scheme, has_touch=name == "phone")
            page.find("#comment").fill("Donaudampfschifffahrtsgesellschaft" * 4)
            page.tab.click("#add-comment")
            width = "() => Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"
            colours = "selector => { const found = getComputedStyle(document.querySelector(selector)); return [found.color, found.backgroundColor]; }"
            for mode in ("refine", "vote"):
                page.tab.click(f"#mode-{mode}")
                page.item(0)
                checks.true(page.tab.evaluate(width) <= viewport["width"], f"no scrolling to the side, {mode} {scheme} {name}")
                page.shot(shots, f"{scheme}-{name}-{mode}", whole=True)
            for opener, dialog in (("#open-who", "#who"), ("#open-file", "#file"), ("#open-rule", "#rule")):
                page.tab.click(opener)
                box = page.find(dialog).bounding_box()
                checks.true(box["x"] >= 0 and box["x"] + box["width"] <= viewport["width"], f"{dialog} fits, {scheme} {name}")
                page.tab.keyboard.press("Escape")
            page.tab.click("#mode-refine")
            ink, ground = page.tab.evaluate(colours, "body")
            checks.equal(luminance(ground) < 0.1, scheme == "dark", f"the ground is {ground}, {scheme}")
            pairs = [(ink, ground), (page.tab.evaluate(colours, ".source")[0], ground), tuple(page.tab.evaluate(colours, "#keep"))]
            pairs.append(tuple(page.tab.evaluate(colours, "#mode-refine")))
            checks.true(min(contrast(*pair) for pair in pairs) >= CONTRAST, f"contrast, {scheme}: {pairs}")
            # Every field has a name, and everything that is pressed is large enough for a finger.
            unnamed = "() => [...document.querySelectorAll('main textarea, main input, nav select')].filter((field) => !field.labels?.length).length"
            checks.equal(page.tab.evaluate(unnamed), 0, "fields without a label")
            low = "() => [...document.querySelectorAll('button, select')].filter((one) => one.offsetParent && one.offsetHeight < 40).map((one) => one.id)"
            checks.equal(page.tab.evaluate(low), [], "buttons that are too low")
            page.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("chromium-browser"))
    parser.add_argument("--screenshots", type=pathlib.Path, help="a folder for pictures of the page")
    args = parser.parse_args()
    if not args.chromium:
        sys.exit("no chromium here: apt-get install chromium, or name one with --chromium")
    if args.screenshots:
        args.screenshots.mkdir(parents=True, exist_ok=True)
    program = str(pathlib.Path(args.program).resolve())
    checks = Checks()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        # Containers' users cannot have Chromium's sandbox; what is opened is this program's page alone.
        browser = playwright.chromium.launch(executable_path=args.chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        built, told = build(program, folder)
        checks.true("1 equal_options" in told and "back_translation" in told, f"what the build told: {told}")
        check_served(browser, program, built, checks, folder, args.screenshots)
        check_file(browser, program, built, checks, folder, args.screenshots)
        with served(program, built, records=folder / "looks.jsonl") as (address, _):
            check_looks(browser, address, checks, args.screenshots)
        version = browser.version
        browser.close()
    print(f"{checks.done} checks passed in Chromium {version}")


if __name__ == "__main__":
    main()
