/** The page of a conversation: what is sent, what is answered, and where the view stands. */

import { byId, fetchNodes, send, slot, stamp } from "./dom.js";
import { Composer } from "./composer.js";
import { LiveReply, startActions } from "./reply.js";

const NEAR_PX = 60; // so near to the end counts as being there
const FAR_PX = 200; // so far from it the way back is offered
const TITLE_CHARACTERS = 60;
const ASKED = new BroadcastChannel("asked"); // tells this browser's other tabs in which chat a question was stored

/** Keeps the end of the page in view while the reader is there, and never pulls them back when they have left. */
class Follow {
  #pill = byId("latest");
  #following = true;
  #lastY = scrollY;

  constructor() {
    addEventListener("scroll", () => this.#scrolled(), { passive: true });
    addEventListener("wheel", (event) => event.deltaY < 0 && this.#release(), { passive: true });
    addEventListener("touchmove", () => this.#release(), { passive: true });
    addEventListener("keydown", (event) => {
      const upwards = ["PageUp", "Home", "ArrowUp"].includes(event.key) || (event.key === " " && event.shiftKey);
      if (upwards && !event.target.closest("textarea, input, select")) this.#release();
    });
    this.#pill.addEventListener("click", () => this.toEnd());
  }

  get #left_px() {
    return document.documentElement.scrollHeight - innerHeight - scrollY;
  }

  #release() {
    if (document.documentElement.scrollHeight > innerHeight) this.#following = false;
  }

  /** A scrollbar that is dragged upwards is heard of only here. */
  #scrolled() {
    if (scrollY < this.#lastY - 1) this.#following = false;
    this.#lastY = scrollY;
    if (this.#left_px < NEAR_PX) {
      this.#following = true;
      this.#pill.hidden = true;
    } else if (this.#pill.hidden && this.#left_px > FAR_PX && !this.#following) {
      this.#offer("Jump to latest");
    }
  }

  #offer(label) {
    this.#pill.querySelector("span").textContent = label;
    this.#pill.hidden = false;
  }

