// The two pictures on canvas: the map of all chunks, and the timeline of the workers.
import { lasting, clock, count } from "./format.js";

export function colors() {
  const style = getComputedStyle(document.documentElement), out = {};
  for (const name of ["card", "ink", "dim", "line", "grid", "done", "running", "wait", "retry", "dead", "slow", "back", "lostbg", "on", "focus"])
    out[name] = style.getPropertyValue(`--${name}`).trim();
  return out;
}

// Sharp on every screen. The context is in CSS pixels.
function fit(canvas, height) {
  const width = canvas.clientWidth, ratio = Math.min(devicePixelRatio || 1, 3);
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
  }
  const g = canvas.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, height);
  return [g, width];
}

// --- the map ---

// Rows of repeat, done, leased, ready, delayed, dead become one object a cell.
export function unpackCells(map, chunks) {
  const cells = [];
  for (let i = 0; i + 5 < map.cells.length; i += 6) {
    const [repeat, done, leased, ready, delayed, dead] = map.cells.slice(i, i + 6);
    for (let k = 0; k < repeat; k++) {
      const first = cells.length * map.per_cell, size = Math.min(map.per_cell, chunks - first);
      cells.push({ first, size, done, leased, retry: ready + delayed, dead, wait: size - done - leased - ready - delayed - dead });
    }
  }
  return cells;
}

export class ChunkMap {
  constructor(canvas) {
    this.canvas = canvas;
    this.cells = [];
    this.cursor = -1;
  }

  layout() {
    const n = Math.max(1, this.cells.length), width = this.canvas.clientWidth, tall = width < 500 ? 260 : 300;
    let side = Math.floor(Math.sqrt(width * tall / n));
    while (side > 3 && Math.ceil(n / Math.floor(width / side)) * side > tall) side--;
    this.side = Math.max(3, Math.min(side, 30));
    this.columns = Math.max(1, Math.floor(width / this.side));
    return Math.ceil(n / this.columns) * this.side;
  }

  // `running`: chunk -> label of its worker; `taken`: chunks that changed hands.
  draw(cells, running, taken, c) {
    this.cells = cells;
    const height = this.layout(), [g] = fit(this.canvas, height), side = this.side, gap = side > 5 ? (side > 12 ? 2 : 1) : 0.5;
    const marked = new Set();
    for (const chunk of taken) if (cells.length) marked.add(Math.floor(chunk / cells[0].size));
    const size = side - gap;
    cells.forEach((cell, i) => {
      const x = (i % this.columns) * side, y = Math.floor(i / this.columns) * side;
      let at = y + size;
      const stack = [[cell.done, c.done], [cell.leased, c.running], [cell.retry, c.retry], [cell.dead, c.dead]];
      g.fillStyle = c.wait;
      g.fillRect(x, y, size, size);
      for (const [part, color] of stack) {
        if (!part) continue;
        let h = part / cell.size * size;
        if (color !== c.done) h = Math.max(h, Math.min(size, 2)); // little of it, but it matters
        at = Math.max(y, at - h);
        g.fillStyle = color;
        g.fillRect(x, at, size, Math.min(h, y + size - at));
      }
      if (marked.has(i)) {
        const t = Math.max(3, size * 0.5);
        g.fillStyle = c.dead;
        g.beginPath();
        g.moveTo(x + size - t, y);
        g.lineTo(x + size, y);
        g.lineTo(x + size, y + t);
        g.fill();
      }
      if (cell.size === 1 && side >= 15 && running.has(cell.first)) {
        g.fillStyle = c.on;
        g.font = `600 ${Math.min(12, side * 0.5)}px system-ui, sans-serif`;
        g.textAlign = "center";
        g.textBaseline = "middle";
        g.fillText(running.get(cell.first), x + size / 2, y + size / 2 + 0.5);
      }
    });
    if (this.cursor >= 0 && this.cursor < cells.length) {
      g.strokeStyle = c.ink;
      g.lineWidth = 2;
      g.strokeRect((this.cursor % this.columns) * side, Math.floor(this.cursor / this.columns) * side, size, size);
    }
  }

