#!/usr/bin/env python3
"""agent.websocket: agents that run elsewhere and speak WebSocket, over real connections: what is passed on and
when, what ends a run and with which code, and that no connection outlives what it was opened for."""

import asyncio
import json
import shutil
import ssl
import subprocess
import tempfile
import unittest
from pathlib import Path

from harness import ROOT, Client, ServerTest, open_policy
from ws_upstream import BINARY, CLOSE, PING, TEXT, RawUpstream, Upstream, event

POLICY = """
    local agent = require "tidegate.agent"
    policy.agents = { remote = agent.websocket{ url = "%s", %s } }
    """
CERTIFICATES = ROOT / "tests/support/certificates.sh"


class WebsocketTest(ServerTest):
    async def upstream(self, handler, kind=Upstream, **options):
        self.there = await kind.start(handler, **options)
        self.addAsyncCleanup(self.there.stop)
        return self.there

    async def start(self, handler, options="", *args, kind=Upstream, **upstream_options):
        """An upstream that answers so, and a server whose agent it is."""
        await self.upstream(handler, kind, **upstream_options)
        self.server = await self.serve(
            open_policy(POLICY % (self.there.url(), options)), *args, workers=1
        )
        return self.server

    async def ready(self, *args, **kwargs):
        return await Client.ready(await self.start(*args, **kwargs))

    async def assert_error(self, client, code, message=None):
        """A run that ends once, with that code."""
        events = await client.answer("Hello", "remote")
        self.assert_events(events, "remote", "agent_error")
        self.assertEqual(events[-1]["data"]["code"], code, events[-1])
        if message is not None:
            self.assertEqual(events[-1]["data"]["message"], message)
        await client.alive()
        return events

    async def assert_left(self, server=None):
        """No connection is open, here or there."""
        await asyncio.wait_for(self.there.all_gone(), 20)
        server = server or self.server

        async def none():
            return await server.metric("tidegate_upstream_websockets") == 0

        await server.eventually("all WebSockets are closed", none)


