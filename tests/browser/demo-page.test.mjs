// The demo page in a browser: what it shows, and its buttons, used with the mouse and the keyboard.

import assert from "node:assert/strict";

import { sequence, withoutHoles } from "./support/demo-page.mjs";
import { eventually } from "./support/eventually.mjs";
import { scenario } from "./support/scenario.mjs";

const LIVELY = { ticker: { interval: "50ms" } };

scenario("the first message appears, and every figure reflects it", async (stage) => {
  const server = await stage.start();
  const demo = await stage.openDemo(server);

  const shown = await demo.panel(1).until("three messages", ({ received }) => received >= 3);

  const [stream] = await demo.streams();
  assert.equal(shown.state, "open");
  assert.equal(shown.missed, 0);
  assert.equal(shown.missedMore, "");
  assert.equal(shown.duplicated, 0);
  assert.equal(shown.lastGap, null);
  assert.equal(shown.lastId, stream.ids[shown.received - 1]);
  const [index] = sequence([shown.lastId]);
  assert.equal(shown.rows[0].text, `Message number: ${index}`);
  assert.equal(shown.rows.length, shown.received);
  assert.ok(shown.interval > 500 && shown.interval < 1500, `${shown.interval} ms apart`);
});

scenario("updates on other topics between messages are not a gap", async (stage) => {
  const server = await stage.start(LIVELY);
  const demo = await stage.openDemo(server);
  const panel = demo.panel(1);
  await panel.until("messages", ({ received }) => received >= 2);
  const token = new URL(await server.playgroundLink()).hash.slice("#token=".length);

  let lastUpdate;
  for (let update = 0; update < 3; update += 1) {
    const published = await fetch(`${server.address}/.well-known/mercure`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}` },
      body: new URLSearchParams({ topic: "https://example.com/books/1", data: "a book" }),
    });
    assert.equal(published.status, 200);
    [lastUpdate] = sequence([await published.text()]);
  }

  // The page may lag behind. A message after the last update proves that all three updates have arrived.
  const after = await panel.until("a later message", ({ lastId }) => sequence([lastId])[0] > lastUpdate);
  const [index] = sequence([after.lastId]);
  assert.equal(after.rows[0].text, `Message number: ${index - 3}`);
  assert.deepEqual([after.missed, after.missedMore, after.duplicated, after.lastGap], [0, "", 0, null]);
});

scenario("these tests detect every kind of error in a page", async (stage) => {
  const server = await stage.start();
  const demo = await stage.openDemo(server);

  await demo.page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "globalThis.inlineScriptRan = true";
    document.body.append(script);
    setTimeout(() => {
      throw new Error("thrown on purpose");
    });
  });

  await eventually("all three kinds of complaint", () =>
    ["console:", "exception:", "policy:"].every((kind) => stage.complaints.some((text) => text.startsWith(kind))),
  );
  assert.equal(await demo.page.evaluate(() => globalThis.inlineScriptRan), undefined);
  assert.throws(() => stage.assertNoComplaints(), /thrown on purpose/);
  stage.complaints.length = 0;
});

scenario("five subscribers side by side all get messages, and a sixth cannot be added", async (stage) => {
  const server = await stage.start(LIVELY);
  const demo = await stage.openDemo(server);
  for (let count = 2; count <= 5; count += 1) await demo.add();

  const all = [1, 2, 3, 4, 5].map((at) => demo.panel(at));
  const shown = await Promise.all(all.map((panel) => panel.until("messages", ({ received }) => received >= 10)));

  assert.deepEqual(shown.map(({ heading }) => heading), [1, 2, 3, 4, 5].map((number) => `Subscriber ${number}`));
  for (const { state, missed, duplicated } of shown) assert.deepEqual([state, missed, duplicated], ["open", 0, 0]);
  assert.equal((await server.status()).subscribers.live, 5);
  // The page still has a connection for its requests to the server.
  await eventually("the page to show five subscribers", async () =>
    (await demo.page.getByTestId("server-subscribers").textContent()) === "5",
  );
  assert.equal(await demo.page.getByTestId("add").getAttribute("aria-disabled"), "true");
  assert.match(await demo.page.locator("#limit").innerText(), /six connections/);

  // Not `click`, which would wait until the button is enabled.
  await demo.page.getByTestId("add").dispatchEvent("click");

  assert.equal(await demo.panels(), 5);
  assert.equal((await demo.streams()).length, 5);
});

scenario("five subscribers of one server get the same messages", async (stage) => {
  const server = await stage.start(LIVELY);
  const demo = await stage.openDemo(server);
  for (let count = 2; count <= 5; count += 1) await demo.add();

  await demo.panel(5).until("messages", ({ received }) => received >= 10);

  const streams = await demo.streams();
  const common = Math.max(...streams.map(({ ids }) => sequence(ids)[0]));
  const newest = Math.min(...streams.map(({ ids }) => sequence(ids).at(-1)));
  const shared = streams.map(({ ids }) => ids.filter((id) => {
    const [seq] = sequence([id]);
    return common <= seq && seq <= newest;
  }));
  assert.ok(shared[0].length >= 5, `only ${shared[0].length} messages in common`);
  for (const ids of shared) assert.deepEqual(ids, shared[0]);
});

scenario("disconnecting and reconnecting by button loses nothing", async (stage) => {
  const server = await stage.start(LIVELY);
  const demo = await stage.openDemo(server);
  const panel = demo.panel(1);
  await panel.until("messages", ({ received }) => received >= 5);

  await panel.press("disconnect");
  const before = await panel.until("the end", ({ state }) => state === "ended");
  const sent = (await server.status()).totals.events;
  await eventually("messages that nobody gets", async () => (await server.status()).totals.events >= sent + 20);
  assert.equal((await panel.shown()).received, before.received);
  await panel.press("reconnect");
  const after = await panel.until("the messages of the pause", ({ received }) => received >= before.received + 30);

  const streams = await demo.streams();
  const seqs = sequence(streams.flatMap(({ ids }) => ids));
  assert.equal(streams.length, 2);
  assert.ok(streams[1].url.endsWith(`?last_event_id=${encodeURIComponent(before.lastId)}`), streams[1].url);
  assert.deepEqual(seqs, withoutHoles(seqs));
  assert.deepEqual([after.state, after.missed, after.missedMore, after.duplicated], ["open", 0, "", 0]);
  assert.equal(after.lastGap, null);
});

scenario("a removed subscriber disappears from the page and from the server", async (stage) => {
  const server = await stage.start(LIVELY);
  const demo = await stage.openDemo(server);
  await demo.add();
  await demo.panel(2).until("messages", ({ received }) => received >= 1);

  await demo.panel(1).press("remove");

  assert.equal(await demo.panels(), 1);
  assert.equal((await demo.panel(1).shown()).heading, "Subscriber 2");
  await eventually("one subscriber", async () => (await server.status()).subscribers.live === 1);
});

scenario("the page can be used with the keyboard alone, and the focus is visible", async (stage) => {
  const server = await stage.start(LIVELY);
  const demo = await stage.openDemo(server);
  const keyboard = demo.page.keyboard;
  await demo.panel(1).until("messages", ({ received }) => received >= 1);

  async function tabTo(name, label) {
    for (let presses = 0; presses < 20; presses += 1) {
      await keyboard.press("Tab");
      const focus = await demo.focus();
      assert.ok(focus.outline >= 2, `the focus on ${focus.on} cannot be seen`);
      if (focus.on === name && focus.label.includes(label)) return;
    }
    assert.fail(`no way to ${name} ${label} by Tab`);
  }

  await tabTo("add", "Add subscriber");
  await keyboard.press("Enter");
  await demo.panel(2).until("messages", ({ received }) => received >= 1);

  await tabTo("disconnect", "Disconnect subscriber 1");
  await keyboard.press("Space");
  const ended = await demo.panel(1).until("the end", ({ state }) => state === "ended");
  assert.equal((await demo.focus()).label, "Disconnect subscriber 1", "the focus stays where it was");

  await tabTo("reconnect", "Reconnect subscriber 1");
  await keyboard.press("Enter");
  const again = await demo.panel(1).until("more", ({ state, received }) => state === "open" && received > ended.received);
  assert.deepEqual([again.missed, again.duplicated], [0, 0]);

  await tabTo("remove", "Remove subscriber 1");
  await keyboard.press("Space");
  await eventually("one panel", async () => (await demo.panels()) === 1);
  const focus = await demo.focus();
  assert.equal(focus.label, "Subscriber 2", "the focus goes to the neighbour");
  assert.ok(focus.outline >= 2, "the focus on the neighbour cannot be seen");

  await tabTo("remove", "Remove subscriber 2");
  await keyboard.press("Enter");
  await eventually("no panel", async () => (await demo.panels()) === 0);
  assert.equal((await demo.focus()).on, "add");
});
