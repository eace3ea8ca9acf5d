// Libraries that speak the Mercure protocol as it was before 2025, unmodified, against a hub with
// `hub.legacy`. Their tokens have the claim `mercure`, and their subscriptions the parameter `topic`.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";

import { eventually } from "../browser/support/eventually.mjs";
import { Application } from "./support/application.mjs";
import { Hub } from "./support/hub.mjs";
import { python } from "./support/libraries.mjs";
import { PythonCalls } from "./support/python-calls.mjs";
import { Subscriber } from "./support/subscriber.mjs";

const TOPIC = "https://example.com/books/1";
const SUBSCRIPTIONS = "/.well-known/mercure/subscriptions";
const BOOK = { title: "Dune" };
/** `BOOK` as Python serializes it to JSON. */
const BOOK_TEXT = '{"title": "Dune"}';

const { missing: skip } = python("", "");

describe("with hub.legacy", { skip }, () => {
  let hub;
  let flask;
  const open = [];

  before(async () => {
    hub = await Hub.start({ hub: { legacy: true, subscriptions: true } });
    flask = new PythonCalls("legacy_flask_mercure_sse.py", hub);
  });
  afterEach(() => open.splice(0).forEach((subscriber) => subscriber.close()));
  after(async () => {
    flask?.discard();
    await hub?.discard();
  });

  async function subscribe(url, headers) {
    const subscriber = await Subscriber.open(url, headers);
    open.push(subscriber);
    return subscriber;
  }

  /** Publishes with both publishers of a program, and returns the ids. */
  async function publishTwice(program, update) {
    const publishers = new PythonCalls(program, hub);
    try {
      return [await publishers.call("publish", update), await publishers.call("publish_async", update)];
    } finally {
      publishers.discard();
    }
  }

  /** The request header of a browser that has received the cookie of flask-mercure-sse. */
  async function cookie(given) {
    const setCookie = await flask.call("set_authz_cookie", given);
    return { Cookie: setCookie.split(";")[0] };
  }

  it("mercure-publisher publishes what an ordinary subscriber receives", async () => {
    const subscriber = await subscribe(`${hub.url}?match=${TOPIC}`);

    const ids = await publishTwice("legacy_mercure_publisher.py", { topic: [TOPIC, "other"], data: BOOK, type: "book" });

    assert.deepEqual(await subscriber.events(2), ids.map((id) => ({ type: "book", data: BOOK_TEXT, id })));
  });

  it("pymercure publishes what an ordinary subscriber receives", async () => {
    const subscriber = await subscribe(`${hub.url}?match=${TOPIC}`);

    // The first versions of the protocol had the field `target`.
    const update = { topics: [TOPIC], data: BOOK_TEXT, event_type: "book", target: "all" };
    const ids = await publishTwice("legacy_pymercure_publisher.py", update);

    assert.deepEqual(await subscriber.events(2), ids.map((id) => ({ type: "book", data: BOOK_TEXT, id })));
  });

  it("pymercure receives what is published", async () => {
    const consumer = await Application.start(python("pymercure", "legacy_pymercure_consumer.py"), hub.url);
    try {
      await eventually("a stream", () => consumer.lines.some(({ saw }) => saw === "open"), () => consumer.log);

      const id = await hub.publish(TOPIC, BOOK_TEXT);

      const events = () => consumer.events().filter(({ type }) => type !== "checkpoint");
      await eventually("an event", () => events().length > 0, () => consumer.log);
      assert.deepEqual(events(), [{ saw: "event", type: "message", data: BOOK_TEXT, id, problem: null }]);
    } finally {
      consumer.stop();
    }
  });

  it("flask-mercure-sse publishes what an ordinary subscriber receives", async () => {
    const subscriber = await subscribe(`${hub.url}?match=${TOPIC}`);

    const id = await flask.call("publish", { topic: TOPIC, data: BOOK, type: "book" });

    assert.deepEqual(await subscriber.events(1), [{ type: "book", data: BOOK_TEXT, id }]);
  });

  it("a page receives private updates with the cookie of flask-mercure-sse, and a page without it does not", async () => {
    const url = await flask.call("hub_url", { topics: [TOPIC] });
    const reader = await subscribe(url, await cookie({ topics: [TOPIC] }));
    const stranger = await subscribe(url);

    const privateId = await flask.call("publish", { topic: TOPIC, data: "for readers", private: true });
    const publicId = await hub.publish(TOPIC, "for all");

    const ids = (events) => events.map(({ id }) => id);
    assert.deepEqual(ids(await reader.events(2)), [privateId, publicId]);
    assert.deepEqual(ids(await stranger.events(1)), [publicId]);
  });

  it("a page receives private updates with the token that flask-mercure-sse puts into the URL", async () => {
    const reader = await subscribe(await flask.call("authentified_hub_url", { topics: [TOPIC] }));

    const id = await flask.call("publish", { topic: TOPIC, data: "for readers", private: true });

    assert.deepEqual(await reader.events(1), [{ type: "message", data: "for readers", id }]);
  });

  it("flask-mercure-sse lists who subscribes to a topic", async () => {
    assert.equal(await flask.call("is_connected", { topic: "chat" }), false);
    await subscribe(`${hub.url}?topic=chat`, await cookie({ topics: ["chat"], payload: { user: 7 } }));

    const { subscriptions } = await flask.call("get_subscriptions", { topic: "chat" });

    assert.deepEqual(subscriptions.map(({ topic, active, payload }) => ({ topic, active, payload })), [
      { topic: "chat", active: true, payload: { user: 7 } },
    ]);
    assert.equal(await flask.call("is_connected", { topic: "chat", user: 7 }), true);
    assert.equal(await flask.call("is_connected", { topic: "chat", user: 8 }), false);
  });

  it("a page of flask-mercure-sse receives an event when a subscription begins and when it ends", async () => {
    const presence = `${SUBSCRIPTIONS}/room{/subscriber}`;
    const watcher = await subscribe(await flask.call("hub_url", { topics: [presence] }), await cookie({ topics: [presence] }));

    const subscriber = await subscribe(`${hub.url}?topic=room`, await cookie({ topics: ["room"], payload: { user: 7 } }));
    await watcher.events(1);
    subscriber.close();

    const events = (await watcher.events(2)).map(({ data }) => JSON.parse(data));
    assert.deepEqual(
      events.map(({ topic, active, payload }) => ({ topic, active, payload })),
      [true, false].map((active) => ({ topic: "room", active, payload: { user: 7 } })),
    );
    const { id, subscriber: name } = events[0];
    assert.equal(id, `${SUBSCRIPTIONS}/room/${encodeURIComponent(name)}`);
  });
});