class HappyPath(WebsocketTest):
    async def test_events_are_passed_on_as_they_come(self):
        go = asyncio.Event()

        async def handler(link):
            await link.event("agent_started", run_id="theirs", seq=99)
            await link.event("agent_thinking", text="hm")
            await link.event("tool_executing", data={"tool_call_id": "t", "name": "look", "arguments": {"a": 1}})
            await go.wait()
            await link.event("tool_completed", tool_call_id="t", result="found")
            await link.event("agent_delta", text="grün")
            await link.event("something_else", text="?")
            await link.event("agent_completed", response=[1])
            await link.event("agent_delta", text="too late")

        client = await self.ready(handler, 'bearer = "s3cret-token", headers = { ["X-Own"] = "1" }')
        await client.run("Hello", "remote")
        events = await client.until("tool_executing")
        go.set()
        events += await client.until("agent_completed", "agent_error")
        kinds = self.assert_events(events, "remote")
        self.assertEqual(
            kinds,
            ["agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_delta", "agent_completed"],
        )
        self.assert_seq(events)
        self.assertEqual(events[4]["data"]["text"], "grün")
        self.assertEqual(events[-1]["data"]["response"], [1])
        link = self.there.links[0]
        self.assertEqual(link.headers["Authorization"], "Bearer s3cret-token")
        self.assertEqual(link.headers["X-Own"], "1")
        self.assertEqual(link.request["type"], "agent_execution")
        self.assertEqual(link.request["connection_id"], client.id)
        self.assertEqual(link.request["run_id"], events[0]["run_id"])
        self.assertEqual(link.request["message"], "Hello")
        await self.assert_left()
        self.assertEqual(link.close_code, 1000)
        self.assertFalse(link.cancelled.is_set())
        self.assertNotIn("s3cret-token", self.server.log.text())
        await client.alive()

    async def test_ten_thousand_deltas_reach_a_slow_client_whole_and_hold_the_upstream_back(self):
        sent = 0

        async def handler(link):
            nonlocal sent
            for i in range(10000):
                await link.event("agent_delta", text=f"{i};" + "x" * 4000)
                sent += 1
            await link.event("agent_completed", response=sent)

        server = await self.start(
            handler, "idle_timeout = 60", "--set", "limits.outbox_timeout=60s", ping_interval=None
        )
        client = await Client.ready(server, max_size=None, max_queue=1)
        client.ws.transport.pause_reading()
        await client.run("Hello", "remote")
        await self.there.link()
        before = -1
        while sent != before:  # it stands still
            before = sent
            await asyncio.sleep(0.7)
        self.assertLess(sent, 8000)
        client.ws.transport.resume_reading()
        events = await client.until("agent_completed", "agent_error")
        self.assert_events(events, "remote")
        self.assert_seq(events)
        text = "".join(e["data"]["text"] for e in events if e["type"] == "agent_delta")
        self.assertEqual(text, "".join(f"{i};" + "x" * 4000 for i in range(10000)))
        await self.assert_left()

    async def test_a_large_request_is_sent_whole_to_an_upstream_that_reads_slowly(self):
        async def handler(link):
            await link.upgrade()
            await asyncio.sleep(0.3)
            length = 0
            first, second = await link.reader.readexactly(2)
            self.assertEqual(second & 0x7F, 127)
            length = int.from_bytes(await link.reader.readexactly(8), "big")
            await link.reader.readexactly(4)
            left = length
            while left > 0:
                piece = await link.reader.read(min(left, 65536))
                self.assertTrue(piece)
                left -= len(piece)
                await asyncio.sleep(0.001)
            await link.event("agent_completed", response=length)
            self.assertEqual((await link.read_frame())[0], CLOSE)

        client = await self.ready(
            handler, "", "--set", "limits.max_message=16MiB", "--set", "limits.inbox_bytes=16MiB",
            "--set", "script.memory=128MiB", "--set", "script.cpu_budget=2s", kind=RawUpstream,
        )
        events = await client.answer("x" * 3_000_000, "remote")
        self.assertEqual(events[-1]["type"], "agent_completed", (events[-1], self.server.log.text()))
        self.assertGreater(events[-1]["data"]["response"], 3_000_000)
        await self.assert_left()

    async def test_runs_do_not_mix(self):
        async def handler(link):
            word = link.request["message"]
            for _ in range(20):
                await link.event("agent_delta", text=word)
                await asyncio.sleep(0)
            await link.event("agent_completed", response=word)

        server = await self.start(handler)
        clients = [await Client.ready(server) for _ in range(8)]
        answers = await asyncio.gather(*(c.answer(f"w{i}", "remote") for i, c in enumerate(clients)))
        for i, events in enumerate(answers):
            self.assert_events(events, "remote")
            texts = {e["data"]["text"] for e in events if e["type"] == "agent_delta"}
            self.assertEqual((texts, events[-1]["data"]["response"]), ({f"w{i}"}, f"w{i}"))
        self.assertEqual(len(self.there.links), 8)
        await self.assert_left()

    async def test_a_server_that_pings_hears_us_and_we_notice_one_that_does_not_answer(self):
        async def handler(link):
            await link.upgrade()
            await link.read_frame()
            await link.send(link.frame("are you there", PING))
            opcode, payload = await link.read_frame()
            self.assertEqual((opcode, payload), (10, b"are you there"))
            opcode, _ = await link.read_frame()
            self.assertEqual(opcode, PING)  # ours, and it gets no answer

        client = await self.ready(handler, "ping_interval = 0.5", kind=RawUpstream)
        await self.assert_error(client, "upstream_timeout")
        await self.assert_left()


