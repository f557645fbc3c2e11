/** The page and its server: markup that comes in, requests that go out, sentences that are read aloud. */

const TOAST_MS = 6000;

/** @param {string} id @returns {any} the element, which the page's template promises, or null */
export const byId = (id) => document.getElementById(id);

/** The element that a template marks with data-slot, for a script to fill in. @returns {any} */
export const slot = (root, name) => root.querySelector(`[data-slot="${name}"]`);

/** Make an element. Properties are set as properties, so text stays text. @returns {any} */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** A copy of the only element in a <template>. */
export const stamp = (id) => byId(id).content.firstElementChild.cloneNode(true);

/**
 * Turn HTML that this server rendered and cleaned into nodes. This is the only place where text becomes markup:
 * never give it anything that was typed, or that comes from another host. The nodes run no scripts.
 */
export function serverNodes(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

/** A random id for a new message. crypto.randomUUID is missing where the address is plain http. */
export function newMessageId() {
  const letters = "0123456789abcdefghijklmnopqrstuv";
  return Array.from(crypto.getRandomValues(new Uint8Array(24)), (byte) => letters[byte & 31]).join("");
}

/** What went wrong with a request, ready to be shown. ``code`` is the server's stable code, or "offline". */
export class RequestFailed extends Error {
  constructor(code, message, status = 0) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

const OFFLINE = "The server cannot be reached. Check the connection, then try again.";
const UNCLEAR = "The server could not do this just now. Try again in a moment.";

/**
 * Send fields to the server and return its JSON.
 * @throws {RequestFailed} for every answer that is not a success, and when there is none.
 */
export async function send(url, fields = {}, method = "POST") {
  const token = document.querySelector('meta[name="csrf-token"]').content;
  let response;
  try {
    response = await fetch(url, {
      method,
      headers: { Accept: "application/json", "X-CSRFToken": token },
      body: method === "POST" ? new URLSearchParams(fields) : null,
    });
  } catch {
    throw new RequestFailed("offline", OFFLINE);
  }
  const answer = await response.json().catch(() => ({}));
  if (response.redirected && new URL(response.url).pathname === "/login") {
    throw new RequestFailed("not_authenticated", "You are logged out.", 401);
  }
  if (!response.ok) {
    throw new RequestFailed(answer.error?.code ?? "unknown", answer.error?.message ?? UNCLEAR, response.status);
  }
  return answer;
}

/** Fetch a page, or a part of one, and return its nodes. @throws {RequestFailed} */
export async function fetchNodes(url, headers = {}) {
  const response = await fetch(url, { headers: { Accept: "text/html", ...headers } }).catch(() => null);
  if (!response) throw new RequestFailed("offline", OFFLINE);
  if (response.status === 401 || new URL(response.url).pathname === "/login") {
    throw new RequestFailed("not_authenticated", "You are logged out.", 401);
  }
  if (!response.ok) throw new RequestFailed("unknown", UNCLEAR, response.status);
  return serverNodes(await response.text());
}

/** Have a sentence read aloud when there is time. Only the newest few stay in the page. */
export function announce(sentence) {
  const region = byId("announcer");
  region.append(make("p", { textContent: sentence }));
  while (region.childElementCount > 5) region.firstElementChild.remove();
}

/** Show a sentence at the foot of the page for a while; longer while the pointer or the focus is on it. */
export function toast(sentence) {
  const box = make("div", { className: "toast" }, make("span", { textContent: sentence }));
  const close = make("button", { type: "button", className: "button button--quiet", textContent: "Close" });
  box.append(close);
  close.addEventListener("click", () => box.remove());
  const leave = () => setTimeout(() => (box.matches(":hover, :focus-within") ? leave() : box.remove()), TOAST_MS);
  byId("toasts").append(box);
  leave();
}

/** Copy text. @returns {Promise<boolean>} whether it worked */
export async function copyText(text) {
  const copied = navigator.clipboard?.writeText(text).then(() => true, () => false);
  return (await copied) || copySelected(text);
}

/** The way of old, for plain http, where there is no clipboard API, and for where it is refused. */
function copySelected(text) {
  const active = document.activeElement;
  const area = make("textarea", { value: text, className: "sr-only", readOnly: true });
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  active?.focus({ preventScroll: true });
  return copied;
}

/** Copy, and let the button say so for a moment. */
export async function copyWith(button, text) {
  const copied = await copyText(text);
  button.textContent = copied ? "Copied" : "Not copied";
  announce(copied ? "Copied" : "Copying did not work");
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

/** Bytes as the server writes them (chatapp/routes/filters.py): decimal units, as on the label of a disk. */
export function bytesText(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(unit > 2 && value < 99.5 ? 1 : 0).replace(/\.0$/, "")} ${units[unit]}`;
}

/** Seconds as a person says them. */
export function secondsText(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
