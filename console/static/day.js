// The day as it plays: a map that lights up, counters, refusals, and two rings of money.
// Everything comes from this hub: the places and names, then a stream of what changed.
"use strict";

const $ = (id) => document.getElementById(id);
const FADE_MS = 1600, MONEY_EVERY_MS = 700, COUNTS_EVERY_MS = 100, ORDER_EVERY_MS = 6000;
const MOST_FLASHES = 300, SHOWN_REFUSALS = 60;
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const colours = getComputedStyle(document.documentElement);
const colour = (name) => colours.getPropertyValue(`--${name}`).trim();
const day = {
  clock: null, zone: "UTC", names: {}, places: [], byEvse: new Map(), lookedFor: new Set(),
  charging: new Set(), used: new Set(), flashes: new Map(), counts: {}, refused: {}, refusals: [],
  debts: new Map(), cleared: {}, paid: new Map(), currency: null,
};
// What is to be drawn again at the next frame.
const stale = { base: true, map: true, counts: true, refusals: true, money: true };

// --- the stream ---------------------------------------------------------------------------------

const take = {
  state(told) {
    const { authorised, cdrs, rejected, delivered, energy_wh } = told;
    Object.assign(day, {
      clock: told.clock, refused: told.refused, refusals: told.refusals, cleared: told.cleared, paid: new Map(),
      counts: { authorised, cdrs, rejected, delivered, energy_wh },
      charging: new Set(told.charging), used: new Set(told.used), flashes: new Map(), lookedFor: new Set(),
      debts: new Map(told.debts.map((d) => [debtKey(d), d])),
    });
    for (const name of Object.keys(stale)) stale[name] = true;
    for (const run of Object.values(told.cleared)) loadPayments(run.run_id);
    loadPlaces();
  },
  authorised(told) {
    day.counts.authorised++;
    day.used.add(told.evse);
    flash(told.evse, "on");
    stale.base = true;
    if (!day.byEvse.has(told.evse)) lookFor(told.evse);
  },
  refused(told) {
    day.refused[told.reason] = (day.refused[told.reason] || 0) + 1;
    day.refusals.unshift(told);
    day.refusals.length = Math.min(day.refusals.length, SHOWN_REFUSALS);
    flash(told.evse, "no");
    stale.refusals = true;
  },
  cdr(told) {
    day.counts.cdrs++;
    day.counts.energy_wh += told.energy_wh;
    const debt = day.debts.get(debtKey(told)) || { ...told, amount_minor: 0, cdrs: 0 };
    debt.amount_minor += told.amount_minor;
    debt.cdrs++;
    day.debts.set(debtKey(told), debt);
    stale.money = true;
  },
  rejected() { day.counts.rejected++; },
  delivered(told) { day.counts.delivered += told.count; },
  cleared(told) { day.cleared[told.currency] = told; loadPayments(told.run_id); },
};

function listen() {
  const stream = new EventSource("/console/events");
  const say = (words, name) => Object.assign($("link"), { textContent: words, className: name });
  stream.onopen = () => say("live", "live");
  stream.onerror = () => {
    say("reconnecting…", "");
    // A browser comes back by itself from a broken connection, not from a refusal (the hub starts).
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  };
  stream.onmessage = (message) => {
    for (const told of JSON.parse(message.data)) {
      if (told.clock) day.clock = told.clock;
      for (const evse of told.dark || []) day.charging.delete(evse);
      if (told.lit) { day.charging.add(told.lit); day.used.add(told.lit); stale.base = true; }
      take[told.kind]?.(told);
    }
    stale.counts = stale.map = true;
  };
}

const debtKey = (d) => `${d.debtor}|${d.creditor}|${d.currency}`;
const fetchJson = (path) => fetch(path).then((answer) => answer.ok ? answer.json() : Promise.reject(answer.status));

let loading = null, looking = 0;
function loadPlaces() {
  loading ??= Promise.all([fetchJson("/console/places"), fetchJson("/console/names")]).then(([told, names]) => {
    day.names = names;
    day.zone = told.time_zone;
    day.places = told.places.map(([evse, operator, lat, lon]) => ({ evse, operator, lat, lon }));
    day.byEvse = new Map(day.places.map((place) => [place.evse, place]));
    layOutMap();
    for (const name of Object.keys(stale)) stale[name] = true;
  }).catch(() => { /* The hub is away; the stream's next state asks again. */ }).finally(() => {
    loading = null;
    // A hub that has just begun gets its charge points a moment later.
    if (!day.places.length) setTimeout(loadPlaces, 2000);
  });
}

