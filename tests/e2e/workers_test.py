"""A script reaches any connection by its ID, whichever worker has it."""

import unittest

from harness import Client, ServerTest, open_policy

POLICY = open_policy(
    """
    function policy.message(conn, message)
      local ok, why
      if message.type == "tell" then
        ok, why = tide.send(message.to, { type = "told", from = conn.id, text = message.text })
      elseif message.type == "dismiss" then
        ok, why = tide.close(message.to, 4000, "dismissed")
      end
      conn:send({ type = "done", ok = ok or false, why = why or "" })
    end
    """
)


def worker_of(client):
    return int(client.id.split("_")[2][:2], 16)


class AcrossWorkers(ServerTest):
    async def asyncSetUp(self):
        self.server = await self.serve(POLICY, workers=2)
        self.clients = {}
        extra = []
        for n in range(200):
            client = await Client.ready(self.server, f"user-{n}")
            if worker_of(client) in self.clients:
                extra.append(client)
            else:
                self.clients[worker_of(client)] = client
            if len(self.clients) == 2:
                break
        self.assertEqual(sorted(self.clients), [1, 2], "200 connections and one worker has none")
        for client in extra:
            await client.close()

    async def done(self, client):
        message = await client.expect("done")
        return message["ok"], message["why"]

    async def test_send_reaches_a_connection_of_another_worker_and_of_the_same(self):
        for source in (1, 2):
            for target in (1, 2):
                with self.subTest(source=source, target=target):
                    sender, receiver = self.clients[source], self.clients[target]
                    await sender.send({"type": "tell", "to": receiver.id, "text": f"{source}>{target}"})
                    expected = {"type": "told", "from": sender.id, "text": f"{source}>{target}"}
                    self.assertEqual(await receiver.next(), expected)
                    self.assertEqual(await self.done(sender), (True, ""))

    async def test_messages_to_another_worker_keep_their_order(self):
        sender, receiver = self.clients[1], self.clients[2]
        for n in range(50):
            await sender.send({"type": "tell", "to": receiver.id, "text": str(n)})
        texts = [(await receiver.expect("told"))["text"] for _ in range(50)]
        self.assertEqual(texts, [str(n) for n in range(50)])

    async def test_close_reaches_a_connection_of_another_worker(self):
        await self.clients[1].send({"type": "dismiss", "to": self.clients[2].id})
        self.assertEqual(await self.clients[2].closed(), (4000, "dismissed"))
        self.assertEqual(await self.done(self.clients[1]), (True, ""))

    async def test_send_to_a_closed_connection_says_closed(self):
        gone = self.clients[2]
        await gone.close()

        async def forgotten():
            status, _, _ = await self.server.ask("GET", f"/connections/{gone.id}")
            return status == 404

        await self.server.eventually("the connection is forgotten", forgotten)
        await self.clients[1].send({"type": "tell", "to": gone.id, "text": "hello?"})
        self.assertEqual(await self.done(self.clients[1]), (False, "closed"))

    async def test_send_to_an_id_that_never_was_says_closed(self):
        for made_up in (
            "ws_1111111111111_0200000fffff_1111111111111111",
            "ws_1111111111111_990000000001_1111111111111111",
        ):
            await self.clients[1].send({"type": "tell", "to": made_up, "text": "hello?"})
            self.assertEqual(await self.done(self.clients[1]), (False, "closed"))

    async def test_an_id_with_one_wrong_digit_reaches_nobody(self):
        target = self.clients[2]
        wrong = target.id[:-1] + ("0" if target.id[-1] != "0" else "1")
        await self.clients[1].send({"type": "tell", "to": wrong, "text": "guessed"})
        self.assertEqual(await self.done(self.clients[1]), (False, "closed"))
        await target.send({"type": "ping"})
        await target.expect("pong")


if __name__ == "__main__":
    unittest.main()
