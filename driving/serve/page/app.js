// The page: one socket; the scene's controls are kept in the address, so that a link shows the same scene.
"use strict";

const TRACE = 200;
const query = new URLSearchParams(location.search);
const token = query.get("token");
const withToken = (path) => token ? `${path}?token=${encodeURIComponent(token)}` : path;
const form = document.getElementById("controls");
const status = document.getElementById("status");
let socket, menu, scene = null, seats = [], last = null, sent = 0, wheelHeld = 0, paused = false;
let arrived = [], delays = [], sentAt = new Map(), retries = 0;

function send(message) {
  if (!socket || socket.readyState !== WebSocket.OPEN) return;
  message.n = ++sent;
  sentAt.set(sent, performance.now());
  socket.send(JSON.stringify(message));
}

function say(words) { status.textContent = words; status.classList.add("bad"); setTimeout(() => status.classList.remove("bad"), 4000); }
function option(value, words) { const o = document.createElement("option"); o.value = value; o.textContent = words; return o; }
function fill(select, pairs) { select.replaceChildren(...pairs.map(([value, words]) => option(value, words))); }
const plain = (name) => name.replaceAll("_", " ");

function fillWorlds(names) { fill(form.world, names.map((name) => [name, name === "lane/Procedural-v0" ? "roads of our own" : name])); }

function fillMenu() {
  fill(form.policy0, menu.policies.map((name) => [name, name]));
  fill(form.policy1, [["", "nobody"], ...menu.policies.map((name) => [name, name])]);
  fillWorlds(menu.worlds);
  const any = (words, names) => [["", words], ...names.map((name) => [name, plain(name)])];
  fill(form.family, any("as it comes", menu.families));
  fill(form.season, any("as it comes", menu.seasons));
  fill(form.weather, any("as it comes", menu.weathers));
  fill(form.method, [["", "off"], ...menu.methods.map((name) => [name, plain(name)])]);
  form.seed.max = menu.max_seed;
  const groups = new Map();
  for (const noise of menu.noises) groups.set(noise.group, [...(groups.get(noise.group) || []), noise]);
  form.noise.replaceChildren(option("none", "none"), ...[...groups].map(([group, noises]) => {
    const g = document.createElement("optgroup"); g.label = plain(group);
    g.append(...noises.map((noise) => option(noise.name, noise.title)));
    return g;
  }));
  document.getElementById("sweeps").replaceChildren(...menu.sweeps.map((name, i) => link(withToken(`/sweep/${i}`), `Sweep: ${name}`)));
}

function link(href, words) { const a = document.createElement("a"); a.href = href; a.textContent = words; a.target = "_blank"; a.rel = "noopener"; return a; }
const noiseOf = (name) => menu.noises.find((noise) => noise.name === name);

// Controls, page and address -------------------------------------------------------------------------------------

function controlsOfPage() {
  const seed = Number.parseInt(form.seed.value, 10);
  return {
    policies: [form.policy0.value, form.policy1.value].filter(Boolean),
    world: form.world.value, family: form.family.value, season: form.season.value, weather: form.weather.value,
    seed: Number.isFinite(seed) ? Math.min(Math.max(seed, 0), menu.max_seed) : 0,
    noise: form.noise.value, severity: form.noise.value === "none" ? 0 : Number(form.severity.value), method: form.method.value,
  };
}

function showControls(controls) {
  [form.policy0.value, form.policy1.value] = [controls.policies[0], controls.policies[1] || ""];
  for (const name of ["world", "family", "season", "weather", "seed", "noise", "method"]) form[name].value = controls[name];
  showNoise(controls.severity);
  const address = new URLSearchParams(token ? { token } : {});
  for (const [name, value] of Object.entries(controls)) if (value !== "") address.set(name, Array.isArray(value) ? value.join(",") : value);
  history.replaceState(null, "", "?" + address);
}

function showNoise(severity) {
  const noise = noiseOf(form.noise.value);
  form.severity.disabled = !noise;
  if (noise) { form.severity.max = Math.min(noise.most, 1.5 * noise.levels[2]); form.severity.value = severity; }
  document.getElementById("severity-shown").textContent = noise ? `${Number(severity).toPrecision(2)} ${noise.unit}` : "";
  document.getElementById("noise-text").textContent = noise ? noise.text : "";
}

