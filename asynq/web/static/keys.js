// Keys: "/" searches, "?" lists them all. They can be turned off, for those who speak to their computers.
(() => {
  "use strict";

  const dialog = document.getElementById("keys");
  const on = document.getElementById("keys-on");
  on.checked = localStorage.getItem("keys") !== "off";
  on.addEventListener("change", () => localStorage.setItem("keys", on.checked ? "on" : "off"));
  document.getElementById("keys-open").addEventListener("click", () => dialog.showModal());

  const rows = () => [...document.querySelectorAll("main tbody tr:not(.hidden)")].filter((row) => row.querySelector("a"));
  const rowOf = (element) => element.closest("main tbody tr");

  const move = (by) => {
    const all = rows();
    const at = all.indexOf(rowOf(document.activeElement));
    const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by];
    if (next) next.querySelector("a").focus();
  };

  const actions = {
    "/": () => document.getElementById("search").focus(),
    "?": () => dialog.showModal(),
    j: () => move(1),
    k: () => move(-1),
    x: () => rowOf(document.activeElement)?.querySelector("input[type=checkbox]")?.click(),
    n: () => document.querySelector("a[rel=next]")?.click(),
  };

  let goes = false; // after "g", which the letter of a page follows
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select");
    if (!on.checked || typing || dialog.open || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = goes && document.querySelector(`.top nav a[data-key="${CSS.escape(event.key)}"]`);
    goes = event.key === "g" && !goes;
    const act = page ? () => page.click() : actions[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
})();
