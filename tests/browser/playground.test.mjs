// The playground in a browser with a real hub: what it sends, receives and shows.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { promisify } from "node:util";

import { eventually } from "./support/eventually.mjs";
import { scenario } from "./support/scenario.mjs";

/** No numbered messages, so that only events of the tests arrive. */
const QUIET = { ticker: { enabled: false } };
const HUB = "/.well-known/mercure";
const BOOK = "https://example.com/books/1";
const BOOKS = "https://example.com/books/:id";

/** What the browser itself logs about a response with an error status. */
const refused = (status) => new RegExp(`^console: Failed to load resource: the server responded with a status of ${status}`);

/** Text with characters that a shell, a form or a page might handle incorrectly. */
const NASTY = "it's 100% \"quoted\" & $TOKEN; `id` \\n é 😀 <b>\nsecond=line+";

scenario("a topic and a pattern receive exactly the events that match them", async (stage) => {
  const server = await stage.start(QUIET);
  const playground = await stage.openPlayground(server);
  await playground.subscribe({ topics: "https://example.com/news", patterns: BOOKS });

  const exact = await playground.publish({ topics: "https://example.com/news", data: "by topic" });
  const pattern = await playground.publish({ topics: BOOK, data: "by pattern", type: "book", retry: "1234", id: "urn:example:1" });
  await playground.publish({ topics: "https://example.com/news/1", data: "by neither" });
  const alternate = await playground.publish({ topics: `https://example.com/x\n${BOOK}`, data: "by its second topic" });
  await playground.publish({ topics: "https://example.com/news", data: "marker" });
  const { events, received, lastId } = await playground.untilNewest("marker");

  const seen = events.map(({ type, id, retry, data }) => ({ type, id, retry, data }));
  assert.deepEqual(seen.slice(1), [
    { type: "message", id: alternate.id, retry: null, data: "by its second topic" },
    { type: "book", id: pattern.id, retry: "1234", data: "by pattern" },
    { type: "message", id: exact.id, retry: null, data: "by topic" },
  ]);
  assert.equal(exact.shown, `200, id ${exact.id}`);
  assert.equal(received, 4);
  assert.equal(lastId, events[0].id);
  assert.match(events[0].time, /^\d\d:\d\d:\d\d\.\d{3}$/);
  assert.ok(events.every(({ kind, origin }) => kind === "published" && origin === ""));
});

scenario("a snapshot shows the current value of each topic first, and each event can name its topics", async (stage) => {
  const server = await stage.start(QUIET);
  const playground = await stage.openPlayground(server);
  const form = playground.subscribeForm;
  await playground.publish({ topics: BOOK, data: "old" });
  await playground.publish({ topics: BOOK, data: "value" });
  await form.getByTestId("snapshot").check();
  await form.getByTestId("names").check();

  await playground.subscribe({ patterns: BOOKS });
  await playground.until("the end of the snapshot", ({ events }) => events[0]?.kind === "own checkpoint");
  await playground.publish({ topics: BOOK, data: "change" });
  const { events, received } = await playground.untilNewest("change");

  assert.deepEqual(events.map(({ kind, data, topic }) => [kind, data, topic]), [
    ["published", "change", BOOK],
    ["own checkpoint", '{"snapshot":"complete"}', null],
    ["published", "value", BOOK],
  ]);
  assert.equal(events[1].sentence, "These were all current values. Changes follow.");
  assert.equal(received, 2);
  assert.match(await playground.curlLine(form), /snapshot=1&topics=1/);
});

scenario("a private update is visible only with the token", async (stage) => {
  const server = await stage.start(QUIET);
  const within = await stage.openPlayground(server);
  const outside = await stage.openPlayground(server, { withToken: false });
  await within.subscribe({ topics: BOOK });
  await outside.subscribe({ topics: BOOK });

  await within.publish({ topics: BOOK, data: "secret", isPrivate: true });
  await within.publish({ topics: BOOK, data: "marker" });

  assert.deepEqual((await within.untilNewest("marker")).events.map(({ data }) => data), ["marker", "secret"]);
  assert.deepEqual((await outside.untilNewest("marker")).events.map(({ data }) => data), ["marker"]);
});

