// The playground's token in a browser: where it comes from, where it is kept, and what happens when it
// expires.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { eventually } from "./support/eventually.mjs";
import { sign } from "./support/jwt.mjs";
import { scenario } from "./support/scenario.mjs";

/** No numbered messages, so that only events of the tests arrive. */
const QUIET = { ticker: { enabled: false } };
const HUB = "/.well-known/mercure";
const BOOK = "https://example.com/books/1";

scenario("the token of the printed link is moved from the address into the field and stored nowhere else", async (stage) => {
  const server = await stage.start(QUIET);
  const link = await server.playgroundLink();
  const playground = await stage.openPlayground(server);
  const { page, token } = playground;

  const value = await token.inputValue();
  assert.equal(new URL(link).hash, `#token=${value}`);
  assert.match(value, /^eyJ/);
  assert.equal(page.url(), `${server.address}/`);
  assert.equal(await token.getAttribute("type"), "password");
  assert.match(await page.getByTestId("claims").innerText(), /May publish to\s+\S/);
  assert.match(await page.getByTestId("token-note").innerText(), /not verified/);
  const kept = await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]);
  assert.deepEqual(kept, [0, 0, ""]);
  // The token is visible only after the user reveals it in its field.
  assert.ok(!(await page.locator("body").innerText()).includes(value));
  await page.getByTestId("reveal").click();
  assert.equal(await token.getAttribute("type"), "text");

  await page.reload();

  assert.equal(await token.inputValue(), "");
  assert.match(await page.getByTestId("token-note").innerText(), /^No token: public updates only/);
});

scenario("a link opened in a tab that shows the page already also sets its token", async (stage) => {
  const server = await stage.start(QUIET);
  const playground = await stage.openPlayground(server, { withToken: false });

  await playground.page.goto(await server.playgroundLink());

  await eventually("the token", async () => (await playground.token.inputValue()).startsWith("eyJ"));
  assert.equal(playground.page.url(), `${server.address}/`);
});

/**
 * A token that allows reading and publishing everything for this many seconds. The issuer has this secret.
 */
function tokenOf(secret, server, seconds) {
  const claims = {
    iss: "https://issuer.example",
    aud: server.address + HUB,
    exp: Math.floor(Date.now() / 1000) + seconds,
    authorization_details: [
      { type: "https://mercure.rocks/authorization-detail", actions: ["publish", "subscribe"], topics: [{ match: "*" }] },
    ],
  };
  return sign({ alg: "HS256", typ: "at+jwt" }, claims, secret);
}

scenario("a page is told that its token expires, and loses nothing with a new token", async (stage) => {
  const secret = "0123456789abcdef0123456789abcdef";
  const folder = await mkdtemp(join(tmpdir(), "issuer-"));
  try {
    await writeFile(join(folder, "secret"), secret);
    const server = await stage.start({ ...QUIET, auth: { issuers: [{ issuer: "https://issuer.example", secret_file: join(folder, "secret") }] } });
    const playground = await stage.openPlayground(server, { withToken: false });
    const other = tokenOf(secret, server, 600);
    await playground.token.fill(tokenOf(secret, server, 4));
    await playground.subscribe({ topics: BOOK });

    const told = await playground.until("the notice about the token", ({ events }) => events[0]?.kind === "own expiring");
    assert.match(told.events[0].sentence, /^The token ends at \d\d:\d\d:\d\d\./);
    await playground.token.fill(other);
    // The stream ends when its token expires, and the page reconnects with the other token.
    const sent = [];
    const update = async (data) => {
      const form = new URLSearchParams({ topic: BOOK, data, private: "on" });
      const answer = await fetch(server.address + HUB, { method: "POST", headers: { Authorization: `Bearer ${other}` }, body: form });
      assert.equal(answer.status, 200);
      sent.push(data);
    };
    await eventually("the end of the stream", async () => {
      await update(`update ${sent.length}`);
      const metrics = await (await fetch(`${server.address}/metrics`)).text();
      return /^broadcaster_closes_total\{reason="expired"\} 1$/m.test(metrics);
    });
    await update("last");
    const { events, gaps, state } = await playground.untilNewest("last");

    assert.deepEqual([gaps, state], [0, "open"]);
    const got = events.filter(({ kind }) => kind === "published").map(({ data }) => data).reverse();
    assert.ok(got.length > 10, `${got.length} events`);
    assert.deepEqual(got, sent.slice(-got.length));
  } finally {
    await rm(folder, { recursive: true });
  }
});

scenario("text that cannot be a token is not sent", async (stage) => {
  const server = await stage.start(QUIET);
  const playground = await stage.openPlayground(server, { withToken: false });
  const requests = [];
  playground.page.on("request", (request) => request.url().includes(HUB) && requests.push(request.url()));

  await playground.token.fill("not a tökén");
  await playground.subscribeForm.getByTestId("subscribe").click();
  await playground.publishForm.getByTestId("publish").click();
  assert.match(await playground.page.getByTestId("token-note").innerText(), /cannot be a token/);
  await playground.token.fill("");
  await playground.subscribe({ topics: BOOK });

  assert.equal(requests.length, 1);
});
