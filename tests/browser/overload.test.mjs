// A server at its subscriber limit: the browser must keep retrying, because an `EventSource` that gives up
// never reconnects.

import assert from "node:assert/strict";

import { eventually } from "./support/eventually.mjs";
import { scenario } from "./support/scenario.mjs";

scenario("a page rejected by a full server keeps retrying and connects when there is room", async (stage) => {
  const server = await stage.start({
    server: { max_subscribers: 1 },
    ticker: { interval: "50ms" },
    stream: { retry: "300ms" },
  });
  const first = await stage.openDemo(server);
  await first.panel(1).until("messages", ({ received }) => received >= 3);
  const second = await stage.openDemo(server);
  const panel = second.panel(1);
  await panel.recordStates();

  await eventually("the server to reject it several times", async () =>
    (await server.status()).totals.rejected >= 4,
  );
  const outside = await panel.until("a reconnect to start", ({ state }) => state === "reconnecting");
  await first.panel(1).press("disconnect");
  const inside = await panel.until("messages", ({ state, received }) => state === "open" && received >= 5);

  assert.equal(outside.received, 0);
  assert.match(outside.detail, /the server may be full/);
  assert.equal((await second.streams()).length, 1, "the browser reconnects, not the page");
  assert.ok(!(await panel.states()).includes("ended"));
  assert.deepEqual([inside.missed, inside.duplicated, inside.lastGap], [0, 0, null]);
});
