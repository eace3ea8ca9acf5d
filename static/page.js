// The page: adds and removes subscribers, and connects them to painting, announcements, the server's figures
// and the playground.

import { Announcer } from "./announcer.js";
import { PaintPacer } from "./paint-pacer.js";
import { Playground } from "./playground.js";
import { ServerStatus } from "./server-status.js";
import { SubscriberPanel } from "./subscriber-panel.js";
import { Subscription } from "./subscription.js";
import { tokenInFragment } from "./token-claims.js";

const STREAM = "/events/sse";

// Over HTTP/1.1, a browser opens six connections to a host. Each stream uses one while it is open, and one
// must stay free, or `/status` would wait forever. The playground's stream counts, too.
const MAX_STREAMS = 5;

// Ten paints per second are readable, sixty are not. With reduced motion, there are two.
const PAINT_EVERY_MS = 100;
const PAINT_EVERY_MS_REDUCED = 500;

const clock = { now: () => performance.now(), wallClock: () => Date.now() };
const lessMotion = matchMedia("(prefers-reduced-motion: reduce)");

const part = (id) => document.getElementById(id);
const [panelList, template, addButton, emptyNote] = ["panels", "subscriber-template", "add", "empty"].map(part);

/** The subscribers on the page by number, in page order. */
const subscribers = new Map();
/** Numbers of the subscribers that changed since the last paint. */
const changed = new Set();

const announcer = new Announcer(part("announcements"));
const serverStatus = new ServerStatus(part("server"));
const pacer = new PaintPacer(paintChanged, paintInterval);
const playground = new Playground({
  section: part("playground"),
  announcer,
  paintInterval,
  hasRoom,
  streamsChanged: showCount,
});

function paintInterval() {
  return lessMotion.matches ? PAINT_EVERY_MS_REDUCED : PAINT_EVERY_MS;
}

function paintChanged() {
  const now = clock.now();
  for (const number of changed) subscribers.get(number)?.panel.paint(now);
  changed.clear();
}

function repaint(number) {
  changed.add(number);
  pacer.request();
}

function repaintAll() {
  for (const number of subscribers.keys()) repaint(number);
}

function hasRoom() {
  return subscribers.size + (playground.hasStream ? 1 : 0) < MAX_STREAMS;
}

function add() {
  if (!hasRoom()) return;
  const number = lowestFreeNumber();
  const subscription = new Subscription({
    address: STREAM,
    connect: (url) => new EventSource(url),
    clock,
    changed: (news) => {
      repaint(number);
      if (news) tell(number, news);
    },
  });
  const panel = new SubscriberPanel({
    template,
    number,
    subscription,
    onRemove: () => remove(number),
    repaint: () => repaint(number),
  });
  subscribers.set(number, { subscription, panel });
  panelList.append(panel.element);
  showCount();
  subscription.connect();
}

function remove(number) {
  const { subscription, panel } = subscribers.get(number);
  const numbers = [...subscribers.keys()];
  const at = numbers.indexOf(number);
  const neighbour = subscribers.get(numbers[at + 1] ?? numbers[at - 1]);
  subscription.disconnect();
  subscribers.delete(number);
  panel.discard();
  showCount();
  // The button that was pressed no longer exists. Without this, the focus would move to the top of the page.
  if (neighbour) neighbour.panel.focus();
  else addButton.focus();
  announcer.say(`${number} state`, `Subscriber ${number} removed.`);
}

function tell(number, { state, gap }) {
  if (state) {
    pacer.hurry();
    announcer.say(`${number} state`, `Subscriber ${number}: ${state}.`);
    if (state !== "connecting") serverStatus.askSoon();
  }
  if (gap) announcer.say(`${number} gap`, `Subscriber ${number}: ${gap}`);
}

function showCount() {
  emptyNote.hidden = subscribers.size > 0;
  addButton.setAttribute("aria-disabled", String(!hasRoom()));
  playground.repaint();
}

function lowestFreeNumber() {
  let number = 1;
  while (subscribers.has(number)) number += 1;
  return number;
}

// Plots move although no message arrives, so that silence is visible.
function keepPlotsMoving() {
  if (!document.hidden) {
    for (const [number, { subscription }] of subscribers) {
      if (subscription.endedAt === null) repaint(number);
    }
  }
  setTimeout(keepPlotsMoving, lessMotion.matches ? 1000 : PAINT_EVERY_MS);
}

function recolour() {
  for (const { panel } of subscribers.values()) panel.recolour();
  repaintAll();
}

// A browser may keep a page that the user has left, for the back button. It must not keep streams that nobody
// sees, so they are closed, and resume after their last ids when the page is shown again.
let asleep = [];
let wakePlayground = () => {};
addEventListener("pagehide", () => {
  asleep = [...subscribers.values()].map(({ subscription }) => subscription).filter(({ state }) => state !== "ended");
  for (const subscription of asleep) subscription.disconnect();
  wakePlayground = playground.sleep();
});
addEventListener("pageshow", ({ persisted }) => {
  if (!persisted) return;
  for (const subscription of asleep) subscription.connect();
  asleep = [];
  wakePlayground();
});

// The link that the server prints carries a token in its fragment, which browsers do not send. It is removed
// from the address at once, so that no bookmark or screenshot contains it.
function takeTokenFromAddress() {
  const token = tokenInFragment(location.hash);
  if (token === null) return;
  history.replaceState(null, "", location.pathname + location.search);
  playground.takeToken(token);
}

addEventListener("hashchange", takeTokenFromAddress);

for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
  matchMedia(query).addEventListener("change", recolour);
}
addButton.addEventListener("click", add);
part("curl").textContent = `curl -N ${location.origin}${STREAM}`;
add();
takeTokenFromAddress();
keepPlotsMoving();
