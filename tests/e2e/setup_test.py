"""From socket to processing_ready: every state in its order, messages that come too early, and
deadlines for peers that go nowhere."""

import asyncio
import json
import time
import unittest

from harness import TEXT, Client, Raw, ServerTest, frame, open_policy, upgrade_request

SLOW_SETUP = open_policy(
    """
    local time = require "tidegate.time"
    local authenticate = policy.authenticate
    function policy.authenticate(conn, credentials)
      time.sleep(0.2)
      return authenticate(conn, credentials)
    end
    function policy.create_context(conn, identity)
      return { greeting = "hello " .. identity.user_id }
    end
    function policy.prepare(conn, context)
      time.sleep(0.01)
      return context.greeting ~= nil
    end
    function policy.message(conn, message)
      conn:send({ type = "note", n = message.n, size = #message.body })
    end
    """
)

# The header `x-hang` picks the hook that never answers.
HANGS = """
local tide = require "tidegate"
local time = require "tidegate.time"
local policy = {}
local function hang(conn, hook)
  if conn.request.headers["x-hang"] == hook then
    time.sleep(3600)
  end
end
function policy.authenticate(conn, credentials)
  if conn.request.headers["x-hang"] == "peer" and not credentials.message then
    return tide.need_message()
  end
  hang(conn, "authenticate")
  return { user_id = "ada" }
end
function policy.create_context(conn)
  hang(conn, "create_context")
  return {}
end
function policy.prepare(conn)
  hang(conn, "prepare")
  return true
end
return policy
"""


