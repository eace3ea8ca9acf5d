// The measured interval, the plot's history and the list of entries: correct, and bounded in size.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ArrivalHistory, COLUMNS, COLUMN_MS, MARK_CUT, MARK_GAP } from "../../static/arrival-history.js";
import { ArrivalInterval } from "../../static/arrival-interval.js";
import { ENTRIES_KEPT, RecentEntries } from "../../static/recent-entries.js";

function typicalAfter(times) {
  const interval = new ArrivalInterval();
  for (const time of times) interval.arrival(time);
  return interval.typical();
}

test("a single message has no interval", () => {
  assert.equal(typicalAfter([]), null);
  assert.equal(typicalAfter([100]), null);
});

test("one message per second is 1000 ms in spite of jitter and one stall", () => {
  assert.equal(typicalAfter([0, 1000, 1998, 3000, 4004, 5000]), 1000);
  assert.equal(typicalAfter([0, 1000, 2000, 3000, 4000, 7000, 8000, 9000]), 1000);
});

test("a replayed burst does not hide the interval of the live stream", () => {
  const burst = Array.from({ length: 500 }, (_, at) => at * 0.1);

  assert.equal(typicalAfter([...burst, 1050, 2050]), 1000);
});

test("a thousand messages per second in bunches of ten have an interval of 1 ms", () => {
  const times = Array.from({ length: 6000 }, (_, at) => Math.floor(at / 10) * 10);

  assert.equal(typicalAfter(times), 1);
});

test("a hundred messages per second have an interval of 10 ms after the first second", () => {
  const times = Array.from({ length: 600 }, (_, at) => at * 10);

  assert.equal(typicalAfter(times.slice(0, 20)), 10);
  assert.equal(typicalAfter(times), 10);
});

test("an interval that does not divide a second is measured exactly", () => {
  for (const wanted of [7, 30, 60, 110]) {
    const times = Array.from({ length: 1000 }, (_, at) => at * wanted);

    assert.equal(typicalAfter(times), wanted);
  }
});

test("a stream that slows down is measured again", () => {
  const quick = Array.from({ length: 500 }, (_, at) => at * 10);
  const slow = Array.from({ length: 6 }, (_, at) => 5000 + at * 2000);

  assert.equal(typicalAfter([...quick, ...slow]), 2000);
});

test("the pause of a reconnect is not an interval", () => {
  const interval = new ArrivalInterval();
  interval.arrival(0);
  interval.arrival(1000);

  interval.interrupt();

  assert.equal(interval.arrival(61_000), null);
  assert.equal(interval.typical(), 1000);
});

test("an interruption in the middle of a second does not change the interval of a fast stream", () => {
  const interval = new ArrivalInterval();
  for (let at = 0; at <= 350; at += 1) interval.arrival(at * 10);

  interval.interrupt();
  for (let at = 0; at < 20; at += 1) interval.arrival(5000 + at * 0.1);

  assert.equal(interval.typical(), 10);
});

function columns(history, now) {
  const seen = [];
  history.forEach(now, (age, count, shortest, longest, mark) => seen.push({ age, count, shortest, longest, mark }));
  return seen;
}

test("a column keeps the count and the shortest and longest interval of its arrivals", () => {
  const history = new ArrivalHistory();
  history.arrival(1010, 30);
  history.arrival(1020, 10);
  history.arrival(1080, 60);

  assert.deepEqual(columns(history, 1300), [{ age: 3, count: 3, shortest: 10, longest: 60, mark: 0 }]);
  assert.deepEqual(history.summary(1300), { count: 3, gaps: 0, shortest: 10, longest: 60 });
});

test("columns older than the plot are dropped, whether time advances in steps or at once", () => {
  const history = new ArrivalHistory();
  history.arrival(0, 5);
  assert.equal(columns(history, COLUMNS * COLUMN_MS - 1).length, 1);
  assert.equal(columns(history, COLUMNS * COLUMN_MS).length, 0);

  history.arrival(10 * COLUMNS * COLUMN_MS, 7);

  const [only, ...rest] = columns(history, 10 * COLUMNS * COLUMN_MS);
  assert.deepEqual([only.count, only.shortest, rest.length], [1, 7, 0]);
});

test("a column that is reused starts empty", () => {
  const history = new ArrivalHistory();
  for (let column = 0; column <= COLUMNS; column += 1) history.arrival(column * COLUMN_MS, 100);

  assert.equal(history.summary(COLUMNS * COLUMN_MS).count, COLUMNS);
});

test("a silence clears every column that it passes", () => {
  const history = new ArrivalHistory();
  for (let column = 0; column < COLUMNS; column += 1) history.arrival(column * COLUMN_MS, 100);

  const now = (COLUMNS - 1 + COLUMNS / 2) * COLUMN_MS;
  history.arrival(now, 100);

  assert.equal(history.summary(now).count, COLUMNS / 2 + 1);
});

test("an interruption does not hide a gap in the same column", () => {
  const history = new ArrivalHistory();
  history.mark(50, MARK_GAP);
  history.mark(60, MARK_CUT);

  assert.equal(columns(history, 60)[0].mark, MARK_GAP);
  assert.deepEqual(history.summary(60), { count: 0, gaps: 1, shortest: null, longest: null });
});

test("the list returns the new entries, oldest first, up to the number that it keeps", () => {
  const entries = new RecentEntries();
  for (let at = 0; at < 3; at += 1) entries.add(at);
  assert.deepEqual(entries.since(1), [1, 2]);

  for (let at = 3; at < 1000; at += 1) entries.add(at);

  const kept = entries.since(3);
  assert.equal(kept.length, ENTRIES_KEPT);
  assert.deepEqual([kept[0], kept.at(-1)], [1000 - ENTRIES_KEPT, 999]);
  assert.deepEqual(entries.since(1000), []);
});
