import { at, get, post } from "./api.js";
import { clock, h, pill, text } from "./dom.js";

export const title = "Consoles";

export function start(root, page, { rest }) {
  const list = h("div", { class: "card talks" });
  const entries = h("div", { class: "talk", "aria-live": "polite" });
  const head = h("h3");
  const input = h("textarea", { rows: "2", "aria-label": "Answer", placeholder: "Answer; Enter sends, Shift and Enter begins a line" });
  input.style.minHeight = "3.5rem";
  const send = h("button", { type: "button", class: "primary", onclick: answer }, "Send");
  const talk = h("section", { class: "card", hidden: true }, head, entries, input, h("div", { class: "row" }, send));
  root.append(h("h2", {}, title), h("div", { class: "split" }, list, talk));

  let chosen = rest[0] ? Number(rest[0]) : null;
  let shown = null;
  let last = 0;
  const items = new Map();

  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      answer();
    }
  });

  async function answer() {
    if (chosen === null || input.value === "") return;
    const sent = await page.act("Sent", () => post(at(["api", "v1", "consoles", String(chosen), "reply"]), { text: `${input.value}\n` }));
    if (sent) input.value = "";
    input.focus();
  }

  function choose(id) {
    chosen = id;
    for (const [key, button] of items) {
      if (key === id) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    look();
    input.focus();
  }

  async function look() {
    const { items: talks } = await get("api/v1/consoles");
    for (const one of talks) {
      if (!items.has(one.id)) {
        items.set(one.id, h("button", { type: "button", onclick: () => choose(one.id) }));
      }
      const colour = !one.open ? pill("ended") : one.waiting ? pill("waits", "warn") : pill("answered", "good");
      items.get(one.id).replaceChildren(h("span", { class: "mono" }, one.peer), " ", colour, h("br"), h("span", { class: "dim" }, `${one.listener}, ${one.entries_total} lines, last at ${clock(one.last_at)}`));
    }
    for (const id of [...items.keys()].filter((key) => !talks.some((one) => one.id === key))) items.delete(id);
    const order = talks.sort((a, b) => Number(b.open && b.waiting) - Number(a.open && a.waiting)).map((one) => items.get(one.id));
    if (order.length === 0) list.replaceChildren(h("p", { class: "dim" }, "Nobody has spoken to a console."));
    else if (order.length !== list.children.length || order.some((node, at) => list.children[at] !== node)) list.replaceChildren(...order);
    talk.hidden = chosen === null;
    if (chosen === null) return;
    if (shown !== chosen) {
      [shown, last] = [chosen, 0];
      entries.replaceChildren();
    }
    const one = await get(at(["api", "v1", "consoles", String(chosen)], { after: last || "" }));
    text(head, `${one.peer} on ${one.listener}`);
    send.disabled = input.disabled = !one.open;
    for (const entry of one.entries) {
      if (entry.number <= last) continue;
      last = entry.number;
      entries.append(h("div", { class: `entry ${entry.from}`, title: clock(entry.time) }, entry.text.replace(/\r?\n$/, "")));
      entries.scrollTop = entries.scrollHeight;
    }
  }
  return { look };
}
