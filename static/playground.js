// The playground: subscribes and publishes to topics of the visitor's choice. Connects its panels to each
// other.

import { ActiveSubscriptions } from "./active-subscriptions.js";
import { curlLine } from "./curl-line.js";
import { askHub } from "./hub-client.js";
import { subscriptionsRequest } from "./hub-requests.js";
import { HubSubscription } from "./hub-subscription.js";
import { PaintPacer } from "./paint-pacer.js";
import { partsOf } from "./parts.js";
import { PublishPanel } from "./publish-panel.js";
import { StreamPanel } from "./stream-panel.js";
import { SubscribePanel } from "./subscribe-panel.js";
import { SubscriptionsPanel } from "./subscriptions-panel.js";
import { TokenPanel } from "./token-panel.js";

const NO_ROOM = "No connection is left for another stream: remove a subscriber above first.";

export class Playground {
  #section;
  #announcer;
  #hasRoom;
  #streamsChanged;
  #pacer;
  #subscription;
  #tokenPanel;
  #subscribePanel;
  #streamPanel;
  #publishPanel;
  #subscriptionsPanel;

  /**
   * @param {object} wiring
   * @param {HTMLElement} wiring.section
   * @param {import("./announcer.js").Announcer} wiring.announcer
   * @param {() => number} wiring.paintInterval minimum time between two paints, in ms
   * @param {() => boolean} wiring.hasRoom whether the page has a free connection for a stream
   * @param {() => void} wiring.streamsChanged called when `hasStream` may have changed
   */
  constructor({ section, announcer, paintInterval, hasRoom, streamsChanged }) {
    this.#section = section;
    this.#announcer = announcer;
    this.#hasRoom = hasRoom;
    this.#streamsChanged = streamsChanged;
    this.#pacer = new PaintPacer(() => this.#paint(), paintInterval);
    const parts = partsOf(section);
    const active = new ActiveSubscriptions();
    this.#subscription = new HubSubscription({
      fetch: (...request) => fetch(...request),
      token: () => this.#tokenPanel.token,
      wallClock: () => Date.now(),
      active,
      changed: (news) => this.#tell(news),
    });
    const showCurlLines = () => this.#showCurlLines();
    this.#tokenPanel = new TokenPanel(parts["token-panel"], showCurlLines);
    this.#subscribePanel = new SubscribePanel(parts["subscribe-form"], {
      onSubscribe: (request) => this.#subscribe(request),
      onStop: () => this.#subscription.stop(),
      changed: showCurlLines,
    });
    this.#streamPanel = new StreamPanel(parts["stream-panel"], this.#subscription);
    this.#publishPanel = new PublishPanel(parts["publish-form"], {
      ask: (request) => this.#ask(request),
      say: (sentence) => announcer.say("publish", `Publish: ${sentence}`),
      changed: showCurlLines,
    });
    this.#subscriptionsPanel = new SubscriptionsPanel(parts["subscriptions-panel"], {
      active,
      ask: () => this.#ask(subscriptionsRequest()),
      say: (sentence) => announcer.say("subscriptions", `Subscriptions: ${sentence}`),
      repaint: () => this.repaint(),
    });
    this.#showCurlLines();
    this.repaint();
  }

  /** Whether the playground uses one of the browser's connections. */
  get hasStream() {
    return this.#subscription.isWanted;
  }

  /** Sets a token that came from a link, and scrolls the playground into view. */
  takeToken(token) {
    this.#tokenPanel.set(token);
    this.#section.scrollIntoView();
  }

  /** Requests a paint. Call also when the result of `hasRoom` may have changed. */
  repaint() {
    this.#pacer.request();
  }

  /** Closes the stream while nobody sees the page. Returns the function that resumes it. */
  sleep() {
    if (!this.hasStream) return () => {};
    this.#subscription.stop();
    return () => this.#subscription.resume();
  }

  #subscribe({ address }) {
    if (!this.hasStream && !this.#hasRoom()) return;
    if (this.#tokenPanel.isSendable()) this.#subscription.subscribe(address);
  }

  /** Returns the hub's response, or null if the token field has a value that cannot be sent. */
  async #ask(request) {
    return this.#tokenPanel.isSendable() ? askHub(request, this.#tokenPanel.token) : null;
  }

  #tell(news) {
    this.#pacer.request();
    if (!news) return;
    this.#pacer.hurry();
    if (news.state) {
      this.#announcer.say("stream", `Playground: ${news.state}.`);
      this.#streamsChanged();
    }
    if (news.notice) this.#announcer.say("notice", `Playground: ${news.notice}`);
  }

  #paint() {
    const hindrance = this.hasStream || this.#hasRoom() ? "" : NO_ROOM;
    this.#subscribePanel.paint(this.#subscription, hindrance);
    this.#streamPanel.paint();
    this.#subscriptionsPanel.paint();
  }

  #showCurlLines() {
    const wiring = { origin: location.origin, withToken: this.#tokenPanel.token !== "" };
    this.#subscribePanel.showCurl(curlLine(this.#subscribePanel.request(), wiring));
    this.#publishPanel.showCurl(curlLine(this.#publishPanel.request(), wiring));
    this.#subscriptionsPanel.showCurl(curlLine(subscriptionsRequest(), wiring));
  }
}
