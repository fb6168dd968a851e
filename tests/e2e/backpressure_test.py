"""A client that reads slowly slows its agents down and loses nothing; one that reads nothing is let go."""

import asyncio
import json
import unittest

from harness import PING, PONG, TEXT, Client, Raw, ServerTest, frame, open_policy, upgrade_request

PIECES = 3000
PIECE = 4000

POLICY = open_policy(
    """
    local log = require "tidegate.log"
    local time = require "tidegate.time"
    policy.agents = {
      flood = function(run, input)
        for n = 1, %d do
          local ok, why = run:delta(string.format("%%06d", n) .. string.rep("x", %d))
          if not ok then log.info("flood.stopped", { at = n, why = why }) return nil end
        end
        log.info("flood.done")
        return "all"
      end,
      stream = function(run, input)
        for n = 1, %d do
          run:delta(string.format("%%06d", n) .. string.rep("x", %d))
          if n %% 50 == 0 then time.sleep(0.001) end -- lets the pieces so far go to the socket
        end
        log.info("stream.done")
        return "all"
      end,
      tools = function(run, input)
        for n = 1, 400 do
          run:tool("big", { n = n }, function() return string.rep("r", 20000) end)
        end
        return "all"
      end,
    }
    function policy.message(conn, message)
      for n = 1, 400 do
        local ok, why = conn:send({ type = "part", n = n, filler = string.rep("y", 20000) })
        if not ok then return end
      end
      conn:send({ type = "end" })
    end
    """
    % (PIECES, PIECE - 6, PIECES, PIECE - 6)
)
PATIENT = ("--set", "limits.ping_interval=0")  # who reads slowly on a busy machine would meet a ping
LIMITS = ("--set", "limits.outbox_bytes=256KiB", *PATIENT)


async def slow_client(server):
    """Upgraded and ready, and from now on reading only what read_frame asks for."""
    raw = Raw(*await asyncio.open_connection(server.host, server.port, limit=4096))
    await raw.write(upgrade_request())
    status, raw.head = await raw.response()
    assert status == 101, status
    ready = await raw.next()
    assert ready["type"] == "connection_ready", ready
    raw.id = ready["data"]["connection_id"]
    return raw


def ask(agent):
    return frame(TEXT, {"type": "agent_execution", "data": {"message": "go", "agent_type": agent}})


class SlowClient(ServerTest):
    async def congested(self, server, raw):
        """Until the server holds something back for this client."""

        async def full():
            shown = await server.get(f"/connections/{raw.id}")
            return shown["outbox_bytes"] > 64 * 1024 and shown  # over a quarter nobody goes on sending

        return await server.eventually("an outbox that fills up", full)

    async def test_an_agent_waits_for_the_client_and_every_piece_arrives_in_order(self):
        server = await self.serve(POLICY, *LIMITS)
        raw = await slow_client(server)
        await raw.write(ask("flood"))
        shown = await self.congested(server, raw)
        self.assertLess(shown["outbox_bytes"], 256 * 1024)
        self.assertIsNone(server.log.find("flood.done"), "the agent did not wait")

        # Others on the server do not feel it.
        self.assertTrue((await Client.ready(server)).id)

        await self.read_pieces(raw)

    async def test_pieces_are_joined_while_the_client_takes_nothing(self):
        large = ("--set", "limits.outbox_bytes=64MiB", "--set", "script.cpu_budget=5s")
        server = await self.serve(POLICY, *large, *PATIENT)
        raw = await slow_client(server)
        await raw.write(ask("stream"))
        await server.wait_log("stream.done")
        self.assertLess(await self.read_pieces(raw), PIECES)

    async def read_pieces(self, raw):
        """Reads a whole run of numbered pieces, checks their order and returns how many deltas they came in."""
        text, seq, events = "", 0, 0
        while True:
            event = await raw.next()
            seq += 1
            self.assertEqual(event["seq"], seq)
            if event["type"] == "agent_delta":
                text += event["data"]["text"]
                events += 1
            elif event["type"] != "agent_started":
                break
        self.assertEqual(event["type"], "agent_completed")
        self.assertEqual(len(text), PIECES * PIECE)
        self.assertEqual([int(text[i : i + 6]) for i in range(0, len(text), PIECE)], list(range(1, PIECES + 1)))
        return events

    async def test_tool_results_are_neither_joined_nor_dropped(self):
        server = await self.serve(POLICY, *LIMITS)
        raw = await slow_client(server)
        await raw.write(ask("tools"))
        await self.congested(server, raw)
        seen = []
        while not seen or seen[-1] not in ("agent_completed", "agent_error"):
            seen.append((await raw.next())["type"])
        self.assertEqual(seen[0], "agent_started")
        self.assertEqual(seen[1:-1], ["tool_executing", "tool_completed"] * 400)
        self.assertEqual(seen[-1], "agent_completed")

    async def test_a_hook_that_sends_waits_too_and_not_on_its_wall_budget(self):
        server = await self.serve(POLICY, *LIMITS, "--set", "script.wall_budget=1s")
        raw = await slow_client(server)
        await raw.write(frame(TEXT, {"type": "give"}))
        await self.congested(server, raw)
        await asyncio.sleep(1.2)  # the subject: more time than the hook may take by itself
        numbers = []
        while True:
            message = await raw.next()
            if message["type"] == "end":
                break
            numbers.append(message["n"])
        self.assertEqual(numbers, list(range(1, 401)))

    async def test_a_client_that_reads_nothing_is_ended_with_1008_and_counted(self):
        server = await self.serve(POLICY, *LIMITS, "--set", "limits.outbox_timeout=300ms")
        raw = await slow_client(server)
        await raw.write(ask("flood"))
        await server.wait_log(rf"conn\.close id={raw.id} code=1008")
        await server.wait_log(r"flood\.stopped|run\.|code=1008")
        self.assertEqual(await server.metric("tidegate_slow_clients_total"), 1)
        self.assertIsNone(server.log.find("flood.done"))
        self.assertTrue((await Client.ready(server)).id)

    async def test_a_ping_flood_that_reads_nothing_costs_no_memory(self):
        server = await self.serve(POLICY, *LIMITS)
        raw = await slow_client(server)
        await raw.write(ask("flood"))
        await self.congested(server, raw)
        flood = b"".join(frame(PING, f"{n:06d}" + "p" * 100) for n in range(2000))
        for _ in range(10):
            await asyncio.wait_for(raw.write(flood), 20)
        shown = await server.get(f"/connections/{raw.id}")
        self.assertLess(shown["outbox_bytes"], 256 * 1024)
        # The last one is answered once there is room (RFC 6455 section 5.5.3).
        while True:
            opcode, payload = await raw.read_frame()
            if opcode == PONG and payload.startswith(b"001999"):
                break
            self.assertFalse(opcode == TEXT and json.loads(payload)["type"] == "agent_completed")


if __name__ == "__main__":
    unittest.main()
