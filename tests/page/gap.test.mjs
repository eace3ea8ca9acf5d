// The server's `gap` event: parsing it, and the sentence that describes it to a reader.

import assert from "node:assert/strict";
import { test } from "node:test";

import { gapSentence, parseGap } from "../../static/gap.js";

test("every field of a gap is parsed", () => {
  const gap = parseGap('{"reason":"evicted","requested":"#7-1","resumed_after":"#7-13","missed":12}');

  assert.deepEqual(gap, { reason: "evicted", requested: "#7-1", resumedAfter: { epoch: 7, seq: 13 }, missed: 12 });
});

test("a gap after a restart has no known end and no known size", () => {
  const gap = parseGap('{"reason":"epoch","requested":"#7-1","resumed_after":null,"missed":null}');

  assert.deepEqual(gap, { reason: "epoch", requested: "#7-1", resumedAfter: null, missed: null });
});

test("invalid data becomes a gap of unknown size and position", () => {
  const nothingKnown = { reason: "unknown", requested: "", resumedAfter: null, missed: null };

  for (const data of ["", "{", "null", "3", '"x"', "[]", '{"reason":"new","missed":-1,"resumed_after":5,"requested":{}}']) {
    assert.deepEqual(parseGap(data), nothingKnown, `read from ${data}`);
  }
});

test("each reason has a sentence that says what is missing", () => {
  const say = (reason, missed = null) => gapSentence({ reason, requested: "", resumedAfter: null, missed });

  assert.equal(say("evicted", 12), "Gap: 12 messages are gone; the server no longer had them.");
  assert.equal(say("evicted", 1), "Gap: 1 message is gone; the server no longer had it.");
  assert.equal(say("evicted"), "Gap: messages are gone; the server no longer had them.");
  assert.match(say("epoch"), /^Gap: the server was restarted, or a part of its log was lost; numbering starts again\./);
  assert.match(say("unknown"), /^Gap: the server did not know the last id\./);
});