  at(x, y) {
    const column = Math.floor(x / this.side), i = Math.floor(y / this.side) * this.columns + column;
    return column < this.columns && i < this.cells.length && y >= 0 ? i : -1;
  }

  text(i, running) {
    const cell = this.cells[i];
    if (!cell) return "";
    if (cell.size === 1) {
      const state = cell.done ? "done" : cell.leased ? `running on ${running || "a worker"}` : cell.retry ? "to be tried again" : cell.dead ? "dead letter" : "waiting";
      return `Chunk ${cell.first}: ${state}`;
    }
    const parts = [[cell.done, "done"], [cell.leased, "running"], [cell.retry, "to be tried again"], [cell.dead, "dead"], [cell.wait, "waiting"]];
    return `Chunks ${count(cell.first)} to ${count(cell.first + cell.size - 1)}: ` + parts.filter(p => p[0]).map(p => `${count(p[0])} ${p[1]}`).join(", ");
  }
}

// --- the timeline ---

const LANE = 26, AXIS = 22;

export class Lanes {
  constructor(canvas) {
    this.canvas = canvas;
    this.boxes = [];
  }

  // view: {lanes: [{name, index, lost: [[from, to]]}], spans, running, takeovers, from, to, slow_ms}
  draw(view, c) {
    const lanes = view.lanes, height = Math.max(1, lanes.length) * LANE + AXIS;
    const [g, width] = fit(this.canvas, height);
    const label = Math.min(170, Math.max(78, Math.round(width * 0.14))), right = 10;
    const x = t => label + (t - view.from) / (view.to - view.from) * (width - label - right);
    const row = new Map(lanes.map((lane, i) => [lane.index, i]));
    this.boxes = [];
    this.axis(g, view, c, x, label, width, height);
    g.font = "12px system-ui, sans-serif";
    g.textBaseline = "middle";
    if (!lanes.length) {
      g.fillStyle = c.dim;
      g.textAlign = "left";
      g.fillText("no worker yet", 2, LANE / 2);
    }
    lanes.forEach((lane, i) => {
      const y = i * LANE;
      g.fillStyle = c.line;
      g.fillRect(0, y + LANE - 1, width, 1);
      g.save();
      g.beginPath();
      g.rect(label, y, width - label - right, LANE);
      g.clip();
      for (const [from, to] of lane.lost) {
        g.fillStyle = c.lostbg;
        g.fillRect(x(from), y, Math.max(2, x(to) - x(from)), LANE - 1);
      }
      g.restore();
      g.fillStyle = lane.state === "lost" ? c.dead : lane.state === "left" ? c.dim : c.ink;
      g.textAlign = "left";
      g.fillText(this.cut(g, lane.name, label - 12), 2, y + LANE / 2);
    });
    g.save();
    g.beginPath();
    g.rect(label, 0, width - label - right + 4, height - AXIS);
    g.clip();
    for (const s of view.spans) this.bar(g, s, row, x, c, s.kind === "ran" && view.slow_ms && s.to - s.from > view.slow_ms ? "slow" : s.kind);
    for (const s of view.running) this.bar(g, { ...s, to: view.to }, row, x, c, view.slow_ms && view.to - s.from > view.slow_ms ? "slow" : "running");
    for (const lane of lanes)
      for (const [from] of lane.lost) this.cross(g, x(from), row.get(lane.index) * LANE + LANE / 2, c);
    for (const t of view.takeovers.slice(-40)) this.arrow(g, t, row, x, c);
    g.restore();
  }

  cut(g, text, room) {
    if (g.measureText(text).width <= room) return text;
    while (text.length > 3 && g.measureText("…" + text).width > room) text = text.slice(1);
    return "…" + text;
  }

