// What pages do beyond links and forms. Nothing here is needed to read them.
(() => {
  "use strict";

  const root = document.documentElement;

  // The button for the theme: light, dark, as the system.
  const themes = ["system", "light", "dark"];
  const themeButton = document.getElementById("theme");
  const showTheme = () => {
    const theme = root.dataset.theme || "system";
    themeButton.textContent = { system: "◐", light: "☀", dark: "☾" }[theme];
    themeButton.setAttribute("aria-label", `Theme: ${theme}`);
    themeButton.title = `Theme: ${theme}`;
  };
  themeButton.hidden = false;
  themeButton.addEventListener("click", () => {
    const next = themes[(themes.indexOf(root.dataset.theme || "system") + 1) % themes.length];
    if (next === "system") {
      delete root.dataset.theme;
      localStorage.removeItem("theme");
    } else {
      root.dataset.theme = next;
      localStorage.setItem("theme", next);
    }
    showTheme();
  });
  showTheme();

  // A phone shows what can be folded when it is asked to; a wide window always does.
  const phone = matchMedia("(max-width: 720px)");
  const fold = () => {
    for (const each of document.querySelectorAll("details[data-fold]")) each.open = !phone.matches;
  };
  phone.addEventListener("change", fold);
  fold();

  // Rows of a table that do not contain what is typed are hidden, also after the table was replaced.
  const narrow = () => {
    for (const input of document.querySelectorAll("input[data-narrows]")) {
      const wanted = input.value.trim().toLowerCase();
      const rows = document.querySelectorAll(`${input.dataset.narrows} tbody tr`);
      for (const row of rows) {
        row.classList.toggle("hidden", !row.dataset.name.toLowerCase().includes(wanted));
      }
    }
  };
  document.addEventListener("input", (event) => {
    if (event.target.matches("input[data-narrows]")) narrow();
  });
  document.addEventListener("live:shown", narrow);
  narrow();

  // The checkbox in the head of a table checks all of its rows; buttons for a selection need one.
  const selected = () => {
    for (const form of document.querySelectorAll("form[data-selection]")) {
      const boxes = [...form.querySelectorAll("tbody input[type=checkbox]")];
      const count = boxes.filter((box) => box.checked).length;
      const all = form.querySelector("input[data-all]");
      if (all) {
        all.checked = count > 0 && count === boxes.length;
        all.indeterminate = count > 0 && count < boxes.length;
      }
      for (const button of form.querySelectorAll("[data-needs-selection]")) button.disabled = count === 0;
      const told = form.querySelector("[data-count]");
      if (told) told.textContent = count ? `${count} selected` : "";
    }
  };
  document.addEventListener("change", (event) => {
    if (event.target.matches("input[data-all]")) {
      const boxes = event.target.form.querySelectorAll("tbody input[type=checkbox]");
      for (const box of boxes) box.checked = event.target.checked;
    }
    selected();
  });
  document.addEventListener("live:shown", selected);
  selected();

  // What changes something is sent once, also if its button is clicked again before the answer comes.
  const AGAIN = 10000; // milliseconds, after which the answer is given up
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    if (Date.now() - (form.dataset.sentAt || 0) < AGAIN) event.preventDefault();
    else form.dataset.sentAt = Date.now();
  });
})();
