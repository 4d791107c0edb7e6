// The page of the server. In an AudioWorklet the same file is only what passes the blocks of the microphone on.
"use strict";

if (typeof registerProcessor === "function") {
  registerProcessor("blocks", class extends AudioWorkletProcessor {
    process([[channel]]) {
      if (channel) this.port.postMessage(channel.slice());
      return true;
    }
  });
} else {
  start();
}

function start() {
  const $ = id => document.getElementById(id);
  const COLOURS = ["#1f77b4", "#d95f02", "#2a9d3a", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#9a9a1a", "#17a2b8"];
  const ENDINGS = { speech: "recording", image: "picture", ink: "ink" };
  const PEN = 3; // pixels
  const ONLY = { ink: ["txt", "json"] }; // formats of what is in no picture
  const WITHOUT = ["pdf"]; // what needs the picture once more
  let site, playing, taken = 0;
  let now = null; // what is shown: kind, name, file, result, lines, sound (AudioBuffer), picture, strokes

  // The server

  async function asked(path, options) {
    const answer = await fetch(path, options);
    if (answer.ok) return answer;
    const told = await answer.json().catch(() => ({}));
    throw new Error(told.error ? told.error.message : `the server answers ${answer.status}`);
  }

  function say(text, bad = false) {
    $("status").textContent = text;
    $("status").classList.toggle("error", bad);
  }

  async function guarded(work) {
    try {
      return await work();
    } catch (error) {
      say(error.message, true);
    }
  }

  async function begin() {
    site = await (await asked("v1/site")).json();
    const models = (await (await asked("v1/models")).json()).data;
    document.title = `Carousel ${site.program}`;
    for (const kind of ["speech", "ink", "image"]) {
      $(kind).hidden = !site.reads.includes(kind);
      const fit = models.filter(m => m.domain === kind || (kind === "ink" && m.domain === "image"));
      fit.sort((a, b) => (b.domain === kind) - (a.domain === kind)); // a default comes first already
      $(`${kind}-model`).replaceChildren(...fit.map(m => new Option(m.id, m.id)));
    }
    if (!navigator.mediaDevices) {
      $("record").disabled = true;
      $("record").title = "a browser gives the microphone to localhost and to https only";
    }
    listen();
    sizePad();
  }

  function form(kind, file, name) {
    const body = new FormData();
    body.append("file", file, name);
    body.append("model", $(`${kind}-model`).value);
    body.append("activations", "true");
    body.append("nbest", kind === "image" ? "1" : "5");
    if (kind === "image" && $("layout").value) body.append("layout", $("layout").value);
    return body;
  }

  async function readFile(kind, file) {
    const own = ++taken;
    stop();
    say(`Reading ${file.name} …`);
    const body = form(kind, file, file.name);
    const result = await (await asked("v1/recognise", { method: "POST", body })).json();
    const more = { sound: null, picture: null, strokes: null };
    if (kind === "speech") more.sound = await decoded(file);
    if (kind === "image") more.picture = await createImageBitmap(file).catch(() => null);
    if (kind === "ink") more.strokes = await strokesOf(file);
    if (own === taken) show({ kind, name: file.name, file, result, ...more });
  }

  async function decoded(file) {
    try {
      return await new OfflineAudioContext(1, 1, 16000).decodeAudioData(await file.arrayBuffer());
    } catch {
      return null; // the browser does not know what the server reads
    }
  }

  async function strokesOf(file) {
    try {
      const found = JSON.parse(await file.text());
      return (found.strokes || found).map(stroke => stroke.flat());
    } catch {
      return [];
    }
  }

  // The result

  function show(found) {
    now = found;
    const { result, kind } = found;
    const whole = { text: result.text, words: result.words || [] };
    now.lines = result.lines || [whole];
    if (kind === "image" && !result.lines) {
      const edge = i => Math.ceil(Math.max(1, ...whole.words.map(word => word.box ? word.box[i] : 1)));
      const [w, h] = found.picture ? [found.picture.width, found.picture.height] : [edge(2), edge(3)];
      Object.assign(result, { width: w, height: h });
      Object.assign(whole, { baseline: [[0, 0.75 * h], [w, 0.75 * h]], polygon: [[0, 0], [w, 0], [w, h], [0, h]], whole: true });
    }
    $("result").hidden = false;
    $("growing").hidden = true;
    const count = now.lines.reduce((sum, line) => sum + line.words.length, 0);
    const told = now.lines.length > 1 || result.confidence == null ? "" : `, confidence ${Math.round(100 * result.confidence)} %`;
    say([`${count} ${count === 1 ? "word" : "words"} read${told}`, ...(result.notes || [])].join("; "));
    $("kept").textContent = site.corrections ? "" : `To keep corrections for training, start the server with --corrections DIR.`;
    $("keep").hidden = !site.corrections;
    const fit = Object.keys(site.formats).filter(f => ONLY[kind] ? ONLY[kind].includes(f) : !WITHOUT.includes(f));
    const chosen = $("format").value;
    $("format").replaceChildren(...fit.map(f => new Option(f, f)));
    if (fit.includes(chosen)) $("format").value = chosen;
    showWords();
    showLines();
    const others = (result.nbest || []).slice(1);
    $("others").hidden = !others.length;
    $("nbest").replaceChildren(...others.map(r => element("li", r.text + sure(r.confidence))));
    draw();
  }

  function element(name, text, more = {}) {
    return Object.assign(document.createElement(name), { textContent: text }, more);
  }

  const sure = p => p == null ? "" : ` (${Math.round(100 * p)} %)`;

  function showWords() {
    const words = now.kind === "speech" ? now.lines[0].words : [];
    $("words").hidden = !words.length;
    $("words").replaceChildren(...words.map(word => {
      const button = element("button", word.text, { className: word.confidence < 0.6 ? "unsure" : "", disabled: !now.sound });
      const told = `${word.start.toFixed(2)} s${sure(word.confidence)}`;
      button.append(element("small", told));
      button.setAttribute("aria-label", `${word.text}, at ${told}; play`);
      button.onclick = () => play(word, button);
      return button;
    }));
  }

  function showLines() {
    $("lines").replaceChildren(...now.lines.map((line, number) => {
      const label = element("label", now.lines.length > 1 ? `${number + 1}` : "Text");
      const input = element("input", "", { type: "text", value: line.text ?? "", spellcheck: false });
      input.setAttribute("aria-label", now.lines.length > 1 ? `Line ${number + 1}` : "Text");
      if (line.confidence != null) input.title = `confidence${sure(line.confidence)}`;
      input.oninput = () => {
        line.text = input.value;
        line.words = rewritten(line.words, input.value);
        now.edited = true;
        showWords();
        draw();
      };
      input.onfocus = () => { now.focus = number; draw(); };
      label.append(input);
      return label;
    }));
  }

  // The words of a text that was corrected: those that are as before keep their places, the others share what
  // is between them.
  function rewritten(words, text) {
    const said = text.split(/\s+/).filter(Boolean);
    const same = (a, b) => a && a.text === b;
    let head = 0, tail = 0;
    while (head < said.length && same(words[head], said[head])) head++;
    while (tail < said.length - head && tail < words.length - head && same(words[words.length - 1 - tail], said[said.length - 1 - tail])) tail++;
    const gone = words.slice(head, words.length - tail), fresh = said.slice(head, said.length - tail);
    const before = words[head - 1], after = words[words.length - tail];
    const start = gone.length ? gone[0].start : before ? before.end : 0;
    const end = gone.length ? gone[gone.length - 1].end : after ? after.start : start;
    const boxes = gone.map(word => word.box).filter(Boolean);
    const box = boxes.length ? [0, 1, 2, 3].map(i => Math[i < 2 ? "min" : "max"](...boxes.map(b => b[i]))) : null;
    const part = (from, to, i) => from + (to - from) * i / fresh.length;
    const made = fresh.map((text, i) => ({
      text, confidence: 1,
      ...(start == null ? {} : { start: part(start, end, i), end: part(start, end, i + 1) }),
      ...(box ? { box: [part(box[0], box[2], i), box[1], part(box[0], box[2], i + 1), box[3]] } : {}),
    }));
    return [...words.slice(0, head), ...made, ...words.slice(words.length - tail)];
  }

  function play(word, button) {
    stop();
    const context = new AudioContext(), source = context.createBufferSource();
    source.buffer = now.sound;
    source.connect(context.destination);
    source.start(0, Math.max(0, word.start - 0.1), word.end - word.start + 0.2);
    button.classList.add("now");
    playing = () => { button.classList.remove("now"); context.close(); playing = null; };
    source.onended = () => playing && playing();
  }

  function stop() {
    if (playing) playing();
  }

  // Pictures

  function canvas(element, width, height) {
    const scale = Math.min(devicePixelRatio || 1, 16000 / width);
    element.width = Math.round(width * scale);
    element.height = Math.round(height * scale);
    element.style.width = `${width}px`;
    element.style.height = `${height}px`;
    const context = element.getContext("2d");
    context.scale(scale, scale);
    return context;
  }

  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function draw() {
    if (!now || $("result").hidden) return;
    const room = $("view").clientWidth;
    ({ speech: drawSound, image: drawPicture, ink: drawInk })[now.kind](room);
    $("seen").setAttribute("aria-label", `${ENDINGS[now.kind]}, read as: ${now.lines.map(l => l.text).join(" / ")}`);
  }

  function drawSound(room) {
    const seconds = now.result.duration, width = Math.max(room, Math.min(120 * seconds, 16000));
    const context = canvas($("seen"), width, 260), x = s => s / seconds * width;
    context.fillStyle = colour("--panel");
    for (const word of now.lines[0].words) context.fillRect(x(word.start), 0, Math.max(x(word.end) - x(word.start), 1), 260);
    if (now.sound) {
      const data = now.sound.getChannelData(0), step = Math.max(1, Math.floor(data.length / width));
      let loud = 0.01;
      for (const value of data) loud = Math.max(loud, Math.abs(value));
      context.fillStyle = colour("--faint");
      for (let i = 0; i < width; i++) {
        let top = 0;
        for (let j = Math.floor(i * data.length / width), end = j + step; j < end; j++) top = Math.max(top, Math.abs(data[j] || 0));
        context.fillRect(i, 60 - 55 * top / loud, 1, Math.max(1, 110 * top / loud));
      }
    }
    drawActivations(context, place => x(place), 148, 84);
    context.fillStyle = colour("--faint");
    context.font = "12px system-ui";
    const every = [0.5, 1, 5, 10, 60, 300].find(s => x(s) > 50) || 600;
    for (let s = 0; s < seconds; s += every) context.fillText(`${s} s`, x(s) + 2, 256);
  }

  // Lines of probability for each symbol, from top on, so high; across: x of the place of a frame, and its number.
  function drawActivations(context, across, top, height) {
    const frames = now.result.activations || [], names = new Set(frames.flatMap(([, row]) => Object.keys(row)));
    const tones = new Map([...names].filter(Boolean).sort().map((name, i) => [name, COLOURS[i % COLOURS.length]]));
    for (const name of names) {
      context.beginPath();
      context.setLineDash(name ? [] : [2, 3]);
      context.strokeStyle = tones.get(name) || colour("--faint");
      frames.forEach(([place, row], i) => context.lineTo(across(place, i), top + height * (1 - (row[name] || 0))));
      context.stroke();
    }
    context.setLineDash([]);
    context.textAlign = "center";
    context.font = "13px system-ui";
    context.fillStyle = colour("--text");
    const ends = [-Infinity, -Infinity]; // of what is written in two rows, so that no letter is over another
    for (const { name, place, i } of spikes(frames)) {
      const text = name === " " ? "␣" : name, x = across(place, i), half = context.measureText(text).width / 2 + 1;
      const row = ends.findIndex(end => x - half >= end);
      if (row < 0) continue;
      ends[row] = x + half;
      context.fillText(text, x, top - 6 - 13 * row);
    }
    context.textAlign = "start";
  }

  // Where a symbol is the most probable one: one for each run of frames.
  function spikes(frames) {
    const found = [];
    let last = "";
    frames.forEach(([place, row], i) => {
      const name = Object.keys(row).reduce((a, b) => row[a] >= row[b] ? a : b, "");
      if (name && name !== last && row[name]) found.push({ name, place, i });
      last = name;
    });
    return found;
  }

  function drawPicture(room) {
    const { picture, result } = now, single = now.lines[0] && now.lines[0].whole;
    const scale = room / result.width, height = result.height * scale, below = single ? 132 : 0;
    const context = canvas($("seen"), room, Math.min(height, 8000) + below);
    context.fillStyle = "#fff";
    context.fillRect(0, 0, room, height);
    if (picture) context.drawImage(picture, 0, 0, room, height);
    if (single) return drawActivations(context, place => place ? place[0] * scale : 0, height + 38, 84);
    now.lines.forEach((line, number) => {
      context.beginPath();
      line.polygon.forEach(([x, y]) => context.lineTo(x * scale, y * scale));
      context.closePath();
      context.lineWidth = number === now.focus ? 3 : 1;
      context.strokeStyle = number === now.focus ? "#a8201a" : COLOURS[number % COLOURS.length];
      context.stroke();
      const [x, y] = line.polygon[0];
      context.fillStyle = "#0b3d91";
      context.font = "bold 12px system-ui";
      context.fillText(number + 1, Math.max(2, x * scale - 16), y * scale + 10);
    });
  }

  function drawInk(room) {
    const strokes = now.strokes || [], xs = strokes.flatMap(s => s.filter((_, i) => i % 2 === 0)), ys = strokes.flatMap(s => s.filter((_, i) => i % 2));
    const least = (values, of) => values.reduce((a, b) => of(a, b), values[0] ?? 0);
    const left = least(xs, Math.min), top = least(ys, Math.min);
    const wide = least(xs, Math.max) - left || 1, high = least(ys, Math.max) - top || 1;
    const scale = Math.min((room - 40) / wide, 130 / high), context = canvas($("seen"), room, 320);
    const at = ([x, y]) => [20 + (x - left) * scale, 30 + (y - top) * scale];
    context.lineWidth = 2;
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = colour("--text");
    for (const stroke of strokes) pen(context, stroke, at);
    context.fillStyle = "#d62728";
    for (const { name, place } of spikes(now.result.activations || [])) {
      if (!place) continue;
      const [x, y] = at(place);
      context.beginPath();
      context.arc(x, y, 3, 0, 7);
      context.fill();
    }
    const count = Math.max((now.result.activations || []).length, 1);
    drawActivations(context, (_, i) => 10 + (room - 20) * i / count, 210, 90);
  }

  function pen(context, stroke, at) {
    context.beginPath();
    for (let i = 0; i < stroke.length; i += 2) context.lineTo(...at([stroke[i], stroke[i + 1]]));
    if (stroke.length === 2) context.lineTo(...at([stroke[0] + 0.5, stroke[1]]));
    context.stroke();
  }

  // Ink

  const ink = { strokes: [], busy: false, again: false };

  function sizePad() {
    const pad = $("pad"), context = canvas(pad, pad.clientWidth || 1, pad.clientHeight || 1);
    pad.style.width = pad.style.height = "";
    Object.assign(context, { lineWidth: PEN, lineCap: "round", lineJoin: "round", strokeStyle: colour("--text") });
    for (const stroke of ink.strokes) pen(context, stroke, point => point);
    return context;
  }

  function writeOn(pad) {
    let stroke = null, last = 0;
    const point = event => {
      const box = pad.getBoundingClientRect();
      return [Math.round(10 * (event.clientX - box.left)) / 10, Math.round(10 * (event.clientY - box.top)) / 10];
    };
    pad.onpointerdown = event => {
      if (event.button) return;
      event.preventDefault();
      pad.setPointerCapture(event.pointerId);
      ink.strokes.push(stroke = point(event));
      sizePad();
    };
    pad.onpointermove = event => {
      if (!stroke) return;
      const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
      for (const one of events.length ? events : [event]) stroke.push(...point(one));
      sizePad();
      if (event.timeStamp - last > 400) { last = event.timeStamp; guarded(readInk); }
    };
    pad.onpointerup = pad.onpointercancel = () => { if (stroke) { stroke = null; guarded(readInk); } };
  }

  // Reads all that is written, once more if more was written meanwhile.
  async function readInk() {
    if (ink.busy) { ink.again = true; return; }
    ink.busy = true;
    try {
      do {
        ink.again = false;
        const strokes = ink.strokes.map(stroke => [...stroke]), own = ++taken;
        if (!strokes.length) break;
        const body = JSON.stringify({ strokes, model: $("ink-model").value, nbest: 5, activations: true });
        const answer = await asked("v1/recognise", { method: "POST", body, headers: { "content-type": "application/json" } });
        const result = await answer.json();
        if (own === taken) show({ kind: "ink", name: "ink.json", file: null, result, strokes });
      } while (ink.again);
    } finally {
      ink.busy = false;
    }
  }

  function forget() {
    ink.strokes.length = 0;
    taken++;
    sizePad();
    $("result").hidden = true;
    say("");
  }

  // Live sound

  let recording = null;

  async function record() {
    if (recording) return recording.finish();
    stop();
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const context = new AudioContext(), blocks = [], own = ++taken;
    await context.audioWorklet.addModule("page.js");
    const address = new URL("v1/live", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    address.search = new URLSearchParams({ format: "float32", sample_rate: context.sampleRate, model: $("speech-model").value });
    const socket = new WebSocket(address), node = new AudioWorkletNode(context, "blocks");
    const open = new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = () => reject(new Error("the server takes no live sound now")); });
    const end = () => {
      stream.getTracks().forEach(track => track.stop());
      context.close();
      recording = null;
      $("record").setAttribute("aria-pressed", "false");
      $("record").textContent = "Record";
    };
    socket.onmessage = ({ data }) => {
      const told = JSON.parse(data);
      if (told.type === "partial") $("growing").textContent = told.text;
      if (told.type === "error") { end(); say(told.message, true); }
      if (told.type === "final" && own === taken) {
        const file = wav(blocks, context.sampleRate), sound = new AudioBuffer({ length: Math.max(file.samples, 1), sampleRate: context.sampleRate });
        sound.copyToChannel(file.data, 0);
        show({ kind: "speech", name: "recording.wav", file: file.blob, result: { ...told, file: "recording.wav" }, sound });
      }
    };
    try { await open; } catch (error) { end(); throw error; }
    node.port.onmessage = ({ data }) => {
      if (!recording) return;
      blocks.push(data);
      socket.send(data);
    };
    context.createMediaStreamSource(stream).connect(node);
    recording = { finish() { socket.send("end"); end(); say("Reading the whole once more …"); } };
    $("record").setAttribute("aria-pressed", "true");
    $("record").textContent = "Stop";
    $("result").hidden = false;
    $("growing").hidden = false;
    $("growing").textContent = "…";
    for (const id of ["lines", "words", "nbest"]) $(id).replaceChildren();
    say("Listening");
  }

  // A WAV file of 16 bits, and its samples.
  function wav(blocks, rate) {
    const samples = blocks.reduce((sum, block) => sum + block.length, 0), data = new Float32Array(samples);
    let at = 0;
    for (const block of blocks) { data.set(block, at); at += block.length; }
    const view = new DataView(new ArrayBuffer(44 + 2 * samples));
    const text = (offset, letters) => [...letters].forEach((c, i) => view.setUint8(offset + i, c.charCodeAt(0)));
    text(0, "RIFF"); view.setUint32(4, 36 + 2 * samples, true); text(8, "WAVEfmt ");
    view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
    view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
    text(36, "data"); view.setUint32(40, 2 * samples, true);
    data.forEach((value, i) => view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, value)) * 32767, true));
    return { blob: new Blob([view], { type: "audio/wav" }), samples, data };
  }

  // Out of the page

  function corrected() {
    const { result, lines, kind } = now, text = lines.map(line => line.text).join("\n");
    const { activations, notes, ...kept } = result;
    if (!now.edited) return kept;
    const { symbols, nbest, confidence, score, ...rest } = kept;
    return { ...rest, text, ...(kind !== "speech" && result.lines ? { lines } : { words: lines[0].words }), corrected: true };
  }

  async function download() {
    const format = $("format").value, { lines } = now;
    let blob;
    if (format === "json") blob = new Blob([JSON.stringify(corrected(), null, 1)]);
    else if (format === "txt") blob = new Blob([lines.map(line => line.text).join("\n") + "\n"]);
    else {
      const row = now.kind === "image" ? { ...now.result, lines } : { ...now.result, words: lines[0].words };
      const body = JSON.stringify({ ...row, activations: undefined, symbols: undefined, file: now.name, response_format: format });
      blob = await (await asked("v1/write", { method: "POST", body })).blob();
    }
    const link = element("a", "", { href: URL.createObjectURL(blob), download: `${now.name.replace(/\.[^.]*$/, "")}.${site.formats[format]}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  async function keep() {
    const rows = now.lines.filter(line => line.text.trim()).map(line => ({
      text: line.text,
      ...(now.kind === "ink" ? { strokes: now.strokes } : {}),
      ...(now.kind === "image" && !line.whole ? { baseline: line.baseline, polygon: line.polygon } : {}),
    }));
    const body = new FormData();
    body.append("rows", JSON.stringify({ rows }));
    if (now.file && now.kind !== "ink") body.append("file", now.file, now.name);
    const told = await (await asked("v1/corrections", { method: "POST", body })).json();
    $("kept").replaceChildren(`Kept in ${told.manifest}. To train on it: `, element("code", `${site.program} train data=${site.corrections} init=${now.result.model}`));
  }

  // Events

  function listen() {
    for (const input of document.querySelectorAll("input[type=file]")) {
      input.onchange = () => {
        const file = input.files[0];
        input.value = "";
        if (file) guarded(() => readFile(input.dataset.kind, file));
      };
    }
    for (const section of document.querySelectorAll(".input")) {
      section.ondragover = event => { event.preventDefault(); section.classList.add("over"); };
      section.ondragleave = () => section.classList.remove("over");
      section.ondrop = event => {
        event.preventDefault();
        section.classList.remove("over");
        const file = event.dataTransfer.files[0];
        if (file) guarded(() => readFile(section.id, file));
      };
    }
    $("record").onclick = () => guarded(record);
    $("download").onclick = () => guarded(download);
    $("keep").onclick = () => guarded(keep);
    $("undo").onclick = () => { ink.strokes.pop(); sizePad(); if (ink.strokes.length) guarded(readInk); else forget(); };
    $("clear").onclick = forget;
    writeOn($("pad"));
    addEventListener("resize", () => { sizePad(); draw(); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { sizePad(); draw(); });
  }

  guarded(begin);
}