class States(ServerTest):
    async def transitions(self, server, client):
        return (await server.get(f"/connections/{client.id}"))["transitions"]

    async def test_setup_passes_through_every_state_in_order_and_says_why(self):
        server = await self.serve(SLOW_SETUP)
        client = await Client.ready(server, "ada")
        moves = await self.transitions(server, client)
        self.assertEqual(
            [(move["from"], move["to"]) for move in moves],
            [
                ("connecting", "accepted"),
                ("accepted", "authenticated"),
                ("authenticated", "services_ready"),
                ("services_ready", "processing_ready"),
            ],
        )
        for move in moves:
            self.assertRegex(move["at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
            self.assertTrue(move["reason"])
        self.assertEqual([move["at"] for move in moves], sorted(move["at"] for move in moves))
        await client.close()

    async def test_accepted_is_still_there_while_authenticate_waits(self):
        server = await self.serve(HANGS)
        client = await Client.open(server, headers={"x-hang": "authenticate"})
        connection_id = client.headers["Tidegate-Connection-Id"]
        shown = await server.get(f"/connections/{connection_id}")
        self.assertEqual(shown["state"], "accepted")
        self.assertEqual(
            [(move["from"], move["to"]) for move in shown["transitions"]],
            [("connecting", "accepted")],
        )
        self.assertEqual((await server.get("/health"))["websocket"]["states"]["accepted"], 1)
        await client.ws.close()

    async def test_each_move_is_counted_once(self):
        server = await self.serve(SLOW_SETUP)
        client = await Client.ready(server, "ada")
        metrics = await server.metrics()
        self.assertEqual(
            metrics['tidegate_transitions_total{from="accepted",to="authenticated"}'], 1
        )
        self.assertEqual(metrics['tidegate_connections{state="processing_ready"}'], 1)
        self.assertEqual(metrics.get("tidegate_invalid_transitions_total", 0), 0)
        await client.close()

    async def test_credentials_may_come_in_a_message(self):
        server = await self.serve(
            """
            local tide = require "tidegate"
            local policy = {}
            function policy.authenticate(conn, credentials)
              if not credentials.message then
                return tide.need_message()
              end
              if credentials.message.data.token ~= "right" then
                return nil, "wrong token"
              end
              return { user_id = "ada" }
            end
            return policy
            """
        )
        client = await Client.open(server)
        await client.send({"type": "authenticate", "data": {"token": "right"}})
        ready = await client.expect("connection_ready")
        self.assertEqual(ready["data"]["user_id"], "ada")
        await client.close()
        client = await Client.open(server)
        await client.send({"type": "authenticate", "data": {"token": "wrong"}})
        self.assertEqual(await client.closed(), (4401, "wrong token"))


class EarlyMessages(ServerTest):
    async def send_behind_the_handshake(self, server, count, body):
        """Sends everything before reading anything; returns the notes that come back."""
        raw = await Raw.connect(server)
        messages = [
            frame(TEXT, json.dumps({"type": "note", "n": n, "body": body})) for n in range(count)
        ]

        async def send():
            await raw.write(upgrade_request(headers={"Authorization": "Bearer ada"}))
            for message in messages:
                await raw.write(message)

        sending = asyncio.create_task(send())
        status, _ = await raw.response()
        self.assertEqual(status, 101)
        self.assertEqual((await raw.next())["type"], "connection_ready")
        notes = [await raw.next() for _ in range(count)]
        await sending
        raw.close()
        return notes

    async def test_messages_sent_while_authenticate_waits_arrive_in_order(self):
        server = await self.serve(SLOW_SETUP)
        notes = await self.send_behind_the_handshake(server, 10, "x")
        self.assertEqual([note["n"] for note in notes], list(range(10)))

    async def test_more_messages_than_the_inbox_holds_pause_reading_and_none_is_lost(self):
        server = await self.serve(SLOW_SETUP, "--set", "limits.inbox_messages=8")
        body = "x" * 16000
        notes = await self.send_behind_the_handshake(server, 500, body)
        self.assertEqual([note["n"] for note in notes], list(range(500)))
        self.assertEqual({note["size"] for note in notes}, {len(body)})
        self.assertGreater(await server.metric("tidegate_reads_paused_total"), 0)

    async def test_more_bytes_than_the_inbox_holds_pause_reading_and_none_is_lost(self):
        server = await self.serve(SLOW_SETUP, "--set", "limits.inbox_bytes=32KiB")
        notes = await self.send_behind_the_handshake(server, 50, "x" * 30000)
        self.assertEqual([note["n"] for note in notes], list(range(50)))
        self.assertGreater(await server.metric("tidegate_reads_paused_total"), 0)

    async def test_messages_beside_a_slow_hook_wait_for_it_and_stay_in_order(self):
        server = await self.serve(
            open_policy(
                """
                local time = require "tidegate.time"
                function policy.message(conn, message)
                  time.sleep(message.n == 0 and 0.1 or 0.001)
                  conn:send({ type = "note", n = message.n })
                end
                """
            ),
            "--set",
            "limits.inbox_messages=4",
        )
        client = await Client.ready(server)
        for n in range(40):
            await client.send({"type": "note", "n": n})
        self.assertEqual([(await client.next())["n"] for _ in range(40)], list(range(40)))
        await client.close()


class Deadlines(ServerTest):
    LIMITS = (
        "--set", "limits.handshake_timeout=400ms",
        "--set", "limits.auth_timeout=400ms",
        "--set", "limits.setup_timeout=400ms",
    )  # fmt: skip

    async def assert_stuck(self, server, state):
        await server.metric_reaches(f'tidegate_stuck_connections_total{{state="{state}"}}')

    async def test_a_peer_that_says_nothing_is_closed_at_the_deadline(self):
        server = await self.serve(HANGS, *self.LIMITS)
        began = time.monotonic()  # before the server's clock begins
        raw = await Raw.connect(server)
        self.assertNotIn(b" 101 ", await raw.rest())
        self.assertGreater(time.monotonic() - began, 0.3)
        await self.assert_stuck(server, "connecting")
        raw.close()

    async def test_a_peer_that_sends_byte_by_byte_gains_no_time(self):
        server = await self.serve(HANGS, *self.LIMITS)
        raw = await Raw.connect(server)
        began = time.monotonic()
        ended = asyncio.create_task(raw.rest())
        for byte in upgrade_request():
            try:
                await raw.write(bytes([byte]))
            except ConnectionError:
                break
            done, _ = await asyncio.wait([ended], timeout=0.05)
            if done:
                break
        # A server that closes while bytes still come may answer the next one with a reset.
        (result,) = await asyncio.gather(ended, return_exceptions=True)
        if not isinstance(result, ConnectionError):
            self.assertNotIn(b" 101 ", result)
        self.assertLess(time.monotonic() - began, len(upgrade_request()) * 0.05)
        await self.assert_stuck(server, "connecting")
        raw.abort()

    async def assert_4408(self, hang, state):
        server = await self.serve(HANGS, *self.LIMITS)
        client = await Client.open(server, headers={"x-hang": hang})
        code, reason = await client.closed()
        self.assertEqual(code, 4408, reason)
        self.assertTrue(reason)
        await self.assert_stuck(server, state)

    async def test_a_peer_that_never_sends_its_credentials_is_closed_4408(self):
        await self.assert_4408("peer", "accepted")

    async def test_an_authenticate_that_never_answers_is_cut_off_4408(self):
        await self.assert_4408("authenticate", "accepted")

    async def test_a_create_context_that_never_answers_is_cut_off_4408(self):
        await self.assert_4408("create_context", "authenticated")

    async def test_a_prepare_that_never_answers_is_cut_off_4408(self):
        await self.assert_4408("prepare", "authenticated")

    async def test_health_shows_nothing_stuck_once_the_stuck_ones_are_closed(self):
        server = await self.serve(HANGS, *self.LIMITS)
        client = await Client.open(server, headers={"x-hang": "prepare"})
        await client.closed()

        async def gone():
            websocket = (await server.get("/health"))["websocket"]
            return websocket["connections"] == 0 and websocket

        websocket = await server.eventually("no connection left", gone)
        self.assertEqual(websocket["stuck_in_connecting"], 0)
        self.assertEqual(websocket["stuck_in_setup"], 0)


if __name__ == "__main__":
    unittest.main()
