// Starts the browser: the system's Chromium, or the one in the variable `CHROMIUM`.

import { chromium } from "playwright-core";

const EXECUTABLE = process.env.CHROMIUM || "/usr/bin/chromium";

/** No sandbox, because Chromium does not support it for root. No background traffic. */
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"];

export function launch() {
  return chromium.launch({ executablePath: EXECUTABLE, args: ARGUMENTS, headless: true });
}
