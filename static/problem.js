// Reads an error response of the server, `application/problem+json` (RFC 9457), and describes it in words.

// Longer texts are cut. In UTF-16 code units.
const MAX_TEXT = 500;

/**
 * Reads a response that is not a success as `{ status, title, detail }`. Without a title in the body, the
 * status line provides it. `detail` may be empty.
 * @param {Response} response
 */
export async function readProblem(response) {
  const said = await bodyOf(response);
  return {
    status: response.status,
    title: text(said.title) || response.statusText,
    detail: text(said.detail),
  };
}

/** Returns a sentence such as `403 Forbidden: The token does not …` */
export function problemSentence({ status, title, detail }) {
  const head = title ? `${status} ${title}` : String(status);
  return detail ? `${head}: ${detail}` : head;
}

/** Returns the body, or {} if it cannot be read. The status is valid in any case. */
async function bodyOf(response) {
  if (!/^application\/problem\+json/i.test(response.headers.get("content-type") ?? "")) return {};
  try {
    const value = await response.json();
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}

function text(value) {
  if (typeof value !== "string") return "";
  return value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)} …` : value;
}
