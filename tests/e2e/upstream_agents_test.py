#!/usr/bin/env python3
"""agent.http: agents that run elsewhere, over real connections: what is passed on and when, what closes the
request, and what a reload, a crash or a thousand events at once do to a run."""

import asyncio
import json
import unittest

from harness import Client, ServerTest, open_policy
from upstream import Upstream

POLICY = """
    local agent = require "tidegate.agent"
    policy.agents = { remote = agent.http{ url = "%s", %s } }
    """

SSE = "Content-Type: text/event-stream"


def data(kind, **members):
    return f"data: {json.dumps({'type': kind, **members})}\n\n"


class HttpAgent(ServerTest):
    async def start(self, handler, options="", *args):
        """An upstream that answers so, and a server whose agent it is."""
        self.upstream = await Upstream.start({"*": handler})
        self.addAsyncCleanup(self.upstream.stop)
        self.policy = open_policy(POLICY % (self.upstream.url("/run"), options))
        return await self.serve(self.policy, *args, workers=1)

    async def gone(self):
        """The connection of the only request is closed by our side."""
        await asyncio.wait_for(self.upstream.connections[0].gone.wait(), 20)

    async def test_events_are_passed_on_as_they_come(self):
        go = asyncio.Event()

        async def handler(exchange):
            await exchange.stream_head(SSE)
            await exchange.chunk(data("agent_thinking", text="hm") + ": still here\n\n")
            await go.wait()
            for byte in data("agent_delta", text="grün").encode():
                await exchange.send(b"1\r\n%c\r\n" % byte)
            await exchange.chunk(data("agent_completed", response=[1]))
            await exchange.chunk(data("agent_delta", text="too late"))

        client = await Client.ready(await self.start(handler))
        await client.run("Hello", "remote")
        events = await client.until("agent_thinking")
        go.set()
        events += await client.until("agent_completed", "agent_error")
        self.assertEqual(
            self.assert_events(events, "remote"),
            ["agent_started", "agent_thinking", "agent_delta", "agent_completed"],
        )
        self.assert_seq(events)
        self.assertEqual(events[2]["data"]["text"], "grün")
        asked = json.loads(self.upstream.requests[0].body)
        self.assertEqual(asked["connection_id"], client.id)
        self.assertEqual(asked["run_id"], events[0]["run_id"])
        await client.alive()

    async def test_a_thousand_events_at_once_arrive_whole_and_in_order(self):
        lines = [json.dumps({"type": "agent_delta", "text": f"{i};"}) for i in range(1000)]
        lines.append(json.dumps({"type": "agent_completed", "response": "all"}))

        async def handler(exchange):
            await exchange.reply(200, "\n".join(lines), "Content-Type: application/x-ndjson")

        client = await Client.ready(await self.start(handler, 'stream = "ndjson"'))
        events = await client.answer("Hello", "remote")
        self.assert_events(events, "remote")
        self.assert_seq(events)
        text = "".join(e["data"]["text"] for e in events if e["type"] == "agent_delta")
        self.assertEqual(text, "".join(f"{i};" for i in range(1000)))

    async def test_a_client_that_reads_nothing_holds_the_upstream_back(self):
        sent = 0

        async def handler(exchange):
            nonlocal sent
            await exchange.stream_head(SSE)
            piece = data("agent_delta", text="x" * 60000)
            for _ in range(2000):
                await exchange.chunk(piece)
                sent += 1
            await exchange.chunk(data("agent_completed", response=sent))

        server = await self.start(handler, "", "--set", "limits.outbox_timeout=60s")
        client = await Client.ready(server, max_size=None, max_queue=1)
        client.ws.transport.pause_reading()
        await client.run("Hello", "remote")
        await self.upstream.asked(1)
        before = -1
        while sent != before:  # it stands still
            before = sent
            await asyncio.sleep(0.5)
        self.assertLess(sent, 1000)
        client.ws.transport.resume_reading()
        events = await client.until("agent_completed", "agent_error")
        self.assertEqual(events[-1]["data"].get("response"), 2000)

    async def hold(self, exchange):
        await exchange.stream_head(SSE)
        await exchange.chunk(data("tool_executing", tool_call_id="t", name="slow"))
        await asyncio.Event().wait()

    async def test_a_cancel_closes_the_request(self):
        client = await Client.ready(await self.start(self.hold))
        await client.run("Hello", "remote")
        events = await client.until("tool_executing")
        await client.send({"type": "agent_cancel", "data": {"run_id": events[0]["run_id"]}})
        events += await client.until("agent_error")
        self.assert_events(events, "remote", "agent_error")
        self.assertEqual(events[-1]["data"]["code"], "cancelled")
        await self.gone()
        await client.alive()

    async def test_a_client_that_goes_closes_the_request(self):
        client = await Client.ready(await self.start(self.hold))
        await client.run("Hello", "remote")
        await client.until("tool_executing")
        client.ws.transport.abort()
        await self.gone()

    async def test_a_run_that_is_too_long_closes_the_request(self):
        server = await self.start(self.hold, "", "--set", "runs.timeout=1s")
        client = await Client.ready(server)
        events = await client.answer("Hello", "remote")
        self.assert_events(events, "remote", "agent_error")
        self.assertEqual(events[-1]["data"]["code"], "timeout")
        await self.gone()

    async def test_silence_ends_the_run(self):
        client = await Client.ready(await self.start(self.hold, "idle_timeout = 1"))
        events = await client.answer("Hello", "remote")
        self.assert_events(events, "remote", "agent_error")
        self.assertEqual(events[-1]["data"]["code"], "upstream_timeout")
        await self.gone()

    async def test_a_reset_in_the_middle_ends_the_run_and_is_not_asked_again(self):
        async def handler(exchange):
            await exchange.stream_head(SSE)
            await exchange.chunk(data("tool_executing", tool_call_id="t", name="slow"))
            await asyncio.wait_for(self.heard.wait(), 20)
            exchange.abort()
            return "close"

        self.heard = asyncio.Event()
        client = await Client.ready(await self.start(handler))
        await client.run("Hello", "remote")
        events = await client.until("tool_executing")
        self.heard.set()
        events += await client.until("agent_error")
        self.assert_events(events, "remote", "agent_error")
        self.assertEqual(events[-1]["data"]["code"], "upstream_unavailable")
        self.assertEqual(len(self.upstream.requests), 1)

    async def test_nobody_there_is_tried_again_until_somebody_is(self):
        async def handler(exchange):
            if len(self.upstream.requests) < 3:
                await exchange.reply(503, "later")
            else:
                await exchange.reply(200, '{"response":"at last"}', "Content-Type: application/json")

        client = await Client.ready(await self.start(handler, 'stream = "json"'))
        events = await client.answer("Hello", "remote")
        self.assertEqual(events[-1]["data"]["response"], "at last")
        keys = {request.headers["idempotency-key"] for request in self.upstream.requests}
        self.assertEqual(keys, {events[0]["run_id"]})

    async def test_what_an_upstream_says_of_its_inside_reaches_the_log_and_not_the_client(self):
        async def handler(exchange):
            await exchange.reply(500, "Traceback: password=hunter2")

        server = await self.start(handler, 'bearer = "s3cret-token"')
        client = await Client.ready(server)
        events = await client.answer("Hello", "remote")
        self.assertEqual(events[-1]["data"], {"code": "upstream_unavailable", "message": "the upstream failed"})
        await server.wait_log(r"agent\.http: the upstream failed.*status 500")
        self.assertNotIn("hunter2", server.log.text())
        self.assertNotIn("s3cret-token", server.log.text())

    async def test_a_reload_leaves_the_run_alone(self):
        go = asyncio.Event()

        async def handler(exchange):
            await exchange.stream_head(SSE)
            await exchange.chunk(data("agent_delta", text="a"))
            await go.wait()
            await exchange.chunk(data("agent_completed", response="from the old version"))

        server = await self.start(handler)
        client = await Client.ready(server)
        await client.run("Hello", "remote")
        await client.until("agent_delta")
        server.write(open_policy('policy.agents = { remote = function() return "new" end }'))
        status, _, _ = await server.ask("POST", "/reload")
        self.assertEqual(status, 200)
        go.set()
        events = await client.until("agent_completed", "agent_error")
        self.assertEqual(events[-1]["data"].get("response"), "from the old version")
        self.assertEqual((await client.answer("x", "remote"))[-1]["data"]["response"], "new")

    async def test_runs_do_not_mix(self):
        async def handler(exchange):
            word = json.loads(exchange.body)["message"]
            await exchange.stream_head(SSE)
            for _ in range(20):
                await exchange.chunk(data("agent_delta", text=word))
                await asyncio.sleep(0)
            await exchange.chunk(data("agent_completed", response=word))

        server = await self.start(handler)
        clients = [await Client.ready(server) for _ in range(8)]
        answers = await asyncio.gather(*(c.answer(f"w{i}", "remote") for i, c in enumerate(clients)))
        for i, events in enumerate(answers):
            self.assert_events(events, "remote")
            texts = {e["data"]["text"] for e in events if e["type"] == "agent_delta"}
            self.assertEqual((texts, events[-1]["data"]["response"]), ({f"w{i}"}, f"w{i}"))


if __name__ == "__main__":
    unittest.main()
