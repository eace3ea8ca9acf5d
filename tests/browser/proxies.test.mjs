// The recipes in deploy/, each run with its real proxy. Events pass immediately. While the server is down,
// the proxy answers with a short stream, because an `EventSource` never reconnects after an error status.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { describe, test } from "node:test";

import { recordStreams } from "./support/demo-page.mjs";
import { eventually } from "./support/eventually.mjs";
import { freePort, Proxy } from "./support/proxy.mjs";
import { CLUSTER, locate, RECIPES, withListedOrigins, withShortTimeout } from "./support/recipes.mjs";
import { scenario } from "./support/scenario.mjs";

const HUB = "/.well-known/mercure";
const TOPIC = "https://example.com/numbers";
const SETTINGS = { log: { kind: "file" }, ticker: { enabled: false }, stream: { retry: "500ms" } };
const STREAM = { accept: "text/event-stream", origin: "https://elsewhere.example" };
const FORM = { "content-type": "application/x-www-form-urlencoded" };
/** Matches a response of exactly one block. */
const RETRY_BLOCK = /^retry: (\d+)\nevent: checkpoint\ndata: \{\}\n\n$/;
/**
 * Time limit in ms for what must happen immediately. Shorter than the heartbeat, because a heartbeat can hide
 * an event that the proxy held back.
 */
const PROMPT_MS = 5000;
const OUTAGE_MS = 3000;
/** What the browser logs when a stream breaks off, and about the icon that the server does not have. */
const EXPECTED = /^console: Failed to load resource: (net::ERR_(HTTP2_|INCOMPLETE_|CONNECTION_|EMPTY_)|the server responded with a status of 404)/;

describe("Behind a proxy", { concurrency: true }, () => {
  for (const recipe of RECIPES) {
    withProxy(recipe, `behind ${recipe.proxy}, an EventSource survives an outage and misses nothing`, survivesAnOutage);
    withProxy(recipe, `${recipe.proxy} forwards a QUERY, and a path with encoded slashes`, passesRequestsOn);
    withProxy(recipe, `${recipe.proxy} forwards a large bulk request and all answers to it`, passesABulkRequest);
    withProxy(recipe, `${recipe.proxy} answers a stream with a retry if the server resets the connection or never responds`, survivesABrokenServer);
    withProxy(recipe, `while the server is down, ${recipe.proxy} lets pages of listed origins read its answer`, answersListedOrigins);
  }
  for (const recipe of RECIPES.filter(({ closesLate }) => !closesLate)) {
    withProxy(recipe, `${recipe.proxy} closes a stream to the server when its client has left`, endsAbandonedStreams);
  }
  withProxy(CLUSTER, `${CLUSTER.proxy} uses the servers that are up, and answers streams with a retry while none is`, survivesWithoutServers);
});

/** A scenario that is skipped if the proxy is not installed. */
function withProxy(recipe, sentence, body) {
  if (locate(recipe.program)) {
    scenario(sentence, (stage) => body(stage, recipe));
  } else {
    test(sentence, { skip: `${recipe.program} is not installed: scripts/need-proxies installs it` });
  }
}

