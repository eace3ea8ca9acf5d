// One test against servers and browser pages of its own, which are gone when it ends.
//
// Whatever a page complains of fails the test: console errors, exceptions, violations of the
// content security policy. So "there is nothing to complain of" is part of every test.

import { after, test } from "node:test";

import { Broadcaster } from "./broadcaster.mjs";
import { launch } from "./browser.mjs";
import { CuttableProxy } from "./cuttable-proxy.mjs";
import { DemoPage, recordStreams } from "./demo-page.mjs";
import { BOUND_MS } from "./eventually.mjs";
import { PlaygroundPage } from "./playground-page.mjs";

/** What the browser itself logs while a server is away, however well the page behaves. */
export const SERVER_AWAY = /^console: Failed to load resource: net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING|SOCKET_NOT_CONNECTED)/;

const TIMEOUT_MS = 180_000;

/** A promise of one browser for a file of tests; each page has a profile of its own in it. */
let browser = null;

after(async () => (await browser)?.close());

/**
 * A test that is named by a sentence.
 * @param {string} sentence
 * @param {(stage: Stage) => Promise<void>} body
 */
export function scenario(sentence, body) {
  test(sentence, { timeout: TIMEOUT_MS }, async () => {
    const stage = new Stage();
    try {
      await body(stage);
      stage.assertNoComplaints();
    } catch (error) {
      stage.tell();
      throw error;
    } finally {
      await stage.clear();
    }
  });
}

class Stage {
  /** What the pages complained of. */
  complaints = [];
  #discards = [];
  #servers = [];
  #expected = [];

  /** Starts the binary; see `Broadcaster.start`. */
  async start(settings, port) {
    const server = await Broadcaster.start(settings, port);
    this.#servers.push(server);
    this.discardLater(() => server.discard());
    return server;
  }

  /** Starts a proxy in front of a server, whose connections the test can cut. */
  async startCuttableProxy(server) {
    const proxy = await CuttableProxy.start(server.port);
    this.discardLater(() => proxy.discard());
    return proxy;
  }

  /** Opens the demo page of a server, at `address` if it is reached by another way. */
  async openDemo(server, { address = server.address, record = true, context } = {}) {
    const page = await this.openPage(context);
    if (record) await page.addInitScript(recordStreams);
    await page.goto(`${address}/`);
    return new DemoPage(page);
  }

  /**
   * Opens the playground by the link that the server prints, or without its token; at `address` if
   * the server is reached by another way.
   */
  async openPlayground(server, { address = server.address, withToken = true, context } = {}) {
    const page = await this.openPage(context);
    const hash = withToken ? new URL(await server.playgroundLink()).hash : "";
    await page.goto(`${address}/${hash}`);
    return new PlaygroundPage(page);
  }

  /** A blank page that is listened to. In a profile of its own, unless a `context` is given. */
  async openPage(context) {
    const page = await (context ?? (await this.openContext())).newPage();
    page.setDefaultTimeout(BOUND_MS);
    page.on("console", (message) => {
      if (message.type() === "error") this.complaints.push(`console: ${message.text()}`);
    });
    page.on("pageerror", (error) => this.complaints.push(`exception: ${error.stack}`));
    await page.exposeFunction("complainOfPolicy", (text) => this.complaints.push(`policy: ${text}`));
    await page.addInitScript(() => {
      addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
        globalThis.complainOfPolicy(`${violatedDirective} forbids ${blockedURI}`);
      });
    });
    return page;
  }

  async openContext(options) {
    // The promise is kept, so that scenarios that run at the same time share one browser.
    browser ??= launch();
    const context = await (await browser).newContext(options);
    this.discardLater(() => context.close());
    return context;
  }

  /** Lets a complaint pass that is a consequence of what the test does. */
  expectComplaint(pattern) {
    this.#expected.push(pattern);
  }

  discardLater(discard) {
    this.#discards.push(discard);
  }

  assertNoComplaints() {
    const complaints = this.complaints.filter((text) => !this.#expected.some((pattern) => pattern.test(text)));
    if (complaints.length > 0) throw new Error(`the page complains:\n${complaints.join("\n")}`);
  }

  /** For a test that has failed. */
  tell() {
    for (const { port, log } of this.#servers) console.error(`--- log of the server on port ${port}:\n${log}`);
    if (this.complaints.length > 0) console.error(`--- the page complained:\n${this.complaints.join("\n")}`);
  }

  async clear() {
    for (const discard of this.#discards.reverse()) await discard();
  }
}