// A charge point or a partner that came after the page: ask again, but once for each.
function lookFor(what) {
  if (!day.lookedFor.has(what)) looking ||= setTimeout(() => { looking = 0; loadPlaces(); }, 1000);
  day.lookedFor.add(what);
}

function loadPayments(runId) {
  fetchJson(`/console/runs/${encodeURIComponent(runId)}/payments`)
    .then((rows) => { day.paid.set(runId, rows); stale.money = stale.counts = true; })
    .catch(() => { /* As it stands, then. */ });
}

// --- counters and refusals ----------------------------------------------------------------------

const number = new Intl.NumberFormat("en");
const REASONS = {
  "evse-unknown": "charge point unknown", "unknown-contract": "card unknown",
  "no-roaming-agreement": "no roaming agreement", "contract-blocked": "contract blocked",
  "contract-expired": "contract expired", "service-not-covered": "service not covered",
  "over-limit": "over the limit", "evsp-silent": "provider silent",
};
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

function showCounts() {
  const { counts } = day;
  const energy_kwh = (counts.energy_wh || 0) / 1000;
  const [energy, unit] = energy_kwh < 10_000 ? [energy_kwh, "kWh"] : [energy_kwh / 1000, "MWh"];
  const shown = {
    charging: day.charging.size, authorised: counts.authorised, refused: sum(Object.values(day.refused)),
    cdrs: counts.cdrs, rejected: counts.rejected, delivered: counts.delivered,
  };
  for (const [name, value] of Object.entries(shown)) $(`n-${name}`).textContent = number.format(value || 0);
  $("n-rejected").parentElement.hidden = !counts.rejected;
  $("n-energy").textContent = `${energy.toLocaleString("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 })} ${unit}`;
  $("clock").textContent = day.clock ? shownTime(day.clock, true) : "–";
  const [told, done] = story();
  if ($("story").textContent !== told) $("story").textContent = told;
  $("story").classList.toggle("done", done);
}

// Said aloud by a screen reader when it changes: so it changes when the story does, not at each charge.
function story() {
  if (!day.clock) return ["Waiting for the first charge…", false];
  const books = currencies().map(booksIn);
  if (!books.length || !books.every((book) => book.cleared)) {
    return ["Drivers charge at other companies' points: each card is checked, each charge priced and booked, and the debts are netted.", false];
  }
  const ends = books.map((book) => `${many(book.gross, "debt")} of ${total(book.gross, book.currency)} became ${many(book.after, "payment")} of ${total(book.after, book.currency)}`);
  return [`The day is cleared: ${ends.join("; ")}.`, true];
}

function showRefusals() {
  const most = Math.max(1, ...Object.values(day.refused));
  const reasons = Object.entries(day.refused).sort((a, b) => b[1] - a[1]).map(([reason, count]) => {
    const bar = element("i");
    bar.style.width = `${(100 * count) / most}%`;
    return element("div", "reason", element("span", "", REASONS[reason] || reason), bar, element("b", "", number.format(count)));
  });
  $("reasons").replaceChildren(...(reasons.length ? reasons : [element("p", "quiet", "Nobody so far.")]));
  const list = $("refusals"), read = list.scrollTop, tall = list.scrollHeight;
  list.replaceChildren(...day.refusals.map((refusal) => {
    const operator = day.byEvse.get(refusal.evse)?.operator;
    const what = element("div", "", refusal.evsp ? `customer of ${partnerName(refusal.evsp)}` : "unknown card", element("i", "", " at "), operator ? partnerName(operator) : refusal.evse);
    what.title = refusal.evse;
    return element("li", "", element("time", "", shownTime(refusal.at, false)), what, element("b", "", REASONS[refusal.reason] || refusal.reason));
  }));
  // Who reads further down keeps the line that he reads.
  if (read > 0) list.scrollTop = read + list.scrollHeight - tall;
}

