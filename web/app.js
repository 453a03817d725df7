// The dashboard: keeps what the stream says, and shows it.
import { count, short, lasting, clock, stamp, sentence } from "./format.js";
import { Chart } from "./chart.js";
import { ChunkMap, Lanes, colors, unpackCells } from "./draw.js";
import { Stream } from "./stream.js";

const $ = id => document.getElementById(id);
const POINTS_MAX = 1200, SPANS_MAX = 6000, EVENTS_MAX = 600, EVENTS_SHOWN = 100;

const all = { state: null, points: [], spans: [], events: [], received: 0 };
// The job in the address; without one, on RabbitMQ, the one that the monitor sent us on to.
let wanted = new URLSearchParams(location.search).get("job") || "", followed = "", token = "", palette = colors();
let linked = false, saidAt = -1e9, cells = [];
const toSay = [], SAY_EVERY = 3000;

// --- what the stream says ---

function take(s) {
  if (s.full) {
    all.points = [];
    all.spans = [];
    all.events = [];
  }
  all.points.push(...s.points);
  all.spans.push(...s.spans.map(([worker, chunk, attempt, from, to, kind]) => ({ worker, chunk, attempt, from, to, kind })));
  all.events.push(...s.events);
  while (all.points.length > POINTS_MAX) all.points = all.points.filter((p, i) => i % 2 === 0);
  all.spans.splice(0, all.spans.length - SPANS_MAX);
  all.events.splice(0, all.events.length - EVENTS_MAX);
  const before = all.state;
  all.state = s;
  all.received = performance.now();
  announce(before, s);
  show();
  follow(s);
}

// On RabbitMQ a stream is about one job: without a name it says where else there is something to see.
function follow(s) {
  const ended = s.job && s.job.state !== "running" && s.job.state !== "paused";
  if (wanted) return;
  if (s.elsewhere) followed = s.elsewhere;
  else if (followed && ended && s.jobs.some(j => j.job !== followed && j.workers > 0)) followed = "";
  else return;
  stream.open(followed, token);
}

function openStream() {
  stream.open(wanted || followed, token);
}

// The queue's clock, also between two messages.
function now() {
  const s = all.state;
  if (!s) return 0;
  const moves = linked && s.connected && s.job && s.job.state !== "finished" && s.job.state !== "canceled";
  return s.now_ms + (moves ? Math.min(2000, performance.now() - all.received) : 0);
}

// For those who listen: what matters, and not too often.
function announce(before, s) {
  const news = s.events.filter(e => ["worker.lost", "chunk.dead", "job.finished", "job.paused", "job.resumed"].includes(e.event));
  if (!before || s.full || !news.length) return;
  const waits = toSay.length > 0;
  toSay.push(...news.map(e => sentence(e)[0]));
  if (!waits) setTimeout(say, Math.max(0, saidAt + SAY_EVERY - performance.now()));
}

function say() {
  const texts = toSay.splice(0), more = texts.length - 3;
  saidAt = performance.now();
  $("live").textContent = texts.slice(-3).join(". ") + (more > 0 ? `. And ${more} more.` : "");
}

// --- small helpers ---

function element(tag, props = {}, ...children) {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...children);
  return e;
}

