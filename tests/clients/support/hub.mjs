// The server under test: a hub with a file log, so that events survive restarts.

import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Broadcaster } from "../../browser/support/broadcaster.mjs";
import { BOUND_MS } from "../../browser/support/eventually.mjs";
import { sign } from "../../browser/support/jwt.mjs";

const ISSUER = "https://app.example.com";
const PATH = "/.well-known/mercure";
/** The audience of tokens. It is fixed, because the port is not known before the server has started. */
const HUB_URL = `https://hub.example.com${PATH}`;

export class Hub {
  #broadcaster;
  #folder;
  /** The key that signs tokens. It is text, because some libraries accept nothing else. */
  secret = randomBytes(32).toString("base64url");
  #settings;

  /** @param {Record<string, Record<string, unknown>>} settings as in config/default.toml */
  static async start(settings) {
    const hub = new Hub();
    hub.#folder = await mkdtemp(join(tmpdir(), "hub-"));
    const secretFile = join(hub.#folder, "hub.secret");
    await writeFile(secretFile, hub.secret);
    hub.#settings = {
      ...settings,
      ticker: { enabled: false },
      hub: { url: HUB_URL, ...settings.hub },
      auth: { issuers: [{ issuer: ISSUER, secret_file: secretFile }] },
      log: { kind: "file", path: join(hub.#folder, "events.redb") },
    };
    hub.#broadcaster = await Broadcaster.start(hub.#settings);
    return hub;
  }

  get port() {
    return this.#broadcaster.port;
  }

  /** The URL of the hub for clients on this machine. */
  get url() {
    return `${this.#broadcaster.address}${PATH}`;
  }

  async restart(signal) {
    await this.#broadcaster.stop(signal);
    await this.#broadcaster.startAgain(this.#settings);
  }

  /** Publishes on a topic, and returns the event's id. */
  async publish(topic, data) {
    const response = await fetch(this.url, {
      method: "POST",
      headers: { Authorization: `Bearer ${this.#token()}` },
      body: new URLSearchParams({ topic, data }),
      signal: AbortSignal.timeout(BOUND_MS),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`publishing was answered with ${response.status}: ${text}`);
    return text;
  }

  async discard() {
    await this.#broadcaster?.discard();
    await rm(this.#folder, { recursive: true });
  }

  #token() {
    const allowed = { type: "https://mercure.rocks/authorization-detail", actions: ["publish"], topics: [{ match: "*" }] };
    const claims = { iss: ISSUER, aud: HUB_URL, exp: Math.ceil(Date.now() / 1000) + 600, authorization_details: [allowed] };
    return sign({ alg: "HS256", typ: "at+jwt" }, claims, this.secret);
  }
}
