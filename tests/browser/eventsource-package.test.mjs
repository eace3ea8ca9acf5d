// The stream as read by the npm package `eventsource`, an independent client and parser.

import assert from "node:assert/strict";

import { EventSource } from "eventsource";

import { sequence, withoutHoles } from "./support/demo-page.mjs";
import { eventually } from "./support/eventually.mjs";
import { scenario } from "./support/scenario.mjs";

const SETTINGS = { ticker: { interval: "50ms" }, stream: { retry: "300ms" } };

/** Subscribes, and records what arrives and the last event id of each request. */
function subscribe(stage, address) {
  const kept = { messages: [], gaps: [], asked: [], opened: 0 };
  const source = new EventSource(`${address}/events/sse`, {
    fetch: (url, init) => {
      kept.asked.push(new Headers(init.headers).get("last-event-id"));
      return fetch(url, init);
    },
  });
  stage.discardLater(() => source.close());
  source.addEventListener("open", () => (kept.opened += 1));
  source.addEventListener("message", ({ data, lastEventId }) => kept.messages.push({ id: lastEventId, data }));
  source.addEventListener("gap", ({ data }) => kept.gaps.push(JSON.parse(data)));
  return kept;
}

scenario("an independent client reads ids and data unchanged", async (stage) => {
  const message = "Ω {n}: two words, \"quotes\" and a\nsecond line";
  const server = await stage.start({ ...SETTINGS, ticker: { interval: "50ms", message } });
  const kept = subscribe(stage, server.address);

  await eventually("ten messages", () => kept.messages.length >= 10);

  const seqs = sequence(kept.messages.map(({ id }) => id));
  assert.deepEqual(seqs, withoutHoles(seqs));
  assert.deepEqual(kept.messages.map(({ data }) => data), seqs.map((seq) => message.replace("{n}", String(seq))));
  assert.deepEqual(kept.asked, [null]);
  assert.deepEqual(kept.gaps, []);
});

scenario("an independent client resumes after a lost connection without loss", async (stage) => {
  const server = await stage.start(SETTINGS);
  const proxy = await stage.startCuttableProxy(server);
  const kept = subscribe(stage, proxy.address);
  await eventually("messages", () => kept.messages.length >= 5);

  const opened = kept.opened;
  proxy.cut();
  await eventually("a second stream", () => kept.opened > opened);
  const cut = kept.asked.at(-1);
  await eventually("messages again", () => kept.messages.at(-1).id !== cut && kept.messages.length >= 30);

  const seqs = sequence(kept.messages.map(({ id }) => id));
  assert.equal(kept.asked.length, 2);
  assert.ok(kept.messages.some(({ id }) => id === cut), "it resumes after a message that it has received");
  assert.deepEqual(seqs, withoutHoles(seqs));
  assert.deepEqual(kept.gaps, []);
});

scenario("an independent client receives a gap after a restart, and then all messages of the new server", async (stage) => {
  const server = await stage.start(SETTINGS);
  const kept = subscribe(stage, server.address);
  await eventually("messages", () => kept.messages.length >= 5);

  await server.stop();
  const had = kept.messages.length;
  const last = kept.messages.at(-1).id;
  await server.startAgain(SETTINGS);
  await eventually("messages again", () => kept.messages.length >= had + 10);

  assert.ok(kept.asked.slice(1).every((id) => id === last), `it asked with ${kept.asked.join(", ")}; the last id was ${last}`);
  const [{ resumed_after: resumedAfter, ...gap }, ...more] = kept.gaps;
  assert.deepEqual([gap, more], [{ reason: "epoch", requested: last, missed: null }, []]);
  assert.match(resumedAfter, /^#[0-9]+-0$/);
  const seqs = sequence(kept.messages.slice(had).map(({ id }) => id));
  assert.deepEqual(seqs, seqs.map((_, at) => at));
});
