// The table of parked requests: a hundred rows of it in the document, whatever there is in all.

import { brief, code, counted, drawn, element, lasting, named, say } from "./words.js";

export const PAGE = 100;
const ACTIONS = { resume: "Resume", extend: "Extend", cancel: "Cancel" };

export class Rows {
  // `act(kind, row)` is called when somebody wants to do something about a row.
  constructor(parked, act) {
    this.parked = parked;
    this.act = act;
    this.body = document.getElementById("rows");
    this.shown = new Map();
    this.at = 0;
    this.current = null;
    this.ledger = [];
    this.body.addEventListener("keydown", (event) => this.pressed(event));
    this.body.addEventListener("focusin", (event) => this.choose(event.target.closest("tr")));
    this.sortBy("since", false);
    this.listen();
  }

  listen() {
    const find = (id) => document.getElementById(id);
    find("filter").addEventListener("input", (event) => this.filter(event.target.value));
    find("sort").addEventListener("change", (event) => this.sortBy(event.target.value, false));
    find("former").addEventListener("click", () => this.turn(-1));
    find("next").addEventListener("click", () => this.turn(1));
    for (const head of document.querySelectorAll("#parked th[data-sort]")) {
      const button = element("button", { type: "button" }, head.textContent);
      button.addEventListener("click", () => {
        const again = this.parked.by === head.dataset.sort;
        this.sortBy(head.dataset.sort, again && !this.parked.descending);
      });
      head.replaceChildren(button);
    }
  }

  filter(text) {
    this.parked.filter(text);
    this.at = 0;
    this.show();
  }

  sortBy(by, descending) {
    this.parked.sort(by, descending);
    this.at = 0;
    document.getElementById("sort").value = by;
    for (const head of document.querySelectorAll("#parked th[data-sort]")) {
      // Times are told as what has passed: who began first has waited longest.
      const passed = ["since", "began"].includes(by);
      if (head.dataset.sort !== by) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", descending !== passed ? "descending" : "ascending");
    }
    this.show();
  }

  turn(pages) {
    this.at = Math.max(0, this.at + pages * PAGE);
    this.show();
    this.focus(this.body.firstElementChild);
  }

  // Bring the document in line with what is known; `now` is the proxy's time.
  show(now = this.now) {
    this.now = now;
    if (now === undefined) return;
    this.takeOver();
    const view = this.parked.view();
    if (this.at >= view.length) this.at = Math.max(0, Math.ceil(view.length / PAGE) - 1) * PAGE;
    const rows = view.slice(this.at, this.at + PAGE);
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    this.place(rows);
    if (focused !== null && document.activeElement !== focused) this.refocus(focused);
    if (!this.current?.isConnected) this.choose(this.body.firstElementChild);
    for (const row of rows) this.tick(this.shown.get(row.key), row);
    this.tell(view.length, rows.length);
  }

  // The rows that the page was sent with have stood until now.
  takeOver() {
    if (!this.took) this.body.replaceChildren();
    this.took = true;
  }

  place(rows) {
    const former = this.shown;
    this.shown = new Map();
    rows.forEach((row, index) => {
      const known = former.get(row.key);
      const shown = known?.row === row ? known : this.make(row);
      if (known !== undefined && known !== shown) known.line.remove();
      this.shown.set(row.key, shown);
      former.delete(row.key);
      const there = this.body.children[index] ?? null;
      if (there !== shown.line) this.body.insertBefore(shown.line, there);
    });
    for (const { line } of former.values()) line.remove();
  }

  make(row) {
    const until = element("td", { role: "cell", class: "until" });
    const passed = element("td", { role: "cell", class: "for" });
    const { bar, parts } = this.makeBar();
    const cell = (kind, ...children) => element("td", { role: "cell", class: kind }, ...children);
    const small = (...words) => element("small", {}, ...words.flatMap((word) => [element("span", {}, word), " "]));
    const line = element("tr", { role: "row", tabindex: "-1", "data-key": row.key },
      passed,
      cell("at", code(row.at), " ", code(row.source)),
      cell("waits", row.waiting_for),
      until,
      cell("request", code(`${row.method} ${row.path}`), " ", small(row.client, row.id)),
      cell("module", ...named(row.module), " ", small(row.route)),
      cell("time", bar),
      cell("actions operate", ...this.buttons(row)));
    return { row, line, passed, until, bar, parts };
  }

