// What moves by itself: parts of a page that are asked for again, and the end of the session announced in time.

const EVERY_MS = 2000;
const WARN_S = 110;

/** Puts what has changed in the place of what is shown; focus and what is typed are elsewhere on the page. */
async function refresh() {
  if (document.hidden) return;
  const answer = await fetch(location.href, { headers: { "X-Live": "1" }, redirect: "error" });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = fresh.querySelector(`[data-live="${old.dataset.live}"]`);
    if (now && now.innerHTML !== old.innerHTML && !old.contains(document.activeElement)) old.replaceChildren(...now.childNodes);
  }
}

async function live() {
  // Without an answer, or without a session, what is shown stays: the next thing that is pressed says why.
  try { await refresh(); } catch { /* asked again */ }
  setTimeout(live, EVERY_MS);
}

if (document.querySelector("[data-live]")) setTimeout(live, EVERY_MS);

const ending = document.getElementById("ending");
let warning;
function warnIn(seconds) {
  clearTimeout(warning);
  warning = setTimeout(() => { ending.hidden = false; }, Math.max(0, seconds - WARN_S) * 1000);
}
if (ending) {
  warnIn(Number(document.body.dataset.left));
  document.getElementById("stay").addEventListener("click", async () => {
    try {
      const answer = await fetch("/session", { redirect: "error" });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      ending.hidden = true;
      warnIn(Number(fresh.body.dataset.left));
    } catch { location.reload(); }
  });
}
