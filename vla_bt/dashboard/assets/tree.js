// The tree: one row a node, patched in place where it differs. Keyboard as in any tree: arrows move, left and right fold, Home
// and End. Messages of rows out of sight are brought up to date once in a while, and as soon as they come into sight: laying out
// text is what costs. A row's whole text is put together only for whoever points at it.

import { $, make, say } from "./dom.js";

const MARKS = { SUCCESS: "✓", RUNNING: "▶", FAILURE: "✕", INVALID: "·" };
const GLYPHS = { P: ["⇉", "parallel"], S: ["→", "sequence"], F: ["?", "selector"], D: ["◇", "decorator"], L: ["", ""] };
const STEP_PX = 15;
const UNSEEN_EVERY = 12; // snapshots: about once a second

const hover = (row) => `${row.name}: ${row.status}${row.said ? ` - ${row.said}` : ""}`;

function speak(row) {
  if (row.text.data !== row.said) row.text.data = row.said;
}

export class TreeView {
  constructor(list, empty) {
    this.list = list;
    this.empty = empty;
    this.rows = [];
    this.shape = "";
    this.folded = new Set();
    this.foldIdle = false;
    this.count = 0;
    this.sight = new IntersectionObserver((changes) => {
      for (const { target, isIntersecting } of changes) {
        const row = this.rows[target.dataset.index];
        if (row?.item !== target) continue;
        row.seen = isIntersecting;
        speak(row);
      }
    });
    list.addEventListener("click", (event) => this.click(event));
    list.addEventListener("pointerover", (event) => this.point(event));
    list.addEventListener("pointerleave", () => (this.pointed = null));
    list.addEventListener("keydown", (event) => this.key(event));
  }

  show(snapshot) {
    const nodes = snapshot.nodes;
    const kinds = snapshot.kinds ?? "";
    const shape = nodes.map((node) => `${node[0]}${node[1]}`).join("\n") + kinds;
    if (shape !== this.shape) this.build(nodes, kinds, shape);
    // The way to what runs: a node runs, and so do all above it.
    const above = [];
    let folds = shape !== this.folds;
    nodes.forEach(([depth, , status, message], index) => {
      above.length = depth;
      const active = status === "RUNNING" && above.every(Boolean);
      above.push(active);
      const row = this.rows[index];
      if (row.status !== status) {
        row.status = status;
        row.item.dataset.status = status;
        row.mark.textContent = MARKS[status] ?? "·";
        row.mark.setAttribute("aria-label", status.toLowerCase());
        folds ||= this.foldIdle;
      }
      if (row.active !== active) {
        row.active = active;
        row.item.dataset.active = String(active);
      }
      row.said = message;
      if (row.seen || (index + this.count) % UNSEEN_EVERY === 0) speak(row);
    });
    this.count++;
    if (this.pointed) this.pointed.item.title = hover(this.pointed);
    this.folds = shape;
    if (folds) this.fold();
  }

  build(nodes, kinds, shape) {
    this.shape = shape;
    this.empty.hidden = nodes.length > 0;
    this.rows = nodes.map(([depth, name], index) => {
      const item = make("li");
      item.setAttribute("role", "treeitem");
      item.setAttribute("aria-level", String(depth + 1));
      item.tabIndex = index === 0 ? 0 : -1;
      item.dataset.index = String(index);
      const indent = make("span", "indent");
      indent.style.width = `${depth * STEP_PX}px`;
      const fold = make("span", "fold");
      const mark = make("span", "status");
      mark.setAttribute("role", "img");
      const parent = (nodes[index + 1]?.[0] ?? 0) > depth;
      const [glyph, word] = GLYPHS[kinds[index]] ?? ["", ""];
      const kind = make("span", "kind", glyph);
      kind.title = word;
      const message = make("span", "message");
      const text = document.createTextNode("");
      message.append(text);
      item.append(indent, fold, mark, ...(glyph ? [kind] : []), make("span", "name", name), message);
      return { item, fold, mark, text, depth, parent, name, status: "", active: null, said: "", seen: true, path: "" };
    });
    this.pointed = null;
    const path = [];
    for (const row of this.rows) {
      path.length = row.depth;
      path.push(row.name);
      row.path = path.join("/");
    }
    this.list.replaceChildren(...this.rows.map((row) => row.item));
    this.sight.disconnect();
    for (const row of this.rows) this.sight.observe(row.item);
  }

