// Writes a request as a line for a POSIX shell. No DOM.
//
// The token is not in it: the line reads it from the shell's variable BROADCASTER_TOKEN, as the
// command line does, so that neither a screenshot nor the shell's history gives it away.

/**
 * @param {import("./hub-requests.js").HubRequest} request
 * @param {{ origin: string, withToken: boolean }} wiring
 */
export function curlLine({ address, stream = false, fields }, { origin, withToken }) {
  return [
    "curl",
    ...(stream ? ["-N"] : []),
    // In double quotes, because the shell is to put the token in.
    ...(withToken ? ['-H "Authorization: Bearer $BROADCASTER_TOKEN"'] : []),
    ...(fields ? formOptions(fields) : []),
    shellQuote(origin + address),
  ].join(" ");
}

function formOptions(fields) {
  // An empty form is one, too: without any data, curl would GET.
  if (fields.length === 0) return ["--data ''"];
  return fields.map(([name, value]) => `--data-urlencode ${shellQuote(`${name}=${value}`)}`);
}

/** The line that sets it. */
export function exportLine(token) {
  return `export BROADCASTER_TOKEN=${shellQuote(token)}`;
}

/** One word for the shell, whatever is in the text. A single quote ends the quoting, and begins it anew. */
export function shellQuote(text) {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
