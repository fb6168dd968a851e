// ws_server.js - echo and route on Node's `ws`, as its users write them.
//
//   node ws_server.js echo|route|handshake      prints `listening ws://127.0.0.1:PORT`; stops on SIGTERM
"use strict";
const { WebSocketServer } = require("ws");

const answers = {
  get_price: (message) => ({ type: "price", id: message.id, amount: message.data.quantity * 3 }),
};

const echo = (socket, data, isBinary) => socket.send(data, { binary: isBinary });
const work = {
  echo,
  handshake: echo,
  route: (socket, data) => {
    const message = JSON.parse(data);
    socket.send(JSON.stringify(answers[message.type](message)));
  },
}[process.argv[2]];
const keys = new Map([["Bearer bench-key", { user_id: "bench", roles: { tenant: "acme" } }]]);
const verifyClient = process.argv[2] === "handshake" && ((info) => keys.has(info.req.headers.authorization));

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  perMessageDeflate: false,
  maxPayload: 1 << 24,
  verifyClient: verifyClient || undefined,
});
server.on("connection", (socket) => socket.on("message", (data, isBinary) => work(socket, data, isBinary)));
server.on("listening", () => console.log(`listening ws://127.0.0.1:${server.address().port}`));
