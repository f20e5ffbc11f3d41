import { at, get, post } from "./api.js";
import { Table, bytes, count, h, state } from "./dom.js";

export const title = "Listeners";

const path = (name, verb) => at(["api", "v1", "listeners", name, verb]);

export function start(root, page, { rest }) {
  return rest[0] ? one(root, rest[0]) : all(root, page);
}

function all(root, page) {
  let before = new Map();
  const perSecond = (listener, key) => {
    const [old, seconds] = [before.get(listener.name), (listener.at - (before.get(listener.name)?.at ?? 0)) / 1000];
    return old && seconds > 0 ? `${bytes((listener[key] - old[key]) / seconds)}/s` : "–";
  };
  const table = new Table([
    { title: "Name", show: (l) => h("a", { href: `#/${at(["listeners", l.name])}` }, l.name) },
    { title: "State", show: (l) => state(l.state) },
    { title: "Handler", show: (l) => (l.handler === l.type ? l.type : `${l.handler} (${l.type})`) },
    { title: "Endpoints", show: (l) => h("ul", { class: "plain mono" }, l.endpoints.map((e) => h("li", {}, e.address + (l.tls ? " (TLS)" : "")))) },
    { title: "Open", number: true, show: (l) => h("a", { href: `#/${at(["connections"], { listener: l.name })}` }, count(l.connections_active)) },
    { title: "Accepted", number: true, show: (l) => count(l.connections_accepted_total + l.datagrams_received_total) },
    { title: "Refused", number: true, show: (l) => count(l.connections_rejected_total + l.datagrams_dropped_total) },
    { title: "In", number: true, show: (l) => perSecond(l, "received_bytes") },
    { title: "Out", number: true, show: (l) => perSecond(l, "sent_bytes") },
    { title: "", actions: () => [
      { name: "Pause", may: (l) => l.state === "running", run: (l) => page.act(`${l.name} is paused`, () => post(path(l.name, "pause"))) },
      { name: "Resume", may: (l) => l.state === "paused" || l.state === "draining", run: (l) => page.act(`${l.name} accepts`, () => post(path(l.name, "resume"))) },
      { name: "Drain", may: (l) => l.state === "running" || l.state === "paused", run: async (l) => {
        const input = h("input", { type: "number", min: "1", max: "86400", placeholder: "no limit" });
        const seconds = await page.prompt(`Drain ${l.name}?`, "Connections that have not finished after so many seconds are closed", input);
        if (seconds === undefined) return;
        const body = seconds === "" ? {} : { timeout_seconds: Number(seconds) };
        page.act(`${l.name} drains`, () => post(path(l.name, "drain"), body));
      } },
    ] },
  ], { none: "There is no listener" });
  root.append(h("h2", {}, title), table.node);
  return {
    async look() {
      const now = Date.now();
      const { items } = await get("api/v1/listeners");
      items.forEach((item) => { item.at = now; });
      table.update(items);
      before = new Map(items.map((item) => [item.name, item]));
    },
  };
}

/** A key and its value, objects as lists in lists. */
function shown(value) {
  if (value === null || value === undefined) return "off";
  if (Array.isArray(value)) return value.length > 0 ? h("ul", { class: "plain" }, value.map((item) => h("li", {}, shown(item)))) : "none";
  if (typeof value === "object") return list(value);
  return String(value);
}

function list(object) {
  return h("dl", {}, Object.entries(object).map(([key, value]) => [h("dt", {}, key), h("dd", {}, shown(value))]));
}

function one(root, name) {
  const parts = h("div");
  root.append(h("h2", {}, h("a", { href: "#/listeners" }, title), "›", name), parts);
  return {
    async look() {
      const { endpoints, options, limits, timeouts, tls, proxy_protocol, allow, deny, ...rest } = await get(at(["api", "v1", "listeners", name]));
      const cards = { "Now": rest, "Endpoints": endpoints, "Options": options, "Limits": limits, "Timeouts": timeouts, "TLS": tls, "PROXY protocol": proxy_protocol, "Networks": { allow, deny } };
      const fresh = h("div", {}, Object.entries(cards).map(([head, value]) => h("section", { class: "card" }, h("h3", {}, head), shown(value))));
      if (!parts.firstChild?.isEqualNode(fresh)) parts.replaceChildren(fresh);
    },
  };
}
