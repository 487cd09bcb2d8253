// Asks by Node's own fetch for what it is told, a line of JSON at a time, and says what came of it: see clients.Node.
import readline from "node:readline";

const base = process.argv[2];

function say(value) {
  process.stdout.write(JSON.stringify(value) + "\n");
}

function inPieces(data) {
  return new ReadableStream({
    start(stream) {
      for (let at = 0; at < data.length; at += 70000) stream.enqueue(data.subarray(at, at + 70000));
      stream.close();
    },
  });
}

async function ask({ method, path, fields, body, chunked }) {
  const data = body === null ? undefined : Buffer.from(body, "base64");
  const upload = chunked ? inPieces(data) : data && new Blob([data]);  // a Buffer is gone once a redirect wants it again
  const reply = await fetch(base + path, { method, headers: fields, body: upload, duplex: "half" });
  const got = Buffer.from(await reply.arrayBuffer());
  say({ status: reply.status, fields: [...reply.headers], body: got.toString("base64") });
}

async function lines({ path }) {
  const reply = await fetch(base + path);
  let rest = "";
  for await (const piece of reply.body) {
    const found = (rest + Buffer.from(piece).toString()).split("\n");
    rest = found.pop();
    for (const line of found) say(line);
  }
  say(null);
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const wanted = JSON.parse(line);
  await (wanted.lines ? lines(wanted) : ask(wanted));
}
