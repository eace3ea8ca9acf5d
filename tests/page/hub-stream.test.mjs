// The reconnecting stream, tested with a fake `fetch`: what it sends, what it retries, and what ends it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { HubStream } from "../../static/hub-stream.js";

const encoder = new TextEncoder();
const STREAM = { "content-type": "text/event-stream" };

/** A response that sends `text` and then ends, or breaks off if `isCut`. */
function streamOf(text, { headers = {}, isCut = false } = {}) {
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(encoder.encode(text));
      if (!isCut) controller.close();
    },
    pull(controller) {
      controller.error(new TypeError("network error"));
    },
  }, { highWaterMark: 0 });
  return new Response(body, { status: 200, headers: { ...STREAM, ...headers } });
}

function problem(status, detail) {
  const body = JSON.stringify({ type: "about:blank", title: "Told", status, detail });
  return new Response(body, { status, headers: { "content-type": "application/problem+json" } });
}

const refusal = () => problem(403, "enough");

/**
 * Runs a stream until it ends for good. Each connection receives the next answer.
 * @param {(Response | Error)[]} answers the last one must end the stream
 */
async function run(answers, { address = "/hub?match=a", token = () => "" } = {}) {
  const told = { requests: [], waits: [], states: [], events: [] };
  const rest = [...answers];
  const stream = new HubStream({
    address,
    token,
    fetch: async (url, { headers, credentials }) => {
      told.requests.push({ url, headers, credentials });
      const answer = rest.shift();
      if (answer instanceof Error) throw answer;
      return answer;
    },
    wait: async (ms) => told.waits.push(ms),
    changed: () => told.states.push([stream.state, stream.detail]),
    received: (event) => told.events.push(event),
  });
  await stream.open();
  return { ...told, stream };
}

test("a reconnect waits for the retry of the stream and sends the last id", async () => {
  const { requests, waits, events, states } = await run([
    streamOf("retry: 3000\n: connected\nid: urn:1\ndata: a\n\n"),
    streamOf("id: urn:2\ndata: b\n\n"),
    refusal(),
  ]);

  assert.deepEqual(requests.map(({ headers }) => headers["Last-Event-ID"]), [undefined, "urn:1", "urn:2"]);
  assert.deepEqual(waits, [3000, 3000]);
  assert.deepEqual(events.map(({ data }) => data), ["a", "b"]);
  assert.deepEqual(states.map(([state]) => state), ["connecting", "open", "reconnecting", "open", "reconnecting", "ended"]);
});

test("a checkpoint moves the last id and is not delivered as an event", async () => {
  const { requests, events, states } = await run([
    streamOf("retry: 3000\n: connected\nevent: checkpoint\nid: #7-0\ndata: {}\n\n"),
    refusal(),
  ]);

  assert.equal(requests[1].headers["Last-Event-ID"], "#7-0");
  assert.deepEqual(events, []);
  assert.match(states.at(-2)[1], /^The stream ended\./);
});

test("a refusal ends the stream for good and shows the hub's reason", async () => {
  for (const status of [400, 401, 403, 404, 429]) {
    const { states, waits } = await run([problem(status, "because")]);

    assert.deepEqual(states.at(-1), ["ended", `${status} Told: because`]);
    assert.deepEqual(waits, []);
  }
});

test("an error without a problem document is described by its status", async () => {
  const { states } = await run([new Response("<html>", { status: 404, statusText: "Not Found" })]);

  assert.deepEqual(states.at(-1), ["ended", "404 Not Found"]);
});

test("the stream reconnects after no answer, a 503, a lost connection and a full server", async () => {
  const { states, waits, events } = await run([
    new TypeError("fetch failed"),
    problem(503, "draining"),
    streamOf("data: a\n\ndata: cut o", { isCut: true }),
    streamOf("retry: 900\nevent: checkpoint\ndata: {}\n\n"),
    refusal(),
  ]);

  const details = states.filter(([state]) => state === "reconnecting").map(([, detail]) => detail);
  assert.match(details[0], /^No answer\./);
  assert.match(details[1], /^503 Told: draining Trying again/);
  assert.match(details[2], /was cut/);
  assert.match(details[3], /may be full/);
  assert.equal(waits.length, 4);
  assert.deepEqual(events.map(({ data }) => data), ["a"]);
});

test("a response that is not an event stream ends the stream", async () => {
  for (const answer of [new Response("{}", { headers: { "content-type": "application/json" } }), new Response(null, { status: 204 })]) {
    const { states } = await run([answer]);

    assert.deepEqual(states.at(-1), ["ended", `${answer.status}, but the answer is not an event stream.`]);
  }
});

test("each connection sends the current token in a header and no cookie", async () => {
  const tokens = ["one", "two", ""];
  const { requests } = await run([streamOf("data: a\n\n"), streamOf("data: a\n\n"), refusal()], { token: () => tokens.shift() });

  assert.deepEqual(requests.map(({ headers }) => headers.Authorization), ["Bearer one", "Bearer two", undefined]);
  assert.ok(requests.every(({ url, credentials }) => url === "/hub?match=a" && credentials === "omit"));
});

test("an extreme retry is limited", async () => {
  const day = 24 * 60 * 60 * 1000;
  const { waits } = await run([streamOf("retry: 0\n\n"), streamOf(`retry: ${"9".repeat(400)}\n\n`), refusal()]);

  assert.deepEqual(waits, [250, day]);
});

test("a non-ASCII id is sent as UTF-8", async () => {
  const { requests } = await run([streamOf("id: é😀\ndata: a\n\n"), refusal()]);

  const sent = new Headers(requests[1].headers).get("last-event-id");
  assert.equal(Buffer.from(sent, "latin1").toString("utf8"), "é😀");
});

test("the detail says where the hub resumes, compared with the requested id", async () => {
  const anchored = (id) => streamOf("data: a\n\n", { headers: { "mercure-last-event-id": id } });
  const address = "/hub?match=a&last_event_id=urn%3A7";
  const { states } = await run([anchored("urn:7"), anchored("urn:9"), anchored("earliest"), refusal()], { address });

  assert.deepEqual(states.filter(([state]) => state === "open").map(([, detail]) => detail), [
    "Continues after urn:7.",
    "Asked for what came after urn:7; the hub continues after urn:9.",
    "Asked for what came after urn:7; the hub continues with the first event it has.",
  ]);
});

test("an event that is too large ends the stream", async () => {
  const { states } = await run([streamOf(`data: ${"x".repeat(5_000_000)}`)]);

  assert.deepEqual([states.at(-1)[0], /cannot be read on/.test(states.at(-1)[1])], ["ended", true]);
});

test("after close no callback is called, even if data still arrives", async () => {
  const told = [];
  const stream = new HubStream({
    address: "/hub?match=a",
    token: () => "",
    fetch: async () => streamOf("data: a\n\ndata: b\n\n"),
    changed: () => told.push(stream.state),
    received: ({ data }) => {
      told.push(data);
      stream.close();
    },
  });

  await stream.open();

  assert.deepEqual(told, ["connecting", "open", "a"]);
  assert.equal(stream.state, "ended");
});
