import { at, get, remove } from "./api.js";
import { Table, bytes, choice, count, duration, field, h, pill, text } from "./dom.js";

export const title = "Connections";

const PAGE = 100;
const SORTS = [
  ["id", "the oldest first"], ["-id", "the newest first"], ["-age_seconds", "age"], ["-idle_seconds", "idle for"],
  ["-received_bytes", "received"], ["-sent_bytes", "sent"],
];

const details = (c) => Object.entries(c.details).filter(([, value]) => value !== "").map(([key, value]) => `${key}=${value}`).join(" ");

/** The columns that other views show as well. */
export const columns = [
  { title: "ID", number: true, show: (c) => String(c.id) },
  { title: "Listener", show: (c) => c.listener },
  { title: "Peer", show: (c) => h("span", { class: "mono" }, c.peer) },
  { title: "State", show: (c) => pill(c.kind === "flow" ? "flow" : c.state, c.state === "open" ? "good" : "warn") },
  { title: "Age", number: true, show: (c) => duration(c.age_seconds) },
  { title: "Idle", number: true, show: (c) => duration(c.idle_seconds) },
  { title: "Received", number: true, show: (c) => bytes(c.received_bytes) },
  { title: "Sent", number: true, show: (c) => bytes(c.sent_bytes) },
  { title: "Details", wrap: true, show: details },
];

export function killing(page) {
  return { title: "", actions: () => [{ name: "Close", danger: true, run: (c) => page.act(`${c.peer} is closed`, () => remove(at(["api", "v1", "connections", String(c.id)]))) }] };
}

export function start(root, page, { query }) {
  const listener = choice([["", "all"]]);
  const transport = choice([["", "all"], "tcp", "unix", "udp", "unixgram"]);
  const peer = h("input", { type: "search", placeholder: "10.0.0.7, 10.0.0.0/8, uid=1000", value: query.get("peer") ?? "", spellcheck: "false" });
  const sort = choice(SORTS);
  const total = h("span", { class: "dim", role: "status" });
  let cursor = "";
  let next = null;
  const filters = () => ({ listener: listener.value, transport: transport.value, peer: peer.value.trim() });
  const from = (start) => {
    cursor = start;
    page.look();
  };
  const first = h("button", { type: "button", onclick: () => from("") }, "First");
  const more = h("button", { type: "button", onclick: () => next && from(next) }, "Next");
  const closeAll = h("button", { type: "button", class: "danger", onclick: async () => {
    const which = Object.entries(filters()).filter(([, value]) => value).map(([key, value]) => `${key} ${value}`).join(", ");
    if (await page.confirm("Close all of these?", `Every connection with ${which} is ended at once.`, "Close them")) {
      page.act((done) => `${count(done.closed)} closed`, () => remove(at(["api", "v1", "connections"], filters())));
    }
  } }, "Close all that match…");
  const table = new Table([...columns, killing(page)], { none: "No connection matches", key: (c) => c.id });
  for (const input of [listener, transport, sort, peer]) input.addEventListener("change", () => from(""));
  root.append(
    h("h2", {}, title, total),
    h("div", { class: "row" }, field("Listener", listener), field("Transport", transport), field("Peer", peer), field("Order", sort), closeAll),
    table.node,
    h("div", { class: "row" }, first, more),
  );

  let known = "";
  async function look() {
    const { items: listeners } = await get("api/v1/listeners");
    const names = listeners.map((l) => l.name);
    if (known !== names.join("\n")) {
      known = names.join("\n");
      const chosen = listener.value || (query.get("listener") ?? "");
      listener.replaceChildren(h("option", { value: "" }, "all"), ...names.map((name) => h("option", {}, name)));
      listener.value = names.includes(chosen) ? chosen : "";
    }
    const list = await get(at(["api", "v1", "connections"], { ...filters(), sort: sort.value, limit: PAGE, cursor }));
    next = list.next_cursor;
    table.update(list.items);
    text(total, `${count(list.total)} in all`);
    first.disabled = cursor === "";
    more.disabled = next === null;
    closeAll.disabled = Object.values(filters()).every((value) => value === "");
  }
  return { look };
}
