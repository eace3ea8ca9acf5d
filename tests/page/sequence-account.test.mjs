// The books of one subscriber: each message and each hole is counted once.

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
  const account = accountAfter("7-5", "7-6", "7-7");

  assert.deepEqual(figures(account), { received: 3, missed: 0, duplicated: 0, missedMore: false, lastId: "7-7" });
});

test("a stream may begin anywhere", () => {
  const account = new SequenceAccount();

  assert.equal(account.lastId, null);
  assert.deepEqual(account.message("7-900"), { kind: "first" });
  assert.equal(account.missed, 0);
});

test("a jump counts what lies between", () => {
  const account = accountAfter("7-5");

  assert.deepEqual(account.message("7-9"), { kind: "jump", missed: 3 });
  assert.equal(account.missed, 3);
  assert.deepEqual(account.message("7-10"), { kind: "next" });
});

test("a repeat is a duplicate and does not move the last id back", () => {
  const account = accountAfter("7-5", "7-6", "7-7");

  assert.deepEqual(account.message("7-6"), { kind: "repeat" });
  assert.deepEqual(account.message("7-7"), { kind: "repeat" });
  assert.deepEqual(figures(account), { received: 5, missed: 0, duplicated: 2, missedMore: false, lastId: "7-7" });
});

test("a late message fills its hole once, then is a duplicate", () => {
  const account = accountAfter("7-5", "7-9");

  assert.deepEqual(account.message("7-7"), { kind: "late" });
  assert.equal(account.missed, 2);
  assert.deepEqual(account.message("7-7"), { kind: "repeat" });
  assert.deepEqual([account.message("7-6").kind, account.message("7-8").kind], ["late", "late"]);
  assert.deepEqual(figures(account), { received: 6, missed: 0, duplicated: 1, missedMore: false, lastId: "7-9" });
});

test("only the newest holes are remembered, and a forgotten one stays missed", () => {
  const account = accountAfter("7-0");
  for (let hole = 1; hole <= 33; hole += 1) account.message(`7-${hole * 2}`);

  assert.equal(account.missed, 33);
  assert.equal(account.message("7-1").kind, "repeat");
  assert.equal(account.message("7-3").kind, "late");
  assert.equal(account.missed, 32);
});

test("filling holes in their middle does not make their number grow without bound", () => {
  const account = accountAfter("7-0", "7-1000");
  for (let seq = 2; seq < 200; seq += 2) account.message(`7-${seq}`);

  assert.equal(account.message("7-1").kind, "repeat");
  assert.equal(account.message("7-999").kind, "late");
});

test("an evicted gap is counted, and the message after it is no jump", () => {
  const account = accountAfter("7-5");

  account.gap(gap("evicted", "7-5", at(7, 17), 12));

  assert.equal(account.missed, 12);
  assert.equal(account.lastId, "7-17");
  assert.deepEqual(account.message("7-18"), { kind: "next" });
  assert.equal(account.missed, 12);
});

test("a gap told twice is counted once", () => {
  const account = accountAfter("7-5");

  account.gap(gap("evicted", "7-5", at(7, 17), 12));
  account.gap(gap("evicted", "7-5", at(7, 17), 12));

  assert.equal(account.missed, 12);
});

test("a gap that has grown since it was told adds only what is new", () => {
  const account = accountAfter("7-5");

  account.gap(gap("evicted", "7-5", at(7, 17), 12));
  account.gap(gap("evicted", "7-5", at(7, 20), 15));

  assert.equal(account.missed, 15);
});

test("a gap for a hole that the ids have shown already is not counted again", () => {
  const account = accountAfter("7-5", "7-18");

  account.gap(gap("evicted", "7-5", at(7, 17), 12));

  assert.equal(account.missed, 12);
  assert.deepEqual(account.message("7-19"), { kind: "next" });
});

test("a gap without a known end is counted by the server's word, once", () => {
  const account = accountAfter("7-5");

  account.gap(gap("evicted", "7-5", null, 12));
  account.gap(gap("evicted", "7-5", null, 14));
  account.message("7-20");

  assert.equal(account.missed, 14);
});

test("a gap before any message is counted by the server's word", () => {
  const account = new SequenceAccount();

  account.gap(gap("evicted", "7-5", at(7, 17), 12));

  assert.deepEqual(figures(account), { received: 0, missed: 12, duplicated: 0, missedMore: false, lastId: "7-17" });
  assert.deepEqual(account.message("7-18"), { kind: "next" });
});

test("after an announced restart numbering begins anew and what is missing is unknown", () => {
  const account = accountAfter("7-5", "7-6");

  account.gap(gap("epoch", "7-6", at(8, 2), null));

  assert.deepEqual(account.message("8-3"), { kind: "next" });
  assert.deepEqual(figures(account), { received: 3, missed: 0, duplicated: 0, missedMore: true, lastId: "8-3" });
});

test("after a restart that resumes with the first message there is, that message is a start", () => {
  const account = accountAfter("7-5", "7-6");

  account.gap(gap("epoch", "7-6", null, null));

  assert.equal(account.lastId, "7-6");
  assert.deepEqual(account.message("8-0"), { kind: "first" });
  assert.equal(account.missed, 0);
});

test("after a restart the first messages of the new log can be missing, too", () => {
  const account = accountAfter("7-5", "7-6");

  account.gap(gap("epoch", "7-6", null, null));

  assert.deepEqual(account.message("8-4"), { kind: "jump", missed: 4 });
  assert.deepEqual(account.message("8-1"), { kind: "late" });
  assert.deepEqual(account.message("8-5"), { kind: "next" });
  assert.equal(account.missed, 3);
});

test("an unannounced restart is noticed by the epoch", () => {
  const account = accountAfter("7-5");

  assert.deepEqual(account.message("8-0"), { kind: "restart" });
  assert.deepEqual(figures(account), { received: 2, missed: 0, duplicated: 0, missedMore: true, lastId: "8-0" });
});

test("an epoch that goes on from the last is no restart", () => {
  const account = accountAfter("7-5");

  assert.deepEqual(account.message("8-1"), { kind: "continued" });
  assert.deepEqual(account.message("8-2"), { kind: "next" });
  assert.deepEqual(figures(account), { received: 3, missed: 0, duplicated: 0, missedMore: false, lastId: "8-2" });
  assert.deepEqual(account.message("7-1"), { kind: "restart" });
});

test("holes of an old epoch are not filled by ids of the new one", () => {
  const account = accountAfter("7-5", "7-9", "8-9");

  assert.deepEqual(account.message("8-7"), { kind: "repeat" });
  assert.equal(account.missed, 3);
});

test("an unknown gap that goes back in the same epoch makes no duplicates", () => {
  const account = accountAfter("7-50");

  account.gap(gap("unknown", "7-50", at(7, 20), null));

  assert.deepEqual(account.message("7-21"), { kind: "next" });
  assert.equal(account.duplicated, 0);
  assert.equal(account.missedMore, true);
});

test("a message without an id is received and moves nothing", () => {
  const account = accountAfter("7-5");

  assert.deepEqual(account.message(""), { kind: "unnumbered" });
  assert.deepEqual(figures(account), { received: 2, missed: 0, duplicated: 0, missedMore: false, lastId: "7-5" });
});
