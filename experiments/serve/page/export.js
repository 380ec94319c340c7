// The conversation as files: whole, which this page reads back, and as a training sample in LLaVA's JSON.

function download(name, value) {
  const address = URL.createObjectURL(new Blob([JSON.stringify(value, null, 2), "\n"], { type: "application/json" }));
  const link = Object.assign(document.createElement("a"), { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

async function wholeConversation() {
  const files = {};
  for (const id of usedPictures()) {
    const { name, note } = pictures.get(id);
    files[id] = { name, note, data: await dataUri(id) };
  }
  return { format: FORMAT, ...state, pictures: files };
}

// The shown answers of a place as one record: `conversations` with a mark for each picture and video, `image` and `video` with their data.
async function trainingSample(place) {
  const kept = before(place, state.turns.length);
  if (kept.length === 0) throw new Problem("There is no answer yet that could be a training sample.");
  const { system } = state.settings;
  const conversations = system.trim() ? [{ from: "system", value: system }] : [];
  const files = { image: [], video: [] };
  for (const [turn, answer] of kept) {
    for (const id of turn.pictures) files[isVideo(id) ? "video" : "image"].push(await dataUri(id));
    const marks = turn.pictures.map((id) => (isVideo(id) ? "<video>\n" : "<image>\n"));
    conversations.push({ from: "human", value: marks.join("") + turn.text });
    conversations.push({ from: "gpt", value: answer.text });
  }
  const some = Object.entries(files).filter(([, list]) => list.length > 0);
  const media = Object.fromEntries(some.map(([name, list]) => [name, list.length > 1 ? list : list[0]]));
  return [{ id: kept[0][0].id, ...media, conversations }];
}

// Reads what `wholeConversation` wrote.
async function readConversation(text) {
  let read;
  try {
    read = JSON.parse(text);
  } catch (error) {
    throw new Problem(`This file is not JSON: ${error.message}`);
  }
  const wrong = (what) => new Problem(`This file is no conversation of this page: ${what}.`);
  if (read?.format !== FORMAT || read.version !== VERSION) throw wrong(`"format" and "version" are not "${FORMAT}" and ${VERSION}`);
  const isTurn = (turn) =>
    typeof turn?.text === "string" && typeof turn.id === "string" && [turn.pictures, turn.answers?.[0], turn.answers?.[1], turn.shown].every(Array.isArray) &&
    turn.answers.flat().every((answer) => typeof answer?.text === "string" && typeof answer.model === "string");
  if (!Array.isArray(read.turns) || !read.turns.every(isTurn)) throw wrong('"turns" has something that is no turn');
  const files = new Map();
  for (const [id, { name, note, data }] of Object.entries(read.pictures ?? {})) {
    const [, type, base64] = /^data:((?:image|video)\/[\w.+-]+);base64,(.*)$/.exec(data) ?? [];
    if (!type) throw wrong(`the picture ${id} is no data URI of an image or a video`);
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    files.set(id, { blob: new Blob([bytes], { type }), name: String(name), note: String(note ?? "") });
  }
  stopAll();
  const empty = fresh();
  const known = (list) => list.filter((id) => files.has(id));
  const turns = read.turns.map((turn) => ({ ...turn, pictures: known(turn.pictures) }));
  turns.flatMap((turn) => turn.answers.flat()).forEach((answer) => (answer.end ??= "interrupted"));
  state = { ...empty, turns, settings: { ...empty.settings, ...read.settings }, models: read.models ?? empty.models };
  for (const [id, picture] of files) {
    pictures.set(id, picture);
    await store.put(`picture:${id}`, picture);
  }
  await save();
  await sweep();
}

