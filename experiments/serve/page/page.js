// The page as a whole: where clicks, keys and pictures come in.

async function connect() {
  try {
    const reply = await request("/v1/models");
    models = (await reply.json()).data;
    notify("server", "");
  } catch (error) {
    if (error.code === "invalid_api_key") askForKey();
    else notify("server", [error.message, error.advice].filter(Boolean).join(" "), { extra: [el("button", { type: "button", onclick: connect }, "Try again")] });
    return;
  }
  const names = models.map((model) => model.id);
  if (!names.includes(state.models[0])) state.models[0] = names[0];
  if (!names.includes(state.models[1])) state.models[1] = "";
  showModels();
  showAll();
}

function askForKey() {
  at("key-field").hidden = false;
  if (at("notice-key")) return;
  const field = el("input", { type: "password", autocomplete: "off", "aria-label": "Key" });
  const form = el("form", { onsubmit: (event) => (event.preventDefault(), useKey(field.value)) }, field, " ", el("button", {}, "Use"));
  const words = key() ? "The key is not this server's. Enter another one:" : "This server asks for its key:";
  notify("key", words, { calm: !key(), extra: [form] });
  field.focus();
}

function useKey(value) {
  setKey(value.trim());
  at("settings").querySelector("[name=key]").value = value.trim();
  notify("key", "");
  connect();
}

function showModels() {
  const option = (value, words) => el("option", { value }, words);
  const words = ({ id, burn_vlm: own }) => (own?.adapter ? `${id} (adapter)` : id);
  at("model-0").replaceChildren(...models.map((model) => option(model.id, words(model))));
  at("model-1").replaceChildren(option("", "no other"), ...models.map((model) => option(model.id, words(model))));
  [0, 1].forEach((place) => (at(`model-${place}`).value = state.models[place]));
  at("beside").hidden = models.length < 2;
  const own = described(state.models[0]) ?? {};
  for (const name of ["temperature", "top_p", "top_k", "repetition_penalty", "max_tokens"]) {
    at("settings").querySelector(`[name=${name}]`).placeholder = own[name] ?? (name === "top_k" ? "all" : "1");
  }
  const chosen = state.models.filter(Boolean).map((model) => described(model) ?? {});
  at("attach").disabled = chosen.every((own) => own.pictures === false);
  const videos = chosen.some((own) => own.videos);
  at("files").accept = videos ? "image/*,video/*,.mkv" : "image/*";
}

async function addFiles(files) {
  const isPicture = (file) => file.type.startsWith("image/") || /\.(heic|heif|avif|tiff?|bmp)$/i.test(file.name);
  const shown = [...files].filter((file) => isPicture(file) || videoType(file));
  if (shown.length < files.length) notify("failed", "Only pictures and videos can be shown; the other files were left out.");
  for (const file of shown) {
    try {
      await addPicture(file);
    } catch (error) {
      fail(error);
    }
  }
  showDraft();
  save();
  at("question").focus();
}

