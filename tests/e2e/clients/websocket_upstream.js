// An agent that speaks WebSocket, made with Node's ws: what it does is said by the run's message.
const { WebSocketServer } = require("ws");

const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });

function answer(ws, run) {
  const send = (type, data) => ws.send(JSON.stringify({ type, run_id: run.run_id, data }));
  const word = run.message;
  send("agent_delta", { text: word === "flood" ? "0" : word });
  if (word === "flood") {
    for (let i = 1; i < 10000; i++) {
      send("agent_delta", { text: String(i) });
    }
  }
  if (word === "terminate") {
    ws.terminate();
  } else if (word !== "hold") {
    send("agent_completed", { response: word + " " + word });
  }
}

server.on("connection", (ws) => {
  ws.on("message", (text) => {
    const message = JSON.parse(text);
    if (message.type === "agent_cancel") {
      console.log("cancelled " + message.run_id);
    } else {
      answer(ws, message);
    }
  });
  ws.on("close", (code) => console.log("closed " + code));
});
server.on("listening", () => console.log("listening ws://127.0.0.1:" + server.address().port + "/"));
