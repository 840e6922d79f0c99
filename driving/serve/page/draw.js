// Drawing on canvases. Colours come from the style sheet, so that light and dark are one place.
"use strict";

const colours = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["card", "ink", "muted", "line", "accent", "other", "warn", "danger", "good", "low", "high", "track"]) {
    colours[name] = style.getPropertyValue("--" + name).trim();
  }
}

// A canvas at the screen's own resolution, cleared; units stay those of its width and height attributes.
function clean(canvas) {
  if (!canvas.dataset.w) { canvas.dataset.w = canvas.width; canvas.dataset.h = canvas.height; }
  const w = +canvas.dataset.w, h = +canvas.dataset.h;
  const scale = Math.min(2, Math.max(1, canvas.clientWidth * (window.devicePixelRatio || 1) / w));
  if (canvas.width !== Math.round(w * scale)) { canvas.width = Math.round(w * scale); canvas.height = Math.round(h * scale); }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, w, h);
  return [pen, w, h];
}

function text(pen, words, x, y, size, colour, align = "center") {
  pen.font = `${size}px system-ui, "DejaVu Sans", sans-serif`;
  pen.fillStyle = colour; pen.textAlign = align; pen.textBaseline = "middle";
  pen.fillText(words, x, y);
}

function drawWheel(canvas, row, accent) {
  const [pen, w, h] = clean(canvas), x = w / 2, y = 96, r = 74, stop = 2.3;
  const turn = (value) => -stop * Math.max(-1, Math.min(1, value / row.max_per_m));
  pen.lineWidth = 8; pen.lineCap = "round"; pen.strokeStyle = colours.track;
  pen.beginPath(); pen.arc(x, y, r, -Math.PI / 2 - stop, -Math.PI / 2 + stop); pen.stroke();
  const shown = row.is_yours ? row.driven_per_m : row.command_per_m, angle = turn(shown);
  pen.strokeStyle = row.is_yours ? colours.warn : accent;
  pen.beginPath(); pen.arc(x, y, r, Math.min(-Math.PI / 2, -Math.PI / 2 + angle), Math.max(-Math.PI / 2, -Math.PI / 2 + angle)); pen.stroke();
  pen.save(); pen.translate(x, y); pen.rotate(angle); pen.strokeStyle = colours.ink; pen.lineWidth = 9;
  pen.beginPath(); pen.arc(0, 0, 50, 0, 2 * Math.PI); pen.stroke();
  pen.lineWidth = 7;
  for (const spoke of [0.15, Math.PI - 0.15, Math.PI / 2]) { pen.beginPath(); pen.moveTo(0, 0); pen.lineTo(48 * Math.cos(spoke), 48 * Math.sin(spoke)); pen.stroke(); }
  pen.restore();
  const side = Math.abs(shown) < 5e-4 ? "straight" : shown > 0 ? "left" : "right";
  text(pen, (row.is_yours ? "you: " : "") + (side === "straight" ? side : `${side}, radius ${Math.round(1 / Math.abs(shown))} m`), x, 190, 15, row.is_yours ? colours.warn : colours.ink);
  canvas.setAttribute("aria-label", `Steering ${side}`);
}

function drawAbove(canvas, row, accent) {
  const [pen, w, h] = clean(canvas), ahead = 42, scale = h / 52, y0 = ahead * scale, above = row.above;
  const place = ([forward, left]) => [w / 2 - left * scale, y0 - forward * scale];
  const beside = (metres) => above.lane.map((p, i, all) => {
    const q = all[Math.min(i + 1, all.length - 1)], o = all[Math.max(i - 1, 0)];
    const dx = q[0] - o[0], dy = q[1] - o[1], n = Math.hypot(dx, dy) || 1;
    return place([p[0] - metres * dy / n, p[1] + metres * dx / n]);
  });
  const path = (points) => { pen.beginPath(); points.forEach(([x, y], i) => i ? pen.lineTo(x, y) : pen.moveTo(x, y)); };
  const band = (left, right, colour) => { path(beside(left).concat(beside(-right).reverse())); pen.fillStyle = colour; pen.fill(); };
  if (above.lane.length > 1) {
    pen.globalAlpha = 0.45; band(above.left_m, above.right_m, colours.track); pen.globalAlpha = 1;
    band(above.half_m, above.half_m, colours.track);
  }
  pen.lineWidth = 2.5; pen.strokeStyle = accent; path(above.trail.map(place)); pen.stroke();
  pen.fillStyle = row.has_crashed ? colours.danger : colours.ink;
  pen.fillRect(w / 2 - 0.9 * scale, y0 - 3.6 * scale, 1.8 * scale, 4.5 * scale);
  text(pen, "from above", 6, h - 9, 12, colours.muted, "left");
  const off = row.offset_m, share = Math.max(-1, Math.min(1, off / row.half_lane_m));
  pen.fillStyle = colours.line; pen.fillRect(w - 88, h - 14, 80, 4);
  pen.fillStyle = Math.abs(share) > 0.75 ? colours.danger : colours.good; pen.fillRect(w - 48 - share * 40 - 4, h - 18, 8, 12);
  canvas.setAttribute("aria-label", `Car from above, ${Math.abs(off).toFixed(2)} metres ${off > 0 ? "left" : "right"} of the lane's middle`);
}

function mixed(value, range) { return Math.max(-1, Math.min(1, value / range)); }

// Where each neuron is drawn: one column a layer, from the inputs on the left to the motor neuron on the right.
function circuitPlaces(wiring, w, h) {
  const places = {}, n = wiring.layers.length;
  wiring.layers.forEach((layer, i) => layer.neurons.forEach((neuron, k) => {
    places[neuron] = [w * (0.2 + 0.68 * (n > 1 ? i / (n - 1) : 0.5)), 26 + (h - 46) * (k + 0.5) / layer.neurons.length];
  }));
  return places;
}

