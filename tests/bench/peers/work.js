// work.js - what the peers in JavaScript answer to a route, and who may come.
"use strict";

const answers = {
  get_price: (message) => ({ type: "price", id: message.id, amount: message.data.quantity * 3 }),
};

exports.keys = new Map([["Bearer bench-key", { user_id: "bench", roles: { tenant: "acme" } }]]);

exports.route = (text) => {
  const message = JSON.parse(text);
  return JSON.stringify(answers[message.type](message));
};
