/* Conveniences for the customer's pages; every page works without this file.
   <body data-opened-url data-token data-embed-origin data-embed-event data-embed-url>, [data-poll-url], [data-embed-close]. */
(() => {
  const { openedUrl, token, embedOrigin, embedEvent, embedUrl } = document.body.dataset;

  /* A person's browser ran this page: the link counts as opened. */
  if (openedUrl) fetch(openedUrl, { method: "POST", keepalive: true, body: new URLSearchParams({ token }) }).catch(() => {});

  /* One press, one submit. The server guards this too. */
  addEventListener("submit", (event) => {
    const form = event.target;
    if (event.submitter?.formMethod === "dialog") return; /* Return in a field: it goes nowhere */
    if (form.dataset.sent) return event.preventDefault();
    form.dataset.sent = 1;
    form.querySelectorAll("button").forEach((button) => button.setAttribute("aria-disabled", "true"));
  });
  addEventListener("pageshow", (event) => event.persisted && location.reload());

  const waiting = document.querySelector("[data-poll-url]");
  const poll = async () => {
    try {
      const { settled, url } = await (await fetch(waiting.dataset.pollUrl)).json();
      if (settled) return location.replace(url);
    } catch { /* the next round tries again */ }
    setTimeout(poll, 1000);
  };
  if (waiting) setTimeout(poll, 1000);

  if (embedOrigin && parent !== window) {
    const tell = (event, more) => parent.postMessage({ type: "holdfast", event, ...more }, embedOrigin);
    const height = () => document.documentElement.scrollHeight;
    tell("ready", { height: height() });
    if (embedEvent) tell(embedEvent, { url: embedUrl, height: height() });
    addEventListener("keydown", (event) => event.key === "Escape" && tell("close", { url: embedUrl }));
    document.querySelectorAll("[data-embed-close]").forEach((at) => at.addEventListener("click", (event) => {
      event.preventDefault();
      tell("close", { url: embedUrl });
      setTimeout(() => open(at.href, "_top"), 1000); /* nobody listened */
    }));
  }
})();
