// What is shown. Words of models and of people become text nodes and never markup.

const at = (id) => document.getElementById(id);

// An element with properties, listeners (`onclick`) and children.
function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const button = (words, onclick, title = "") => el("button", { type: "button", className: "small", onclick, title }, words);
const percent = (part) => (part >= 0.0995 ? `${Math.round(part * 100)} %` : `${(part * 100).toPrecision(2)} %`);
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

// A line above the conversation; one for each kind. Empty words take it away.
function notify(kind, words, { calm = false, extra = [] } = {}) {
  at(`notice-${kind}`)?.remove();
  if (!words) return;
  const close = button("\u2715", () => notify(kind, ""), "Close");
  at("notices").append(el("p", { id: `notice-${kind}`, className: calm ? "notice calm" : "notice" }, el("span", {}, words), ...extra, close));
}

function fail(error) {
  notify("failed", [error.message, error.advice].filter(Boolean).join(" "));
}

// ---- pictures

// A picture, or the first frame of a video; where the browser cannot show it, its name stands there.
function preview(id, name, more = {}) {
  if (!isVideo(id)) return el("img", { src: addressOf(id), alt: name, ...more });
  return el("video", { src: addressOf(id), muted: true, playsInline: true, preload: "metadata", "aria-label": name, ...more });
}

function pictureButton(id, show) {
  const { name, note } = pictures.get(id);
  const image = preview(id, name);
  const shown = el("button", { type: "button", className: "picture", title: `${name}: as the model sees it`, onclick: show }, image);
  return note ? el("div", {}, shown, el("p", { className: "note" }, note)) : shown;
}

function removable(id, show, remove) {
  const cross = el("button", { type: "button", className: "remove", title: "Take it out", "aria-label": isVideo(id) ? "Take the video out" : "Take the picture out", onclick: remove }, "\u2715");
  return el("li", { className: "holder" }, pictureButton(id, show), cross);
}

function showDraft() {
  const { draft } = state;
  const item = (id, index) =>
    removable(id, () => look(state.turns.length, draft, index), () => {
      draft.pictures.splice(index, 1);
      showDraft();
      save();
      sweep();
    });
  at("waiting").replaceChildren(...draft.pictures.map(item));
  at("send").disabled = draft.pictures.length === 0 && !at("question").value.trim();
}

// ---- turns

function showAll() {
  const turns = state.turns.map((turn) => drawTurn(turn));
  at("log").replaceChildren(...(turns.length > 0 ? turns : [welcome()]));
  showFrame();
  showRunning();
  scrollDown(true);
}

function welcome() {
  const lines = ["Drop a picture or a video here, paste one, or choose some, and ask.", "Point at a word of an answer to see how likely it was; click a picture to see it as the model does."];
  return el("div", { className: "welcome" }, ...lines.map((line) => el("p", {}, line)));
}

// What depends on settings alone.
function showFrame() {
  document.body.classList.toggle("two", places().length === 2);
  document.body.classList.toggle("colours", state.settings.colours);
}

function showTurn(turn) {
  const old = at(`turn-${turn.id}`);
  if (!old || !state.turns.includes(turn)) return;
  const atEnd = isAtEnd();
  old.replaceWith(drawTurn(turn));
  scrollDown(atEnd);
}

function drawTurn(turn) {
  const answers = places().map((place) => drawAnswer(turn, place));
  return el("article", { id: `turn-${turn.id}`, className: "turn" }, drawQuestion(turn), el("div", { className: "answers" }, ...answers));
}

function drawQuestion(turn) {
  const number = state.turns.indexOf(turn);
  const shown = turn.pictures.map((id, index) => el("li", {}, pictureButton(id, () => look(number, turn, index))));
  const tools = el("div", { className: "tools" }, button("Edit", () => editQuestion(turn), "Ask something else here"));
  const parts = [shown.length > 0 ? el("ul", { className: "pictures" }, ...shown) : null];
  parts.push(turn.text ? el("p", { className: "words", dir: "auto" }, turn.text) : null, tools);
  return el("div", { className: "asked" }, ...parts);
}

