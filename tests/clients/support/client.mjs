// One library under test: its application, and the wiretap between it and the server.

import { Application } from "./application.mjs";
import { readEventStream } from "./event-stream.mjs";
import { Wiretap } from "./wiretap.mjs";

/** Some libraries send the last event id in the query instead of the header. */
const ID_PARAMETERS = ["last_event_id", "lastEventId"];

export class Client {
  library;
  tap;
  /** Why the test stopped waiting for this client; null while it has not. */
  gaveUp = null;
  #application;

  /** @param {import("./libraries.mjs").Library} library */
  static async start(library, serverPort, target, pages) {
    const client = new Client();
    client.library = library;
    client.tap = await Wiretap.start(serverPort);
    try {
      client.#application = await Application.start(library, `${client.tap.address}${target}`, pages);
    } catch (error) {
      client.tap.discard();
      throw error;
    }
    return client;
  }

  /** The events that its application saw, in order. An event without a type is a `message`. */
  seen() {
    return this.#application.events().map(({ type, data, id, problem }) => ({ event: { type: type || "message", data, id }, problem }));
  }

  /** The streams that the server sent to it, in order, each with the last event id in its request. */
  streams() {
    const opened = this.tap.exchanges().filter(({ method, response }) => method === "GET" && response);
    return opened.map(({ target, headers, response }) => {
      const query = new URL(target, "http://localhost").searchParams;
      const named = ID_PARAMETERS.map((name) => query.get(name)).find((id) => id !== null);
      const asked = headers["last-event-id"] ?? named ?? "";
      return { asked, isComplete: response.isComplete, ...readEventStream(response.body.toString()) };
    });
  }

  /** For a failed test: the errors that its application saw, and all other output. */
  get log() {
    return this.#application.log;
  }

  async discard() {
    await this.#application.stop();
    this.tap.discard();
  }
}
