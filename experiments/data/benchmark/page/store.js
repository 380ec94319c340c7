"use strict";
const PAGE = JSON.parse(document.querySelector("#task").textContent);
const TASK = PAGE.task;
const ITEMS = new Map(TASK.items.map((item) => [item.id, item]));
const $ = (selector) => document.querySelector(selector);

// What was done: in this browser, and with a server there, as soon as it answers. Keys have the task in them, since all pages that are
// files share one place.
const store = (() => {
  const hash = (text) => {
    let sum = 0x811c9dc5;
    for (const c of text) sum = Math.imul(sum ^ c.codePointAt(0), 0x01000193) >>> 0;
    return sum.toString(16);
  };
  const key = "burn-vlm-calibrate:" + hash(JSON.stringify([TASK.name, TASK.language, TASK.items.map((item) => [item.id, item.texts])])) + ":";
  const read = (name, otherwise) => {
    try { return JSON.parse(localStorage.getItem(key + name)) ?? otherwise; } catch { return otherwise; }
  };
  const write = (name, value) => {
    try {
      if (value === null) localStorage.removeItem(key + name); else localStorage.setItem(key + name, JSON.stringify(value));
      return true;
    } catch { return false; }
  };
  const records = new Map();
  let next = 0, last = 0;

  // A record that somebody could have made here. What comes from a file may be anything.
  const isRecord = (record) => {
    const item = record && ITEMS.get(record.item);
    const isText = (value) => typeof value === "string" && value.trim() !== "";
    if (!item || !isText(record.id) || !isText(record.annotator) || !Number.isSafeInteger(record.time) || record.language !== TASK.language) return false;
    if (record.event === "comment") return isText(record.text);
    if (record.event !== "refine" && record.event !== "vote") return false;
    const texts = record.texts;
    return texts && Object.keys(texts).length === item.texts.length && item.texts.every((text) => isText(texts[text.name]));
  };
  const learn = (record) => {
    if (!isRecord(record) || records.has(record.id)) return false;
    records.set(record.id, record);
    last = Math.max(last, record.time);
    return true;
  };
  const pending = () => read("pending", []);
  const kept = () => PAGE.server ? write("pending", pending()) : write("records", [...records.values()]);

  return {
    read, write, hash,
    get unsent() { return PAGE.server ? pending().length : 0; },
    all: () => [...records.values()].sort((a, b) => a.time - b.time || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)),
    begin() { for (const record of read(PAGE.server ? "pending" : "records", [])) learn(record); },
    // Keeps what was done; false if the browser has no place for it.
    add(annotator, item, event) {
      const bytes = crypto.getRandomValues(new Uint8Array(16));
      const id = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      const record = { id, time: Math.max(Date.now(), last + 1), annotator, language: TASK.language, item, ...event };
      learn(record);
      return PAGE.server ? write("pending", [...pending(), record]) : kept();
    },
    // Adds what a file holds: how many records are new, and how many are none of this task's.
    load(text) {
      let added = [], foreign = 0;
      for (const line of text.split("\n").filter((line) => line.trim())) {
        let record = null;
        try { record = JSON.parse(line); } catch { /* counted below */ }
        if (!isRecord(record)) { foreign += 1; continue; }
        if (learn(record)) added.push(record);
      }
      const fits = PAGE.server ? write("pending", [...pending(), ...added]) : kept();
      return { added: added.length, foreign, fits };
    },
    // Sends what is not kept there yet and fetches what others did; what the server refuses is returned.
    async sync() {
      let refused = [];
      const waiting = pending();
      if (waiting.length) {
        const reply = await fetch("/records", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(waiting) });
        const told = await reply.json();
        if (!reply.ok) throw new Error(told.error?.message ?? reply.statusText);
        refused = told.refused;
        refused.forEach(({ id }) => records.delete(id));
        const sent = new Set(waiting.map((record) => record.id));
        write("pending", pending().filter((record) => !sent.has(record.id)));
      }
      const reply = await fetch("/records?since=" + next);
      const told = await reply.json();
      told.records.forEach(learn);
      next = told.next;
      return refused;
    },
  };
})();

// The versions of an item as the program decides them too: the last of each person, equal ones once; the machine's while fewer people
// than there should be versions have written theirs.
const same = (a, b) => Object.keys(a).length === Object.keys(b).length && Object.keys(a).every((name) => a[name] === b[name]);
const machine = (item) => Object.fromEntries(item.texts.map((text) => [text.name, text.machine]));
function stateOf(item) {
  const refined = new Map(), votes = new Map(), comments = [];
  for (const record of recordsOf(item.id)) {
    if (record.event === "refine") { refined.delete(record.annotator); refined.set(record.annotator, record.texts); }
    else if (record.event === "vote") votes.set(record.annotator, record.texts);
    else comments.push(record);
  }
  const versions = [];
  for (const texts of refined.values()) if (!versions.some((version) => same(version, texts))) versions.push(texts);
  if (refined.size < PAGE.versions && !versions.some((version) => same(version, machine(item)))) versions.unshift(machine(item));
  return { refined, votes, comments, versions };
}
let byItem = new Map();
function index() {
  byItem = new Map();
  for (const record of store.all()) byItem.set(record.item, [...(byItem.get(record.item) ?? []), record]);
}
const recordsOf = (id) => byItem.get(id) ?? [];
