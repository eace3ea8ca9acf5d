// Waits for what must come, with a bound. A test that passes never waits for all of it.

/** How long a test waits, in ms. Long, because the machine may be busy. */
export const BOUND_MS = 30_000;

const LOOK_EVERY_MS = 20;

/**
 * Looks until `look` gives something other than a falsy value, and returns that. Fails after
 * BOUND_MS, saying what was waited for and, if `last` is given, what there was instead.
 * @template T
 * @param {string} what
 * @param {() => T | Promise<T>} look
 * @param {() => unknown} [last]
 * @returns {Promise<T>}
 */
export async function eventually(what, look, last = () => "") {
  const deadline = performance.now() + BOUND_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (performance.now() > deadline) throw new Error(`in vain waited for: ${what} ${last()}`.trimEnd());
    await new Promise((wake) => setTimeout(wake, LOOK_EVERY_MS));
  }
}
