// Writes a request as a line for a POSIX shell. No DOM.
//
// The token is not in it: the line reads it from the shell's variable TOKEN, so that neither a
// screenshot nor the shell's history gives it away.

/**
 * @param {import("./hub-requests.js").HubRequest} request
 * @param {{ origin: string, withToken: boolean }} wiring
 */
export function curlLine({ address, stream = false, fields = [] }, { origin, withToken }) {
  return [
    "curl",
    ...(stream ? ["-N"] : []),
    // In double quotes, because the shell is to put the token in.
    ...(withToken ? ['-H "Authorization: Bearer $TOKEN"'] : []),
    ...fields.map(([name, value]) => `--data-urlencode ${shellQuote(`${name}=${value}`)}`),
    shellQuote(origin + address),
  ].join(" ");
}

/** The line that sets TOKEN. */
export function exportLine(token) {
  return `export TOKEN=${shellQuote(token)}`;
}

/** One word for the shell, whatever is in the text. A single quote ends the quoting, and begins it anew. */
export function shellQuote(text) {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
