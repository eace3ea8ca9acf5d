// The libraries under test, and the program or page that uses each.

import { existsSync } from "node:fs";
import { join } from "node:path";

const PROGRAMS = join(import.meta.dirname, "../programs");
const PYTHON = join(PROGRAMS, "python/.venv/bin/python");
const GO_PROGRAMS = join(PROGRAMS, "go/bin");

/**
 * @typedef {object} Library
 * @property {string} name
 * @property {string[]} [command] the program; its last argument is the stream's URL
 * @property {string} [page] the page's path below tests/clients; the stream's URL is its parameter `hub`
 * @property {Record<string, string>} [env]
 * @property {string} [missing] why it cannot run here
 * @property {boolean} [messagesOnly] whether its application sees only events of type `message`
 * @property {(stream: ReturnType<import("./client.mjs").Client["streams"]>[number]) => object[]} [extras]
 *   events that the library itself invents when a stream ends
 */

/** @type {Library[]} */
export const LIBRARIES = [
  node("eventsource"),
  node("eventsource-client"),
  node("undici"),
  page("@microsoft/fetch-event-source", "fetch-event-source.mjs"),
  page("sse.js", "sse.js.mjs"),
  page("reconnecting-eventsource", "reconnecting-eventsource.mjs"),
  page("event-source-polyfill", "event-source-polyfill.mjs"),
  { name: "htmx-ext-sse for htmx 2", page: "programs/javascript/htmx-2.html?", messagesOnly: true },
  { name: "hx-sse of htmx 4", page: "programs/javascript/htmx-4.html?" },
  python("httpx-sse", "with_httpx_sse.py"),
  {
    ...python("sseclient", "with_sseclient.py"),
    // sseclient and sseclient-py both install a module named sseclient.
    env: { PYTHONPATH: join(PROGRAMS, "python/.venv/sseclient") },
    // It reads the raw connection, where the end of a chunked body looks like a blank line.
    extras: ({ isComplete }) => (isComplete ? [{ type: "message", data: "", id: null }] : []),
  },
  python("sseclient-py", "with_sseclient_py.py"),
  python("aiohttp-sse-client", "with_aiohttp_sse_client.py"),
  {
    ...go("r3labs/sse", "r3labs-sse"),
    // When a connection is cut, it delivers the lines since the last blank line, even if they are comments.
    extras: ({ unfinished, lastId }) => (unfinished ? [{ type: "message", data: "", id: lastId }] : []),
  },
  go("tmaxmax/go-sse", "tmaxmax-go-sse"),
];

function node(name) {
  return { name, command: [process.execPath, join(PROGRAMS, "javascript", `${name}.mjs`)] };
}

function page(name, program) {
  return { name, page: `programs/javascript/page.html?program=${program}&` };
}

export function python(name, program) {
  return { name, command: [PYTHON, join(PROGRAMS, "python", program)], missing: missingUnless(PYTHON, "Python") };
}

function go(name, program) {
  const binary = join(GO_PROGRAMS, program);
  return { name, command: [binary], missing: missingUnless(binary, "Go") };
}

function missingUnless(file, runtime) {
  return existsSync(file) ? undefined : `the programs in ${runtime} are not installed: scripts/need-client-runtimes says why`;
}