function setText(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

let noteTimer;
function note(text) {
  $("note").textContent = text;
  $("note").hidden = false;
  clearTimeout(noteTimer);
  noteTimer = setTimeout(() => { $("note").hidden = true; }, 6000);
}

// --- showing ---

function showJobs(s) {
  const select = $("jobs"), chosen = wanted || "", key = JSON.stringify([chosen, s.job?.job, !!s.broker, s.jobs.map(j => [j.job, jobState(s, j)])]);
  if (select.dataset.key === key || document.activeElement === select) return;
  select.dataset.key = key;
  select.replaceChildren(element("option", { value: "", textContent: s.job && !chosen ? `${s.job.job}${s.broker ? "" : " (newest)"}` : s.broker ? "choose a job" : "newest job" }),
    ...[...s.jobs].reverse().map(j => element("option", { value: j.job, textContent: `${j.job}, ${jobState(s, j)}` })));
  if (chosen && !s.jobs.some(j => j.job === chosen)) select.append(element("option", { value: chosen, textContent: chosen }));
  select.value = chosen;
}

// A broker says of other jobs only how many workers they have.
function jobState(s, j) {
  if (j.state) return j.state;
  if (s.job && s.job.job === j.job) return s.job.state;
  return j.workers ? `${count(j.workers)} worker${j.workers > 1 ? "s" : ""}` : "no workers";
}

// Why there is nothing to see, and what to do about it.
function showEmpty(s) {
  const named = wanted || (s.broker && s.asked !== "default" ? s.asked : ""), others = s.jobs.filter(j => j.job !== s.asked);
  const coming = s.jobs.length > others.length, blind = s.broker && s.broker.by === "declare" ? s.broker.why : "";
  setText($("h-empty"), coming ? `Looking at ${s.asked}` : named ? `There is no job ${named}` : others.length || blind ? "Which job?" : "No job yet");
  $("howto").hidden = coming || ((others.length > 0 || blind) && !named);
  setText($("submit"), `ttg submit ${named || "NAME"} --queue URL --params 1000 --chunk 10 -- COMMAND {start} {end}\nttg worker --queue URL --job ${named || "NAME"} -- COMMAND {start} {end}`);
  setText($("howto").firstElementChild, named ? "It appears here as soon as somebody submits it to this queue:" : "It appears here as soon as somebody submits one to this queue:");
  $("others").hidden = coming || !others.length;
  setText($("h-others"), named ? "Jobs that are here:" : "Jobs of this queue:");
  const key = JSON.stringify(others.map(j => [j.job, jobState(s, j)]));
  if ($("joblist").dataset.key !== key) {
    $("joblist").dataset.key = key;
    $("joblist").replaceChildren(...others.map(j => element("li", {}, element("a", { href: `?job=${encodeURIComponent(j.job)}`, textContent: j.job }), ` ${jobState(s, j)}`)));
  }
  $("blind").hidden = !blind;
  setText($("why"), blind);
}

function tile(label, value, kind) {
  return { label, value, kind: kind || "" };
}

function showHero(j) {
  const part = n => (j.chunks ? 100 * n / j.chunks : 0), dead = j.dead_letters + j.dropped;
  const percent = j.chunks ? 100 * j.completed / j.chunks : 100;
  setText($("percent"), `${percent >= 99.95 && j.completed < j.chunks ? "99.9" : percent.toFixed(percent < 99.95 ? 1 : 0)} %`);
  const took = (j.finished_ms || now()) - (j.started_ms || j.created_ms);
  let eta = `${lasting(Math.max(0, took))} so far`;
  if (j.state === "finished") eta = `took ${lasting(took)}`;
  else if (j.eta_ms) eta += `, about ${lasting(j.eta_ms)} to go`;
  setText($("eta"), `${count(j.completed)} of ${count(j.chunks)} chunks, ${eta}`);
  const bar = $("bar").children, width = n => `${n && part(n) < 0.4 ? 0.4 : part(n)}%`;
  bar[0].style.width = width(j.completed);
  bar[1].style.width = width(j.leased);
  bar[2].style.width = width(j.ready + j.delayed);
  bar[3].style.width = width(dead);
  $("bar").setAttribute("aria-valuenow", percent.toFixed(0));
  // Of an ended job the mean over all its time, as nothing happens any more.
  const ended = j.state === "finished" && took > 0, mean = n => 1000 * n / took;
  const tiles = [
    tile("chunks a second", short(ended ? mean(j.completed) : j.rate)), tile("params a second", short(ended ? mean(j.params) : j.params_rate)),
    tile("with workers", count(j.leased)), tile("waiting", count(j.fresh + j.unfed + j.ready)),
    tile("workers", count(j.workers)), tile("workers lost", count(j.workers_lost), j.workers_lost && "bad"),
    tile("taken over", count(j.reclaimed), j.reclaimed && "warn"), tile("failed attempts", count(j.failures), j.failures && "warn"),
    tile("dead letters", count(dead), dead && "bad"), tile("chunk takes", j.took_p50_us ? lasting(j.took_p50_us / 1000) : "…"),
  ];
  const list = $("tiles");
  while (list.children.length < tiles.length) list.append(element("div", {}, element("dt"), element("dd")));
  tiles.forEach((t, i) => {
    const box = list.children[i];
    box.className = t.kind || "";
    setText(box.children[0], t.label);
    setText(box.children[1], String(t.value));
  });
}

// Losses with who took what over: the story of a kill.
function takeoversOf(events) {
  return events.filter(e => e.event === "chunk.reclaimed").map(e => ({ chunk: e.chunk, from: e.from, to: e.to, at: e.at_ms, lost: e.at_ms - e.value, ms: e.value }));
}

// On RabbitMQ nobody sees whose a chunk was and when it began anew: its result tells who has it.
function tookOver(t) {
  if (!t.from) return [" took it over"];
  return [t.from === t.to ? " came back and took it over after " : " took it over after ", element("b", { textContent: lasting(t.ms) })];
}

function showTakeovers(list) {
  const box = $("takeover"), recent = list.slice(-4).reverse();
  box.hidden = !recent.length;
  const key = recent.map(t => `${t.chunk} ${t.at}`).join();
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  $("takeovers").replaceChildren(...recent.map(t => element("li", {},
    element("time", { textContent: `${clock(t.lost)}  `, className: "dim" }),
    element("b", { className: "lost", textContent: `✕ ${t.from || "a worker"}` }), ` was lost with chunk ${t.chunk}; `,
    element("b", { className: "to", textContent: t.to || "another" }), ...tookOver(t))));
  if (list.length > 4) $("takeovers").append(element("li", { className: "dim", textContent: `and ${count(list.length - 4)} before` }));
}

const STATES = { busy: "busy", idle: "idle", straggling: "straggling", left: "left", lost: "lost" };

function showWorkers(s) {
  const body = $("workers").tBodies[0], order = { lost: 0, straggling: 1, busy: 1, idle: 1, left: 2 };
  const rows = s.workers.map((w, index) => ({ ...w, index })).filter(w => w.joined_ms || w.gone_ms)
    .sort((a, b) => (order[a.state] === 2) - (order[b.state] === 2) || a.worker.localeCompare(b.worker, "en", { numeric: true })).slice(0, 200);
  const moved = new Map(takeoversOf(all.events).map(t => [t.from, t])); // the newest of each
  setText($("workercount"), `${s.job.workers} here, ${s.job.workers_lost} lost`);
  while (body.rows.length > rows.length) body.deleteRow(-1);
  while (body.rows.length < rows.length) {
    const row = body.insertRow();
    for (const kind of ["dot", "", "", "", "num wide-only", "num", "num opt", "num opt", "opt"]) row.insertCell().className = kind;
  }
  rows.forEach((w, i) => {
    const row = body.rows[i], cell = row.cells, t = now();
    row.className = w.state;
    setText(cell[0], w.worker || "plain client");
    cell[0].title = cell[0].textContent; // it may be cut on a phone
    let state = STATES[w.state];
    if (w.state === "lost") state = `lost ${lasting(Math.max(0, t - w.gone_ms))} ago`;
    else if (w.lost_at_ms && t - w.lost_at_ms < 30000) state += ` (was lost ${lasting(t - w.lost_at_ms)} ago)`;
    setText(cell[1], state);
    setText(cell[2], w.running ? `${w.chunk}${w.attempt > 1 ? ` (attempt ${w.attempt})` : ""}${w.running > 1 ? ` and ${w.running - 1} more` : ""}` : "");
    const takeover = w.state === "lost" && moved.get(w.worker);
    if (takeover) setText(cell[2], `${takeover.chunk} → ${takeover.to || "another"}`);
    if (!w.running && w.unacked) setText(cell[2], `${count(w.unacked)} given out to it`);
    setText(cell[3], w.running ? lasting(w.age_ms) : "");
    setText(cell[4], w.rate ? `${short(w.rate)}/s` : "");
    setText(cell[5], count(w.completed));
    setText(cell[6], w.failed ? count(w.failed) : "");
    setText(cell[7], w.lost ? count(w.lost) : "");
    setText(cell[8], w.host || "");
  });
}

function showEvents() {
  const list = $("events"), newest = all.events.slice(-EVENTS_SHOWN).reverse(), key = newest.length ? `${newest[0].seq} ${newest.length}` : "";
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...newest.map(e => {
    const [text, kind] = sentence(e);
    return element("li", { className: kind }, element("time", { textContent: stamp(e.at_ms) }), text.trim());
  }));
}

