/* Conveniences of the dashboard; every page works without them.
   [data-copy=id] copies #id. [data-dialog=id] opens <dialog id>, [data-close] closes it. [data-submit] submits its form on change.
   [data-poll-url] takes the fetched fragment as content every data-poll-every ms, until it holds [data-poll-done] ("reload" reloads). */
(() => {
  const byId = (id) => document.getElementById(id);
  document.documentElement.classList.add("js");

  addEventListener("click", async (event) => {
    const at = (selector) => event.target.closest(selector);
    const copy = at("[data-copy]"), opener = at("[data-dialog]"), dialog = at("dialog[open]");
    if (copy) {
      const label = copy.querySelector("[data-copy-label]"), source = byId(copy.dataset.copy);
      const before = label.dataset.before ??= label.textContent;
      try {
        await navigator.clipboard.writeText(source.textContent.trim());
        label.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(source);
        label.textContent = "Press Ctrl+C";
      }
      setTimeout(() => (label.textContent = before), 2000);
    } else if (opener) {
      event.preventDefault();
      byId(opener.dataset.dialog).showModal();
    } else if (dialog && (at("[data-close]") || event.target === dialog)) {
      event.preventDefault();
      dialog.close();
    }
  });
  addEventListener("change", ({ target }) => "submit" in target.dataset && target.form.requestSubmit());

  for (const box of document.querySelectorAll("[data-poll-url]")) {
    const every = +box.dataset.pollEvery || 2000;
    const poll = async () => {
      try {
        const answer = await fetch(box.dataset.pollUrl);
        if (answer.ok && !answer.redirected) box.innerHTML = await answer.text();
      } catch { /* the next round tries again */ }
      const done = box.querySelector("[data-poll-done]");
      if (!done) setTimeout(poll, every);
      else if (done.dataset.pollDone === "reload") location.reload();
    };
    setTimeout(poll, every);
  }
})();
