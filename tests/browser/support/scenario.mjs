// Runs one test with its own servers and browser pages, which are discarded when it ends.
//
// A test fails if a page has a console error, an exception, or a violation of the content security policy. So
// every test also checks that there is none.

import { after, test } from "node:test";

import { Broadcaster } from "./broadcaster.mjs";
import { launch } from "./browser.mjs";
import { CuttableProxy } from "./cuttable-proxy.mjs";
import { DemoPage, recordStreams } from "./demo-page.mjs";
import { BOUND_MS } from "./eventually.mjs";
import { PlaygroundPage } from "./playground-page.mjs";

/** What the browser itself logs while a server is down, even if the page handles it. */
export const SERVER_AWAY = /^console: Failed to load resource: net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING|SOCKET_NOT_CONNECTED)/;

const TIMEOUT_MS = 180_000;

/** A promise of the browser that all tests of a file share. Each page has its own profile. */
let browser = null;

after(async () => (await browser)?.close());

/**
 * Defines a test that is named by a sentence.
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
  /** Errors of the pages. */
  complaints = [];
  #discards = [];
  #servers = [];
  #expected = [];

  /** Starts the server; see `Broadcaster.start`. */
  async start(settings, port) {
    const server = await Broadcaster.start(settings, port);
    this.#servers.push(server);
    this.discardLater(() => server.discard());
    return server;
  }

  /** Starts a proxy in front of a server. The test can cut its connections. */
  async startCuttableProxy(server) {
    const proxy = await CuttableProxy.start(server.port);
    this.discardLater(() => proxy.discard());
    return proxy;
  }

  /** Opens the demo page of a server. `address` is for a server that is reached through a proxy. */
  async openDemo(server, { address = server.address, record = true, context } = {}) {
    const page = await this.openPage(context);
    if (record) await page.addInitScript(recordStreams);
    await page.goto(`${address}/`);
    return new DemoPage(page);
  }

  /**
   * Opens the playground with the link that the server prints, or without its token. `address` is for a
   * server that is reached through a proxy.
   */
  async openPlayground(server, { address = server.address, withToken = true, context } = {}) {
    const page = await this.openPage(context);
    const hash = withToken ? new URL(await server.playgroundLink()).hash : "";
    await page.goto(`${address}/${hash}`);
    return new PlaygroundPage(page);
  }

  /** Opens a blank page whose errors are recorded. It has its own profile, unless `context` is given. */
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
    // All tests that run at the same time share this promise, and so one browser.
    browser ??= launch();
    const context = await (await browser).newContext(options);
    this.discardLater(() => context.close());
    return context;
  }

  /** Accepts an error that the test causes on purpose. */
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

  /** Prints logs and errors of a failed test. */
  tell() {
    for (const { port, log } of this.#servers) console.error(`--- log of the server on port ${port}:\n${log}`);
    if (this.complaints.length > 0) console.error(`--- the page complained:\n${this.complaints.join("\n")}`);
  }

  async clear() {
    for (const discard of this.#discards.reverse()) await discard();
  }
}