// The clock is that of the place where most charge points stand.
function shownTime(iso, withDay) {
  const zone = { timeZone: day.zone, hour: "2-digit", minute: "2-digit" };
  return new Date(iso).toLocaleString("en-GB", withDay ? { weekday: "short", day: "numeric", month: "short", year: "numeric", ...zone } : zone);
}

function element(name, className = "", ...inside) {
  const made = Object.assign(document.createElement(name), { className });
  made.append(...inside);
  return made;
}
function partnerName(party) {
  if (!day.names[party]) lookFor(party);
  return day.names[party] || party;
}
const many = (rows, what) => `${number.format(rows.length)} ${what}${rows.length === 1 ? "" : "s"}`;

// --- the map ------------------------------------------------------------------------------------

const canvas = $("points"), pen = canvas.getContext("2d");
// Points that only stand there are drawn once, not sixty times a second.
const base = document.createElement("canvas"), basePen = base.getContext("2d");
const pixels = () => window.devicePixelRatio || 1;

function flash(evse, how) {
  day.flashes.delete(evse);
  day.flashes.set(evse, { how, at: performance.now() });
  if (day.flashes.size > MOST_FLASHES) day.flashes.delete(day.flashes.keys().next().value);
}

// Equirectangular about the middle latitude, fitted to where 98 % of the points are: a few points
// overseas must not shrink a country to a dot. They stand at the edge.
function layOutMap() {
  const scale = pixels(), box = canvas.getBoundingClientRect();
  const width = base.width = canvas.width = Math.round(box.width * scale), height = base.height = canvas.height = Math.round(box.height * scale);
  stale.base = stale.map = true;
  if (!day.places.length) return;
  const cut = Math.floor(day.places.length * 0.01);
  const within = (values) => [values.sort((a, b) => a - b)[cut], values.at(-1 - cut)];
  const [south, north] = within(day.places.map((p) => p.lat)), [west, east] = within(day.places.map((p) => p.lon));
  const shrink = Math.cos(((south + north) / 2) * Math.PI / 180), margin = 18 * scale;
  const perDegree = Math.min((width - 2 * margin) / Math.max((east - west) * shrink, 0.01), (height - 2 * margin) / Math.max(north - south, 0.01));
  const clamp = (value, most) => Math.min(Math.max(value, 6 * scale), most - 6 * scale);
  for (const place of day.places) {
    place.x = clamp(width / 2 + (place.lon - (west + east) / 2) * shrink * perDegree, width);
    place.y = clamp(height / 2 - (place.lat - (south + north) / 2) * perDegree, height);
  }
}

function drawBase() {
  const size = 2.6 * pixels(), idle = colour("idle"), used = colour("used");
  basePen.clearRect(0, 0, base.width, base.height);
  for (const shade of [idle, used]) {
    basePen.fillStyle = shade;
    for (const place of day.places) {
      if (day.used.has(place.evse) === (shade === used)) basePen.fillRect(place.x - size / 2, place.y - size / 2, size, size);
    }
  }
}

function drawMap(now) {
  const scale = pixels();
  pen.globalAlpha = 1;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  if (base.width && base.height) pen.drawImage(base, 0, 0);
  pen.fillStyle = colour("on");
  for (const [radius, alpha] of [[6.5, 0.25], [2.6, 1]]) {
    pen.globalAlpha = alpha;
    pen.beginPath();
    for (const place of [...day.charging].map((evse) => day.byEvse.get(evse)).filter(Boolean)) {
      pen.moveTo(place.x + radius * scale, place.y);
      pen.arc(place.x, place.y, radius * scale, 0, 7);
    }
    pen.fill();
  }
  pen.lineWidth = 1.8 * scale;
  for (const [evse, { how, at }] of day.flashes) {
    const age = Math.max((now - at) / FADE_MS, 0), place = day.byEvse.get(evse);
    if (age >= 1) day.flashes.delete(evse);
    if (age >= 1 || !place) continue;
    pen.globalAlpha = 1 - age;
    pen.strokeStyle = colour(how);
    pen.beginPath();
    pen.arc(place.x, place.y, (calm.matches ? 8 : 3 + 13 * age) * scale, 0, 7);
    pen.stroke();
  }
}

