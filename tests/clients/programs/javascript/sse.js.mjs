import { SSE } from "sse.js";

import { HUB, listen } from "./report.mjs";

// By default, the library does not reconnect.
listen(new SSE(HUB, { autoReconnect: true }));