function drawCircuit(canvas, wiring, row, chosen) {
  const [pen, w, h] = clean(canvas), places = circuitPlaces(wiring, w, h);
  const largest = Math.max(1e-6, ...row.currents.map(Math.abs)), pushed = Math.max(1e-6, ...row.sensory.map(Math.abs));
  for (const [name, x] of [["32 features", 0.05], ...wiring.layers.map((layer, i) => [layer.role, 0.2 + 0.68 * i / Math.max(1, wiring.layers.length - 1)])]) {
    text(pen, name === "32 features" ? `${wiring.n_inputs} features` : name, Math.max(44, Math.min(w - 34, w * x)), 11, 12, colours.muted);
  }
  wiring.n_sensory.forEach((count, neuron) => {
    if (!count) return;
    const [x, y] = places[neuron], value = row.sensory[neuron] / pushed;
    pen.globalAlpha = 0.15 + 0.85 * Math.abs(value); pen.lineWidth = 0.5 + 4 * Math.abs(value); pen.strokeStyle = value > 0 ? colours.high : colours.low;
    pen.beginPath(); pen.moveTo(w * 0.05, y); pen.lineTo(x, y); pen.stroke();
  });
  wiring.synapses.forEach(([source, target], i) => {
    const value = row.currents[i] / largest, isHis = chosen !== null && (source === chosen || target === chosen);
    const a = places[source], b = places[target];
    pen.globalAlpha = isHis ? 1 : (chosen === null ? 0.12 : 0.05) + 0.75 * Math.abs(value) * (chosen === null ? 1 : 0.3);
    pen.lineWidth = (isHis ? 1.5 : 0.6) + 4 * Math.abs(value); pen.strokeStyle = value > 0 ? colours.high : colours.low;
    pen.beginPath();
    if (source === target) pen.arc(a[0], a[1] - 15, 9, 0, 2 * Math.PI);
    else if (Math.abs(a[0] - b[0]) < 1) { pen.moveTo(a[0], a[1]); pen.quadraticCurveTo(a[0] + 46, (a[1] + b[1]) / 2, b[0], b[1]); }
    else { pen.moveTo(a[0], a[1]); pen.lineTo(b[0], b[1]); }
    pen.stroke();
  });
  pen.globalAlpha = 1;
  const slowest = Math.max(...row.time_constants_s), quickest = Math.min(...row.time_constants_s);
  for (const neuron of Object.keys(places).map(Number)) {
    const [x, y] = places[neuron], value = mixed(row.states[neuron], 1.2);
    const slow = (row.time_constants_s[neuron] - quickest) / Math.max(1e-9, slowest - quickest);
    pen.beginPath(); pen.arc(x, y, 6 + 5 * slow, 0, 2 * Math.PI); pen.fillStyle = colours.card; pen.fill();
    pen.globalAlpha = 0.15 + 0.85 * Math.abs(value); pen.fillStyle = value > 0 ? colours.high : colours.low; pen.fill(); pen.globalAlpha = 1;
    const isClamped = String(neuron) in row.clamped;
    pen.lineWidth = neuron === chosen ? 3.5 : isClamped ? 3 : 1.2; pen.strokeStyle = isClamped ? colours.warn : colours.ink; pen.stroke();
    if (neuron === chosen || isClamped) text(pen, String(neuron), x, y - 19, 12, isClamped ? colours.warn : colours.ink);
  }
  text(pen, "orange +, blue −; large circles: slow neurons", w / 2, h - 8, 12, colours.muted);
  canvas.setAttribute("aria-label", `${row.states.length} liquid neurons; choose one in the list below`);
}

function unitPlaces(n, w, h) {
  const columns = Math.max(1, Math.ceil(Math.sqrt(n)) * 2), rows = Math.ceil(n / columns), size = Math.min((w - 20) / columns, (h - 40) / rows);
  return Array.from({ length: n }, (_, k) => [10 + size * (k % columns), 8 + size * Math.floor(k / columns), size]);
}

function drawUnits(canvas, row, chosen) {
  const [pen, w, h] = clean(canvas);
  unitPlaces(row.states.length, w, h).forEach(([x, y, size], k) => {
    const value = mixed(row.states[k], 1);
    pen.globalAlpha = 0.1 + 0.9 * Math.abs(value); pen.fillStyle = value > 0 ? colours.high : colours.low;
    pen.fillRect(x + 1, y + 1, size - 3, size - 3); pen.globalAlpha = 1;
    if (k === chosen) { pen.lineWidth = 3; pen.strokeStyle = colours.ink; pen.strokeRect(x + 1, y + 1, size - 3, size - 3); }
  });
  text(pen, `${row.states.length} units, each a number; no circuit to draw`, w / 2, h - 10, 12, colours.muted);
  canvas.setAttribute("aria-label", `${row.states.length} hidden units`);
}

function drawTrace(canvas, values, accent, words) {
  const [pen, w, h] = clean(canvas), low = Math.min(...values, -0.2), high = Math.max(...values, 0.2);
  const y = (value) => 20 + (h - 30) * (high - value) / (high - low);
  pen.strokeStyle = colours.line; pen.lineWidth = 1; pen.beginPath(); pen.moveTo(0, y(0)); pen.lineTo(w, y(0)); pen.stroke();
  pen.strokeStyle = accent; pen.lineWidth = 2; pen.beginPath();
  values.forEach((value, i) => i ? pen.lineTo(w * i / 199, y(value)) : pen.moveTo(0, y(value))); pen.stroke();
  text(pen, words, 4, 10, 12, colours.muted, "left");
  canvas.setAttribute("aria-label", words);
}
