// Words, numbers and elements. What others have a hand in becomes text, never HTML.

export function lasting(seconds) {
  if (seconds < 9.95) return `${Math.max(0, seconds).toFixed(1)} s`;
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  const units = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];
  const [size, name, part, partName] = units.find(([unit]) => whole >= unit);
  const rest = Math.floor((whole % size) / part);
  return `${Math.floor(whole / size)} ${name}` + (rest ? ` ${rest} ${partName}` : "");
}

export function brief(seconds) {
  if (seconds >= 0.9995) return lasting(seconds);
  const thousandths = seconds * 1000;
  return `${thousandths < 9.95 ? Number(thousandths.toPrecision(2)) : Math.round(thousandths)} ms`;
}

const numbers = new Intl.NumberFormat("en");
export const counted = (count) => numbers.format(count);

export function sized(bytes) {
  const step = bytes < 1024 ? 0 : Math.min(4, Math.floor(Math.log2(bytes) / 10));
  const size = bytes / 1024 ** step;
  return `${step && size < 9.95 ? size.toFixed(1) : Math.floor(size)} ${["B", "KiB", "MiB", "GiB", "TiB"][step]}`;
}

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// A name that may go on in another line behind its colon.
export const named = (text) => text.split(/(?<=:)/).flatMap((part, at) => (at ? [element("wbr"), part] : [part]));

export const code = (text) => (text ? element("code", {}, text) : "");

// A write that changes nothing still costs a layout.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
