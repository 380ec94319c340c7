// The conversation, and how it becomes requests.
//
// A turn is a question with its pictures, and for each of the two places (the model, and the one beside it) the answers that were written,
// of which one is shown and goes on as the conversation.

const FORMAT = "burn-vlm conversation";
const VERSION = 1;
// The likeliest tokens that are shown beside each.
const OTHERS = 5;
// Settings that are numbers of a request.
const NUMBERS = ["temperature", "top_p", "top_k", "repetition_penalty", "max_tokens", "n", "seed"];
// Types that the server reads, whatever the browser can.
const READABLE = ["image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff"];
// Milliseconds between two times that an answer under way is kept.
const KEPT_EVERY = 700;

const fresh = () => ({
  version: VERSION,
  models: ["", ""],
  settings: { system: "", logprobs: true, colours: false, ...Object.fromEntries(NUMBERS.map((name) => [name, ""])) },
  turns: [],
  draft: { text: "", pictures: [] },
});

let state = fresh();
// What the server has, as it describes it.
let models = [];
// The files of pictures and videos, by id: { blob, name, note }.
const pictures = new Map();
const addresses = new Map();
// What is being written, by turn and place.
const running = new Map();

const described = (name) => models.find((model) => model.id === name)?.burn_vlm;
const places = () => (state.models[1] ? [0, 1] : [0]);
const shownAnswer = (turn, place) => turn.answers[place][turn.shown[place]];
const isUsable = (answer) => answer && !answer.error && answer.end !== null;

function newId() {
  return [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// ---- keeping

let saving = Promise.resolve();
let saveTimer = 0;

function save() {
  clearTimeout(saveTimer);
  saveTimer = 0;
  saving = saving
    .then(() => store.put("conversation", structuredClone(state)))
    .catch((error) => notify("kept", `The conversation is not kept: ${error.message}. Export it before you close the page.`));
  return saving;
}

function saveSoon() {
  saveTimer ||= setTimeout(save, KEPT_EVERY);
}

function usedPictures() {
  return new Set([...state.turns.flatMap((turn) => turn.pictures), ...state.draft.pictures, ...coming]);
}

// Pictures and videos that are being added, which are in no turn yet.
const coming = new Set();

// Forgets the files of pictures that are nowhere shown.
async function sweep() {
  const used = usedPictures();
  for (const id of pictures.keys()) {
    if (!used.has(id)) forget(id);
  }
  for (const name of await store.keys()) {
    const id = String(name).startsWith("picture:") ? name.slice("picture:".length) : "";
    if (id && !used.has(id)) await store.remove(name);
  }
}

function forget(id) {
  pictures.delete(id);
  if (addresses.has(id)) URL.revokeObjectURL(addresses.get(id));
  addresses.delete(id);
}

// Brings back what was kept. An answer that was being written then has ended.
async function restore() {
  const kept = await store.get("conversation");
  if (kept?.version === VERSION) {
    const empty = fresh();
    state = { ...empty, ...kept, settings: { ...empty.settings, ...kept.settings } };
  }
  for (const id of usedPictures()) {
    const picture = await store.get(`picture:${id}`);
    if (picture) pictures.set(id, picture);
  }
  const known = (list) => list.filter((id) => pictures.has(id));
  state.draft.pictures = known(state.draft.pictures);
  for (const turn of state.turns) {
    turn.pictures = known(turn.pictures);
    for (const answer of turn.answers.flat()) {
      answer.end ??= "interrupted";
    }
  }
  await sweep();
}

// ---- pictures

// The type of a video's file, which a browser may not know; nothing for other files.
function videoType(file) {
  if (file.type.startsWith("video/")) return file.type;
  const [ending] = /(mp4|m4v|mov|webm|mkv|avi|ts|mpe?g)$/i.exec(file.name ?? "") ?? [];
  return ending && !file.type ? `video/${ending.toLowerCase()}` : "";
}

const isVideo = (id) => pictures.get(id).blob.type.startsWith("video/");

// An image file as one that the server reads; others are drawn anew by the browser, if it can. A video goes as it is.
async function readable(file) {
  const video = videoType(file);
  if (video) return { blob: file.type ? file : new Blob([file], { type: video }), note: "" };
  if (READABLE.includes(file.type)) return { blob: file, note: "" };
  const image = await createImageBitmap(file).catch(() => null);
  if (!image) throw new Problem(`${file.name || "This file"} is not a picture that this browser can read: save it as PNG or JPEG.`);
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  canvas.getContext("2d").drawImage(image, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  if (!blob) throw new Problem(`${file.name || "This picture"} is too large for this browser to convert: save it as PNG or JPEG.`);
  return { blob, note: `converted from ${file.type || "an unknown type"} to PNG` };
}

async function addPicture(file) {
  const { blob, note } = await readable(file);
  const id = newId();
  const picture = { blob, note, name: file.name || "picture" };
  coming.add(id);
  pictures.set(id, picture);
  await store.put(`picture:${id}`, picture).catch((error) => notify("kept", `A picture is not kept across reloads: ${error.message}.`));
  // The conversation may be another one by now.
  state.draft.pictures.push(id);
  coming.delete(id);
}

function addressOf(id) {
  if (!addresses.has(id)) addresses.set(id, URL.createObjectURL(pictures.get(id).blob));
  return addresses.get(id);
}

function dataUri(id) {
  const { blob } = pictures.get(id);
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Problem("A picture of this conversation can no longer be read: take it out and add it again."));
    reader.readAsDataURL(blob);
  });
}