function controlsOfAddress() {
  const wanted = {};
  for (const name of ["world", "family", "season", "weather", "noise", "method"]) if (query.has(name)) wanted[name] = query.get(name);
  if (!menu.worlds.includes(wanted.world)) delete wanted.world;  // a drive that was dropped in went with its page
  if (query.has("policies")) wanted.policies = query.get("policies").split(",");
  if (query.has("seed")) wanted.seed = Number(query.get("seed"));
  if (query.has("severity")) wanted.severity = Number(query.get("severity"));
  return wanted;
}

form.addEventListener("change", (event) => {
  if (event.target.id === "wheel" || !event.target.name) return;
  if (event.target.name === "noise") {
    const noise = noiseOf(form.noise.value);
    showNoise(noise ? noise.levels[0] : 0);
  }
  send({ set: controlsOfPage() });
});
form.severity.addEventListener("input", () => { showNoise(Number(form.severity.value)); send({ set: { noise: form.noise.value, severity: Number(form.severity.value) } }); });
form.addEventListener("submit", (event) => event.preventDefault());

// Hands ------------------------------------------------------------------------------------------------------------

const wheel = document.getElementById("wheel"), handsOff = document.getElementById("hands-off");
function steer(value) { wheel.value = -value; handsOff.disabled = value === null; send({ wheel: value }); }
wheel.addEventListener("input", () => steer(-Number(wheel.value)));
handsOff.addEventListener("click", () => { steer(null); wheel.value = 0; });
for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", () => send({ do: button.dataset.do }));
const pauseButton = document.getElementById("pause"), recordButton = document.getElementById("record");
const togglePause = () => send({ do: paused ? "go" : "pause" });
pauseButton.addEventListener("click", togglePause);
recordButton.addEventListener("click", () => send({ do: recordButton.getAttribute("aria-pressed") === "true" ? "stop" : "record" }));
document.getElementById("link").addEventListener("click", async (event) => {
  try { await navigator.clipboard.writeText(location.href); event.target.textContent = "Copied"; } catch { event.target.textContent = "The address above is the link"; }
});

const held = new Set();
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const action = { ".": "step", r: "rewind", a: "again", n: "next", q: "push_left", e: "push_right" }[event.key.toLowerCase()];
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    event.preventDefault();
    if (!held.has(event.key)) { held.add(event.key); steer(event.key === "ArrowLeft" ? 0.5 : -0.5); }
  } else if (event.key === " " && event.target.tagName !== "BUTTON") { event.preventDefault(); togglePause(); }
  else if (action && !event.repeat) send({ do: action });
});
addEventListener("keyup", (event) => {
  if (held.delete(event.key)) { if (held.size) steer(held.has("ArrowLeft") ? 0.5 : -0.5); else { steer(null); wheel.value = 0; } }
});

// A drive of one's own -----------------------------------------------------------------------------------------------

async function dropIn(files, name) {
  const wanted = files.filter((file) => menu.drive_files.includes(file.name));
  const missing = menu.drive_files.slice(0, 3).filter((file) => !wanted.some((f) => f.name === file));
  if (missing.length) { say(`expected the files of a drive; ${missing[0]} is missing`); return; }
  status.textContent = "taking the drive";
  for (const file of wanted) {
    const answer = await fetch(withToken(`/drive/${scene.key}/${file.name}`), { method: "PUT", body: file });
    if (!answer.ok) { say(await answer.text()); return; }
  }
  send({ take: name });
}

document.getElementById("drive").addEventListener("change", (event) => { dropIn([...event.target.files], "drive"); event.target.value = ""; });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", async (event) => {
  event.preventDefault();
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry());
  const folder = entries.find((entry) => entry && entry.isDirectory);
  if (!folder) { dropIn([...event.dataTransfer.files], "drive"); return; }
  const inside = await new Promise((resolve) => folder.createReader().readEntries(resolve, () => resolve([])));
  dropIn(await Promise.all(inside.filter((entry) => entry.isFile).map((entry) => new Promise((resolve) => entry.file(resolve)))), folder.name);
});

// Seats -----------------------------------------------------------------------------------------------------------

