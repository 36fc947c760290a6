// Puts feed, tree, drive and panels together, and keeps what is shown apart from what is now.

import { CameraView } from "./camera.js";
import { $, say, set, span } from "./dom.js";
import { Drive } from "./drive.js";
import { Feed } from "./feed.js";
import { Diagnostics, Leaves, Ledger, Log, StatePanel, showHead, showVelocities } from "./panels.js";
import { treeView } from "./tree.js";

const TREE_STALE_S = 1;
const ANSWER_MS = 4000;
const LOOK_MS = 100;
const SLIDER_MS = 1000;
const FRAME_MS = 40; // drawn at most so often: what came meanwhile is drawn together, the newest of each kind alone

const state = { live: true, run: false, me: 0, driver: null, first: 0, last: 0, shown: 0, clock: null, playing: false, waiting: false, status: {} };
const tree = treeView();
const camera = new CameraView(wake);
const panel = new StatePanel();
const leaves = new Leaves();
const diagnostics = new Diagnostics();
const ledger = new Ledger((text) => {
  $("goal").value = text;
  $("goal").focus();
});
const log = new Log((time) => look(time));
const feed = new Feed(hear, connection);
const drive = new Drive(feed);

// ---------------------------------------------------------------- what arrives

function hear(kind, message, blob) {
  if (kind === "camera") return camera.show(message, blob);
  HEARD[kind]?.(message);
}

const HEARD = {
  hello(message) {
    state.me = message.client;
    state.run = !message.live;
    [state.first, state.last] = message.span;
    log.start = state.first;
    log.clear();
    ledger.clear();
    diagnostics.clear();
    say($("title"), message.title);
    document.title = `${message.title} · vla_bt`;
    drive.limit(message.fastest);
    for (const id of ["take", "estop", "record", "stop-goal"]) $(id).disabled = !message.commands;
    $("live").hidden = state.run;
    if (state.run) {
      Object.assign(state, { live: false, shown: state.first });
      look(state.first);
    } else goLive();
  },
  snapshot(message) {
    if (state.live) state.shown = message.t;
    state.last = Math.max(state.last, message.t);
    if (message.leaves) leaves.show(message); // not in every snapshot: the next one must not replace it
    later("snapshot", message);
  },
  transitions: (message) => log.add(message.rows),
  goals: (message) => ledger.add(message.rows),
  diagnostics: (message) => diagnostics.add(message.rows),
  episodes: (message) => panel.episodes(message.rows),
  status(message) {
    const { latched, pressed, driver } = state.status;
    const urgent = latched !== message.latched || pressed !== message.pressed || driver?.number !== message.driver?.number;
    state.status = message;
    state.clock = message.t - performance.now() / 1000;
    state.driver = message.driver;
    waiting.status = message; // drawn with the next snapshot, or when the timer finds nothing drawn for a while
    if (urgent) wake();
  },
  moment(message) {
    [state.first, state.last] = message.span;
    state.waiting = false;
    if (!state.live && state.shown !== state.asked) ask(); // the slider went on meanwhile
  },
  answer(message) {
    if (message.ok && ["drive", "stop"].includes(message.to)) return;
    notice(message.words, message.ok ? "" : "bad");
  },
};

// ---------------------------------------------------------------- drawing

const waiting = {};
let woken = false;
let drawn = 0;

function later(kind, message) {
  waiting[kind] = message;
  wake();
}

function wake() {
  if (woken) return;
  woken = true;
  const rest = drawn + FRAME_MS - performance.now();
  if (rest > 4) setTimeout(() => requestAnimationFrame(draw), rest);
  else requestAnimationFrame(draw);
}

