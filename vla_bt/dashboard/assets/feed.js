// The websocket: connects, connects again, answers beats, and hands each message on. See docs/dashboard.md for the messages.

const FIRST_WAIT_MS = 300;
const LONGEST_WAIT_MS = 3000;
const SILENCE_MS = 5000; // beats come ten times a second, one a second to a page that lags: so long without one is a dead connection

export class Feed {
  /** @param {(kind: string, message: object, blob?: Blob) => void} hear @param {(connected: boolean) => void} change */
  constructor(hear, change) {
    this.hear = hear;
    this.change = change;
    this.beat = 0;
    this.wait = FIRST_WAIT_MS;
    this.heard = 0;
    this.connect();
    setInterval(() => {
      if (this.connected && performance.now() - this.heard > SILENCE_MS) this.socket.close();
    }, 500);
  }

  get connected() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  connect() {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/feed`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => {
      this.beat = 0;
      this.heard = performance.now();
      this.change(true);
    };
    socket.onmessage = (event) => this.take(event.data);
    socket.onclose = () => {
      this.change(false);
      setTimeout(() => this.connect(), this.wait);
      this.wait = Math.min(LONGEST_WAIT_MS, this.wait * 1.6);
    };
  }

  take(data) {
    this.heard = performance.now();
    if (data instanceof ArrayBuffer) {
      const size = new DataView(data).getUint32(0, true);
      const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, size)));
      this.hear(head.type, head, new Blob([new Uint8Array(data, 4 + size)], { type: "image/jpeg" }));
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "beat") {
      this.beat = message.n;
      this.send({ type: "alive", beat: message.n });
    } else {
      if (message.type === "hello") this.wait = FIRST_WAIT_MS;
      this.hear(message.type, message);
    }
  }

  /** Send a command; false when there is no connection: nothing is kept for later. */
  send(command) {
    if (!this.connected) return false;
    this.socket.send(JSON.stringify(command));
    return true;
  }
}
