// seed.html is the unchanged page of the original request. It contains the fixed URL
// http://localhost:3000/events/sse, so these tests need port 3000.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { connect } from "node:net";
import { pathToFileURL } from "node:url";
import { join } from "node:path";
import { test } from "node:test";

import { eventually } from "./support/eventually.mjs";
import { scenario } from "./support/scenario.mjs";

const PORT = 3000;
const PAGE = join(import.meta.dirname, "seed.html");
const UNCHANGED = "a6ae8e1d59804564492e9b595fb2b31c7f06c66c1d6e35e6d8888fa1d11411c2";

test("the page of the original request is unchanged", async () => {
  const page = await readFile(PAGE);

  assert.equal(createHash("sha256").update(page).digest("hex"), UNCHANGED);
});

for (const { words, open } of [
  { words: "of another origin", open: serve },
  { words: "opened from a file", open: () => pathToFileURL(PAGE).href },
]) {
  scenario(`the page of the original request works unchanged when it is ${words}`, async (stage) => {
    await assertPortIsFree();
    // The page was written for the defaults: port 3000, and one message per second.
    await stage.start({}, PORT);
    const page = await stage.openPage();
    const answers = [];
    page.on("response", (response) => {
      if (response.url().includes("/events/sse")) answers.push(response);
    });

    await page.goto(await open(stage));
    const messages = page.locator("#messages > p");
    await eventually("three messages", async () => (await messages.count()) >= 3);

    const texts = await messages.allTextContents();
    const first = Number(/^Message number: (\d+)$/.exec(texts[0])?.[1]);
    assert.deepEqual(texts, texts.map((_, at) => `Message number: ${first + at}`));
    assert.deepEqual(answers.map((answer) => [answer.url(), answer.status()]), [["http://localhost:3000/events/sse", 200]]);
    const headers = await answers[0].allHeaders();
    assert.equal(headers["access-control-allow-origin"], "*");
    assert.equal(headers["access-control-allow-credentials"], undefined);
    assert.match(headers["content-type"], /^text\/event-stream/);
  });
}

/** Serves the page from another port, and so from another origin. */
async function serve(stage) {
  const page = await readFile(PAGE);
  const server = createServer((request, response) => {
    if (request.url !== "/") return response.writeHead(204).end();
    return response.writeHead(200, { "content-type": "text/html" }).end(page);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stage.discardLater(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${server.address().port}/`;
}

async function assertPortIsFree() {
  for (const host of ["127.0.0.1", "::1"]) {
    const socket = connect(PORT, host);
    const taken = await Promise.race([
      once(socket, "connect").then(() => true),
      once(socket, "error").then(() => false, () => false),
    ]).catch(() => false);
    socket.destroy();
    if (taken) {
      assert.fail(`port ${PORT} of ${host} is taken: end what listens there; this page knows no other address`);
    }
  }
}
