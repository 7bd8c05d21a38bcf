// Parts of the page that are live. The server sends each as HTML when it has changed, as server-sent events.
(() => {
  "use strict";

  const main = document.getElementById("content");
  const button = document.getElementById("live");
  const bar = document.getElementById("live-bar");
  const [says, count] = bar.querySelectorAll("p");
  const showButton = bar.querySelector("button");

  const AT_WORK = 2000; // milliseconds after the pointer has moved within a table
  const SILENCE = 40000; // milliseconds without even a sign of life, which comes every 15 seconds
  const AGAIN = 3000; // milliseconds until a lost connection is tried again
  const REFUSED = 30; // seconds until a refused one is
  const SLOTS = 4; // streams of all pages of a browser: with HTTP/1.1 it has 6 connections to a server
  const BETWEEN = 5000; // milliseconds until a page without a slot asks again
  const ENOUGH = 3000; // milliseconds that it then listens at most

  // --- Changing what is shown ---------------------------------------------------------------------------
  // Elements stay where they can, with their focus, their scroll position and what is checked in them.

  const keyOf = (node) => (node.dataset && (node.dataset.key || node.dataset.keep)) || "";

  const morphAttributes = (from, to) => {
    for (const { name } of [...from.attributes]) if (!to.hasAttribute(name)) from.removeAttribute(name);
    for (const { name, value } of to.attributes) {
      if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    }
  };

  const morph = (from, to) => {
    if (from.nodeType !== Node.ELEMENT_NODE) {
      if (from.data !== to.data) from.data = to.data;
    } else if (!("keep" in from.dataset)) {
      morphAttributes(from, to);
      morphChildren(from, to);
    }
  };

  const morphChildren = (from, to) => {
    const keyed = new Map();
    for (const child of from.children) if (keyOf(child)) keyed.set(keyOf(child), child);
    const free = (node, wanted) => node.nodeName === wanted.nodeName && !keyOf(node);
    let place = from.firstChild;
    for (const wanted of [...to.childNodes]) {
      let found = null;
      if (keyOf(wanted)) {
        found = keyed.get(keyOf(wanted)) || null;
      } else if (place && free(place, wanted)) {
        found = place;
      } else if (wanted.nodeType === Node.ELEMENT_NODE) {
        // What was before it is gone.
        found = place;
        while (found && !free(found, wanted)) found = found.nextSibling;
        while (found && place !== found && !keyOf(place)) {
          const next = place.nextSibling;
          place.remove();
          place = next;
        }
      }
      if (!found) {
        // What is kept is rendered with the page only.
        if (!(wanted.dataset && "keep" in wanted.dataset)) from.insertBefore(wanted, place);
      } else {
        if (found === place) place = place.nextSibling;
        else from.insertBefore(found, place);
        morph(found, wanted);
      }
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  };

  const partOf = (name) => main.querySelector(`[data-live="${name}"]`);

  const parsed = (part, html) => {
    const made = part.cloneNode(false);
    made.innerHTML = html;
    return made;
  };

  const show = (name, html) => {
    const part = partOf(name);
    morphChildren(part, parsed(part, html));
    document.dispatchEvent(new Event("live:shown"));
  };

  // --- What must not change under the user's hands ------------------------------------------------------

  const held = new Map(); // the latest content of each part that waits, by its name
  let touched = { part: null, at: 0 };
  main.addEventListener("pointermove", (event) => {
    touched = { part: event.target.closest("[data-hold]"), at: Date.now() };
  });

  const inUse = (part) => {
    const selection = getSelection();
    if (!selection.isCollapsed && selection.containsNode(part, true)) return true;
    if (!("hold" in part.dataset)) return false;
    const active = document.activeElement;
    return (
      (touched.part === part && Date.now() - touched.at < AT_WORK) ||
      part.contains(active) ||
      (main.contains(active) && active.matches("input, select, textarea")) ||
      part.querySelector("tbody input:checked, details[open]") !== null
    );
  };

  const rowsOf = (part) => {
    const rows = new Map();
    for (const row of part.querySelectorAll("tbody tr[data-key]")) {
      const copy = row.cloneNode(true);
      for (const time of copy.querySelectorAll("time")) time.remove();
      rows.set(row.dataset.key, copy.textContent);
    }
    return rows;
  };

  // Rows that are new, gone or different. One that is gone and one in its place are one change.
  const changesOf = (name, html) => {
    const part = partOf(name);
    const [before, after] = [rowsOf(part), rowsOf(parsed(part, html))];
    const gone = [...before.keys()].filter((key) => !after.has(key)).length;
    const added = [...after.keys()].filter((key) => !before.has(key)).length;
    const changed = [...after].filter(([key, text]) => before.has(key) && before.get(key) !== text).length;
    return changed + Math.max(gone, added);
  };

  const release = () => {
    for (const [name, html] of held) {
      if (!inUse(partOf(name))) {
        held.delete(name);
        show(name, html);
      }
    }
    tell();
  };
  setInterval(() => {
    if (held.size && !paused) release();
  }, 500);
  showButton.addEventListener("click", () => {
    for (const [name, html] of held) show(name, html);
    held.clear();
    tell();
  });

  // --- What is said about it ----------------------------------------------------------------------------

  let trouble = "";
  let broken = "";
  let paused = false;
  let polls = false;

  const say = (text) => {
    if (says.textContent !== text) says.textContent = text;
  };

  const tell = () => {
    let changes = 0;
    for (const [name, html] of held) changes += changesOf(name, html);
    const problem = broken || trouble;
    say(problem || (changes ? "The table waits while you work in it." : ""));
    count.textContent = !problem && changes ? `${changes.toLocaleString("en")} change${changes === 1 ? "" : "s"}` : "";
    showButton.hidden = Boolean(problem) || !changes;
    bar.className = problem ? "lost" : changes ? "waits" : "";
    button.className = `quiet ${paused ? "paused" : problem ? "lost" : "on"}`;
    button.textContent = paused ? "Paused" : problem ? "Not live" : "Live";
    button.setAttribute("aria-pressed", String(!paused));
    const rare = polls ? "Updated every 5 seconds: other pages of this browser use its connections. " : "";
    button.title = paused ? "Go on updating this page" : `${rare}Pause the updates of this page`;
  };

  // --- The stream ---------------------------------------------------------------------------------------

  let connection = null;
  let timer = 0;
  let lastId = "";

  const receive = (block) => {
    const event = { id: "", event: "", data: [] };
    for (const line of block.split("\n")) {
      const [, field, value] = /^(\w*): ?(.*)$/.exec(line) || [];
      if (field === "data") event.data.push(value);
      else if (field) event[field] = value;
    }
    if (!event.event) return "";
    lastId = event.id;
    const html = event.data.join("\n"); // of "trouble" it is plain text
    if (event.event === "trouble") {
      trouble = html;
    } else if (!partOf(event.event)) {
      return "";
    } else if (inUse(partOf(event.event))) {
      held.set(event.event, html);
    } else {
      held.delete(event.event);
      show(event.event, html);
    }
    tell();
    return event.event;
  };

  // A function that frees the slot, or null if all are taken. A page that is closed frees its own.
  const takeSlot = async () => {
    const unlimited = () => {};
    if (!navigator.locks) return unlimited; // the address is no secure one
    for (let number = 0; number < SLOTS; number += 1) {
      const free = await new Promise((resolve) => {
        navigator.locks
          .request(`asynq stream ${number}`, { ifAvailable: true }, (lock) =>
            lock ? new Promise((release) => resolve(release)) : resolve(null),
          )
          .catch(() => resolve(unlimited));
      });
      if (free) return free;
    }
    return null;
  };

  const refusalOf = async (response) => {
    const text = await response.text();
    let reason = response.ok ? "the server does not answer with a stream" : text.trim();
    try {
      reason = JSON.parse(text).error.message;
    } catch {
      // It is no answer of the API.
    }
    const seconds = Number(response.headers.get("Retry-After")) || REFUSED;
    return { reason: reason.slice(0, 200), seconds };
  };

  // Listens while there is a slot, otherwise until each part was heard once. The milliseconds to wait after it.
  const listen = async (controller) => {
    const free = await takeSlot();
    polls = free === null;
    try {
      await hear(controller);
    } finally {
      if (free) free();
    }
    return free ? 100 : BETWEEN; // the server ends each stream after a while
  };

  const hear = async (controller) => {
    const headers = lastId ? { "Last-Event-ID": lastId } : {};
    const response = await fetch(main.dataset.stream, { signal: controller.signal, headers, cache: "no-store" });
    if (!response.ok || !response.headers.get("Content-Type").startsWith("text/event-stream")) {
      throw await refusalOf(response);
    }
    broken = "";
    tell();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const missing = new Set([...main.querySelectorAll("[data-live]")].map((part) => part.dataset.live));
    if (polls) setTimeout(() => reader.cancel().catch(() => {}), ENOUGH);
    let text = "";
    for (;;) {
      const silent = setTimeout(() => controller.abort(), SILENCE);
      const { value, done } = await reader.read();
      clearTimeout(silent);
      if (done) return;
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) missing.delete(receive(block));
      if (polls && (!missing.size || trouble)) return void reader.cancel();
    }
  };

  const stop = () => {
    clearTimeout(timer);
    const last = connection;
    connection = null;
    if (last) last.abort();
  };

  const start = () => {
    stop();
    if (paused || document.hidden) return;
    const mine = new AbortController();
    connection = mine;
    const again = (milliseconds) => {
      if (connection === mine) timer = setTimeout(start, milliseconds);
    };
    listen(mine).then(
      again,
      (error) => {
        if (connection !== mine) return;
        if (error.reason) {
          broken = `This page is not live: ${error.reason}. It is tried again every ${error.seconds} seconds.`;
        } else if (!broken) {
          broken = `No connection to the web server since ${new Date().toISOString().slice(11, 19)} UTC.`;
        }
        tell();
        again(error.reason ? error.seconds * 1000 : AGAIN);
      },
    );
  };

  button.addEventListener("click", () => {
    paused = !paused;
    if (paused) broken = trouble = "";
    else release();
    tell();
    start();
  });
  document.addEventListener("visibilitychange", start);
  addEventListener("pagehide", stop);
  addEventListener("pageshow", (event) => {
    if (event.persisted) start();
  });
  button.disabled = false;
  tell();
  start();
})();
