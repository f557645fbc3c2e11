/** One reply while it is being made: the server's events become the page's text. */

import { announce, byId, copyWith, fetchNodes, make, serverNodes, slot } from "./dom.js";

const PHASE_SHOWN_AFTER_MS = 300; // a phase that is over at once would only flicker
const PAINT_WHEN_HIDDEN_MS = 250; // a hidden page gets no animation frames
const SPEAK_EVERY_MS = 1500;
const RETRY_FIRST_MS = 1000;
const RETRY_MOST_MS = 30000;

const STATUS = { done: "complete", stopped: "stopped", failed: "failed", interrupted: "interrupted" };
const ENDS = {
  stopped: "Stopped. What was written until then is kept.",
  interrupted: "The server stopped while this was being written. What was written until then is kept.",
};
const EMPTY_ENDS = {
  stopped: "Stopped before a word was written.",
  interrupted: "The server stopped before a word was written.",
};

/** The same sentence that the server writes under a stored reply (templates/_message.html, ends); "" when complete. */
function endText(status, message) {
  return (message.content?.trim() || message.thinking?.trim() ? ENDS : EMPTY_ENDS)[status] ?? "";
}

/** The same line that the server writes under a stored reply (templates/_message.html, stats). */
export function statsText(usage) {
  if (!usage?.reply_tokens) return "";
  const parts = [`${usage.reply_tokens.toLocaleString("en")} token${usage.reply_tokens === 1 ? "" : "s"}`];
  const speed = usage.tokens_per_s;
  if (speed) parts.push(`${speed.toFixed(speed >= 10 ? 0 : 1)} tok/s`);
  if (typeof usage.first_token_ms === "number") parts.push(`first token ${(usage.first_token_ms / 1000).toFixed(2)} s`);
  if (usage.done_reason === "length") parts.push("cut at the length limit");
  return parts.join(" · ");
}

/** Reads finished sentences aloud, never half of one, and not more often than one can listen. */
class Reader {
  #spoken = 0;
  #waiting = "";
  #timer = 0;

  /** The open block has grown to this text. */
  growing(text) {
    const end = Math.max(...[". ", "! ", "? ", ".\n", ":\n"].map((mark) => text.lastIndexOf(mark)));
    if (end < this.#spoken) return;
    this.#say(text.slice(this.#spoken, end + 1));
    this.#spoken = end + 1;
  }

  /** A block is finished. Code is named, not spelled out. */
  finished(block) {
    const code = block.querySelector("pre");
    const language = block.querySelector("figcaption")?.firstChild?.textContent ?? "";
    this.#say(code ? `Code${language.trim() ? `, ${language.trim()}` : ""}.` : block.textContent.slice(this.#spoken));
    this.#spoken = 0;
  }

  #say(text) {
    this.#waiting += ` ${text.trim()}`;
    if (!this.#timer) this.#timer = setTimeout(() => this.flush(), SPEAK_EVERY_MS);
  }

  flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (this.#waiting.trim()) announce(this.#waiting.trim());
    this.#waiting = "";
  }
}

/** "Loading the model · 4 s": what the server is doing, and for how long. */
class Phase {
  #element;
  #since = 0;
  #name = "";
  #ticker = 0;

  constructor(element) {
    this.#element = element;
  }

