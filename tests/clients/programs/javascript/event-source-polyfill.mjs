// This is a classic script. It defines a global class.
import "event-source-polyfill";

import { HUB, listen } from "./report.mjs";

listen(new globalThis.EventSourcePolyfill(HUB));
