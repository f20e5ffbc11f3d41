import { at, get, patch, post, Refused, remove } from "./api.js";
import { Table, bytes, clock, field, h, pill, time } from "./dom.js";
import { columns, killing } from "./connections.js";

export const title = "Accounts";

const path = (account) => at(["api", "v1", "accounts", account.name]);

export function start(root, page) {
  const change = (account, what, done) => page.act(`${account.name} ${done}`, () => patch(path(account), what));
  const table = new Table([
    { title: "Name", show: (a) => a.name },
    { title: "", show: (a) => (a.disabled ? pill("disabled", "warn") : a.read_only ? pill("read-only") : pill("active", "good")) },
    { title: "Used", show: (a) => h("span", {}, h("meter", { min: "0", max: String(Math.max(a.quota_bytes, 1)), value: String(a.used_bytes), "aria-label": "used" }), `${bytes(a.used_bytes)} of ${bytes(a.quota_bytes)}`) },
    { title: "Made", show: (a) => time(a.created_at) },
    { title: "Last login", show: (a) => time(a.last_login_at) },
    { title: "", actions: () => [
      { name: "Disable", may: (a) => !a.disabled, run: (a) => change(a, { disabled: true }, "is disabled") },
      { name: "Enable", may: (a) => a.disabled, run: (a) => change(a, { disabled: false }, "may log in") },
      { name: "Read-only on or off", run: (a) => change(a, { read_only: !a.read_only }, a.read_only ? "may write" : "may read only") },
      { name: "Quota…", run: async (a) => {
        const input = h("input", { type: "number", min: "0", value: String(Math.round(a.quota_bytes / 1048576)) });
        const mib = await page.prompt(`Quota of ${a.name}`, "MiB", input);
        if (mib) change(a, { quota_bytes: Math.round(Number(mib) * 1048576) }, "has its quota");
      } },
      { name: "Password…", run: async (a) => {
        const input = h("input", { type: "password", autocomplete: "new-password" });
        const password = await page.prompt(`A new password for ${a.name}`, "Password", input);
        if (password) change(a, { password }, "has its password");
      } },
      { name: "Remove…", danger: true, run: async (a) => {
        if (await page.confirm(`Remove ${a.name}?`, "Nobody can log in by that name any more, and its sessions end.", "Remove")) {
          page.act(`${a.name} is removed`, () => remove(path(a)));
        }
      } },
    ] },
  ], { none: "There is no account yet" });
  const name = h("input", { autocomplete: "off", spellcheck: "false" });
  const password = h("input", { type: "password", autocomplete: "new-password" });
  const add = h("button", { type: "button", class: "primary", onclick: async () => {
    const made = await page.act(`${name.value} is added`, () => post("api/v1/accounts", { name: name.value, password: password.value }));
    if (made) name.value = password.value = "";
  } }, "Add");
  const form = h("div", { class: "row" }, field("Name", name), field("Password", password), add);
  const none = h("p", { class: "dim", hidden: true });
  const sessions = new Table([...columns, killing(page)], { caption: "Sessions and transfers under way", none: "Nobody is connected", key: (c) => c.id });
  const recent = new Table([
    { title: "Time", show: (e) => clock(e.data.time) },
    { title: "Listener", show: (e) => e.data.listener },
    { title: "User", show: (e) => e.data.user },
    { title: "What", show: (e) => (e.kind === "login" ? "login" : e.data.kind) },
    { title: "", show: (e) => (e.data.ok ? pill("ok", "good") : pill(e.data.reason ?? "failed", "bad")) },
    { title: "File", wrap: true, show: (e) => e.data.path ?? "" },
    { title: "Size", number: true, show: (e) => (e.data.bytes === undefined ? "" : bytes(e.data.bytes)) },
  ], { caption: "Logins and transfers", none: "None is remembered", key: (e) => e.id });
  root.append(h("h2", {}, title), none, form, table.node, sessions.node, recent.node);

  return {
    async look() {
      recent.update(page.live.kept.filter((e) => e.kind === "login" || e.kind === "transfer").slice(0, 50));
      const { items: listeners } = await get("api/v1/listeners");
      const theirs = listeners.filter((l) => l.type === "ftp" || l.type === "json-ftp");
      const lists = await Promise.all(theirs.map((l) => get(at(["api", "v1", "connections"], { listener: l.name, limit: 100 }))));
      sessions.update(lists.flatMap((list) => list.items));
      try {
        table.update((await get("api/v1/accounts")).items);
        form.hidden = table.node.hidden = false;
        none.hidden = true;
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        form.hidden = table.node.hidden = true;
        none.hidden = false;
        none.textContent = error.message;
      }
    },
  };
}
