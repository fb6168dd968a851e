// compression.js URL OPTIONS SIZES - sends messages of these sizes with the `ws` package, with
// perMessageDeflate set to OPTIONS (JSON), to a server that echoes: text, noise, and both in fragments. Prints
// what was negotiated. Exits with 0 only when every echo was right and the close was an orderly one.
const crypto = require("crypto");
const WebSocket = require("ws");

const [url, options, sizes] = process.argv.slice(2);
const ws = new WebSocket(url, { perMessageDeflate: JSON.parse(options) });
const fail = (why) => {
  console.error(why);
  process.exit(1);
};
const deadline = setTimeout(() => fail("time is up"), 60000);

const words = "agent delta text run connection message tool {\"type\":\"agent_delta\"} ";
const waiting = [];
const send = (message, binary) => {
  waiting.push({ message, binary });
  ws.send(message, { binary });
};
const sendInFragments = (message, binary) => {
  waiting.push({ message, binary });
  const third = Math.ceil(message.length / 3);
  ws.send(message.subarray(0, third), { binary, fin: false });
  ws.ping("in between");
  ws.send(message.subarray(third, 2 * third), { fin: false });
  ws.send(message.subarray(2 * third), { fin: true });
};

ws.on("open", () => {
  for (const size of JSON.parse(sizes)) {
    const text = Buffer.from(words.repeat(Math.ceil(size / words.length)).slice(0, size));
    const noise = crypto.randomBytes(size);
    send(text, false);
    send(noise, true);
    sendInFragments(text, false);
    sendInFragments(noise, true);
  }
});
ws.on("message", (data, isBinary) => {
  const { message, binary } = waiting.shift();
  if (binary !== isBinary) fail("text became binary, or binary text");
  if (!message.equals(data)) fail(`an echo of ${data.length} bytes differs`);
  if (waiting.length === 0) ws.close(1000, "done");
});
ws.on("error", (error) => fail(error.message));
ws.on("close", (code) => {
  clearTimeout(deadline);
  if (code !== 1000) fail(`closed with ${code}`);
  if (waiting.length > 0) fail(`${waiting.length} echoes are missing`);
  console.log(ws.extensions);
});