// ---- requests

async function contentOf({ text, pictures: shown }) {
  if (shown.length === 0) return text;
  const parts = [];
  for (const id of shown) {
    const url = await dataUri(id);
    parts.push(isVideo(id) ? { type: "video_url", video_url: { url } } : { type: "image_url", image_url: { url } });
  }
  return text ? [...parts, { type: "text", text }] : parts;
}

// The turns that a place's model reads before the question at `until`, each with its answer: its own, else that of the other place. Turns
// without an answer are left out.
function before(place, until) {
  const answered = (turn) => {
    const answer = [place, 1 - place].map((at) => shownAnswer(turn, at)).find(isUsable);
    return answer && [turn, answer];
  };
  return state.turns.slice(0, until).map(answered).filter(Boolean);
}

async function messagesOf(place, until, last) {
  const { system } = state.settings;
  const messages = system.trim() ? [{ role: "system", content: system }] : [];
  for (const [turn, answer] of before(place, until)) {
    messages.push({ role: "user", content: await contentOf(turn) }, { role: "assistant", content: answer.text });
  }
  messages.push({ role: "user", content: await contentOf(last) });
  return messages;
}

function checkSize(body, model) {
  const most = described(model)?.body_limit;
  if (most && body.length > most) {
    const sizes = [body.length, most].map((bytes) => `${(bytes / 1e6).toFixed(1)} MB`);
    throw new Problem(`The conversation with its pictures has ${sizes[0]}, the server takes ${sizes[1]}.`, { code: "body_too_large" });
  }
  return body;
}

function asked(model, messages, showsPictures) {
  const { settings } = state;
  const body = { model, messages, stream: true, stream_options: { include_usage: true } };
  for (const name of NUMBERS) {
    if (settings[name] !== "") body[name] = Number(settings[name]);
  }
  // Whole numbers of 64 bits are more than this language's numbers hold.
  const seed = String(settings.seed).trim();
  if (settings.logprobs) Object.assign(body, { logprobs: true, top_logprobs: OTHERS });
  if (showsPictures && described(model)?.experts > 0) body.routing = true;
  const text = JSON.stringify(body);
  return checkSize(/^-?\d+$/.test(seed) ? text.replace(`"seed":${body.seed}`, `"seed":${seed}`) : text, model);
}

