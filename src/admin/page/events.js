import { get, put } from "./api.js";
import { Table, choice, clock, duration, field, h, pill, text } from "./dom.js";

export const title = "Events";

const KINDS = ["config", "listener", "lifecycle", "connection", "login", "transfer", "limit", "panic", "upstream"];
const COLOURS = { panic: "bad", limit: "warn", lifecycle: "good" };

const words = (data) => Object.entries(data).filter(([key, value]) => key !== "time" && value !== null)
  .map(([key, value]) => `${key}=${typeof value === "object" ? JSON.stringify(value) : value}`).join(" ");

export function start(root, page) {
  const boxes = KINDS.map((kind) => [kind, h("input", { type: "checkbox", checked: kind !== "connection", onchange: chosen })]);
  const table = new Table([
    { title: "Time", show: (e) => clock(e.data.time) },
    { title: "Kind", show: (e) => pill(e.kind, e.data.ok === false ? "bad" : COLOURS[e.kind] ?? "") },
    { title: "What", show: (e) => words(e.data) },
  ], { none: "Nothing has happened yet", key: (e) => e.id });
  table.node.classList.add("log");

  const level = choice(["error", "warn", "info", "debug", "trace"], { "aria-label": "Level" });
  const span = choice([["60", "for a minute"], ["600", "for ten minutes"], ["3600", "for an hour"], ["", "until it is changed"]], { "aria-label": "For how long" });
  const now = h("span", { class: "dim" });
  const set = h("button", { type: "button", onclick: () => {
    const change = span.value ? { level: level.value, for_seconds: Number(span.value) } : { level: level.value };
    page.act(`The log is at ${level.value}`, () => put("api/v1/log", change));
  } }, "Set");

  root.append(
    h("h2", {}, title),
    h("div", { class: "row" }, field("Level of the log", level), field("How long", span), set, now),
    h("div", { class: "row", role: "group", "aria-label": "Kinds" }, boxes.map(([kind, box]) => h("label", { class: "inline" }, box, kind))),
    table.node,
  );

  function chosen() {
    page.live.follow(boxes.find(([kind]) => kind === "connection")[1].checked);
    draw();
  }
  let due = false;
  function draw() {
    due = false;
    const wanted = new Set(boxes.filter(([, box]) => box.checked).map(([kind]) => kind));
    table.update(page.live.kept.filter((event) => wanted.has(event.kind)).slice(0, 200));
  }
  // Once a frame at most: connections may come by the thousand.
  const heard = ({ detail }) => {
    if (detail.kind === "stats" || due) return;
    due = true;
    requestAnimationFrame(draw);
  };
  page.live.addEventListener("event", heard);
  draw();

  return {
    stop() {
      page.live.removeEventListener("event", heard);
      page.live.follow(false);
    },
    async look() {
      const log = await get("api/v1/log");
      text(now, log.for_seconds === null ? `now ${log.level}` : `now ${log.level}, for another ${duration(log.for_seconds)}`);
    },
  };
}