let pointed = null;
function pointAt(event) {
  const scale = pixels(), box = canvas.getBoundingClientRect();
  const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
  const far = (place) => Math.hypot(place.x - x, place.y - y);
  const nearest = day.places.reduce((best, place) => best && far(best) <= far(place) ? best : place, null);
  pointed = nearest && far(nearest) < 12 * scale ? nearest : null;
  showPoint();
}

function showPoint() {
  const place = pointed && day.byEvse.get(pointed.evse);
  const now = place && (day.charging.has(place.evse) ? " · charging" : day.used.has(place.evse) ? " · has charged" : "");
  const operators = new Set(day.places.map((one) => one.operator)).size;
  $("point").textContent = place ? `${place.evse} · ${partnerName(place.operator)}${now}`
    : day.places.length ? `${number.format(day.places.length)} charge points of ${number.format(operators)} operators` : "No charge points yet.";
}
for (const name of ["pointermove", "pointerdown"]) canvas.addEventListener(name, pointAt);
canvas.addEventListener("pointerleave", () => { pointed = null; showPoint(); });

// --- the books ----------------------------------------------------------------------------------

function currencies() {
  const cdrs = {};
  for (const debt of day.debts.values()) cdrs[debt.currency] = (cdrs[debt.currency] || 0) + debt.cdrs;
  return Object.keys(cdrs).sort((a, b) => cdrs[b] - cdrs[a]);
}

// What is owed in a currency, and what is paid: by the hub's run when it cleared just these records.
function booksIn(currency) {
  const debts = [...day.debts.values()].filter((debt) => debt.currency === currency);
  const gross = debts.filter((debt) => debt.amount_minor).map((debt) => ({ payer: debt.debtor, payee: debt.creditor, amount_minor: debt.amount_minor }));
  const run = day.cleared[currency];
  const paid = run?.cdrs === sum(debts.map((debt) => debt.cdrs)) ? day.paid.get(run.run_id) : undefined, net = positionsOf(gross);
  return { currency, gross, net, after: paid || settled(net), cleared: Boolean(paid) };
}

function positionsOf(rows) {
  const net = new Map(), add = (party, amount) => net.set(party, (net.get(party) || 0) + amount);
  for (const row of rows) { add(row.payer, -row.amount_minor); add(row.payee, row.amount_minor); }
  return net;
}

// Until the hub has cleared the period, what clearing would give: largest debtor to largest creditor.
function settled(net) {
  const owing = [...net].filter(([, m]) => m < 0).map(([p, m]) => [p, -m]), owed = [...net].filter(([, m]) => m > 0);
  const rows = [];
  while (owing.length && owed.length) {
    owing.sort((a, b) => a[1] - b[1]);
    owed.sort((a, b) => a[1] - b[1]);
    const debtor = owing.at(-1), creditor = owed.at(-1), amount = Math.min(debtor[1], creditor[1]);
    rows.push({ payer: debtor[0], payee: creditor[0], amount_minor: amount });
    if (!(debtor[1] -= amount)) owing.pop();
    if (!(creditor[1] -= amount)) owed.pop();
  }
  return rows;
}

function money(minor, currency) {
  const format = new Intl.NumberFormat("en", { style: "currency", currency });
  return format.format(minor / 10 ** format.resolvedOptions().maximumFractionDigits);
}
const total = (rows, currency) => money(sum(rows.map((row) => row.amount_minor)), currency);

let book = null;
function showMoney(now) {
  const known = currencies();
  if (!known.includes(day.currency)) day.currency = known[0] ?? null;
  showCurrencies(known);
  book = day.currency === null ? null : booksIn(day.currency);
  const order = book ? orderOf(book.net, now) : [];
  const most = book ? Math.max(...[...book.gross, ...book.after].map((row) => row.amount_minor), 1) : 1;
  drawRing($("before"), order, book?.gross ?? [], most, "No debts yet.");
  drawRing($("after"), order, book?.after ?? [], most, "Nothing to pay yet.");
  $("before-sum").textContent = book ? `${many(book.gross, "debt")}, ${total(book.gross, book.currency)}` : "nothing yet";
  $("after-sum").textContent = book ? `${many(book.after, "payment")}, ${total(book.after, book.currency)} · ${book.cleared ? "cleared" : "as it stands"}` : "nothing yet";
  highlight();
  showTable();
}

