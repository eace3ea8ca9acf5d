// A TCP proxy between a client and the server. It records both directions, so that a test can compare
// what an application saw with the bytes that the server sent to it. It forwards bytes unchanged, as
// they arrive, because some clients depend on how the body is split into chunks.

import { once } from "node:events";
import { connect, createServer } from "node:net";

import { readExchanges } from "./http-exchanges.mjs";

export class Wiretap {
  /** The bytes of each connection, in the order in which the client opened them. */
  #connections = [];
  #sockets = new Set();
  #serverPort;
  #listener;
  #port = 0;

  static async start(serverPort) {
    const tap = new Wiretap();
    tap.#serverPort = serverPort;
    await tap.resume();
    return tap;
  }

  get address() {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Accepts connections, always on the same port. */
  async resume() {
    this.#listener = createServer((inbound) => this.#relay(inbound));
    this.#listener.listen(this.#port, "127.0.0.1");
    await once(this.#listener, "listening");
    this.#port = this.#listener.address().port;
  }

  /** Refuses new connections, like a server that is not running. Open connections stay open. */
  pause() {
    this.#listener.close();
  }

  /** All requests, each with its response or the part of it that has arrived. */
  exchanges() {
    return this.#connections.flatMap(({ sent, received }) => readExchanges(Buffer.concat(sent), Buffer.concat(received)));
  }

  discard() {
    this.pause();
    for (const socket of this.#sockets) socket.destroy();
  }

  #relay(inbound) {
    const outbound = connect(this.#serverPort, "127.0.0.1");
    const connection = { sent: [], received: [] };
    this.#connections.push(connection);
    inbound.on("data", (bytes) => connection.sent.push(bytes));
    outbound.on("data", (bytes) => connection.received.push(bytes));
    for (const [from, to] of [[inbound, outbound], [outbound, inbound]]) {
      this.#sockets.add(from);
      from.pipe(to);
      // pipe() forwards an end, but not an error. Do not use resetAndDestroy(): on a socket that is
      // shutting down, Node 20 then never exits.
      from.on("error", () => to.destroy());
      from.on("close", () => this.#sockets.delete(from));
    }
  }
}
