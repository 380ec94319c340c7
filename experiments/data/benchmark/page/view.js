// Elements of an item. Texts are set as text, whatever they hold; their direction is their own.
function make(tag, more = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(more)) {
    if (name in element && name !== "lang") element[name] = value; else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}
const FIELDS = { question: "Question", hint: "Hint" };
const called = (text) => FIELDS[text.field] ?? "Option " + text.field;
const inLanguage = (tag, more) => ({ dir: "auto", lang: tag, ...more });

function side(item) {
  const list = (words, lines) => lines.length ? [make("p", {}, words), make("ul", {}, ...lines.map((line) => make("li", {}, line)))] : [];
  const picture = item.picture === undefined ? make("p", {}, "No picture.") : make("img", { src: TASK.pictures[item.picture], alt: "The picture of " + item.id });
  return make("section", { className: "side", "aria-label": "What is asked about" },
    picture, make("p", {}, "Right: ", make("b", {}, item.answer)),
    ...list("It could not be taken as it is:", item.problems), ...list("Worth a look:", item.flags));
}

function refineView(item, texts, on) {
  const areas = new Map();
  const one = (text) => {
    const area = make("textarea", inLanguage(TASK.language, { value: texts[text.name] ?? text.machine, rows: 1, id: "text-" + text.name }));
    area.addEventListener("input", () => on.draft(values()));
    area.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) on.save(values()); });
    areas.set(text.name, area);
    const right = text.field === item.answer ? make("span", { className: "right" }, "the right one") : null;
    return make("div", { className: "text" },
      make("label", { className: "label", htmlFor: area.id }, called(text), right),
      make("p", inLanguage(TASK.source_language, { className: "source" }), text.source),
      area,
      text.back ? make("p", inLanguage(TASK.source_language, { className: "back" }), "Translated back: " + text.back) : null);
  };
  const values = () => Object.fromEntries([...areas].map(([name, area]) => [name, area.value]));
  const fields = item.texts.map(one);
  const save = make("button", { id: "keep", className: "main" }, "Keep, and next");
  save.addEventListener("click", () => on.save(values()));
  const again = make("button", { id: "machines" }, "The machine's text again");
  again.addEventListener("click", () => {
    for (const text of item.texts) areas.get(text.name).value = text.machine;
    on.draft(values());
  });
  return make("section", { "aria-label": "Your version" }, ...fields,
    make("p", { className: "wrong", id: "refine-wrong", role: "alert" }), make("div", { className: "row" }, save, again));
}

function voteView(item, state, me, on) {
  const source = make("dl", { className: "texts" }, ...item.texts.flatMap((text) => [
    make("dt", {}, called(text)), make("dd", inLanguage(TASK.source_language), text.source)]));
  const told = (words) => make("section", { "aria-label": "Vote" }, source, make("p", { id: "no-vote" }, words));
  if (state.refined.has(me)) return told("You refined this item, so others vote on it.");
  if (state.versions.length < 2) return told("There is one version only so far; more people have to refine it first.");
  // Another order for everybody, so that the place says nothing of who wrote it.
  const order = state.versions.map((texts) => ({ texts, place: store.hash(me + "\n" + item.id + "\n" + JSON.stringify(texts)) }));
  order.sort((a, b) => (a.place < b.place ? -1 : 1));
  const voted = state.votes.get(me);
  const radios = [];
  const one = ({ texts }, number) => {
    const radio = make("input", { type: "radio", name: "version", value: String(number), checked: Boolean(voted && same(voted, texts)) });
    radios.push({ radio, texts });
    return make("label", { className: "version" },
      make("span", { className: "head" }, radio, "Version " + (number + 1)),
      make("dl", {}, ...item.texts.flatMap((text) => [make("dt", {}, called(text)), make("dd", inLanguage(TASK.language), texts[text.name])])));
  };
  const choices = make("fieldset", {}, make("legend", {}, "Which version is best?"), ...order.map(one));
  const vote = make("button", { id: "vote", className: "main" }, voted ? "Vote again, and next" : "Vote, and next");
  vote.addEventListener("click", () => on.vote(radios.find(({ radio }) => radio.checked)?.texts));
  return make("section", { "aria-label": "Vote" }, make("h3", {}, "The source"), source, make("h3", {}, "Versions"), choices,
    make("p", { className: "wrong", id: "vote-wrong", role: "alert" }), make("div", { className: "row" }, vote));
}

function commentsView(state, draft, on) {
  const area = make("textarea", { id: "comment", rows: 1, dir: "auto", value: draft });
  area.addEventListener("input", () => on.commentDraft(area.value));
  const add = make("button", { id: "add-comment" }, "Add the comment");
  add.addEventListener("click", () => on.comment(area.value));
  const one = (record) => make("li", {}, make("b", {}, record.annotator), make("span", { dir: "auto" }, record.text));
  return make("section", { "aria-label": "Comments" }, make("h3", {}, "Comments"),
    make("ul", { className: "comments" }, ...state.comments.map(one)),
    make("label", { htmlFor: "comment", className: "label" }, "A comment of yours"), area, make("div", { className: "row" }, add));
}
