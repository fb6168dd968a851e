// golden.js URL KEY REQUEST - sends one request with the `ws` package and prints every message that
// comes, one a line, until the run has ended. Exits with 0 only after an orderly close.
const WebSocket = require("ws");

const [url, key, request] = process.argv.slice(2);
const ws = new WebSocket(url, { headers: { Authorization: `Bearer ${key}` } });
const fail = (why) => {
  console.error(why);
  process.exit(1);
};
const deadline = setTimeout(() => fail("time is up"), 20000);

ws.on("error", (error) => fail(error.message));
ws.on("message", (data, isBinary) => {
  if (isBinary) fail("a binary frame");
  console.log(data.toString());
  const { type } = JSON.parse(data);
  if (type === "connection_ready") ws.send(request);
  if (type === "agent_completed" || type === "agent_error") ws.close(1000, "done");
});
ws.on("close", (code) => {
  clearTimeout(deadline);
  if (code !== 1000) fail(`closed with ${code}`);
});
