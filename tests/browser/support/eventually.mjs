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

/**
 * Waits until what is shown meets the condition, and returns it.
 * @template T
 * @param {string} what
 * @param {() => Promise<T>} show
 * @param {(shown: T) => boolean} condition
 * @param {(shown: Partial<T>) => string} describe what to say of the last that was shown, in vain
 */
export function untilShown(what, show, condition, describe) {
  let shown = {};
  const look = async () => {
    shown = await show();
    return condition(shown) && shown;
  };
  return eventually(what, look, () => describe(shown));
}
