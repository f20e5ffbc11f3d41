// Elements and the formats of figures. Whatever comes from the gateway becomes text, never markup: peers choose
// their own names.

/** An element: attributes (`on…` are listeners), then children; strings become text. */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Replaces the text of a node if it differs, so that a selection in it survives. */
export function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

/** A labelled field. */
export function field(label, input) {
  return h("label", {}, label, input);
}

/** A choice of `[value, text]` pairs, or of texts. */
export function choice(options, attributes = {}) {
  return h("select", attributes, options.map((option) => {
    const [value, shown] = Array.isArray(option) ? option : [option, option];
    return h("option", { value }, shown);
  }));
}

/** A word with a colour: `good`, `warn`, `bad`, or none. */
export function pill(word, colour = "") {
  return h("span", { class: `pill ${colour}` }, word);
}

const STATES = { running: "good", paused: "warn", draining: "warn", drained: "warn", stopped: "", stopping: "bad" };

/** The state of a listener or of the gateway. */
export function state(word) {
  return pill(word, STATES[word] ?? "");
}

/** `12,345`. */
export function count(n) {
  return Math.round(n).toLocaleString("en");
}

/** `1.5 KiB`. */
export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; n >= 1024 && at < units.length - 1; at++) n /= 1024;
  return `${at === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${units[at]}`;
}

/** A figure a second, with few digits. */
export function rate(n) {
  return n === 0 ? "0" : n < 10 ? n.toFixed(1) : count(n);
}

/** `3d 4h`, `2m 5s`, `0.4s`. */
export function duration(seconds) {
  if (seconds < 1) return `${seconds.toFixed(1)}s`;
  const parts = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
  const first = parts.findIndex(([, size]) => seconds >= size);
  return parts.slice(first, first + 2).map(([unit, size]) => {
    const n = Math.floor(seconds / size);
    seconds -= n * size;
    return n > 0 ? `${n}${unit}` : "";
  }).filter(Boolean).join(" ");
}

/** A time of the API in the reader's own zone. */
export function time(rfc3339) {
  return rfc3339 ? new Date(rfc3339).toLocaleString() : "–";
}

/** The time of day alone. */
export function clock(rfc3339) {
  return rfc3339 ? new Date(rfc3339).toLocaleTimeString() : "";
}

/**
 * A table whose rows stay the same elements while their figures change: focus, selection and scrolling survive.
 * A column has a `title`, `show(item)` (a text or a node), and may have `number`, `wrap` or `actions`.
 */
export class Table {
  constructor(columns, { caption, none, key, row } = {}) {
    Object.assign(this, { columns, none, key: key ?? ((item) => item.name), rows: new Map(), row });
    this.body = h("tbody");
    const heads = columns.map((column) => h("th", { scope: "col", class: this.kind(column) }, column.title));
    this.node = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption ?? none },
      h("table", {}, caption && h("caption", {}, caption), h("thead", {}, h("tr", {}, heads)), this.body));
  }

  kind(column) {
    return column.number ? "number" : column.wrap ? "wrap" : column.actions ? "actions" : "";
  }

  update(items) {
    const gone = new Set(this.rows.keys());
    const order = items.map((item) => {
      const key = this.key(item);
      gone.delete(key);
      let row = this.rows.get(key);
      if (!row) {
        row = h("tr", {}, this.columns.map((column) => h("td", { class: this.kind(column) })));
        this.rows.set(key, row);
      }
      this.columns.forEach((column, at) => this.fill(row.children[at], column, item));
      return row;
    });
    for (const key of gone) {
      this.rows.get(key).remove();
      this.rows.delete(key);
    }
    if (order.length === 0 && this.none) {
      this.body.replaceChildren(h("tr", {}, h("td", { class: "none", colspan: this.columns.length }, this.none)));
      return;
    }
    const same = order.length === this.body.children.length && order.every((row, at) => this.body.children[at] === row);
    if (!same) this.body.replaceChildren(...order);
  }

  fill(cell, column, item) {
    if (column.actions) {
      // Made once; what may be done now is told to them.
      if (!cell.firstChild) cell.append(...column.actions().map((action) => this.button(cell, action)));
      cell.item = item;
      for (const button of cell.children) {
        button.disabled = !(button.action.may?.(item) ?? true);
        button.setAttribute("aria-label", `${button.action.name}: ${this.key(item)}`);
      }
      return;
    }
    const shown = column.show(item);
    if (shown instanceof Node) {
      if (!cell.firstChild?.isEqualNode(shown)) cell.replaceChildren(shown);
    } else {
      text(cell, String(shown ?? ""));
    }
  }

  button(cell, action) {
    const button = h("button", { type: "button", class: action.danger ? "danger" : "", onclick: () => action.run(cell.item) }, action.name);
    button.action = action;
    return button;
  }
}

/** A small chart of the newest figures, the latest at the right. */
export class Chart {
  constructor(label, length = 90) {
    const make = (tag) => document.createElementNS("http://www.w3.org/2000/svg", tag);
    this.length = length;
    this.values = [];
    this.area = make("path");
    this.line = make("path");
    this.area.setAttribute("class", "area");
    this.node = make("svg");
    this.node.setAttribute("class", "chart");
    this.node.setAttribute("viewBox", `0 0 ${length - 1} 40`);
    this.node.setAttribute("preserveAspectRatio", "none");
    this.node.setAttribute("role", "img");
    this.node.setAttribute("aria-label", label);
    this.node.append(this.area, this.line);
  }

  push(value) {
    this.values.push(value);
    if (this.values.length > this.length) this.values.shift();
    const top = Math.max(...this.values, 1e-9);
    const from = this.length - this.values.length;
    const points = this.values.map((v, at) => `${from + at},${(39 - (v / top) * 37).toFixed(2)}`);
    this.line.setAttribute("d", `M${points.join("L")}`);
    this.area.setAttribute("d", `M${from},40L${points.join("L")}L${this.length - 1},40Z`);
  }
}
