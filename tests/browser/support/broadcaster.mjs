// Runs the broadcaster binary as a user would, in a temporary folder with a config file.

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

/** The running processes. They are killed when this process exits. */
const running = new Set();

process.once("exit", () => running.forEach((child) => child.kill("SIGKILL")));

export class Broadcaster {
  /** The log of all runs. */
  log = "";
  /** Standard output of the current run. */
  said = "";
  /** 0 until the server has reported its port. */
  port = 0;
  #folder;
  /** The value of `server.bind` in the current run. */
  #bind;
  #process = null;

  /**
   * Starts the binary on a free port, or on `port`, and waits until it listens.
   * @param {Record<string, Record<string, unknown>>} settings as in config/default.toml; other settings have
   * their defaults
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

  /** Replaces the config file. A running server applies the settings that can be reloaded. */
  async configure(settings) {
    const server = { static_dir: join(ROOT, "static"), bind: this.#bind, ...settings.server };
    const text = toToml({ ...settings, server });
    await writeFile(join(this.#folder, "config/default.toml"), text);
  }

  /** Starts the server again on the same port. */
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

  /** The link to the playground that the server prints, with a token in its fragment. */
  async playgroundLink() {
    const [, link] = await eventually("the link to the playground", () => /^playground: (\S+)\n/m.exec(this.said), () => this.said);
    return link;
  }

  async status() {
    const response = await fetch(`${this.address}/status`, { signal: AbortSignal.timeout(5000) });
    return response.json();
  }

  /** Stops the server with a signal. Returns how it ended: `{ code, signal }`. */
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

/** The environment without variables that change the server's settings. */
function environment() {
  const kept = Object.entries(process.env).filter(
    ([name]) => name !== "RUST_LOG" && !name.startsWith("BROADCASTER__"),
  );
  return Object.fromEntries(kept);
}

/** Writes a value as TOML. Strings, numbers and booleans are written as in JSON. */
function toTomlValue(value) {
  if (Array.isArray(value)) {
    return `[${value.map(toTomlValue).join(", ")}]`;
  }
  if (typeof value === "object") {
    const pairs = Object.entries(value).map(([key, item]) => `${key} = ${toTomlValue(item)}`);
    return `{ ${pairs.join(", ")} }`;
  }
  return JSON.stringify(value);
}

/** Writes the settings as TOML. */
function toToml(settings) {
  const lines = Object.entries(settings).flatMap(([table, values]) => [
    `[${table}]`,
    ...Object.entries(values).map(([key, value]) => `${key} = ${toTomlValue(value)}`),
  ]);
  return `${lines.join("\n")}\n`;
}
