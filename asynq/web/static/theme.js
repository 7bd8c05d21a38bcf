// Loaded before the page is drawn, so that the theme that the user chose does not flash, and what needs scripts is there at once.
(() => {
  "use strict";
  document.documentElement.classList.add("scripted");
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
