// Live video of a camera: MP4 over a WebSocket, played by Media Source Extensions.

const RETRY_MS = 3000;
const KEEP_SECONDS = 20; // length of played video that stays in the buffer
const BEHIND_SECONDS = 1.5; // delay from which on the player skips ahead
const CATCH_UP_SECONDS = 0.4; // delay from which on the player plays a little faster
const START_SECONDS = 0.1; // delay after the player has skipped ahead
const Source = window.ManagedMediaSource ?? window.MediaSource;

export class LivePlayer {
  // `told` is called with true when video plays, and with false when it does not.
  constructor(video, told) {
    this.video = video;
    this.told = told;
    this.run = null;
    video.addEventListener("playing", () => this.run && told(true));
  }

  open(path) {
    this.close();
    if (!Source) return;
    const url = new URL(path, location.href.replace(/^http/, "ws"));
    const run = { path, queue: [], buffer: null, socket: new WebSocket(url), timer: 0 };
    this.run = run;
    run.socket.binaryType = "arraybuffer";
    run.socket.addEventListener("message", ({ data }) => {
      if (typeof data === "string") this.begin(run, JSON.parse(data).type);
      else run.queue.push(data);
      this.feed(run);
    });
    run.socket.addEventListener("close", () => this.again(run));
  }

  close() {
    const run = this.run;
    if (!run) return;
    this.run = null;
    clearTimeout(run.timer);
    run.socket.close();
    this.video.removeAttribute("src");
    this.video.load();
    this.told(false);
  }

  again(run) {
    if (run !== this.run) return;
    this.close();
    this.run = run; // so that `close` ends the wait
    run.timer = setTimeout(() => this.open(run.path), RETRY_MS);
  }

  begin(run, type) {
    if (!Source.isTypeSupported(type)) {
      this.close(); // from now on pictures are shown
      return;
    }
    const source = new Source();
    this.video.disableRemotePlayback = true; // or ManagedMediaSource does not open
    this.video.src = URL.createObjectURL(source);
    source.addEventListener("sourceopen", () => {
      URL.revokeObjectURL(this.video.src);
      if (run !== this.run || run.buffer) return;
      run.buffer = source.addSourceBuffer(type);
      run.buffer.addEventListener("updateend", () => this.feed(run));
      this.feed(run);
    });
  }

  feed(run) {
    const { buffer, queue } = run;
    if (run !== this.run || !buffer || buffer.updating) return;
    try {
      this.follow(buffer.buffered);
      const old = this.video.currentTime - KEEP_SECONDS;
      if (buffer.buffered.length && buffer.buffered.start(0) < old - KEEP_SECONDS) {
        buffer.remove(0, old);
      } else if (queue.length) {
        buffer.appendBuffer(queue.shift());
      }
    } catch {
      this.again(run); // the browser gave the video up
    }
  }

  follow(buffered) {
    if (!buffered.length) return;
    const { video } = this;
    const last = buffered.length - 1;
    const end = buffered.end(last);
    const behind = end - video.currentTime;
    if (behind > BEHIND_SECONDS || video.currentTime < buffered.start(last)) {
      video.currentTime = Math.max(buffered.start(last), end - START_SECONDS);
    }
    video.playbackRate = behind > CATCH_UP_SECONDS ? 1.1 : 1;
    if (video.paused) video.play().catch(() => {}); // while it is not allowed, pictures are shown
  }
}
