// The shell: which view is shown, the token, questions, and whether the gateway is there.

import { onTokenNeeded, setToken, get, Refused, Unreachable } from "./api.js";
import { h, state, text } from "./dom.js";
import { Live } from "./live.js";
import * as accounts from "./accounts.js";
import * as config from "./config.js";
import * as connections from "./connections.js";
import * as consoles from "./consoles.js";
import * as events from "./events.js";
import * as listeners from "./listeners.js";
import * as overview from "./overview.js";
import * as upstreams from "./upstreams.js";

const VIEWS = { overview, listeners, connections, upstreams, accounts, consoles, config, events };

/** How often a view looks again. */
const REFRESH_MS = 2_000;

const main = document.getElementById("main");
const dialog = document.getElementById("dialog");
const banner = document.getElementById("banner");
const live = new Live();

/** What a view works with. */
const page = {
  live,

  /** Does something that changes the gateway, says what came of it, and looks again. */
  async act(done, work) {
    try {
      const result = await work();
      say(typeof done === "function" ? done(result) : done);
      return result;
    } catch (error) {
      say(error.message, true);
      return undefined;
    } finally {
      look();
    }
  },

  /** Asks before something that is not taken back. */
  confirm(title, details, action) {
    return question(title, [h("p", {}, details)], [
      { name: "Cancel", value: false },
      { name: action, value: true, danger: true },
    ]);
  },

  /** Asks for a value; undefined if there is none. */
  async prompt(title, label, input) {
    const yes = await question(title, [h("label", {}, label, input)], [
      { name: "Cancel", value: false },
      { name: "OK", value: true, primary: true },
    ], input);
    return yes ? input.value : undefined;
  },

  look: () => look(),
};

// === Questions ===

let queue = Promise.resolve();

/** A dialog with buttons; resolves with the value of the one that is pressed, `false` on Escape. */
function question(title, content, buttons, input) {
  const asked = queue.then(() => new Promise((answer) => {
    const close = (value) => {
      dialog.close();
      answer(value);
    };
    const made = buttons.map(({ name, value, danger, primary }) => h("button", {
      type: "button", class: primary ? "primary" : danger ? "danger" : "", onclick: () => close(value),
    }, name));
    dialog.replaceChildren(h("h2", { id: "dialog-title" }, title), ...content, h("div", { class: "row" }, made));
    dialog.oncancel = () => answer(false);
    input?.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        close(true);
      }
    });
    dialog.showModal();
    (input ?? made[0]).focus();
  }));
  queue = asked.catch(() => {});
  return asked;
}

onTokenNeeded(async (wasWrong) => {
  const input = h("input", { type: "password", autocomplete: "off", spellcheck: "false" });
  const title = wasWrong ? "That token is not known (any more)" : "A token is needed";
  const why = h("p", { class: "dim" }, "It is kept for this tab only, and sent in a header.");
  const label = h("label", {}, "Token", input);
  while (!(await question(title, [why, label], [{ name: "Use it", value: true, primary: true }], input))) {
    // There is nothing to be seen without one.
  }
  setToken(input.value.trim());
});

/** Says something for a while. */
function say(words, isFailure = false) {
  const note = h("div", { class: isFailure ? "failure" : "" }, words);
  const toast = document.getElementById("toast");
  toast.append(note);
  while (toast.children.length > 3) toast.firstChild.remove();
  setTimeout(() => note.remove(), isFailure ? 8_000 : 3_500);
}

// === The gateway's state ===

live.addEventListener("disconnected", () => {
  banner.hidden = false;
  banner.className = "";
  text(banner, "The gateway does not answer. Trying again…");
});

live.addEventListener("connected", () => {
  if (banner.hidden) return;
  banner.className = "back";
  text(banner, "The gateway is back.");
  setTimeout(() => { banner.hidden = banner.className === "back"; }, 3_000);
  about();
  look();
});

live.addEventListener("event", ({ detail }) => {
  if (detail.kind === "lifecycle") about();
});

async function about() {
  try {
    const [info, drain] = await Promise.all([get("api/v1/info"), get("api/v1/drain")]);
    const pill = state(drain.state);
    pill.id = "state";
    pill.setAttribute("role", "status");
    document.getElementById("state").replaceWith(pill);
    text(document.getElementById("about"), `${info.version} · ${location.host} · ${info.config_path ?? "no file"}`);
  } catch {
    // The banner says so.
  }
}

// === Views ===

let shown = { name: "", stop() {}, async look() {} };
let looking = null;

const links = Object.entries(VIEWS).map(([name, view]) => h("li", {}, h("a", { href: `#/${name}` }, view.title)));
document.getElementById("nav").append(...links);

/** Shows what the address names: `#/connections?listener=echo`. */
function show() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/").map(decodeURIComponent);
  const known = Object.hasOwn(VIEWS, name) ? name : "overview";
  shown.stop?.();
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.hash === `#/${known}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${VIEWS[known].title} – polygate`;
  main.replaceChildren();
  const trouble = h("p", { class: "bad", role: "alert", hidden: true });
  const root = h("div");
  main.append(trouble, root);
  shown = { trouble, ...VIEWS[known].start(root, page, { rest, query: new URLSearchParams(query) }) };
  look();
}

/** Lets the view fetch what it shows. One look at a time; what is asked for meanwhile is done afterwards. */
async function look() {
  if (looking) {
    looking.again = true;
    return;
  }
  looking = { again: false };
  const view = shown;
  try {
    await view.look?.();
    if (view.trouble) view.trouble.hidden = true;
  } catch (error) {
    if (error instanceof Refused && view === shown) {
      view.trouble.hidden = false;
      text(view.trouble, error.message);
    } else if (!(error instanceof Unreachable) && view === shown) {
      throw error;
    }
  } finally {
    const again = looking.again;
    looking = null;
    if (again) look();
  }
}

window.addEventListener("hashchange", () => {
  show();
  main.focus();
});
document.addEventListener("visibilitychange", () => document.hidden || look());
setInterval(() => document.hidden || dialog.open || look(), REFRESH_MS);

show();
about();
live.run();
