// What is shown, and what follows from what is pressed.
const view = { me: "", mode: "refine", filter: "all", at: TASK.items[0].id };
const say = (text) => { $("#status").textContent = text; };
const draftOf = (item) => "draft:" + view.me + ":" + item.id;

function isDone(item) {
  const state = stateOf(item);
  return view.mode === "refine" ? state.refined.has(view.me) : state.votes.has(view.me) || state.refined.has(view.me);
}
const isFlagged = (item) => item.problems.length + item.flags.length > 0;
function shown() {
  const wanted = { all: () => true, todo: (item) => !isDone(item), flagged: isFlagged }[view.filter];
  return TASK.items.filter((item) => wanted(item) || item.id === view.at);
}

function drawList() {
  const items = shown(), pick = $("#pick");
  const option = (item) => {
    const words = item.texts[0].source.replace(/\s+/g, " ");
    const mark = (isDone(item) ? "✓ " : "") + (isFlagged(item) ? "! " : "");
    return make("option", { value: item.id, selected: item.id === view.at }, mark + item.id + ": " + (words.length > 60 ? words.slice(0, 60) + "…" : words));
  };
  pick.replaceChildren(...items.map(option));
  const at = items.findIndex((item) => item.id === view.at);
  $("#previous").disabled = at <= 0;
  $("#next").disabled = at >= items.length - 1;
  const done = TASK.items.filter(isDone).length;
  $("#progress").textContent = `${done} of ${TASK.items.length} ${view.mode === "refine" ? "refined" : "done"}`;
  for (const mode of ["refine", "vote"]) $("#mode-" + mode).setAttribute("aria-pressed", String(view.mode === mode));
  $("#open-who").textContent = view.me || "Who?";
  $("#filter").value = view.filter;
}

function draw() {
  index();
  const item = ITEMS.get(view.at), state = stateOf(item);
  const mine = store.read(draftOf(item), null) ?? state.refined.get(view.me) ?? machine(item);
  const on = {
    draft: (texts) => { store.write(draftOf(item), texts); say("Not kept yet: a draft in this browser."); },
    save: (texts) => refine(item, texts),
    vote: (texts) => vote(item, texts),
    comment: (text) => comment(item, text),
    commentDraft: (text) => store.write(draftOf(item) + ":comment", text || null),
  };
  const work = view.mode === "refine" ? refineView(item, mine, on) : voteView(item, state, view.me, on);
  const right = make("div", {}, work, commentsView(state, store.read(draftOf(item) + ":comment", ""), on));
  $("#item").replaceChildren(side(item), right);
  drawList();
  store.write("view", view);
}

function keep(item, event, words) {
  const fits = store.add(view.me, item.id, event);
  if (PAGE.server) delete document.documentElement.dataset.sent;
  say(words);
  fail(fits ? "" : "This browser has no place left: save what was done as a file (Files), and do not close the page before.");
  send();
}
function fail(text) {
  $("#failed").textContent = text;
  $("#failed").hidden = !text;
}
// One at a time; what is kept meanwhile goes with the next.
let sending = false, again = false;
async function send() {
  if (!PAGE.server) return;
  again = true;
  if (sending) return;
  sending = true;
  try {
    while (again) {
      again = false;
      const refused = await store.sync();
      fail(refused.length ? "Refused by the server: " + refused.map(({ why }) => why).join("; ") : "");
      if (refused.length) draw(); else { index(); drawList(); }
    }
    if (!store.unsent) document.documentElement.dataset.sent = "yes";
  } catch (error) {
    fail(`The server does not answer (${error.message}): ${store.unsent} records wait in this browser and are sent when it does.`);
  } finally { sending = false; }
}

