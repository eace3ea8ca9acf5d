// A subscriber that uses no library. It keeps everything that it receives.

import { eventually } from "../../browser/support/eventually.mjs";
import { readEventStream } from "./event-stream.mjs";

export class Subscriber {
  #text = "";
  #abort = new AbortController();

  /** Opens a stream, and waits for its first bytes: from then on the hub counts it as a subscriber. */
  static async open(url, headers = {}) {
    const subscriber = new Subscriber();
    const response = await fetch(url, { headers, signal: subscriber.#abort.signal });
    if (!response.ok) throw new Error(`${url} was answered with ${response.status}: ${await response.text()}`);
    subscriber.#keep(response.body);
    await eventually("the start of the stream", () => subscriber.#text !== "");
    return subscriber;
  }

  /** Waits until there are at least `count` events, not counting checkpoints, and returns all of them. */
  events(count) {
    const received = () => readEventStream(this.#text).events.filter(({ type }) => type !== "checkpoint");
    return eventually(`${count} events`, () => received().length >= count && received(), () => JSON.stringify(this.#text));
  }

  close() {
    this.#abort.abort();
  }

  async #keep(body) {
    try {
      for await (const text of body.pipeThrough(new TextDecoderStream())) this.#text += text;
    } catch {
      // Either side closed the stream.
    }
  }
}
