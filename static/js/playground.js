// Streams one prompt to every column at once and keeps time on this machine's clock.

const form = document.getElementById("run");
const columns = [...document.querySelectorAll("[data-endpoint]")];
const startButton = document.getElementById("start");
const stopButton = document.getElementById("stop");
const runStatus = document.getElementById("run-status");
const REMEMBERED = ["prompt", "system", "max_tokens"];
let running = null;

// --- reading server-sent events -------------------------------------------------------------

async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const frames = (rest + value).split(/\r?\n\r?\n/);
    rest = frames.pop();
    for (const frame of frames) {
      const event = parseFrame(frame);
      if (event) yield event;
    }
  }
}

function parseFrame(frame) {
  let name = "message";
  const data = [];
  for (const line of frame.split(/\r?\n/)) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  return data.length ? { name, data: data.join("\n") } : null;
}

// --- one column --------------------------------------------------------------------------------

class Column {
  constructor(root) {
    this.root = root;
    this.text = root.querySelector(".text");
    this.receipt = root.querySelector("[data-receipt]");
  }

  gauge(name, value) {
    this.root.querySelector(`[data-gauge=${name}]`).textContent = value;
  }

  reset() {
    this.text.replaceChildren();
    this.receipt.hidden = true;
    this.reasoning = null;
    this.first = null;
    this.chunks = 0;
    for (const name of ["ttft", "speed", "tokens", "cost"]) this.gauge(name, "–");
    this.root.classList.add("running");
  }

  async run(body, signal) {
    this.reset();
    this.sent = performance.now();
    try {
      const response = await fetch(form.dataset.url, {
        method: "POST",
        headers: {
          "Content-Type": "application/json",
          "X-CSRFToken": form.elements.csrfmiddlewaretoken.value,
        },
        body: JSON.stringify({ ...body, endpoint_id: Number(this.root.dataset.endpoint) }),
        signal,
      });
      if (!response.ok) throw new Error(await wordsOf(response));
      for await (const event of eventsOf(response)) this.take(event);
    } catch (error) {
      this.fail(error.name === "AbortError" ? "Stopped." : error.message);
    } finally {
      this.root.classList.remove("running");
    }
  }

  take({ name, data }) {
    if (data === "[DONE]") return;
    const document_ = JSON.parse(data);
    if (name === "panelboard") this.finish(document_);
    else if (document_.error) this.fail(document_.error.message);
    else this.append(document_.choices?.[0]?.delta ?? {});
  }

  append(delta) {
    const thought = delta.reasoning_content ?? delta.reasoning ?? "";
    const content = delta.content ?? "";
    if (!thought && !content) return;
    this.first ??= performance.now();
    this.chunks += 1;
    if (thought) this.thoughts().append(thought);
    if (content) this.text.append(content);
    this.tick();
  }

  thoughts() {
    if (!this.reasoning) {
      this.reasoning = document.createElement("div");
      this.reasoning.className = "reasoning";
      this.text.append(this.reasoning);
    }
    return this.reasoning;
  }

  tick() {
    const seconds = (performance.now() - this.first) / 1000;
    this.gauge("ttft", milliseconds(this.first - this.sent));
    this.gauge("tokens", `≈ ${this.chunks}`);
    if (seconds > 0.2) this.gauge("speed", `≈ ${Math.round(this.chunks / seconds)} tok/s`);
  }

  finish(figures) {
    this.gauge("ttft", milliseconds(figures.ttft_ms));
    this.gauge("speed", figures.output_tps == null ? "–" : `${Math.round(figures.output_tps)} tok/s`);
    this.gauge("tokens", figures.output_tokens ?? "–");
    this.gauge("cost", figures.cost_usd == null ? "–" : money(figures.cost_usd));
    this.receipt.href = `/requests/${figures.request_id}/`;
    this.receipt.hidden = false;
  }

  fail(words) {
    const note = document.createElement("p");
    note.className = "bad";
    note.textContent = words;
    this.text.append(note);
  }
}

async function wordsOf(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The hub answered ${response.status}. Reload the page and try again.`;
  }
}

function milliseconds(ms) {
  if (ms == null) return "–";
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

function money(text) {
  const amount = Number(text);
  return amount >= 0.01 ? `$${amount.toFixed(4)}` : `$${amount.toPrecision(3)}`;
}

// --- the whole run ---------------------------------------------------------------------------------

function requestBody() {
  const fields = new FormData(form);
  return {
    prompt: fields.get("prompt"),
    system: fields.get("system") ?? "",
    max_tokens: Number(fields.get("max_tokens")),
    project: fields.get("project") ? Number(fields.get("project")) : null,
  };
}

async function run() {
  if (running || !form.reportValidity()) return;
  remember();
  running = new AbortController();
  startButton.disabled = true;
  stopButton.disabled = false;
  runStatus.textContent = "Running.";
  const body = requestBody();
  await Promise.all(columns.map((root) => new Column(root).run(body, running.signal)));
  running = null;
  startButton.disabled = false;
  stopButton.disabled = true;
  runStatus.textContent = "All answers are in.";
}

function remember() {
  for (const name of REMEMBERED) sessionStorage.setItem(`playground-${name}`, form.elements[name].value);
}

function recall() {
  for (const name of REMEMBERED) {
    const value = sessionStorage.getItem(`playground-${name}`);
    if (value) form.elements[name].value = value;
  }
}

if (form) {
  recall();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  form.addEventListener("input", remember);
  stopButton.addEventListener("click", () => running?.abort());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
    if (event.key === "Escape") running?.abort();
  });
}
