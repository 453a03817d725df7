// Numbers, times and events as people read them.
export const count = n => n >= 1e5 ? short(n) : Math.round(n).toLocaleString("en");

export function short(n) {
  for (const [size, unit] of [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"]])
    if (n >= size) return (n / size).toPrecision(3) + unit;
  return n >= 100 || n === 0 ? Math.round(n).toString() : n.toPrecision(n < 10 ? 2 : 3);
}

export function lasting(ms) {
  if (ms <= 0) return "0 s";
  if (ms < 1) return `${Math.max(1, Math.round(ms * 1000))} µs`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10e3) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 90e3) return `${Math.round(ms / 1000)} s`;
  const minutes = Math.round(ms / 60e3);
  if (minutes < 90) return `${minutes} min`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.round(minutes / 1440)} days`;
}

export const clock = ms => new Date(ms).toLocaleTimeString("en-GB");

export function stamp(ms) {
  const d = new Date(ms), day = d.toLocaleDateString("en-CA");
  return day === new Date().toLocaleDateString("en-CA") ? clock(ms) : `${day} ${clock(ms)}`;
}

const who = name => name || "a plain client";

// What happened, in a sentence, and how grave it is.
export function sentence(e) {
  const n = e.value, chunk = `chunk ${e.chunk}`;
  switch (e.event) {
    case "job.created": return ["the job was created", ""];
    case "job.paused": return ["the job was paused", "warn"];
    case "job.resumed": return ["the job goes on", ""];
    case "job.canceled": return ["the job was canceled", "bad"];
    case "job.finished": return [n ? `the job ended with ${n} dead letter${n > 1 ? "s" : ""}` : "the job is finished: every chunk has its result", n ? "bad" : "good"];
    case "worker.joined": return [`${who(e.from)} joined${n > 1 ? ` with ${n} slots` : ""}`, ""];
    case "worker.left": return [`${who(e.from)} left`, ""];
    case "worker.lost": return [`${who(e.from)} was lost${e.text ? ` (${e.text})` : ""}; ${n === 1 ? "its chunk goes" : `${n} chunks go`} to others`, "bad"];
    case "lease.expired": return [`${chunk}: the lease of ${who(e.from)} ran out`, "warn"];
    case "chunk.reclaimed": return !e.from && e.to ? [`${chunk} was taken over by ${e.to}`, "good"] : [`${chunk} moved from ${who(e.from)} to ${who(e.to)} after ${lasting(n)}`, "good"];
    case "chunk.stolen": return [`${chunk} moved from ${who(e.from)}, who had not begun it, to ${who(e.to)}`, ""];
    case "chunk.failed": return [`${chunk} failed on ${who(e.from)}${n ? `; next try in ${lasting(n)}` : ""}: ${e.text}`, "warn"];
    case "chunk.dead": return [`${chunk} was given up after ${n} attempt${n === 1 ? "" : "s"}: ${e.text}`, "bad"];
    case "chunk.redriven": return [`${chunk} gets fresh attempts`, ""];
    case "chunk.dropped": return [`${chunk} was dropped`, "warn"];
  }
  return [`${e.event} ${e.chunk >= 0 ? chunk : ""} ${e.from} ${e.to} ${e.text}`, ""];
}
