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

test("messages in order are only counted as received", () => {
  const account = accountAfter("#7-5", "#7-6", "#7-7");

  assert.deepEqual(figures(account), { received: 3, missed: 0, duplicated: 0, missedMore: false, lastId: "#7-7" });
});

test("a stream can begin with any id", () => {
  const account = new SequenceAccount();

  assert.equal(account.lastId, null);
  assert.equal(account.message("#7-900"), false);
  assert.equal(account.missed, 0);
});

test("distant ids or another epoch do not count as missing messages", () => {
  const account = accountAfter("#7-5", "#7-9", "#8-3", "#8-4");

  assert.deepEqual(figures(account), { received: 4, missed: 0, duplicated: 0, missedMore: false, lastId: "#8-4" });
});

test("a repeated message is a duplicate and does not move the last id back", () => {
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

test("a gap that is reported twice is counted once", () => {
  const account = accountAfter("#7-5");

  account.gap(gap("evicted", "#7-5", at(7, 17), 12));
  account.gap(gap("evicted", "#7-5", at(7, 17), 12));

  assert.equal(account.missed, 12);
});

test("a repeated gap that has grown adds only the increase", () => {
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

test("after a restart that a gap announces, numbering restarts and an unknown number is missing", () => {
  const account = accountAfter("#7-5", "#7-6");

  account.gap(gap("epoch", "#7-6", at(8, 2), null));

  assert.equal(account.message("#8-3"), false);
  assert.deepEqual(figures(account), { received: 3, missed: 0, duplicated: 0, missedMore: true, lastId: "#8-3" });
});

test("after a restart, the oldest retained message starts a new sequence", () => {
  const account = accountAfter("#7-5", "#7-6");

  account.gap(gap("epoch", "#7-6", null, null));

  assert.equal(account.lastId, "#7-6");
  assert.equal(account.message("#8-0"), false);
  assert.equal(account.missed, 0);
});

test("messages replayed after an unknown gap in the same epoch are not duplicates", () => {
  const account = accountAfter("#7-50");

  account.gap(gap("unknown", "#7-50", at(7, 20), null));

  assert.equal(account.message("#7-21"), false);
  assert.equal(account.duplicated, 0);
  assert.equal(account.missedMore, true);
});

test("after a gap of unknown size, an unknown number is missing", () => {
  const account = accountAfter("#7-5");

  account.gap(gap("evicted", "#7-5", at(7, 17), null));

  assert.deepEqual(figures(account), { received: 1, missed: 0, duplicated: 0, missedMore: true, lastId: "#7-17" });
});

test("a message without an id is counted and does not move the last id", () => {
  const account = accountAfter("#7-5");

  assert.equal(account.message(""), false);
  assert.deepEqual(figures(account), { received: 2, missed: 0, duplicated: 0, missedMore: false, lastId: "#7-5" });
});
