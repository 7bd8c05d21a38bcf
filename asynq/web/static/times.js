// Times relative to the present go on while the page is shown.
(() => {
  "use strict";

  // The clock of this machine may be wrong: what counts is that of the server, when its answer arrived.
  const [loaded] = performance.getEntriesByType("navigation");
  const arrived = performance.timeOrigin + (loaded ? loaded.responseStart : 0);
  const ahead = Number(document.getElementById("content").dataset.now) - arrived;

  const UNITS = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  // The two largest units, as the server writes them, without parts of a second.
  const duration = (seconds) => {
    const place = UNITS.findIndex(([size]) => seconds >= size);
    if (place < 0) return "0s";
    const [size, unit] = UNITS[place];
    const [nextSize, nextUnit] = UNITS[place + 1] || [1, ""];
    const rest = nextUnit ? Math.floor((seconds % size) / nextSize) : 0;
    return `${Math.floor(seconds / size)}${unit}${rest ? ` ${rest}${nextUnit}` : ""}`;
  };
  const relative = (distance) => {
    const seconds = Math.round(Math.abs(distance));
    if (seconds < 1) return "now";
    return distance > 0 ? `in ${duration(seconds)}` : `${duration(seconds)} ago`;
  };

  const tick = () => {
    const now = Date.now() + ahead;
    for (const each of document.querySelectorAll("time[datetime]")) {
      const distance = (Date.parse(each.dateTime) - now) / 1000;
      const text = "elapsed" in each.dataset ? duration(Math.max(Math.round(-distance), 0)) : relative(distance);
      if (each.textContent !== text) each.textContent = text;
    }
  };
  setInterval(() => {
    if (!document.hidden) tick();
  }, 1000);
  document.addEventListener("visibilitychange", tick);
  document.addEventListener("live:shown", tick);
  tick();
})();