function makeSeats() {
  const box = document.getElementById("seats"), template = document.getElementById("seat");
  seats = scene.seats.map((about, i) => {
    const node = template.content.firstElementChild.cloneNode(true), find = (s) => node.querySelector(s);
    const seat = { about, node, find, chosen: null, traces: about.wiring ? [] : [], accent: i ? "other" : "accent" };
    const setting = Object.values(about.setting).map(plain).join(", ");
    find("h2").textContent = `${about.name}: ${about.title}${setting ? " — " + setting : ""}`;
    if (!about.wiring) find(".circuit").height = 190;  // units need less room than a circuit
    const which = find(".which");
    const roles = {};
    if (about.wiring) for (const layer of about.wiring.layers) for (const neuron of layer.neurons) roles[neuron] = layer.role;
    seat.fillUnits = (n) => { if (which.options.length === 1) which.append(...Array.from({ length: n }, (_, k) => option(k, roles[k] ? `${k} (${roles[k]})` : k))); };
    which.addEventListener("change", () => choose(seat, which.value === "" ? null : Number(which.value)));
    find(".circuit").addEventListener("click", (event) => choose(seat, hit(seat, event)));
    const slider = find(".clamp input"), free = find(".free");
    slider.addEventListener("input", () => { free.hidden = false; send({ clamp: [i, seat.chosen, Number(slider.value)] }); });
    free.addEventListener("click", () => { free.hidden = true; send({ clamp: [i, seat.chosen, null] }); });
    return seat;
  });
  box.replaceChildren(...seats.map((seat) => seat.node));
}

function hit(seat, event) {
  const canvas = event.target, bounds = canvas.getBoundingClientRect(), w = +canvas.dataset.w, h = +canvas.dataset.h;
  const x = (event.clientX - bounds.left) * w / bounds.width, y = (event.clientY - bounds.top) * h / bounds.height;
  if (seat.about.wiring) {
    for (const [neuron, [px, py]] of Object.entries(circuitPlaces(seat.about.wiring, w, h))) if (Math.hypot(px - x, py - y) < 16) return Number(neuron);
    return null;
  }
  const found = unitPlaces(last ? last.seats[seats.indexOf(seat)].states.length : 0, w, h).findIndex(([px, py, size]) => x >= px && x < px + size && y >= py && y < py + size);
  return found < 0 ? null : found;
}

function choose(seat, neuron) {
  seat.chosen = neuron;
  seat.find(".which").value = neuron === null ? "" : neuron;
  seat.find(".trace").hidden = neuron === null;
  seat.find(".clamp").hidden = neuron === null || !seat.about.wiring;
  const words = seat.find(".wired"), row = last && last.seats[seats.indexOf(seat)];
  words.textContent = "";
  if (neuron !== null && seat.about.wiring) {
    const list = (from, to) => [...new Set(seat.about.wiring.synapses.filter((s) => s[from] === neuron).map((s) => s[to]))].join(", ") || "none";
    words.textContent = `hears ${seat.about.wiring.n_sensory[neuron]} features and neurons ${list(1, 0)}; tells neurons ${list(0, 1)}`;
    seat.find(".free").hidden = !(row && String(neuron) in row.clamped);
    seat.find(".clamp input").value = row ? row.states[neuron] : 0;
  }
  if (last) drawSeat(seat, row);
}

function drawSeat(seat, row) {
  const accent = colours[seat.accent];
  drawWheel(seat.find(".wheel"), row, accent);
  drawAbove(seat.find(".above"), row, accent);
  if (seat.about.wiring) drawCircuit(seat.find(".circuit"), seat.about.wiring, row, seat.chosen);
  else drawUnits(seat.find(".circuit"), row, seat.chosen);
  if (seat.chosen !== null) {
    const tau = row.time_constants_s ? `, time constant ${(1000 * row.time_constants_s[seat.chosen]).toFixed(0)} ms` : "";
    drawTrace(seat.find(".trace"), seat.traces.map((states) => states[seat.chosen]), accent, `state of ${seat.chosen}: ${row.states[seat.chosen].toFixed(2)}${tau}; the last ten seconds`);
  }
}

