// How the services fare: asked for every few seconds while somebody looks.
"use strict";

const EVERY_MS = 3000;
const MARKS = { closed: "●", "half-open": "◐", open: "✕" };
const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const NOTHING = "–";

function made(tag, text = "", className = "") {
  const one = document.createElement(tag);
  one.textContent = text;
  one.className = className;
  return one;
}

function cell(label, text, className = "") {
  const one = made("td", text, className);
  one.dataset.label = label;
  return one;
}

function endpoint(end) {
  const line = made("li", "", end.state);
  const many = end.resting_in ? ` in ${end.resting_in} of ${end.processes}` : "";
  const mark = made("span", `${MARKS[end.state]} `);
  mark.setAttribute("aria-hidden", "true");
  line.append(mark, `${end.place} ${end.state}${many}`);
  if (end.last_failure) {
    const when = end.failed_at.slice(0, 19).replace("T", " ");
    line.append(" ", made("small", `last failure: ${end.last_failure}, ${when} UTC`));
  }
  return line;
}

function row(service) {
  const line = document.createElement("tr");
  const name = made("th", service.major === 1 ? service.name : `${service.name} v${service.major}`);
  name.scope = "row";
  const ends = cell("endpoints", service.endpoints.length ? "" : NOTHING);
  if (service.endpoints.length) {
    const list = made("ul", "", "ends");
    list.append(...service.endpoints.map(endpoint));
    ends.append(list);
  }
  line.append(
    name,
    cell("provider", service.provider || NOTHING),
    cell("calls a minute", number.format(service.calls_a_minute), "n"),
    cell("failed", number.format(service.failed), service.failed ? "n bad" : "n"),
    cell("callers' errors", number.format(service.theirs), "n"),
    cell("95 of 100 within", service.p95_ms === null ? NOTHING : `${number.format(service.p95_ms)} ms`, "n"),
    ends,
  );
  return line;
}

function tell(word, className) {
  // Said only when it changes: it is read aloud.
  if ($("link").textContent === word) return;
  $("link").textContent = word;
  $("link").className = className;
}

async function look() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/console/services/state", { signal: AbortSignal.timeout(15000) });
    if (!answer.ok) throw new Error(answer.statusText);
    const services = await answer.json();
    $("rows").replaceChildren(...services.map(row));
    $("services").hidden = !services.length;
    $("nothing").hidden = services.length > 0;
    tell("live", "live");
  } catch {
    tell("out of reach: as it was", "lost");
  }
}

async function keepLooking() {
  await look();
  setTimeout(keepLooking, EVERY_MS);
}

document.addEventListener("visibilitychange", look);
keepLooking();