function fitQuestion() {
  const question = at("question");
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight + 2}px`;
}

function send() {
  const question = at("question");
  const text = question.value.trim();
  const shown = state.draft.pictures;
  if (running.size > 0 || (!text && shown.length === 0)) return;
  if (!state.models[0]) {
    connect();
    return;
  }
  state.draft = { text: "", pictures: [] };
  question.value = "";
  fitQuestion();
  notify("failed", "");
  askNew(text, shown);
  showDraft();
  scrollDown(true);
}

function listen() {
  const on = (id, event, listener) => at(id).addEventListener(event, listener);
  for (const place of [0, 1]) {
    on(`model-${place}`, "change", (event) => {
      state.models[place] = event.target.value;
      showModels();
      showAll();
      save();
    });
  }
  on("new", "click", () => {
    at("question").value = "";
    fitQuestion();
    startNew().then(showDraft);
  });
  on("composer", "submit", (event) => {
    event.preventDefault();
    send();
  });
  on("stop", "click", stopAll);
  on("attach", "click", () => at("files").click());
  on("files", "change", async (event) => {
    const files = [...event.target.files];
    event.target.value = "";
    await addFiles(files);
  });
  on("question", "input", (event) => {
    state.draft.text = event.target.value;
    fitQuestion();
    showDraft();
    saveSoon();
  });
  on("question", "keydown", (event) => {
    // A phone's keyboard has no other key for a new line.
    const touch = matchMedia("(pointer: coarse)").matches;
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || touch) return;
    event.preventDefault();
    send();
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    addFiles(files);
  });
  let depth = 0;
  const overFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const showDrop = (by) => (event) => {
    if (!overFiles(event)) return;
    event.preventDefault();
    depth = Math.max(0, depth + by);
    at("drop").hidden = depth === 0;
  };
  document.addEventListener("dragenter", showDrop(1));
  document.addEventListener("dragleave", showDrop(-1));
  document.addEventListener("dragover", (event) => overFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!overFiles(event)) return;
    event.preventDefault();
    depth = 0;
    at("drop").hidden = true;
    addFiles(event.dataTransfer.files);
  });
  listenToDialogs(on);
  const tokenOf = (event) => (event.target instanceof Element ? event.target.closest(".token") : null);
  on("log", "pointerover", (event) => event.pointerType === "mouse" && showTip(tokenOf(event)));
  on("log", "pointerleave", () => showTip(null));
  document.addEventListener("click", (event) => showTip(tokenOf(event)));
  on("log", "scroll", () => showTip(null));
  on("log", "keydown", walkTokens);
  document.addEventListener("keydown", (event) => event.key === "Escape" && showTip(null));
  addEventListener("pagehide", () => save());
}

// With the keys: an answer has the focus, the arrows go from word to word.
function walkTokens(event) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const tokens = step && event.target.matches(".said") ? [...event.target.querySelectorAll(".token")] : [];
  if (tokens.length === 0) return;
  event.preventDefault();
  const now = tokens.findIndex((token) => token.classList.contains("on"));
  showTip(tokens[Math.max(0, Math.min(tokens.length - 1, now + step))]);
}

function listenToDialogs(on) {
  const settings = at("settings").querySelector("form");
  on("open-settings", "click", () => {
    for (const field of settings.elements) {
      if (field.type === "checkbox") field.checked = state.settings[field.name];
      else if (field.name === "key") field.value = key();
      else if (field.name) field.value = state.settings[field.name];
    }
    at("settings").showModal();
  });
  settings.addEventListener("input", ({ target: field }) => {
    if (field.name === "key") return;
    // A number that the browser cannot read is empty.
    state.settings[field.name] = field.type === "checkbox" ? field.checked : field.value;
    showFrame();
    saveSoon();
  });
  settings.elements.key.addEventListener("change", (event) => useKey(event.target.value));
  const exported = (work) => () => Promise.resolve().then(work).catch((error) => (at("export").close(), fail(error)));
  on("open-export", "click", () => {
    at("second-sample").hidden = places().length < 2;
    at("export").showModal();
  });
  on("export-json", "click", exported(async () => download("conversation.json", await wholeConversation())));
  for (const place of [0, 1]) {
    on(`export-sample-${place}`, "click", exported(async () => download("sample.json", await trainingSample(place))));
  }
  on("import", "click", () => at("import-file").click());
  on("import-file", "change", (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (!file) return;
    const read = exported(async () => {
      await readConversation(await file.text());
      at("export").close();
      showDraft();
      await connect();
    });
    read();
  });
  // A click beside a dialog closes it.
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }
}

async function main() {
  listen();
  if (!(await store.open())) {
    notify("kept", "This browser keeps nothing here (a private window?): the conversation is gone when the page is.", { calm: true });
  }
  await restore().catch((error) => notify("kept", `What was kept cannot be read: ${error.message}.`));
  at("question").value = state.draft.text;
  showDraft();
  showAll();
  fitQuestion();
  await connect();
  document.documentElement.dataset.ready = "true";
}

main();
