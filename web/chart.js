// Lines over time, drawn by uPlot.
import { short, clock } from "./format.js";

// A tick on the axis of time.
const moment = (t, step) => step >= 1 ? clock(t * 1000) : `${clock(t * 1000)}.${Math.floor(t * 10 % 10)}`;

export class Chart {
  constructor(place, series) {
    this.place = place;
    this.series = series; // [{label, color, fill}]
    this.marks = [];
  }

  build(c) {
    if (this.plot) this.plot.destroy();
    const axis = { stroke: c.dim, grid: { stroke: c.grid, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    this.plot = new uPlot({
      width: this.place.clientWidth, height: this.place.clientHeight,
      padding: [8, 6, 0, 0], legend: { show: false }, cursor: { show: true, y: false, drag: { x: false, y: false } },
      scales: { x: { time: true }, y: { range: (u, min, max) => [0, max > 0 ? max * 1.1 : 1] } },
      axes: [
        { ...axis, size: 26, values: (u, at, i, space, step) => at.map(t => moment(t, step)), space: 90 },
        { ...axis, size: 52, values: (u, at) => at.map(n => short(n).replace(/\.0+(?= |$)/, "")) },
      ],
      series: [{}, ...this.series.map(s => ({ label: s.label, stroke: c[s.color], width: 2, fill: s.fill ? `${c[s.color]}30` : undefined, points: { show: false } }))],
      hooks: { draw: [u => this.drawMarks(u, c)] },
    }, this.data || [[], ...this.series.map(() => [])], this.place);
  }

  // Moments at which a worker was lost.
  drawMarks(u, c) {
    const g = u.ctx;
    g.save();
    g.strokeStyle = c.dead;
    g.lineWidth = 1.5 * devicePixelRatio;
    g.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
    for (const at of this.marks) {
      const x = u.valToPos(at / 1000, "x", true);
      if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
      g.beginPath();
      g.moveTo(x, u.bbox.top);
      g.lineTo(x, u.bbox.top + u.bbox.height);
      g.stroke();
    }
    g.restore();
  }

  set(data, marks) {
    if (data[0].length < 2) { // no line yet, but a time
      const end = data[0][0] || Date.now() / 1000;
      data = data.map((_, i) => i ? [null, null] : [end - 5, end]);
    }
    this.data = data;
    this.marks = marks;
    if (this.plot) this.plot.setData(data);
  }

  resize() {
    if (this.plot) this.plot.setSize({ width: this.place.clientWidth, height: this.place.clientHeight });
  }
}
