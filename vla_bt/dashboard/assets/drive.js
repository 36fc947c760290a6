// Driving with a held dead-man: Shift with letters, or a finger on the pad. Whatever happens to this page, silence follows:
// velocities are sent one by one while the dead-man is held, each with the newest beat, and the server stops at the first gap.

import { $, say, set, signed } from "./dom.js";

const PERIOD_MS = 50;
const DIAGONAL = Math.SQRT1_2;
const KEYS = {
  KeyW: [1, 0, 0], KeyS: [-1, 0, 0], KeyA: [0, 1, 0], KeyD: [0, -1, 0], KeyR: [0, 0, 1], KeyT: [0, 0, -1],
  KeyQ: [DIAGONAL, DIAGONAL, 0], KeyE: [DIAGONAL, -DIAGONAL, 0], KeyZ: [-DIAGONAL, DIAGONAL, 0], KeyC: [-DIAGONAL, -DIAGONAL, 0],
};
const typing = (target) => target instanceof HTMLElement && target.matches("input:not([type=range]), textarea, select");

export class Drive {
  constructor(feed) {
    this.feed = feed;
    this.mine = false;
    this.shift = false;
    this.keys = new Set();
    this.pad = null; // [forward, left] of 0..1 while a finger is on it
    this.turn = 0;
    this.saying = false;
    this.linear = $("linear");
    this.angular = $("angular");
    this.words = "";
    addEventListener("keydown", (event) => this.key(event, true));
    addEventListener("keyup", (event) => this.key(event, false));
    for (const name of ["blur", "pagehide"]) addEventListener(name, () => this.letGo());
    document.addEventListener("visibilitychange", () => document.hidden && this.letGo());
    this.bindPad($("pad"), $("knob"));
    this.bindTurn($("turn-left"), 1);
    this.bindTurn($("turn-right"), -1);
    for (const input of [this.linear, this.angular]) input.oninput = () => this.showSpeeds();
    this.showSpeeds();
    setInterval(() => this.tick(), PERIOD_MS);
  }

  limit([linear, , angular]) {
    this.linear.max = String(linear);
    this.angular.max = String(angular);
    this.showSpeeds();
  }

  setMine(mine) {
    if (this.mine && !mine) this.letGo();
    this.mine = mine;
    set(document.querySelector(".drive"), "off", String(!mine));
  }

  showSpeeds() {
    say($("linear-out"), `${Number(this.linear.value).toFixed(2)} m/s`);
    say($("angular-out"), `${Number(this.angular.value).toFixed(1)} rad/s`);
  }

  key(event, down) {
    if (event.key === "Shift") this.shift = down;
    else if (event.code in KEYS) {
      if (down && (typing(event.target) || event.ctrlKey || event.altKey || event.metaKey)) return;
      if (down) this.keys.add(event.code);
      else this.keys.delete(event.code);
      if (down && event.shiftKey) event.preventDefault();
    } else return;
    if (typing(event.target)) this.shift = false;
    this.tick();
  }

  bindPad(pad, knob) {
    const move = (event) => {
      const box = pad.getBoundingClientRect();
      const reach = box.width / 2 - 20;
      let x = (event.clientX - box.left - box.width / 2) / reach;
      let y = (event.clientY - box.top - box.height / 2) / reach;
      const length = Math.hypot(x, y);
      if (length > 1) [x, y] = [x / length, y / length];
      if (length < 0.12) [x, y] = [0, 0];
      this.pad = [-y, -x];
      knob.style.transform = `translate(${x * reach}px, ${y * reach}px)`;
    };
    const end = () => {
      this.pad = null;
      set(pad, "held", "false");
      knob.style.transform = "";
      this.tick();
    };
    this.endPad = end;
    pad.onpointerdown = (event) => {
      if (!this.mine) return;
      pad.setPointerCapture(event.pointerId);
      set(pad, "held", "true");
      move(event);
      this.tick();
    };
    pad.onpointermove = (event) => this.pad && move(event);
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) pad.addEventListener(name, end);
    pad.oncontextmenu = (event) => event.preventDefault();
  }

  bindTurn(button, way) {
    const end = () => {
      if (this.turn === way) this.turn = 0;
      set(button, "held", "false");
      this.tick();
    };
    button.onpointerdown = (event) => {
      if (!this.mine) return;
      button.setPointerCapture(event.pointerId);
      set(button, "held", "true");
      this.turn = way;
      this.tick();
    };
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(name, end);
    button.oncontextmenu = (event) => event.preventDefault();
  }

  letGo() {
    this.shift = false;
    this.keys.clear();
    this.turn = 0;
    if (this.pad) this.endPad();
    this.tick();
  }

  /** The velocity asked for while the dead-man is held, null when it is not. */
  twist() {
    const byKeys = this.shift && this.keys.size > 0;
    if (!byKeys && !this.pad && !this.turn) return null;
    let [x, y, turn] = [0, 0, this.turn];
    if (byKeys) for (const code of this.keys) KEYS[code].forEach((value, axis) => axis === 0 ? (x += value) : axis === 1 ? (y += value) : (turn += value));
    if (this.pad) [x, y] = [x + this.pad[0], y + this.pad[1]];
    const length = Math.max(1, Math.hypot(x, y));
    const [linear, angular] = [Number(this.linear.value), Number(this.angular.value)];
    return [(x / length) * linear, (y / length) * linear, Math.max(-1, Math.min(1, turn)) * angular];
  }

  tick() {
    const twist = this.mine ? this.twist() : null;
    if (twist) {
      this.saying = this.feed.send({ type: "drive", twist, beat: this.feed.beat });
    } else if (this.saying) {
      this.feed.send({ type: "release" });
      this.saying = false;
    }
    say($("pad-words"), twist ? `${signed(twist[0], 2)}  ${signed(twist[1], 2)}` : this.mine ? "hold & drag" : "take control");
    set($("pad"), "held", String(Boolean(twist)));
  }
}