scenario("a refusal is shown in the hub's words", async (stage) => {
  for (const status of [400, 401]) stage.expectComplaint(refused(status));
  const server = await stage.start(QUIET);
  const playground = await stage.openPlayground(server);
  const form = playground.subscribeForm;

  await form.getByTestId("topics").fill("");
  await form.getByTestId("patterns").fill("https://example.com/(");
  await form.getByTestId("subscribe").click();
  const bad = await playground.until("the end", ({ state }) => state === "ended");
  assert.match(bad.detail, /^400 [^:]+: ./);

  await form.getByTestId("patterns").fill("");
  await form.getByTestId("subscribe").click();
  await playground.until("another end", ({ state, detail }) => state === "ended" && /^400 /.test(detail) && detail !== bad.detail);

  assert.match((await playground.publish({ topics: "", data: "for nobody" })).shown, /^400 /);
  assert.match((await playground.publish({ topics: BOOK, type: "mercure" })).shown, /^400 /);
  await playground.token.fill("eyJhbGciOiJub25lIn0.e30.");
  assert.match((await playground.publish({ topics: BOOK, data: "x" })).shown, /^401 /);
  await playground.token.fill("");
  assert.match((await playground.publish({ topics: BOOK, data: "x" })).shown, /^401 /);
});

scenario("the curl line of the publish form, run by a shell, publishes the same event as the form", async (stage) => {
  const server = await stage.start(QUIET);
  const playground = await stage.openPlayground(server);
  await playground.subscribe({ topics: BOOK });
  const update = { topics: `${BOOK}\nhttps://example.com/it's`, data: NASTY, type: "it's" };
  const TOKEN = await playground.token.inputValue();

  const byForm = await playground.publish(update);
  const line = await playground.curlLine(playground.publishForm);
  const { stdout: id } = await promisify(execFile)("/bin/sh", ["-c", line], { env: { PATH: process.env.PATH, BROADCASTER_TOKEN: TOKEN } });
  const { events } = await playground.until("both events", ({ received }) => received === 2);

  assert.ok(!line.includes(TOKEN), "the token is in the line");
  assert.deepEqual(events.map((event) => event.id), [id, byForm.id]);
  for (const event of events) assert.deepEqual([event.type, event.data], ["it's", NASTY]);
});

scenario("the curl line of the subscribe form, run by a shell, receives the same events as the page", async (stage) => {
  const server = await stage.start(QUIET);
  const playground = await stage.openPlayground(server);
  await playground.subscribe({ topics: "it's", patterns: BOOKS });
  const line = await playground.curlLine(playground.subscribeForm);
  // `exec` makes curl replace the shell, so that killing the process ends curl.
  const curl = spawn("/bin/sh", ["-c", `exec ${line}`], {
    env: { PATH: process.env.PATH, BROADCASTER_TOKEN: await playground.token.inputValue() },
    stdio: ["ignore", "pipe", "ignore"],
  });
  stage.discardLater(async () => {
    curl.kill("SIGKILL");
    if (curl.exitCode === null && curl.signalCode === null) await once(curl, "exit");
  });
  let got = "";
  curl.stdout.setEncoding("utf8").on("data", (text) => (got += text));
  await eventually("the stream's opening", () => got !== "");

  await playground.publish({ topics: BOOK, data: "secret", isPrivate: true });
  const { id } = await playground.publish({ topics: "it's", data: "marker" });
  await playground.untilNewest("marker");
  await eventually("both events", () => got.includes("marker"), () => got);

  assert.match(got, /^data: ?secret$/m);
  assert.ok(got.includes(`id: ${id}`) || got.includes(`id:${id}`), got);
});

scenario("a copy button copies the line to the clipboard", async (stage) => {
  const server = await stage.start(QUIET);
  const context = await stage.openContext({ permissions: ["clipboard-read", "clipboard-write"] });
  const playground = await stage.openPlayground(server, { context });
  await playground.fillUpdate({ topics: "a", data: NASTY });

  await playground.publishForm.getByTestId("copy").click();

  await eventually("a word of it", async () => (await playground.publishForm.getByTestId("copy").textContent()) === "Copied");
  const line = await playground.curlLine(playground.publishForm);
  assert.equal(await playground.page.evaluate(() => navigator.clipboard.readText()), line);
});

