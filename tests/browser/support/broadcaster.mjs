// The binary itself, started as a user would: in a folder of its own, with a config file there.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { eventually } from "./eventually.mjs";

const ROOT = resolve(import.meta.dirname, "../../..");
const BINARY = process.env.BROADCASTER
  ? resolve(process.env.BROADCASTER)
  : resolve(ROOT, process.env.CARGO_TARGET_DIR ?? "target", "debug/broadcaster");

/** Those that run. Whatever ends this process, they are not left behind. */
const running = new Set();

process.once("exit", () => running.forEach((child) => child.kill("SIGKILL")));

export class Broadcaster {
  /** What it has logged, all its lives together. */
  log = "";
  /** What it has said on its standard output since it was started last. */
  said = "";
  /** 0 until it has told which port it got. */
  port = 0;
  #folder;
  /** What `server.bind` is while it runs. */
  #bind;
  #process = null;

  /**
   * Starts the binary on a free port, or on `port`, and waits until it listens.
   * @param {Record<string, Record<string, unknown>>} settings as in config/default.toml; what is
   *   not given has its default
   */
  static async start(settings = {}, port = 0) {
    await access(BINARY).catch(() => {
      throw new Error(`there is no ${BINARY}: run \`cargo build\` first, or name the binary in BROADCASTER`);
    });
    const broadcaster = new Broadcaster();
    broadcaster.port = port;
    broadcaster.#folder = await mkdtemp(join(tmpdir(), "broadcaster-"));
    await mkdir(join(broadcaster.#folder, "config"));
    await broadcaster.startAgain(settings);
    return broadcaster;
  }

  get address() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Writes the config file anew; while it runs, it takes over what can be changed. */
  async configure(settings) {
    const server = { static_dir: join(ROOT, "static"), bind: this.#bind, ...settings.server };
    const text = toToml({ ...settings, server });
    await writeFile(join(this.#folder, "config/default.toml"), text);
  }

  /** Starts it once more, on the port that it had. */
  async startAgain(settings = {}) {
    this.#bind = `127.0.0.1:${this.port}`;
    await this.configure(settings);
    const child = spawn(BINARY, [], {
      cwd: this.#folder,
      env: environment(),
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#process = child;
    running.add(child);
    child.once("exit", () => running.delete(child));
    this.said = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (this.said += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (this.log += text));
    const [, port] = await eventually("the server to listen", () => {
      if (hasEnded(child)) throw new Error(`the server has ended (code ${child.exitCode}):\n${this.log}`);
      return /listening on http:\/\/[^/]*:(\d+)\//.exec(this.said);
    });
    this.port = Number(port);
  }

  /** The link to the playground that it prints, with a token in its fragment. */
  async playgroundLink() {
    const [, link] = await eventually("the link to the playground", () => /^playground: (\S+)\n/m.exec(this.said), () => this.said);
    return link;
  }

  async status() {
    const response = await fetch(`${this.address}/status`, { signal: AbortSignal.timeout(5000) });
    return response.json();
  }

  /** Ends it with a signal, and tells how it ended: `{ code, signal }`. */
  async stop(signal = "SIGTERM") {
    const child = this.#process;
    if (!hasEnded(child)) {
      const ended = once(child, "exit");
      child.kill(signal);
      await ended;
    }
    return { code: child.exitCode, signal: child.signalCode };
  }

  async discard() {
    if (this.#process) await this.stop("SIGKILL");
    await rm(this.#folder, { recursive: true });
  }
}

function hasEnded(child) {
  return child.exitCode !== null || child.signalCode !== null;
}

/** The environment without what would change the server's settings. */
function environment() {
  const kept = Object.entries(process.env).filter(
    ([name]) => name !== "RUST_LOG" && !name.startsWith("BROADCASTER__"),
  );
  return Object.fromEntries(kept);
}

/** Strings, numbers, booleans and lists of them are written alike in TOML and JSON. */
function toToml(settings) {
  const lines = Object.entries(settings).flatMap(([table, values]) => [
    `[${table}]`,
    ...Object.entries(values).map(([key, value]) => `${key} = ${JSON.stringify(value)}`),
  ]);
  return `${lines.join("\n")}\n`;
}
