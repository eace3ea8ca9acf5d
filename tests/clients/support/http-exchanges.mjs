// Parses recorded HTTP/1.1 bytes: requests without a body, and their responses. The last response may
// be incomplete.

/**
 * @param {Buffer} sent what the client sent on one connection
 * @param {Buffer} received what it received
 * @returns {{ method: string, target: string, headers: Record<string, string>,
 *   response: { status: number, headers: Record<string, string>, body: Buffer, isComplete: boolean } | null }[]}
 */
export function readExchanges(sent, received) {
  const exchanges = [];
  let rest = received;
  for (const head of splitHeads(sent)) {
    const [method, target] = head.line.split(" ");
    const response = readResponse(rest, method);
    rest = response?.rest ?? Buffer.alloc(0);
    exchanges.push({ method, target, headers: head.headers, response });
  }
  return exchanges;
}

function* splitHeads(bytes) {
  for (let rest = bytes; ; ) {
    const head = readHead(rest);
    if (!head) return;
    yield head;
    rest = head.rest;
  }
}

/** A start line and its headers; null if they are incomplete. */
function readHead(bytes) {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return null;
  const [line, ...fields] = bytes.toString("latin1", 0, end).split("\r\n");
  const headers = Object.fromEntries(
    fields.map((field) => {
      const colon = field.indexOf(":");
      return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()];
    }),
  );
  return { line, headers, rest: bytes.subarray(end + 4) };
}

function readResponse(bytes, method) {
  const head = readHead(bytes);
  if (!head) return null;
  const status = Number(head.line.split(" ")[1]);
  return { status, headers: head.headers, ...readBody(head, method === "HEAD" || status === 204) };
}

function readBody({ headers, rest }, isEmpty) {
  if (isEmpty) return { body: Buffer.alloc(0), isComplete: true, rest };
  if (headers["transfer-encoding"] === "chunked") return readChunks(rest);
  const length = Number(headers["content-length"] ?? rest.length);
  return { body: rest.subarray(0, length), isComplete: rest.length >= length, rest: rest.subarray(length) };
}

/** The content of all complete chunks. */
function readChunks(bytes) {
  const chunks = [];
  let at = 0;
  let isComplete = false;
  while (!isComplete) {
    const lineEnd = bytes.indexOf("\r\n", at);
    if (lineEnd < 0) break;
    const length = Number.parseInt(bytes.toString("latin1", at, lineEnd), 16);
    const end = lineEnd + 2 + length;
    if (end + 2 > bytes.length) break;
    at = end + 2;
    chunks.push(bytes.subarray(lineEnd + 2, end));
    isComplete = length === 0;
  }
  return { body: Buffer.concat(chunks), isComplete, rest: bytes.subarray(at) };
}
