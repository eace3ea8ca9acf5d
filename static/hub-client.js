// Sends one request to the hub and reads the response. No DOM.

import { problemSentence, readProblem } from "./problem.js";

/** Timeout of a request, in ms. */
const GIVE_UP_MS = 10_000;

// Over HTTP/1.1, a request waits while streams use all connections that the browser allows.
const SILENT = `No answer within ${GIVE_UP_MS / 1000} s. Streams in other tabs may hold all connections to the server.`;
const UNREACHABLE = "No answer: the server cannot be reached.";

/**
 * @typedef {object} Answer
 * @property {boolean} isGood
 * @property {number} status 0: there was no response
 * @property {string} body only of a successful response
 * @property {string} sentence why the request failed, if it did
 */

/**
 * @param {import("./hub-requests.js").HubRequest} request
 * @param {string} token "": none
 * @returns {Promise<Answer>}
 */
export async function askHub({ address, fields }, token) {
  const options = {
    cache: "no-store",
    // No cookies: only the token in the field may authorize a request.
    credentials: "omit",
    headers: token === "" ? {} : { Authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(GIVE_UP_MS),
  };
  // A URLSearchParams body sets its content type itself.
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