  show(name) {
    if (name === this.#name) return;
    this.#name = name;
    this.#since = performance.now();
    clearInterval(this.#ticker);
    this.#ticker = setInterval(() => this.#write(), 1000);
    setTimeout(() => this.#write(), this.#element.textContent ? 0 : PHASE_SHOWN_AFTER_MS);
  }

  #write() {
    if (!this.#name) return;
    const seconds = Math.floor((performance.now() - this.#since) / 1000);
    const text = seconds ? `${this.#name} · ${seconds} s` : this.#name;
    this.#element.replaceChildren(make("span", { className: "dot" }), text);
  }

  end() {
    clearInterval(this.#ticker);
    this.#name = "";
    this.#element.replaceChildren();
  }
}

/** A copy button for every code block that has none yet. */
export function addCopyButtons(root) {
  for (const pre of root.querySelectorAll("pre")) {
    if (pre.parentElement.querySelector(":scope > .copy")) continue;
    const button = make("button", { type: "button", className: "button button--quiet copy", textContent: "Copy" });
    button.setAttribute("aria-label", "Copy this code");
    button.addEventListener("click", () => copyWith(button, pre.textContent.replace(/\n$/, "")));
    pre.after(button);
  }
}

/** Make the actions under a reply work. */
export function startActions(article) {
  addCopyButtons(article);
  const copy = article.querySelector('[data-act="copy"]');
  copy.hidden = !copy.dataset.source;
  copy.onclick = () => copyWith(copy, copy.dataset.source);
}

export class LiveReply {
  #article;
  #source = null;
  #phase;
  #reader = new Reader();
  #steps = [];
  #painting = false;
  #retry_ms = RETRY_FIRST_MS;
  #thinkingSince = 0;

  /**
   * @param {HTMLElement} article made by the reply macro of templates/_message.html
   * @param {{grew: () => void, ended: (status: string) => void}} page what happens around the reply
   */
  constructor(article, page) {
    this.#article = article;
    this.#page = page;
    this.#phase = new Phase(slot(article, "phase"));
  }

  #page;

  /** What each event does. The vocabulary is the server's: chatapp/jobs/events.py. */
  #on = {
    queued: ({ place }) => this.#phase.show(place > 0 ? `Waiting, place ${place} in the line` : "Waiting"),
    loading: ({ model }) => this.#enter(`Loading ${model ?? "the model"}`),
    started: () => this.#enter("Reading"),
    thinking: ({ text }) => this.#step("thinking", text),
    piece: ({ text }) => this.#step("piece", text),
    tail: ({ html }) => this.#step("tail", html),
    block: (block) => this.#step("block", block),
    usage: (usage) => (slot(this.#article, "stats").textContent = statsText(usage)),
    done: (data) => this.#end("done", data),
    stopped: (data) => this.#end("stopped", data),
    failed: (data) => this.#end("failed", data),
    interrupted: (data) => this.#end("interrupted", data),
  };

  /** Watch the reply from where the page stands. The browser reconnects by itself, at the exact place. */
  follow(url) {
    this.#article.setAttribute("aria-busy", "true");
    this.#source = new EventSource(url);
    for (const [name, act] of Object.entries(this.#on)) {
      this.#source.addEventListener(name, (event) => act(JSON.parse(event.data)));
    }
    this.#source.onopen = () => {
      this.#retry_ms = RETRY_FIRST_MS;
      this.#connected();
    };
    this.#source.onerror = () => this.#lost();
    this.#phase.show(slot(this.#article, "blocks").firstChild || slot(this.#article, "tail").firstChild ? "Writing" : "Waiting");
  }

  #enter(name) {
    this.#phase.show(name);
    announce(name);
  }

  #step(kind, value) {
    this.#steps.push([kind, value]);
    if (this.#painting) return;
    this.#painting = true;
    if (document.hidden) setTimeout(() => this.#paint(), PAINT_WHEN_HIDDEN_MS);
    else requestAnimationFrame(() => this.#paint());
  }

  /** All that came since the last frame, in order; texts that follow one another are one write. */
  #paint() {
    this.#painting = false;
    const steps = this.#steps;
    this.#steps = [];
    for (let i = 0; i < steps.length; i += 1) {
      let [kind, value] = steps[i];
      while ((kind === "piece" || kind === "thinking") && steps[i + 1]?.[0] === kind) value += steps[(i += 1)][1];
      this.#draw[kind](value);
    }
    if (steps.length) this.#page.grew();
  }

  #draw = {
    thinking: (text) => {
      this.#thinkingSince ||= performance.now();
      this.#phase.show("Thinking");
      slot(this.#article, "thinking").hidden = false;
      slot(this.#article, "thoughts").classList.add("reply__raw");
      slot(this.#article, "thoughts").append(text);
      const peek = slot(this.#article, "peek");
      peek.hidden = false;
      peek.textContent = slot(this.#article, "thoughts").textContent.slice(-400);
    },
    piece: (text) => {
      this.#thoughtEnds();
      this.#phase.show("Writing");
      this.#openEnd().append(text);
      this.#article.querySelector('[data-act="copy"]').dataset.source += text;
      const tail = slot(this.#article, "tail");
      if (!tail.querySelector("pre")) this.#reader.growing(tail.textContent);
    },
    tail: (html) => slot(this.#article, "tail").replaceChildren(serverNodes(html)),
    block: ({ index, html }) => {
      const blocks = slot(this.#article, "blocks");
      const block = make("div", { className: "block" }, serverNodes(html));
      while (blocks.childElementCount > index) blocks.lastElementChild.remove();
      blocks.append(block);
      slot(this.#article, "tail").replaceChildren();
      addCopyButtons(block);
      this.#reader.finished(block);
    },
  };

  /** Where text goes that the server has not rendered yet: on in the open code or paragraph, else in a new one. */
  #openEnd() {
    const tail = slot(this.#article, "tail");
    const last = tail.lastElementChild;
    const open = last?.querySelector("pre code") ?? (last?.matches("p") ? last : [...(last?.querySelectorAll("p, li") ?? [])].at(-1));
    if (open) return open;
    const paragraph = make("p", { className: "reply__raw" });
    tail.append(paragraph);
    return paragraph;
  }

  #thoughtEnds() {
    if (!this.#thinkingSince) return;
    const seconds = (performance.now() - this.#thinkingSince) / 1000;
    this.#thinkingSince = 0;
    slot(this.#article, "thought").textContent = `Thought for ${seconds.toFixed(1)} s`;
    slot(this.#article, "peek").hidden = true;
  }

  #end(name, { message, reply }) {
    this.#source.close();
    this.#paint();
    this.#thoughtEnds();
    this.#connected();
    this.#phase.end();
    if (name === "failed") this.#fail(message);
    const written = (name === "failed" ? reply : message) ?? {};
    this.#settle(STATUS[name], written);
    this.#reader.flush();
    announce({ complete: "Answer complete.", failed: "The answer failed." }[STATUS[name]] ?? endText(STATUS[name], written));
    this.#page.ended(STATUS[name]);
  }

  /** What is known only at the end. The text is there already: the last block came before. */
  #settle(status, message) {
    if (message.usage) slot(this.#article, "stats").textContent = statsText(message.usage);
    if (message.model) slot(this.#article, "model").textContent = message.model;
    const end = endText(status, message);
    slot(this.#article, "end").textContent = end;
    slot(this.#article, "end").hidden = !end;
    this.#article.dataset.status = status;
    this.#article.removeAttribute("aria-busy");
    startActions(this.#article);
  }

  #fail(sentence) {
    slot(this.#article, "sentence").textContent = sentence ?? "The model could not answer.";
    slot(this.#article, "error").hidden = false;
  }

  #connected() {
    byId("connection").hidden = true;
  }

  /** The line is gone. Either the browser tries again by itself, or the server said that there is no more to follow. */
  #lost() {
    this.#say("The connection was lost. Trying again… What you see is kept.");
    if (this.#source.readyState === EventSource.CLOSED) this.#catchUpLater();
  }

  #say(...children) {
    byId("connection").replaceChildren(...children);
    byId("connection").hidden = false;
  }

  /** A full or restarting server is not asked in a rush. */
  #catchUpLater() {
    setTimeout(() => this.#catchUp(), this.#retry_ms);
    this.#retry_ms = Math.min(RETRY_MOST_MS, this.#retry_ms * 2);
  }

  /** Take the reply as the server has it now, and go on from there if it is still being made. */
  async #catchUp() {
    try {
      const page = await fetchNodes(location.pathname);
      const fresh = page.getElementById(this.#article.id);
      if (!fresh) throw new Error("the reply is not on its page");
      this.#take(fresh);
    } catch (error) {
      if (error.status === 401) {
        this.#say(make("span", { textContent: "You are logged out. Your text is kept. " }),
          make("a", { href: `/login?next=${encodeURIComponent(location.pathname)}`, textContent: "Log in again" }));
        return;
      }
      this.#catchUpLater();
    }
  }

  #take(fresh) {
    this.#phase.end();
    this.#steps = [];
    this.#article.replaceWith(fresh);
    this.#article = fresh;
    this.#phase = new Phase(slot(fresh, "phase"));
    startActions(fresh);
    if (!fresh.dataset.eventsUrl) this.#connected();
    if (fresh.dataset.eventsUrl) this.follow(fresh.dataset.eventsUrl);
    else this.#page.ended(fresh.dataset.status);
  }
}
