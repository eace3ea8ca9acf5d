// One subscriber, tested with a fake `EventSource`: its states, resuming, and what it announces.

import assert from "node:assert/strict";
import { test } from "node:test";

import { MARK_CUT } from "../../static/arrival-history.js";
import { Subscription } from "../../static/subscription.js";

class StandInSource {
  readyState = 0;
  #listeners = new Map();

  constructor(url) {
    this.url = url;
  }

  addEventListener(name, listener) {
    this.#listeners.set(name, listener);
  }

  close() {
    this.readyState = 2;
  }

  opens() {
    this.readyState = 1;
    this.onopen();
  }

  fails(readyState) {
    this.readyState = readyState;
    this.onerror();
  }

  sends(lastEventId, data = "Message number: 1") {
    this.onmessage({ lastEventId, data });
  }

  sendsCheckpoint(lastEventId) {
    this.#listeners.get("checkpoint")({ lastEventId, data: "{}" });
  }

  sendsGap(data, lastEventId = "") {
    this.#listeners.get("gap")({ lastEventId, data: JSON.stringify(data) });
  }
}

function subscribed() {
  const sources = [];
  const news = [];
  const attempts = [];
  const time = { now: 0 };
  const subscription = new Subscription({
    address: "/events/sse",
    connect: (url) => {
      sources.push(new StandInSource(url));
      return sources.at(-1);
    },
    clock: { now: () => time.now, wallClock: () => time.now },
    later: (act, ms) => {
      const attempt = { act, ms, isCancelled: false };
      attempts.push(attempt);
      return () => (attempt.isCancelled = true);
    },
    changed: (item) => item && news.push(item),
  });
  subscription.connect();
  return { subscription, sources, news, attempts, time };
}

test("the first stream requests no id", () => {
  const { subscription, sources } = subscribed();

  assert.equal(sources[0].url, "/events/sse");
  assert.equal(subscription.state, "connecting");
});

test("a state is announced once, even if the browser retries several times", () => {
  const { sources, news } = subscribed();

  sources[0].opens();
  sources[0].fails(0);
  sources[0].fails(0);
  sources[0].fails(0);
  sources[0].opens();

  assert.deepEqual(news.map(({ state }) => state), ["connecting", "open", "reconnecting", "open"]);
});

test("a stream that the browser closed for good is replaced after a delay and resumes after the last id", () => {
  const { subscription, sources, attempts } = subscribed();
  sources[0].opens();
  sources[0].sends("#7-42");

  sources[0].fails(2);
  assert.equal(subscription.state, "reconnecting");
  assert.match(subscription.detail, /closed the stream for good/);
  assert.equal(sources.length, 1);
  attempts[0].act();
  assert.equal(subscription.state, "reconnecting");
  sources[1].opens();

  assert.equal(sources[1].url, "/events/sse?last_event_id=%237-42");
  assert.equal(subscription.state, "open");
});

test("the delay grows with each failure up to a maximum, and is reset after a success", () => {
  const { sources, attempts } = subscribed();

  for (let failures = 0; failures < 12; failures += 1) {
    sources.at(-1).fails(2);
    attempts.at(-1).act();
  }
  sources.at(-1).opens();
  sources.at(-1).fails(2);

  const bases = [1000, 2000, 4000, 8000, 16_000, ...Array(7).fill(30_000), 1000];
  attempts.forEach(({ ms }, at) => assert.ok(ms >= bases[at] / 2 && ms <= bases[at] * 1.5, `${at}: ${ms}`));
  assert.equal(attempts.length, bases.length);
});

test("disconnecting or reconnecting by hand cancels the scheduled attempt", () => {
  for (const press of ["disconnect", "connect"]) {
    const { subscription, sources, attempts } = subscribed();
    sources[0].fails(2);

    subscription[press]();

    assert.equal(attempts[0].isCancelled, true, press);
  }
});

test("a checkpoint moves the last id and is not a message", () => {
  const { subscription, sources } = subscribed();
  sources[0].opens();

  sources[0].sendsCheckpoint("#7-3");

  assert.equal(subscription.account.lastId, "#7-3");
  assert.equal(subscription.account.received, 0);
  sources[0].fails(0);
  assert.match(subscription.detail, /was cut/);
});

