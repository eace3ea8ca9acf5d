// Makes one request of the hub and reads its answer. No DOM.

import { problemSentence, readProblem } from "./problem.js";

/** How long an answer may take, in ms. */
const GIVE_UP_MS = 10_000;

// Over HTTP/1.1 a request waits where streams hold all of the browser's connections.
const SILENT = `No answer within ${GIVE_UP_MS / 1000} s. Streams in other tabs may hold all connections to the server.`;
const UNREACHABLE = "No answer: the server cannot be reached.";

/**
 * @typedef {object} Answer
 * @property {boolean} isGood
 * @property {number} status 0: there is no answer
 * @property {string} body of a good answer
 * @property {string} sentence what is wrong with any other
 */

/**
 * @param {import("./hub-requests.js").HubRequest} request
 * @param {string} token "": none
 * @returns {Promise<Answer>}
 */
export async function askHub({ address, fields }, token) {
  const options = {
    cache: "no-store",
    // A cookie may carry a token, too; what counts here is the one that is seen.
    credentials: "omit",
    headers: token === "" ? {} : { Authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(GIVE_UP_MS),
  };
  // A body of this kind sets its content type by itself.
  if (fields) Object.assign(options, { method: "POST", body: new URLSearchParams(fields) });
  try {
    const response = await fetch(address, options);
    if (!response.ok) return bad(response.status, problemSentence(await readProblem(response)));
    return { isGood: true, status: response.status, body: await response.text(), sentence: "" };
  } catch (error) {
    return bad(0, error.name === "TimeoutError" ? SILENT : UNREACHABLE);
  }
}

function bad(status, sentence) {
  return { isGood: false, status, body: "", sentence };
}
