// A proxy in front of a server. The test can cut all connections at once; new connections are still accepted.

import { once } from "node:events";
import { connect, createServer } from "node:net";

export class CuttableProxy {
  #server;
  #sockets = new Set();

  static async start(targetPort) {
    const proxy = new CuttableProxy();
    proxy.#server = createServer((inbound) => {
      const outbound = connect(targetPort, "127.0.0.1");
      inbound.pipe(outbound).pipe(inbound);
      for (const [socket, other] of [[inbound, outbound], [outbound, inbound]]) {
        proxy.#sockets.add(socket);
        // A reset of one side must end the other side.
        socket.on("error", () => other.destroy());
        socket.on("close", () => {
          proxy.#sockets.delete(socket);
          other.destroy();
        });
      }
    });
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get address() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  /** Resets every connection. */
  cut() {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async discard() {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.cut();
    await closed;
  }
}