scenario("after a lost connection the stream resumes by itself without loss", async (stage) => {
  stage.expectComplaint(/^console: Failed to load resource: net::ERR_/);
  const server = await stage.start({ ...QUIET, stream: { retry: "1s" } });
  const proxy = await stage.startCuttableProxy(server);
  const playground = await stage.openPlayground(server, { address: proxy.address });
  const TOKEN = await playground.token.inputValue();
  await playground.subscribe({ patterns: BOOKS });
  await publish(server, TOKEN, "before");
  await playground.untilNewest("before");

  proxy.cut();
  await playground.until("the cut", ({ state }) => state === "reconnecting");
  await publish(server, TOKEN, "meanwhile");
  const reconnected = await playground.until("the stream", ({ state }) => state === "open");
  await publish(server, TOKEN, "after");
  const { events, gaps } = await playground.untilNewest("after");

  assert.deepEqual(events.map(({ data }) => data), ["after", "meanwhile", "before"]);
  assert.equal(gaps, 0);
  assert.match(reconnected.detail, /^Continues after /);
});

scenario("an unknown id causes a gap that is marked as the hub's own event", async (stage) => {
  const server = await stage.start(QUIET);
  const playground = await stage.openPlayground(server);
  await playground.publish({ topics: BOOK, data: "kept" });

  await playground.subscribe({ topics: BOOK, "from-id": "urn:example:unknown" });
  const { events, gaps, notice, detail } = await playground.until("the gap", (shown) => shown.gaps > 0);

  const gap = events.find(({ type }) => type === "gap");
  assert.deepEqual([gap.kind, gap.origin], ["own gap", "the hub’s own"]);
  assert.equal(JSON.parse(gap.data).requested, "urn:example:unknown");
  assert.equal(gaps, 1);
  assert.ok(notice.includes(gap.sentence));
  assert.match(detail, /^Asked for what came after urn:example:unknown/);
});

scenario("the list of subscriptions is requested once and then follows the stream", async (stage) => {
  const server = await stage.start({ ...QUIET, hub: { subscriptions: true } });
  const playground = await stage.openPlayground(server);
  const other = await stage.openPlayground(server);
  await playground.subscribe({ patterns: `${HUB}/subscriptions/*` });

  // Each of the two pages also has a subscriber of the numbered messages.
  const asked = ({ subscriptions }) => subscriptions.filter(({ match }) => match !== "/ticker");
  await playground.subscriptions.getByTestId("refresh").click();
  const own = await playground.until("its own subscription", ({ count }) => /^3 active, as of \d\d:\d\d:\d\d\.$/.test(count));
  assert.equal(asked(own).length, 1);
  assert.deepEqual([asked(own)[0].matchType, asked(own)[0].match], ["urlpattern", `${HUB}/subscriptions/*`]);

  await other.subscribe({ topics: "https://example.com/<b>" });
  const both = await playground.until("the other one", (shown) => asked(shown).length === 2);
  const theOther = asked(both).find(({ matchType }) => matchType === "exact");
  assert.equal(theOther.match, "https://example.com/<b>");
  assert.deepEqual([both.events[0].kind, both.events[0].sentence], ["own mercure", "Subscribed: exact https://example.com/<b>"]);

  await other.stop();
  const end = await playground.until("its end", (shown) => asked(shown).length === 1);
  assert.deepEqual(asked(end), asked(own));
  assert.match(end.count, /^3 active,/);
});

scenario("without a list of subscriptions, the page names the setting that enables it", async (stage) => {
  stage.expectComplaint(refused(404));
  const server = await stage.start({ ...QUIET, hub: { subscriptions: false } });
  const playground = await stage.openPlayground(server);

  await playground.subscriptions.getByTestId("refresh").click();

  await playground.until("the reason", ({ answer }) => answer.includes("hub.subscriptions = true"));
});

