// What the playground records: events, presence events among them, and the list of active subscriptions.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ActiveSubscriptions, SUBSCRIPTIONS_KEPT } from "../../static/active-subscriptions.js";
import { readOwnEvent } from "../../static/hub-event.js";
import { EVENTS_KEPT, HubSubscription } from "../../static/hub-subscription.js";
import { timeOfDay } from "../../static/time-of-day.js";

const document = (number, fields = {}) => ({
  id: `/subscriptions/exact/a/${number}`,
  type: "subscription",
  match_type: "exact",
  match: "a",
  subscriber: `urn:${number}`,
  active: true,
  ...fields,
});

/** Subscribes to a stream that sends `text` and stays open. Resolves when `count` events have arrived. */
async function subscribed(text, count) {
  const news = [];
  const active = new ActiveSubscriptions();
  let isIn;
  const all = new Promise((resolve) => (isIn = resolve));
  const subscription = new HubSubscription({
    fetch: async () => new Response(new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode(text)),
    }), { headers: { "content-type": "text/event-stream" } }),
    token: () => "",
    wallClock: () => 1000,
    active,
    changed: (item) => {
      if (item) news.push(item);
      if (subscription.received === count) isIn();
    },
  });
  subscription.subscribe("/hub?match=a");
  await all;
  return { subscription, active, news };
}

test("an event is kept with its fields and its time", async () => {
  const { subscription } = await subscribed("topic: /a\ntopic: /b\nevent: book\nid: urn:1\nretry: 300\ndata: x\ndata: y\n\n", 1);

  assert.deepEqual(subscription.entries.since(0), [
    { kind: "published", type: "book", sentence: "", topic: "/a\n/b", id: "urn:1", retry: 300, data: "x\ny", at: 1000 },
  ]);
  assert.equal(subscription.lastEventId, "urn:1");
  subscription.stop();
  assert.deepEqual([subscription.state, subscription.detail], ["ended", "Stopped here."]);
});

test("the end of a snapshot is shown, and is not counted as an event", async () => {
  const text = "id: 1\ndata: value\n\nevent: checkpoint\nid: 2\ndata: {\"snapshot\":\"partial\"}\n\n"
    + "event: checkpoint\nid: 3\ndata: {}\n\ndata: change\n\n";
  const { subscription } = await subscribed(text, 2);

  const [value, end, change] = subscription.entries.since(0);
  assert.deepEqual([value.data, end.kind, change.data], ["value", "own checkpoint", "change"]);
  assert.match(end.sentence, /missing or outdated/);
  assert.match(readOwnEvent({ type: "checkpoint", data: '{"snapshot":"complete"}' }).sentence, /^These were all/);
  assert.equal(subscription.lastEventId, "3");
});

test("only the newest events are kept, and long data is truncated", async () => {
  const flood = Array.from({ length: 1000 }, (_, at) => `id: ${at}\ndata: ${at}\n\n`).join("");
  const { subscription } = await subscribed(`${flood}data: ${"x".repeat(100_000)}\n\n`, 1001);

  const kept = subscription.entries.since(0);
  assert.equal(kept.length, EVENTS_KEPT);
  assert.equal(kept.at(-2).data, "999");
  assert.ok(kept.at(-1).data.length < 2100);
  assert.match(kept.at(-1).data, /100000 characters/);
  assert.equal(subscription.received, 1001);
  subscription.stop();
});

test("the hub's own events are marked, and a gap and a token expiry are announced", async () => {
  const { subscription, active, news } = await subscribed(
    'event: gap\ndata: {"reason":"evicted","missed":3}\n\n'
      + `event: mercure\ndata: ${JSON.stringify(document(1))}\n\n`
      + 'event: expiring\ndata: {"expires_at":1767225600,"in_seconds":30}\n\n',
    3,
  );

  assert.deepEqual(subscription.entries.since(0).map(({ kind }) => kind), ["own gap", "own mercure", "own expiring"]);
  assert.equal(subscription.gaps, 1);
  assert.match(subscription.notice.sentence, /token ends/);
  assert.deepEqual([...active.values()].map(({ subscriber }) => subscriber), ["urn:1"]);
  assert.deepEqual(news.map((item) => Object.keys(item)[0]), ["state", "state", "notice", "notice"]);
  subscription.stop();
});

test("subscribing again resets counts, ids and entries", async () => {
  const { subscription } = await subscribed("event: gap\nid: 1\ndata: {}\n\n", 1);

  subscription.subscribe("/hub?match=b");

  const { received, gaps, lastEventId, notice, entries, state } = subscription;
  assert.deepEqual([received, gaps, lastEventId, notice, entries.added, state], [0, 0, "", null, 0, "connecting"]);
  subscription.stop();
});

test("the hub's own events are described in words", () => {
  const say = (type, data) => readOwnEvent({ type, data: typeof data === "string" ? data : JSON.stringify(data) })?.sentence;

  assert.match(say("gap", { reason: "evicted", missed: 12 }), /^Gap: 12 messages are gone/);
  assert.match(say("expiring", { expires_at: 1767225600 }), new RegExp(`^The token ends at ${timeOfDay(1767225600000).slice(0, 8)}\\.`));
  assert.match(say("expiring", "{"), /^The token ends soon\./);
  assert.equal(say("mercure", document(1)), "Subscribed: exact a");
  assert.equal(say("mercure", document(1, { active: false })), "Unsubscribed: exact a");
  assert.equal(say("mercure", "{"), "");
  assert.equal(say("message", "x"), undefined);
  assert.equal(say("Gap", "x"), undefined);
});

const subscriptionOf = (number, fields) => readOwnEvent({ type: "mercure", data: JSON.stringify(document(number, fields)) }).subscription;
const subscribers = (active) => [...active.values()].map(({ subscriber }) => subscriber);

test("the list starts with the hub's and then follows the stream", () => {
  const active = new ActiveSubscriptions();

  active.ask();
  active.list({ subscriptions: [document(1), document(2), document(3, { active: false }), null, {}, "x"] }, 1000);
  assert.deepEqual(subscribers(active), ["urn:1", "urn:2"]);
  active.tell(subscriptionOf(1, { active: false }), 2000);
  active.tell(subscriptionOf(4, { payload: { a: 1 } }), 2000);

  assert.deepEqual(subscribers(active), ["urn:2", "urn:4"]);
  assert.equal([...active.values()][1].payload, '{"a":1}');
  assert.deepEqual([active.isListed, active.toldAt], [true, 2000]);
});

test("an older list does not undo changes that the stream reported while it was loaded", () => {
  const active = new ActiveSubscriptions();
  active.list({ subscriptions: [document(1)] }, 1000);

  active.ask();
  active.tell(subscriptionOf(1, { active: false }), 2000);
  active.tell(subscriptionOf(2), 2000);
  active.list({ subscriptions: [document(1)] }, 1000);

  assert.deepEqual(subscribers(active), ["urn:2"]);
});

test("a list with more subscriptions than are kept sets hasMore", () => {
  const active = new ActiveSubscriptions();
  active.ask();

  active.list({ subscriptions: Array.from({ length: SUBSCRIPTIONS_KEPT + 1 }, (_, at) => document(at)) }, 1000);

  assert.deepEqual([active.size, active.hasMore], [SUBSCRIPTIONS_KEPT, true]);
});

test("an invalid list counts as empty", () => {
  for (const nothing of [null, 3, {}, { subscriptions: 3 }]) {
    const active = new ActiveSubscriptions();
    active.list(nothing, 1000);

    assert.deepEqual([active.size, active.isListed], [0, true]);
  }
});
