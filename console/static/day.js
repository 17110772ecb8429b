// The day as it plays: a map that lights up, counters, refusals, and two rings of money.
// Everything comes from this hub: the places once, then a stream of what changed.
"use strict";

const $ = (id) => document.getElementById(id);
const FADE_MS = 1600;
const day = {
  places: [], byEvse: new Map(), charging: new Set(), used: [], flashes: new Map(),
  counts: {}, refused: {}, debts: new Map(), paid: null, clock: null, names: {}, zone: "UTC",
};
let moneyChanged = true, countsChanged = true;

// --- the stream ---------------------------------------------------------------------------------

const take = {
  state(told) {
    day.clock = told.clock;
    day.counts = { authorised: told.authorised, cdrs: told.cdrs, delivered: told.delivered, energy_wh: told.energy_wh };
    day.refused = told.refused;
    day.charging = new Set(told.charging);
    day.used = told.used;
    day.debts = new Map(told.debts.map((d) => [debtKey(d), { ...d }]));
    day.paid = null;
    $("refusals").replaceChildren();
    for (const refusal of [...told.refusals].reverse()) showRefusal(refusal);
    for (const run of Object.values(told.cleared)) loadPayments(run);
    loadPlaces();
  },
  authorised(told) { day.counts.authorised++; flash(told.evse, "on"); use(told.evse); },
  refused(told) {
    day.refused[told.reason] = (day.refused[told.reason] || 0) + 1;
    flash(told.evse, "no");
    showRefusal(told);
  },
  started(told) { day.charging.add(told.evse); use(told.evse); },
  stopped(told) { day.charging.delete(told.evse); },
  cdr(told) {
    day.counts.cdrs++;
    day.counts.energy_wh += told.energy_wh;
    const debt = day.debts.get(debtKey(told)) || { ...told, amount_minor: 0, cdrs: 0 };
    debt.amount_minor += told.amount_minor;
    debt.cdrs++;
    day.debts.set(debtKey(told), debt);
    day.paid = null;
    moneyChanged = true;
  },
  rejected() {},
  delivered(told) { day.counts.delivered += told.count; },
  cleared(told) { loadPayments(told.run_id); },
};

function listen() {
  const stream = new EventSource("/console/events");
  stream.onopen = () => { $("link").textContent = "live"; $("link").className = "live"; };
  stream.onerror = () => { $("link").textContent = "reconnecting…"; $("link").className = ""; };
  stream.onmessage = (message) => {
    for (const told of JSON.parse(message.data)) {
      if (told.clock) day.clock = told.clock;
      take[told.kind]?.(told);
      countsChanged = true;
      if (told.kind === "state") moneyChanged = true;
    }
  };
}

const debtKey = (d) => `${d.debtor}|${d.creditor}|${d.currency}`;
const fetchJson = async (path) => (await fetch(path)).json();

async function loadPlaces() {
  const [told, names] = await Promise.all([fetchJson("/console/places"), fetchJson("/console/names")]);
  day.names = names;
  day.zone = told.time_zone;
  day.places = told.places.map(([evse, operator, lat, lon]) => ({ evse, operator, lat, lon }));
  day.byEvse = new Map(day.places.map((place) => [place.evse, place]));
  for (const evse of day.used) use(evse);
  layOutMap();
  moneyChanged = countsChanged = true;
}

async function loadPayments(runId) {
  day.paid = await fetchJson(`/console/runs/${runId}/payments`);
  moneyChanged = true;
}

// --- counters and refusals ----------------------------------------------------------------------

const number = new Intl.NumberFormat("en");
const REASONS = {
  "evse-unknown": "charge point unknown", "unknown-contract": "card unknown",
  "no-roaming-agreement": "no roaming agreement", "contract-blocked": "contract blocked",
  "contract-expired": "contract expired", "service-not-covered": "service not covered",
  "over-limit": "over the limit", "evsp-silent": "EVSP silent",
};

