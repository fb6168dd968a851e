"""A connection that lacks a service works all the same, and gets well by itself."""

import unittest
from datetime import datetime

from harness import Client, ServerTest, open_policy

POLICY = open_policy(
    """
    function policy.prepare(conn)
      local tries = (conn.session.tries or 0) + 1
      conn.session.tries = tries
      if tries < 4 then
        return tide.degraded("the database is down")
      end
      return true
    end
    policy.agents = { echo = function(run, input) return input.message end }
    """
)


class Degraded(ServerTest):
    async def test_it_is_said_in_connection_ready_and_messages_are_answered(self):
        server = await self.serve(POLICY, "--set", "limits.prepare_retry=1h",
                                  "--set", "limits.prepare_retry_max=1h")
        client = await Client.ready(server)
        self.assertEqual(client.data["state"], "degraded")
        self.assertEqual(client.data["reason"], "the database is down")
        for n in range(2):
            events = await client.answer(f"hello {n}")
            self.assertEqual(events[-1]["data"]["response"], f"hello {n}")
            shown = await server.get(f"/connections/{client.id}")
            self.assertEqual(shown["state"], "degraded")
        self.assertEqual((await server.get("/health"))["websocket"]["states"]["degraded"], 1)

    async def test_prepare_runs_again_with_growing_pauses_until_the_connection_is_ready(self):
        server = await self.serve(POLICY, "--set", "limits.prepare_retry=300ms")
        client = await Client.ready(server)
        self.assertEqual(client.data["state"], "degraded")
        again = await client.expect("connection_ready")
        self.assertEqual(again["data"]["state"], "processing_ready")
        self.assertEqual(again["data"]["connection_id"], client.id)
        moves = (await server.get(f"/connections/{client.id}"))["transitions"]
        self.assertEqual(
            [move["to"] for move in moves][2:],
            ["degraded"] + ["reconnecting", "degraded"] * 2 + ["reconnecting", "processing_ready"],
        )
        at = [
            datetime.fromisoformat(move["at"].replace("Z", "+00:00")).timestamp()
            for move in moves
            if move["to"] == "reconnecting"
        ]
        self.assertGreater(at[2] - at[1], (at[1] - at[0]) * 1.2)
        await client.alive()


if __name__ == "__main__":
    unittest.main()