function editQuestion(turn) {
  const box = at(`turn-${turn.id}`)?.querySelector(".asked");
  if (!box) return;
  const kept = [...turn.pictures];
  const words = el("textarea", { value: turn.text, rows: Math.min(8, turn.text.split("\n").length + 1), "aria-label": "Question" });
  const list = el("ul", { className: "pictures" });
  const draw = () => {
    const number = state.turns.indexOf(turn);
    const item = (id, index) =>
      removable(id, () => look(number, { ...turn, pictures: kept }, index), () => {
        kept.splice(index, 1);
        draw();
      });
    list.replaceChildren(...kept.map(item));
  };
  draw();
  const later = state.turns.length - 1 - state.turns.indexOf(turn);
  const again = () => {
    if (words.value.trim() || kept.length > 0) askAgain(turn, words.value.trim(), kept);
  };
  const label = later > 0 ? `Ask, and drop ${plural(later, "later turn")}` : "Ask";
  const tools = el("div", { className: "tools" }, button(label, again), button("Cancel", () => showTurn(turn)));
  box.classList.add("editing");
  box.replaceChildren(list, words, tools);
  words.focus();
}

// ---- answers

const answerId = (turn, place) => `answer-${turn.id}-${place}`;

function drawAnswer(turn, place) {
  const answer = shownAnswer(turn, place);
  const isRunning = running.has(`${turn.id}/${place}`);
  const box = el("section", { id: answerId(turn, place), className: isRunning && answer?.end === null ? "answer running" : "answer" });
  const name = answer?.model ?? state.models[place];
  const who = el("div", { className: "who" }, el("span", {}, name || "no model"));
  const many = turn.answers[place].length;
  if (many > 1) {
    const step = (by) => () => {
      turn.shown[place] = (turn.shown[place] + by + many) % many;
      showTurn(turn);
      save();
    };
    who.append(button("\u2039", step(-1), "Answer before"), `${turn.shown[place] + 1} of ${many}`, button("\u203A", step(1), "Next answer"));
  }
  const said = el("div", { className: "said", dir: "auto" });
  const more = el("div", { className: "more" });
  box.append(who, said, more);
  fillAnswer(box, turn, place);
  return box;
}

// The answer under way: what is new of it, once for what came between two pictures of the screen.
const unseen = new Map();

function showAnswer(turn, place) {
  if (unseen.size === 0) requestAnimationFrame(showUnseen);
  unseen.set(answerId(turn, place), [turn, place]);
}

function showUnseen() {
  const atEnd = isAtEnd();
  for (const [id, [turn, place]] of unseen) {
    const box = at(id);
    if (box) fillAnswer(box, turn, place);
  }
  unseen.clear();
  scrollDown(atEnd);
}

function fillAnswer(box, turn, place) {
  const answer = shownAnswer(turn, place);
  const isRunning = running.has(`${turn.id}/${place}`);
  box.classList.toggle("running", isRunning && answer?.end === null);
  fillWords(box.querySelector(".said"), answer);
  const more = [];
  if (answer?.error) more.push(drawError(answer.error));
  if (answer?.routing?.length > 0) more.push(drawRouting(answer.routing, box.querySelector(".routing")?.open));
  const tools = el("div", { className: "tools" });
  const facts = answer ? factsOf(answer, isRunning) : "not asked";
  if (facts) tools.append(el("span", {}, facts));
  if (!isRunning) {
    const again = answer ? (answer.error ? "Try again" : "Regenerate") : "Ask";
    tools.append(button(again, () => (ask(turn, place), showRunning()), "Another answer of this model"));
    if (answer?.text) {
      tools.append(button("Edit", () => editAnswer(turn, place), "Change what the model said"));
      tools.append(button("Copy", () => navigator.clipboard?.writeText(answer.text).catch(() => fail(new Problem("The browser does not let this page copy; select the words."))), "Copy the answer"));
    }
  }
  box.querySelector(".more").replaceChildren(...more, tools);
}

// Words with their tokens, as far as they came; those that are there already stay, so that a selection does.
function fillWords(said, answer) {
  said.tabIndex = answer?.tokens ? 0 : -1;
  if (!answer?.tokens) {
    said.tokens = null;
    if (said.textContent !== (answer?.text ?? "")) said.textContent = answer?.text ?? "";
    return;
  }
  if (said.tokens !== answer.tokens) said.replaceChildren();
  said.tokens = answer.tokens;
  const pieces = piecesOf(answer);
  // The last one may have been a part of a character, or have had no token yet.
  const kept = Math.max(0, Math.min(said.childNodes.length - 1, pieces.length));
  while (said.childNodes.length > kept) said.lastChild.remove();
  for (const piece of pieces.slice(kept)) {
    const word = el("span", { className: piece.tokens.length > 0 ? "token" : "" }, piece.text);
    if (piece.tokens.length > 0) {
      word.piece = piece;
      const least = Math.min(...piece.tokens.map((token) => token.logprob));
      word.style.setProperty("--doubt", (0.55 * (1 - Math.exp(least))).toFixed(3));
    }
    said.append(word);
  }
}