function showCounts() {
  const refusedTotal = Object.values(day.refused).reduce((a, b) => a + b, 0);
  $("clock").textContent = day.clock ? shownTime(day.clock, true) : "–";
  $("n-charging").textContent = number.format(day.charging.size);
  $("n-authorised").textContent = number.format(day.counts.authorised || 0);
  $("n-refused").textContent = number.format(refusedTotal);
  $("n-cdrs").textContent = number.format(day.counts.cdrs || 0);
  $("n-delivered").textContent = number.format(day.counts.delivered || 0);
  $("n-energy").textContent = `${number.format(Math.round((day.counts.energy_wh || 0) / 1e4) / 100)} MWh`;
  const most = Math.max(1, ...Object.values(day.refused));
  $("reasons").replaceChildren(...Object.entries(day.refused).sort((a, b) => b[1] - a[1]).map(([reason, count]) => {
    const row = element("div", "reason");
    const bar = element("i");
    bar.style.width = `${(100 * count) / most}%`;
    row.append(text("span", REASONS[reason] || reason), bar, text("b", number.format(count)));
    return row;
  }));
}

function showRefusal(refusal) {
  const item = element("li");
  item.append(
    text("time", refusal.clock ? shownTime(refusal.clock, false) : ""),
    text("div", `${refusal.evse}${refusal.evsp ? ` · ${partnerName(refusal.evsp)}` : ""}`),
    text("span", REASONS[refusal.reason] || refusal.reason),
  );
  $("refusals").prepend(item);
  while ($("refusals").children.length > 60) $("refusals").lastChild.remove();
}

// The clock is that of the place where most charge points stand.
function shownTime(iso, withDay) {
  const at = new Date(iso);
  const zone = { timeZone: day.zone, hour: "2-digit", minute: "2-digit" };
  return at.toLocaleString("en-GB", withDay ? { weekday: "short", day: "numeric", month: "short", year: "numeric", ...zone } : zone);
}

const element = (name, className) => Object.assign(document.createElement(name), className ? { className } : {});
const text = (name, content) => Object.assign(document.createElement(name), { textContent: content });
const partnerName = (party) => day.names[party] || party;

// --- the map ------------------------------------------------------------------------------------

const canvas = $("points"), pen = canvas.getContext("2d");

function use(evse) { const place = day.byEvse.get(evse); if (place) place.used = true; }
function flash(evse, how) { day.flashes.set(evse, { how, at: performance.now() }); }

// Equirectangular about the middle latitude, fitted to where 98 % of the points are: a few points
// overseas must not shrink a country to a dot. They stand at the edge.
function layOutMap() {
  const scale = window.devicePixelRatio || 1, box = canvas.getBoundingClientRect();
  canvas.width = box.width * scale;
  canvas.height = box.height * scale;
  if (!day.places.length) return;
  const within = (values) => { const sorted = [...values].sort((a, b) => a - b); const cut = Math.floor(sorted.length * 0.01); return [sorted[cut], sorted[sorted.length - 1 - cut]]; };
  const [south, north] = within(day.places.map((p) => p.lat)), [west, east] = within(day.places.map((p) => p.lon));
  const shrink = Math.cos(((south + north) / 2) * Math.PI / 180), margin = 18 * scale;
  const perDegree = Math.min((canvas.width - 2 * margin) / Math.max((east - west) * shrink, 0.01), (canvas.height - 2 * margin) / Math.max(north - south, 0.01));
  const clamp = (value, most) => Math.min(Math.max(value, 5 * scale), most - 5 * scale);
  for (const place of day.places) {
    place.x = clamp(canvas.width / 2 + (place.lon - (west + east) / 2) * shrink * perDegree, canvas.width);
    place.y = clamp(canvas.height / 2 - (place.lat - (south + north) / 2) * perDegree, canvas.height);
  }
}

function drawMap(now) {
  const scale = window.devicePixelRatio || 1;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  for (const place of day.places) {
    pen.fillStyle = place.used ? "#3f9a72" : "#567079";
    pen.fillRect(place.x - scale, place.y - scale, 2.2 * scale, 2.2 * scale);
  }
  for (const evse of day.charging) {
    const place = day.byEvse.get(evse);
    if (!place) continue;
    glow(place, 7 * scale, "95,242,162", 0.22);
    glow(place, 2.4 * scale, "95,242,162", 1);
  }
  for (const [evse, { how, at }] of day.flashes) {
    const age = (now - at) / FADE_MS, place = day.byEvse.get(evse);
    if (age >= 1 || !place) { day.flashes.delete(evse); continue; }
    pen.strokeStyle = how === "no" ? `rgba(255,107,107,${1 - age})` : `rgba(95,242,162,${0.8 * (1 - age)})`;
    pen.lineWidth = 1.5 * scale;
    pen.beginPath();
    pen.arc(place.x, place.y, (3 + 13 * age) * scale, 0, 7);
    pen.stroke();
  }
}