function showDead(s) {
  const list = $("dead"), key = JSON.stringify(s.dead);
  $("nodead").hidden = s.job.dead_letters > 0; // the letters themselves may come a moment later
  $("redrive-all").hidden = s.dead.length === 0;
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...s.dead.map(d => {
    const button = element("button", { type: "button", textContent: "Redrive" });
    button.setAttribute("aria-label", `Redrive chunk ${d.chunk}`);
    button.addEventListener("click", () => act("redrive", d.chunk));
    return element("li", {}, element("span", {}, element("b", { className: "bad", textContent: `chunk ${d.chunk}` }),
      ` given up after ${d.attempts} attempt${d.attempts === 1 ? "" : "s"}${d.worker ? ` by ${d.worker}` : ""}, `, element("time", { textContent: stamp(d.dead_ms) })),
      button, element("pre", { textContent: d.reason }));
  }));
  if (s.dead.length && s.job.dead_letters > s.dead.length) list.append(element("li", { className: "dim", textContent: `and ${count(s.job.dead_letters - s.dead.length)} more` }));
}

// What a RabbitMQ broker says of its own.
function showBroker(b) {
  $("broker").hidden = !b;
  if (!b) return;
  const full = b.by === "management", body = $("queues").tBodies[0];
  setText($("brokernote"), full ? `${b.version}, ${b.nodes ? `${b.nodes_running} of ${b.nodes} node${b.nodes > 1 ? "s" : ""}, ` : ""}${b.alarms ? "alarm" : "no alarm"}`
    : `counted by passive declares; the management API does not answer: ${b.why}`);
  $("alarms").hidden = !b.alarms;
  setText($("alarms"), `The broker takes no messages: ${b.alarms}`);
  while (body.rows.length > b.queues.length) body.deleteRow(-1);
  while (body.rows.length < b.queues.length) {
    const row = body.insertRow();
    for (const kind of ["", "num", "num", "num", "num opt", "num opt"]) row.insertCell().className = kind;
  }
  b.queues.forEach((q, i) => {
    const texts = [q.queue, count(q.ready), full ? count(q.unacked) : "", count(q.consumers), full ? short(q.in_rate) : "", full ? short(q.out_rate) : ""];
    texts.forEach((text, k) => setText(body.rows[i].cells[k], text));
  });
}

