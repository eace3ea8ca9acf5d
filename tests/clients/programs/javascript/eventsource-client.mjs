import { createEventSource } from "eventsource-client";

import { HUB, onError, onEvent, onOpen } from "./report.mjs";

createEventSource({
  url: HUB,
  onConnect: onOpen,
  onDisconnect: () => onError("disconnected"),
  onMessage: ({ event, data, id }) => onEvent(event, data, id),
});
