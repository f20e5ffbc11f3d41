// What happens, as it happens: the event stream, read by fetch so that the token goes in a header and never into a URL.

import { fetchWithToken } from "./api.js";

const KEPT = 500;
const SILENCE_MS = 40_000;
const HIDDEN_MS = 30_000;
const USUAL = ["config", "listener", "lifecycle", "login", "transfer", "limit", "panic", "upstream", "stats"];

/** Waits until the tab is looked at. */
function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((shown) => {
    document.addEventListener("visibilitychange", () => document.hidden || shown());
  });
}

/** Tells of `event`s, and of being `connected` or `disconnected`. */
export class Live extends EventTarget {
  constructor() {
    super();
    this.kept = [];
    this.lastId = "0";
    this.kinds = USUAL;
    this.isConnected = null;
    this.abort = new AbortController();
  }

  /** Whether connections are told, too. They are many. */
  follow(connections) {
    const kinds = connections ? [...USUAL, "connection"] : USUAL;
    if (kinds.length === this.kinds.length) return;
    this.kinds = kinds;
    this.abort.abort();
  }

  async run() {
    let wait = 250;
    document.addEventListener("visibilitychange", () => this.rest());
    for (;;) {
      this.abort = new AbortController();
      try {
        await visible();
        await this.read(() => { wait = 250; });
      } catch (error) {
        if (error.name === "AbortError" && !this.silent) continue;
      }
      this.silent = false;
      this.tell(false);
      await new Promise((done) => setTimeout(done, wait * (0.75 + Math.random() / 2)));
      wait = Math.min(wait * 2, 5_000);
    }
  }

  /** A tab that is hidden for a while lets its connection go: a browser opens few to a host. */
  rest() {
    clearTimeout(this.resting);
    if (document.hidden) this.resting = setTimeout(() => this.abort.abort(), HIDDEN_MS);
  }

  async read(begun) {
    const options = { headers: { "Last-Event-ID": this.lastId }, signal: this.abort.signal };
    const response = await fetchWithToken(`api/v1/events?kind=${this.kinds.join(",")}`, options);
    if (!response.ok) throw new Error(`status ${response.status}`);
    begun();
    this.tell(true);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let timer;
    for (;;) {
      clearTimeout(timer);
      timer = setTimeout(() => { this.silent = true; this.abort.abort(); }, SILENCE_MS);
      const { value, done } = await reader.read().finally(() => clearTimeout(timer));
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      blocks.forEach((block) => this.take(block));
    }
  }

  take(block) {
    const event = {};
    for (const line of block.split("\n")) {
      const end = line.indexOf(": ");
      if (end > 0) event[line.slice(0, end)] = line.slice(end + 2);
    }
    if (!event.data) return;
    this.lastId = event.id;
    const told = { id: event.id, kind: event.event, data: JSON.parse(event.data) };
    if (told.kind !== "stats") {
      this.kept.unshift(told);
      this.kept.length = Math.min(this.kept.length, KEPT);
    }
    this.dispatchEvent(new CustomEvent("event", { detail: told }));
  }

  tell(isConnected) {
    if (this.isConnected === isConnected) return;
    this.isConnected = isConnected;
    this.dispatchEvent(new Event(isConnected ? "connected" : "disconnected"));
  }
}
