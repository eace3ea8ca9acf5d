// Runs a real proxy with its recipe, in a temporary folder.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile, readFile } from "node:fs/promises";
import { request as requestPlain } from "node:http";
import { request as requestByTls } from "node:https";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { BOUND_MS, eventually } from "./eventually.mjs";
import { locate, read, substitute } from "./recipes.mjs";

/** The running processes. They are killed when this process exits. */
const running = new Set();

/**
 * The port that `freePort` tries next. It depends on the process id, so that concurrent runs do not collide.
 */
let nextPort = 10_000 + (process.pid % 20_000);

process.once("exit", () => running.forEach(killGroup));

export class Proxy {
  /** The output so far. */
  log = "";
  #scheme;
  #port;
  #folder;
  #process;

  /**
   * Starts the proxy in front of servers on these ports, and waits until it listens.
   * @param {import("./recipes.mjs").Recipe} recipe
   * @param {number[]} upstreams
   * @param {(text: string, recipe: import("./recipes.mjs").Recipe) => string} adapt makes further changes to
   * the recipe
   */
  static async start(recipe, upstreams, adapt = (text) => text) {
    const proxy = new Proxy();
    proxy.#scheme = recipe.scheme;
    proxy.#port = await freePort();
    proxy.#folder = await mkdtemp(join(tmpdir(), "proxy-"));
    const given = { port: proxy.#port, upstreams, folder: proxy.#folder };
    await makeCertificate(proxy.#folder);
    const files = { ...recipe.files?.(given), [recipe.file]: substitute(adapt(read(recipe), recipe), recipe.changes(given)) };
    for (const [name, text] of Object.entries(files)) await writeFile(join(proxy.#folder, name), text);
    proxy.#spawn(locate(recipe.program), recipe.options(given));
    try {
      await eventually(`${recipe.proxy} to listen`, () => proxy.#listens(), () => proxy.log);
    } catch (error) {
      await proxy.discard();
      throw error;
    }
    return proxy;
  }

  get address() {
    return `${this.#scheme}://localhost:${this.#port}`;
  }

  /**
   * Sends a request like a program would: over HTTP/1.1, and without checking the certificate.
   * @returns {Promise<{ status: number, headers: Record<string, string>, body: string }>}
   */
  async ask(path, request = {}) {
    const response = await this.open(path, { ...request, signal: AbortSignal.timeout(BOUND_MS) });
    const parts = await response.setEncoding("utf8").toArray();
    return { status: response.statusCode, headers: response.headers, body: parts.join("") };
  }

  /**
   * Like `ask`, for a response that does not end. Resolves when its head has arrived. With a header `expect`,
   * the body is sent when the server asks for it.
   */
  async open(path, { method = "GET", headers = {}, body, signal } = {}) {
    const request = this.#scheme === "https" ? requestByTls : requestPlain;
    const options = { method, headers, signal, agent: false, rejectUnauthorized: false, family: 4 };
    const asked = request(this.address + path, options);
    if (headers.expect) {
      asked.flushHeaders();
      await once(asked, "continue", { signal });
    }
    asked.end(body);
    const [response] = await once(asked, "response");
    // From here on, the reader of the response handles errors.
    asked.on("error", () => {});
    return response;
  }

  async discard() {
    if (!hasEnded(this.#process)) {
      const ended = once(this.#process, "exit");
      killGroup(this.#process);
      await ended;
    }
    await rm(this.#folder, { recursive: true });
  }

  #spawn(program, options) {
    // A separate process group, so that the workers are killed with the process.
    const child = spawn(program, options, {
      cwd: this.#folder,
      // Caddy keeps its state below HOME.
      env: { PATH: process.env.PATH, HOME: this.#folder },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    this.#process = child;
    running.add(child);
    child.once("exit", () => running.delete(child));
    for (const output of [child.stdout, child.stderr]) output.setEncoding("utf8").on("data", (text) => (this.log += text));
  }

  #listens() {
    if (hasEnded(this.#process)) throw new Error(`the proxy has ended (code ${this.#process.exitCode}):\n${this.log}`);
    const socket = connect(this.#port, "127.0.0.1");
    return new Promise((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
    }).finally(() => socket.destroy());
  }
}

/**
 * Returns a port that is not in use. It is below the range from which the system assigns ports, so that no
 * other program takes it before the proxy does.
 */
export async function freePort() {
  for (;;) {
    const port = nextPort++;
    const server = createServer().listen(port);
    const isFree = await once(server, "listening").then(() => true, () => false);
    if (isFree) {
      server.close();
      await once(server, "close");
      return port;
    }
  }
}

/** Creates a self-signed certificate for localhost, its key, and a file with both. */
async function makeCertificate(folder) {
  const [certificate, key] = ["certificate.pem", "key.pem"].map((name) => join(folder, name));
  await promisify(execFile)("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
    ...["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out", certificate, "-keyout", key],
  ]);
  await writeFile(join(folder, "both.pem"), (await readFile(certificate, "utf8")) + (await readFile(key, "utf8")));
}

function hasEnded(child) {
  return child.exitCode !== null || child.signalCode !== null;
}

function killGroup(child) {
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch (error) {
    // ESRCH: the process has already ended.
    if (error.code !== "ESRCH") throw error;
  }
}
