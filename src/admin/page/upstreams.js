import { at, get, patch } from "./api.js";
import { Table, count, h, pill } from "./dom.js";

export const title = "Upstreams";

const COLOURS = { ready: "good", drain: "warn", down: "" };

export function start(root, page) {
  const tables = new Map();
  const none = h("p", { class: "dim" }, "No upstream is configured.");
  const place = h("div");
  root.append(h("h2", {}, title), none, place);

  const set = (upstream, change, done) => (e) =>
    page.act(`${e.endpoint} ${done}`, () => patch(at(["api", "v1", "upstreams", upstream, e.endpoint]), change));
  const table = (upstream) => new Table([
    { title: "Endpoint", show: (e) => h("span", { class: "mono" }, e.endpoint) },
    { title: "Serves", show: (e) => (e.up ? pill("up", "good") : pill("down", "bad")) },
    { title: "Wanted", show: (e) => pill(e.state, COLOURS[e.state]) },
    { title: "Probes", show: (e) => (e.ejected ? pill("ejected", "bad") : e.healthy ? pill("healthy", "good") : pill("unhealthy", "bad")) },
    { title: "Weight", number: true, show: (e) => `${e.weight}${e.backup ? " (backup)" : ""}` },
    { title: "Open", number: true, show: (e) => count(e.connections_active) },
    { title: "Connects", number: true, show: (e) => count(e.connects_total) },
    { title: "Failed", number: true, show: (e) => count(e.connect_failures_total) },
    { title: "", actions: () => [
      { name: "Ready", may: (e) => e.state !== "ready", run: set(upstream, { state: "ready" }, "is ready") },
      { name: "Drain", may: (e) => e.state !== "drain", run: set(upstream, { state: "drain" }, "keeps what it has") },
      { name: "Down", may: (e) => e.state !== "down", run: set(upstream, { state: "down" }, "is taken out") },
      { name: "Weight…", run: async (e) => {
        const input = h("input", { type: "number", min: "1", max: "1000", value: String(e.weight) });
        const weight = await page.prompt(`Weight of ${e.endpoint}`, "1 to 1000, until a reload changes the upstream", input);
        if (weight) set(upstream, { weight: Number(weight) }, "has its weight")(e);
      } },
    ] },
  ], { caption: upstream, none: "It has no endpoint", key: (e) => e.endpoint });

  return {
    async look() {
      const { items } = await get("api/v1/upstreams");
      none.hidden = items.length > 0;
      for (const upstream of items) {
        if (!tables.has(upstream.name)) {
          tables.set(upstream.name, table(upstream.name));
          place.append(tables.get(upstream.name).node);
        }
        tables.get(upstream.name).update(upstream.endpoints);
      }
      for (const [name, { node }] of tables) {
        if (!items.some((upstream) => upstream.name === name)) {
          node.remove();
          tables.delete(name);
        }
      }
    },
  };
}
