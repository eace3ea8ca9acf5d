// The counts of one subscriber: each message and each gap is counted once.

import assert from "node:assert/strict";
import { test } from "node:test";

import { SequenceAccount } from "../../static/sequence-account.js";

function accountAfter(...ids) {
  const account = new SequenceAccount();
  for (const id of ids) account.message(id);
  return account;
}

function figures({ received, missed, duplicated, missedMore, lastId }) {
  return { received, missed, duplicated, missedMore, lastId };
}

function gap(reason, requested, resumedAfter, missed) {
  return { reason, requested, resumedAfter, missed };
}

const at = (epoch, seq) => ({ epoch, seq });

test("messages in order are received and nothing else", () => {
  const account = accountAfter("#7-5", "#7-6", "#7-7");

  assert.deepEqual(figures(account), { received: 3, missed: 0, duplicated: 0, missedMore: false, lastId: "#7-7" });
});

test("a stream may begin anywhere", () => {
  const account = new SequenceAccount();

  assert.equal(account.lastId, null);
  assert.equal(account.message("#7-900"), false);
  assert.equal(account.missed, 0);
});

test("ids that lie apart, or in another epoch, are events of other topics between", () => {
  const account = accountAfter("#7-5", "#7-9", "#8-3", "#8-4");

  assert.deepEqual(figures(account), { received: 4, missed: 0, duplicated: 0, missedMore: false, lastId: "#8-4" });
});

test("a repeat is a duplicate and does not move the last id back", () => {
  const account = accountAfter("#7-5", "#7-6", "#7-7");

  assert.equal(account.message("#7-6"), true);
  assert.equal(account.message("#7-7"), true);
  assert.deepEqual(figures(account), { received: 5, missed: 0, duplicated: 2, missedMore: false, lastId: "#7-7" });
});

test("an evicted gap is counted", () => {
  const account = accountAfter("#7-5");

  account.gap(gap("evicted", "#7-5", at(7, 17), 12));

  assert.equal(account.missed, 12);
  assert.equal(account.lastId, "#7-17");
  assert.equal(account.message("#7-18"), false);
  assert.equal(account.missed, 12);
});

test("a gap told twice is counted once", () => {
  const account = accountAfter("#7-5");

  account.gap(gap("evicted", "#7-5", at(7, 17), 12));
  account.gap(gap("evicted", "#7-5", at(7, 17), 12));

  assert.equal(account.missed, 12);
});

test("a gap that has grown since it was told adds only what is new", () => {
  const account = accountAfter("#7-5");

  account.gap(gap("evicted", "#7-5", at(7, 17), 12));
  account.gap(gap("evicted", "#7-5", at(7, 20), 15));

  assert.equal(account.missed, 15);
});

test("a gap without a known end is counted once", () => {
  const account = accountAfter("#7-5");

  account.gap(gap("evicted", "#7-5", null, 12));
  account.gap(gap("evicted", "#7-5", null, 14));
  account.message("#7-20");

  assert.equal(account.missed, 14);
});

test("a gap before any message is counted", () => {
  const account = new SequenceAccount();

  account.gap(gap("evicted", "#7-5", at(7, 17), 12));

  assert.deepEqual(figures(account), { received: 0, missed: 12, duplicated: 0, missedMore: false, lastId: "#7-17" });
  assert.equal(account.message("#7-18"), false);
});

test("after an announced restart numbering starts again and what is missing is unknown", () => {
  const account = accountAfter("#7-5", "#7-6");

  account.gap(gap("epoch", "#7-6", at(8, 2), null));

  assert.equal(account.message("#8-3"), false);
  assert.deepEqual(figures(account), { received: 3, missed: 0, duplicated: 0, missedMore: true, lastId: "#8-3" });
});

test("after a restart that resumes with the first message there is, that message is a start", () => {
  const account = accountAfter("#7-5", "#7-6");

  account.gap(gap("epoch", "#7-6", null, null));

  assert.equal(account.lastId, "#7-6");
  assert.equal(account.message("#8-0"), false);
  assert.equal(account.missed, 0);
});

test("an unknown gap that goes back in the same epoch makes no duplicates", () => {
  const account = accountAfter("#7-50");

  account.gap(gap("unknown", "#7-50", at(7, 20), null));

  assert.equal(account.message("#7-21"), false);
  assert.equal(account.duplicated, 0);
  assert.equal(account.missedMore, true);
});

test("a gap without a size leaves an unknown number missing", () => {
  const account = accountAfter("#7-5");

  account.gap(gap("evicted", "#7-5", at(7, 17), null));

  assert.deepEqual(figures(account), { received: 1, missed: 0, duplicated: 0, missedMore: true, lastId: "#7-17" });
});

test("a message without an id is received and moves nothing", () => {
  const account = accountAfter("#7-5");

  assert.equal(account.message(""), false);
  assert.deepEqual(figures(account), { received: 2, missed: 0, duplicated: 0, missedMore: false, lastId: "#7-5" });
});