  axis(g, view, c, x, label, width, height) {
    const seconds = (view.to - view.from) / 1000, places = Math.max(2, (width - label) / 110);
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400].find(s => seconds / s <= places) || 86400;
    g.font = "11px system-ui, sans-serif";
    g.textAlign = "center";
    g.textBaseline = "middle";
    for (let t = Math.ceil(view.from / 1000 / step) * step; t * 1000 <= view.to; t += step) {
      const at = x(t * 1000);
      g.fillStyle = c.grid;
      g.fillRect(at, 0, 1, height - AXIS);
      g.fillStyle = c.dim;
      const text = step < 1 ? `${clock(t * 1000)}.${Math.round(t * 10 % 10)}` : clock(t * 1000);
      if (at > label + 24 && at < width - 28) g.fillText(text, at, height - AXIS / 2);
    }
  }

  bar(g, s, row, x, c, kind) {
    const i = row.get(s.worker);
    if (i === undefined) return;
    const from = x(s.from), to = Math.max(x(s.to), from + 1.5), y = i * LANE + 5, h = LANE - 11;
    if (to < 0 || from > this.canvas.clientWidth) return;
    const color = { ran: c.done, running: c.running, slow: c.slow, failed: c.retry, taken_away: c.dead, given_back: c.back }[kind];
    const w = to - from > 3 ? to - from - 1 : to - from;
    g.fillStyle = color;
    g.globalAlpha = kind === "ran" && s.attempt > 1 ? 0.75 : 1;
    g.fillRect(from, y, w, h);
    g.globalAlpha = 1;
    if (s.attempt > 1 && w > 4) { // not the first attempt
      g.fillStyle = c.dead;
      g.fillRect(from, y, 3, h);
    }
    if (w > 30) {
      g.fillStyle = c.on;
      g.font = "10px system-ui, sans-serif";
      g.textAlign = "left";
      const text = String(s.chunk);
      if (g.measureText(text).width < w - 8) g.fillText(text, Math.max(from, 0) + 6, y + h / 2 + 0.5);
    }
    this.boxes.push({ from: from - 1, to: to + 1, y: i * LANE, s, kind });
  }

  cross(g, x, y, c) {
    g.strokeStyle = c.card;
    g.lineWidth = 5;
    for (let pass = 0; pass < 2; pass++) {
      g.beginPath();
      g.moveTo(x - 5, y - 5);
      g.lineTo(x + 5, y + 5);
      g.moveTo(x + 5, y - 5);
      g.lineTo(x - 5, y + 5);
      g.stroke();
      g.strokeStyle = c.dead;
      g.lineWidth = 2.5;
    }
  }

  arrow(g, t, row, x, c) {
    const a = row.get(t.from), b = row.get(t.to);
    if (a === undefined || b === undefined) return;
    const x0 = x(t.lost), y0 = a * LANE + LANE / 2, x1 = x(t.at), y1 = b * LANE + (b > a ? 5 : LANE - 6);
    const bend = Math.max(12, Math.abs(x1 - x0));
    g.strokeStyle = c.ink;
    g.lineWidth = 1.5;
    g.setLineDash([4, 3]);
    g.beginPath();
    g.moveTo(x0, y0);
    if (a === b) g.quadraticCurveTo((x0 + x1) / 2, y0 - LANE, x1, y1);
    else g.bezierCurveTo(x0 + bend / 2, (y0 + y1) / 2, x1, (y0 + y1) / 2, x1, y1);
    g.stroke();
    g.setLineDash([]);
    const d = b > a || a === b ? -1 : 1;
    g.fillStyle = c.ink;
    g.beginPath();
    g.moveTo(x1, y1);
    g.lineTo(x1 - 4, y1 + 7 * d);
    g.lineTo(x1 + 4, y1 + 7 * d);
    g.fill();
  }

  at(x, y) {
    for (let i = this.boxes.length; i-- > 0;) {
      const b = this.boxes[i];
      if (x >= b.from && x <= b.to && y >= b.y && y < b.y + LANE) return b;
    }
    return null;
  }

  text(b, name) {
    const what = { ran: "done", running: "running", slow: "far slower than others", failed: "failed", taken_away: "lost with its worker", given_back: "given back" }[b.kind];
    return `Chunk ${b.s.chunk} on ${name}: ${what}\n${b.s.attempt > 1 ? `attempt ${b.s.attempt}, ` : ""}${lasting(b.s.to - b.s.from)} from ${clock(b.s.from)}`;
  }
}
