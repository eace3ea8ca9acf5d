// Writes a request as a curl command for a POSIX shell. No DOM.
//
// The token is not part of the command. It reads the shell variable BROADCASTER_TOKEN, as `broadcaster` does,
// so that neither a screenshot nor the shell's history reveals the token.

/**
 * @param {import("./hub-requests.js").HubRequest} request
 * @param {{ origin: string, withToken: boolean }} wiring
 */
export function curlLine({ address, stream = false, fields }, { origin, withToken }) {
  return [
    "curl",
    ...(stream ? ["-N"] : []),
    // In double quotes, so that the shell inserts the token.
    ...(withToken ? ['-H "Authorization: Bearer $BROADCASTER_TOKEN"'] : []),
    ...(fields ? formOptions(fields) : []),
    shellQuote(origin + address),
  ].join(" ");
}

function formOptions(fields) {
  // Without any data option, curl would send GET. An empty form must be a POST, too.
  if (fields.length === 0) return ["--data ''"];
  return fields.map(([name, value]) => `--data-urlencode ${shellQuote(`${name}=${value}`)}`);
}

/** The command that sets BROADCASTER_TOKEN. */
export function exportLine(token) {
  return `export BROADCASTER_TOKEN=${shellQuote(token)}`;
}

/**
 * Quotes any text as one word for the shell. A single quote closes the quoting, is escaped, and opens it
 * again.
 */
export function shellQuote(text) {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