/** Everything that changes the page regularly is done here, once a frame. */
function draw() {
  woken = false;
  drawn = performance.now();
  const { snapshot, status } = waiting;
  waiting.snapshot = waiting.status = null;
  if (snapshot) {
    showHead(snapshot);
    tree.show(snapshot);
    panel.show(snapshot);
    leaves.showTicks(snapshot);
    const applied = snapshot.gate?.applied;
    showVelocities(snapshot.velocity, applied);
    camera.setVelocities(snapshot.velocity, applied);
  }
  if (status) {
    showControl();
    showAlarm();
  }
  log.drawIfDue();
  showTime();
  camera.drawIfNew();
  camera.age(state.live ? now() : state.shown, state.live);
}

function connection(connected) {
  if (!connected) {
    drive.setMine(false);
    state.driver = null;
    state.waiting = false;
  }
  showConnection();
}

// ---------------------------------------------------------------- head

function showConnection() {
  const pill = $("connection");
  const age = state.status.tree_age_s;
  const [word, text] = !feed.connected
    ? ["off", "no connection; trying again"]
    : state.run
      ? ["run", "a finished run"]
      : age === null || age === undefined
        ? ["stale", "no word from the tree"]
        : age > TREE_STALE_S
          ? ["stale", `tree silent for ${span(age)}`]
          : ["on", `live, ${state.status.viewers ?? 1} watching`];
  set(pill, "state", word);
  say(pill, text);
}

function showControl() {
  const mine = state.driver?.number === state.me;
  drive.setMine(mine);
  set($("driver"), "mine", String(mine));
  say($("driver"), mine ? "you are in control" : state.driver ? `${state.driver.name} is in control; you watch` : "nobody is in control");
  say($("take"), mine ? "Give back" : state.driver ? "Take over" : "Take control");
  for (const button of [...document.querySelectorAll("[data-mode]"), $("record"), $("goal-form").querySelector(".primary")]) button.disabled = !mine;
  const mode = document.querySelector("[data-mode][aria-checked=true]")?.dataset.mode;
  say($("drive-note"), mine && mode === "vla" ? "mode vla: the policy drives, teleop is not followed" : mine ? "" : "take control to drive");
  showConnection();
}

function showAlarm() {
  const { latched, pressed, fault, gate_age_s: age } = state.status;
  const words = latched || pressed ? "EMERGENCY STOP" : fault ? "GATE FAULT" : "";
  $("alarm").hidden = !words;
  if (words) {
    say($("alarm-words"), words);
    say($("alarm-detail"), latched ? (pressed ? "latched; pressed on this dashboard" : "latched") : pressed ? "pressed; the gate has not answered yet" : fault);
    $("reset").disabled = state.driver?.number !== state.me;
    $("reset").title = $("reset").disabled ? "Take control first" : "";
    $("reset").hidden = !(latched || pressed);
  }
  set($("estop"), "pressed", String(Boolean(pressed)));
  $("estop").title = age > 1 ? "the gate is silent" : "Esc does the same, everywhere on this page";
}

let noticeTimer = 0;
function notice(words, kind) {
  const box = $("notice");
  say(box, words);
  set(box, "kind", kind);
  box.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => (box.hidden = true), ANSWER_MS);
}

$("take").onclick = () => {
  if (state.driver?.number === state.me) feed.send({ type: "leave" });
  else feed.send({ type: "take", on: Boolean(state.driver) });
};
for (const button of document.querySelectorAll("[data-mode]")) button.onclick = () => feed.send({ type: "mode", text: button.dataset.mode });
document.querySelector(".mode").onkeydown = (event) => {
  const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const buttons = [...document.querySelectorAll("[data-mode]")];
  if (way) buttons.at((buttons.indexOf(document.activeElement) + way) % buttons.length)?.focus();
};

function press() {
  drive.letGo();
  if (!feed.send({ type: "estop" })) notice("NOT SENT: no connection. Use the robot's own emergency stop.", "bad");
}
$("estop").onclick = press;
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !state.run) {
    event.preventDefault();
    press();
  }
});
$("reset").onclick = () => feed.send({ type: "reset" });
$("record").onclick = () => feed.send({ type: "record", on: !panel.recording });

