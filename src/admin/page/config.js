import { get, getText, post, postText, Refused } from "./api.js";
import { h, pill, time } from "./dom.js";

export const title = "Configuration";

/** A finding, with its line and a caret where the text is at hand. */
function finding({ severity, file, line, column, message, help }, lines) {
  const source = lines?.[line - 1];
  const place = `${file ?? "line"}${file ? ":" : " "}${line}:${column}`;
  return h("div", { class: `finding ${severity}` },
    h("strong", {}, message), " ", h("span", { class: "dim mono" }, place),
    source !== undefined && h("pre", {}, `${source}\n`, h("span", { class: "caret" }, `${source.slice(0, column - 1).replace(/[^\t]/g, " ")}^`)),
    help && h("div", { class: "dim" }, help));
}

/** What a plan would do, or has done. */
function plan(report) {
  const { added, removed, changed, unchanged, settings, restart_required: restart } = report;
  const rows = [
    ["added", added], ["removed", removed], ["changed", changed.map((one) => `${one.name} (${one.what.join(", ")})`)],
    ["settings", settings], ["only at the next start", restart], ["unchanged", unchanged],
  ].filter(([, names]) => names.length > 0);
  const nothing = [added, removed, changed, settings, restart].every((names) => names.length === 0);
  return h("div", {}, nothing && h("p", {}, "There is nothing to do."), h("dl", {}, rows.map(([what, names]) => [h("dt", {}, what), h("dd", {}, names.join(", "))])));
}

export function start(root, page) {
  const effective = h("pre", { class: "text", tabindex: "0", "aria-label": "The configuration that runs" });
  const about = h("span", { class: "dim" });
  const result = h("div", { role: "status" });
  const input = h("textarea", { spellcheck: "false", "aria-label": "A configuration to be checked", placeholder: "Paste a configuration here to check it against what runs." });

  async function work(does, lines) {
    try {
      result.replaceChildren(...await does());
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      result.replaceChildren(h("p", {}, pill("refused", "bad"), ` ${error.message}`), ...error.errors.map((one) => finding(one, lines)));
    }
    result.scrollIntoView({ block: "nearest" });
  }
  const report = (words, answer) => [
    h("p", {}, pill(words, "good"), ` generation ${answer.generation}, in ${(answer.duration_seconds * 1000).toFixed(0)} ms`),
    plan(answer.plan), ...answer.warnings.map((one) => finding(one)),
  ];
  const dryRun = h("button", { type: "button", onclick: () => work(async () => report("would be taken over", await post("api/v1/config/reload?dry_run=true"))) }, "What would a reload do?");
  const reload = h("button", { type: "button", class: "primary", onclick: () => work(async () => {
    const answer = await post("api/v1/config/reload");
    look();
    return report("taken over", answer);
  }) }, "Reload from the file");
  const check = h("button", { type: "button", onclick: () => {
    const lines = input.value.split("\n");
    work(async () => {
      const answer = await postText("api/v1/config/validate", input.value);
      const verdict = answer.valid ? pill("valid", "good") : pill("not valid", "bad");
      return [h("p", {}, verdict, answer.valid ? " As the file, it would do this:" : ""), ...(answer.plan ? [plan(answer.plan)] : []), ...answer.diagnostics.map((one) => finding(one, lines))];
    }, lines);
  } }, "Check this text");
  const take = h("button", { type: "button", onclick: () => { input.value = effective.textContent; } }, "Begin with what runs");

  root.append(
    h("h2", {}, title, about, h("span", { class: "spring" }), dryRun, reload),
    result,
    h("h3", {}, "What runs, with every default"),
    effective,
    h("h3", {}, h("br"), "Check a text (nothing is changed)"),
    input,
    h("div", { class: "row" }, check, take),
  );

  let generation = null;
  async function look() {
    const info = await get("api/v1/info");
    if (info.generation === generation) return;
    generation = info.generation;
    about.textContent = `${info.config_path ?? "no file"}, generation ${generation}, taken over ${time(info.config_applied_at)}`;
    effective.textContent = await getText("api/v1/config", "application/toml");
  }
  return { look };
}
