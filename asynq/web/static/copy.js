// Buttons that copy a text: the one that they name, or that of the block in their section.
(() => {
  "use strict";

  const TOLD = 1500; // milliseconds for which a button says that it has copied

  // Browsers have a clipboard only where the connection is secure: HTTPS, or this machine.
  const copyBySelection = (text) => {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "reader";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button || button.dataset.told) return;
    const text = button.dataset.copy ?? button.closest("section").querySelector("pre").textContent;
    let done = true;
    if (navigator.clipboard) await navigator.clipboard.writeText(text).catch(() => (done = false));
    else done = copyBySelection(text);
    const before = [...button.childNodes];
    button.dataset.told = "yes";
    button.textContent = done ? "Copied" : "Not allowed";
    setTimeout(() => {
      delete button.dataset.told;
      button.replaceChildren(...before);
    }, TOLD);
  });
})();
