/** The field one writes in: it grows, keeps drafts, knows input methods and touch keyboards. */

import { byId, make, newMessageId } from "./dom.js";

const DRAFT_MS = 300;
// Some input methods send the Enter that ends a composition just after compositionend.
const COMPOSITION_MS = 10;
const TOUCH = matchMedia("(pointer: coarse)");

export class Composer {
  #form = byId("composer");
  #area = byId("content");
  #model = byId("model");
  #send = this.#form.querySelector('[data-act="send"]');
  #stop = document.querySelector('[data-act="stop"]');
  #error = byId("composer-error");
  #compositionEndedAt = 0;
  #draftTimer = 0;
  #state = "idle";
  #unsent = null;
  #leaving = false;

  /** @param {(message: {content: string, model?: string, message_id: string}) => void} onSend */
  constructor(onSend) {
    this.onSend = onSend;
    this.chatId = this.#form.dataset.chatId;
    this.#form.noValidate = true;
    this.#form.addEventListener("submit", (event) => this.#submit(event));
    this.#area.addEventListener("keydown", (event) => this.#key(event));
    this.#area.addEventListener("compositionend", (event) => (this.#compositionEndedAt = event.timeStamp));
    this.#area.addEventListener("input", () => this.#changed());
    this.#model?.addEventListener("change", () => (this.#area.placeholder = `Message ${this.#model.value}`));
    byId("logout").addEventListener("submit", () => (this.#leaving = true));
    addEventListener("pagehide", () => this.#keepDraft());
    this.#bringDraftBack();
    if (!TOUCH.matches) this.focus();
  }

  get text() {
    return this.#area.value;
  }

  /** "idle", "sending", "running" or "stopping": which button is shown, and whether Enter sends. */
  get state() {
    return this.#state;
  }

  set state(state) {
    const hadFocus = [this.#send, this.#stop].includes(document.activeElement);
    this.#state = state;
    const runs = state === "running" || state === "stopping";
    this.#send.hidden = runs;
    this.#stop.hidden = !runs;
    this.#send.setAttribute("aria-disabled", String(state === "sending"));
    this.#stop.setAttribute("aria-disabled", String(state === "stopping"));
    this.#stop.querySelector("span").textContent = state === "stopping" ? "Stopping…" : "Stop";
    // A hidden button loses the focus; it goes where writing goes on.
    if (hadFocus) this.focus();
  }

  focus() {
    this.#area.focus({ preventScroll: true });
  }

  /** The server has the message: the draft is no longer needed. */
  confirm() {
    this.#unsent = null;
    this.#keepDraft();
  }

  /** The message was not stored: give the text back, and say why. */
  giveBack(message, sentence, link = null) {
    this.#unsent = message;
    this.#area.value = this.text.trim() ? `${message.content}\n\n${this.text}` : message.content;
    this.#changed();
    this.#keepDraft();
    this.fail(sentence, link);
  }

  /** @param {string} sentence @param {{href: string, label: string} | null} link */
  fail(sentence, link = null) {
    this.#error.replaceChildren(make("span", { textContent: sentence }));
    if (link) this.#error.append(make("a", { href: link.href, textContent: link.label }));
    this.#error.hidden = false;
  }

  #submit(event) {
    event.preventDefault();
    const content = this.text;
    if (!content.trim() || this.#state === "sending") return;
    if (this.#state !== "idle") {
      this.fail("This chat is still being answered. Wait for the end or press Stop, then send.");
      return;
    }
    this.#error.hidden = true;
    const message = { content, message_id: this.#idFor(content) };
    if (this.#model) message.model = this.#model.value;
    this.#area.value = "";
    this.#grow();
    this.onSend(message);
  }

  /** The same words sent again keep their id, so that the server stores them once. */
  #idFor(content) {
    return this.#unsent?.content === content ? this.#unsent.message_id : newMessageId();
  }

  #key(event) {
    const composing =
      event.isComposing || event.keyCode === 229 || event.timeStamp - this.#compositionEndedAt < COMPOSITION_MS;
    if (event.key !== "Enter" || event.shiftKey || event.altKey || composing || TOUCH.matches) return;
    event.preventDefault();
    this.#form.requestSubmit();
  }

  #changed() {
    this.#grow();
    clearTimeout(this.#draftTimer);
    this.#draftTimer = setTimeout(() => this.#keepDraft(), DRAFT_MS);
  }

  /** For browsers without ``field-sizing: content``. */
  #grow() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#area.style.height = "auto";
    this.#area.style.height = `${this.#area.scrollHeight}px`;
  }

  get #draftKey() {
    return `draft:${this.#form.dataset.user}:${this.chatId || "new"}`;
  }

  /** Storage may be full or switched off; writing goes on without drafts then. */
  #keepDraft() {
    clearTimeout(this.#draftTimer);
    // What is on its way is still a draft until the server has it; who logs out leaves none.
    if (this.#state === "sending" || this.#leaving) return;
    try {
      if (this.text.trim()) localStorage.setItem(this.#draftKey, this.text);
      else localStorage.removeItem(this.#draftKey);
    } catch {
      return;
    }
  }

  #bringDraftBack() {
    if (this.text) return this.#grow();
    let draft = null;
    try {
      draft = localStorage.getItem(this.#draftKey);
    } catch {
      return;
    }
    const said = [...document.querySelectorAll('.said [data-slot="text"]')].at(-1)?.textContent;
    // Stored, but the page was left before the answer came.
    if (!draft || draft === said) return;
    this.#area.value = draft;
    this.#grow();
  }

  /** A new chat has got its address. */
  adopt(chatId, chatUrl) {
    try {
      localStorage.removeItem(this.#draftKey);
    } catch {
      // Nothing was kept, so nothing is left behind.
    }
    this.chatId = chatId;
    this.#form.action = `${chatUrl}/message`;
  }

  /** The next message follows this one. */
  set parentId(id) {
    const field = this.#form.elements.namedItem("parent_id") ?? make("input", { type: "hidden", name: "parent_id" });
    field.value = id;
    this.#form.append(field);
  }

  get parentId() {
    return this.#form.elements.namedItem("parent_id")?.value;
  }
}
