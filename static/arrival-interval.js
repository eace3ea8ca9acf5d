// Measures how far apart messages come, in ms. No DOM; time is an argument.
//
// Two rules, because a quick stream reaches the page in bunches: many messages in one read, then
// nothing for some ms. From QUICK messages a second on, average over each second and take the median.
// Below that, take the interval in which half of the recent time was spent, which a burst (the
// replay after a reconnect) does not move: it has many intervals but hardly any time.

const QUICK = 8;
const SECONDS_KEPT = 5;
const SECONDS_NEEDED = 3;
const INTERVALS_KEPT = 9;

export class ArrivalInterval {
  /** When the last message came, in ms; null: the next one has no interval. */
  #last = null;
  /** The newest intervals in ms, oldest first, at most INTERVALS_KEPT. */
  #intervals = [];
  /**
   * Each whole second as `{ count, lasted }`, oldest first, at most SECONDS_KEPT: how many messages
   * came in it, and the ms from the last one before it to its own last one. Dividing the second
   * itself by the count would be wrong by up to one message.
   */
  #seconds = [];
  #secondStart = null;
  #inThisSecond = 0;
  /** When the last message before this second came, in ms. */
  #lastBefore = null;

  /**
   * Books an arrival. Gives the interval to the one before, or null if there was none to compare.
   * @param {number} now in ms, never going back
   */
  arrival(now) {
    if (this.#secondStart === null) {
      // It begins with this message, which therefore belongs to none.
      this.#secondStart = now;
      this.#lastBefore = now;
    } else {
      this.#closeSeconds(now);
      this.#inThisSecond += 1;
    }
    const interval = this.#last === null ? null : now - this.#last;
    this.#last = now;
    if (interval !== null) {
      this.#intervals.push(interval);
      if (this.#intervals.length > INTERVALS_KEPT) this.#intervals.shift();
    }
    return interval;
  }

  /** Call when the stream was cut: the pause before the next message is not an interval of it. */
  interrupt() {
    this.#last = null;
    // The second that was cut short is not counted; the whole ones before it still hold.
    this.#secondStart = null;
    this.#inThisSecond = 0;
  }

  /** The typical interval in ms, or null before there is one. */
  typical() {
    if (this.#seconds.length >= SECONDS_NEEDED) {
      const quick = median(this.#seconds.map(({ count }) => count)) >= QUICK;
      const heard = this.#seconds.filter(({ count }) => count > 0);
      if (quick) return median(heard.map(({ count, lasted }) => lasted / count));
    }
    return halfTimeInterval(this.#intervals);
  }

  #closeSeconds(now) {
    let over = Math.floor((now - this.#secondStart) / 1000);
    if (over <= 0) return;
    this.#secondStart += over * 1000;
    this.#seconds.push({ count: this.#inThisSecond, lasted: this.#last - this.#lastBefore });
    this.#inThisSecond = 0;
    this.#lastBefore = this.#last;
    // After a long silence only as many empty seconds matter as are kept.
    for (over = Math.min(over - 1, SECONDS_KEPT); over > 0; over -= 1) {
      this.#seconds.push({ count: 0, lasted: 0 });
    }
    if (this.#seconds.length > SECONDS_KEPT) this.#seconds = this.#seconds.slice(-SECONDS_KEPT);
  }
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The interval in which half of the total time was spent. */
function halfTimeInterval(intervals) {
  const sorted = [...intervals].sort((a, b) => a - b);
  const half = sorted.reduce((sum, interval) => sum + interval, 0) / 2;
  let spent = 0;
  for (const interval of sorted) {
    spent += interval;
    if (spent >= half) return interval;
  }
  return null;
}
