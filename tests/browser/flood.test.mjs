// A hundred messages per second for each subscriber: the page stays responsive, and uses no more memory after
// five thousand messages than after one thousand.

import assert from "node:assert/strict";

import { eventually } from "./support/eventually.mjs";
import { scenario } from "./support/scenario.mjs";

/** Time limit in ms from a key press to the next frame. Generous, because the machine may be busy. */
const ANSWER_MS = 500;
/** Maximum time between two frames, in ms. */
const FRAME_GAP_MS = 1000;
/** How many bytes 5000 messages may add to the heap: less than one small object for each message. */
const GROWTH = 300_000;

scenario("five streams of a hundred messages per second keep the page responsive and its memory constant", async (stage) => {
  const server = await stage.start({ ticker: { interval: "10ms" } });
  const demo = await stage.openDemo(server, { record: false });
  for (let count = 2; count <= 5; count += 1) await demo.add();
  const panel = demo.panel(5);
  await demo.page.evaluate(watchFrames);
  // By then, the list of messages and everything else of fixed size is full.
  const start = await panel.until("200 messages", ({ received }) => received >= 200);
  const before = await footprint(demo.page);

  for (let round = 1; round <= 10; round += 1) {
    await demo.page.keyboard.press("Shift");
    await panel.until("the next 100 messages", ({ received }) => received >= start.received + round * 100);
  }
  const after = await footprint(demo.page, before.nodes + 20);
  const shown = await panel.shown();
  const { frameGap, answers } = await demo.page.evaluate(() => globalThis.watched);

  assert.deepEqual([shown.state, shown.missed, shown.duplicated, shown.lastGap], ["open", 0, 0, null]);
  assert.ok(shown.interval > 9 && shown.interval < 11, `${shown.interval} ms apart`);
  assert.equal(shown.rows.length, 50);
  assert.equal(answers.length, 10);
  assert.ok(Math.max(...answers) < ANSWER_MS, `keys were answered after ${answers.join(", ")} ms`);
  assert.ok(frameGap > 0 && frameGap < FRAME_GAP_MS, `no frame for ${frameGap} ms`);
  assert.ok(after.nodes <= before.nodes + 20, `from ${before.nodes} to ${after.nodes} nodes`);
  assert.ok(after.listeners <= before.listeners, `from ${before.listeners} to ${after.listeners} listeners`);
  assert.ok(after.heap < before.heap + GROWTH, `from ${before.heap} to ${after.heap} bytes`);
});

scenario("a flood that starts and stops by config reload is shown up to its last message", async (stage) => {
  const server = await stage.start({ ticker: { interval: "100ms" } });
  const demo = await stage.openDemo(server, { record: false });
  const panel = demo.panel(1);
  await panel.until("a message", ({ received }) => received >= 1);

  await server.configure({ ticker: { interval: "1ms" } });
  await panel.until("a flood", ({ received }) => received >= 2000);
  await server.configure({ ticker: { enabled: false } });
  const { last_id: last } = await eventually("the end of the flood", async () => {
    const status = await server.status();
    return !status.ticker.enabled && status;
  });
  const shown = await panel.until("the last message", ({ lastId }) => lastId === last);

  assert.deepEqual([shown.state, shown.missed, shown.duplicated, shown.lastGap], ["open", 0, 0, null]);
});

/**
 * Runs in the page. Records the longest time between two frames, and the time from each key press to the next
 * frame.
 */
function watchFrames() {
  const watched = { frameGap: 0, answers: [] };
  globalThis.watched = watched;
  let last = performance.now();
  requestAnimationFrame(function frame() {
    const now = performance.now();
    watched.frameGap = Math.max(watched.frameGap, now - last);
    last = now;
    requestAnimationFrame(frame);
  });
  addEventListener("keydown", ({ timeStamp }) => {
    requestAnimationFrame(() => watched.answers.push(Math.round(performance.now() - timeStamp)));
  });
}

/**
 * The heap, nodes and listeners of the page after garbage collection. If there are more than `most` nodes, it
 * collects up to ten times, because a busy browser releases nodes late. Nodes that are still referenced are
 * never released.
 */
async function footprint(page, most = Infinity) {
  const devtools = await page.context().newCDPSession(page);
  let counted;
  for (let left = 10; left > 0 && !(counted?.nodes <= most); left -= 1) {
    // The second collection frees what the first one released.
    await devtools.send("HeapProfiler.collectGarbage");
    await devtools.send("HeapProfiler.collectGarbage");
    counted = await devtools.send("Memory.getDOMCounters");
  }
  const { usedSize } = await devtools.send("Runtime.getHeapUsage");
  await devtools.detach();
  return { heap: usedSize, nodes: counted.nodes, listeners: counted.jsEventListeners };
}
