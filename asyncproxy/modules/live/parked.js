// All parked requests: kept in memory, filtered and sorted here. What is on the page, rows.js knows.

const FILTERED = ["id", "client", "method", "path", "route", "module", "at", "source", "waiting_for", "ticket"];

export class Parked {
  constructor() {
    this.rows = new Map();
    this.left = 0;
    this.columns = [];
    this.words = [];
    this.by = "since";
    this.descending = false;
    this.forget();
  }

  // From now on rows have these columns, and those of before are not known any more.
  begin(columns) {
    this.columns = columns;
    this.rows.clear();
    this.left = 0;
    this.forget();
  }

  forget() {
    this.ordered = null;
  }

  apply({ gone, rows, left }) {
    for (const key of gone) this.rows.delete(key);
    for (const facts of rows) this.rows.set(facts[0], this.read(facts));
    this.left = left;
    this.forget();
  }

  read(facts) {
    const row = {};
    this.columns.forEach((column, index) => { row[column] = facts[index]; });
    return row;
  }

  filter(text) {
    this.words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.forget();
  }

  sort(by, descending) {
    this.by = by;
    this.descending = descending;
    this.forget();
  }

  // Those that pass the filter, in order.
  view() {
    if (this.ordered === null) {
      const passing = [...this.rows.values()].filter((row) => this.passes(row));
      this.ordered = passing.sort(order(this.by, this.descending));
    }
    return this.ordered;
  }

  passes(row) {
    if (!this.words.length) return true;
    row.text ??= FILTERED.map((column) => row[column] ?? "").join(" ").toLowerCase();
    return this.words.every((word) => row.text.includes(word));
  }
}

// Text by its characters, times by their value; without a limit is later than any; the elder first where both are alike.
function order(by, descending) {
  const turn = descending ? -1 : 1;
  return (one, other) => {
    const [left, right] = [one[by] ?? Infinity, other[by] ?? Infinity];
    if (left < right) return -turn;
    if (left > right) return turn;
    return one.key - other.key;
  };
}
