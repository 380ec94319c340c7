"""Asks `burn-vlm serve` by openai-python, and compares its answers with those of `burn-vlm chat`.

    pip install openai==3.57.0 pillow jsonschema==4.26.0
    burn-vlm data export --out runs/emoji --format json && burn-vlm train runs/emoji/recipe.toml
    python tests/python/serve_openai.py target/release/burn-vlm runs/train/emoji/model

The model may be any folder that `chat` takes, of a model that is shown pictures.
"""

import argparse
import asyncio
import base64
import enum
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from typing import Optional

import jsonschema
import openai
from PIL import Image
from pydantic import BaseModel, Field

KEY = "sk-test"
QUESTIONS = ["What is this?", "and this?", "Was ist das? äöü 猫", "a red apple"]
TOKENS = 24


def picture(number):
    image = Image.new("RGB", (40, 30))
    image.putdata([(x * 6, y * 8, number * 50) for y in range(30) for x in range(40)])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def shown(data):
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(data).decode()}}


def form(schema):
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def drawn(draw, depth=0):
    """A schema of all that is kept to, by chance; values are short, so that answers have an end."""
    number = draw.randint(-40, 40)
    kinds = [
        lambda: {"type": "string", "minLength": draw.randint(0, 3), "maxLength": draw.randint(3, 6)},
        lambda: {"type": "integer", "minimum": number, "maximum": number + draw.choice((0, 3, 500))},
        lambda: {"type": "number", "exclusiveMinimum": number / 8, "maximum": number / 8 + draw.choice((0.125, 2, 1e4))},
        lambda: {"type": draw.sample(("null", "boolean", "integer"), 2), "title": "some"},
        lambda: {"enum": draw.sample(("red", "greenish", "green", 1, 12, 1.5, None, True, ["a", {"b": "é"}], ""), 3)},
        lambda: {"const": draw.choice(("x", 7, {"y": [1, 2]}))},
        lambda: {"anyOf": [drawn(draw, depth + 1) for _ in range(2)]},
        lambda: {"type": "array", "items": drawn(draw, depth + 1), "minItems": draw.randint(0, 2), "maxItems": draw.randint(2, 3)},
        lambda: {"type": "array", "prefixItems": [drawn(draw, depth + 1) for _ in range(2)], "items": False, "minItems": draw.randint(0, 2)},
        lambda: drawn_object(draw, depth),
        lambda: {"allOf": [{"$ref": "#/$defs/pair"}]},
    ]
    # Deep down, values alone.
    return draw.choice(kinds[:6] if depth > 2 else kinds)()


def drawn_object(draw, depth):
    names = draw.sample(("b", "a", "ä ö", "long name", "\"q\""), 3)
    schema = {"type": "object", "properties": {name: drawn(draw, depth + 1) for name in names}}
    others = draw.choice((None, False, {"type": "boolean"}))
    if others is not None:
        schema["additionalProperties"] = others
    # With others, one that is not described may be required too.
    return {**schema, "required": draw.sample(("a", "b") if others else names, draw.randint(0, 2))}


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Part(BaseModel):
    share: float = Field(ge=0, le=1)
    whole: bool


class Reading(BaseModel):
    """What an answer is to be; openai-python makes the schema."""

    name: str = Field(min_length=1, max_length=12)
    colour: Colour
    count: Optional[int] = Field(default=None, ge=-3, le=40)
    parts: list[Part] = Field(max_length=2)


class Checks:
    def __init__(self):
        self.done = 0

    def equal(self, found, expected, what):
        if found != expected:
            sys.exit(f"{what}: found {found!r}, expected {expected!r}")
        self.done += 1

    def true(self, found, what):
        self.equal(bool(found), True, what)

    def refused(self, kind, status, code, call, what):
        try:
            call()
        except openai.APIStatusError as error:
            self.equal((type(error), error.status_code, error.code), (kind, status, code), f"{what}: {error}")
        else:
            sys.exit(f"{what}: not refused")


def chat(program, model, question, *options):
    """The answer of `chat`, without the line end behind it."""
    command = [program, "chat", "--model", model, "--quiet", "--device", "flex", "--temperature", "0", "--max-new-tokens", str(TOKENS)]
    out = subprocess.run([*command, "--prompt", question, *options], check=True, capture_output=True).stdout.decode()
    return out.removesuffix("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    args = parser.parse_args()
    command = [args.program, "serve", "--model", args.model, "--name", "tiny", "--port", "0", "--device", "flex", "--quiet", "--batch", "4"]
    command += ["--api-key-env", "BURN_VLM_KEY", "--queue", "60"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "BURN_VLM_KEY": KEY}, text=True)
    try:
        address = server.stdout.readline().split()[2]
        checks = Checks()
        with tempfile.TemporaryDirectory() as folder:
            check(checks, args, address + "/v1", folder)
        asyncio.run(check_together(checks, address + "/v1"))
        server.send_signal(signal.SIGTERM)
        checks.equal(server.wait(timeout=60), 0, "the end")
    finally:
        server.kill()
    print(f"{checks.done} checks passed with openai {openai.__version__}")


