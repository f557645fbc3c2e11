/** What every page has: the list of chats, menus that close, times in the reader's own zone. */

import { byId } from "./dom.js";

const WIDE = matchMedia("(width >= 52rem)");

function filterChats(input) {
  const wanted = input.value.trim().toLocaleLowerCase();
  let found = 0;
  for (const section of document.querySelectorAll("#chats section")) {
    let shown = 0;
    for (const item of section.querySelectorAll("li")) {
      item.hidden = !item.textContent.toLocaleLowerCase().includes(wanted);
      shown += item.hidden ? 0 : 1;
    }
    section.hidden = shown === 0;
    found += shown;
  }
  byId("no-match").hidden = found > 0 || !wanted;
}

function startSidebar() {
  const side = byId("side");
  if (!side) return;
  const input = byId("chat-filter");
  input.hidden = !document.querySelector("#chats li");
  input.addEventListener("input", () => filterChats(input));
  side.querySelector('a[aria-current="page"]')?.scrollIntoView({ block: "nearest" });
  // An open drawer is in the top layer; on a wide page the same element is a column of the page.
  WIDE.addEventListener("change", () => side.matches(":popover-open") && side.hidePopover());
  byId("logout").addEventListener("submit", (event) => dropDrafts(event.currentTarget.dataset.user));
}

/** Whoever logs out leaves no unsent words on a shared computer. */
function dropDrafts(user) {
  for (const key of Object.keys(localStorage)) {
    if (key.startsWith(`draft:${user}:`)) localStorage.removeItem(key);
  }
}

function startMenus() {
  const closeOthers = (inside) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(inside)) menu.open = false;
    }
  };
  document.addEventListener("click", (event) => closeOthers(event.target));
  document.addEventListener("keydown", (event) => {
    const menu = document.querySelector("details.menu[open]");
    if (event.key !== "Escape" || !menu) return;
    event.preventDefault();
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}

function localTimes(root = document) {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.valueOf())) time.title = format.format(at);
  }
}

startSidebar();
startMenus();
localTimes();
