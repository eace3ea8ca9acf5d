// Waits with a time limit. A test that passes waits only for a small part of it.

/** Time limit of a wait, in ms. It is long because the machine may be busy. */
export const BOUND_MS = 30_000;

const LOOK_EVERY_MS = 20;

/**
 * Polls `look` until it returns a truthy value, and returns that value. Fails after BOUND_MS with `what` in
 * the message, and with the result of `last`, if given.
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
    if (performance.now() > deadline) throw new Error(`timed out waiting for: ${what} ${last()}`.trimEnd());
    await new Promise((wake) => setTimeout(wake, LOOK_EVERY_MS));
  }
}

/**
 * Waits until what is shown meets the condition, and returns it.
 * @template T
 * @param {string} what
 * @param {() => Promise<T>} show
 * @param {(shown: T) => boolean} condition
 * @param {(shown: Partial<T>) => string} describe describes what was shown last, for the error message
 */
export function untilShown(what, show, condition, describe) {
  let shown = {};
  const look = async () => {
    shown = await show();
    return condition(shown) && shown;
  };
  return eventually(what, look, () => describe(shown));
}
