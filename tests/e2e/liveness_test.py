"""Who is still there: keep-alive, the close handshake, idle connections and slow readers."""

import asyncio
import time
import unittest

from harness import (
    CLOSE,
    DEADLINE,
    PING,
    PONG,
    TEXT,
    Client,
    Raw,
    ServerTest,
    frame,
    open_policy,
)

POLICY = open_policy(
    """
    function policy.message(conn, message)
      if message.type == "bye" then
        conn:close(4000, "bye")
      end
    end
    """
)
KEEPALIVE = ("--set", "limits.ping_interval=150ms", "--set", "limits.pong_timeout=1s")


class KeepAlive(ServerTest):
    async def test_a_peer_that_answers_no_ping_is_closed(self):
        server = await self.serve(POLICY, *KEEPALIVE)
        raw = await Raw.ready(server)
        self.assertEqual((await raw.read_frame())[0], PING)

        async def dropped():
            while (await raw.read_frame()) is not None:  # never answers, neither ping nor close
                pass

        await asyncio.wait_for(dropped(), DEADLINE)
        await server.wait_log(rf"\bid={raw.id}\b.*(ping|pong)")

    async def test_a_peer_that_answers_pings_and_never_ends_its_message_is_closed(self):
        server = await self.serve(POLICY, *KEEPALIVE, "--set", "limits.message_timeout=500ms")
        raw = await Raw.ready(server)
        await raw.write(frame(TEXT, b'{"type":', fin=False))
        while (received := await raw.read_frame())[0] == PING:
            await raw.write(frame(PONG, received[1]))
        self.assertEqual(received, (CLOSE, b"\x11\x38the message took too long to arrive"))
        raw.close()
        await server.metric_reaches('tidegate_closes_total{code="4408"}')

    async def test_a_peer_that_answers_pings_stays(self):
        server = await self.serve(POLICY, *KEEPALIVE)
        raw = await Raw.ready(server)
        began = time.monotonic()
        pings = 0
        while time.monotonic() - began < 1.5:  # longer than it would have without an answer
            opcode, payload = await raw.read_frame()
            self.assertEqual(opcode, PING)
            await raw.write(frame(PONG, payload))
            pings += 1
        self.assertLess(pings, 15)
        await raw.write(frame(TEXT, {"type": "ping"}))
        self.assertEqual((await raw.next())["type"], "pong")
        raw.close()

    async def test_a_clients_ping_is_answered_with_its_payload(self):
        server = await self.serve(POLICY)
        raw = await Raw.ready(server)
        await raw.write(frame(PING, "payload"))
        self.assertEqual(await raw.read_frame(), (PONG, b"payload"))
        raw.close()


class CloseHandshake(ServerTest):
    async def test_a_close_is_answered_and_the_server_ends_the_connection_first(self):
        server = await self.serve(POLICY, "--set", "limits.close_timeout=1h")
        raw = await Raw.ready(server)
        await raw.write(frame(CLOSE, b"\x03\xe8done"))
        opcode, payload = await raw.read_frame()
        self.assertEqual((opcode, payload[:2]), (CLOSE, b"\x03\xe8"))
        self.assertIsNone(await raw.read_frame())  # end of stream, this side still open
        raw.close()
        await server.metric_reaches('tidegate_closes_total{code="1000"}')

    async def test_a_peer_that_never_answers_a_close_is_dropped_after_the_timeout(self):
        server = await self.serve(POLICY, "--set", "limits.close_timeout=400ms")
        raw = await Raw.ready(server)
        began = time.monotonic()  # before the server's clock begins
        await raw.write(frame(TEXT, {"type": "bye"}))
        self.assertEqual(await raw.until_close(), (4000, "bye"))
        self.assertEqual(await raw.rest(), b"")
        waited = time.monotonic() - began
        self.assertGreater(waited, 0.25)
        self.assertLess(waited, 3)
        raw.close()

    async def test_a_peer_that_answers_a_close_is_gone_at_once(self):
        server = await self.serve(POLICY, "--set", "limits.close_timeout=1h")
        raw = await Raw.ready(server)
        await raw.write(frame(TEXT, {"type": "bye"}))
        await raw.until_close()
        await raw.write(frame(CLOSE, b"\x0f\xa0"))
        self.assertEqual(await raw.rest(), b"")
        raw.close()

    async def test_a_peer_that_just_goes_away_is_forgotten(self):
        server = await self.serve(POLICY)
        raw = await Raw.ready(server)
        raw.abort()

        async def gone():
            return await server.connections() == []

        await server.eventually("no connection left", gone)


class Idle(ServerTest):
    async def test_a_quiet_connection_becomes_idle_and_wakes_with_a_message(self):
        server = await self.serve(POLICY, "--set", "limits.idle_after=200ms")
        client = await Client.ready(server)

        async def idle():
            return (await server.get(f"/connections/{client.id}"))["state"] == "idle"

        await server.eventually("the state idle", idle)
        await client.alive()
        moves = (await server.get(f"/connections/{client.id}"))["transitions"]
        tos = [move["to"] for move in moves]
        self.assertEqual(tos[tos.index("idle") + 1], "processing_ready")


if __name__ == "__main__":
    unittest.main()