class Endings(WebsocketTest):
    """What ends a run from our side."""

    async def hold(self, link):
        await link.event("tool_executing", tool_call_id="t", name="slow")
        await asyncio.Event().wait()

    async def begin(self, *args, **kwargs):
        client = await self.ready(self.hold, *args, **kwargs)
        await client.run("Hello", "remote")
        return client, await client.until("tool_executing")

    async def assert_cancelled(self, run_id):
        link = self.there.links[0]
        await asyncio.wait_for(link.cancelled.wait(), 20)
        self.assertEqual(link.cancel, {"type": "agent_cancel", "run_id": run_id})
        await self.assert_left()
        self.assertEqual(link.close_code, 1000)

    async def test_a_cancel_is_told_and_closes_the_connection(self):
        client, events = await self.begin()
        run_id = events[0]["run_id"]
        await client.send({"type": "agent_cancel", "data": {"run_id": run_id}})
        events += await client.until("agent_error")
        self.assert_events(events, "remote", "agent_error")
        self.assertEqual(events[-1]["data"]["code"], "cancelled")
        await self.assert_cancelled(run_id)
        await client.alive()

    async def test_a_cancel_before_the_first_event(self):
        async def handler(link):
            await asyncio.Event().wait()

        client = await self.ready(handler)
        await client.run("Hello", "remote")
        events = await client.until("agent_started")
        link = await self.there.link()
        while link.request is None:
            await asyncio.sleep(0.01)
        await client.send({"type": "agent_cancel", "data": {"run_id": events[0]["run_id"]}})
        await client.until("agent_error")
        await self.assert_cancelled(events[0]["run_id"])

    async def test_a_cancel_while_the_upgrade_is_not_answered(self):
        async def handler(link):
            await asyncio.Event().wait()

        client = await self.ready(handler, kind=RawUpstream)
        await client.run("Hello", "remote")
        events = await client.until("agent_started")
        link = await self.there.link()
        await client.send({"type": "agent_cancel", "data": {"run_id": events[0]["run_id"]}})
        events += await client.until("agent_error")
        self.assertEqual(events[-1]["data"]["code"], "cancelled")
        self.assertEqual(await asyncio.wait_for(link.reader.read(), 20), b"")

    async def test_a_cancel_in_the_middle_of_a_flood(self):
        async def handler(link):
            while True:
                await link.event("agent_delta", text="x" * 1000)

        client = await self.ready(handler)
        await client.run("Hello", "remote")
        events = await client.until("agent_delta")
        run_id = events[0]["run_id"]
        await client.send({"type": "agent_cancel", "data": {"run_id": run_id}})
        events += await client.until("agent_error")
        self.assert_events(events, "remote", "agent_error")
        self.assert_seq(events)
        await self.assert_cancelled(run_id)

    async def test_a_client_that_goes_closes_the_connection(self):
        client, events = await self.begin()
        client.ws.transport.abort()
        await self.assert_cancelled(events[0]["run_id"])

    async def test_a_run_that_is_too_long_closes_the_connection(self):
        client = await self.ready(self.hold, "", "--set", "runs.timeout=1s")
        events = await self.assert_error(client, "timeout")
        await self.assert_cancelled(events[0]["run_id"])

    async def test_silence_ends_the_run(self):
        client = await self.ready(self.hold, "idle_timeout = 1, ping_interval = 0.3")
        events = await self.assert_error(client, "upstream_timeout")
        self.assertEqual(events[1]["type"], "tool_executing")
        await self.assert_left()

    async def test_a_script_that_is_killed_closes_the_connection(self):
        async def handler(link):
            await link.event("agent_delta", text="go")
            await asyncio.Event().wait()

        await self.upstream(handler)
        policy = open_policy(
            """
            local agent = require "tidegate.agent"
            local remote = agent.websocket{ url = "%s" }
            policy.agents = {
              remote = function(run, input)
                local own = setmetatable({ id = run.id, agent = run.agent, conn = run.conn }, {
                  __index = { delta = function() while true do end end },
                })
                return remote(own, input)
              end,
            }
            """
            % self.there.url()
        )
        self.server = await self.serve(policy, workers=1)
        client = await Client.ready(self.server)
        events = await self.assert_error(client, "cpu_budget")
        await self.assert_cancelled(events[0]["run_id"])

    async def test_a_reload_leaves_the_run_alone_until_its_drain_deadline(self):
        go = asyncio.Event()

        async def handler(link):
            await link.event("agent_delta", text="a")
            await go.wait()
            await link.event("agent_completed", response="from the old version")

        client = await self.ready(handler)
        server = self.server
        await client.run("Hello", "remote")
        await client.until("agent_delta")
        server.write(open_policy('policy.agents = { remote = function() return "new" end }'))
        status, _, _ = await server.ask("POST", "/reload")
        self.assertEqual(status, 200)
        go.set()
        events = await client.until("agent_completed", "agent_error")
        self.assertEqual(events[-1]["data"].get("response"), "from the old version")
        self.assertEqual((await client.answer("x", "remote"))[-1]["data"]["response"], "new")
        await self.assert_left()

    async def test_the_end_of_an_old_version_closes_its_connections(self):
        client, events = await self.begin("", "--set", "reload.drain_timeout=1s")
        self.server.write(open_policy('policy.agents = { remote = function() return "new" end }'))
        status, _, _ = await self.server.ask("POST", "/reload")
        self.assertEqual(status, 200)
        run_id = events[0]["run_id"]
        events += await client.until("agent_completed", "agent_error")
        self.assert_events(events, "remote", "agent_error")
        await self.assert_cancelled(run_id)

    async def test_a_server_that_stops_closes_its_connections(self):
        client, events = await self.begin("", "--set", "drain_timeout=1s")
        run_id = events[0]["run_id"]
        await asyncio.to_thread(self.server.stop)
        link = self.there.links[0]
        await asyncio.wait_for(link.gone.wait(), 20)
        self.assertEqual(link.cancel, {"type": "agent_cancel", "run_id": run_id})


