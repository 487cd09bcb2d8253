// What is not a row: rate, latency and stages with their last ten minutes, workers, upstream servers, warnings.

import { brief, code, counted, drawn, element, lasting, say, sized } from "./words.js";

const WIDTH = 120;
const HEIGHT = 28;
const WORKERS = 16;
const SERVERS = ["open", "idle", "opening", "waiting"];

export class Figures {
  begin({ sampled, samples, sampled_every_s: every, samples_kept: kept }) {
    this.sampled = sampled;
    this.samples = samples;
    this.kept = kept;
    this.span = every * kept;
    this.taken = null;
    this.before = null;
    this.draw();
  }

  show(figures) {
    this.keepSample(figures);
    this.showRate(figures);
    this.showLatency(figures.sample);
    for (const [stage, count] of Object.entries(figures.stages)) this.showStage(stage, count);
    const { received, sent } = figures.tunnelled;
    say(document.querySelector("#figure-tunnelling small"), `${sized(received)} in, ${sized(sent)} out`);
    say(document.getElementById("uptime"), lasting(figures.uptime_s));
    document.getElementById("workers").replaceChildren(...workers(figures));
    document.getElementById("upstreams").replaceChildren(...upstreams(figures));
    document.getElementById("watched").replaceChildren(...warnings(figures));
  }

  keepSample({ sample, samples, now }) {
    this.now = now;
    if (this.taken === null || samples === this.taken) {
      this.taken = samples;
      return;
    }
    this.taken = samples;
    this.samples.push(sample);
    this.samples.splice(0, this.samples.length - this.kept);
    this.draw();
  }

  showRate({ served, now }) {
    const { before } = this;
    this.before = { served, now };
    if (before === null || now <= before.now) return;
    const rate = (served - before.served) / (now - before.now);
    setFigure("rate", rate < 10 ? rate.toFixed(1) : counted(Math.round(rate)), `${counted(served)} served`);
  }

  showLatency(sample) {
    const [p50, p99] = sample === null ? [null, null] : [this.of(sample, "p50_s"), this.of(sample, "p99_s")];
    if (p50 === null) setFigure("latency", "-", "median, none of late");
    else setFigure("latency", brief(p50), `median, 99% ${brief(p99)}`);
  }

  showStage(stage, count) {
    const key = stage.toLowerCase();
    setFigure(key, counted(count));
    document.getElementById(`figure-${key}`).classList.toggle("none", !count);
  }

  of(sample, column) {
    return sample[this.sampled.indexOf(column)];
  }

  draw() {
    this.chart("rate", ["rate"], (value) => counted(Math.round(value)));
    this.chart("latency", ["p99_s", "p50_s"], brief);
    for (const stage of this.sampled.slice(4)) this.chart(stage.toLowerCase(), [stage], counted);
  }

  // A line for each column, below it its area; the right edge is now.
  chart(key, columns, told) {
    const figure = document.getElementById(`figure-${key}`);
    const points = columns.map((column) => this.points(column));
    const top = Math.max(0, ...points.flat().map(([, value]) => value));
    const words = points[0].length ? `the last ten minutes, ${told(top)} at most` : "the last ten minutes, nothing yet";
    const chart = drawn("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none",
      role: "img", "aria-label": words }, drawn("title", {}, words),
      drawn("path", { class: "base", d: `M0 ${HEIGHT - 1}H${WIDTH}` }), ...points.flatMap((line) => paths(line, top)));
    figure.querySelector("svg")?.remove();
    figure.append(chart);
  }

  points(column) {
    const latest = this.samples.at(-1);
    if (latest === undefined) return [];
    const at = this.sampled.indexOf("at");
    return this.samples.map((sample) => [WIDTH * (1 - (latest[at] - sample[at]) / this.span), this.of(sample, column)])
      .filter(([x, value]) => x >= 0 && value !== null);
  }
}

function paths(points, top) {
  if (!points.length) return [];
  const height = (value) => (HEIGHT - 1.5 - (top ? (value / top) * (HEIGHT - 3) : 0)).toFixed(2);
  const line = points.map(([x, value]) => `${x.toFixed(2)} ${height(value)}`).join("L");
  const [first, last] = [points[0][0].toFixed(2), points.at(-1)[0].toFixed(2)];
  return [drawn("path", { class: "area", d: `M${first} ${HEIGHT}L${line}L${last} ${HEIGHT}Z` }),
    drawn("path", { class: "line", d: `M${line}` })];
}

function setFigure(key, value, words = null) {
  const figure = document.getElementById(`figure-${key}`);
  say(figure.querySelector(".value"), value);
  if (words !== null) say(figure.querySelector("small"), words);
}

function workers({ running, stalled, workers: { total, queued } }) {
  const long = new Set(stalled.map((row) => row.id));
  const all = Array.from({ length: total }, (_, index) => [index + 1, running[index] ?? null]);
  const shown = total > WORKERS ? all.filter(([, run]) => run !== null) : all;
  const lines = shown.map(([number, run]) => (run === null
    ? element("li", { class: "free", value: number }, "free") : worker(number, run, long.has(run.id))));
  if (total > WORKERS) lines.push(element("li", { class: "free rest" }, `${total - shown.length} of ${total} are free`));
  if (queued) lines.push(element("li", { class: "rest" }, `${counted(queued)} turn${queued > 1 ? "s" : ""} wait for a worker`));
  return lines;
}

function worker(number, run, long) {
  return element("li", { value: number, class: long ? "long" : "busy" },
    element("span", { class: "who" }, element("b", {}, run.module ?? "a call from outside any request"), " ",
      code(run.request)), " ",
    element("span", { class: "where" }, code(run.at), " ", code(run.source)), " ",
    element("span", { class: "for" }, lasting(run.for_s)));
}

function upstreams({ upstreams: servers, upstreams_total: total }) {
  const names = Object.keys(servers);
  if (!names.length) return [element("p", { class: "note" }, "None has been asked yet.")];
  const head = element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Server"),
    ...SERVERS.map((name) => element("th", { scope: "col" }, name[0].toUpperCase() + name.slice(1)))));
  const rows = names.map((name) => element("tr", {}, element("th", { scope: "row" }, code(name)),
    ...SERVERS.map((key) => element("td", {}, counted(servers[name][key])))));
  const more = total - names.length;
  return [element("table", { class: "servers" }, head, element("tbody", {}, ...rows)),
    more > 0 ? element("p", { class: "note" }, `and ${counted(more)} more, in status.json`) : ""];
}

function warnings({ held }) {
  if (!held.holds) return [];
  return [element("p", { class: "warning" },
    `The polling thread was held ${counted(held.holds)} time${held.holds > 1 ? "s" : ""}, `,
    `for ${lasting(held.longest_s)} at most; the latest at `, code(held.latest.at), `, for ${lasting(held.latest.for_s)}.`)];
}
