import ReconnectingEventSource from "reconnecting-eventsource";

import { HUB, listen } from "./report.mjs";

listen(new ReconnectingEventSource(HUB));
