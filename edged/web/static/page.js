// Keeps the page up to date, and says so in words when it no longer is. Without it the page
// reloads itself; nothing on it needs this script.
"use strict";

(() => {
  const SILENT_MS = 12000; // edged speaks at least every five seconds while somebody listens
  const live = document.getElementById("live");
  const stale = document.getElementById("stale");
  let heardAt = performance.now();

  // Makes `now` look like `then` without replacing what stays, so that focus, selection and the
  // place of a screen reader are kept.
  function become(now, then) {
    for (const name of now.getAttributeNames()) {
      if (!then.hasAttribute(name)) now.removeAttribute(name);
    }
    for (const name of then.getAttributeNames()) {
      const value = then.getAttribute(name);
      if (now.getAttribute(name) !== value) now.setAttribute(name, value);
    }
    const keyed = new Map();
    for (const child of now.childNodes) {
      if (child.dataset && child.dataset.key) keyed.set(child.dataset.key, child);
    }
    let place = now.firstChild;
    for (const wanted of Array.from(then.childNodes)) {
      const key = wanted.dataset && wanted.dataset.key;
      const known = key ? keyed.get(key) : place;
      if (known && sameKind(known, wanted)) {
        if (known !== place) now.insertBefore(known, place);
        else place = place.nextSibling;
        if (known.nodeType === Node.ELEMENT_NODE) become(known, wanted);
        else if (known.data !== wanted.data) known.data = wanted.data;
      } else {
        now.insertBefore(wanted, place);
      }
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  }

  function sameKind(one, other) {
    if (one.nodeType !== other.nodeType || one.nodeName !== other.nodeName) return false;
    if (one.nodeType !== Node.ELEMENT_NODE) return true;
    return (one.dataset.key || "") === (other.dataset.key || "");
  }

  function show(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("main");
    const main = document.getElementById("main");
    if (!fresh || !main) return;
    become(main, fresh);
    heardAt = performance.now();
    document.title = main.dataset.title;
    const icon = document.getElementById("icon");
    if (icon.getAttribute("href") !== main.dataset.icon) icon.href = main.dataset.icon;
    live.textContent = main.dataset.live;
    live.classList.add("on");
    stale.hidden = true;
    document.body.classList.remove("old");
  }

  function look() {
    const main = document.getElementById("main");
    if (performance.now() - heardAt < SILENT_MS || !stale.hidden) return;
    stale.textContent = main.dataset.stale;
    stale.hidden = false;
    live.textContent = main.dataset.staleTitle;
    live.classList.remove("on");
    document.title = `${main.dataset.staleTitle}: ${main.dataset.title}`;
    document.body.classList.add("old");
  }

  let source = null;
  function listen() {
    source = new EventSource("/api/v1/stream");
    source.addEventListener("page", (event) => show(event.data));
    // A refusal ends an EventSource for good; too many listeners, for instance. Ask again.
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
    });
  }

  setInterval(look, 1000);
  listen();
})();
