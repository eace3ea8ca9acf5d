// A server whose status is not for the public: the page does without it, and says nothing is broken.

import assert from "node:assert/strict";

import { eventually } from "./support/eventually.mjs";
import { scenario } from "./support/scenario.mjs";

scenario("a page that may not see the status shows its messages all the same", async (stage) => {
  const server = await stage.start({
    server: { admin_bind: "127.0.0.1:0" },
    ticker: { interval: "50ms" },
  });
  // What the browser itself logs of an answer it was given, however well the page takes it.
  stage.expectComplaint(/404 \(Not Found\)$/);
  const demo = await stage.openDemo(server);

  const seen = await demo.panel(1).until("messages", ({ received }) => received >= 3);
  await eventually("the server's figures to be gone", () =>
    demo.page.locator("#server").isHidden(),
  );

  assert.equal(seen.state, "open");
});
