// The live page: listens to what has changed, and brings the document in line with it, at most a few times a second.

import { Actions } from "./actions.js";
import { Figures } from "./figures.js";
import { Parked } from "./parked.js";
import { Rows } from "./rows.js";
import { counted, element, lasting, say } from "./words.js";

const CALM = 200; // milliseconds between two looks of the table, while rows pour in
const SILENCE = 5000; // milliseconds without news after which that is said
const AGAIN = 3000; // milliseconds after which a stream that was refused is asked for again

const find = (id) => document.getElementById(id);
const parked = new Parked();
const figures = new Figures();
const actions = new Actions(acted);
const rows = new Rows(parked, (kind, row) => actions.open(kind, row, nowThere()));
let clock = null; // the proxy's time at a time of ours
let paused = false;
let waiting = null; // the timer of the next look
let heard = 0; // when there was news

function nowThere() {
  return clock === null ? undefined : clock.there + (performance.now() - clock.here) / 1000;
}

function show() {
  waiting = null;
  if (paused || document.hidden) return;
  rows.show(nowThere());
  const title = parked.rows.size ? `${counted(parked.rows.size)} parked - asyncproxy` : "asyncproxy";
  if (document.title !== title) document.title = title;
}

function showSoon() {
  waiting ??= setTimeout(show, CALM);
}

// The stream.

const heardOf = {
  begin(told) {
    clock = { there: told.now, here: performance.now() };
    rows.ledger = actions.ledger = told.ledger;
    parked.begin(told.columns);
    figures.begin(told);
  },
  figures(told) {
    clock = { there: told.now, here: performance.now() };
    if (!paused && !document.hidden) figures.show(told);
    else figures.keepSample(told);
    showSoon();
  },
  rows(told) {
    parked.apply(told);
    showSoon();
  },
};

function listen() {
  const stream = new EventSource("/status/events");
  for (const [what, hear] of Object.entries(heardOf)) {
    stream.addEventListener(what, (event) => {
      heard = performance.now();
      connected("live", paused ? "paused" : "live");
      hear(JSON.parse(event.data));
    });
  }
  stream.addEventListener("error", () => {
    connected("lost", "connection lost, trying again");
    if (stream.readyState === EventSource.CLOSED) refused();
  });
}

// A browser tries again by itself, unless it was refused.
async function refused() {
  setTimeout(listen, AGAIN);
  const answer = await fetch("/status.json?limit=0").catch(() => null);
  if (answer?.status === 401) connected("lost", "not logged in: ", element("a", { href: "/login" }, "log in again"));
  else if (answer?.ok) connected("lost", "too many look already, trying again");
}

function connected(state, ...words) {
  const place = find("connection");
  const text = words.map((word) => word.textContent ?? word).join("");
  if (place.dataset.state === state && place.textContent === text) return;
  place.dataset.state = state;
  place.replaceChildren(...words);
}

setInterval(() => {
  const silent = performance.now() - heard;
  if (find("connection").dataset.state === "live" && silent > SILENCE) connected("lost", "no news from it");
}, 1000);

// What people do.

find("pause").addEventListener("click", (event) => {
  paused = !paused;
  event.target.setAttribute("aria-pressed", paused);
  say(event.target, paused ? "Go on" : "Pause");
  connected("live", paused ? "paused" : "live");
  show();
});

document.addEventListener("visibilitychange", showSoon);

function acted(row, kind, answer) {
  const told = {
    resume: answer.state === "remembered" ? "Nobody waits any more; the value is kept for whoever comes" : "Resumed",
    extend: `Has ${lasting(answer.deadline_s ?? 0)} left`,
    cancel: `Cancelled with ${answer.status ?? "its response cut"}`,
  };
  say(find("news"), `${told[kind]}: ${row.method} ${row.path}`);
  setTimeout(() => say(find("news"), ""), 8000);
  const there = parked.rows.get(row.key);
  if (kind === "extend" && there !== undefined && answer.deadline_s) {
    parked.rows.set(row.key, { ...there, until: nowThere() + answer.deadline_s });
    parked.forget();
    showSoon();
  }
}

document.documentElement.classList.add("script");
listen();