function glow(place, radius, colour, alpha) {
  pen.fillStyle = `rgba(${colour},${alpha})`;
  pen.beginPath();
  pen.arc(place.x, place.y, radius, 0, 7);
  pen.fill();
}

canvas.addEventListener("pointermove", (event) => {
  const scale = window.devicePixelRatio || 1, box = canvas.getBoundingClientRect();
  const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
  let best = null, least = (12 * scale) ** 2;
  for (const place of day.places) {
    const far = (place.x - x) ** 2 + (place.y - y) ** 2;
    if (far < least) { least = far; best = place; }
  }
  $("point").textContent = best ? `${best.evse} · ${partnerName(best.operator)}${day.charging.has(best.evse) ? " · charging" : ""}` : "\u00a0";
});

// --- the rings ----------------------------------------------------------------------------------

function mainCurrency() {
  const sums = {};
  for (const debt of day.debts.values()) sums[debt.currency] = (sums[debt.currency] || 0) + debt.amount_minor;
  return Object.keys(sums).sort((a, b) => sums[b] - sums[a])[0];
}

function money(minor, currency) {
  const format = new Intl.NumberFormat("en", { style: "currency", currency });
  return format.format(minor / 10 ** format.resolvedOptions().maximumFractionDigits);
}

function positionsOf(rows) {
  const net = new Map();
  for (const row of rows) {
    net.set(row.payer, (net.get(row.payer) || 0) - row.amount_minor);
    net.set(row.payee, (net.get(row.payee) || 0) + row.amount_minor);
  }
  return net;
}

// Until the hub has cleared the period, what clearing would give: largest debtor to largest creditor.
function settled(net) {
  const owing = [...net].filter(([, m]) => m < 0).map(([p, m]) => [p, -m]), owed = [...net].filter(([, m]) => m > 0);
  const rows = [];
  while (owing.length && owed.length) {
    owing.sort((a, b) => a[1] - b[1]);
    owed.sort((a, b) => a[1] - b[1]);
    const debtor = owing[owing.length - 1], creditor = owed[owed.length - 1], amount = Math.min(debtor[1], creditor[1]);
    rows.push({ payer: debtor[0], payee: creditor[0], amount_minor: amount });
    if (!(debtor[1] -= amount)) owing.pop();
    if (!(creditor[1] -= amount)) owed.pop();
  }
  return rows;
}

function showMoney() {
  const currency = mainCurrency();
  if (!currency) { for (const id of ["before", "after"]) $(id).replaceChildren(); return; }
  const gross = [...day.debts.values()].filter((d) => d.currency === currency && d.amount_minor > 0).map((d) => ({ payer: d.debtor, payee: d.creditor, amount_minor: d.amount_minor }));
  const net = positionsOf(gross);
  const cleared = day.paid?.filter((p) => p.currency === currency);
  const after = cleared?.length ? cleared : settled(net);
  // Debtors on one side of the ring and creditors on the other, so that ribbons do not tangle.
  const parties = [...net].sort((a, b) => a[1] - b[1]).map(([party]) => party);
  const most = Math.max(...gross.map((r) => r.amount_minor), ...after.map((r) => r.amount_minor), 1);
  ring($("before"), parties, gross, net, most, currency);
  ring($("after"), parties, after, net, most, currency);
  const sum = (rows) => money(rows.reduce((a, r) => a + r.amount_minor, 0), currency);
  $("before-sum").textContent = `${number.format(gross.length)} debts, ${sum(gross)}`;
  $("after-sum").textContent = `${number.format(after.length)} payments, ${sum(after)}${cleared?.length ? " · cleared" : " · as it stands"}`;
  $("payments").replaceChildren(...[...after].sort((a, b) => b.amount_minor - a.amount_minor).map((row) => {
    const line = element("tr");
    line.append(text("td", partnerName(row.payer)), text("td", partnerName(row.payee)), Object.assign(text("td", money(row.amount_minor, currency)), { className: "n" }));
    return line;
  }));
}