// Asks a place's model the question of a turn.
async function ask(turn, place) {
  const id = `${turn.id}/${place}`;
  const at = state.turns.indexOf(turn);
  const model = state.models[place];
  if (running.has(id) || at < 0) return;
  const abort = new AbortController();
  running.set(id, abort);
  const list = turn.answers[place];
  // What was refused is no answer.
  if (list.at(-1)?.error && !list.at(-1).text) list.pop();
  const first = list.length;
  const count = Math.max(1, Math.min(Number(state.settings.n) || 1, described(model)?.max_n ?? 1));
  const empty = () => ({ model, text: "", tokens: null, end: null, error: null, usage: null, routing: null, seconds: 0 });
  list.push(...Array.from({ length: count }, empty));
  turn.shown[place] = first;
  const own = list.slice(first);
  const began = performance.now();
  showTurn(turn);
  save();
  try {
    const shows = turn.pictures.length > 0 || before(place, at).some(([turn]) => turn.pictures.length > 0);
    const body = asked(model, await messagesOf(place, at, turn), shows);
    const response = await request("/v1/chat/completions", body, abort.signal);
    for await (const event of events(response)) {
      if (event.usage) own[0].usage = event.usage;
      if (event.routing) own.forEach((answer) => (answer.routing = event.routing));
      for (const choice of event.choices) {
        take(own[choice.index], choice);
      }
      own.forEach((answer) => (answer.seconds = (performance.now() - began) / 1000));
      showAnswer(turn, place);
      saveSoon();
    }
  } catch (error) {
    const unended = own.filter((answer) => answer.end === null);
    if (error.name === "AbortError") {
      unended.forEach((answer) => (answer.end = "stopped"));
      // An answer of which nothing was written is none.
      turn.answers[place] = list.filter((answer) => answer.end !== "stopped" || answer.text);
      turn.shown[place] = Math.max(0, Math.min(turn.shown[place], turn.answers[place].length - 1));
    } else {
      const { code = "", message, advice = "" } = error;
      unended.forEach((answer) => Object.assign(answer, { end: "error", error: { message, advice, code } }));
      if (code === "invalid_api_key" || code === "model_not_found") connect();
    }
  } finally {
    running.delete(id);
    showTurn(turn);
    showRunning();
    save();
  }
}

function take(answer, choice) {
  answer.text += choice.delta.content ?? "";
  for (const token of choice.logprobs?.content ?? []) {
    const top = token.top_logprobs.map((other) => [other.token, other.logprob]);
    (answer.tokens ??= []).push({ bytes: token.bytes, logprob: token.logprob, top });
  }
  answer.end = choice.finish_reason ?? answer.end;
}

// Tokens whose bytes are whole characters, put together: a character may be of several tokens.
function wholeTokens(answer) {
  const decoder = new TextDecoder("utf-8");
  const groups = [];
  let waiting = [];
  for (const token of answer.tokens ?? []) {
    waiting.push(token);
    const text = decoder.decode(new Uint8Array(token.bytes), { stream: true });
    // Of a part of a character nothing comes out.
    if (text || token.bytes.length === 0) {
      groups.push({ text, tokens: waiting });
      waiting = [];
    }
  }
  const rest = decoder.decode();
  if (waiting.length > 0) groups.push({ text: rest, tokens: waiting });
  return groups;
}

// The words of an answer in pieces: those of tokens with their tokens, and what is between them without. Special tokens have no words, and
// some tokenizers write a space before the first word that is not in the text.
function piecesOf({ text, tokens }) {
  const pieces = [];
  let place = 0;
  for (const group of tokens ? wholeTokens({ tokens }) : []) {
    const trimmed = place === 0 && !text.startsWith(group.text) ? group.text.replace(/^ /, "") : group.text;
    const found = text.indexOf(trimmed, place);
    // A letter or two stand everywhere.
    if (!trimmed || found < 0 || (found > place && trimmed.length < 3)) continue;
    if (found > place) pieces.push({ text: text.slice(place, found), tokens: [] });
    pieces.push({ text: trimmed, tokens: group.tokens });
    place = found + trimmed.length;
  }
  if (place < text.length) pieces.push({ text: text.slice(place), tokens: [] });
  return pieces;
}

function begin(turn) {
  for (const place of places()) ask(turn, place);
  showRunning();
}

function stopAll() {
  for (const abort of running.values()) abort.abort();
}

function askNew(text, shown) {
  const turn = { id: newId(), text, pictures: shown, answers: [[], []], shown: [0, 0] };
  state.turns.push(turn);
  showAll();
  begin(turn);
}

// Another question in the place of a turn's; what came after it belonged to the old one.
function askAgain(turn, text, shown) {
  const at = state.turns.indexOf(turn);
  const later = state.turns.splice(at);
  for (const { id } of later) {
    for (const place of [0, 1]) running.get(`${id}/${place}`)?.abort();
  }
  askNew(text, shown);
  sweep();
}

async function startNew() {
  stopAll();
  const { models: chosen, settings } = state;
  state = { ...fresh(), models: chosen, settings };
  showAll();
  await save();
  await sweep();
}

