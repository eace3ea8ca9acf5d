// The examples for pages in docs/guide, run exactly as printed.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { withoutHoles } from "./support/demo-page.mjs";
import { eventually } from "./support/eventually.mjs";
import { scenario, SERVER_AWAY } from "./support/scenario.mjs";

const PAGE = join(import.meta.dirname, "../../docs/guide/browsers-and-clients.md");
const VALUES_PAGE = join(import.meta.dirname, "../../docs/guide/current-values.md");
const ADDRESS = "http://localhost:3000";

async function example(address) {
  const [, code] = /```js\n(let lastId[^`]*(?:`[^`]+`[^`]*)*?)```/.exec(await readFile(PAGE, "utf8"));
  assert.ok(code.includes(ADDRESS));
  return code.replace(ADDRESS, address);
}

scenario("the guide's example misses nothing when a proxy answers with 502", async (stage) => {
  stage.expectComplaint(SERVER_AWAY);
  stage.expectComplaint(/502/);
  const server = await stage.start({ ticker: { interval: "50ms" } });
  const proxy = await stage.startCuttableProxy(server);
  const page = await stage.openPage();
  const numbers = [];
  page.on("console", (message) => {
    const [, number] = /^Message number: (\d+)$/.exec(message.text()) ?? [];
    if (number !== undefined) numbers.push(Number(number));
  });
  await page.addScriptTag({ content: await example(proxy.address) });
  await eventually("messages", () => numbers.length >= 5);
  let refused = 0;
  await page.route("**/events/sse*", (route) => {
    refused += 1;
    return route.fulfill({ status: 502, headers: { "access-control-allow-origin": "*" } });
  });

  proxy.cut();
  await eventually("a new stream of the page that the proxy refuses", () => refused >= 2);
  await page.unroute("**/events/sse*");
  const before = numbers.length;
  await eventually("messages again", () => numbers.length >= before + 20);

  assert.deepEqual(numbers, withoutHoles(numbers));
});

scenario("the guide's example shows the current values and then the changes", async (stage) => {
  const page = await readFile(VALUES_PAGE, "utf8");
  const [, code] = /```js\n(const url[^`]*)```/.exec(page);
  const server = await stage.start({ ticker: { enabled: false } });
  const playground = await stage.openPlayground(server);
  const publish = (topics, data) => playground.publish({ topics, data: JSON.stringify(data) });
  await publish("/scores/2", "0:0");
  await publish("/scores/1", "0:0");
  await publish("/scores/2", "1:0");

  await playground.page.evaluate(`globalThis.shown = []; globalThis.show = (data) => shown.push(data); ${code}`);
  await eventually("both values", async () => (await playground.page.evaluate("shown.length")) === 2);
  await publish("/scores/1", "0:1");
  await eventually("the change", async () => (await playground.page.evaluate("shown.length")) === 3);

  assert.deepEqual(await playground.page.evaluate("shown"), ["0:0", "1:0", "0:1"]);
});
