// The test's scenario. All clients subscribe to a quiet topic of one hub, and the hub is restarted four
// times: killed and shut down in turn. Events are published while all clients are connected, and while
// none is.

import { BOUND_MS, eventually } from "../../browser/support/eventually.mjs";
import { Client } from "./client.mjs";
import { Hub } from "./hub.mjs";
import { Pages } from "./pages.mjs";

const QUIET_TOPIC = "https://example.com/quiet";
const BUSY_TOPIC = "https://example.com/busy";
const TARGET = `/.well-known/mercure?match=${encodeURIComponent(QUIET_TOPIC)}`;

const HISTORY = 100;
const STREAM = { heartbeat: "100ms", retry: "300ms", history: HISTORY };

/** A stream is considered connected after this many comments: one in the greeting, then heartbeats. */
const MIN_COMMENTS = 4;
/** Concurrent requests to publish. One after the other, each would wait for a flush of the log. */
const PUBLISHERS = 16;

export class FourRestarts {
  /** @type {Client[]} */
  clients = [];
  /** The events published on the quiet topic, as clients should receive them. */
  published = [];
  #pages;
  #hub;
  #restarts = 0;

  async run(libraries) {
    this.#pages = await Pages.start();
    // A page that sends credentials needs its origin in the list. "*" does not allow it.
    this.#hub = await Hub.start({ stream: STREAM, cors: { allowed_origins: [this.#pages.origin] } });
    await Promise.all(libraries.map((library) => this.#connect(library)));
    await this.#untilConnected();

    // The first event in the hub's life is published while no client is connected.
    await this.#restart("SIGKILL", { publishMeanwhile: 1 });
    await this.#publishLive();
    await this.#restart("SIGTERM", { publishMeanwhile: 2 });
    await this.#publishLive();
    await this.#evictQuietTopic();
    await this.#restart("SIGKILL", { publishMeanwhile: 1 });
    await this.#publishLive();
    await this.#restart("SIGTERM", { publishMeanwhile: 2 });
    await this.#publishLive();
    await this.#publishLive();
  }

  clientOf(library) {
    return this.clients.find((client) => client.library === library);
  }

  async discard() {
    await Promise.all(this.clients.map((client) => client.discard()));
    await this.#hub?.discard();
    await this.#pages?.discard();
  }

  async #connect(library) {
    this.clients.push(await Client.start(library, this.#hub.port, TARGET, this.#pages));
  }

  async #publish() {
    const data = JSON.stringify({ n: this.published.length + 1 });
    const id = await this.#hub.publish(QUIET_TOPIC, data);
    this.published.push({ type: "message", data, id });
  }

  async #publishLive() {
    await this.#publish();
    const { data } = this.published.at(-1);
    await this.#untilAll(`event ${data}`, (client) => client.seen().some(({ event }) => event.data === data));
  }

  async #restart(signal, { publishMeanwhile }) {
    // Paused taps refuse connections, so no client can be back before these events are published.
    for (const { tap } of this.clients) tap.pause();
    await this.#hub.restart(signal);
    this.#restarts += 1;
    for (let n = 0; n < publishMeanwhile; n += 1) await this.#publish();
    await Promise.all(this.clients.map(({ tap }) => tap.resume()));
    await this.#untilConnected();
  }

  #untilConnected() {
    const what = `stream after ${this.#restarts} restarts`;
    return this.#untilAll(what, (client) => client.streams()[this.#restarts]?.comments >= MIN_COMMENTS);
  }

  /**
   * Publishes other events until no event of the quiet topic is retained. A client can resume without a gap
   * only if a checkpoint has moved its last event id.
   */
  async #evictQuietTopic() {
    let left = 2 * HISTORY;
    let head = 0;
    const publishers = Array.from({ length: PUBLISHERS }, async () => {
      while (left > 0) {
        left -= 1;
        head = Math.max(head, sequence(await this.#hub.publish(BUSY_TOPIC, "busy")));
      }
    });
    await Promise.all(publishers);
    await this.#untilAll("last event id in the newer half of the history", (client) => {
      return sequence(client.streams().at(-1).lastId) >= head - HISTORY / 2;
    });
  }

  /**
   * Waits for every client. After a failed wait, a client is ignored in all later waits, so that the run
   * ends.
   */
  async #untilAll(what, condition) {
    const missing = () => this.clients.filter((client) => !client.gaveUp && !condition(client));
    try {
      await eventually(what, () => missing().length === 0);
    } catch {
      for (const client of missing()) client.gaveUp = `no ${what} within ${BOUND_MS} ms`;
    }
  }
}

/** The number in an id that the hub made, `#<epoch>-<number>`; NaN for any other id. */
function sequence(id) {
  return Number(/-(\d+)$/.exec(id)?.[1]);
}
