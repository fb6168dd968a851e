// ws_server.js - echo and route on Node's `ws`, as its users write them.
//
//   node ws_server.js echo|route      prints `listening ws://127.0.0.1:PORT`; stops on SIGTERM
"use strict";
const { WebSocketServer } = require("ws");

const answers = {
  get_price: (message) => ({ type: "price", id: message.id, amount: message.data.quantity * 3 }),
};

const work = {
  echo: (socket, data, isBinary) => socket.send(data, { binary: isBinary }),
  route: (socket, data) => {
    const message = JSON.parse(data);
    socket.send(JSON.stringify(answers[message.type](message)));
  },
}[process.argv[2]];

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false, maxPayload: 1 << 24 });
server.on("connection", (socket) => socket.on("message", (data, isBinary) => work(socket, data, isBinary)));
server.on("listening", () => console.log(`listening ws://127.0.0.1:${server.address().port}`));