  grew() {
    if (this.#following) this.toEnd();
    else if (this.#left_px > FAR_PX) this.#offer("New text below");
  }

  toEnd() {
    this.#following = true;
    this.#pill.hidden = true;
    scrollTo(0, document.documentElement.scrollHeight);
    this.#lastY = scrollY;
  }
}

/** The addresses of a chat that has just been made: they stand in forms and in the list. */
class ChatAddress {
  #form = byId("composer");

  get url() {
    return this.#form.dataset.chatUrl;
  }

  adopt(chat, title) {
    this.#form.dataset.chatUrl = chat.url;
    history.replaceState(null, "", chat.url);
    byId("stop").action = `${chat.url}/stop`;
    for (const form of document.querySelectorAll("[data-chat-form]")) {
      form.action = `${chat.url}/${form.dataset.chatForm}`;
    }
    byId("chat-menu").hidden = false;
    this.name(title);
  }

  name(title) {
    byId("rename").value = title;
    byId("title").textContent = title;
    byId("title").title = title;
    document.title = `${title} · chatapp`;
  }
}

class ChatPage {
  #thread = byId("thread");
  #address = new ChatAddress();
  #follow = new Follow();
  #composer = new Composer((message) => this.#send(message));
  #live = null;
  #looking = false;

  start() {
    byId("stop").addEventListener("submit", (event) => this.#stop(event));
    addEventListener("keydown", (event) => this.#key(event));
    for (const article of this.#thread.querySelectorAll(".reply")) startActions(article);
    const running = this.#thread.querySelector("[data-events-url]");
    if (running) this.#watch(running, running.dataset.eventsUrl);
    if (!location.hash && this.#thread.querySelector(".turn")) this.#follow.toEnd();
    document.addEventListener("visibilitychange", () => document.hidden || this.#catchUp());
    addEventListener("focus", () => this.#catchUp());
    ASKED.addEventListener("message", (event) => event.data === this.#address.url && this.#catchUp());
  }

  async #send(message) {
    const article = this.#say(message.content);
    this.#composer.state = "sending";
    try {
      const url = this.#address.url;
      // Only who looks at an earlier version goes on from there; else the newest message is meant, wherever it was sent.
      const parent_id = location.search && this.#composer.parentId;
      const answer = await send(url ? `${url}/message` : "/chat", { ...message, ...(parent_id && { parent_id }) });
      this.#stored(article, message, answer);
    } catch (error) {
      article.remove();
      this.#composer.state = "idle";
      this.#refused(message, error);
    }
  }

  /** One's own words stand in the thread at once, marked until the server has them. */
  #say(content) {
    const article = stamp("said");
    slot(article, "text").textContent = content;
    slot(article, "state").hidden = false;
    article.dataset.state = "sending";
    byId("welcome")?.setAttribute("hidden", "");
    this.#thread.append(article);
    this.#follow.toEnd();
    return article;
  }

  #stored(article, message, answer) {
    this.#composer.state = "running";
    this.#composer.confirm();
    article.id = `m-${answer.question_id}`;
    delete article.dataset.state;
    slot(article, "state").hidden = true;
    if (!this.#address.url) this.#adopt(answer, message);
    this.#answer(article, message, answer);
    ASKED.postMessage(this.#address.url);
  }

  #refused(message, error) {
    if (!this.#thread.querySelector(".turn")) byId("welcome")?.removeAttribute("hidden");
    const loggedOut = error.status === 401;
    const sentence = loggedOut ? "You are logged out. Your text is kept here." : error.message;
    const link = loggedOut && { href: `/login?next=${encodeURIComponent(location.pathname)}`, label: "Log in again" };
    this.#composer.giveBack(message, sentence ?? "This was not sent. Try again.", link || null);
    if (error.code === "reply_running") this.#join().then(() => this.#follow.toEnd());
  }

  /** Another tab or device may have asked in this chat since this page last looked. */
  async #catchUp() {
    if (this.#looking || !this.#address.url || location.search || this.#composer.state !== "idle") return;
    this.#looking = true;
    await this.#join();
    this.#looking = false;
  }

  /** Show what was asked elsewhere in this chat; a page that has all of it is left alone. */
  async #join() {
    const page = await fetchNodes(location.pathname).catch(() => null);
    const turns = page?.getElementById("thread");
    if (!turns || this.#live || this.#composer.state === "sending") return;
    const running = turns.querySelector("[data-events-url]");
    if (!running && [...turns.querySelectorAll(".turn")].every((turn) => byId(turn.id))) return;
    this.#thread.replaceChildren(...turns.children);
    for (const article of this.#thread.querySelectorAll(".reply")) startActions(article);
    if (running) this.#watch(running, running.dataset.eventsUrl);
    this.#follow.grew();
  }

  #adopt(answer, message) {
    this.#composer.adopt(answer.id, answer.url);
    this.#address.adopt(answer, shortTitle(message.content));
    this.#list();
  }

  /** The list of chats as the server has it now, with the new one in it. */
  async #list() {
    const page = await fetchNodes(location.pathname).catch(() => null);
    const fresh = page?.getElementById("chats");
    if (!fresh) return;
    byId("chats").replaceChildren(...fresh.childNodes);
    byId("chat-filter").hidden = false;
    this.#address.name(page.getElementById("title").textContent);
  }

  #answer(question, message, answer) {
    const article = stamp("reply");
    article.id = `m-${answer.reply_id}`;
    slot(article, "model").textContent = message.model ?? "The model";
    for (const form of article.querySelectorAll(".retry")) {
      form.action = `${this.#address.url}/regenerate`;
      form.elements.namedItem("message_id").value = answer.reply_id;
    }
    this.#thread.append(article);
    this.#makeRoom(question, article);
    this.#follow.toEnd();
    this.#watch(article, answer.events_url);
  }

  /** The question goes near the top, and the page does not move while the reply fits below it. */
  #makeRoom(question, article) {
    for (const other of this.#thread.querySelectorAll(".reply")) other.style.minHeight = "";
    const used = byId("dock").offsetHeight + question.offsetHeight + this.#thread.getBoundingClientRect().top + scrollY;
    article.style.minHeight = `${Math.max(0, innerHeight - used - 80)}px`;
  }

  #watch(article, eventsUrl) {
    this.#composer.state = "running";
    this.#composer.parentId = article.id.slice(2);
    this.#live = new LiveReply(article, { grew: () => this.#follow.grew(), ended: (status) => this.#ended(status) });
    this.#live.follow(eventsUrl);
  }

  #ended(status) {
    this.#live = null;
    if (status !== "complete") this.#follow.grew(); // a line says how it ended; it is text like any other
    this.#composer.state = "idle";
    for (const dot of document.querySelectorAll('#chats [aria-current="page"] :is(.dot, .sr-only)')) dot.remove();
  }

  #key(event) {
    const menuOpen = document.querySelector("details.menu[open], :popover-open");
    if (event.key !== "Escape" || event.defaultPrevented || event.isComposing || menuOpen) return;
    if (this.#composer.state === "running") byId("stop").requestSubmit();
  }

  async #stop(event) {
    event.preventDefault();
    if (this.#composer.state !== "running") return;
    this.#composer.state = "stopping";
    try {
      await send(`${this.#address.url}/stop`);
    } catch (error) {
      this.#composer.state = "running";
      this.#composer.fail(error.message);
    }
  }
}

/** Stands in until the server's own title is here. */
function shortTitle(content) {
  const line = content.trim().replace(/\s+/g, " ");
  return line.length > TITLE_CHARACTERS ? `${line.slice(0, TITLE_CHARACTERS).trimEnd()}…` : line;
}

new ChatPage().start();
