import { EventSource } from "eventsource";

import { HUB, listen } from "./report.mjs";

listen(new EventSource(HUB));
