"""Stopping: everybody is told, runs may finish, and the process ends with 0."""

import asyncio
import signal
import time
import unittest

from harness import DEADLINE, Client, ConnectionClosed, Raw, Refused, ServerTest, open_policy

POLICY = open_policy(
    """
    local time = require "tidegate.time"
    policy.agents = {
      echo = function(run, input) return input.message end,
      waits = function(run)
        run:thinking("waiting")
        while not run.conn.session.go do
          time.sleep(0.01)
        end
        return "went"
      end,
    }
    function policy.message(conn)
      conn.session.go = true
    end
    """
)


class Drain(ServerTest):
    async def test_under_load_every_client_gets_1001_and_none_a_reset(self):
        server = await self.serve(POLICY)
        clients = [await Client.ready(server, f"user-{n}") for n in range(50)]
        answers = asyncio.Semaphore(0)

        async def talk(client):
            """Asks without end; returns the code it was closed with."""
            try:
                while True:
                    await client.answer("hello", "echo")
                    answers.release()
            except ConnectionClosed as error:
                return client.ws.close_code, error

        talking = [asyncio.create_task(talk(client)) for client in clients]
        for _ in range(200):
            await asyncio.wait_for(answers.acquire(), DEADLINE)
        server.signal(signal.SIGTERM)
        for code, error in await asyncio.gather(*talking):
            self.assertEqual(code, 1001, repr(error))
        self.assertEqual(await server.ended(), 0)

    async def test_connections_in_every_stage_are_ended_in_order(self):
        server = await self.serve(POLICY)
        quiet = await Client.ready(server)
        half = await Raw.connect(server)
        await half.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
        silent = await Raw.connect(server)
        server.signal(signal.SIGTERM)
        self.assertEqual((await quiet.closed())[0], 1001)
        self.assertNotIn(b" 101 ", await half.rest())
        self.assertNotIn(b" 101 ", await silent.rest())
        half.close()
        silent.close()
        self.assertEqual(await server.ended(), 0)

    async def test_a_run_in_flight_may_finish_and_then_the_client_gets_1001(self):
        server = await self.serve(POLICY, "--set", "drain_timeout=1h")
        client = await Client.ready(server)
        await client.run("x", "waits")
        await client.until("agent_thinking")
        server.signal(signal.SIGTERM)
        await server.wait_log("drain")

        async def not_ready():
            status, _, _ = await server.ask("GET", "/ready")
            return status == 503

        await server.eventually("GET /ready says 503", not_ready)
        self.assertEqual((await server.get("/health"))["status"], "draining")
        await client.send({"type": "go"})
        self.assertEqual((await client.expect("agent_completed"))["data"]["response"], "went")
        self.assertEqual((await client.closed())[0], 1001)
        self.assertEqual(await server.ended(), 0)

    async def test_while_draining_nobody_new_gets_in(self):
        server = await self.serve(POLICY, "--set", "drain_timeout=1h")
        client = await Client.ready(server)
        await client.run("x", "waits")
        await client.until("agent_thinking")
        server.signal(signal.SIGTERM)
        await server.wait_log("drain")

        async def turned_away():
            try:
                late = await Client.open(server)
            except Refused as refused:
                self.assertEqual(refused.status, 503)
                return True
            except OSError:
                return True
            # Before its worker knew of the drain; it is told a moment later.
            self.assertEqual((await late.closed())[0], 1001)
            return False

        await server.eventually("nobody gets in any more", turned_away)
        await client.send({"type": "go"})
        await client.closed()
        self.assertEqual(await server.ended(), 0)

    async def test_a_run_over_the_drain_timeout_ends_in_agent_error_and_1001(self):
        server = await self.serve(POLICY, "--set", "drain_timeout=300ms")
        client = await Client.ready(server)
        await client.run("x", "waits")
        await client.until("agent_thinking")
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        error = await client.expect("agent_error")
        self.assertTrue(error["data"]["code"])
        self.assertGreater(time.monotonic() - began, 0.2)
        self.assertEqual((await client.closed())[0], 1001)
        self.assertEqual(await server.ended(), 0)

    async def test_sigint_stops_it_as_sigterm_does(self):
        server = await self.serve(POLICY)
        client = await Client.ready(server)
        server.signal(signal.SIGINT)
        self.assertEqual((await client.closed())[0], 1001)
        self.assertEqual(await server.ended(), 0)

    async def test_post_drain_stops_it_as_sigterm_does(self):
        server = await self.serve(POLICY)
        client = await Client.ready(server)
        status, _, _ = await server.ask("POST", "/drain")
        self.assertEqual(status, 202)
        self.assertEqual((await client.closed())[0], 1001)
        self.assertEqual(await server.ended(), 0)


if __name__ == "__main__":
    unittest.main()