const SVG = "http://www.w3.org/2000/svg";
function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function ring(svg, parties, rows, net, most, currency) {
  const radius = 138, spots = new Map();
  parties.forEach((party, index) => {
    const angle = Math.PI / 2 + 0.12 + ((2 * Math.PI - 0.24) * (index + 0.5)) / parties.length;
    spots.set(party, { angle, x: radius * Math.cos(angle), y: radius * Math.sin(angle) });
  });
  const focused = document.activeElement?.closest?.("svg") === svg ? document.activeElement.dataset.party : null;
  const parts = [];
  for (const row of [...rows].sort((a, b) => a.amount_minor - b.amount_minor)) {
    const from = spots.get(row.payer), to = spots.get(row.payee);
    if (!from || !to) continue;
    const path = shape("path", {
      class: "ribbon", d: `M${from.x},${from.y} Q0,0 ${to.x},${to.y}`,
      // Neighbours on the ring differ in colour: the golden angle from one to the next.
      stroke: `hsl(${(parties.indexOf(row.payer) * 137.5) % 360} 60% 66%)`,
      "stroke-width": Math.max(0.6, 22 * Math.sqrt(row.amount_minor / most)).toFixed(2),
    });
    path.dataset.payer = row.payer;
    path.dataset.payee = row.payee;
    parts.push(path);
  }
  const largest = Math.max(...[...net.values()].map(Math.abs), 1);
  for (const [party, spot] of spots) {
    const position = net.get(party);
    const node = shape("g", { class: "node", tabindex: "0", role: "img", "aria-label": told(party, rows, currency) });
    node.dataset.party = party;
    const label = shape("text", {
      x: (radius + 15) * Math.cos(spot.angle), y: (radius + 15) * Math.sin(spot.angle) + 3,
      "text-anchor": Math.abs(Math.cos(spot.angle)) < 0.12 ? "middle" : Math.cos(spot.angle) > 0 ? "start" : "end",
    });
    label.textContent = party;
    node.append(shape("circle", { cx: spot.x, cy: spot.y, r: (3 + 7 * Math.sqrt(Math.abs(position) / largest)).toFixed(1), fill: position < 0 ? "var(--debtor)" : "var(--creditor)" }), label);
    const pick = () => pickParty(party, rows, currency), leave = () => pickParty(null);
    node.addEventListener("pointerenter", pick);
    node.addEventListener("pointerleave", leave);
    node.addEventListener("focus", pick);
    node.addEventListener("blur", leave);
    parts.push(node);
  }
  svg.replaceChildren(...parts);
  if (focused) svg.querySelector(`[data-party="${CSS.escape(focused)}"]`)?.focus();
}

function told(party, rows, currency) {
  const sum = (side) => rows.filter((r) => r[side] === party).reduce((a, r) => a + r.amount_minor, 0);
  return `${partnerName(party)} (${party}) pays ${money(sum("payer"), currency)} and is paid ${money(sum("payee"), currency)}`;
}

function pickParty(party, rows, currency) {
  for (const svg of document.querySelectorAll(".rings svg")) {
    svg.classList.toggle("picked", party !== null);
    for (const part of svg.children) {
      const { payer, payee, party: own } = part.dataset;
      part.classList.toggle("of", party !== null && (payer === party || payee === party || own === party));
    }
  }
  if (party !== null) $("party").textContent = told(party, rows, currency);
}

// --- the heartbeat ------------------------------------------------------------------------------

let moneyDrawn = 0;
function beat(now) {
  drawMap(now);
  if (countsChanged) { countsChanged = false; showCounts(); }
  if (moneyChanged && now - moneyDrawn > 700) { moneyChanged = false; moneyDrawn = now; showMoney(); }
  requestAnimationFrame(beat);
}

window.addEventListener("resize", layOutMap);
layOutMap();
listen();
requestAnimationFrame(beat);
