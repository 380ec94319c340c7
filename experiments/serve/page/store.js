"use strict";

// What is kept across reloads, in the browser's database: the conversation under "conversation", each picture under "picture:ID". Where
// there is none (a private window), everything is kept as long as the page is open.
const store = {
  database: null,
  memory: new Map(),

  async open() {
    try {
      this.database = await new Promise((resolve, reject) => {
        const opening = indexedDB.open("burn-vlm", 1);
        opening.onupgradeneeded = () => opening.result.createObjectStore("kept");
        opening.onsuccess = () => resolve(opening.result);
        opening.onerror = () => reject(opening.error);
        opening.onblocked = () => reject(new Error("another tab has it"));
      });
    } catch {
      this.database = null;
    }
    return this.database !== null;
  },

  // Runs one request in a transaction of its own.
  run(mode, request) {
    return new Promise((resolve, reject) => {
      const transaction = this.database.transaction("kept", mode);
      const asked = request(transaction.objectStore("kept"));
      transaction.oncomplete = () => resolve(asked.result);
      transaction.onabort = () => reject(transaction.error ?? new Error("the browser's database refused it"));
    });
  },

  async get(key) {
    return this.database ? this.run("readonly", (kept) => kept.get(key)) : this.memory.get(key);
  },

  async put(key, value) {
    if (!this.database) {
      this.memory.set(key, value);
      return;
    }
    await this.run("readwrite", (kept) => kept.put(value, key));
  },

  async keys() {
    return this.database ? this.run("readonly", (kept) => kept.getAllKeys()) : [...this.memory.keys()];
  },

  async remove(key) {
    if (!this.database) {
      this.memory.delete(key);
      return;
    }
    await this.run("readwrite", (kept) => kept.delete(key));
  },
};

