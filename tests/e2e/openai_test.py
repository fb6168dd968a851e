#!/usr/bin/env python3
"""agent.openai against a model's server that streams, breaks off, stalls and refuses: whatever happens, a client gets
one terminal event, and nothing stays behind."""

import asyncio
import json
import unittest

from harness import DEADLINE, ROOT, Client, ServerTest, open_policy
from model_server import ModelServer, Reply, call, chunk, delta, stop, think, thought, usage

POLICY = """
    local agent, time = require "tidegate.agent", require "tidegate.time"
    policy.agents = {{
      bot = agent.openai({{
        base_url = "{url}", model = "test", api_key = "sk-secret-of-mine", history = false,
        tools = {{
          double = {{
            parameters = {{ type = "object", properties = {{ n = {{ type = "number" }} }}, required = {{ "n" }} }},
            run = function(run, arguments) return arguments.n * 2 end,
          }},
          wait = {{ run = function() time.sleep(60) end }},
        }},
        {more}
      }}),
    }}
"""

TERMINAL = ("agent_completed", "agent_error")

# An answer with everything in it: thoughts, text that is more than ASCII, and a call in pieces.
FIRST = [
    ": keep-alive\n\n",
    chunk({"role": "assistant", "content": ""}),
    thought("Denken …"),
    delta("Grüße, "),
    delta("世界 🌍"),
    call(0, "double", '{"n"'),
    call(1, "double", '{"n": 4}'),
    call(0, arguments=": 21}"),
    stop("tool_calls"),
    usage(7, 5),
]
SECOND = [delta("42 "), delta("and 8"), stop(), usage(9, 3)]


def two_rounds(**options):
    """A server that answers with FIRST, and after the tools with SECOND."""

    def reply(request, number):
        last = request["messages"][-1]["role"]
        return Reply(SECOND if last == "tool" else FIRST, **options)

    return reply


class OpenaiTest(ServerTest):
    async def model(self, reply):
        model = await ModelServer.start(reply)
        self.addAsyncCleanup(model.stop)
        return model

    async def client(self, model, more="", *args):
        policy = open_policy(POLICY.format(url=model.url, more=more))
        server = await self.serve(policy, *args, workers=1)
        return await Client.ready(server), server

    def assert_one_end(self, events, code=None):
        """Events of one run, the last of which is its only terminal one."""
        self.assert_events(events, "bot", "agent_error" if code else "agent_completed")
        if code:
            self.assertEqual(events[-1]["data"]["code"], code, events[-1])

    def text_of(self, events):
        return "".join(event["data"]["text"] for event in events if event["type"] == "agent_delta")

    async def assert_nothing_left(self, client, server):
        """Nothing more comes, and no run and no request is left."""
        await client.send({"type": "ping"})
        self.assertEqual((await client.next())["type"], "pong")
        self.assertEqual(await server.metric('tidegate_runs{agent="bot"}'), 0)
        self.assertEqual(await server.metric("tidegate_http_in_flight"), 0)


class Streams(OpenaiTest):
    async def test_ten_thousand_deltas_arrive_in_order(self):
        count = 10000
        events = ['data: {"choices":[{"delta":{"content":"%d "}}]}\n\n' % number for number in range(count)]
        pieces = [0, 2**24]  # an event each, and all at once: the CPU budget has to do with both
        end = [stop(), usage(1, count)]
        model = await self.model(lambda request, number: Reply([*events, *end], piece=pieces[number - 1]))
        client, server = await self.client(model)
        text = "".join(f"{number} " for number in range(count))
        for _ in pieces:
            answer = await client.answer("go", "bot")
            self.assert_one_end(answer)
            self.assertEqual(self.text_of(answer), text)
            self.assertEqual(answer[-1]["data"]["response"], text)
            self.assertEqual(answer[-1]["data"]["usage"]["completion_tokens"], count)
        await self.assert_nothing_left(client, server)

    async def test_it_does_not_matter_where_the_pieces_end(self):
        ends = []
        for piece in (0, 1, 2, 7, 1000000):
            model = await self.model(two_rounds(piece=piece))
            client, server = await self.client(model)
            answer = await client.answer("go", "bot")
            self.assert_one_end(answer)
            tools = [event["data"] for event in answer if event["type"] == "tool_completed"]
            self.assertEqual(sorted(tool["result"] for tool in tools), [8, 42])
            self.assertEqual(self.text_of(answer), "Grüße, 世界 🌍42 and 8")
            ends.append((answer[-1]["data"]["response"], answer[-1]["data"]["usage"], model.requests[1]["messages"]))
            self.assertEqual(model.keys, ["Bearer sk-secret-of-mine"] * 2)
            self.assertEqual(model.connections, 1)  # one connection for both rounds
        self.assertTrue(all(end == ends[0] for end in ends))
        self.assertEqual(ends[0][0], "42 and 8")
        self.assertEqual(ends[0][1], {"prompt_tokens": 16, "completion_tokens": 8, "total_tokens": 24})
        self.assertEqual([message["role"] for message in ends[0][2]], ["user", "assistant", "tool", "tool"])


