// The panels around the tree: each takes a message and changes what differs.

import { $, clock, facts, make, number, say, set, signed, tone } from "./dom.js";

const LOG_PERIOD_MS = 250;
const ROWS_KEPT = 2000;
const ROWS_SHOWN = 100;
const ROUTINE_CHANGES = 6; // so many changes of one node, each within so long of the one before, are one line of the log
const ROUTINE_PAUSE_S = 3;
const ANSWERS = new Set(["SUCCESS", "FAILURE"]);
const GOALS_SHOWN = 30;
const LEVELS = ["OK", "WARN", "ERR", "STALE"];
const OPEN = new Set(["accepted", "active"]);
const GOAL_TONES = { active: "run", accepted: "run", reached: "ok", failed: "bad", expired: "warn", rejected: "warn", preempted: "" };
const SOURCE_TONES = { policy: "run", motion: "run", teleop: "ok", takeover: "ok", safety: "bad", idle: "" };
const FULL = [0.6, 0.6, 1.2];

const modes = document.querySelectorAll("[data-mode]");
const velocityRows = [...document.querySelectorAll(".v")].map((row) => ({
  asked: [row.querySelector(".asked"), row.querySelector(".n-asked")],
  applied: [row.querySelector(".applied"), row.querySelector(".n-applied")],
}));

export function showHead(snapshot) {
  tone($("source"), snapshot.source, SOURCE_TONES[snapshot.source] ?? "");
  say($("words"), snapshot.words);
  say($("tick"), `tick ${snapshot.tick}`);
  for (const button of modes) {
    const checked = String(button.dataset.mode === snapshot.mode);
    if (button.getAttribute("aria-checked") !== checked) button.setAttribute("aria-checked", checked);
  }
}

export function showVelocities(asked, applied) {
  velocityRows.forEach((row, axis) => {
    for (const [kind, twist] of [["asked", asked], ["applied", applied]]) {
      const value = twist?.[axis];
      const [bar, words] = row[kind];
      const text = signed(value);
      if (words.textContent === text) continue;
      say(words, text);
      const share = Number.isFinite(value) ? Math.max(-1, Math.min(1, value / FULL[axis])) * 50 : 0;
      // To the left of the middle is the robot's left: as on the picture.
      const towards = axis === 0 ? share : -share;
      bar.style.left = `${towards < 0 ? 50 + towards : 50}%`;
      bar.style.width = `${Math.abs(towards)}%`;
    }
  });
}

const gigabytes = (mb) => (Number.isFinite(mb) ? (mb < 1000 ? `${Math.round(mb)} MB` : `${(mb / 1000).toFixed(1)} GB`) : "-");

export class StatePanel {
  constructor() {
    this.latencies = [];
  }

  show(snapshot) {
    const policy = snapshot.policy ?? {};
    say($("policy-name"), policy.name || "none");
    tone($("policy-state"), policy.state || "-", { ready: "ok", starting: "warn", dead: "bad" }[policy.state] ?? "");
    $("policy-label").hidden = !policy.label;
    tone($("policy-label"), policy.label ?? "", "warn");
    const [handover, step] = [policy.handover_ms, policy.step_ms];
    const known = Number.isFinite(handover) && Number.isFinite(step);
    $("split").children[0].style.flex = known ? String(Math.max(0.02, handover)) : "0";
    $("split").children[1].style.flex = known ? String(Math.max(0.02, step)) : "0";
    const text = policy.text_cache;
    const rows = [
      ["step of the network", known ? `${number(step, 1)} ms` : "-", "step"],
      ["hand-over, both ways", known ? `${number(handover, 1)} ms` : "-", "handover"],
      ["steps / frames handed", `${policy.steps_taken ?? "-"} / ${policy.frames_handed ?? "-"}`],
      ["frames lost, restarts", `${policy.frames_lost ?? "-"}, ${policy.restarts ?? "-"}`],
      ["goal text from cache", text ? `${text.hits} of ${text.hits + text.misses} goals` : "-"],
    ];
    facts($("policy-facts"), rows);
    if (known && this.last !== policy.steps_taken) {
      this.last = policy.steps_taken;
      this.latencies.push(handover + step);
      if (this.latencies.length > 300) this.latencies.shift();
      const top = Math.max(10, ...this.latencies);
      const points = this.latencies.map((value, index) => `${index},${(34 - (value / top) * 32).toFixed(1)}`).join(" ");
      $("spark").firstElementChild.setAttribute("points", points);
      $("spark").setAttribute("aria-label", `Latency of the last ${this.latencies.length} steps, at most ${number(top, 0)} ms`);
    }
    const memory = snapshot.memory ?? {};
    const level = memory.level ?? -1;
    tone($("memory-level"), level < 0 ? "-" : `level ${level}: ${String(memory.step ?? "").replaceAll("_", " ")}`, level < 0 ? "" : level === 0 ? "ok" : level < 3 ? "warn" : "bad");
    const memoryRows = [["available", `${gigabytes(memory.available_mb)} of ${gigabytes(memory.total_mb)}`], ["tree process", gigabytes(memory.rss_mb)]];
    if (memory.gpu) memoryRows.push(["GPU in use", `${gigabytes(memory.gpu.used_mb)} of ${gigabytes(memory.gpu.total_mb)}`]);
    if (memory.grade) memoryRows.push(["policy grade", memory.grade]);
    facts($("memory-facts"), memoryRows);
    say($("memory-words"), level > 0 || memory.manual_only ? [memory.words, memory.manual_only].filter(Boolean).join("; ") : "");
    const recorder = snapshot.recorder ?? {};
    this.recording = recorder.state === "recording";
    tone($("recorder-state"), recorder.state ?? "-", { recording: "bad", failed: "warn" }[recorder.state] ?? "");
    say($("recorder-words"), recorder.words ?? "");
    say($("record"), this.recording ? "End recording" : "Record");
  }