async function survivesAnOutage(stage, recipe) {
  stage.expectComplaint(EXPECTED);
  const server = await stage.start(SETTINGS, await freePort());
  const proxy = await startProxy(stage, recipe, [server.port]);
  // The second page is loaded from the server's own address, which is another origin than the proxy.
  const pages = await Promise.all([subscribe(stage, proxy, proxy.address), subscribe(stage, proxy, server.address)]);
  const ids = [];

  for (let number = 1; number <= 5; number += 1) {
    const published = performance.now();
    ids.push(await publish(server, number, (request) => proxy.ask(HUB, request)));
    await untilReceived(pages, ids);
    const took = performance.now() - published;
    assert.ok(took < PROMPT_MS, `an event took ${took} ms`);
  }
  const before = await Promise.all(pages.map(stream));
  assert.deepEqual(before.map(({ opened }) => opened), [1, 1]);

  await server.stop("SIGKILL");
  const killed = performance.now();
  await assertAnswersWithoutServer(proxy);
  await eventually(`an outage of ${OUTAGE_MS} ms, in which each page retried twice`, async () => {
    const streams = await Promise.all(pages.map(stream));
    return performance.now() - killed > OUTAGE_MS && streams.every(({ opened }) => opened >= 3);
  });
  await server.startAgain(SETTINGS);
  for (let number = 6; number <= 10; number += 1) ids.push(await publish(server, number));
  await untilReceived(pages, ids);
  // A duplicate would have arrived before this event.
  ids.push(await publish(server, 11, (request) => proxy.ask(HUB, request)));
  await untilReceived(pages, ids);

  for (const { ids: received, gaps } of await Promise.all(pages.map(stream))) {
    assert.deepEqual(received, ids);
    assert.deepEqual(gaps, []);
  }
  const protocols = await pages[0].evaluate(() => {
    const kinds = ["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind));
    return kinds.filter(({ name }) => !name.endsWith("/favicon.ico")).map(({ nextHopProtocol }) => nextHopProtocol);
  });
  // The page, the stream that broke off, and the responses while the server was down.
  assert.ok(protocols.length >= 4, `${protocols.length} requests`);
  assert.deepEqual([...new Set(protocols)], ["h2"]);
}

async function survivesABrokenServer(stage, recipe) {
  const resetting = await startBroken(stage, (socket) => socket.resetAndDestroy());
  const hanging = await startBroken(stage, () => {});
  const proxies = [
    await startProxy(stage, recipe, [resetting]),
    await startProxy(stage, recipe, [hanging], withShortTimeout),
  ];

  await Promise.all(proxies.map(assertAnswersWithoutServer));
}

async function passesRequestsOn(stage, recipe) {
  const settings = { ...SETTINGS, hub: { subscriptions: true } };
  const server = await stage.start(settings, await freePort());
  const proxy = await startProxy(stage, recipe, [server.port]);
  // If the proxy decoded the path once too often, this would be another topic.
  const topic = "https://example.com/a%2Fb";
  const body = `${new URLSearchParams({ match: topic })}`;

  const stream = await proxy.open(HUB, { method: "QUERY", headers: { ...STREAM, ...FORM }, body });
  const path = `${HUB}/subscriptions/exact/${encodeURIComponent(topic)}`;
  const listed = await proxy.ask(path, { headers: await authorization(server) });
  stream.destroy();

  assert.equal(stream.statusCode, 200);
  assert.equal(listed.status, 200, listed.body);
  assert.deepEqual(JSON.parse(listed.body).subscriptions.map(({ match }) => match), [topic]);
}

async function passesABulkRequest(stage, recipe) {
  const server = await stage.start(SETTINGS, await freePort());
  const proxy = await startProxy(stage, recipe, [server.port]);
  const headers = { ...(await authorization(server)), "content-type": "application/x-ndjson" };
  const line = JSON.stringify({ topic: TOPIC, data: "x".repeat(50) });
  const body = `${line}\n`.repeat(60_000);

  // How much the proxy has forwarded when the response arrives differs from request to request.
  for (const more of [{}, { expect: "100-continue" }, {}, { expect: "100-continue" }, {}]) {
    const { status, body: answers } = await proxy.ask(HUB, { method: "POST", headers: { ...headers, ...more }, body });

    assert.equal(status, 200, proxy.log);
    const ids = answers.trimEnd().split("\n").map((answer) => JSON.parse(answer).id);
    assert.equal(new Set(ids).size, 60_000, answers.slice(-500));
  }
}

async function endsAbandonedStreams(stage, recipe) {
  const server = await stage.start(SETTINGS, await freePort());
  const proxy = await startProxy(stage, recipe, [server.port]);
  const untilSubscribers = (count) =>
    eventually(`${count} subscribers`, async () => {
      const { live, catching_up: catchingUp } = (await server.status()).subscribers;
      return live + catchingUp === count;
    });
  const response = await proxy.open(`${HUB}?match=*`, { headers: STREAM });
  await untilSubscribers(1);

  const left = performance.now();
  response.destroy();
  await untilSubscribers(0);

  const took = performance.now() - left;
  assert.ok(took < PROMPT_MS, `the stream ended after ${took} ms`);
}

async function answersListedOrigins(stage, recipe) {
  const proxy = await startProxy(stage, recipe, [await freePort()], withListedOrigins);
  const headers = async (origin) => {
    const { status, headers, body } = await proxy.ask(HUB, { headers: { ...STREAM, origin } });
    assert.equal(status, 200);
    assert.match(body, RETRY_BLOCK);
    assert.match(headers.vary, /\borigin\b/i);
    return [headers["access-control-allow-origin"], headers["access-control-allow-credentials"]];
  };

  const listed = ["https://app.example.org", "https://www.example.org"];
  const others = ["https://elsewhere.example", "https://appXexample.org", "https://app.example.org.evil.example"];
  const answers = await Promise.all([...listed, ...others].map(headers));

  assert.deepEqual(answers.slice(0, 2), listed.map((origin) => [origin, "true"]));
  for (const [allowed] of answers.slice(2)) assert.equal(allowed, undefined);
}

async function survivesWithoutServers(stage, recipe) {
  const server = await stage.start(SETTINGS, await freePort());
  const proxy = await startProxy(stage, recipe, [await freePort(), server.port, await freePort()]);
  const byProxy = (request) => proxy.ask(HUB, request);

  // More requests than servers, so that nginx tries each server first at least once.
  for (let number = 1; number <= 4; number += 1) await publish(server, number, byProxy);
  await server.stop("SIGKILL");
  await assertAnswersWithoutServer(proxy);
  await server.startAgain(SETTINGS);
  await eventually("the server to be asked again", async () => (await proxy.ask("/healthz")).status === 200);
  // Several requests, so that every worker of nginx is tested.
  const answers = await Promise.all(Array.from({ length: 10 }, () => proxy.ask("/healthz")));
  assert.ok(answers.every(({ status }) => status === 200), answers.map(({ status }) => status).join());
}

/**
 * Asserts that a stream receives a `retry:` with a varying delay, and that every other request receives an
 * error status.
 */
async function assertAnswersWithoutServer(proxy) {
  const answers = await Promise.all([1, 2, 3].map(() => proxy.ask(`${HUB}?match=*`, { headers: STREAM })));
  for (const { status, headers, body } of answers) {
    assert.equal(status, 200);
    assert.equal(headers["content-type"], "text/event-stream");
    assert.equal(headers["cache-control"], "no-cache, no-transform");
    assert.equal(headers["access-control-allow-origin"], "*");
    assert.equal(headers["access-control-allow-credentials"], undefined);
    assert.match(body, RETRY_BLOCK);
  }
  const retries = answers.map(({ body }) => Number(RETRY_BLOCK.exec(body)[1]));
  assert.ok(new Set(retries).size > 1, `all have the same retry: ${retries}`);
  for (const retry of retries) assert.ok(retry >= 1000 && retry < 2000, `${retry} ms`);

  const others = await Promise.all([
    proxy.ask("/healthz"),
    proxy.ask(HUB, { method: "POST", headers: STREAM, body: "topic=a" }),
    proxy.ask(HUB, { method: "HEAD", headers: STREAM }),
  ]);
  for (const { status } of others) assert.ok([502, 503, 504].includes(status), `status ${status}`);
}

/** Starts a server that calls `onRequest` for each request. Returns its port. */
async function startBroken(stage, onRequest) {
  const server = createServer((socket) => {
    // The proxy may also reset the connection.
    socket.on("error", () => {});
    socket.on("data", () => onRequest(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stage.discardLater(() => server.close());
  return server.address().port;
}

async function startProxy(stage, recipe, upstreams, adapt) {
  const proxy = await Proxy.start(recipe, upstreams, adapt);
  stage.discardLater(() => proxy.discard());
  return proxy;
}

/** Opens a page at this address, with a stream through the proxy. Resolves when the stream is open. */
async function subscribe(stage, proxy, address) {
  const page = await stage.openPage(await stage.openContext({ ignoreHTTPSErrors: true }));
  await page.addInitScript(recordStreams);
  await page.goto(`${address}/healthz`);
  await page.evaluate((url) => void new EventSource(url), `${proxy.address}${HUB}?match=${encodeURIComponent(TOPIC)}`);
  await eventually("an open stream", async () => (await stream(page)).opened === 1, () => proxy.log);
  return page;
}

async function stream(page) {
  const [recorded] = await page.evaluate(() => globalThis.recordedStreams);
  return recorded;
}

/** Publishes a number at the server, or with `send`, and returns the event's id. */
async function publish(server, number, send = (request) => sendTo(server, request)) {
  const { status, body } = await send({
    method: "POST",
    headers: { ...(await authorization(server)), ...FORM },
    body: `${new URLSearchParams({ topic: TOPIC, data: `${number}` })}`,
  });
  assert.equal(status, 200, body);
  return body;
}

async function authorization(server) {
  const token = new URL(await server.playgroundLink()).hash.slice("#token=".length);
  return { authorization: `Bearer ${token}` };
}

async function sendTo(server, request) {
  const response = await fetch(server.address + HUB, request);
  return { status: response.status, body: await response.text() };
}

/** Waits until each page has received the event with the last of these ids. */
function untilReceived(pages, ids) {
  const has = async (page) => (await stream(page)).ids.includes(ids.at(-1));
  return eventually(`event ${ids.at(-1)}`, async () => (await Promise.all(pages.map(has))).every(Boolean));
}
