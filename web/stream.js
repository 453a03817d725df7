// Server-sent events by fetch, since EventSource cannot send the token. Comes back by itself.
const PAUSE_MIN = 400, PAUSE_MAX = 5000, SILENCE = 15000;

export class Stream {
  constructor(onState, onLink) {
    this.onState = onState;
    this.onLink = onLink;
    this.pause = PAUSE_MIN;
  }

  open(job, token) {
    this.close();
    const turn = this.turn = {};
    const run = async () => {
      while (this.turn === turn) {
        const why = await this.once(turn, job, token);
        if (this.turn !== turn) return;
        this.onLink(false, why);
        if (why === "token") return;
        await new Promise(done => setTimeout(done, this.pause));
        this.pause = Math.min(PAUSE_MAX, this.pause * 1.6);
      }
    };
    run();
  }

  close() {
    this.turn = null;
    if (this.abort) this.abort.abort();
  }

  async once(turn, job, token) {
    const abort = this.abort = new AbortController();
    let watch;
    const heard = () => {
      clearTimeout(watch);
      watch = setTimeout(() => abort.abort(), SILENCE);
    };
    try {
      heard();
      const query = job ? `?job=${encodeURIComponent(job)}` : "";
      const answer = await fetch(`/events${query}`, { signal: abort.signal, cache: "no-store", headers: token ? { Authorization: `Bearer ${token}` } : {} });
      if (answer.status === 401) return "token";
      if (!answer.ok) return (await answer.text()).trim() || `answer ${answer.status}`;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done || this.turn !== turn) return "the connection was closed";
        heard();
        rest += value;
        const events = rest.split("\n\n");
        rest = events.pop();
        for (const event of events) {
          const data = event.split("\n").filter(line => line.startsWith("data: ")).map(line => line.slice(6)).join("\n");
          if (!data) continue;
          this.pause = PAUSE_MIN;
          this.onLink(true, "");
          this.onState(JSON.parse(data));
        }
      }
    } catch (error) {
      return abort.signal.aborted ? "nothing was heard for long" : "it cannot be reached";
    } finally {
      clearTimeout(watch);
      abort.abort();
    }
  }
}
