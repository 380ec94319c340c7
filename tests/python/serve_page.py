"""Opens the page of `burn-vlm serve` in a headless Chromium and uses it as people do.

    apt-get install chromium ffmpeg && pip install playwright==1.55.0
    python tests/python/serve_page.py target/release/burn-vlm [--screenshots DIR]

The models are those of tests/fixtures: random weights, of a picture as it is, in tiles, with Parrot's experts, and of videos. Without ffmpeg no
video is shown, which is said.
"""

import argparse
import base64
import contextlib
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request

from playwright.sync_api import expect, sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests/fixtures"
MODELS = {"plain": "llava_clip_llama", "tiled": "llava_next_siglip_gemma2", "parrot": "parrot_clip_qwen2",
          "videos": "onevision_siglip_gemma2_video4"}
PICTURES = [FIXTURES / "images" / name for name in ("cat_451x300.png", "coffee_wide_600x171.png")]
KEY = "sk-test-of-the-page"
DESKTOP, PHONE = {"width": 1200, "height": 800}, {"width": 360, "height": 740}
# Bytes a second at which a stream takes some seconds: an event has about a thousand.
SLOW = 6_000
# Milliseconds that anything may take.
LONGEST = 20_000
# Contrast of words that WCAG asks for.
CONTRAST = 4.5
# A stranger's words that would do something if they were markup.
MARKUP = "<b>bold</b><img src=x onerror=\"document.title='run'\">"


class Checks:
    def __init__(self):
        self.done = 0

    def true(self, found, what):
        if not found:
            sys.exit(f"failed: {what}")
        self.done += 1

    def equal(self, found, expected, what):
        self.true(found == expected, f"{what}: found {found!r}, expected {expected!r}")


