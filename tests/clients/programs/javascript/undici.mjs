import { EventSource } from "undici";

import { HUB, listen } from "./report.mjs";

listen(new EventSource(HUB));
