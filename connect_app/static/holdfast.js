/* Holdfast dashboard: conveniences only; every page works without this file.
   [data-copy="id"]      copies the text of #id
   [data-dialog="id"]    opens <dialog id>; [data-close] closes the dialog it is in
   [data-poll-url]       replaces the element's content with the fetched fragment every data-poll-every ms (2000);
                         stops at a fragment that holds [data-poll-done], and reloads if that says "reload"
   [data-submit]         a select or checkbox that submits its form when changed */
(() => {
  const root = document.documentElement;
  root.classList.add("js");

  addEventListener("click", async (event) => {
    const at = (selector) => event.target.closest?.(selector);
    const copy = at("[data-copy]");
    if (copy) {
      const label = copy.querySelector("[data-copy-label]") || copy;
      const before = copy.dataset.before ??= label.textContent;
      const text = document.getElementById(copy.dataset.copy).textContent.trim();
      const done = await navigator.clipboard.writeText(text).then(() => 1, () => 0);
      label.textContent = done ? copy.dataset.copied || "Copied" : "Press Ctrl+C";
      if (!done) getSelection().selectAllChildren(document.getElementById(copy.dataset.copy));
      setTimeout(() => (label.textContent = before), 2000);
    }
    const opener = at("[data-dialog]");
    if (opener) {
      event.preventDefault();
      document.getElementById(opener.dataset.dialog).showModal();
    }
    const dialog = at("dialog[open]");
    if (dialog && (at("[data-close]") || event.target === dialog)) {
      event.preventDefault();
      dialog.close();
    }
  });

  addEventListener("change", ({ target }) => target.matches("[data-submit]") && target.form.requestSubmit());

  for (const box of document.querySelectorAll("[data-poll-url]")) {
    const poll = async () => {
      try {
        const answer = await fetch(box.dataset.pollUrl, { headers: { Accept: "text/html" } });
        if (answer.ok && !answer.redirected) box.innerHTML = await answer.text();
      } catch { /* offline: the next round tries again */ }
      const done = box.querySelector("[data-poll-done]");
      if (!done) setTimeout(poll, +box.dataset.pollEvery || 2000);
      else if (done.dataset.pollDone === "reload") location.reload();
    };
    setTimeout(poll, +box.dataset.pollEvery || 2000);
  }

  const menu = document.querySelector("details.menu");
  addEventListener("keydown", (event) => event.key === "Escape" && menu?.open && (menu.open = false));
})();
