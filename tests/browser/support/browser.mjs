// Starts the browser: the machine's own Chromium, or the one that CHROMIUM names.

import { chromium } from "playwright-core";

const EXECUTABLE = process.env.CHROMIUM || "/usr/bin/chromium";

/** No sandbox, because root has none; no traffic but to the pages that are opened. */
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"];

export function launch() {
  return chromium.launch({ executablePath: EXECUTABLE, args: ARGUMENTS, headless: true });
}
