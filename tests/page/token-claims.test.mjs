// Reading the claims of a token, and recognizing what is not a token.

import assert from "node:assert/strict";
import { test } from "node:test";

import { isBearerToken, readClaims, tokenInFragment } from "../../static/token-claims.js";

const TYPE = "https://mercure.rocks/authorization-detail";

function tokenOf(claims) {
  const part = (value) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "HS256", typ: "at+jwt" })}.${part(claims)}.c2lnbmF0dXJl`;
}

test("the claims of a token say when it expires and what it grants", () => {
  const claims = readClaims(tokenOf({
    exp: 1767225600,
    authorization_details: [
      { type: TYPE, actions: ["publish", "subscribe"], topics: [{ match: "*" }] },
      { type: TYPE, actions: ["subscribe"], topics: [{ match: "https://a/:id", match_type: "urlpattern" }, { match: "é" }] },
    ],
  }));

  assert.deepEqual(claims, {
    expiresAt: 1767225600000,
    publish: ["* (every topic)"],
    subscribe: ["* (every topic)", "https://a/:id (urlpattern)", "é"],
  });
});

test("details of another type and unknown actions grant nothing here", () => {
  const { publish, subscribe } = readClaims(tokenOf({
    authorization_details: [
      { type: "other", actions: ["publish"], topics: [{ match: "a" }] },
      { type: TYPE, actions: ["delete"], topics: [{ match: "a" }] },
    ],
  }));

  assert.deepEqual([publish, subscribe], [[], []]);
});

test("the claim of older protocol versions is read, too", () => {
  const { publish, subscribe } = readClaims(tokenOf({ mercure: { publish: ["*", 3], subscribe: "x" } }));

  assert.deepEqual([publish, subscribe], [["* (mercure claim)"], []]);
});

test("claims of a wrong shape are read as far as possible", () => {
  for (const details of [undefined, null, 3, "x", {}, [null, 3, [], {}], [{ type: TYPE }], [{ type: TYPE, actions: "publish", topics: [] }]]) {
    assert.deepEqual(readClaims(tokenOf({ authorization_details: details })), { expiresAt: null, publish: [], subscribe: [] });
  }
  const odd = readClaims(tokenOf({ authorization_details: [{ type: TYPE, actions: ["publish"], topics: [null, "a", { match: 3 }, { match: "b" }] }] }));
  assert.deepEqual(odd.publish, ["(unreadable)", "(unreadable)", "(unreadable)", "b"]);
  for (const exp of ["soon", null, 1e300, {}]) assert.equal(readClaims(tokenOf({ exp })).expiresAt, null, `exp ${exp}`);
});

test("what is not a JWT has no claims", () => {
  const notJwts = ["", "a", "a.b", "a.b.c", "a.b.c.d", "..", tokenOf("[]"), tokenOf("3"), tokenOf("null"), tokenOf("{"), "a.w_8.c", "é.é.é"];

  for (const text of notJwts) assert.equal(readClaims(text), null, text);
});

test("only text that a header can contain is a bearer token", () => {
  for (const text of ["abc", "a.b-c_d~e+f/g==", tokenOf({})]) assert.ok(isBearerToken(text), text);
  for (const text of ["", "=", "a b", "a\nb", "a=b", "é", "Bearer abc", "…"]) assert.ok(!isBearerToken(text), text);
});

test("the token of a link is read from its fragment", () => {
  assert.equal(tokenInFragment("#token=eyJ.a-b_c.d"), "eyJ.a-b_c.d");
  assert.equal(tokenInFragment("#x=1&token=abc"), "abc");
  assert.equal(tokenInFragment("#token="), "");
  for (const hash of ["", "#", "#playground", "#tokens=a"]) assert.equal(tokenInFragment(hash), null, hash);
});
