// Runs the libraries for browsers in Chromium. Their pages have another origin than the hub, as in most
// deployments, so that CORS is part of the test.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join } from "node:path";

import { launch } from "../../browser/support/browser.mjs";

const ROOT = join(import.meta.dirname, "..");
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript" };

export class Pages {
  #server = createServer(serve);
  #browser;

  static async start() {
    const pages = new Pages();
    pages.#server.listen(0, "127.0.0.1");
    await once(pages.#server, "listening");
    pages.#browser = await launch();
    return pages;
  }

  get origin() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  /**
   * Opens a page in a new browser context, and reports each line of its console.
   * @returns {Promise<() => Promise<void>>} closes the page
   */
  async open(path, onLine) {
    const context = await this.#browser.newContext();
    const page = await context.newPage();
    page.on("console", (message) => onLine(message.text()));
    page.on("pageerror", (error) => onLine(`uncaught: ${error}`));
    await page.goto(`${this.origin}/${path}`);
    return () => context.close();
  }

  async discard() {
    await this.#browser?.close();
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

async function serve(request, response) {
  // The parser has removed every `..` from the path.
  const path = join(ROOT, new URL(request.url, "http://localhost").pathname);
  // Some packages import their own modules without the extension, as bundlers allow.
  const file = extname(path) ? path : `${path}.js`;
  try {
    const content = await readFile(file);
    response.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "text/plain" }).end(content);
  } catch {
    response.writeHead(404).end();
  }
}