@contextlib.contextmanager
def served(program, models, *options, key=None):
    """A server of these models; gives its address and its process."""
    command = [program, "serve", "--port", "0", "--device", "flex", "--quiet", "--max-new-tokens", "48", *options]
    for name, folder in models.items():
        command += ["--model", folder, "--name", name]
    environment = {**os.environ, "BURN_VLM_KEY": key or ""}
    if key:
        command += ["--api-key-env", "BURN_VLM_KEY"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    try:
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            sys.exit(f"the server did not begin: {line!r}")
        yield line.split()[2], process
    finally:
        process.kill()
        process.wait()


class Page:
    """A tab in a profile of its own. Whatever it asks of anybody else, and whatever error it has, is a failure at the end."""

    def __init__(self, browser, address, checks, viewport=DESKTOP, scheme="light", **options):
        self.checks, self.address = checks, address
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme, accept_downloads=True, **options)
        self.context.set_default_timeout(LONGEST)
        self.tab = self.context.new_page()
        self.foreign, self.errors = [], []
        self.tab.on("request", lambda request: self.take(request.url))
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        # A reply that is an error is told by the browser, too.
        told = lambda message: message.type in ("error", "warning") and "Failed to load resource" not in message.text
        self.tab.on("console", lambda message: self.errors.append(message.text) if told(message) else None)
        self.open()

    def take(self, url):
        if not url.startswith((self.address + "/", "data:", "blob:")):
            self.foreign.append(url)

    def open(self):
        self.tab.goto(self.address + "/")
        self.tab.wait_for_selector("html[data-ready]")

    def reload(self):
        self.tab.reload()
        self.tab.wait_for_selector("html[data-ready]")

    def close(self):
        self.checks.equal((self.foreign, self.errors), ([], []), "requests to others, and errors")
        self.context.close()

    def find(self, selector, **more):
        return self.tab.locator(selector, **more)

    def idle(self):
        expect(self.find("#stop")).to_be_hidden(timeout=LONGEST)

    def until(self, condition, what):
        # The page's policy forbids what the driver's own waiting needs, to evaluate words.
        for _ in range(LONGEST // 20):
            if condition():
                return
            self.tab.wait_for_timeout(20)
        self.checks.true(False, what)

    def set(self, **values):
        self.tab.click("#open-settings")
        for name, value in values.items():
            field = self.find(f"#settings [name={name}]")
            field.set_checked(value) if isinstance(value, bool) else field.fill(value)
        self.tab.click("#settings .ends button")

    def ask(self, text):
        self.tab.fill("#question", text)
        self.tab.click("#send")
        self.idle()

    def said(self):
        return self.find(".said").all_inner_texts()

    def questions(self):
        return self.find(".asked .words").all_inner_texts()

    def shot(self, folder, name):
        if folder:
            self.tab.mouse.move(2, 2)
            self.tab.screenshot(path=folder / f"{name}.png")


def drop(page, path, kind="image/png"):
    """Drops a file on the page, as a file manager does."""
    data = list(path.read_bytes())
    script = """([name, data, type]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(data)], name, { type }));
        for (const type of ["dragenter", "dragover", "drop"])
            document.body.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
    }"""
    page.tab.evaluate(script, [path.name, data, kind])


def paste(page, path):
    """Pastes a file, as a program that takes screenshots leaves one."""
    script = """([name, data]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(data)], name, { type: "image/png" }));
        document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true }));
    }"""
    page.tab.evaluate(script, [path.name, list(path.read_bytes())])


def fetched(address, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if data else {}
    with urllib.request.urlopen(urllib.request.Request(address + path, data, headers)) as reply:
        return json.load(reply)


def check_chat(browser, address, checks, program, folder, shots):
    page = Page(browser, address, checks)
    checks.equal(page.find("#model-0 option").all_inner_texts(), list(MODELS), "the models")
    page.set(temperature="0", max_tokens="24")
    # A picture is dropped, another one chosen; the answer is the API's.
    drop(page, PICTURES[0])
    expect(page.find("#waiting img")).to_have_count(1)
    expect(page.find("#drop")).to_be_hidden()
    page.ask("What is this?")
    uri = "data:image/png;base64," + base64.b64encode(PICTURES[0].read_bytes()).decode()
    content = [{"type": "image_url", "image_url": {"url": uri}}, {"type": "text", "text": "What is this?"}]
    body = {"model": "plain", "messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 24}
    expected = fetched(address, "/v1/chat/completions", body)["choices"][0]["message"]["content"]
    checks.equal(page.find(".said").first.evaluate("said => said.textContent"), expected, "the answer")
    # Probabilities: of all tokens, the chosen one first.
    page.find(".token").nth(1).hover()
    expect(page.find("#tip")).to_be_visible()
    numbers = [float(text.removesuffix(" %")) for text in page.find("#tip .number").all_inner_texts()]
    checks.true(len(numbers) == 5 and numbers == sorted(numbers, reverse=True) and sum(numbers) <= 100.5, f"the tip: {numbers}")
    # The same with the keys.
    page.tab.keyboard.press("Escape")
    expect(page.find("#tip")).to_be_hidden()
    page.find(".said").first.focus()
    page.tab.keyboard.press("ArrowRight")
    page.tab.keyboard.press("ArrowRight")
    checks.equal(page.find(".token.on").inner_text(), page.find(".token").nth(1).inner_text(), "the second word")
    # As the model sees it.
    page.find(".asked .picture").click()
    expect(page.find("#seen .facts")).to_contain_text("25 visual tokens")
    checks.equal(page.find("#seen img.view").count(), 1, "one view")
    checks.equal(page.find("#seen img.view").evaluate("image => image.decode().then(() => image.naturalWidth)"), 70, "the view's width")
    page.tab.keyboard.press("Escape")
    # A second turn, whose words are no markup.
    page.ask(MARKUP)
    checks.equal(page.questions()[-1], MARKUP, "words that look like markup")
    checks.equal((page.find(".words b, .words img, .said b, .said img").count(), page.tab.title()), (0, "burn-vlm"), "no markup")
    checks.true(len(page.said()) == 2 and page.said()[1], "two turns")
    # The same again after a reload, pictures and a draft too.
    page.tab.fill("#question", "not sent yet")
    page.find("#files").set_input_files(str(PICTURES[0]))
    expect(page.find("#waiting img")).to_have_count(1)
    paste(page, PICTURES[1])
    expect(page.find("#waiting img")).to_have_count(2)
    page.tab.wait_for_timeout(900)
    before = page.questions(), page.said()
    page.reload()
    checks.equal((page.questions(), page.said()), before, "after a reload")
    checks.equal((page.tab.input_value("#question"), page.find("#waiting img").count()), ("not sent yet", 2), "the draft")
    widths = page.find(".asked img, #waiting img").evaluate_all("images => Promise.all(images.map(i => i.decode().then(() => i.naturalWidth)))")
    checks.equal(widths, [451, 451, 600], "the pictures")
    page.find("#waiting .remove").first.click()
    page.find("#waiting .remove").first.click()
    # Another answer beside the first one.
    page.set(temperature="1.5", n="2")
    page.find(".answer").last.get_by_text("Regenerate").click()
    page.idle()
    expect(page.find(".who").last).to_contain_text("2 of 3")
    page.find(".who").last.get_by_title("Answer before").click()
    expect(page.find(".who").last).to_contain_text("1 of 3")
    checks.equal(page.said(), before[1], "the first answer again")
    # An answer in a person's words goes on as the conversation.
    page.find(".answer").last.get_by_role("button", name="Edit").click()
    page.find(".answer textarea").fill("It is a cat.")
    page.find(".answer").last.get_by_role("button", name="Keep").click()
    checks.equal(page.said()[-1], "It is a cat.", "the answer as it was edited")
    # Another question in the place of the first one: what came later is dropped.
    page.set(temperature="0", n="")
    page.find(".asked").first.get_by_role("button", name="Edit").click()
    page.find(".asked textarea").fill("And what is that?")
    page.find(".asked").get_by_role("button", name=re.compile("drop 1 later turn")).click()
    page.idle()
    checks.equal(page.questions(), ["And what is that?"], "the edited question")
    checks.true(page.find(".asked img").count() == 1 and page.said()[0], "with its picture and an answer")
    check_export(browser, page, address, checks, program, folder)
    page.close()


def check_export(browser, page, address, checks, program, folder):
    page.ask("Und das?")
    page.tab.click("#open-export")

    def saved(selector, name):
        with page.tab.expect_download() as download:
            page.tab.click(selector)
        path = folder / name
        download.value.save_as(path)
        return path

    whole, sample = saved("#export-json", "conversation.json"), saved("#export-sample-0", "sample.json")
    page.tab.click("#export .ends button")
    figures = folder / "figures.json"
    command = [program, "data", "inspect", sample, "--language", "en", "--json", figures]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    checks.true(re.search(r"usable +1\b", told) and re.search(r"pictures a sample +1: 1", told), f"data inspect: {told}")
    checks.true(figures.is_file(), "figures of data inspect")
    record = json.loads(sample.read_text())[0]["conversations"]
    questions, said = page.questions(), page.find(".said").evaluate_all("all => all.map(said => said.textContent)")
    expected = [("human", "<image>\n" + questions[0]), ("gpt", said[0]), ("human", questions[1]), ("gpt", said[1])]
    checks.equal([(turn["from"], turn["value"]) for turn in record], expected, "the sample's turns")
    # The other file is the conversation, in another profile.
    other = Page(browser, address, checks)
    other.tab.click("#open-export")
    other.find("#import-file").set_input_files(str(whole))
    expect(other.find(".turn")).to_have_count(2)
    checks.equal((other.questions(), other.said(), other.find(".asked img").count()), (questions, page.said(), 1), "read back")
    wrong = folder / "wrong.json"
    wrong.write_text("[]")
    other.tab.click("#open-export")
    other.find("#import-file").set_input_files(str(wrong))
    expect(other.find("#notice-failed")).to_contain_text("no conversation of this page")
    checks.equal(other.questions(), questions, "a wrong file takes nothing away")
    other.close()


def check_videos(browser, address, checks, program, folder, shots):
    """Three clips, in a terminal and here: the same answers."""
    ffmpeg = shutil.which("ffmpeg")
    if not ffmpeg:
        print("skipped: without ffmpeg no video is shown")
        return
    page = Page(browser, address, checks)
    page.set(temperature="0", max_tokens="24")
    page.tab.select_option("#model-0", "videos")
    clips = []
    for number, (source, ending) in enumerate([("testsrc", "mp4"), ("rgbtestsrc", "mkv"), ("mandelbrot", "webm")]):
        clips.append(folder / f"clip{number}.{ending}")
        made = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", f"{source}=size=96x64:rate=10", "-t", "2", "-pix_fmt", "yuv420p", "-y", str(clips[-1])]
        subprocess.run(made, check=True)
    question = "What happens?"
    for number, clip in enumerate(clips):
        drop(page, clip, f"video/{'x-matroska' if clip.suffix == '.mkv' else clip.suffix[1:]}")
        expect(page.find("#waiting video")).to_have_count(1)
        page.ask(question)
        command = [program, "chat", "--model", str(FIXTURES / MODELS["videos"]), "--video", str(clip), "--frames", "4", "--prompt", question]
        told = subprocess.run([*command, "--quiet", "--device", "flex", "--max-new-tokens", "24"], check=True, capture_output=True, text=True)
        checks.equal(page.find(".said").last.evaluate("said => said.textContent"), told.stdout.removesuffix("\n"), f"about {clip.name}")
        if number == 0:
            # As the model sees it: the frames with their numbers and times.
            page.find(".asked .picture").click()
            expect(page.find("#seen .frames img")).to_have_count(4)
            captions = page.find("#seen .frames figcaption").all_inner_texts()
            checks.equal(captions, ["frame 0, 0.0 s", "frame 6, 0.6 s", "frame 12, 1.2 s", "frame 19, 1.9 s"], "the frames")
            expect(page.find("#seen .facts")).to_contain_text("4 of 20 frames of 96 \u00d7 64 pixels")
            page.shot(shots, "frames")
            page.tab.keyboard.press("Escape")
            # It is there after a reload, and a file that is no video is refused in words.
            page.reload()
            checks.equal(page.find(".asked video").count(), 1, "the video after a reload")
            page.tab.click("#open-export")
            with page.tab.expect_download() as download:
                page.tab.click("#export-sample-0")
            sample = json.loads(pathlib.Path(download.value.path()).read_text())[0]
            checks.true(sample["video"].startswith("data:video/mp4;base64,") and "image" not in sample, "the sample's video")
            checks.equal(sample["conversations"][0]["value"], f"<video>\n{question}", "the sample's mark")
            page.tab.keyboard.press("Escape")
        page.tab.click("#new")
        expect(page.find(".turn")).to_have_count(0)
        expect(page.find("#question")).to_have_value("")
    broken = folder / "broken.mp4"
    broken.write_bytes(b"no video at all")
    drop(page, broken, "video/mp4")
    expect(page.find("#waiting video")).to_have_count(1)
    page.ask(question)
    expect(page.find(".error .advice")).to_contain_text("save it as MP4")
    page.close()


def check_stream(browser, address, checks):
    page = Page(browser, address, checks)
    page.set(temperature="0", max_tokens="48")
    network = page.context.new_cdp_session(page.tab)
    network.send("Network.enable")
    limits = {"offline": False, "latency": 0, "downloadThroughput": SLOW, "uploadThroughput": -1}
    network.send("Network.emulateNetworkConditions", limits)
    page.tab.fill("#question", "What is this?")
    page.tab.click("#send")
    # It grows while it is being written.
    lengths = "() => document.querySelector('.said')?.textContent.length ?? 0"
    page.until(lambda: page.tab.evaluate(lengths) > 0, "the first words")
    first = page.tab.evaluate(lengths)
    page.until(lambda: page.tab.evaluate(lengths) > first, "more words")
    expect(page.find("#stop")).to_be_visible()
    page.tab.click("#stop")
    page.idle()
    stopped = page.said()[0]
    expect(page.find(".tools").last).to_contain_text("stopped")
    network.send("Network.emulateNetworkConditions", {**limits, "downloadThroughput": -1})
    page.tab.wait_for_timeout(300)
    checks.equal(page.said()[0], stopped, "nothing comes after the stop")
    page.find(".answer").get_by_text("Regenerate").click()
    page.idle()
    whole = page.said()[0]
    checks.true(len(whole) > len(stopped) > 0 and whole.startswith(stopped.rstrip()), f"{stopped!r} begins {whole!r}")
    page.close()


def check_two(browser, address, checks, shots):
    """Two models on the same question: beside each other, on a phone below each other; tiles and experts."""
    page = Page(browser, address, checks)
    page.set(temperature="0", max_tokens="16")
    page.tab.select_option("#model-0", "tiled")
    page.tab.select_option("#model-1", "parrot")
    page.find("#files").set_input_files(str(PICTURES[1]))
    expect(page.find("#waiting img")).to_have_count(1)
    page.ask("What is in this picture?")
    checks.equal(page.find(".who").all_inner_texts(), ["tiled", "parrot"], "both models")
    checks.true(all(page.said()) and page.said()[0] != page.said()[1], "both answers")
    left, right = (page.find(".answer").nth(place).bounding_box() for place in (0, 1))
    checks.true(left["x"] + left["width"] <= right["x"] and left["y"] == right["y"], "beside each other")
    # Only the model with experts tells of them.
    checks.equal(page.find(".routing").count(), 1, "one routing")
    page.find(".routing summary").click()
    weights = [float(text.removesuffix(" %")) for text in page.find(".routing .number").all_inner_texts()]
    checks.true(len(weights) == 6 and abs(sum(weights) - 100) < 4, f"the experts: {weights}")
    page.find(".asked .picture").click()
    expect(page.find("#seen .facts").last).to_contain_text("visual tokens")
    tiles = page.find("#seen .tiles img").count()
    words = page.find("#seen .facts").first.inner_text()
    rows, columns = map(int, re.search(r"the whole and (\d+) \u00d7 (\d+) tiles", words).groups())
    checks.true(tiles == rows * columns > 1, f"{tiles} tiles: {words}")
    page.shot(shots, "seen")
    page.tab.keyboard.press("Escape")
    page.shot(shots, "two")
    # The other place goes on from what it said itself.
    page.ask("And the colour?")
    checks.equal(len(page.said()), 4, "two turns of two")
    page.tab.set_viewport_size(PHONE)
    above, below = (page.find(".answer").nth(place).bounding_box() for place in (0, 1))
    checks.true(above["y"] + above["height"] <= below["y"] and above["x"] == below["x"], "below each other")
    page.shot(shots, "two-phone")
    page.close()


def luminance(colour):
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def check_looks(browser, address, checks, shots):
    for scheme in ("light", "dark"):
        for name, viewport in (("desktop", DESKTOP), ("phone", PHONE)):
            page = Page(browser, address, checks, viewport, scheme, has_touch=name == "phone")
            page.set(temperature="0", max_tokens="24")
            page.find("#files").set_input_files([str(path) for path in PICTURES])
            expect(page.find("#waiting img")).to_have_count(2)
            page.ask("What is this? " + "Donaudampfschifffahrtsgesellschaft" * 4)
            page.shot(shots, f"{scheme}-{name}")
            width = "() => [document.documentElement.scrollWidth, document.body.scrollWidth, document.querySelector('main').scrollWidth]"
            checks.true(max(page.tab.evaluate(width)) <= viewport["width"], f"no scrolling to the side, {scheme} {name}")
            dialogs = (("#open-settings", "#settings"), ("#open-export", "#export"), (".asked .picture >> nth=0", "#seen"))
            for opener, dialog in dialogs:
                page.tab.click(opener)
                box = page.find(dialog).bounding_box()
                fits = box["x"] >= 0 and box["x"] + box["width"] <= viewport["width"]
                checks.true(fits and max(page.tab.evaluate(width)) <= viewport["width"], f"{dialog} fits, {scheme} {name}")
                page.shot(shots, f"{scheme}-{name}-{dialog[1:]}")
                page.tab.keyboard.press("Escape")
            if name == "phone":
                # A finger has no hovering: a tap shows probabilities, another one elsewhere hides them.
                page.find(".token").first.tap()
                expect(page.find("#tip")).to_be_visible()
                box = page.find("#tip").bounding_box()
                checks.true(box["x"] >= 0 and box["x"] + box["width"] <= viewport["width"], "the tip fits")
                page.find("h1").tap()
                expect(page.find("#tip")).to_be_hidden()
            colours = "selector => { const found = getComputedStyle(document.querySelector(selector)); return [found.color, found.backgroundColor]; }"
            ink, ground = page.tab.evaluate(colours, "body")
            checks.equal(luminance(ground) < 0.1, scheme == "dark", f"the ground is {ground}, {scheme}")
            soft = page.tab.evaluate(colours, ".answer .tools")[0]
            pairs = [(ink, ground), (soft, ground), tuple(page.tab.evaluate(colours, "#send")), (ink, page.tab.evaluate(colours, ".asked")[1])]
            checks.true(min(contrast(*pair) for pair in pairs) >= CONTRAST, f"contrast, {scheme}: {pairs}")
            page.close()


def check_errors(browser, program, checks):
    """A key that is asked for, a conversation that is too long, a server that is gone."""
    with served(program, {"plain": str(FIXTURES / MODELS["plain"])}, key=KEY) as (address, process):
        page = Page(browser, address, checks)
        checks.true(KEY not in page.tab.content(), "the key is not in the page")
        page.find("#notice-key input").fill("sk-wrong")
        page.find("#notice-key button", has_text="Use").click()
        expect(page.find("#notice-key")).to_contain_text("not this server's")
        page.find("#notice-key input").fill(KEY)
        page.find("#notice-key button", has_text="Use").click()
        expect(page.find("#notice-key")).to_have_count(0)
        page.set(max_tokens="8", temperature="0")
        page.ask("What?")
        checks.true(page.said()[0], "an answer with the key")
        page.reload()
        page.ask("And then?")
        checks.equal(len(page.said()), 2, "the key stays with the tab")
        page.ask("a long question " * 500)
        expect(page.find(".error").last).to_contain_text("Begin a new conversation")
        # The model may be changed, and the question asked again; what failed is no part of the conversation.
        page.ask("What now?")
        checks.true(page.said()[-1] and page.find(".error").count() == 1, "it goes on")
        process.send_signal(signal.SIGTERM)
        process.wait()
        page.ask("Are you there?")
        expect(page.find(".error").last).to_contain_text("burn-vlm serve")
        page.tab.click("#new")
        expect(page.find(".turn")).to_have_count(0)
        page.close()


def check_policy(browser, address, checks):
    """What the browser forbids the page, and another site's page."""
    context = browser.new_context()
    tab = context.new_page()
    policy = tab.goto(address + "/").headers["content-security-policy"]
    checks.true(policy.startswith("default-src 'none';") and "unsafe" not in policy and "*" not in policy, policy)
    script = """() => new Promise((resolve) => {
        const blocked = [];
        addEventListener("securitypolicyviolation", (event) => blocked.push(event.effectiveDirective) === 3 && resolve(blocked.sort()));
        document.body.append(Object.assign(new Image(), { src: "http://127.0.0.1:9/a.png" }));
        document.body.append(Object.assign(document.createElement("script"), { textContent: "document.title = 'run'" }));
        fetch("http://127.0.0.1:9/").catch(() => {});
        setTimeout(() => resolve(blocked), 5000);
    })"""
    checks.equal(tab.evaluate(script), ["connect-src", "img-src", "script-src-elem"], "what is blocked")
    checks.equal(tab.title(), "burn-vlm", "no script of another ran")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with tempfile.TemporaryDirectory() as folder, http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *of: Quiet(*of, directory=folder)) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        tab.goto(f"http://127.0.0.1:{site.server_port}/")
        asks = """async ([address, options]) => {
            try { const reply = await fetch(address, options); return reply.type + reply.status; } catch { return "refused"; }
        }"""
        body = {"method": "POST", "body": "{}"}
        checks.equal(tab.evaluate(asks, [address + "/v1/models", {}]), "refused", "another site's page reads nothing")
        checks.equal(tab.evaluate(asks, [address + "/v1/chat/completions", body]), "refused", "another site's page asks nothing")
        frame = "address => new Promise((done) => { const f = document.createElement('iframe'); f.onload = () => done(f.contentDocument === null); f.src = address; document.body.append(f); })"
        tab.evaluate(frame, address + "/")
        framed = [frame for frame in tab.frames if frame.url == address + "/" and frame.evaluate("() => !!document.querySelector('#composer')")]
        checks.equal(framed, [], "the page in another site's frame")
        site.shutdown()
    context.close()


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
    models = {name: str(FIXTURES / folder) for name, folder in MODELS.items()}
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        # Containers' users cannot have Chromium's sandbox; what is opened is this server's page alone.
        browser = playwright.chromium.launch(executable_path=args.chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        with served(program, models, "--frames", "4") as (address, _):
            check_chat(browser, address, checks, program, pathlib.Path(folder), args.screenshots)
            check_stream(browser, address, checks)
            check_videos(browser, address, checks, program, pathlib.Path(folder), args.screenshots)
            check_two(browser, address, checks, args.screenshots)
            check_looks(browser, address, checks, args.screenshots)
            check_policy(browser, address, checks)
        check_errors(browser, program, checks)
        version = browser.version
        browser.close()
    print(f"{checks.done} checks passed in Chromium {version}")


if __name__ == "__main__":
    main()
