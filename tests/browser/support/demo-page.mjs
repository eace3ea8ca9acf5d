// The demo page as a user sees it: what its panels show, and its buttons.

import { untilShown } from "./eventually.mjs";

export class DemoPage {
  /** @param {import("playwright-core").Page} page */
  constructor(page) {
    this.page = page;
  }

  /** Panel number `at` in the order of the page; the first is 1. */
  panel(at) {
    return new Panel(this.page.getByTestId("subscriber").nth(at - 1));
  }

  panels() {
    return this.page.getByTestId("subscriber").count();
  }

  add() {
    return this.page.getByTestId("add").click();
  }

  /** What each `EventSource` of the page received, in order; see `recordStreams`. */
  streams() {
    return this.page.evaluate(() => globalThis.recordedStreams);
  }

  /** The focused element: its data-testid or tag, its label, and how it shows the focus. */
  focus() {
    return this.page.evaluate(() => {
      const element = document.activeElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      return {
        on: element.dataset.testid ?? element.localName,
        label: element.getAttribute("aria-label") ?? element.textContent,
        outline: outlineStyle === "none" ? 0 : Number.parseFloat(outlineWidth),
      };
    });
  }
}

export class Panel {
  #section;

  constructor(section) {
    this.#section = section;
  }

  /** Everything that the panel shows, read at the same moment. */
  shown() {
    return this.#section.evaluate((section) => {
      const text = (name) => section.querySelector(`[data-testid=${name}], [data-part=${name}]`).textContent.trim();
      const lastGap = section.querySelector("[data-part=last-gap]");
      return {
        heading: text("heading"),
        state: text("state"),
        detail: text("detail"),
        lastId: text("last-id"),
        received: Number(text("received")),
        missed: Number(text("missed")),
        missedMore: text("missed-more"),
        duplicated: Number(text("duplicated")),
        // NaN before the first interval.
        interval: Number.parseFloat(text("interval")),
        summary: text("summary"),
        lastGap: lastGap.hidden ? null : lastGap.textContent,
        // Newest first.
        rows: [...section.querySelectorAll("[data-testid=messages] > li")].map((row) => ({
          kind: row.className,
          text: row.querySelector(".text").textContent,
          note: row.querySelector(".note").textContent,
        })),
      };
    });
  }

  /**
   * Waits until what is shown meets the condition, and returns it.
   * @param {string} what
   * @param {(shown: Awaited<ReturnType<Panel["shown"]>>) => boolean} condition
   */
  until(what, condition) {
    const brief = (shown) => `(the panel shows ${JSON.stringify({ ...shown, rows: shown.rows?.slice(0, 3) })})`;
    return untilShown(what, () => this.shown(), condition, brief);
  }

  press(name) {
    return this.#section.getByTestId(name).click();
  }

  /** Records each state that is shown from now on; `states` returns them. */
  async recordStates() {
    await this.#section.getByTestId("state").evaluate((state) => {
      state.recorded = [state.textContent];
      new MutationObserver(() => state.recorded.push(state.textContent)).observe(state, {
        childList: true,
        characterData: true,
        subtree: true,
      });
    });
  }

  states() {
    return this.#section.getByTestId("state").evaluate((state) => state.recorded);
  }
}

/**
 * Runs in the page before its own scripts. Records what each `EventSource` receives in `recordedStreams`,
 * independently of the page's own counts.
 */
export function recordStreams() {
  globalThis.recordedStreams = [];
  globalThis.EventSource = class extends EventSource {
    constructor(...given) {
      super(...given);
      const stream = { url: this.url, opened: 0, failed: 0, ids: [], gaps: [] };
      globalThis.recordedStreams.push(stream);
      this.addEventListener("open", () => (stream.opened += 1));
      this.addEventListener("error", () => (stream.failed += 1));
      this.addEventListener("message", ({ lastEventId }) => stream.ids.push(lastEventId));
      this.addEventListener("gap", ({ data }) => stream.gaps.push(JSON.parse(data)));
    }
  };
}

/** The index of each event in its epoch, taken from the ids. Fails unless all ids have the same epoch. */
export function sequence(ids) {
  const parts = ids.map((id) => id.slice(1).split("-").map(Number));
  const epochs = new Set(parts.map(([epoch]) => epoch));
  if (epochs.size !== 1) throw new Error(`the ids are of ${epochs.size} epochs: ${ids.join(" ")}`);
  return parts.map(([, seq]) => seq - 1);
}

/** The sequence without holes that has the same start and length as `seqs`. */
export function withoutHoles(seqs) {
  return seqs.map((_, at) => seqs[0] + at);
}
