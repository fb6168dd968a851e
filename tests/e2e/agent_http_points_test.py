"""agent.http: ten thousand events, an upstream that dies at every point of its answer, and a cancel at every
point. Always one terminal event, nothing left, and the request closed."""

import asyncio
import json
import unittest

from harness import Client, ServerTest, open_policy
from upstream import Upstream

TERMINAL = ("agent_completed", "agent_error")
POLICY = """
    local agent = require "tidegate.agent"
    policy.agents = { remote = agent.http{ url = "%s", stream = "%s", circuit = false } }
    """
TYPES = {"sse": "text/event-stream", "ndjson": "application/x-ndjson"}
STORY = [
    {"type": "agent_thinking", "text": "hm"},
    {"type": "tool_executing", "tool_call_id": "t", "name": "look"},
    {"type": "agent_delta", "text": "grün 🌍"},
    {"type": "tool_completed", "tool_call_id": "t", "name": "look", "result": 42},
    {"type": "agent_completed", "response": "all"},
]


def written(stream, event):
    text = json.dumps(event, ensure_ascii=False)
    return (f"data: {text}\n\n" if stream == "sse" else text + "\n").encode()


class Points(ServerTest):
    async def start(self, handler, stream):
        self.upstream = await Upstream.start({"*": handler})
        self.addAsyncCleanup(self.upstream.stop)
        server = await self.serve(open_policy(POLICY % (self.upstream.url("/run"), stream)), workers=1)
        return await Client.ready(server), server

    async def assert_nothing_left(self, client, server):
        await client.alive()
        self.assertEqual(await server.metric('tidegate_runs{agent="remote"}'), 0)

        async def quiet():
            return await server.metric("tidegate_http_in_flight") == 0

        await server.eventually("no request", quiet)

    async def test_ten_thousand_deltas_arrive_in_order(self):
        for stream, kind in TYPES.items():
            deltas = [written(stream, {"type": "agent_delta", "text": f"{i};"}) for i in range(10000)]
            end = written(stream, STORY[-1])

            async def handler(exchange):
                await exchange.stream_head("Content-Type: " + kind)
                if len(self.upstream.requests) == 1:  # at once, and one by one
                    await exchange.chunk(b"".join(deltas))
                else:
                    for delta in deltas:
                        await exchange.chunk(delta)
                await exchange.chunk(end)
                await exchange.send("0\r\n\r\n")

            client, server = await self.start(handler, stream)
            for _ in range(2):
                events = await client.answer("go", "remote")
                self.assert_events(events, "remote")
                text = "".join(e["data"]["text"] for e in events if e["type"] == "agent_delta")
                self.assertEqual(text, "".join(f"{i};" for i in range(10000)), stream)
            await self.assert_nothing_left(client, server)

    async def test_an_upstream_that_dies_anywhere_in_its_answer(self):
        for stream, kind in TYPES.items():
            body = b"".join(written(stream, event) for event in STORY)
            # Of the line's end: SSE dispatches at the empty line, and a line without its end is none.
            whole = len(body) - (1 if stream == "sse" else 0)
            rows = [(cut, end) for cut in range(0, len(body) + 1, 3) for end in ("reset", "close")]
            rows += [(len(body) - n, end) for n in (0, 1, 2) for end in ("reset", "close", "end")]

            async def handler(exchange):
                cut, end = rows[len(self.upstream.requests) - 1]
                await exchange.stream_head("Content-Type: " + kind)
                if cut > 0:
                    await exchange.chunk(body[:cut])
                if end == "end":
                    return await exchange.send("0\r\n\r\n")
                if end == "reset":
                    exchange.abort()
                return "close"

            client, server = await self.start(handler, stream)
            for cut, end in rows:
                with self.subTest(stream=stream, cut=cut, end=end):
                    events = await client.answer("go", "remote")
                    kinds = self.assert_events(events, "remote", events[-1]["type"])
                    if cut < whole - 1:
                        self.assertEqual(kinds[-1], "agent_error")
                        self.assertIn(events[-1]["data"]["code"], ("upstream_unavailable", "bad_upstream_answer"))
                    elif cut == len(body):
                        self.assertIn(kinds[-1], ("agent_completed",) if end != "reset" else TERMINAL)
            self.assertEqual(len(self.upstream.requests), len(rows))  # nothing was tried again
            await self.assert_nothing_left(client, server)

    async def test_a_cancel_or_a_leave_after_any_event_closes_the_request(self):
        for stream, kind in TYPES.items():

            async def handler(exchange):
                await exchange.stream_head("Content-Type: " + kind)
                for event in STORY[: (len(self.upstream.requests) - 1) // 2]:
                    await exchange.chunk(written(stream, event))
                await asyncio.Event().wait()

            client, server = await self.start(handler, stream)
            for number in range(2 * len(STORY)):
                count, leaves = number // 2, number % 2 == 1
                with self.subTest(stream=stream, after=count, leaves=leaves):
                    await client.run("go", "remote")
                    events = [await client.expect("agent_started")]
                    await self.upstream.asked(number + 1)
                    events += [await client.next() for _ in range(count)]
                    if leaves:
                        client.ws.transport.abort()
                    else:
                        await client.send({"type": "agent_cancel", "data": {"run_id": events[0]["run_id"]}})
                        events += await client.until(*TERMINAL)
                        self.assert_events(events, "remote", "agent_error")
                        self.assertEqual(events[-1]["data"]["code"], "cancelled")
                    await asyncio.wait_for(self.upstream.connections[-1].gone.wait(), 20)
                    if leaves:
                        client = await Client.ready(server)
            await self.assert_nothing_left(client, server)


if __name__ == "__main__":
    unittest.main()