class Faults(OpenaiTest):
    async def test_a_server_that_dies_anywhere_in_its_answer(self):
        reply = Reply(SECOND)
        body = b"".join(reply.parts)
        boundaries = reply.boundaries()
        cuts = sorted({*boundaries, *[at + 1 for at in boundaries[:-1]], *[at - 1 for at in boundaries[1:]]})
        finished = boundaries[3]  # from here on it has said why it stopped
        rows = [(cut, end) for cut in cuts for end in ("reset", "close", "end") if (cut, end) != (len(body), "end")]
        rows += [(cut, "reset") for cut in range(0, len(body), 7)]
        model = await self.model(lambda request, number: Reply(SECOND, cut=rows[number - 1][0], end=rows[number - 1][1]))
        client, server = await self.client(model)
        for cut, end in rows:
            with self.subTest(cut=cut, end=end):
                answer = await client.answer("go", "bot")
                # An event counts once its empty line is there.
                if cut >= finished:
                    self.assert_one_end(answer)
                    self.assertEqual(answer[-1]["data"]["response"], "42 and 8")
                elif cut < boundaries[1] and end == "end":
                    self.assert_one_end(answer, "bad_upstream_answer")
                else:
                    self.assert_one_end(answer, "upstream_unavailable")
        self.assertEqual(len(model.requests), len(rows))  # nothing was tried again
        await self.assert_nothing_left(client, server)
        await model.until(lambda: model.open <= 1, DEADLINE)

    async def test_a_server_that_dies_in_a_round_with_tools(self):
        boundaries = Reply(FIRST).boundaries()
        cuts = [at for boundary in boundaries[1:9] for at in (boundary - 3, boundary)][:-1]
        model = await self.model(lambda request, number: Reply(FIRST, cut=cuts[number - 1]))
        client, server = await self.client(model)
        for cut in cuts:
            with self.subTest(cut=cut):
                answer = await client.answer("go", "bot")
                self.assert_one_end(answer, "upstream_unavailable")
                self.assertNotIn("tool_executing", [event["type"] for event in answer])
        await self.assert_nothing_left(client, server)

    async def test_before_the_first_byte_it_is_tried_again(self):
        replies = [None, Reply(status=503, body="busy"), Reply([delta("well"), stop()])]
        model = await self.model(lambda request, number: replies[number - 1])
        client, server = await self.client(model)
        answer = await client.answer("go", "bot")
        self.assert_one_end(answer)
        self.assertEqual((answer[-1]["data"]["response"], len(model.requests)), ("well", 3))
        self.assertEqual(self.text_of(answer), "well")

    async def test_a_server_that_is_not_there(self):
        model = await self.model(think)
        client, server = await self.client(model, "retries = 1,")
        await model.stop()
        answer = await client.answer("go", "bot")
        self.assert_one_end(answer, "upstream_unavailable")
        self.assertEqual(answer[-1]["data"]["message"], "the model's server cannot be reached")

    async def test_a_server_that_falls_silent(self):
        boundaries = Reply(SECOND).boundaries()
        model = await self.model(lambda request, number: Reply(SECOND, cut=boundaries[number - 1], end="stall"))
        client, server = await self.client(model, "idle_timeout = 1.5, retries = 0,")
        for count in range(2):
            answer = await client.answer("go", "bot")
            self.assert_one_end(answer, "upstream_timeout")
            self.assertEqual([event["type"] for event in answer].count("agent_delta"), count)
        await model.until(lambda: model.open == 0, DEADLINE)

    async def test_a_server_that_says_done_and_does_not_end(self):
        whole = Reply(SECOND).boundaries()[-1]
        model = await self.model(lambda request, number: Reply(SECOND, cut=whole, end="stall"))
        client, server = await self.client(model)
        answer = await client.answer("go", "bot")
        self.assert_one_end(answer)
        await model.until(lambda: model.open == 0, DEADLINE)
        await self.assert_nothing_left(client, server)

    async def test_what_a_server_says_reaches_the_log_without_the_key(self):
        body = {"error": {"message": "Incorrect API key provided: sk-secret-of-mine"}}
        model = await self.model(lambda request, number: Reply(status=401, body=body))
        client, server = await self.client(model)
        answer = await client.answer("go", "bot")
        self.assert_one_end(answer, "upstream_refused")
        self.assertNotIn("API key", json.dumps(answer))
        await server.wait_log("Incorrect API key provided: \\[redacted\\]")
        self.assertNotIn("sk-secret-of-mine", server.log.text())


