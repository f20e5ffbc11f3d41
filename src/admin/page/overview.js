import { at, get, post, remove } from "./api.js";
import { Chart, Table, bytes, choice, count, duration, h, pill, rate, text, time } from "./dom.js";

export const title = "Overview";

const FIGURES = [
  ["Connections", (o) => o.totals.connections_active, count],
  ["New a second", (o) => o.rates[0].connections_accepted_per_second, rate],
  ["Received a second", (o) => o.rates[0].received_bytes_per_second, bytes],
  ["Sent a second", (o) => o.rates[0].sent_bytes_per_second, bytes],
  ["Datagrams a second", (o) => o.rates[0].datagrams_received_per_second, rate],
];

export function start(root, page) {
  const figures = FIGURES.map(([label, of, show]) => {
    const [figure, chart] = [h("div", { class: "figure" }, "–"), new Chart(`${label}, the last 90 seconds`)];
    return { of, show, figure, chart, node: h("div", { class: "card" }, h("div", { class: "label" }, label), figure, chart.node) };
  });
  const facts = h("dl");
  const warnings = h("div");
  const life = h("span");
  const talkers = new Table([
    { title: "Peer", show: (t) => h("a", { href: `#/${at(["connections"], { peer: t.name })}`, class: "mono" }, t.name) },
    { title: "Connections", number: true, show: (t) => count(t.connections) },
    { title: "Received", number: true, show: (t) => bytes(t.received_bytes) },
    { title: "Sent", number: true, show: (t) => bytes(t.sent_bytes) },
  ], { caption: "Who moves most", none: "Nobody is connected" });

  const drain = h("button", { type: "button", onclick: async () => {
    const yes = await page.confirm("Drain the gateway?", "It says on /readyz that it is not ready, stops accepting, and asks all connections to finish. It does not end, and can be taken back.", "Drain");
    if (yes) page.act("It drains", () => post("api/v1/drain"));
  } }, "Drain…");
  const undrain = h("button", { type: "button", onclick: () => page.act("It accepts again", () => remove("api/v1/drain")) }, "Take the drain back");
  const stop = h("button", { type: "button", class: "danger", onclick: async () => {
    const mode = choice([["graceful", "Let connections finish"], ["now", "Wait for nobody"]]);
    const how = await page.prompt("Shut the gateway down?", "How", mode);
    if (how) page.act("It ends", () => post("api/v1/shutdown", { mode: how }));
  } }, "Shut down…");

  root.append(
    h("h2", {}, title, life, h("span", { class: "spring" }), drain, undrain, stop),
    h("div", { class: "cards" }, figures.map((figure) => figure.node)),
    warnings,
    h("div", { class: "card" }, h("h3", {}, "Since the start"), facts),
    talkers.node,
  );

  const draw = (overview) => figures.forEach(({ of, show, figure, chart }) => {
    text(figure, show(of(overview)));
    chart.push(of(overview));
  });
  const heard = ({ detail }) => detail.kind === "stats" && draw(detail.data);
  page.live.addEventListener("event", heard);
  let first = true;

  return {
    stop: () => page.live.removeEventListener("event", heard),
    async look() {
      const [overview, drained, top] = await Promise.all([
        get("api/v1/overview"), get("api/v1/drain"), get(at(["api", "v1", "connections", "top"], { by: "bytes", group: "peer" })),
      ]);
      if (first) draw(overview);
      first = false;
      const { totals } = overview;
      life.replaceChildren(overview.ready ? pill("ready", "good") : pill("not ready", "bad"));
      undrain.disabled = drained.state === "running" || drained.ending !== null;
      drain.disabled = drained.state !== "running";
      const entries = {
        "Up for": duration(overview.uptime_seconds),
        "Listeners running": `${overview.listeners_running} of ${overview.listeners}`,
        "Configuration": `generation ${overview.generation}, taken over ${time(overview.last_reload.success_at)}${overview.last_reload.successful ? "" : "; the last reload failed"}`,
        "Connections accepted": count(totals.connections_accepted_total),
        "Connections rejected": count(totals.connections_rejected_total),
        "Datagrams received": `${count(totals.datagrams_received_total)}, ${count(totals.datagrams_dropped_total)} of them dropped`,
        "Received, sent": `${bytes(totals.received_bytes)}, ${bytes(totals.sent_bytes)}`,
        "Handler errors, panics": `${count(totals.handler_errors_total)}, ${count(totals.handler_panics_total)}`,
      };
      facts.replaceChildren(...Object.entries(entries).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
      warnings.replaceChildren(...overview.warnings.map((warning) => h("div", { class: "finding warning" }, warning.message ?? String(warning))));
      talkers.update(top.items.slice(0, 10));
    },
  };
}
