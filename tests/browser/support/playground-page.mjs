// The playground as a user sees it: its fields, its buttons, and what it shows.

import { eventually, untilShown } from "./eventually.mjs";

export class PlaygroundPage {
  /** @param {import("playwright-core").Page} page */
  constructor(page) {
    this.page = page;
    this.section = page.getByTestId("playground");
    this.subscribeForm = page.getByTestId("subscribe-form");
    this.publishForm = page.getByTestId("publish-form");
    this.subscriptions = page.getByTestId("subscriptions-panel");
    this.token = page.getByTestId("token");
  }

  /** Fills in the form, and subscribes. Resolves when the stream is open. */
  async subscribe(fields) {
    await this.#fill(this.subscribeForm, { topics: "", patterns: "", "from-id": "", ...fields });
    await this.subscribeForm.getByTestId("subscribe").click();
    return this.until("an open stream", ({ state }) => state === "open");
  }

  stop() {
    return this.subscribeForm.getByTestId("stop").click();
  }

  /** Fills in the form. Fields that are not given become empty. */
  fillUpdate({ isPrivate = false, ...fields }) {
    return this.#fill(this.publishForm, { topics: "", data: "", type: "", id: "", retry: "", ...fields }, isPrivate);
  }

  /**
   * Fills in the form and publishes. Returns the id, or null if publishing failed, and the answer as shown.
   */
  async publish(update) {
    await this.fillUpdate(update);
    const answered = this.page.waitForResponse((response) => response.request().method() === "POST");
    await this.publishForm.getByTestId("publish").click();
    const response = await answered;
    const id = response.ok() ? await response.text() : null;
    // Pressing the button removed the previous answer.
    const shown = await eventually("the answer", () => this.publishForm.getByTestId("answer").textContent());
    return { id, shown };
  }

  /** The `curl` line of a form or panel. */
  curlLine(of) {
    return of.getByTestId("line").textContent();
  }

  /** Everything that is shown of the stream and the subscriptions, read at the same moment. */
  shown() {
    return this.section.evaluate((section) => {
      const find = (name) => section.querySelector(`[data-testid=${name}]`);
      const text = (element) => element?.textContent ?? "";
      return {
        state: text(find("stream-state")),
        detail: text(find("stream-detail")),
        received: Number(text(find("events-received"))),
        gaps: Number(text(find("events-gaps"))),
        lastId: text(find("events-last-id")),
        notice: find("notice").hidden ? null : text(find("notice")),
        hindrance: text(section.querySelector("[data-part=hindrance]")),
        // Newest first.
        events: [...find("events").children].map((row) => {
          const value = (name) => {
            const field = row.querySelector(`dl > .${name}`);
            return field.hidden ? null : text(field.querySelector("dd"));
          };
          return {
            kind: row.className,
            type: text(row.querySelector(".type")),
            origin: text(row.querySelector(".origin")),
            sentence: text(row.querySelector(".sentence")),
            time: text(row.querySelector("time")),
            topic: value("topic"),
            id: value("id"),
            retry: value("retry"),
            data: value("data"),
          };
        }),
        count: text(find("count")),
        answer: text(section.querySelector("[data-testid=subscriptions-panel] [data-testid=answer]")),
        subscriptions: [...find("rows").rows].map((row) => {
          const [matchType, match, subscriber, payload] = [...row.cells].map(text);
          return { matchType, match, subscriber, payload };
        }),
      };
    });
  }

  /**
   * Waits until what is shown meets the condition, and returns it.
   * @param {string} what
   * @param {(shown: Awaited<ReturnType<PlaygroundPage["shown"]>>) => boolean} condition
   */
  until(what, condition) {
    const brief = (shown) => `(the playground shows ${JSON.stringify({ ...shown, events: shown.events?.slice(0, 3) })})`;
    return untilShown(what, () => this.shown(), condition, brief);
  }

  /** Waits until an event with this data is the newest, and returns what is shown. */
  untilNewest(data) {
    return this.until(`${data} as the newest event`, ({ events }) => events[0]?.data === data);
  }

  async #fill(form, fields, isPrivate) {
    for (const [name, value] of Object.entries(fields)) await form.getByTestId(name).fill(value);
    if (isPrivate !== undefined) await form.getByTestId("private").setChecked(isPrivate);
  }
}
