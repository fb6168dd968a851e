#!/usr/bin/env python3
"""The agents of the examples that are programs of their own, each with the policy that asks it."""

import asyncio
import sys
import unittest

from harness import ROOT, Client, ServerTest


class Example:
    """What is true of all of them. FOLDER has agent.py and init.lua, whose AGENT can answer MESSAGE."""

    async def start(self, *options):
        """The agent, which wants a key, and a client of the server."""
        command = (sys.executable, self.FOLDER / "agent.py", "--port", "0", "--key", "s3cret")
        self.process, url, self.out = await asyncio.to_thread(self.start_program, *command)
        server = await self.serve(self.FOLDER, "--set", f"options.url={url}", *options)
        return await Client.ready(server, "demo-key")

    async def start_with_key(self):
        return await self.start("--set", "options.key=s3cret")

    async def assert_cancel_is_noticed(self, client, message, busy):
        """A slow run is cancelled once it has said `busy`."""
        slow = {"message": message, "agent_type": self.AGENT, "pause": 1.5}
        await client.send({"type": "agent_execution", "data": slow})
        run_id = (await client.until(busy))[0]["run_id"]
        await client.send({"type": "agent_cancel", "data": {"run_id": run_id}})
        await client.until("agent_error")
        await asyncio.to_thread(self.out.wait, f"^stopped {run_id}")

    async def test_without_its_key_or_its_process_it_says_so(self):
        client = await self.start()
        events = await client.answer(self.MESSAGE, self.AGENT)
        self.assertEqual(events[-1]["data"]["code"], "upstream_refused")
        self.process.kill()
        self.process.wait()
        events = await client.answer(self.MESSAGE, self.AGENT)
        self.assertEqual(events[-1]["data"]["code"], "upstream_unavailable")
        await client.alive()


class HttpAgent(Example, ServerTest):
    FOLDER = ROOT / "examples/http_agent"
    AGENT = "words"
    MESSAGE = "some words"

    async def test_it_answers_and_notices_a_cancel(self):
        client = await self.start_with_key()
        events = await client.answer("the cat and the dog", "words")
        kinds = self.assert_events(events, "words")
        self.assertEqual(kinds[:4], ["agent_started", "agent_thinking", "tool_executing", "tool_completed"])
        self.assertEqual(events[1]["data"]["text"], "ada wants words counted.")
        self.assertEqual(events[3]["data"]["result"]["the"], 2)
        self.assertTrue(events[-1]["data"]["response"].startswith("5 words"))
        events = await client.answer(" ", "words")
        self.assertEqual(events[-1]["data"]["code"], "empty_message")
        await self.assert_cancel_is_noticed(client, "one two three", busy="agent_delta")


class WebsocketAgent(Example, ServerTest):
    FOLDER = ROOT / "examples/websocket_agent"
    AGENT = "dice"
    MESSAGE = "3d6"

    async def test_it_answers_and_notices_a_cancel(self):
        client = await self.start_with_key()
        events = await client.answer("3d6", "dice")
        kinds = self.assert_events(events, "dice")
        self.assertEqual(kinds[:3], ["agent_started", "agent_thinking", "tool_executing"])
        total = sum(e["data"]["result"] for e in events if e["type"] == "tool_completed")
        self.assertEqual(events[-1]["data"]["response"], f"{total} in all")
        events = await client.answer("a die", "dice")
        self.assertEqual(events[-1]["data"]["code"], "not_dice")
        await self.assert_cancel_is_noticed(client, "9d6", busy="tool_executing")


if __name__ == "__main__":
    unittest.main()