  closed(row) {
    return row.parent && (this.folded.has(row.path) || (this.foldIdle && row.status !== "RUNNING" && !this.folded.has(`!${row.path}`)));
  }

  fold() {
    let hiddenBelow = Infinity;
    for (const row of this.rows) {
      if (row.depth <= hiddenBelow) hiddenBelow = Infinity;
      const hide = row.depth > hiddenBelow;
      if (row.item.hidden !== hide) row.item.hidden = hide;
      if (!row.parent) continue;
      const closed = this.closed(row);
      say(row.fold, closed ? "▸" : "▾");
      const open = String(!closed);
      if (row.item.getAttribute("aria-expanded") !== open) row.item.setAttribute("aria-expanded", open);
      if (closed && !hide) hiddenBelow = Math.min(hiddenBelow, row.depth);
    }
  }

  toggle(row, close = !this.closed(row)) {
    if (!row.parent) return;
    this.folded.delete(row.path);
    this.folded.delete(`!${row.path}`);
    if (close) this.folded.add(row.path);
    else if (this.foldIdle) this.folded.add(`!${row.path}`);
    this.fold();
  }

  unfold() {
    this.folded.clear();
    this.setFoldIdle(false);
  }

  setFoldIdle(on) {
    this.foldIdle = on;
    for (const path of [...this.folded]) if (path.startsWith("!")) this.folded.delete(path);
    this.fold();
  }

  rowOf(target) {
    const item = target.closest("li");
    if (!item) return undefined;
    return this.rows.find((row) => row.item === item);
  }

  focus(row) {
    for (const other of this.rows) other.item.tabIndex = other === row ? 0 : -1;
    row.item.focus();
  }

  point(event) {
    this.pointed = this.rowOf(event.target) ?? null;
    if (this.pointed) this.pointed.item.title = hover(this.pointed);
  }

  click(event) {
    const row = this.rowOf(event.target);
    if (!row) return;
    this.focus(row);
    if (event.target === row.fold || event.detail === 2) this.toggle(row);
  }

  key(event) {
    const row = this.rowOf(event.target);
    if (!row || event.shiftKey || event.ctrlKey || event.altKey || event.metaKey) return;
    const shown = this.rows.filter((other) => !other.item.hidden);
    const at = shown.indexOf(row);
    const open = row.parent && !this.closed(row);
    let next;
    if (event.key === "ArrowDown") next = shown[at + 1];
    else if (event.key === "ArrowUp") next = shown[at - 1];
    else if (event.key === "Home") next = shown[0];
    else if (event.key === "End") next = shown.at(-1);
    else if (event.key === "ArrowRight") open ? (next = shown[at + 1]) : this.toggle(row, false);
    else if (event.key === "ArrowLeft") open ? this.toggle(row, true) : (next = shown.slice(0, at).findLast((other) => other.depth < row.depth));
    else if (event.key === "Enter" || event.key === " ") this.toggle(row);
    else return;
    event.preventDefault();
    if (next) this.focus(next);
  }
}

export function treeView() {
  const view = new TreeView($("tree"), $("tree-empty"));
  const idle = $("fold-idle");
  idle.onclick = () => {
    view.setFoldIdle(idle.getAttribute("aria-pressed") !== "true");
    idle.setAttribute("aria-pressed", String(view.foldIdle));
  };
  $("unfold").onclick = () => {
    view.unfold();
    idle.setAttribute("aria-pressed", "false");
  };
  return view;
}
