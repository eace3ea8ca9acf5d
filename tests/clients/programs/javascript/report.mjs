// Shared by all programs, in Node and in pages: prints a JSON line for each thing that the application
// sees.

const inNode = typeof process !== "undefined";

/** The stream's URL: the argument of the program, or the parameter `hub` of the page. */
export const HUB = inNode ? process.argv[2] : new URLSearchParams(location.search).get("hub");

// The test ends a program by closing its standard input. Reading the input also keeps the program
// running: undici's EventSource lets Node exit while it waits to reconnect.
if (inNode) process.stdin.on("end", () => process.exit()).resume();

/** The message handler of a typical application: it expects JSON in every event. */
export function onEvent(type, data, id) {
  let problem;
  try {
    JSON.parse(data);
  } catch (error) {
    problem = String(error);
  }
  print({ saw: "event", type, data, id, problem });
}

export function onOpen() {
  print({ saw: "open" });
}

export function onError(error) {
  print({ saw: "error", text: String(error?.message ?? error?.type ?? error) });
}

/** Listens as a page does: with one listener for each event type. */
export function listen(source) {
  source.addEventListener("open", onOpen);
  source.addEventListener("error", onError);
  for (const type of ["message", "checkpoint", "gap"]) {
    source.addEventListener(type, (event) => onEvent(event.type, event.data, event.lastEventId));
  }
}

function print(line) {
  console.log(JSON.stringify(line));
}
