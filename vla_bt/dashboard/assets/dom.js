// Small helpers. Text from outside only ever becomes text: nothing here, or anywhere on the page, parses HTML.

export const $ = (id) => document.getElementById(id);

export function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

/** Set text only when it changed: an untouched page costs nothing to draw. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function set(element, name, value) {
  if (element.dataset[name] !== value) element.dataset[name] = value;
}

export function tone(element, word, kind) {
  say(element, word);
  set(element, "tone", kind);
}

export function number(value, digits = 2) {
  return Number.isFinite(value) ? value.toFixed(digits) : "-";
}

export function signed(value, digits = 2) {
  return Number.isFinite(value) ? (value >= 0 ? "+" : "−") + Math.abs(value).toFixed(digits) : "-";
}

export function span(seconds) {
  if (!Number.isFinite(seconds)) return "-";
  const whole = Math.max(0, seconds);
  if (whole < 10) return `${whole.toFixed(1)} s`;
  if (whole < 100) return `${Math.round(whole)} s`;
  return `${Math.floor(whole / 60)}:${String(Math.floor(whole % 60)).padStart(2, "0")} min`;
}

export function clock(seconds) {
  const whole = Math.max(0, seconds);
  return `${Math.floor(whole / 60)}:${(whole % 60).toFixed(1).padStart(4, "0")}`;
}

/** Fill a list of facts: rows of [term, value, swatch class]. */
export function facts(list, rows) {
  while (list.children.length > rows.length * 2) list.lastChild.remove();
  rows.forEach(([term, value, swatch], index) => {
    if (!list.children[index * 2]) list.append(make("dt"), make("dd"));
    const label = list.children[index * 2];
    if (label.dataset.term !== term) {
      label.replaceChildren(...(swatch ? [make("i", `swatch ${swatch}`)] : []), document.createTextNode(term));
      label.dataset.term = term;
    }
    say(list.children[index * 2 + 1], value);
  });
}