function factsOf(answer, isRunning) {
  const facts = [];
  const count = answer.tokens?.length;
  if (count) facts.push(plural(count, "token"));
  if (count && answer.seconds > 0) facts.push(`${answer.seconds.toFixed(1)} s`);
  if (answer.usage) facts.push(`read ${answer.usage.prompt_tokens}`);
  const ends = { length: "token limit reached", stopped: "stopped", interrupted: "interrupted", edited: "edited" };
  if (!isRunning && ends[answer.end]) facts.push(ends[answer.end]);
  return facts.join(" \u00b7 ");
}

function drawError({ message, advice }) {
  return el("div", { className: "error", role: "alert" }, el("p", {}, message), advice ? el("p", { className: "advice" }, advice) : null);
}

// A bar for each part of a whole.
function bars(parts) {
  const rows = parts.flatMap(({ label, part, chosen }) => {
    const fill = el("i");
    fill.style.width = `${Math.max(0, Math.min(1, part)) * 100}%`;
    return [el(label.tag ?? "span", { className: chosen ? "chosen" : "" }, label.text), el("span", { className: "bar" }, fill), el("span", { className: "number" }, percent(part))];
  });
  return el("div", { className: "bars" }, ...rows);
}

function drawRouting(routing, open = false) {
  const of = (weights, index) => {
    const parts = weights.map((part, expert) => ({ label: { text: `Expert ${expert + 1}` }, part }));
    return [routing.length > 1 ? el("p", {}, `Picture ${index + 1}`) : null, bars(parts)];
  };
  return el("details", { className: "routing", open }, el("summary", {}, "How the words of this prompt mix the experts"), ...routing.flatMap(of).filter(Boolean));
}

function editAnswer(turn, place) {
  const box = at(answerId(turn, place));
  const answer = shownAnswer(turn, place);
  if (!box || !answer) return;
  const words = el("textarea", { value: answer.text, rows: Math.min(12, answer.text.split("\n").length + 2), "aria-label": "Answer" });
  const keep = () => {
    if (words.value !== answer.text) Object.assign(answer, { text: words.value, tokens: null, end: "edited", error: null });
    showTurn(turn);
    save();
  };
  box.querySelector(".said").replaceChildren(words);
  box.querySelector(".said").tokens = null;
  box.querySelector(".more").replaceChildren(el("div", { className: "tools" }, button("Keep", keep), button("Cancel", () => showTurn(turn))));
  words.focus();
}

// ---- probabilities

function showTip(token) {
  const tip = at("tip");
  document.querySelector(".token.on")?.classList.remove("on");
  if (!token?.piece) {
    tip.hidden = true;
    return;
  }
  token.classList.add("on");
  const visible = (text) => text.replaceAll("\n", "\u21b5").replaceAll(" ", "\u2423") || "\u2205";
  const blocks = token.piece.tokens.flatMap(({ bytes, logprob, top }) => {
    const text = new TextDecoder().decode(new Uint8Array(bytes));
    const line = el("div", {}, el("code", { className: "chosen" }, visible(text)), ` ${percent(Math.exp(logprob))}`);
    const others = top.map(([other, value]) => ({ label: { tag: "code", text: visible(other) }, part: Math.exp(value), chosen: other === text }));
    const first = others.some(({ chosen }) => chosen) ? [] : [line];
    return others.length > 0 ? [...first, bars(others)] : [line];
  });
  tip.replaceChildren(...blocks);
  tip.hidden = false;
  const [word, own] = [token.getClientRects()[0], tip.getBoundingClientRect()];
  if (!word) return;
  const left = Math.max(8, Math.min(word.left, innerWidth - own.width - 8));
  const below = word.bottom + 6 + own.height < innerHeight;
  tip.style.left = `${left}px`;
  tip.style.top = `${below ? word.bottom + 6 : Math.max(8, word.top - own.height - 6)}px`;
}