class Deaths(WebsocketTest):
    """What ends a run from the upstream's side: exactly one terminal event, whenever it comes."""

    async def die(self, how, before, code, options="retries = 0"):
        """An upstream that sends the events of `before`, is heard, and then dies."""
        heard = asyncio.Event()

        async def handler(link):
            await link.upgrade()
            await link.read_frame()
            for name in before:
                await link.event(name, text="a", tool_call_id="t", name="slow")
            if before:
                await asyncio.wait_for(heard.wait(), 20)
            await how(link)

        client = await self.ready(handler, options, kind=RawUpstream)
        await client.run("Hello", "remote")
        events = await client.until(before[-1]) if before else []
        heard.set()
        events += await client.until("agent_error", "agent_completed")
        kinds = self.assert_events(events, "remote", "agent_error")
        self.assertEqual(events[-1]["data"]["code"], code)
        if "tool_executing" in before:
            self.assertIn("tool_completed", kinds)
        self.assertEqual(len(self.there.links), 1)
        await client.alive()
        await self.assert_left()

    async def finish_closing(self, link):
        """The upstream's part of a close handshake that we have begun."""
        opcode, payload = await link.read_frame()
        self.assertEqual(opcode, CLOSE)
        await link.send(link.frame(payload, CLOSE))
        link.fin()

    POINTS = ([], ["agent_delta"], ["agent_delta", "tool_executing"])

    async def at_every_point(self, how, code, first_code=None):
        for before in self.POINTS:
            with self.subTest(before=before):
                await self.die(how, before, code if before else first_code or code)

    async def test_a_reset(self):
        async def how(link):
            link.reset()

        await self.at_every_point(how, "upstream_unavailable")

    async def test_an_end_without_a_close_frame(self):
        async def how(link):
            link.fin()

        await self.at_every_point(how, "upstream_unavailable")

    async def test_half_a_frame(self):
        async def how(link):
            await link.send(link.frame(event("agent_completed", response="never"))[:20])
            link.fin()

        await self.at_every_point(how, "upstream_unavailable")

    async def test_half_a_message(self):
        async def how(link):
            await link.send(link.frame('{"type":"agent_', fin=False))
            link.fin()

        await self.at_every_point(how, "upstream_unavailable")

    async def test_close_frames(self):
        rows = {
            1000: "bad_upstream_answer",
            1001: "upstream_unavailable",
            1008: "upstream_refused",
            1009: "bad_upstream_answer",
            1011: "upstream_unavailable",
            4401: "upstream_refused",
            4429: "rate_limited",
            4777: "upstream_unavailable",
        }
        for number, code in rows.items():

            async def how(link, number=number):
                await link.send(link.frame(number.to_bytes(2, "big") + b"why", CLOSE))
                opcode, payload = await link.read_frame()
                self.assertEqual((opcode, payload[:2]), (CLOSE, number.to_bytes(2, "big")))
                link.fin()

            for before in ([], ["agent_delta"]):
                with self.subTest(number=number, before=before):
                    await self.die(how, before, code)

    async def test_a_close_frame_without_a_code(self):
        async def how(link):
            await link.send(link.frame(b"", CLOSE))

        await self.at_every_point(how, "upstream_unavailable")

    async def test_what_breaks_the_protocol(self):
        rows = {
            "reserved bit": (b"\xc1\x02{}", 1002),
            "masked": (b"\x81\x82\0\0\0\0{}", 1002),
            "bad opcode": (b"\x83\x00", 1002),
            "bad UTF-8": (b"\x81\x02\xc3\x28", 1007),
            "long ping": (b"\x89\x7e\x00\x7e" + b"x" * 126, 1002),
        }
        for name, (frame, close_code) in rows.items():

            async def how(link, frame=frame, close_code=close_code):
                await link.send(frame)
                opcode, payload = await link.read_frame()
                self.assertEqual((opcode, int.from_bytes(payload[:2], "big")), (CLOSE, close_code))

            with self.subTest(name):
                await self.die(how, ["agent_delta"], "bad_upstream_answer")

    async def test_messages_that_are_no_events(self):
        rows = (
            (BINARY, b"\0\1"), (TEXT, b"no JSON"), (TEXT, b"[]"), (TEXT, b"{}"), (TEXT, b'"x"'), (TEXT, b""),
            (TEXT, event("agent_delta").encode()), (TEXT, event("tool_completed", tool_call_id="x").encode()),
            (TEXT, b'{"type":"agent_delta","text":"' + b"x" * 70000 + b'"}'),
        )
        for opcode, payload in rows:

            async def how(link, opcode=opcode, payload=payload):
                await link.send(link.frame(payload, opcode))
                await self.finish_closing(link)

            for before in ([], ["agent_delta"]):
                with self.subTest(payload=payload[:20], before=before):
                    await self.die(how, before, "bad_upstream_answer", "retries = 0, max_event = 65536")

    async def test_what_it_says_of_itself_is_passed_on(self):
        async def handler(link):
            await link.event("agent_error", code="out_of_tea", message="none left")

        client = await self.ready(handler)
        events = await self.assert_error(client, "out_of_tea", "none left")
        self.assertEqual(len(events), 2)
        await self.assert_left()