function showAbout(j) {
  const rows = [["Kernel", j.kernel || "not said"], ["Parameters", `${count(j.params_total)} from ${j.first_param}, ${count(j.chunk_params)} a chunk`],
    ["Attempts", `${count(j.attempts)} started, at most ${j.max_attempts} a chunk`], ["A chunk takes", j.took_p50_us ? `${lasting(j.took_p50_us / 1000)}; 95 of 100 less than ${lasting(j.took_p95_us / 1000)}` : "not known yet"],
    ["Late results dropped", count(j.stale_dropped)], ["Created", stamp(j.created_ms)]];
  if (j.sum !== undefined) rows.push(["Sum", j.sum]);
  if (j.input) rows.push(["Input", j.input]);
  const list = $("about");
  if (list.children.length !== rows.length * 2) list.replaceChildren(...rows.flatMap(() => [element("dt"), element("dd")]));
  rows.forEach(([name, value], i) => {
    setText(list.children[2 * i], name);
    setText(list.children[2 * i + 1], value);
  });
}

function show() {
  const s = all.state, j = s.job;
  showJobs(s);
  $("empty").hidden = !!j;
  if (!j) showEmpty(s);
  $("view").hidden = !j;
  $("state").hidden = !j;
  $("idle").hidden = !j || j.state !== "running" || j.workers > 0 || j.completed === j.chunks;
  $("pause").hidden = !j || (j.state !== "running" && j.state !== "paused");
  showLink();
  document.title = j ? `${Math.floor(j.chunks ? 100 * j.completed / j.chunks : 100)} % ${j.job}: ttg` : "ttg";
  if (!j) return;
  $("state").className = `pill ${j.state === "finished" && j.dead_letters + j.dropped ? "bad" : j.state}`;
  setText($("state"), j.state === "finished" && j.dead_letters + j.dropped ? "not complete" : j.state);
  setText($("pause"), j.state === "paused" ? "Resume" : "Pause");
  showHero(j);
  showTakeovers(takeoversOf(all.events));
  showWorkers(s);
  showEvents();
  showDead(s);
  showAbout(j);
  showBroker(s.broker);
  cells = unpackCells(s.map, j.chunks);
  setText($("percell"), s.map.per_cell > 1 ? `${count(s.map.per_cell)} chunks a square` : "one square a chunk");
  paint();
  chartRate.set([all.points.map(p => p[0] / 1000), all.points.map(p => p[10])], losses());
  chartDone.set([all.points.map(p => p[0] / 1000), all.points.map(p => p[1]), all.points.map(p => p[6])], losses());
}

