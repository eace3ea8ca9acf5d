// The form that publishes an update, and the hub's response.

import { showAnswer } from "./answer.js";
import { CopyLine } from "./copy-line.js";
import { lines, publishRequest } from "./hub-requests.js";
import { partsOf } from "./parts.js";

export class PublishPanel {
  #parts;
  #curl;
  #ask;
  #say;
  /** The number of updates sent. Only the response to the newest one is shown. */
  #sent = 0;

  /**
   * @param {HTMLFormElement} form
   * @param {object} wiring
   * @param {(request: import("./hub-requests.js").HubRequest) => Promise<import("./hub-client.js").Answer | null>} wiring.ask
   * @param {(sentence: string) => void} wiring.say announces it to screen readers
   * @param {() => void} wiring.changed called when the request has changed
   */
  constructor(form, { ask, say, changed }) {
    this.#parts = partsOf(form);
    this.#curl = new CopyLine(this.#parts.curl);
    this.#ask = ask;
    this.#say = say;
    form.addEventListener("input", changed);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#publish();
    });
  }

  request() {
    const { topics, data, type, id, retry, private: isPrivate } = this.#parts;
    return publishRequest({
      topics: lines(topics.value),
      data: data.value,
      type: type.value,
      id: id.value,
      retry: retry.value,
      isPrivate: isPrivate.checked,
    });
  }

  showCurl(line) {
    this.#curl.show(line);
  }

  async #publish() {
    this.#sent += 1;
    const mine = this.#sent;
    showAnswer(this.#parts.answer, "", true);
    const answer = await this.#ask(this.request());
    if (answer === null || mine !== this.#sent) return;
    const sentence = answer.isGood ? `${answer.status}, id ${answer.body}` : answer.sentence;
    showAnswer(this.#parts.answer, sentence, answer.isGood);
    this.#say(sentence);
  }
}
