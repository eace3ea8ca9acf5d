// Parses an event stream as the HTML standard says. What a library delivers is compared with this.

/**
 * @param {string} text what has arrived of one stream
 * @returns {{ events: { type: string, data: string, id: string }[], comments: number,
 *   lastId: string, unfinished: string }} `events` are the blocks with data. `lastId` is the last id of
 *   any block. `unfinished` is the text after the last blank line.
 */
export function readEventStream(text) {
  const blocks = text.split("\n\n");
  const unfinished = blocks.pop();
  const stream = { events: [], comments: countComments(text), lastId: "", unfinished };
  for (const block of blocks) {
    const fields = block.split("\n").map(readField);
    const last = (wanted) => fields.findLast(({ name }) => name === wanted)?.value;
    stream.lastId = last("id") ?? stream.lastId;
    const data = fields.filter(({ name }) => name === "data").map(({ value }) => value);
    if (data.length > 0) {
      stream.events.push({ type: last("event") || "message", data: data.join("\n"), id: stream.lastId });
    }
  }
  return stream;
}

function countComments(text) {
  return text.split("\n").filter((line) => line.startsWith(":")).length;
}

function readField(line) {
  const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
  return { name, value };
}
