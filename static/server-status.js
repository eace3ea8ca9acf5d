// Requests `/status` from the server every few seconds and shows the response.
//
// The request may fail: the server restarts, or five streams and a second tab leave no free connection. Then
// the figures become dashes, and the time between requests doubles up to AT_MOST_EVERY_MS until one succeeds.

import { partsOf } from "./parts.js";

const ADDRESS = "/status";
const EVERY_MS = 3000;
const AT_MOST_EVERY_MS = 30_000;
const GIVE_UP_MS = 5000;
// Long enough for the server to count a stream that has just opened or closed.
const SOON_MS = 250;

export class ServerStatus {
  #parts;
  #section;
  #timer = null;
  #asking = false;
  #wait = EVERY_MS;

  /** @param {HTMLElement} section with the figures */
  constructor(section) {
    this.#section = section;
    this.#parts = partsOf(section);
    document.addEventListener("visibilitychange", () => this.askSoon());
    this.askSoon();
  }

  /** Requests the status soon, because it has probably changed. */
  askSoon() {
    this.#wait = EVERY_MS;
    this.#askIn(SOON_MS);
  }

  #askIn(wait) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), wait);
  }

  async #ask() {
    // A hidden tab sends no requests. They restart when it becomes visible.
    if (document.hidden) return;
    if (this.#asking) return;
    this.#asking = true;
    const status = await fetchStatus();
    this.#asking = false;
    this.#section.hidden = status === undefined;
    if (status === undefined) return;
    this.#show(status);
    this.#wait = status ? EVERY_MS : Math.min(this.#wait * 2, AT_MOST_EVERY_MS);
    this.#askIn(this.#wait);
  }

  #show(status) {
    const { subscribers, history, ticker } = status ?? {};
    const parts = this.#parts;
    parts["server-subscribers"].textContent = number(subscribers && subscribers.live + subscribers.catching_up);
    parts["subscribers-note"].textContent = subscribers ? subscribersNote(subscribers) : "";
    parts.kept.textContent = number(history?.events);
    parts["kept-note"].textContent = history ? `of at most ${number(history.max_events)}` : "";
    parts.ticker.textContent = ticker ? tickerText(ticker) : "–";
    parts.uptime.textContent = status ? uptimeText(status.uptime_seconds) : "–";
    parts.version.textContent = status?.version ?? "–";
    parts.silence.hidden = status !== null;
  }
}

/**
 * Returns the server's status, or null after any failure, because the page handles all failures alike.
 * Returns undefined if this address does not serve `/status`, because the server has an admin address.
 */
async function fetchStatus() {
  try {
    const response = await fetch(ADDRESS, { cache: "no-store", signal: AbortSignal.timeout(GIVE_UP_MS) });
    if (response.status === 404) return undefined;
    if (!response.ok) return null;
    const status = await response.json();
    return typeof status === "object" ? status : null;
  } catch {
    return null;
  }
}

function number(value) {
  return Number.isFinite(value) ? String(value) : "–";
}

function subscribersNote({ catching_up: catchingUp, max }) {
  const places = `of at most ${number(max)}`;
  return catchingUp > 0 ? `${places}, ${catchingUp} catching up` : places;
}

function tickerText({ enabled, interval_ms: interval }) {
  return enabled ? `every ${number(interval)} ms` : "off";
}

function uptimeText(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours >= 48) return `${Math.floor(hours / 24)} days`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}
