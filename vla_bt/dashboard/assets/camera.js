// The picture with its age and the velocity as an arrow: drawn in the page's next frame when either is new.

import { $, number, say, set } from "./dom.js";

const STALE_S = 0.5;
const FULL_SPEED = 0.6; // an arrow of full length [m/s]

export class CameraView {
  /** @param {() => void} wake asks for a frame, in which drawIfNew is called */
  constructor(wake) {
    this.wake = wake;
    this.changed = false;
    this.canvas = $("camera");
    this.context = this.canvas.getContext("2d");
    this.bitmap = null;
    this.decoding = false;
    this.next = null;
    this.time = null;
    this.shown = 0;
    this.rate = [];
  }

  /** Show a JPEG, or leave it out when the one before is still being decoded and another has come. */
  async show(head, blob) {
    this.next = [head, blob];
    if (this.decoding) return;
    this.decoding = true;
    while (this.next) {
      const [newest, data] = this.next;
      this.next = null;
      try {
        const bitmap = await createImageBitmap(data);
        this.bitmap?.close();
        this.bitmap = bitmap;
        this.time = newest.t;
        this.head = newest;
        this.rate.push(performance.now());
        if (this.rate.length > 20) this.rate.shift();
        this.changed = true;
        this.wake();
      } catch {
        say($("camera-age"), "a picture could not be read");
      }
    }
    this.decoding = false;
  }

  setVelocities(asked, applied) {
    const key = JSON.stringify([asked, applied]);
    if (key === this.key) return;
    Object.assign(this, { asked, applied, key, changed: true });
  }

  drawIfNew() {
    if (this.changed) this.draw();
    this.changed = false;
  }

  draw() {
    const { context, canvas, bitmap } = this;
    if (bitmap && (canvas.width !== bitmap.width || canvas.height !== bitmap.height)) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      $("picture").style.aspectRatio = `${bitmap.width} / ${bitmap.height}`;
    }
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (bitmap) context.drawImage(bitmap, 0, 0);
    this.arrow(this.asked, "#ffffff", 2, true);
    this.arrow(this.applied, "#5db4ff", 5, false);
  }

  /** Forward is up, left is left; the arc beside it is the turn. */
  arrow(twist, colour, width, dashed) {
    if (!twist || twist.every((value) => Math.abs(value) < 0.005)) return;
    const { context, canvas } = this;
    const unit = canvas.height / 360;
    const [x0, y0, reach] = [canvas.width / 2, canvas.height * 0.7, canvas.height * 0.45];
    const [dx, dy] = [(-twist[1] / FULL_SPEED) * reach, (-twist[0] / FULL_SPEED) * reach];
    context.save();
    context.lineWidth = width * unit;
    context.strokeStyle = context.fillStyle = colour;
    context.lineCap = "round";
    context.shadowColor = "rgb(0 0 0 / 80%)";
    context.shadowBlur = 4 * unit;
    if (dashed) context.setLineDash([5 * unit, 5 * unit]);
    if (Math.hypot(dx, dy) > 2) {
      context.beginPath();
      context.moveTo(x0, y0);
      context.lineTo(x0 + dx, y0 + dy);
      context.stroke();
      if (!dashed) this.head_(x0 + dx, y0 + dy, Math.atan2(dy, dx), 13 * unit);
    }
    if (Math.abs(twist[2]) > 0.02) {
      const radius = 26 * unit;
      const end = -Math.PI / 2 - Math.max(-2.4, Math.min(2.4, twist[2] * 1.6));
      context.beginPath();
      context.arc(x0, y0, radius, -Math.PI / 2, end, twist[2] > 0);
      context.stroke();
      if (!dashed) this.head_(x0 + radius * Math.cos(end), y0 + radius * Math.sin(end), end + (twist[2] > 0 ? -1 : 1) * (Math.PI / 2), 10 * unit);
    }
    context.restore();
  }

  head_(x, y, angle, size) {
    const { context } = this;
    context.save();
    context.translate(x, y);
    context.rotate(angle);
    context.beginPath();
    context.moveTo(size, 0);
    context.lineTo(-size * 0.5, size * 0.65);
    context.lineTo(-size * 0.5, -size * 0.65);
    context.fill();
    context.restore();
  }

  /** Say how old the picture is at a time on the robot's clock. */
  age(now, live) {
    if (this.time === null) return say($("camera-age"), "no picture yet");
    const age = now - this.time;
    const stale = live && age > STALE_S;
    set($("picture"), "stale", String(stale));
    const text = stale ? `STALE ${number(age, 1)} s` : live ? `${Math.max(0, Math.round(age * 1000))} ms old` : `frame ${this.head.sequence}`;
    say($("camera-age"), text);
    const recent = this.rate.filter((at) => performance.now() - at < 2000).length / 2;
    say($("camera-note"), live ? `${this.head.width}×${this.head.height}, ${number(recent, 0)} a second here` : `${this.head.width}×${this.head.height}`);
  }
}