function losses() {
  return all.events.filter(e => e.event === "worker.lost").map(e => e.at_ms);
}

function showLink(why) {
  const link = $("link"), s = all.state, up = linked && s && s.connected;
  link.className = `link ${up ? "up" : "down"}`;
  if (up) setText(link, "live");
  else if (why === "token") setText(link, "a token is needed");
  else setText(link, "reconnecting");
  const reason = linked && s ? `the queue is away${s.link ? ` (${s.link})` : ""}` : why;
  $("away").hidden = up || why === "token" || (!s && !why);
  document.body.classList.toggle("old", !$("away").hidden);
  if (!$("away").hidden && (linked || why)) setText($("away"), `Not live: ${reason}. ${s && s.now_ms ? `What you see is from ${clock(s.now_ms)}; the` : "The"} page goes on by itself.`);
}

// --- pictures ---

const map = new ChunkMap($("map")), lanes = new Lanes($("lanes"));
const chartRate = new Chart($("rate"), [{ label: "chunks a second", color: "running", fill: true }]);
const chartDone = new Chart($("done"), [{ label: "done", color: "done", fill: true }, { label: "dead", color: "dead" }]);

// "worker-3" is shown as 3 in the map.
function tag(name) {
  const number = name.match(/(\d+)$/);
  return number ? number[1].slice(-2) : name.slice(-1);
}

function workerName(index) {
  const w = all.state.workers[index];
  return w ? w.worker || "plain client" : "?";
}

function runningNames(short) {
  return new Map(all.state.running.map(([worker, chunk]) => [chunk, short ? tag(workerName(worker)) : workerName(worker)]));
}

function laneList(from, to) {
  const s = all.state, shown = new Set(s.running.map(r => r[0]));
  for (const span of all.spans) if (span.to >= from && span.from <= to) shown.add(span.worker);
  s.workers.forEach((w, i) => { if (w.state !== "left" && w.state !== "lost" || w.gone_ms >= from) shown.add(i); });
  const out = [...shown].filter(i => s.workers[i]).map(index => ({ index, name: workerName(index), state: s.workers[index].state, lost: [] }));
  const byName = new Map(out.map(lane => [lane.name, lane]));
  for (const e of all.events) {
    const lane = byName.get(e.from);
    if (lane && e.event === "worker.lost") lane.lost.push([e.at_ms, to]);
    if (lane && e.event === "worker.joined" && lane.lost.length) lane.lost[lane.lost.length - 1][1] = Math.min(e.at_ms, lane.lost[lane.lost.length - 1][1]);
  }
  return out.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true })).slice(0, 256);
}

function timelineView() {
  const s = all.state, j = s.job, to = j.finished_ms || now(), began = j.started_ms || j.created_ms, choice = Number($("span").value);
  let seconds = choice;
  if (choice === 0) seconds = Math.min(90, Math.max(5, (to - began) / 1000 * 1.02));
  const oldest = all.spans.length ? Math.min(...all.spans.map(x => x.from)) : began;
  const from = choice < 0 ? Math.max(began, oldest) - 100 : to - seconds * 1000;
  const list = laneList(from, to), index = new Map(list.map(lane => [lane.name, lane.index]));
  return {
    lanes: list, from, to: to + (to - from) * 0.01, slow_ms: j.took_p95_us ? Math.max(2000, 4 * j.took_p95_us / 1000) : 0,
    spans: all.spans.filter(x => x.to >= from), running: s.running.map(([worker, chunk, attempt, start]) => ({ worker, chunk, attempt, from: start })),
    takeovers: takeoversOf(all.events).filter(t => t.at >= from).map(t => ({ ...t, from: index.get(t.from), to: index.get(t.to) })),
  };
}

