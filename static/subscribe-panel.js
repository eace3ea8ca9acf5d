// The form that selects what to subscribe to, its buttons, and the state of the stream.

import { CopyLine } from "./copy-line.js";
import { lines, subscribeRequest } from "./hub-requests.js";
import { partsOf, write } from "./parts.js";

export class SubscribePanel {
  #parts;
  #curl;

  /**
   * @param {HTMLFormElement} form
   * @param {object} wiring
   * @param {(request: import("./hub-requests.js").HubRequest) => void} wiring.onSubscribe
   * @param {() => void} wiring.onStop
   * @param {() => void} wiring.changed called when the request has changed
   */
  constructor(form, { onSubscribe, onStop, changed }) {
    this.#parts = partsOf(form);
    this.#curl = new CopyLine(this.#parts.curl);
    form.addEventListener("input", changed);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      onSubscribe(this.request());
    });
    this.#parts.stop.addEventListener("click", onStop);
  }

  request() {
    const { topics, patterns, "from-id": fromId, snapshot, names } = this.#parts;
    return subscribeRequest({
      topics: lines(topics.value),
      patterns: lines(patterns.value),
      lastEventId: fromId.value.trim(),
      snapshot: snapshot.checked,
      namesTopics: names.checked,
    });
  }

  showCurl(line) {
    this.#curl.show(line);
  }

  /**
   * @param {import("./hub-subscription.js").HubSubscription} subscription
   * @param {string} hindrance why no stream can be opened now; may be empty
   */
  paint({ state, detail, isWanted }, hindrance) {
    const parts = this.#parts;
    parts["stream-badge"].dataset.state = state;
    write(parts["stream-state"], state);
    write(parts["stream-detail"], detail);
    // Not `disabled`: the button would lose the focus when it is pressed.
    parts.stop.setAttribute("aria-disabled", String(!isWanted));
    parts.subscribe.setAttribute("aria-disabled", String(hindrance !== ""));
    write(parts.hindrance, hindrance);
  }
}
