// Draws the intervals between arrivals of the last 30 seconds, newest at the right.
//
// The height is the interval on a logarithmic scale, so that 1 ms and 1 s fit into one plot. A column of 100
// ms is a bar from its shortest to its longest interval.

import { COLUMN_MS, COLUMNS, MARK_CUT, MARK_GAP } from "./arrival-history.js";

const SHORTEST_MS = 0.5;
const LONGEST_MS = 20_000;
const GRID = [
  [1, "1 ms"],
  [10, "10 ms"],
  [100, "0.1 s"],
  [1000, "1 s"],
  [10_000, "10 s"],
];
const LABEL_WIDTH = 38;
const DOT = 3;

export class ArrivalPlot {
  #canvas;
  #context;
  #colours = null;
  #width = 0;
  #height = 0;
  #drawn = "";

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
  }

  /** Sets a new size, in CSS pixels. */
  resize(width, height) {
    const scale = window.devicePixelRatio || 1;
    this.#width = width;
    this.#height = height;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    this.#context.setTransform(scale, 0, 0, scale, 0, 0);
    this.#drawn = "";
  }

  /** Reads the colours again at the next paint. Call when the theme changes. */
  recolour() {
    this.#colours = null;
    this.#drawn = "";
  }

  /** Draws, unless nothing can have changed since the last time: the plot moves by whole columns. */
  paint(history, now, changes) {
    const state = `${Math.floor(now / COLUMN_MS)} ${changes}`;
    if (state === this.#drawn || this.#width <= LABEL_WIDTH) return;
    this.#drawn = state;
    this.#colours ??= readColours(this.#canvas);
    this.#context.clearRect(0, 0, this.#width, this.#height);
    this.#drawGrid();
    this.#drawColumns(history, now);
  }

  #drawGrid() {
    const context = this.#context;
    context.font = this.#colours.font;
    context.textBaseline = "middle";
    for (const [interval, label] of GRID) {
      const y = Math.round(this.#y(interval)) + 0.5;
      context.fillStyle = this.#colours.grid;
      context.fillRect(LABEL_WIDTH, y - 0.5, this.#width - LABEL_WIDTH, 1);
      context.fillStyle = this.#colours.label;
      context.fillText(label, 0, y);
    }
  }

  #drawColumns(history, now) {
    const context = this.#context;
    const step = (this.#width - LABEL_WIDTH) / COLUMNS;
    const breadth = Math.max(DOT, step);
    history.forEach(now, (age, _count, shortest, longest, mark) => {
      const right = this.#width - age * step;
      if (mark === MARK_GAP || mark === MARK_CUT) {
        context.fillStyle = mark === MARK_GAP ? this.#colours.gap : this.#colours.cut;
        const thick = mark === MARK_GAP ? 3 : 1;
        context.fillRect(right - thick, 0, thick, this.#height);
      }
      if (shortest === Infinity) return;
      const top = this.#y(longest) - DOT / 2;
      context.fillStyle = this.#colours.bar;
      context.fillRect(right - breadth, top, breadth, this.#y(shortest) + DOT / 2 - top);
    });
  }

  #y(interval) {
    const within = Math.min(Math.max(interval, SHORTEST_MS), LONGEST_MS);
    const share = Math.log(within / SHORTEST_MS) / Math.log(LONGEST_MS / SHORTEST_MS);
    return this.#height - DOT / 2 - share * (this.#height - DOT);
  }
}

function readColours(canvas) {
  const style = getComputedStyle(canvas);
  const named = (name) => style.getPropertyValue(name).trim();
  return {
    grid: named("--line"),
    label: named("--soft"),
    bar: named("--accent"),
    gap: named("--gap-line"),
    cut: named("--soft"),
    font: `10px ${style.fontFamily}`,
  };
}