scenario("data is shown as text, even if it contains markup", async (stage) => {
  const server = await stage.start(QUIET);
  const playground = await stage.openPlayground(server);
  const markup = "<img src=x onerror=\"globalThis.ran = true\"><script>globalThis.ran = true</script>";
  await playground.subscribe({ topics: BOOK });

  await playground.publish({ topics: BOOK, data: markup, type: "<b>" });
  const { events } = await playground.untilNewest(markup);

  assert.equal(events[0].type, "<b>");
  assert.equal(await playground.page.locator("[data-testid=events] :is(img, script, b)").count(), 0);
  assert.equal(await playground.page.evaluate(() => globalThis.ran), undefined);
});

scenario("a page opens at most five streams, including the playground's", async (stage) => {
  const server = await stage.start();
  const demo = await stage.openDemo(server, { record: false });
  const { page } = demo;
  for (let count = 2; count <= 5; count += 1) await demo.add();
  const subscribe = page.getByTestId("subscribe");
  await eventually("no room", async () => (await subscribe.getAttribute("aria-disabled")) === "true");

  await subscribe.dispatchEvent("click");
  assert.equal(await page.getByTestId("stream-state").textContent(), "idle");
  await demo.panel(5).press("remove");
  await subscribe.click();
  await eventually("its stream", async () => (await page.getByTestId("stream-state").textContent()) === "open");

  assert.equal(await page.getByTestId("add").getAttribute("aria-disabled"), "true");
  await page.getByTestId("add").dispatchEvent("click");
  assert.equal(await demo.panels(), 4);
  await page.getByTestId("stop").click();
  await eventually("room", async () => (await page.getByTestId("add").getAttribute("aria-disabled")) === "false");
});

scenario("during a flood the page stays responsive and the list keeps its length", async (stage) => {
  const server = await stage.start(QUIET);
  const playground = await stage.openPlayground(server);
  const TOKEN = await playground.token.inputValue();
  await playground.subscribe({ patterns: BOOKS });
  await playground.page.evaluate(watchFrames);

  const updates = 3000;
  let sent = 0;
  await Promise.all(Array.from({ length: 16 }, async () => {
    while (sent < updates) {
      sent += 1;
      await publish(server, TOKEN, `update ${sent}`);
    }
  }));
  const { events } = await playground.until("the last update", ({ received }) => received === updates);
  const frameGap = await playground.page.evaluate(() => globalThis.longestFrameGap);

  assert.equal(events.length, 100);
  assert.ok(frameGap > 0 && frameGap < 1000, `no frame for ${frameGap} ms`);
});

scenario("on a narrow page every element fits, has a name, and works", async (stage) => {
  const server = await stage.start(QUIET);
  const context = await stage.openContext({ viewport: { width: 360, height: 740 } });
  const playground = await stage.openPlayground(server, { context });
  const { page } = playground;
  await playground.subscribe({ topics: BOOK });

  await playground.publish({ topics: BOOK, data: "x".repeat(500) });
  await playground.untilNewest("x".repeat(500));

  const { overflow, nameless } = await page.evaluate(() => ({
    overflow: document.scrollingElement.scrollWidth - innerWidth,
    nameless: [...document.querySelectorAll("#playground :is(input, textarea, button)")]
      .filter((control) => !(control.labels?.length || control.getAttribute("aria-label") || control.textContent.trim()))
      .map((control) => control.outerHTML),
  }));
  assert.ok(overflow <= 0, `${overflow} px too wide`);
  assert.deepEqual(nameless, []);
  for (const name of ["subscribe", "publish", "refresh"]) {
    const box = await page.getByTestId(name).boundingBox();
    assert.ok(box.x >= 0 && box.x + box.width <= 360, `${name} is out of sight`);
  }
});

/** Publishes an event about a book, without the page. */
async function publish(server, token, data) {
  const response = await fetch(`${server.address}${HUB}`, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}` },
    body: new URLSearchParams({ topic: BOOK, data }),
  });
  if (!response.ok) throw new Error(`the hub answered ${response.status}: ${await response.text()}`);
  await response.text();
}

/** Runs in the page. Records the longest time between two frames. */
function watchFrames() {
  globalThis.longestFrameGap = 0;
  let last = performance.now();
  requestAnimationFrame(function frame() {
    const now = performance.now();
    globalThis.longestFrameGap = Math.max(globalThis.longestFrameGap, now - last);
    last = now;
    requestAnimationFrame(frame);
  });
}
