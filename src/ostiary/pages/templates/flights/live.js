"use strict";
(() => {
  // The page works without this: it only fetches itself again and puts in what has changed.
  const every = 3000, most = 60000;
  const status = document.getElementById("status"), button = document.getElementById("pause");
  const ids = () => new Set([...document.querySelectorAll("[data-flight]")].map(each => each.dataset.flight));
  let paused = false, failed = false, wait = every, timer = 0;

  function place(fresh) {
    const heading = page => page.querySelector("h1").textContent;
    if (heading(fresh) !== heading(document)) return location.reload();  // away no more
    const before = ids(), focus = document.activeElement && document.activeElement.id;
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
      if (!next || part.innerHTML === next.innerHTML) continue;
      const open = new Set([...part.querySelectorAll("details[open]")].map(each => each.id));
      part.replaceChildren(...document.adoptNode(next).childNodes);
      for (const each of part.querySelectorAll("details")) if (open.has(each.id)) each.open = true;
    }
    if (focus && document.activeElement === document.body) document.getElementById(focus)?.focus({preventScroll: true});
    const found = [...document.querySelectorAll("[data-flight]")].filter(each => !before.has(each.dataset.flight));
    for (const each of found) each.classList.add("new");
    if (found.length) say(`${found.length} new flight${found.length > 1 ? "s" : ""}`);
  }

  function say(text) { if (status.textContent !== text) status.textContent = text; }

  async function look() {
    if (paused || document.hidden) return;
    try {
      const asked = performance.now();
      const address = new URL(location.href);
      address.searchParams.set("have", document.getElementById("have").dataset.have);
      const answer = await fetch(address, {headers: {accept: "text/html"}, cache: "no-store"});
      if (!answer.ok) throw new Error(answer.status);
      if (answer.status !== 204) place(new DOMParser().parseFromString(await answer.text(), "text/html"));
      if (failed) say("Updating again");
      failed = false;
      wait = Math.min(Math.max(every, 10 * (performance.now() - asked)), most);  // a page that costs much is made seldom
    } catch (error) {
      failed = true;
      wait = Math.min(wait * 2, most);
      say("The admin API does not answer; this page shows what it said last");
    }
    again();
  }

  function again() { clearTimeout(timer); if (!paused && !document.hidden) timer = setTimeout(look, wait); }

  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    button.textContent = paused ? "Resume updates" : "Pause updates";
    say(paused ? "Updates are paused" : "Updating");
    if (!paused) look();
  });
  document.addEventListener("visibilitychange", () => document.hidden ? clearTimeout(timer) : look());
  document.addEventListener("keydown", event => {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    const links = [...document.querySelectorAll("a[data-row]")], at = links.indexOf(document.activeElement);
    if (!step || at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const next = links[at + step];
    if (next) { next.focus(); event.preventDefault(); }
  });
  say("Updating");
  again();
})();