  buttons(row) {
    if (!("operate" in document.documentElement.dataset)) return [];
    const kinds = Object.keys(ACTIONS).filter((kind) => (kind === "resume" && row.ticket !== null)
      || (kind === "extend" && row.until !== null) || kind === "cancel");
    return kinds.map((kind) => {
      const button = element("button", { type: "button", class: "quiet", tabindex: "-1" }, ACTIONS[kind]);
      button.setAttribute("aria-label", `${ACTIONS[kind]} ${row.method} ${row.path}`);
      button.addEventListener("click", () => this.act(kind, this.parked.rows.get(row.key) ?? row));
      return button;
    });
  }

  makeBar() {
    const title = drawn("title");
    const parts = this.ledger.map((name) => drawn("rect", { class: name, height: 8 }));
    const bar = drawn("svg", { class: "ledger", viewBox: "0 0 100 8", preserveAspectRatio: "none", role: "img" },
      title, ...parts);
    return { bar, parts };
  }

  tick({ passed, until, bar, parts }, row) {
    say(passed, lasting(this.now - row.since));
    say(until, row.until === null ? "no limit" : `in ${lasting(Math.max(0, row.until - this.now))}`);
    const spent = spentOf(row, this.now);
    const total = spent.reduce((sum, one) => sum + one, 0) || 1;
    const widths = spent.map((one) => ((100 * one) / total).toFixed(1));
    const look = widths.join(" ");
    if (bar.dataset.look === look) return;
    bar.dataset.look = look;
    let left = 0;
    parts.forEach((part, index) => {
      part.setAttribute("x", left.toFixed(1));
      part.setAttribute("width", widths[index]);
      left += Number(widths[index]);
    });
    const words = ledgerWords(this.ledger, spent);
    bar.setAttribute("aria-label", words);
    bar.firstElementChild.textContent = words;
  }

  tell(passing, shown) {
    const all = this.parked.rows.size;
    const coming = this.parked.left ? `, ${counted(this.parked.left)} more are coming` : "";
    const filtered = this.parked.words.length ? `${counted(passing)} of ` : "";
    const find = (id) => document.getElementById(id);
    say(find("count"), `${filtered}${counted(all)}${coming}`);
    say(find("page"), passing ? `${counted(this.at + 1)} to ${counted(this.at + shown)} of ${counted(passing)}` : "");
    find("former").disabled = this.at === 0;
    find("next").disabled = this.at + PAGE >= passing;
    document.querySelector(".pages").hidden = passing <= PAGE;
    const nothing = find("nothing");
    nothing.hidden = passing > 0;
    if (!passing && all) say(nothing, "None of them passes the filter.");
    else if (!passing) say(nothing, "Nothing is parked. What waits will be here, with the line of code that it waits at.");
  }

  // By keyboard: one row can be reached by Tab, the others from there; what can be done with a row is behind it.

  choose(line) {
    if (line === this.current) return;
    for (const [one, index] of [[this.current, "-1"], [line, "0"]]) {
      one?.setAttribute("tabindex", index);
      for (const button of one?.querySelectorAll("button") ?? []) button.setAttribute("tabindex", index);
    }
    this.current = line;
  }

  focus(line) {
    this.choose(line);
    line?.focus();
  }

  refocus(former) {
    const key = Number(former.closest("tr")?.dataset.key);
    const line = this.shown.get(key)?.line ?? this.body.children[this.lastIndex ?? 0] ?? this.body.lastElementChild;
    const again = former.isConnected ? former : line;
    this.choose(line);
    if (again !== null) again.focus({ preventScroll: true });
    else document.getElementById("filter").focus();
  }

  pressed(event) {
    const line = event.target.closest("tr");
    const lines = [...this.body.children];
    const index = lines.indexOf(line);
    this.lastIndex = index;
    const aims = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: lines.length - 1 };
    if (event.key in aims) this.focus(lines[Math.min(lines.length - 1, Math.max(0, aims[event.key]))]);
    else if (event.key === "Enter" && event.target === line) line.querySelector("button")?.focus();
    else if (event.key === "Escape" && event.target !== line) line.focus();
    else return;
    event.preventDefault();
  }
}

export function spentOf(row, now) {
  const spent = [...row.spent];
  spent[row.column] += Math.max(0, now - row.stepped);
  return spent;
}

export function ledgerWords(names, spent) {
  return names.map((name, index) => [name, spent[index]]).filter(([, seconds]) => seconds > 0)
    .map(([name, seconds]) => `${name} ${brief(seconds)}`).join(", ");
}