// Options that read the same cannot be told apart, if the source's can.
function equalOptions(item, texts) {
  const options = item.texts.filter((text) => text.field.length === 1);
  const bare = (text) => text.normalize("NFKC").toLowerCase().replace(/\s+/g, " ").trim();
  for (const [at, one] of options.entries()) for (const other of options.slice(at + 1)) {
    if (bare(texts[one.name]) === bare(texts[other.name]) && bare(one.source) !== bare(other.source)) return [one.field, other.field];
  }
  return null;
}
function refine(item, texts) {
  const blank = item.texts.find((text) => !texts[text.name].trim()), equal = equalOptions(item, texts);
  const wrong = blank ? `${called(blank)}: nothing is written.` : equal ? `The options ${equal[0]} and ${equal[1]} read the same: nobody could tell them apart.` : "";
  $("#refine-wrong").textContent = wrong;
  if (wrong) return;
  store.write(draftOf(item), null);
  keep(item, { event: "refine", texts }, same(texts, machine(item)) ? "Kept: the machine's text as it is." : "Kept: your version.");
  go(1);
}
function vote(item, texts) {
  $("#vote-wrong").textContent = texts ? "" : "Choose a version first.";
  if (!texts) return;
  keep(item, { event: "vote", texts }, "Kept: your vote.");
  go(1);
}
function comment(item, text) {
  if (!text.trim()) return;
  store.write(draftOf(item) + ":comment", null);
  keep(item, { event: "comment", text: text.trim() }, "Kept: your comment.");
  draw();
}

function go(step) {
  index();
  const items = shown(), at = items.findIndex((item) => item.id === view.at);
  const next = items[at + step];
  if (next) view.at = next.id;
  draw();
  if (next) { scrollTo(0, 0); $("#item").focus({ preventScroll: true }); }
}
const press = (id, then) => $(id).addEventListener("click", then);
press("#previous", () => go(-1));
press("#next", () => go(1));
press("#mode-refine", () => { view.mode = "refine"; draw(); });
press("#mode-vote", () => { view.mode = "vote"; draw(); });
$("#pick").addEventListener("change", (event) => { view.at = event.target.value; draw(); });
$("#filter").addEventListener("change", (event) => { view.filter = event.target.value; draw(); });

press("#open-who", () => { $("#name").value = view.me; $("#who").showModal(); });
function named() {
  const name = $("#name").value.trim();
  const wrong = !name ? "A name is needed." : name.toLowerCase() === "machine" ? "That is what the machine's version is called." : "";
  $("#who-wrong").textContent = wrong;
  if (wrong) return;
  view.me = name;
  $("#who").close();
  draw();
}
press("#who-done", named);
$("#name").addEventListener("keydown", (event) => { if (event.key === "Enter") named(); });
$("#who").addEventListener("cancel", (event) => { if (!view.me) event.preventDefault(); });
$("#who").addEventListener("close", () => { if (!view.me) $("#who").showModal(); });

press("#open-rule", () => $("#rule").showModal());
press("#rule-done", () => $("#rule").close());
press("#open-file", () => { $("#file-told").textContent = ""; $("#file").showModal(); });
press("#file-done", () => $("#file").close());
press("#save", () => {
  const text = store.all().map((record) => JSON.stringify(record) + "\n").join("");
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "application/jsonl" })), download: `records_${TASK.language}_${view.me.replace(/[^\p{L}\p{N}]+/gu, "-")}.jsonl` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  $("#file-told").textContent = `${store.all().length} records saved.`;
});
$("#load").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (!file) return;
  const { added, foreign, fits } = store.load(await file.text());
  $("#file-told").textContent = `${added} records are new` + (foreign ? `; ${foreign} lines are no records of this page` : "") + (fits ? "." : "; this browser has no place for them.");
  event.target.value = "";
  draw();
  send();
});

$("#title").textContent = `${TASK.name}, ${TASK.language}`;
$("#rule-text").textContent = PAGE.rule;
$("#file-where").textContent = PAGE.server
  ? "Everything is kept by the server as it comes. A file is a copy of it."
  : "Everything is kept in this browser alone until it is saved as a file. Send the file to who collects them.";
store.begin();
Object.assign(view, store.read("view", {}));
if (!ITEMS.has(view.at)) view.at = TASK.items[0].id;
draw();
if (!view.me) $("#who").showModal();
addEventListener("online", send);
document.addEventListener("visibilitychange", () => { if (!document.hidden) send(); });
if (PAGE.server) { setInterval(send, 15000); send().then(draw); }
document.documentElement.dataset.ready = "yes";