  episodes(rows) {
    const figures = rows.map((row) => {
      const figure = make("figure");
      if (row.frames > 0 && !row.problem) {
        const image = make("img");
        image.alt = `Episode ${row.name}`;
        image.loading = "lazy";
        image.src = `thumbnail/${encodeURIComponent(row.name)}`;
        figure.append(image);
      } else figure.append(make("div", "none"));
      const caption = make("figcaption", "", row.problem || `${row.frames} frames${row.partial ? ", partial" : ""}${row.scenario ? ` · ${row.scenario}` : ""}`);
      figure.title = row.problem ? `${row.name}: ${row.problem}` : row.name;
      figure.append(caption);
      return figure;
    });
    $("episodes").replaceChildren(...figures);
  }
}

export class Ledger {
  constructor(reuse) {
    this.goals = new Map();
    this.reuse = reuse;
  }

  clear() {
    this.goals.clear();
  }

  add(rows) {
    for (const row of rows) {
      this.goals.set(row.id, row);
      if (row.state === "rejected") continue;
      // At most one goal is open: a line that was lost on the way must not leave an older one so.
      for (const other of this.goals.values()) if (other.id < row.id && OPEN.has(other.state)) this.goals.set(other.id, { ...other, state: "preempted", reason: `replaced by goal ${row.id}` });
    }
    while (this.goals.size > 200) this.goals.delete(this.goals.keys().next().value);
    const newest = [...this.goals.values()].sort((a, b) => b.id - a.id).slice(0, GOALS_SHOWN);
    $("ledger").replaceChildren(...newest.map((row) => this.item(row)));
  }

  item(row) {
    const item = make("li");
    item.dataset.state = row.state;
    const text = make("button", "text", row.text);
    text.type = "button";
    text.title = "Put it into the goal box";
    text.onclick = () => this.reuse(row.text);
    const state = make("span", "tag", row.state);
    state.dataset.tone = GOAL_TONES[row.state] ?? "";
    item.append(make("span", "number", `${row.id}`), text, state);
    const parts = [];
    if (row.of > 1 && OPEN.has(row.state)) parts.push(`step ${row.step} of ${row.of}: ${row.doing}`);
    if (row.reason) parts.push(row.reason);
    if (row.evidence?.length && !OPEN.has(row.state)) parts.push(`judged by ${[...new Set(row.evidence)].join(", ")}`);
    if (row.note) parts.push(row.note);
    if (parts.length) item.append(make("span", "detail", parts.join(" · ")));
    return item;
  }
}

export class Log {
  constructor(seek) {
    this.rows = [];
    this.start = null;
    this.dirty = false;
    this.seek = seek;
    this.drawn = 0;
    for (const id of ["filter", "filter-status"]) $(id).oninput = () => this.draw();
  }

  drawIfDue() {
    if (this.dirty && performance.now() - this.drawn >= LOG_PERIOD_MS) this.draw();
  }

  clear() {
    this.rows = [];
    this.dirty = true;
  }

  add(rows) {
    this.rows.push(...rows);
    if (this.rows.length > ROWS_KEPT) this.rows.splice(0, this.rows.length - ROWS_KEPT);
    this.dirty = true;
  }