// ---- as the model sees it

// Shows a picture of a turn, or of the next question, as each model is shown it.
async function look(until, turn, index) {
  const dialog = at("seen");
  const given = pictures.get(turn.pictures[index]);
  const body = at("seen-body");
  const playing = isVideo(turn.pictures[index]) ? { controls: true } : {};
  const original = el("figure", {}, preview(turn.pictures[index], given.name, { className: "given", ...playing }), el("figcaption", {}, given.name));
  body.replaceChildren(el("p", {}, "\u2026"));
  if (!dialog.open) dialog.showModal();
  const sights = [];
  for (const place of places()) {
    const model = state.models[place];
    try {
      const shown = before(place, until).reduce((sum, [earlier]) => sum + earlier.pictures.length, 0);
      const messages = await messagesOf(place, until, { text: turn.text, pictures: turn.pictures });
      const reply = await request("/v1/inspect", checkSize(JSON.stringify({ model, messages }), model));
      const inspection = await reply.json();
      sights.push(drawSight(inspection, inspection.pictures[shown + index]));
    } catch (error) {
      sights.push(el("section", { className: "sight" }, el("h3", {}, model), drawError(error)));
    }
  }
  body.replaceChildren(el("div", { className: "shows" }, original), ...sights);
}

function drawSight(inspection, picture) {
  if (picture.frames) return drawFrames(inspection, picture);
  const { tiles, patches, view, views } = picture;
  const size = `${view.width} \u00d7 ${view.height} pixels`;
  const how = tiles ? `the whole and ${tiles.rows} \u00d7 ${tiles.columns} tiles, each ${size}` : patches ? `${size} in ${patches.rows} \u00d7 ${patches.columns} patches` : size;
  const facts = `${picture.width} \u00d7 ${picture.height} pixels become ${how}: ${plural(picture.tokens, "visual token")}. The whole prompt has ${inspection.prompt_tokens} of the ${inspection.context} tokens that the model reads.`;
  const image = (src, className) => (src ? el("img", { className, src, alt: "" }) : el("span", {}, "left out"));
  const shows = [el("figure", {}, image(views[0], "view"), el("figcaption", {}, tiles ? "the whole" : "the picture"))];
  if (tiles) {
    const grid = el("div", { className: "tiles" }, ...views.slice(1).map((src) => image(src, "")));
    grid.style.gridTemplateColumns = `repeat(${tiles.columns}, 1fr)`;
    const cut = el("figure", { className: "cut" }, grid, el("figcaption", {}, "the tiles"));
    cut.style.maxWidth = `${tiles.columns * 11}rem`;
    shows.push(cut);
  }
  return el("section", { className: "sight" }, el("h3", {}, inspection.model), el("p", { className: "facts" }, facts), el("div", { className: "shows" }, ...shows));
}

// The frames of a video that the model is shown, with their numbers and times.
function drawFrames(inspection, { frames, tokens, width, height, view, views }) {
  const size = `${view.width} \u00d7 ${view.height}`;
  const damaged = frames.damage ? ` The file is not whole: ${frames.damage}.` : "";
  const facts = `${frames.indices.length} of ${plural(frames.of, "frame")} of ${width} \u00d7 ${height} pixels, chosen by ${frames.rule}, become ${size} each: ${plural(tokens, "visual token")}. The whole prompt has ${inspection.prompt_tokens} of the ${inspection.context} tokens that the model reads.${damaged}`;
  const caption = (index, at) => (frames.seconds[at] === undefined ? `frame ${index}` : `frame ${index}, ${frames.seconds[at].toFixed(1)} s`);
  const frame = (index, at) => el("figure", {}, views[at] ? el("img", { className: "frame", src: views[at], alt: "" }) : el("span", {}, "left out"), el("figcaption", {}, caption(index, at)));
  return el("section", { className: "sight" }, el("h3", {}, inspection.model), el("p", { className: "facts" }, facts), el("div", { className: "shows frames" }, ...frames.indices.map(frame)));
}

// ---- frame

function isAtEnd() {
  const log = at("log");
  return log.scrollHeight - log.scrollTop - log.clientHeight < 80;
}

function scrollDown(wanted) {
  if (wanted) at("log").scrollTop = at("log").scrollHeight;
}

function showRunning() {
  at("stop").hidden = running.size === 0;
  at("send").hidden = running.size > 0;
}

