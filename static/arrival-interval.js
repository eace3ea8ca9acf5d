// Measures the typical interval between messages, in ms. No DOM; time is an argument.
//
// A fast stream reaches the page in bunches: many messages in one read, then nothing for some ms. So there
// are two rules. At QUICK or more messages per second, take the average interval of each second, and the
// median of these. At fewer, sort the intervals and take the one in which half of the total time was spent. A
// burst, such as the replay after a reconnect, hardly changes it: a burst has many intervals but takes almost
// no time.

const QUICK = 8;
const SECONDS_KEPT = 5;
const SECONDS_NEEDED = 3;
const INTERVALS_KEPT = 9;

export class ArrivalInterval {
  /** When the last message arrived, in ms; null: the next message has no interval. */
  #last = null;
  /** The newest intervals in ms, oldest first, at most INTERVALS_KEPT. */
  #intervals = [];
  /**
   * The newest whole seconds as `{ count, lasted }`, oldest first, at most SECONDS_KEPT. `count` is the
   * number of messages in the second. `lasted` is the time in ms from the last message before the second to
   * the last message in it. Dividing one second by `count` instead would be wrong by up to one message.
   */
  #seconds = [];
  #secondStart = null;
  #inThisSecond = 0;
  /** When the last message before this second arrived, in ms. */
  #lastBefore = null;

  /**
   * Records an arrival. Returns the interval since the previous one in ms, or null if there is none.
   * @param {number} now in ms, never decreasing
   */
  arrival(now) {
    if (this.#secondStart === null) {
      // This message starts the first second, and is not counted in it.
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

  /** Call when the stream was interrupted: the pause before the next message is not an interval. */
  interrupt() {
    this.#last = null;
    // Discards the current second, which is incomplete. The whole seconds before it stay valid.
    this.#secondStart = null;
    this.#inThisSecond = 0;
  }

  /** The typical interval in ms, or null if there is none yet. */
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
    // After a long silence, adds no more empty seconds than are kept.
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

/** The interval in which half of the total time was spent, counted from the shortest. */
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
