// The server restarts, or only the connection breaks: the browser reconnects by itself.

import assert from "node:assert/strict";

import { sequence, withoutHoles } from "./support/demo-page.mjs";
import { scenario, SERVER_AWAY } from "./support/scenario.mjs";

const SETTINGS = { ticker: { interval: "100ms" }, stream: { retry: "500ms" } };

for (const { words, signal, ended } of [
  { words: "that is told to end and started again", signal: "SIGTERM", ended: { code: 0, signal: null } },
  { words: "that is killed and started again", signal: "SIGKILL", ended: { code: null, signal: "SIGKILL" } },
]) {
  scenario(`a server ${words} is met again by the browser itself, with one gap and no loss after it`, async (stage) => {
    stage.expectComplaint(SERVER_AWAY);
    const server = await stage.start(SETTINGS);
    const demo = await stage.openDemo(server);
    const panel = demo.panel(1);
    await panel.until("messages", ({ received }) => received >= 5);

    assert.deepEqual(await server.stop(signal), ended);
    const cut = await panel.until("the cut", ({ state }) => state === "reconnecting");
    await server.startAgain(SETTINGS);
    const met = await panel.until("messages again", ({ state, received }) => state === "open" && received >= cut.received + 20);

    const [stream, ...others] = await demo.streams();
    assert.deepEqual(others, [], "the browser reconnects, not the page");
    const [gap, ...more] = stream.gaps;
    assert.deepEqual(more, [], "one gap is counted once");
    assert.deepEqual([gap.reason, gap.requested, gap.missed], ["epoch", cut.lastId, null]);
    const before = sequence(stream.ids.slice(0, cut.received));
    const after = sequence(stream.ids.slice(cut.received));
    assert.deepEqual(before, withoutHoles(before));
    assert.deepEqual(after, after.map((_, at) => at), "every message of the new server, from the first one on");
    assert.match(met.lastGap, /the server was restarted, or a part of its log was lost; numbering starts again/);
    assert.deepEqual([met.missed, met.missedMore, met.duplicated], [0, "and an unknown number", 0]);
    const rows = met.rows.slice().reverse();
    const at = rows.findIndex(({ kind }) => kind === "gap");
    assert.match(rows[at].text, /the server was restarted/);
    assert.equal(rows[at + 1].text, "Message number: 0");
  });
}

scenario("the browser keeps retrying until the server is back", async (stage) => {
  stage.expectComplaint(SERVER_AWAY);
  const server = await stage.start(SETTINGS);
  const demo = await stage.openDemo(server);
  const panel = demo.panel(1);
  await panel.until("messages", ({ received }) => received >= 5);
  const tries = [];
  demo.page.on("requestfailed", (request) => tries.push(request.url()));

  await server.stop("SIGKILL");
  await panel.until("failed attempts", () => tries.filter((url) => url.includes("/events/sse")).length >= 4);
  const cut = await panel.shown();
  await server.startAgain(SETTINGS);
  const met = await panel.until("messages again", ({ state, received }) => state === "open" && received >= cut.received + 5);

  assert.equal(cut.state, "reconnecting");
  assert.deepEqual([met.missed, met.duplicated], [0, 0]);
});

scenario("after a 502 from a proxy, the page opens a new stream and misses nothing", async (stage) => {
  stage.expectComplaint(SERVER_AWAY);
  stage.expectComplaint(/502/);
  const server = await stage.start(SETTINGS);
  const proxy = await stage.startCuttableProxy(server);
  const demo = await stage.openDemo(server, { address: proxy.address });
  const panel = demo.panel(1);
  await panel.until("messages", ({ received }) => received >= 5);
  const isStream = (url) => url.pathname === "/events/sse";
  let refused = 0;
  await demo.page.route(isStream, (route) => {
    refused += 1;
    return route.fulfill({ status: 502 });
  });

  proxy.cut();
  const closed = await panel.until("the end for good", ({ detail }) => /closed the stream for good/.test(detail));
  await panel.until("a second refusal", () => refused >= 2);
  await demo.page.unroute(isStream);
  const met = await panel.until("messages again", ({ state, received }) => state === "open" && received >= closed.received + 5);

  assert.equal(closed.state, "reconnecting");
  const streams = await demo.streams();
  const seqs = sequence(streams.flatMap(({ ids }) => ids));
  assert.deepEqual(seqs, withoutHoles(seqs));
  assert.deepEqual([met.missed, met.missedMore, met.duplicated, met.lastGap], [0, "", 0, null]);
});

scenario("a lost connection costs no message, even after a reconnect by button", async (stage) => {
  stage.expectComplaint(SERVER_AWAY);
  const server = await stage.start(SETTINGS);
  const proxy = await stage.startCuttableProxy(server);
  const demo = await stage.openDemo(server, { address: proxy.address });
  const panel = demo.panel(1);
  await panel.until("messages", ({ received }) => received >= 5);
  // The stream's URL now contains an old id. The newer id in the browser's header must take precedence.
  await panel.press("reconnect");
  await panel.until("more messages", ({ received }) => received >= 15);

  proxy.cut();
  const cut = await panel.until("the cut", ({ state }) => state === "reconnecting");
  const met = await panel.until("messages again", ({ state, received }) => state === "open" && received >= cut.received + 15);

  const streams = await demo.streams();
  const seqs = sequence(streams.flatMap(({ ids }) => ids));
  assert.deepEqual(seqs, withoutHoles(seqs));
  assert.deepEqual(streams.flatMap(({ gaps }) => gaps), []);
  assert.equal(streams.length, 2);
  assert.equal(streams[1].opened, 2);
  assert.deepEqual([met.missed, met.missedMore, met.duplicated, met.lastGap], [0, "", 0, null]);
});
