/** The models page while it is open: downloads move, and what others change appears. */

import { announce, byId, bytesText, fetchNodes, secondsText, send, slot, toast } from "./dom.js";

const POLL_MS = 5000;
// A browser opens six connections to one server; the rest of the downloads is kept up to date by asking.
const MOST_STREAMS = 2;
const TITLE = document.title;

const pullRow = (name) => document.querySelector(`[data-pull="${CSS.escape(name)}"]`);

function showProgress(row, progress) {
  const { completed_bytes: completed, total_bytes: total, percent, bytes_per_s: pace, eta_s: eta } = progress;
  const bar = row.querySelector("progress");
  if (total) {
    bar.value = percent;
    slot(row, "percent").textContent = `${percent} %`;
    slot(row, "amount").textContent = `${bytesText(completed)} of ${bytesText(total)}`;
    document.title = `${percent} % · ${TITLE}`;
  } else {
    slot(row, "amount").textContent = progress.status || "Waiting";
  }
  const left = typeof eta === "number" && total ? `${secondsText(eta)} left` : "";
  slot(row, "pace").textContent = [pace ? `${bytesText(pace)}/s` : "", left].filter(Boolean).join(" · ");
}

class ModelsPage {
  #streams = new Map();
  // What each part showed when it came from the server: words only, since tokens in forms differ each time.
  #shown = new Map();

  start() {
    for (const part of document.querySelectorAll("[data-part]")) this.#shown.set(part.id, part.textContent);
    document.addEventListener("submit", (event) => this.#submit(event));
    document.addEventListener("visibilitychange", () => document.hidden || this.#refresh());
    setInterval(() => document.hidden || this.#refresh(), POLL_MS);
    this.#watchAll();
  }

  #watchAll() {
    for (const row of document.querySelectorAll("[data-pull][data-events-url]")) {
      const { pull, eventsUrl } = row.dataset;
      if (eventsUrl && !this.#streams.has(pull) && this.#streams.size < MOST_STREAMS) this.#watch(pull, eventsUrl);
    }
    if (!document.querySelector("[data-pull]")) document.title = TITLE;
  }

  #watch(name, url) {
    const source = new EventSource(url);
    this.#streams.set(name, source);
    const on = (event, act) => source.addEventListener(event, ({ data }) => act(JSON.parse(data)));
    const say = (sentence) => {
      const row = pullRow(name);
      if (row) slot(row, "pace").textContent = sentence;
    };
    on("progress", (progress) => pullRow(name) && showProgress(pullRow(name), progress));
    on("queued", ({ place }) => say(`Waiting for its turn, place ${place}`));
    on("stalled", () => say("No data for a while. Still trying."));
    on("retrying", () => say("The line broke. Trying again."));
    on("done", () => this.#ended(name, `${name} is ready.`));
    on("cancelled", () => this.#ended(name, `The download of ${name} was cancelled.`));
    on("interrupted", () => this.#ended(name, `The download of ${name} was interrupted.`));
    on("failed", ({ message }) => this.#ended(name, `${name}: ${message}`));
    source.onerror = () => source.readyState === EventSource.CLOSED && this.#streams.delete(name);
  }

  #ended(name, sentence) {
    this.#streams.get(name)?.close();
    this.#streams.delete(name);
    document.title = TITLE;
    toast(sentence);
    this.#refresh();
  }

  /** Put in place what changed. A part in which somebody is choosing something waits for the next time. */
  async #refresh() {
    const nodes = await fetchNodes("/dashboard", { "X-Fragment": "models" }).catch(() => null);
    for (const fresh of nodes?.querySelectorAll("[data-part]") ?? []) {
      const part = byId(fresh.id);
      const busy = part.contains(document.activeElement) || part.querySelector("details[open]");
      if (busy || this.#shown.get(part.id) === fresh.textContent) continue;
      this.#shown.set(part.id, fresh.textContent);
      part.replaceChildren(...fresh.childNodes);
    }
    this.#watchAll();
  }

  #submit(event) {
    const form = event.target.closest("[data-live]");
    if (!form) return;
    event.preventDefault();
    this.#ask(form);
  }

  async #ask(form) {
    const error = byId("download-error");
    error.hidden = true;
    document.activeElement?.blur();
    try {
      await send(form.action, Object.fromEntries(new FormData(form)));
      form.reset();
      announce({ cancel: "Cancelling", dismiss: "Taken off the list" }[form.dataset.live] ?? "The download has started");
    } catch (failure) {
      error.textContent = failure.message;
      error.hidden = false;
      if (form.id === "download") byId("name").focus();
      else error.scrollIntoView({ block: "center" });
    }
    await this.#refresh();
  }
}

new ModelsPage().start();
