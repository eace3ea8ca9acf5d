// Reads an error answer of the server, `application/problem+json` (RFC 9457), and puts it into words.

// Longer texts are shown cut. In UTF-16 code units.
const MAX_TEXT = 500;

/**
 * An answer that is not a success, as `{ status, title, detail }`. What the body does not say comes
 * from the status line; `detail` may be empty.
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

/** As a sentence: `403 Forbidden: The token does not …` */
export function problemSentence({ status, title, detail }) {
  const head = title ? `${status} ${title}` : String(status);
  return detail ? `${head}: ${detail}` : head;
}

/** A body that cannot be read says nothing; the status still holds. */
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