function showRow(seat, row) {
  const figure = (name) => seat.find(`[data-figure=${name}]`);
  figure("crashes").textContent = row.crashes === 1 ? "once" : `${row.crashes} times`;
  figure("crashes").classList.toggle("bad", row.crashes > 0);
  figure("km").textContent = `${row.km.toFixed(2)} km`;
  figure("speed").textContent = `${(3.6 * row.speed_mps).toFixed(0)} km/h`;
  figure("offset").textContent = `${Math.abs(row.offset_m).toFixed(2)} m ${row.offset_m > 0 ? "left" : "right"}`;
  figure("share").textContent = row.road_share === null ? "–" : `${(100 * row.road_share).toFixed(0)} %`;
  seat.find(".crash").hidden = !row.has_crashed;
  seat.fillUnits(row.states.length);
  seat.traces.push(row.states);
  if (seat.traces.length > TRACE) seat.traces.shift();
  drawSeat(seat, row);
}

// The socket -------------------------------------------------------------------------------------------------------

async function picture(data) {
  const view = new DataView(data), length = view.getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  if (!scene || header.seats.length !== seats.length) return;
  let at = 4 + length;
  const images = await Promise.all(header.sizes.map((size) => { const blob = new Blob([new Uint8Array(data, at, size)], { type: "image/jpeg" }); at += size; return createImageBitmap(blob); }));
  images.forEach((image, i) => {
    const canvas = seats[i] && seats[i].find(".camera");
    if (!canvas) return;
    if (canvas.width !== image.width) { canvas.width = image.width; canvas.height = image.height; }
    canvas.getContext("2d").drawImage(image, 0, 0);
    image.close();
    canvas.setAttribute("aria-label", `What ${seats[i].about.name} sees${form.method.value ? ", bright where it looks" : ""}`);
  });
  last = header;
  header.seats.forEach((row, i) => seats[i] && showRow(seats[i], row));
  const now = performance.now();
  for (const [n, at] of sentAt) if (n <= header.heard) { delays.push(now - at); sentAt.delete(n); }
  delays = delays.slice(-20);
  arrived = [...arrived.filter((t) => now - t < 2000), now];
  paused = header.paused;
  pauseButton.textContent = paused ? "Go on" : "Pause";
  pauseButton.setAttribute("aria-pressed", paused);
  recordButton.setAttribute("aria-pressed", header.recording);
  recordButton.textContent = header.recording ? "Stop recording" : "Record a video";
  const box = document.getElementById("recordings");
  if (box.childElementCount !== header.recordings.length) box.replaceChildren(...header.recordings.map((name, i) => link(withToken(`/recording/${name}`), `Video ${i + 1} `)));
  document.body.dataset.ticks = header.tick;
  document.body.dataset.delay = delays.length ? Math.max(...delays).toFixed(0) : "";
  document.body.dataset.rate = (arrived.length / 2).toFixed(1);
}

setInterval(() => {
  if (!last || !socket || socket.readyState !== WebSocket.OPEN || status.classList.contains("bad")) return;
  const delay = delays.length ? `, ${[...delays].sort((a, b) => a - b)[delays.length >> 1].toFixed(0)} ms from hand to picture` : "";
  status.textContent = paused ? "paused" : `${(arrived.length / 2).toFixed(0)} pictures a second${delay}`;
}, 1000);

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${withToken("/live")}`);
  socket.binaryType = "arraybuffer";
  let isFirst = true;
  socket.onmessage = (event) => {
    if (typeof event.data !== "string") { picture(event.data); return; }
    const message = JSON.parse(event.data);
    if (message.refused) { say(message.refused); if (scene) showControls(scene.controls); }
    if (message.scene) {
      const isSame = scene && JSON.stringify(scene.seats) === JSON.stringify(message.scene.seats);
      scene = message.scene;
      if (form.world.options.length !== scene.worlds.length) fillWorlds(scene.worlds);
      if (!isSame) makeSeats();  // else the neuron that was chosen stays chosen
      if (isFirst) {
        isFirst = false; retries = 0; status.classList.remove("bad");
        const wanted = controlsOfAddress();
        if (Object.keys(wanted).length) { send({ set: wanted }); return; }
        if (menu.policies.includes("lstm64") && menu.policies.includes("ltc19")) { send({ set: { policies: ["ltc19", "lstm64"] } }); return; }
      }
      showControls(scene.controls);
    }
  };
  socket.onclose = (event) => {
    status.classList.add("bad");
    status.textContent = event.reason || "the server has gone; trying again";
    if (event.code !== 1008) setTimeout(connect, Math.min(1000 * 2 ** retries++, 15000));
  };
}

async function begin() {
  readColours();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readColours);
  menu = await (await fetch(withToken("/menu.json"))).json();
  fillMenu();
  connect();
}
begin();
