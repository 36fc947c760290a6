// The tree: one row a node, patched in place. Keyboard as in any tree: arrows move, left and right fold, Home and End.

import { $, make, say, set } from "./dom.js";

const MARKS = { SUCCESS: "✓", RUNNING: "▶", FAILURE: "✕", INVALID: "·" };
const GLYPHS = { P: ["⇉", "parallel"], S: ["→", "sequence"], F: ["?", "selector"], D: ["◇", "decorator"], L: ["", ""] };
const STEP_PX = 15;

export class TreeView {
  constructor(list, empty) {
    this.list = list;
    this.empty = empty;
    this.rows = [];
    this.shape = "";
    this.folded = new Set();
    this.foldIdle = false;
    list.addEventListener("click", (event) => this.click(event));
    list.addEventListener("keydown", (event) => this.key(event));
  }

  show(snapshot) {
    const nodes = snapshot.nodes;
    const kinds = snapshot.kinds ?? "";
    const shape = nodes.map((node) => `${node[0]}${node[1]}`).join("\n") + kinds;
    if (shape !== this.shape) this.build(nodes, kinds, shape);
    // The way to what runs: a node runs, and so do all above it.
    const above = [];
    nodes.forEach(([depth, name, status, message], index) => {
      above.length = depth;
      const active = status === "RUNNING" && above.every(Boolean);
      above.push(active);
      const row = this.rows[index];
      set(row.item, "status", status);
      set(row.item, "active", String(active));
      say(row.mark, MARKS[status] ?? "·");
      say(row.message, message);
      const hover = message ? `${name}: ${status} - ${message}` : `${name}: ${status}`;
      if (row.item.title !== hover) {
        row.item.title = hover;
        row.item.setAttribute("aria-label", hover);
      }
      row.status = status;
    });
    this.fold();
  }

  build(nodes, kinds, shape) {
    this.shape = shape;
    this.empty.hidden = nodes.length > 0;
    this.rows = nodes.map(([depth, name], index) => {
      const item = make("li");
      item.setAttribute("role", "treeitem");
      item.setAttribute("aria-level", String(depth + 1));
      item.tabIndex = index === 0 ? 0 : -1;
      const indent = make("span", "indent");
      indent.style.width = `${depth * STEP_PX}px`;
      const fold = make("span", "fold");
      const mark = make("span", "status");
      const parent = (nodes[index + 1]?.[0] ?? 0) > depth;
      const [glyph, word] = GLYPHS[kinds[index]] ?? ["", ""];
      const kind = make("span", "kind", glyph);
      kind.title = word;
      const message = make("span", "message");
      item.append(indent, fold, mark, ...(glyph ? [kind] : []), make("span", "name", name), message);
      return { item, fold, mark, message, depth, parent, name, status: "INVALID", path: "" };
    });
    const path = [];
    for (const row of this.rows) {
      path.length = row.depth;
      path.push(row.name);
      row.path = path.join("/");
    }
    this.list.replaceChildren(...this.rows.map((row) => row.item));
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
    return this.rows.find((row) => row.item === item);
  }

  focus(row) {
    for (const other of this.rows) other.item.tabIndex = other === row ? 0 : -1;
    row.item.focus();
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
