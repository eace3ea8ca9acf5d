// A server whose `/status` is not public: the page works without it, and reports no error.

import assert from "node:assert/strict";

import { eventually } from "./support/eventually.mjs";
import { scenario } from "./support/scenario.mjs";

scenario("a page shows its messages even if the status is not public", async (stage) => {
  const server = await stage.start({
    server: { admin_bind: "127.0.0.1:0" },
    ticker: { interval: "50ms" },
  });
  // The browser itself logs this response, although the page handles it.
  stage.expectComplaint(/404 \(Not Found\)$/);
  const demo = await stage.openDemo(server);

  const seen = await demo.panel(1).until("messages", ({ received }) => received >= 3);
  await eventually("the server's figures to be gone", () =>
    demo.page.locator("#server").isHidden(),
  );

  assert.equal(seen.state, "open");
});