class Opening(WebsocketTest):
    """What can go wrong before there is a connection, and what is tried again."""

    async def test_refused_upgrades(self):
        rows = {
            401: "upstream_refused", 404: "upstream_refused", 200: "bad_upstream_answer",
            302: "bad_upstream_answer", 429: "rate_limited", 500: "upstream_unavailable",
            504: "upstream_timeout",
        }
        for status, code in rows.items():

            async def handler(link, status=status):
                await link.answer(status, "Location: /elsewhere", body=b"Traceback: password=hunter2")

            with self.subTest(status=status):
                client = await self.ready(handler, "retries = 0", kind=RawUpstream)
                events = await self.assert_error(client, code)
                self.assertNotIn("hunter2", json.dumps(events))
                self.assertEqual(len(self.there.links), 1)
                await self.assert_left()

    async def test_a_refusal_with_a_large_body_is_a_refusal(self):
        async def handler(link):
            await link.answer(403, body=b"x" * 300_000)

        client = await self.ready(handler, "", kind=RawUpstream)
        await self.assert_error(client, "upstream_refused")
        await self.assert_left()

    async def test_answers_that_are_no_upgrade(self):
        good = ["Upgrade: websocket", "Connection: Upgrade"]
        rows = {
            "wrong accept": [*good, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="],
            "no accept": good,
            "no upgrade": ["Connection: Upgrade", "ACCEPT"],
            "an extension that nobody offered": [*good, "ACCEPT", "Sec-WebSocket-Extensions: permessage-deflate"],
            "a subprotocol that nobody offered": [*good, "ACCEPT", "Sec-WebSocket-Protocol: chat"],
        }
        for name, lines in rows.items():

            async def handler(link, lines=lines):
                accept = f"Sec-WebSocket-Accept: {link.accept()}"
                await link.answer(101, *(accept if line == "ACCEPT" else line for line in lines))

            with self.subTest(name):
                client = await self.ready(handler, "", kind=RawUpstream)
                await self.assert_error(client, "bad_upstream_answer")
                await self.assert_left()

    async def test_no_http_at_all_and_no_end_of_headers(self):
        rows = {"SSH-2.0-OpenSSH_9.2\r\n\r\n": "bad_upstream_answer",
                "HTTP/1.1 101 x\r\n" + "X: y\r\n" * 20000: "bad_upstream_answer"}
        for answer, code in rows.items():

            async def handler(link, answer=answer):
                await link.send(answer)

            with self.subTest(answer[:10]):
                client = await self.ready(handler, "retries = 0", kind=RawUpstream)
                await self.assert_error(client, code)
                await self.assert_left()

    async def test_nobody_answers(self):
        async def handler(link):
            await asyncio.Event().wait()

        client = await self.ready(handler, "connect_timeout = 0.5, retries = 0", kind=RawUpstream)
        await self.assert_error(client, "upstream_timeout")
        self.assertEqual(await asyncio.wait_for(self.there.links[0].reader.read(), 20), b"")

    async def test_nobody_there_is_tried_again_until_somebody_is(self):
        async def handler(link):
            if len(self.there.links) == 1:
                await link.answer(503)
            elif len(self.there.links) == 2:
                await link.upgrade()
                link.reset()
            else:
                await link.upgrade()
                await link.read_frame()
                await link.event("agent_completed", response="at last")
                await link.read_frame()

        client = await self.ready(handler, "", kind=RawUpstream)
        events = await client.answer("Hello", "remote")
        self.assertEqual(events[-1]["data"].get("response"), "at last", events)
        self.assertEqual(len(self.there.links), 3)
        await self.assert_left()

    async def test_after_the_first_event_nothing_is_tried_again(self):
        async def handler(link):
            await link.upgrade()
            await link.read_frame()
            await link.event("agent_thinking", text="hm")
            link.fin()

        client = await self.ready(handler, "", kind=RawUpstream)
        await self.assert_error(client, "upstream_unavailable", "the upstream broke off its answer")
        self.assertEqual(len(self.there.links), 1)
        await self.assert_left()

    async def test_nobody_listens(self):
        await self.start(lambda link: None)
        await self.there.stop()
        client = await Client.ready(self.server)
        await self.assert_error(client, "upstream_unavailable", "the upstream cannot be reached")
        await self.server.wait_log("connection refused")

    async def test_a_name_without_an_address(self):
        policy = open_policy(POLICY % ("ws://no-such-name.invalid/run", "retries = 0"))
        self.server = await self.serve(policy, workers=1)
        client = await Client.ready(self.server)
        await self.assert_error(client, "upstream_unavailable")

    async def test_a_name_is_resolved(self):
        async def handler(link):
            await link.event("agent_completed", response=link.headers["Host"])

        await self.upstream(handler)
        policy = open_policy(POLICY % (self.there.url(host="localhost"), ""))
        self.server = await self.serve(policy, workers=1)
        client = await Client.ready(self.server)
        events = await client.answer("Hello", "remote")
        self.assertEqual(events[-1]["data"].get("response"), f"localhost:{self.there.port}")

    async def test_the_circuit_opens_after_several_failures(self):
        async def handler(link):
            await link.answer(503)

        client = await self.ready(
            handler, "retries = 0, circuit = { failures = 2, pause = 60 }", kind=RawUpstream
        )
        for _ in range(4):
            await self.assert_error(client, "upstream_unavailable")
        self.assertEqual(len(self.there.links), 2)


class Rules(WebsocketTest):
    """What the operator's configuration of outgoing HTTP means for WebSockets."""

    async def hello(self, link):
        await link.event("agent_completed", response="hello")

    async def test_forbidden_addresses_and_hosts(self):
        for args in (
            ("--set", "http.private_addresses=false"),
            ("--set", "http.allowed_hosts=api.example"),
            ("--set", "http.allowed_hosts=127.0.0.1"),  # and not this port
        ):
            with self.subTest(args):
                client = await self.ready(self.hello, "", *args)
                await self.assert_error(client, "upstream_unavailable", "the upstream cannot be reached")
                await self.server.wait_log(r"http\.(allowed_hosts|private_addresses)")
                self.assertEqual(self.there.links, [])

    async def test_an_allowed_host_is_reached(self):
        await self.upstream(self.hello)
        args = ("--set", f"http.allowed_hosts=127.0.0.1:{self.there.port}")
        server = await self.serve(open_policy(POLICY % (self.there.url(), "")), *args, workers=1)
        client = await Client.ready(server)
        self.assertEqual((await client.answer("Hello", "remote"))[-1]["data"].get("response"), "hello")

    async def test_a_name_of_a_private_address_is_forbidden(self):
        await self.upstream(self.hello)
        server = await self.serve(
            open_policy(POLICY % (self.there.url(host="localhost"), "")),
            "--set", "http.private_addresses=false", workers=1,
        )
        client = await Client.ready(server)
        await self.assert_error(client, "upstream_unavailable")
        self.assertEqual(self.there.links, [])

    async def test_not_more_connections_than_configured(self):
        go = asyncio.Event()

        async def handler(link):
            await go.wait()
            await link.event("agent_completed", response="hello")

        server = await self.start(
            handler, "retries = 0", "--set", "http.max_connections=2", "--set", "runs.max_per_connection=8"
        )
        clients = [await Client.ready(server) for _ in range(3)]
        for i, client in enumerate(clients[:2], 1):
            await client.run("Hello", "remote")
            await self.there.link(i)
        await self.assert_error(clients[2], "upstream_unavailable")
        go.set()
        for client in clients[:2]:
            events = await client.until("agent_completed", "agent_error")
            self.assertEqual(events[-1]["type"], "agent_completed")
        await self.assert_left()
        events = await clients[2].answer("Hello", "remote")
        self.assertEqual(events[-1]["type"], "agent_completed")


class Tls(WebsocketTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="tidegate-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        subprocess.run(["sh", CERTIFICATES, cls.folder], check=True)

    def context(self, name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context

    async def test_certificates_are_verified(self):
        async def handler(link):
            await link.event("agent_delta", text="x" * 200_000)
            await link.event("agent_completed", response="over TLS")

        ca = ("--set", f"http.ca_file={self.folder / 'ca.pem'}")
        client = await self.ready(handler, "", *ca, ssl=self.context("server"))
        events = await client.answer("Hello", "remote")
        self.assertEqual(events[-1]["data"].get("response"), "over TLS", events)
        await self.assert_left()

        client = await self.ready(handler, "", ssl=self.context("server"))  # the system's CAs
        await self.assert_error(client, "upstream_unavailable", "the upstream cannot be reached")
        await self.server.wait_log("TLS: ")
        self.assertEqual(self.there.links, [])

    async def test_a_connection_that_is_cut_off_is_a_lost_one(self):
        async def handler(link):
            await link.event("agent_delta", text="a")
            link.ws.transport.abort()

        ca = ("--set", f"http.ca_file={self.folder / 'ca.pem'}")
        client = await self.ready(handler, "", *ca, ssl=self.context("server"))
        await self.assert_error(client, "upstream_unavailable", "the upstream broke off its answer")
        self.assertEqual(len(self.there.links), 1)
        await self.assert_left()

    async def test_other_certificates_are_refused(self):
        async def handler(link):
            await link.event("agent_completed", response="?")

        ca = ("--set", f"http.ca_file={self.folder / 'ca.pem'}")
        for name in ("expired", "other", "rogue"):
            with self.subTest(name):
                client = await self.ready(handler, "", *ca, ssl=self.context(name))
                await self.assert_error(client, "upstream_unavailable")

    async def test_a_server_without_tls(self):
        async def handler(link):
            await link.event("agent_completed", response="?")

        await self.upstream(handler)
        url = self.there.url().replace("ws://", "wss://")
        server = await self.serve(open_policy(POLICY % (url, "retries = 0")), workers=1)
        client = await Client.ready(server)
        await self.assert_error(client, "upstream_unavailable")


class Reuse(WebsocketTest):
    async def hello(self, link):
        run_id = link.request["run_id"]
        if len(link.requests) > 1:  # what is late of the run before
            await link.event("agent_delta", run_id=link.requests[-2]["run_id"], text="late")
        await link.event("agent_completed", run_id=run_id, response=len(link.requests))

    async def test_runs_one_after_the_other_share_a_connection(self):
        client = await self.ready(self.hello, "reuse = 30")
        for i in (1, 2, 3):
            events = await client.answer("Hello", "remote")
            self.assertEqual(self.assert_events(events, "remote"), ["agent_started", "agent_completed"])
            self.assertEqual(events[-1]["data"]["response"], i)
        self.assertEqual(len(self.there.links), 1)
        self.server.write(open_policy(POLICY % (self.there.url(), "reuse = 29")))
        await self.server.ask("POST", "/reload")
        await self.assert_left()  # the version that kept it is gone

    async def test_a_kept_connection_is_closed_when_nobody_needs_it(self):
        client = await self.ready(self.hello, "reuse = 0.5")
        await client.answer("Hello", "remote")
        await self.assert_left()
        self.assertEqual(self.there.links[0].close_code, 1000)
        self.assertEqual((await client.answer("Hello", "remote"))[-1]["data"]["response"], 1)

    async def test_runs_at_the_same_time_have_connections_of_their_own(self):
        go = asyncio.Event()

        async def handler(link):
            await go.wait()
            await link.event("agent_completed", response=len(link.requests))

        server = await self.start(handler, "reuse = 30")
        clients = [await Client.ready(server) for _ in range(3)]
        for i, client in enumerate(clients, 1):
            await client.run("Hello", "remote")
            await self.there.link(i)
        go.set()
        for client in clients:
            await client.until("agent_completed")
        await asyncio.gather(*(client.answer("Hello", "remote") for client in clients))
        self.assertEqual(len(self.there.links), 3)

    async def test_one_that_has_died_meanwhile_is_replaced(self):
        client = await self.ready(self.hello, "reuse = 30, retries = 0")
        await client.answer("Hello", "remote")
        self.there.links[0].ws.transport.abort()
        events = await client.answer("Hello", "remote")
        self.assertEqual(events[-1]["data"].get("response"), 1, events)
        self.assertEqual(len(self.there.links), 2)

    async def test_one_that_says_what_nobody_asked_for_is_closed(self):
        async def handler(link):
            await link.event("agent_completed", response="hello")
            await asyncio.sleep(0.2)
            await link.event("agent_delta", text="and another thing")

        client = await self.ready(handler, "reuse = 30")
        await client.answer("Hello", "remote")
        await self.assert_left()
        self.assertEqual(self.there.links[0].close_code, 1002)

    async def test_a_cancelled_run_leaves_nothing_to_reuse(self):
        async def handler(link):
            await link.event("agent_delta", text="a")
            await asyncio.Event().wait()

        client = await self.ready(handler, "reuse = 30")
        await client.run("Hello", "remote")
        events = await client.until("agent_delta")
        await client.send({"type": "agent_cancel", "data": {"run_id": events[0]["run_id"]}})
        await client.until("agent_error")
        await asyncio.wait_for(self.there.links[0].cancelled.wait(), 20)
        await self.assert_left()


class Programs(WebsocketTest):
    async def test_nodes_ws_a_run_a_flood_a_cancel_and_a_death(self):
        program = ("node", ROOT / "tests/e2e/clients/websocket_upstream.js")
        modules = {"NODE_PATH": "/usr/share/nodejs"}
        _, url, out = await asyncio.to_thread(self.start_program, *program, env=modules)
        server = await self.serve(open_policy(POLICY % (url, "retries = 0")), workers=1)
        client = await Client.ready(server)
        events = await client.answer("hello", "remote")
        self.assert_events(events, "remote")
        self.assertEqual(events[-1]["data"]["response"], "hello hello")

        events = await client.answer("flood", "remote")
        self.assert_events(events, "remote")
        texts = [e["data"]["text"] for e in events if e["type"] == "agent_delta"]
        self.assertEqual(texts, [str(i) for i in range(10000)])

        await client.run("hold", "remote")
        events = await client.until("agent_delta")
        run_id = events[0]["run_id"]
        await client.send({"type": "agent_cancel", "data": {"run_id": run_id}})
        await client.until("agent_error")
        await asyncio.to_thread(out.wait, f"^cancelled {run_id}$")
        await asyncio.to_thread(out.wait, "^closed 1000$")

        events = await client.answer("terminate", "remote")
        self.assert_events(events, "remote", "agent_error")
        self.assertEqual(events[-1]["data"]["code"], "upstream_unavailable")
        self.assertEqual(await server.metric("tidegate_upstream_websockets"), 0)


if __name__ == "__main__":
    unittest.main()