let painted = 0;
function paint() {
  const s = all.state;
  if (!s || !s.job || document.hidden) return;
  painted = performance.now();
  const changed = new Set(takeoversOf(all.events).map(t => t.chunk));
  map.draw(cells, runningNames(true), changed, palette);
  lanes.draw(timelineView(), palette);
  const busy = s.workers.filter(w => w.running).length;
  $("lanes").setAttribute("aria-label", `Timeline of ${s.workers.length} workers, ${busy} at work; the table of workers says the same`);
  $("map").setAttribute("aria-label", `Map of ${count(s.job.chunks)} chunks: ${count(s.job.completed)} done, ${count(s.job.leased)} running, ${count(s.job.dead_letters)} dead`);
}

// The timeline moves between messages, unless people prefer rest.
const still = matchMedia("(prefers-reduced-motion: reduce)");
function frame() {
  if (!still.matches && linked && all.state?.job?.state === "running" && performance.now() - painted > 100) lanesOnly();
  requestAnimationFrame(frame);
}
function lanesOnly() {
  painted = performance.now();
  if (!document.hidden) lanes.draw(timelineView(), palette);
}

function recolor() {
  palette = colors();
  chartRate.build(palette);
  chartDone.build(palette);
  paint();
}

// --- pointing ---

function tip(event, text) {
  const box = $("tip");
  box.hidden = !text;
  if (!text) return;
  box.textContent = text;
  box.style.left = `${Math.min(event.clientX + 12, innerWidth - box.offsetWidth - 8)}px`;
  box.style.top = `${Math.min(event.clientY + 14, innerHeight - box.offsetHeight - 8)}px`;
}

function within(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

$("lanes").addEventListener("pointermove", event => {
  const b = lanes.at(...within($("lanes"), event));
  tip(event, b ? lanes.text(b, workerName(b.s.worker)) : "");
});
$("map").addEventListener("pointermove", event => {
  const i = map.at(...within($("map"), event)), cell = map.cells[i];
  tip(event, cell ? map.text(i, runningNames(false).get(cell.first)) : "");
});
for (const id of ["lanes", "map"]) $(id).addEventListener("pointerleave", event => tip(event, ""));

async function explain(i) {
  const cell = map.cells[i];
  if (!cell) return;
  const text = map.text(i, runningNames(false).get(cell.first));
  $("cell").textContent = text;
  if (cell.size > 1) return;
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  try {
    const answer = await fetch(`/explain?job=${encodeURIComponent(all.state.job.job)}&chunk=${cell.first}`, { headers });
    const e = await answer.json();
    $("cell").textContent = e.ok ? `Chunk ${cell.first}, ${e.place}: ${e.why}${e.worker ? ` (${e.worker})` : ""}${e.attempts ? `; attempts ${e.attempts}` : ""}${e.reason ? `; last failure: ${e.reason}` : ""}` : `${text}: ${e.error}`;
  } catch (error) {
    $("cell").textContent = text;
  }
}

$("map").addEventListener("click", event => {
  map.cursor = map.at(...within($("map"), event));
  paint();
  explain(map.cursor);
});
$("map").addEventListener("keydown", event => {
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -map.columns, ArrowDown: map.columns }[event.key];
  if (event.key === "Enter") return explain(map.cursor);
  if (!step) return;
  event.preventDefault();
  map.cursor = Math.max(0, Math.min(map.cells.length - 1, map.cursor < 0 ? 0 : map.cursor + step));
  $("cell").textContent = map.text(map.cursor, runningNames(false).get(map.cells[map.cursor].first));
  paint();
});

// --- actions ---

