// Writes docs/demo.png: a screenshot of the demo page with a real server.
//
// It shows two subscribers side by side. To make the plots interesting, the interval in the config file
// changes meanwhile, and the second subscriber is disconnected for a while.
//
//     node tests/browser/screenshot.mjs [FILE] [WIDTH] [light|dark]

import { mkdir } from "node:fs/promises";
import { dirname, resolve } from "node:path";

import { Broadcaster } from "./support/broadcaster.mjs";
import { launch } from "./support/browser.mjs";
import { DemoPage } from "./support/demo-page.mjs";

const [
  file = resolve(import.meta.dirname, "../../docs/demo.png"),
  width = "1200",
  colorScheme = "light",
] = process.argv.slice(2);

/** The default port, so that the screenshot shows the address that users see. */
const PORT = 3000;

/** The intervals, and the number of messages at each. Together they last about as long as the plot, 30 s. */
const TOGETHER = [
  { interval: "500ms", messages: 10 },
  { interval: "100ms", messages: 50 },
  { interval: "20ms", messages: 250 },
];
const SECOND_AWAY = { interval: "250ms", messages: 12 };
const TOGETHER_AGAIN = [
  { interval: "250ms", messages: 20 },
  { interval: "60ms", messages: 70 },
];

const server = await Broadcaster.start({ ticker: { interval: TOGETHER[0].interval } }, PORT);
const browser = await launch();
try {
  const context = await browser.newContext({ colorScheme, viewport: { width: Number(width), height: 900 } });
  const demo = new DemoPage(await context.newPage());
  await demo.page.goto(server.address);
  await demo.add();
  const [first, second] = [demo.panel(1), demo.panel(2)];

  for (const stage of TOGETHER) await show(stage);
  await second.press("disconnect");
  await show(SECOND_AWAY);
  await second.press("reconnect");
  // So that no button is shown in its hover state.
  await demo.page.mouse.move(0, 0);
  for (const stage of TOGETHER_AGAIN) await show(stage);

  await mkdir(dirname(file), { recursive: true });
  await demo.page.screenshot({ path: file, fullPage: true });
  console.log(`wrote ${file}`);

  async function show({ interval, messages }) {
    await server.configure({ ticker: { interval } });
    const { received } = await first.shown();
    await first.until(`messages each ${interval}`, (shown) => shown.received >= received + messages);
  }
} finally {
  await browser.close();
  await server.discard();
}
