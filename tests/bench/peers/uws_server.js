// uws_server.js - echo and route on uWebSockets, called from JavaScript for every message.
//
//   node uws_server.js BINARY echo|route|handshake      prints `listening ws://127.0.0.1:PORT`; stops on SIGTERM
"use strict";
const uWS = require(process.argv[2]);
const { keys, route } = require("./work");

const echo = (socket, data, isBinary) => socket.send(data, isBinary, false);
const message = {
  echo,
  handshake: echo,
  route: (socket, data) => socket.send(route(Buffer.from(data).toString()), false, false),
}[process.argv[3]];

const upgrade = (response, request, context) => {
  const user = keys.get(request.getHeader("authorization"));
  if (user === undefined) {
    response.writeStatus("401 Unauthorized").end();
    return;
  }
  response.upgrade(
    { user },
    request.getHeader("sec-websocket-key"),
    request.getHeader("sec-websocket-protocol"),
    request.getHeader("sec-websocket-extensions"),
    context,
  );
};

uWS
  .App()
  .ws("/*", {
    compression: 0,
    maxPayloadLength: 1 << 24,
    maxBackpressure: 1 << 26,
    message,
    ...(process.argv[3] === "handshake" ? { upgrade } : {}),
  })
  .listen("127.0.0.1", 0, (socket) => {
    console.log(`listening ws://127.0.0.1:${uWS.us_socket_local_port(socket)}`);
  });
