import { fetchEventSource } from "@microsoft/fetch-event-source";

import { HUB, onError, onEvent, onOpen } from "./report.mjs";

fetchEventSource(HUB, {
  onopen: async () => onOpen(),
  onmessage: ({ event, data, id }) => onEvent(event, data, id),
  // Without this error, the library stops when the server ends the stream.
  onclose: () => {
    throw new Error("the stream ended");
  },
  onerror: onError,
});
