// The `curl` lines: quoted correctly for the shell, whatever the user types, and equal to the page's own
// request.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import { curlLine, exportLine, shellQuote } from "../../static/curl-line.js";
import { lines, publishRequest, subscribeRequest, subscriptionsRequest } from "../../static/hub-requests.js";

const ORIGIN = "http://127.0.0.1:3000";
const WITH_TOKEN = { origin: ORIGIN, withToken: true };
const WITHOUT = { origin: ORIGIN, withToken: false };

const NASTY = [
  "it's", "'", "''", "'\\''", "\\", "\\n", "$TOKEN", "$(id)", "`id`", "!!", "\"", "a b", "*", "~", "#x", ";", "&", "|", "<", ">",
  "two\nlines", "\ttab", "é 😀", "-H", "@/etc/passwd", "a=b", "%41", "{a,b}", "[1-3]", "",
];

const update = (fields) => ({ topics: [], data: "", type: "", id: "", retry: "", isPrivate: false, ...fields });

/** The words into which the shell splits a line. A shell function replaces `curl` and prints them. */
function words(line, env = {}) {
  const script = `curl() { for word; do printf '%s\\0' "$word"; done; }\n${line}`;
  const said = execFileSync("/bin/sh", ["-c", script], { env, encoding: "utf8" });
  return said.split("\0").slice(0, -1);
}

test("a subscription is one URL with a parameter for each matcher", () => {
  const request = subscribeRequest({
    topics: ["https://example.com/books/1", "*"],
    patterns: ["https://example.com/:what?"],
    lastEventId: "urn:uuid:1#2",
  });

  assert.equal(
    curlLine(request, WITHOUT),
    "curl -N 'http://127.0.0.1:3000/.well-known/mercure?match=https%3A%2F%2Fexample.com%2Fbooks%2F1&match=*"
      + "&match_urlpattern=https%3A%2F%2Fexample.com%2F%3Awhat%3F&last_event_id=urn%3Auuid%3A1%232'",
  );
});

test("without a matcher there is no query", () => {
  const { address } = subscribeRequest({ topics: [], patterns: [], lastEventId: "" });

  assert.equal(address, "/.well-known/mercure");
});

test("a URL contains nothing that curl or the shell would expand", () => {
  for (const value of NASTY) {
    const { address } = subscribeRequest({ topics: [value], patterns: [value], lastEventId: value });

    assert.doesNotMatch(address, /[[\]{}'"\\$\s]/);
    assert.equal(new URL(address, ORIGIN).searchParams.get("match"), value);
  }
});

test("an update is a form with its fields in order, without empty ones", () => {
  const request = publishRequest(update({ topics: ["a", "b"], data: "x", id: "urn:1", isPrivate: true }));

  assert.equal(
    curlLine(request, WITH_TOKEN),
    "curl -H \"Authorization: Bearer $BROADCASTER_TOKEN\" --data-urlencode 'topic=a' --data-urlencode 'topic=b'"
      + " --data-urlencode 'data=x' --data-urlencode 'id=urn:1' --data-urlencode 'private=on'"
      + " 'http://127.0.0.1:3000/.well-known/mercure'",
  );
});

test("an update without any field is still a POST", () => {
  assert.deepEqual(words(curlLine(publishRequest(update({})), WITHOUT)), ["--data", "", `${ORIGIN}/.well-known/mercure`]);
});

test("the list of subscriptions is a plain GET", () => {
  assert.equal(curlLine(subscriptionsRequest(), WITHOUT), "curl 'http://127.0.0.1:3000/.well-known/mercure/subscriptions'");
});

test("the shell passes every value on unchanged", () => {
  for (const value of NASTY) {
    assert.deepEqual(words(`curl ${shellQuote(value)}`), [value]);

    const line = curlLine(publishRequest(update({ topics: ["t"], data: value || "x", type: value })), WITHOUT);
    const typed = value === "" ? [] : ["--data-urlencode", `type=${value}`];
    const expected = ["--data-urlencode", "topic=t", "--data-urlencode", `data=${value || "x"}`, ...typed, `${ORIGIN}/.well-known/mercure`];
    assert.deepEqual(words(line), expected, JSON.stringify(value));
  }
});

test("the token comes from a shell variable and is not in the command", () => {
  const line = curlLine(subscriptionsRequest(), WITH_TOKEN);

  const token = "eyJ.abc-_.x";
  assert.deepEqual(words(line, { BROADCASTER_TOKEN: token }).slice(0, 2), ["-H", `Authorization: Bearer ${token}`]);
  assert.deepEqual(words(`${exportLine(token)}\n${line}`).slice(0, 2), ["-H", `Authorization: Bearer ${token}`]);
  assert.doesNotMatch(line, /eyJ/);
});

test("the lines of a text field are trimmed, and blank ones are dropped", () => {
  assert.deepEqual(lines(" a b \n\n\t\nc\r\n"), ["a b", "c"]);
  assert.deepEqual(lines(""), []);
});