async function act(action, chunk) {
  if (!token && !await askToken()) return;
  const body = { action, job: all.state.job.job };
  if (chunk !== undefined) body.chunk = chunk;
  try {
    const answer = await fetch("/action", { method: "POST", body: JSON.stringify(body),
      headers: { "Content-Type": "application/json", "X-TTG": "1", Authorization: `Bearer ${token}` } });
    if (answer.status === 401 || answer.status === 403) {
      forgetToken();
      note(answer.status === 401 ? "That token is not the right one." : (await answer.text()).trim());
      return;
    }
    const result = answer.ok || answer.status === 409 ? await answer.json() : { ok: false, error: await answer.text() };
    note(!result.ok ? `It did not work: ${result.error}` : action === "redrive" ? `${count(result.redriven)} chunk${result.redriven === 1 ? "" : "s"} will be tried again.` : `The job ${action === "pause" ? "is paused" : "goes on"}.`);
  } catch (error) {
    note("The dashboard cannot be reached.");
  }
}

function keepToken(value) {
  token = value;
  sessionStorage.setItem("ttg-token", value);
  if (!linked) openStream();
}
function forgetToken() {
  token = "";
  sessionStorage.removeItem("ttg-token");
}

function askToken() {
  return new Promise(done => {
    const box = $("ask");
    box.returnValue = "";
    $("token").value = "";
    box.addEventListener("close", () => {
      const value = $("token").value.trim();
      if (box.returnValue === "cancel" || !value) return done(false);
      keepToken(value);
      done(true);
    }, { once: true });
    box.showModal();
    $("token").focus();
  });
}
$("token").addEventListener("keydown", event => {
  if (event.key !== "Enter") return; // the first button of a form would be taken, which cancels
  event.preventDefault();
  $("ask").close("ok");
});

$("redrive-all").addEventListener("click", () => act("redrive"));
$("pause").addEventListener("click", () => act(all.state.job.state === "paused" ? "resume" : "pause"));
$("key").addEventListener("click", askToken);
$("help").addEventListener("click", () => $("keys").showModal());
$("span").addEventListener("change", paint);
$("jobs").addEventListener("change", event => {
  go(event.target.value);
  event.target.blur();
});
$("goto").addEventListener("submit", event => {
  event.preventDefault();
  go($("name").value.trim());
});
$("joblist").addEventListener("click", event => {
  if (event.target.tagName !== "A" || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(new URLSearchParams(event.target.search).get("job"));
});
function go(job) {
  wanted = job;
  followed = "";
  history.replaceState(null, "", job ? `?job=${encodeURIComponent(job)}` : location.pathname);
  openStream();
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("ttg-theme", theme);
  recolor();
}
$("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  setTheme(dark ? "light" : "dark");
});

function otherSpan(step) {
  const select = $("span");
  select.selectedIndex = Math.max(0, Math.min(select.options.length - 1, select.selectedIndex + step));
  paint();
}
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
  const keys = { t: () => $("theme").click(), j: () => $("jobs").focus(), k: askToken, "?": () => $("help").click(), "+": () => otherSpan(-1), "-": () => otherSpan(1),
    p: () => !$("pause").hidden && $("pause").click(), r: () => !$("redrive-all").hidden && $("redrive-all").click() };
  const run = keys[event.key];
  if (!run) return;
  event.preventDefault();
  run();
});

// --- start ---

const stream = new Stream(take, (up, why) => {
  linked = up;
  showLink(why);
  if (why === "token") forgetToken();
  if (why === "token" && !document.querySelector("dialog[open]")) askToken();
});

const fragment = new URLSearchParams(location.hash.slice(1)).get("token");
if (fragment) { // out of the address, out of the history
  sessionStorage.setItem("ttg-token", fragment);
  history.replaceState(null, "", location.pathname + location.search);
}
token = sessionStorage.getItem("ttg-token") || "";
const theme = localStorage.getItem("ttg-theme");
if (theme) document.documentElement.dataset.theme = theme;
recolor();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolor);
new ResizeObserver(() => {
  chartRate.resize();
  chartDone.resize();
  paint();
}).observe($("main"));
document.addEventListener("visibilitychange", paint);
openStream();
requestAnimationFrame(frame);