test("a checkpoint without an id of its own means that the server may be full", () => {
  const { subscription, sources } = subscribed();
  sources[0].opens();

  sources[0].sendsCheckpoint("");
  sources[0].fails(0);

  assert.match(subscription.detail, /the server may be full/);
});

test("a stream that ends before any data is distinguished from a broken one", () => {
  const { subscription, sources } = subscribed();

  sources[0].opens();
  sources[0].fails(0);
  assert.match(subscription.detail, /the server may be full/);
  sources[0].fails(0);
  assert.match(subscription.detail, /was cut/);
  sources[0].opens();
  sources[0].sends("#7-0");
  sources[0].fails(0);

  assert.match(subscription.detail, /was cut/);
  assert.equal(subscription.state, "reconnecting");
});

test("a reconnect continues after the last id", () => {
  const { subscription, sources } = subscribed();
  sources[0].opens();
  sources[0].sends("#7-41");
  sources[0].sends("#7-42");

  subscription.disconnect();
  assert.equal(subscription.state, "ended");
  subscription.connect();

  assert.equal(sources[1].url, "/events/sse?last_event_id=%237-42");
  assert.equal(subscription.state, "connecting");
});

test("a reconnect of an open stream closes it first", () => {
  const { subscription, sources } = subscribed();
  sources[0].opens();

  subscription.connect();

  assert.equal(sources[0].readyState, 2);
  assert.equal(sources.length, 2);
});

test("a reconnect directly after a gap resumes after the gap", () => {
  const { subscription, sources } = subscribed();
  sources[0].sends("#7-5");
  sources[0].sendsGap({ reason: "evicted", requested: "#7-5", resumed_after: "#7-17", missed: 12 });

  subscription.connect();

  assert.equal(sources[1].url, "/events/sse?last_event_id=%237-17");
});

test("a gap is announced and a message is not", () => {
  const { subscription, sources, news } = subscribed();
  sources[0].sends("#7-5");
  sources[0].sends("#7-6");
  assert.deepEqual(news, [{ state: "connecting" }]);

  sources[0].sendsGap({ reason: "evicted", requested: "#7-6", resumed_after: "#7-18", missed: 12 });

  assert.deepEqual(news.slice(1), [{ gap: "Gap: 12 messages are gone; the server no longer had them." }]);
  assert.equal(subscription.entries.since(2)[0].kind, "gap");
});

test("events of other topics between messages are not a gap", () => {
  const { subscription, sources, news } = subscribed();
  sources[0].sends("#7-5");

  sources[0].sends("#7-9");
  sources[0].sends("#8-3");

  assert.deepEqual(news, [{ state: "connecting" }]);
  assert.deepEqual([subscription.gaps, subscription.account.missed, subscription.account.missedMore], [0, 0, false]);
  assert.ok(subscription.entries.since(0).every(({ kind }) => kind === "message"));
});

test("the last gap outlives its entry in the list", () => {
  const { subscription, sources } = subscribed();
  sources[0].sendsGap({ reason: "epoch", requested: "#6-1", resumed_after: null, missed: null });
  for (let seq = 0; seq < 100; seq += 1) sources[0].sends(`#7-${seq}`);

  assert.ok(subscription.entries.since(0).every(({ kind }) => kind === "message"));
  assert.match(subscription.lastGap.sentence, /restarted/);
});

test("an interruption is not measured as an interval", () => {
  const { subscription, sources, time } = subscribed();
  sources[0].sends("#7-0");
  time.now = 1000;
  sources[0].sends("#7-1");

  sources[0].fails(0);
  time.now = 31_000;
  sources[0].opens();
  sources[0].sends("#7-2");

  assert.equal(subscription.interval.typical(), 1000);
});

test("an interruption is marked in the plot at its time", () => {
  const { subscription, sources, time } = subscribed();
  sources[0].sends("#7-0");
  time.now = 2000;

  sources[0].fails(0);

  const marks = [];
  subscription.history.forEach(2000, (age, _count, _shortest, _longest, mark) => marks.push([age, mark]));
  assert.deepEqual(marks.at(-1), [0, MARK_CUT]);
});

test("a long message is truncated", () => {
  const { subscription, sources } = subscribed();

  sources[0].sends("#7-0", "x".repeat(100_000));

  assert.ok(subscription.entries.since(0)[0].text.length < 400);
});