function showCurrencies(known) {
  const bar = $("currencies"), shown = known.length > 1 ? known : [];
  if (bar.children.length !== shown.length) {
    bar.replaceChildren(...[...shown].sort().map((currency) => {
      const button = element("button", "", currency);
      button.addEventListener("click", () => { day.currency = currency; order.parties = []; showMoney(performance.now()); });
      return button;
    }));
  }
  for (const button of bar.children) button.setAttribute("aria-pressed", button.textContent === day.currency);
}

function showTable() {
  if (!$("table").open) return;
  const pairs = new Map();
  for (const side of ["gross", "after"]) {
    for (const row of book?.[side] ?? []) {
      const key = `${row.payer}|${row.payee}`;
      pairs.set(key, { ...row, gross: 0, after: 0, ...pairs.get(key), [side]: row.amount_minor });
    }
  }
  $("payments").replaceChildren(...[...pairs.values()].sort((a, b) => b.after - a.after || b.gross - a.gross).map((pair) => element(
    "tr", "", element("td", "", partnerName(pair.payer)), element("td", "", partnerName(pair.payee)),
    ...[pair.gross, pair.after].map((amount) => element("td", "n", amount ? money(amount, book.currency) : "–")),
  )));
}
$("table").addEventListener("toggle", showTable);

// --- the rings ----------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg", RADIUS = 122;
function shape(name, attributes, ...inside) {
  const made = document.createElementNS(SVG, name);
  made.append(...inside);
  return dress(made, attributes);
}
function dress(shape, attributes) {
  for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
  return shape;
}

// Debtors on one side of the ring and creditors on the other, so that ribbons do not tangle. Partners
// change places now and then, not at every charge, and never while somebody looks at one of them.
const order = { parties: [], at: 0 };
function orderOf(net, now) {
  const same = order.parties.length === net.size && order.parties.every((party) => net.has(party));
  if (!same || (now - order.at > ORDER_EVERY_MS && picked === null)) {
    order.parties = [...net].sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1)).map(([party]) => party);
    order.at = now;
  }
  return order.parties;
}

const narrow = matchMedia("(max-width: 700px)");
function labelOf(party, parties) {
  const name = partnerName(party);
  const own = parties.some((other) => other !== party && partnerName(other) === name) ? ` ${party.slice(3)}` : "";
  const room = (narrow.matches ? 13 : 16) - own.length;
  return (name.length > room ? `${name.slice(0, room - 1).trimEnd()}…` : name) + own;
}

function drawRing(svg, parties, rows, most, whenEmpty) {
  const ribbons = svg.querySelector(".ribbons") || svg.appendChild(shape("g", { class: "ribbons" }));
  const nodes = svg.querySelector(".nodes") || svg.appendChild(shape("g", { class: "nodes" }));
  const angleOf = (index) => Math.PI / 2 + 0.1 + ((2 * Math.PI - 0.2) * (index + 0.5)) / parties.length;
  const spots = new Map(parties.map((party, index) => [party, { x: RADIUS * Math.cos(angleOf(index)), y: RADIUS * Math.sin(angleOf(index)) }]));
  const drawn = parties.length ? [] : [shape("circle", { class: "circle", r: RADIUS }), shape("text", { class: "empty", y: 5 }, whenEmpty)];
  for (const row of [...rows].sort((a, b) => b.amount_minor - a.amount_minor)) {
    const from = spots.get(row.payer), to = spots.get(row.payee);
    if (!from || !to) continue;
    const id = `${svg.id}-${row.payer}-${row.payee}`.replaceAll("*", "");
    const path = shape("path", {
      class: "ribbon", d: `M${from.x.toFixed(1)},${from.y.toFixed(1)} Q0,0 ${to.x.toFixed(1)},${to.y.toFixed(1)}`,
      stroke: `url(#${id})`, "stroke-width": Math.max(0.7, (24 * row.amount_minor) / most).toFixed(2),
    });
    Object.assign(path.dataset, { payer: row.payer, payee: row.payee });
    // From the colour of who owes to the colour of who is owed: the way of the money.
    const fade = shape("linearGradient", { id, gradientUnits: "userSpaceOnUse", x1: from.x, y1: from.y, x2: to.x, y2: to.y },
      shape("stop", { offset: 0.1, "stop-color": colour("debtor") }), shape("stop", { offset: 0.9, "stop-color": colour("creditor") }));
    drawn.push(fade, path);
  }
  ribbons.replaceChildren(...drawn);
  const largest = Math.max(...[...(book?.net.values() ?? [])].map(Math.abs), 1);
  const known = new Map([...nodes.children].map((node) => [node.dataset.party, node]));
  // The same element stays for the same partner: the focus, and the pointer, stay on it.
  const wanted = parties.map((party) => known.get(party) || makeNode(party));
  if (wanted.length !== nodes.children.length || wanted.some((node, index) => nodes.children[index] !== node)) {
    const focused = nodes.contains(document.activeElement) ? document.activeElement : null;
    nodes.replaceChildren(...wanted);
    if (focused?.isConnected) focused.focus({ preventScroll: true });
  }
  wanted.forEach((node, index) => {
    const party = parties[index], angle = angleOf(index), position = book.net.get(party), spot = spots.get(party);
    const radius = 3 + 8 * Math.sqrt(Math.abs(position) / largest), left = Math.cos(angle) < 0;
    const [dot, label] = node.children;
    dress(dot, { cx: spot.x, cy: spot.y, r: radius.toFixed(1), fill: colour(position < 0 ? "debtor" : "creditor") });
    // Along the radius, never upside down: labels do not meet, however many partners there are.
    const turn = (angle * 180) / Math.PI + (left ? 180 : 0);
    dress(label, { transform: `rotate(${turn.toFixed(2)}) translate(${(left ? -1 : 1) * (RADIUS + radius + 5)} 4)`, "text-anchor": left ? "end" : "start" });
    label.style.fontSize = parties.length > 55 ? `${690 / parties.length}px` : "";
    label.textContent = labelOf(party, parties);
    node.setAttribute("aria-label", describe(party));
  });
}