def check(checks, args, url, folder):
    client = openai.OpenAI(base_url=url, api_key=KEY, max_retries=0)
    create = client.chat.completions.create

    def ask(content, **more):
        return create(**{"model": "tiny", "messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": TOKENS, **more})

    checks.equal([model.id for model in client.models.list()], ["tiny"], "models")
    checks.equal(client.models.retrieve("tiny").id, "tiny", "the model")
    files = []
    for number in range(2):
        files.append(os.path.join(folder, f"{number}.png"))
        with open(files[-1], "wb") as file:
            file.write(picture(number))
    for question in QUESTIONS:
        checks.equal(ask(question).choices[0].message.content, chat(args.program, args.model, question), question)
        content = [shown(picture(0)), shown(picture(1)), {"type": "text", "text": question}]
        expected = chat(args.program, args.model, question, "--image", files[0], "--image", files[1])
        reply = ask(content)
        checks.equal(reply.choices[0].message.content, expected, f"{question} with pictures")
        # Streamed: the same text, and a usage at the end.
        text, usage, finish = "", None, None
        for chunk in ask(content, stream=True, stream_options={"include_usage": True}):
            usage = chunk.usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
        checks.equal((text, usage, finish), (expected, reply.usage, reply.choices[0].finish_reason), f"{question}, streamed")
    # A conversation: an answer goes back as the client has it.
    first = ask(QUESTIONS[0]).choices[0].message
    turns = [{"role": "user", "content": QUESTIONS[0]}, first.model_dump(), {"role": "user", "content": QUESTIONS[1]}]
    checks.true(create(model="tiny", messages=turns, temperature=0, max_tokens=TOKENS).choices[0].message.content, "the second turn")
    # Log-probabilities are the client's own types.
    reply = ask(QUESTIONS[0], logprobs=True, top_logprobs=2, n=2)
    for choice in reply.choices:
        tokens = choice.logprobs.content
        text = bytes(byte for token in tokens for byte in token.bytes).decode(errors="replace")
        checks.equal(text, choice.message.content, "the tokens are the text")
        checks.true(all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in tokens), "log-probabilities")
    counts = reply.usage
    checks.equal(counts.completion_tokens, 2 * len(reply.choices[0].logprobs.content), "tokens of two answers")
    checks.equal(counts.total_tokens, counts.prompt_tokens + counts.completion_tokens, "all tokens")
    reply = ask(QUESTIONS[0], max_completion_tokens=3, max_tokens=openai.omit)
    checks.equal((reply.choices[0].finish_reason, reply.usage.completion_tokens), ("length", 3), "three tokens")
    sampled = [ask(QUESTIONS[0], temperature=1, seed=seed).choices[0].message.content for seed in (1, 1, 2)]
    checks.true(sampled[0] == sampled[1] != sampled[2], "seeds")
    # Answers of a form, which the client's own types read.
    for seed in range(6):
        messages = [{"role": "user", "content": [shown(picture(seed)), {"type": "text", "text": QUESTIONS[seed % 4]}]}]
        more = {"temperature": 1, "seed": seed, "max_tokens": 400} if seed else {"temperature": 0, "max_tokens": 400}
        reply = client.chat.completions.parse(model="tiny", messages=messages, response_format=Reading, **more)
        checks.equal((reply.choices[0].finish_reason, type(reply.choices[0].message.parsed)), ("stop", Reading), f"a form, {seed}")
    # Schemas by chance, whose answers another program judges.
    whole = 0
    for seed in range(60):
        schema = {"type": "object", "properties": {"it": drawn(random.Random(seed))}, "required": ["it"], "additionalProperties": False}
        schema["$defs"] = {"pair": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 2}}
        choice = ask(QUESTIONS[0], response_format=form(schema), temperature=1, seed=seed, max_tokens=300).choices[0]
        if choice.finish_reason == "stop":
            jsonschema.Draft202012Validator(schema).validate(json.loads(choice.message.content))
            whole += 1
    checks.true(whole > 40, f"{whole} of 60 answers of a form have an end")
    # What is refused.
    bad, wrong = openai.BadRequestError, "invalid_value"
    checks.refused(openai.NotFoundError, 404, "model_not_found", lambda: ask("Hi", model="other"), "another model")
    checks.refused(bad, 400, wrong, lambda: ask("Hi", temperature=-1), "temperature")
    checks.refused(bad, 400, wrong, lambda: ask("Hi", max_tokens=0), "max_tokens")
    checks.refused(bad, 400, wrong, lambda: ask("Hi", messages=[]), "no messages")
    checks.refused(bad, 400, "invalid_schema", lambda: ask("Hi", response_format=form({"type": "string", "format": "date"})), "a format")
    checks.refused(bad, 400, "unknown_parameter", lambda: ask("Hi", extra_body={"max_token": 3}), "an unknown field")
    remote = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
    checks.refused(bad, 400, "invalid_image_url", lambda: ask([remote]), "a remote address")
    checks.refused(bad, 400, "invalid_image", lambda: ask([shown(b"no picture")]), "a broken picture")
    checks.refused(bad, 400, "context_length_exceeded", lambda: ask("what is this? " * 20_000), "a long conversation")
    other = openai.OpenAI(base_url=url, api_key="sk-other", max_retries=0)
    checks.refused(openai.AuthenticationError, 401, "invalid_api_key", lambda: other.models.list(), "another key")


async def check_together(checks, url):
    """Many clients at once get what each gets alone; those that leave do no harm."""
    async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:

        def ask(number, **more):
            content = [shown(picture(number % 3)), {"type": "text", "text": QUESTIONS[number % 4]}]
            messages = [{"role": "user", "content": content}]
            return client.chat.completions.create(model="tiny", messages=messages, temperature=0, max_tokens=10 + number, **more)

        alone = [(await ask(number)).choices[0].message.content for number in range(12)]
        left = await ask(5, stream=True)
        await left.close()
        together = await asyncio.gather(*(ask(number) for number in range(12)))
        checks.equal([reply.choices[0].message.content for reply in together], alone, "together")


if __name__ == "__main__":
    main()
