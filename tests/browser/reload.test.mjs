// A change of the config file, seen in an open page.

import assert from "node:assert/strict";

import { sequence, withoutHoles } from "./support/demo-page.mjs";
import { scenario } from "./support/scenario.mjs";

scenario("a new interval in the config file takes effect on the open connection", async (stage) => {
  const server = await stage.start({ ticker: { interval: "1s" } });
  const demo = await stage.openDemo(server);
  const panel = demo.panel(1);
  await panel.until("a second between messages", ({ state, interval }) => state === "open" && interval > 900 && interval < 1100);
  await panel.recordStates();

  await server.configure({ ticker: { interval: "50ms" } });
  const shown = await panel.until("50 ms between messages", ({ interval }) => interval > 45 && interval < 55);

  const streams = await demo.streams();
  assert.equal(streams.length, 1);
  assert.deepEqual([streams[0].opened, streams[0].failed], [1, 0]);
  const seqs = sequence(streams[0].ids);
  assert.deepEqual(seqs, withoutHoles(seqs));
  assert.deepEqual([shown.state, shown.missed, shown.missedMore, shown.duplicated], ["open", 0, "", 0]);
  assert.equal(shown.lastGap, null);
  assert.deepEqual(await panel.states(), ["open"]);
});

scenario("a new message in the config file is the next message of the page", async (stage) => {
  const server = await stage.start({ ticker: { interval: "50ms" } });
  const demo = await stage.openDemo(server);
  const panel = demo.panel(1);
  await panel.until("a message", ({ rows }) => /^Message number: \d+$/.test(rows[0]?.text));

  await server.configure({ ticker: { interval: "50ms", message: "Ω {n} <b>" } });
  const shown = await panel.until("the new message", ({ rows }) => /^Ω \d+ <b>$/.test(rows[0]?.text));

  assert.deepEqual([shown.state, shown.missed, shown.duplicated], ["open", 0, 0]);
});