// ---------------------------------------------------------------- goals

const told = JSON.parse(localStorage.getItem("vla_bt goals") ?? "[]");
let recalled = told.length;
$("goal-form").onsubmit = (event) => {
  event.preventDefault();
  const text = $("goal").value.trim();
  if (!text || !feed.send({ type: "goal", text })) return;
  if (told.at(-1) !== text) told.push(text);
  while (told.length > 30) told.shift();
  localStorage.setItem("vla_bt goals", JSON.stringify(told));
  recalled = told.length;
  $("goal").value = "";
};
$("goal").onkeydown = (event) => {
  const way = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!way) return;
  event.preventDefault();
  recalled = Math.max(0, Math.min(told.length, recalled + way));
  $("goal").value = told[recalled] ?? "";
};
$("stop-goal").onclick = () => feed.send({ type: "stop" });

// ---------------------------------------------------------------- time

function now() {
  return state.clock === null ? state.last : performance.now() / 1000 + state.clock;
}

/** Show a moment of the past; the robot goes on meanwhile. */
function look(time) {
  state.live = false;
  state.shown = Math.max(state.first, Math.min(state.last, time));
  if (!state.waiting) ask();
  showTime();
}

function ask() {
  state.asked = state.shown;
  state.waiting = feed.send({ type: "seek", time_s: state.shown });
}

function goLive() {
  Object.assign(state, { live: true, playing: false, waiting: false });
  slid = 0;
  feed.send({ type: "live" });
  showTime();
}

let slid = 0;
function showSlider() {
  if (state.live && performance.now() - slid < SLIDER_MS) return; // live it stands at its end
  slid = performance.now();
  const slider = $("slider");
  slider.min = String(state.first);
  slider.max = String(state.last);
  if (document.activeElement !== slider || state.live || state.playing) slider.value = String(state.live ? state.last : state.shown);
}

function showTime() {
  if (state.live) state.last = Math.max(state.last, state.shown);
  showSlider();
  const back = state.last - state.shown;
  say($("when"), state.live ? "now" : state.run ? `${span(state.shown - state.first)} of ${span(state.last - state.first)}` : `${span(now() - state.shown)} ago`);
  $("live").setAttribute("aria-pressed", String(state.live));
  $("past").hidden = state.live;
  say($("past"), state.run ? "then" : `${span(now() - state.shown)} ago`);
  say($("play"), state.live || state.playing ? "Pause" : "Play");
  set(document.querySelector(".time-panel"), "live", String(state.live));
  for (const id of ["forth"]) $(id).disabled = state.live || back <= 0;
}

$("slider").oninput = () => {
  state.playing = false;
  look(Number($("slider").value));
};
$("live").onclick = goLive;
$("play").onclick = () => {
  if (state.live) look(state.last);
  else state.playing = !state.playing;
  if (state.run && state.playing && state.shown >= state.last) look(state.first);
  showTime();
};
$("back").onclick = () => look(state.shown - 1);
$("forth").onclick = () => look(state.shown + 1);

let before = performance.now();
setInterval(() => {
  const elapsed = (performance.now() - before) / 1000;
  before = performance.now();
  if (state.playing && !state.waiting) {
    look(state.shown + elapsed * Number($("speed").value));
    if (state.shown >= state.last) state.run ? (state.playing = false) : goLive();
  }
  if (!feed.connected) showConnection();
  if (performance.now() - drawn >= LOOK_MS) wake();
}, LOOK_MS);

// ---------------------------------------------------------------- light and dark

const dark = matchMedia("(prefers-color-scheme: dark)");
function theme() {
  document.documentElement.dataset.theme = localStorage.getItem("vla_bt theme") ?? (dark.matches ? "dark" : "light");
}
dark.onchange = theme;
$("theme").onclick = () => {
  localStorage.setItem("vla_bt theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  theme();
};
theme();
showControl();