class Ends(OpenaiTest):
    """What ends a run from outside ends its request, too."""

    async def begin(self, client, model, deltas):
        """Starts a run and reads until that many deltas have come."""
        asked = len(model.requests)
        await client.run("go", "bot")
        events = [await client.expect("agent_started")]
        await model.until(lambda: len(model.requests) > asked, DEADLINE)
        while self.count(events, "agent_delta") < deltas:
            events.append(await client.next())
        return events

    def count(self, events, kind):
        return [event["type"] for event in events].count(kind)

    def stalling(self):
        """Answers of five deltas, the first of which stalls before any, the next after one, …"""
        events = [delta(str(number)) for number in range(5)]
        boundaries = Reply(events).boundaries()
        return len(events) + 1, lambda request, number: Reply(
            events, cut=boundaries[(number - 1) % len(boundaries)], end="stall"
        )

    async def test_a_cancel_after_any_event_closes_the_request(self):
        count, reply = self.stalling()
        model = await self.model(reply)
        client, server = await self.client(model)
        for deltas in range(count):
            with self.subTest(deltas=deltas):
                events = await self.begin(client, model, deltas)
                await client.send({"type": "agent_cancel", "data": {"run_id": events[0]["run_id"]}})
                events += await client.until(*TERMINAL)
                self.assert_one_end(events, "cancelled")
                await model.until(lambda: model.open == 0, DEADLINE)
        await self.assert_nothing_left(client, server)

    async def test_a_client_that_goes_after_any_event_closes_the_request(self):
        count, reply = self.stalling()
        model = await self.model(reply)
        client, server = await self.client(model)
        for deltas in range(count):
            with self.subTest(deltas=deltas):
                await self.begin(client, model, deltas)
                client.ws.transport.abort()
                await model.until(lambda: model.open == 0, DEADLINE)
                client = await Client.ready(server)
        await self.assert_nothing_left(client, server)

    async def test_a_cancel_while_tools_run_closes_their_pairs(self):
        events = [call(0, "wait"), call(1, "wait"), stop("tool_calls")]
        model = await self.model(lambda request, number: Reply(events))
        client, server = await self.client(model)
        await client.run("go", "bot")
        events = await client.until("tool_executing")
        events += await client.until("tool_executing")
        await client.send({"type": "agent_cancel", "data": {"run_id": events[0]["run_id"]}})
        events += await client.until(*TERMINAL)
        self.assert_one_end(events, "cancelled")
        self.assertEqual(self.count(events, "tool_completed"), 2)
        self.assertEqual(len(model.requests), 1)
        await self.assert_nothing_left(client, server)

    async def test_a_run_that_takes_too_long_closes_the_request(self):
        model = await self.model(lambda request, number: Reply(SECOND, cut=Reply(SECOND).boundaries()[1], end="stall"))
        client, server = await self.client(model, "", "--set", "runs.timeout=500ms")
        answer = await client.answer("go", "bot")
        self.assert_one_end(answer, "timeout")
        await model.until(lambda: model.open == 0, DEADLINE)

    async def test_a_cancel_between_two_tries_ends_them(self):
        headers = ["Retry-After: 30"]
        model = await self.model(lambda request, number: Reply(status=429, body="", headers=headers))
        client, server = await self.client(model)
        await client.run("go", "bot")
        started = await client.expect("agent_started")
        await server.wait_log("code=rate_limited")
        await client.send({"type": "agent_cancel", "data": {"run_id": started["run_id"]}})
        self.assert_one_end([started, *await client.until(*TERMINAL)], "cancelled")
        self.assertEqual(len(model.requests), 1)
        await self.assert_nothing_left(client, server)


class Examples(OpenaiTest):
    async def example(self, name, env=None):
        model = await self.model(think)
        args = ("--set", f"options.base_url={model.url}", "--set", "options.model=stand-in")
        server = await self.serve(ROOT / "examples" / name, *args, env=env or {})
        return await Client.ready(server), model

    async def test_chat_streams_and_remembers(self):
        client, model = await self.example("chat", {"TIDEGATE_OPTIONS_API_KEY": "k-from-environment"})
        answer = await client.answer("Hello there", "assistant")
        self.assert_events(answer, "assistant")
        self.assertEqual(answer[-1]["data"]["response"], "You said: Hello there (1)")
        self.assertEqual(self.text_of(answer), answer[-1]["data"]["response"])
        answer = await client.answer("Again", "assistant")
        self.assertEqual(answer[-1]["data"]["response"], "You said: Again (2)")
        self.assertEqual(model.keys, ["Bearer k-from-environment"] * 2)

    async def test_tools_calculates_and_counts_at_once(self):
        client, model = await self.example("tools")
        answer = await client.answer("How many words, and what is 17 * (3 + 4)?", "assistant")
        self.assert_events(answer, "assistant")
        results = {
            event["data"]["name"]: event["data"]["result"] for event in answer if event["type"] == "tool_completed"
        }
        self.assertEqual(results["calculator"], 119)
        self.assertEqual(results["word_count"]["words"], 11)
        self.assertIn("The tools say: 119", answer[-1]["data"]["response"])


if __name__ == "__main__":
    unittest.main()