function makeNode(party) {
  const node = shape("g", { class: "node", tabindex: "0", role: "img" }, shape("circle", {}), shape("text", {}));
  node.dataset.party = party;
  for (const come of ["pointerenter", "focus"]) node.addEventListener(come, () => { picked = party; highlight(); });
  for (const go of ["pointerleave", "blur"]) node.addEventListener(go, () => { picked = null; highlight(); });
  return node;
}

function describe(party) {
  const told = (rows, what) => {
    const [pays, gets] = ["payer", "payee"].map((side) => rows.filter((row) => row[side] === party));
    const parts = [["pays", pays], ["is paid", gets]].filter(([, some]) => some.length).map(([does, some]) => `${does} ${total(some, book.currency)} in ${many(some, what)}`);
    return parts.join(" and ") || "pays nothing";
  };
  return `${partnerName(party)} (${party}) ${told(book.gross, "debt")}; after netting it ${told(book.after, "payment")}.`;
}

let picked = null;
function highlight() {
  if (!book?.net.has(picked)) picked = null;
  for (const svg of [$("before"), $("after")]) {
    svg.classList.toggle("picked", picked !== null);
    for (const part of svg.querySelectorAll(".ribbon, .node")) {
      const { payer, payee, party } = part.dataset;
      part.classList.toggle("of", picked !== null && [payer, payee, party].includes(picked));
    }
  }
  $("party").classList.toggle("told", picked !== null);
  // The last words stay when the pointer leaves; a screen reader hears only what is new.
  if (picked !== null && $("party").textContent !== describe(picked)) $("party").textContent = describe(picked);
}

// --- the heartbeat ------------------------------------------------------------------------------

const drawnAt = { counts: -Infinity, money: -Infinity };
function beat(now) {
  if (stale.base) { stale.base = false; drawBase(); stale.map = true; }
  if (stale.map || day.flashes.size) { stale.map = false; drawMap(now); }
  if (now - drawnAt.counts > COUNTS_EVERY_MS && (stale.counts || stale.refusals)) {
    drawnAt.counts = now;
    showCounts();
    showPoint();
    if (stale.refusals) showRefusals();
    stale.counts = stale.refusals = false;
  }
  if (now - drawnAt.money > MONEY_EVERY_MS && stale.money) {
    drawnAt.money = now;
    stale.money = false;
    stale.counts = true;
    showMoney(now);
  }
  requestAnimationFrame(beat);
}

new ResizeObserver(layOutMap).observe(canvas);
listen();
requestAnimationFrame(beat);
