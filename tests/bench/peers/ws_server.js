// ws_server.js - echo and route on Node's `ws`, as its users write them.
//
//   node ws_server.js echo|route|handshake      prints `listening ws://127.0.0.1:PORT`; stops on SIGTERM
"use strict";
const { WebSocketServer } = require("ws");
const { keys, route } = require("./work");

const echo = (socket, data, isBinary) => socket.send(data, { binary: isBinary });
const work = {
  echo,
  handshake: echo,
  route: (socket, data) => socket.send(route(data)),
}[process.argv[2]];
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