  draw() {
    this.dirty = false;
    this.drawn = performance.now();
    const words = $("filter").value.trim().toLowerCase();
    const status = $("filter-status").value;
    const fits = ([, node, , after, message]) => (!status || after === status) && (!words || `${node} ${message}`.toLowerCase().includes(words));
    const found = words || status ? this.rows.filter(fits) : this.rows;
    const shown = collapsed(found);
    say($("log-count"), found.length === this.rows.length ? `${found.length}` : `${found.length} of ${this.rows.length}`);
    const body = $("log");
    while (body.children.length > shown.length) body.lastChild.remove();
    shown.forEach(({ row: [time, node, before, after, message], times, until }, index) => {
      if (!body.children[index]) {
        const line = make("tr");
        line.append(make("td"), make("td"), make("td"), make("td"));
        line.children[2].append(make("span", "badge"), document.createTextNode(" → "), make("span", "badge"));
        line.onclick = () => this.seek(Number(line.dataset.time));
        body.append(line);
      }
      const line = body.children[index];
      const [when, name, change, said] = line.children;
      line.dataset.time = String(time);
      say(when, clock(time - this.start));
      say(name, times > 1 ? `${node} ×${times}` : node);
      [before, after].forEach((word, place) => {
        set(change.children[place], "status", word);
        say(change.children[place], word.toLowerCase());
      });
      const arrow = times > 1 ? " ⇄ " : " → ";
      if (change.childNodes[1].data !== arrow) change.childNodes[1].data = arrow;
      const words = times > 1 ? `until ${clock(until - this.start)}${message ? `: ${message}` : ""}` : message;
      say(said, words);
      const hover = words ? `${node}: ${words}` : node;
      if (line.title !== hover) line.title = hover;
    });
  }
}

/**
 * The newest changes first. A node whose answer goes to and fro as a matter of routine takes one line, where it began: neither
 * it nor what it would break up is in the way of the rest. What begins or ends to run is never routine.
 */
export function collapsed(rows) {
  const latest = new Map();
  const runs = rows.map((row) => {
    const [time, node, before, after, message] = row;
    if (!ANSWERS.has(before) || !ANSWERS.has(after)) return null;
    let run = latest.get(node);
    if (!run || time - run.until > ROUTINE_PAUSE_S) latest.set(node, (run = { first: row, times: 0 }));
    return Object.assign(run, { until: time, message, times: run.times + 1 });
  });
  const shown = [];
  for (let index = rows.length - 1; index >= 0 && shown.length < ROWS_SHOWN; index--) {
    const [row, run] = [rows[index], runs[index]];
    if (!run || run.times < ROUTINE_CHANGES) shown.push({ row, times: 1, until: row[0] });
    else if (run.first === row) shown.push({ row: [...row.slice(0, 4), run.message], times: run.times, until: run.until });
  }
  return shown;
}

export class Leaves {
  showTicks(snapshot) {
    const [tick, late] = [snapshot.tick_ms, snapshot.late_ms];
    if (tick) say($("ticks"), `tick p50 ${number(tick[0])}, p99 ${number(tick[1])} · late p99 ${number(late?.[1], 1)} · missed deadlines ${snapshot.missed ?? "-"}`);
  }

  show(snapshot) {
    const rows = [...snapshot.leaves].sort((a, b) => b[2] - a[2]);
    const top = Math.max(0.001, ...rows.map((row) => row[2]));
    const body = $("leaves");
    while (body.children.length > rows.length) body.lastChild.remove();
    rows.forEach(([name, p50, p99, worst], index) => {
      if (!body.children[index]) {
        const line = make("tr");
        line.append(make("td"), make("td"), make("td"), make("td"), make("td"));
        line.children[4].append(make("i", "share"));
        body.append(line);
      }
      const cells = body.children[index].children;
      [name, number(p50, 3), number(p99, 2), number(worst, worst < 100 ? 2 : 0)].forEach((text, place) => say(cells[place], text));
      if (cells[0].title !== name) cells[0].title = name;
      cells[4].firstChild.style.width = `${Math.max(1, (100 * p99) / top)}%`;
    });
  }
}

export class Diagnostics {
  constructor() {
    this.items = new Map();
  }

  clear() {
    this.items.clear();
    $("diagnostics").replaceChildren();
  }

  add(rows) {
    for (const row of rows) {
      let item = this.items.get(row.name);
      if (!item) {
        if (this.items.size > 100) continue;
        item = make("li");
        const details = make("details");
        const summary = make("summary");
        summary.append(make("span", "level"), make("span", "what", row.name.replace(/^\//, "")), make("span", "said"));
        details.append(summary, make("dl", "facts"));
        item.append(details);
        this.items.set(row.name, item);
        const order = [...this.items.keys()].sort();
        $("diagnostics").replaceChildren(...order.map((name) => this.items.get(name)));
      }
      const [summary, list] = item.firstChild.children;
      set(summary.children[0], "level", String(row.level));
      say(summary.children[0], LEVELS[row.level] ?? "?");
      say(summary.children[2], row.message);
      if (summary.title !== row.message) summary.title = row.message;
      facts(list, Object.entries(row.values));
    }
  }
}

