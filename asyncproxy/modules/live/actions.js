// What can be done with a parked request: asked for in a dialog, done by the admin listener, told in a line.

import { code, element, lasting, say } from "./words.js";
import { ledgerWords, spentOf } from "./rows.js";

const find = (id) => document.getElementById(id);

const HEADERS = { "Content-Type": "application/json", Operator: "live page" };

const KINDS = {
  resume: { title: "Resume this request?", words: "Its code goes on with the value, once and for all.", go: "Resume it" },
  extend: { title: "Let it wait longer?", words: "Its deadline moves by so much.", go: "Let it wait" },
  cancel: {
    title: "Cancel this request?", words: "Its code hears of it where it waits, then its client is answered.",
    go: "Cancel it",
  },
};

// What is wrong with what was typed; `field` is where.
class Mistake extends Error {
  constructor(words, field) {
    super(words);
    this.field = field;
  }
}

export class Actions {
  // `done(row, kind, answer)` is called with what the proxy has answered.
  constructor(done) {
    this.done = done;
    this.ledger = [];
    this.dialog = find("act");
    this.dialog.querySelector("form").addEventListener("submit", (event) => this.submitted(event));
    find("act-leave").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => this.restore());
    this.dialog.addEventListener("input", () => this.fail(""));
  }

  open(kind, row, now) {
    this.kind = kind;
    this.row = row;
    this.origin = document.activeElement;
    const { title, words, go } = KINDS[kind];
    say(find("act-title"), title);
    say(find("act-words"), words);
    say(find("act-do"), go);
    find("act-do").className = kind === "cancel" ? "grave" : "";
    find("act-facts").replaceChildren(...this.facts(row, now));
    for (const part of this.dialog.querySelectorAll("[data-kind]")) part.hidden = part.dataset.kind !== kind;
    find("value").value = "";
    find("bind").value = row.bind ?? "";
    find("bind-field").hidden = row.bind === null;
    this.fail("");
    this.dialog.showModal();
    this.dialog.querySelector("[data-kind]:not([hidden]) :is(textarea, input)").focus();
  }

  facts(row, now) {
    const facts = {
      Request: [code(`${row.method} ${row.path}`)],
      Client: [`${row.client}, ${row.id}`],
      "Waits for": [row.waiting_for],
      At: [code(row.at), " ", code(row.source)],
      "Its time": [ledgerWords(this.ledger, spentOf(row, now))],
      Until: [row.until === null ? "no limit" : `in ${lasting(Math.max(0, row.until - now))}`],
    };
    return Object.entries(facts).flatMap(([name, values]) => [element("dt", {}, name), element("dd", {}, ...values)]);
  }

  // The dialog gives the focus back by itself, unless the row has been made anew meanwhile.
  restore() {
    if (!this.origin?.isConnected) (document.querySelector('#rows tr[tabindex="0"]') ?? find("filter")).focus();
  }

  fail(words) {
    say(find("act-error"), words);
    for (const field of this.dialog.querySelectorAll("textarea, input")) field.removeAttribute("aria-invalid");
  }

  async submitted(event) {
    event.preventDefault();
    const { kind, row } = this;
    try {
      const { path, body } = this.order();
      find("act-do").disabled = true;
      const answer = await ask(path, body);
      this.dialog.close();
      this.done(row, kind, answer);
    } catch (mistake) {
      this.fail(mistake.message);
      mistake.field?.setAttribute("aria-invalid", "true");
      mistake.field?.focus();
    } finally {
      find("act-do").disabled = false;
    }
  }

  // What is to be asked of the proxy; throws a Mistake.
  order() {
    if (this.kind === "resume") return this.resumption();
    const path = `/requests/${encodeURIComponent(this.row.id)}/${this.kind}`;
    return { path, body: JSON.stringify(this.kind === "extend" ? this.extension() : this.cancellation()) };
  }

  resumption() {
    const field = find("value");
    try {
      JSON.parse(field.value);
    } catch (why) {
      const words = field.value.trim() ? `That is no JSON: ${why.message}` : "Write a value: true, \"text\", {\"ok\": true}";
      throw new Mistake(words, field);
    }
    const bind = find("bind").value.trim();
    const query = this.row.bind === null ? "" : `?bind=${encodeURIComponent(bind)}`;
    return { path: `/tickets/${encodeURIComponent(this.row.ticket)}${query}`, body: field.value };
  }

  extension() {
    const field = find("by");
    const by = field.value.trim();
    if (!/^\d+(\.\d+)?(ms|s|m|h|d)$/.test(by)) throw new Mistake("Write a number with a unit: 90s, 5m, 1h", field);
    return { by };
  }

  cancellation() {
    const field = find("status");
    const status = Number(field.value);
    if (!Number.isInteger(status) || status < 400 || status > 599) throw new Mistake("Write a status from 400 to 599", field);
    return { status };
  }
}

async function ask(path, body) {
  let response;
  try {
    response = await fetch(path, { method: "POST", headers: HEADERS, body });
  } catch {
    throw new Mistake("The proxy does not answer. Whether it was done will be seen when it is back.");
  }
  const text = await response.text();
  const answer = read(text);
  if (!response.ok) throw new Mistake(answer.error ?? (text.trim() || `The proxy answers ${response.status}`));
  return answer;
}

function read(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}
