#!/usr/bin/env python3
"""agent.process: agents that are child processes, real ones: what passes through their pipes, how they may
misbehave and whom that touches, when they are started again, and that nobody is left behind."""

import asyncio
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import unittest
from pathlib import Path

from harness import DEADLINE, ROOT, Client, ServerTest, open_policy, tidegate

CHILD = Path(__file__).with_name("child_agent.py")
ALLOWED = ("--set", f"agents.processes={sys.executable}")

POLICY = """
    local agent = require "tidegate.agent"
    policy.agents = {
      child = agent.process{ command = { "%s", "child_agent.py"%s }, %s },
      echo = function(run, input) return input.message end,
    }
    """


def alive(pid):
    """Whether there is such a process that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class ProcessTest(ServerTest):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="tidegate-child-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        shutil.copy(CHILD, self.folder)
        self.addCleanup(self.nobody_is_left)

    def write(self, options="", *arguments):
        words = "".join(f', "{word}"' for word in arguments)
        draft = self.folder / "draft"
        draft.write_text(open_policy(POLICY % (sys.executable, words, options)))
        draft.replace(self.folder / "init.lua")

    async def start(self, options="", *args, arguments=(), workers=1, **more):
        """A server whose agent `child` is child_agent.py."""
        self.write(options, *arguments)
        self.server = await self.serve(self.folder, *ALLOWED, *args, workers=workers, **more)
        return self.server

    # --- what the children have noted -------------------------------------------------------------------
    def notes(self, name):
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def touch(self, name):
        (self.folder / name).touch()

    def pids(self):
        return [int(line) for line in self.notes("pids")]

    def seen(self, kind):
        return [m for m in map(json.loads, self.notes("seen")) if m["type"] == kind]

    async def until(self, what, condition):
        deadline = time.monotonic() + DEADLINE
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"never came: {what}\n{self.server.log.text()}")
            await asyncio.sleep(0.02)

    async def until_gone(self, pids):
        await self.until(f"the end of {pids}", lambda: not any(map(alive, pids)))

    def nobody_is_left(self):
        """After every test, whatever it was: its servers have stopped by now."""
        left = [pid for pid in self.pids() if alive(pid)]
        deadline = time.monotonic() + DEADLINE
        while left and time.monotonic() < deadline:
            time.sleep(0.02)
            left = [pid for pid in left if alive(pid)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        self.assertEqual(left, [], "children were left behind")

    # --- runs ---------------------------------------------------------------------------------------------
    async def run_steps(self, client, *steps, **more):
        data = {"message": "go", "agent_type": "child", "steps": steps, **more}
        await client.send({"type": "agent_execution", "data": data})

    async def steps(self, client, *steps):
        """All events of a run."""
        await self.run_steps(client, *steps)
        return await client.until("agent_completed", "agent_error")

    def assert_failed(self, events, code):
        self.assert_events(events, "child", "agent_error")
        self.assertEqual(events[-1]["data"]["code"], code, events[-1])

    async def assert_well(self, client):
        events = await self.steps(client, ["done", "well"])
        self.assert_events(events, "child")
        self.assertEqual(events[-1]["data"]["response"], "well")


class Stream(ProcessTest):
    async def test_a_run_is_a_line_and_its_events_are_lines(self):
        client = await Client.ready(await self.start('identity = true, name = "helper"'), "ada")
        events = await self.steps(
            client,
            ["say", "agent_started", {"seq": 99}],
            ["say", "agent_thinking", {"data": {"text": "hm"}}],
            ["say", "tool_executing", {"tool_call_id": "t", "name": "look", "arguments": {"a": 1}}],
            ["say", "tool_completed", {"tool_call_id": "t", "result": {"b": 2}}],
            ["say", "something_new", {}],
            ["say", "agent_delta", {"text": "grün"}],
            ["done", [1]],
        )
        self.assertEqual(
            self.assert_events(events, "child"),
            ["agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_delta", "agent_completed"],
        )
        self.assert_seq(events)
        self.assertEqual(events[3]["data"]["result"], {"b": 2})
        (request,) = self.seen("agent_execution")
        self.assertEqual(request["run_id"], events[0]["run_id"])
        self.assertEqual(request["connection_id"], client.id)
        self.assertEqual((request["agent"], request["user_id"]), ("child", "ada"))
        self.assertEqual(request["identity"], {"user_id": "ada"})
        self.assertEqual(request["message"], "go")
        self.assertEqual(request["input"]["agent_type"], "child")
        await self.server.wait_log(rf"process\.started name=helper pid={self.pids()[0]}")
        self.assertEqual(self.seen("agent_cancel"), [])

    async def test_ten_thousand_events_arrive_whole_and_in_order(self):
        client = await Client.ready(await self.start())
        events = await self.steps(client, ["deltas", 10000], ["done"])
        self.assert_events(events, "child")
        self.assert_seq(events)
        text = "".join(e["data"]["text"] for e in events if e["type"] == "agent_delta")
        self.assertEqual(text, "".join(f"{i};" for i in range(10000)))

    async def test_a_client_that_reads_nothing_holds_the_child_back(self):
        await self.start("", "--set", "limits.outbox_timeout=60s")
        client = await Client.ready(self.server, max_size=None, max_queue=1)
        client.ws.transport.pause_reading()
        await self.run_steps(client, ["deltas", 10000, 5000], ["done", "all"])
        before = -1
        while len(self.notes("progress")) != before or before < 1:  # it stands still
            before = len(self.notes("progress"))
            await asyncio.sleep(0.5)
        self.assertLess(before, 90)
        client.ws.transport.resume_reading()
        events = await client.until("agent_completed", "agent_error")
        self.assertEqual(events[-1]["data"].get("response"), "all")
        text = "".join(e["data"]["text"] for e in events if e["type"] == "agent_delta")
        self.assertEqual(re.findall("[0-9]+", text), [str(i) for i in range(10000)])

    async def test_runs_share_the_child_of_their_worker_and_do_not_mix(self):
        server = await self.start()
        clients = [await Client.ready(server) for _ in range(8)]
        runs = [
            self.steps(c, ["deltas", 50], ["wait", "go"], ["say", "agent_delta", {"text": f"w{i}"}], ["done", i])
            for i, c in enumerate(clients)
        ]
        tasks = [asyncio.ensure_future(run) for run in runs]
        await self.until("all requests", lambda: len(self.seen("agent_execution")) == 8)
        self.touch("go")
        for i, events in enumerate(await asyncio.gather(*tasks)):
            self.assert_events(events, "child")
            self.assertEqual((events[-2]["data"]["text"], events[-1]["data"]["response"]), (f"w{i}", i))
            self.assertEqual(len(events), 53)
        self.assertEqual(len(self.pids()), 1)

    async def test_a_client_that_never_reads_holds_up_others_for_so_long_and_no_longer(self):
        await self.start("", "--set", "limits.outbox_timeout=2s")
        slow = await Client.ready(self.server, max_size=None, max_queue=1)
        other = await Client.ready(self.server)
        slow.ws.transport.pause_reading()
        await self.run_steps(slow, ["deltas", 10000, 5000], ["done"])
        await self.until("the stream", lambda: len(self.notes("progress")) > 10)
        events = await self.steps(other, ["deltas", 100], ["done", "at last"])
        self.assert_events(events, "child")
        self.assertEqual(events[-1]["data"]["response"], "at last")
        await self.until("the news", lambda: len(self.seen("agent_cancel")) == 1)
        slow.ws.transport.abort()

    async def test_a_child_works_where_the_policy_is_with_its_own_environment_and_three_descriptors(self):
        secret = {"TIDEGATE_OPTIONS_KEY": "hunter2", "SOME_TOKEN": "hunter3", "LC_ALL": "C.UTF-8"}
        await self.start('env = { MODEL = "small", LANG = "C" }', arguments=("one", "$HOME; ls"), env=secret)
        client = await Client.ready(self.server)
        facts = (await self.steps(client, ["facts"]))[-1]["data"]["response"]
        self.assertEqual(facts["env"]["MODEL"], "small")
        self.assertEqual(facts["env"]["LANG"], "C")
        self.assertEqual(facts["env"]["LC_ALL"], "C.UTF-8")
        self.assertEqual(facts["env"]["PATH"], os.environ["PATH"])
        self.assertNotIn("hunter", json.dumps(facts))
        self.assertEqual(facts["fds"][:3], [0, 1, 2])
        self.assertLessEqual(len(facts["fds"]), 4)  # the fourth is that of the folder which is listed
        self.assertEqual(Path(facts["cwd"]), self.folder.resolve())
        self.assertEqual(facts["arguments"], ["one", "$HOME; ls"])  # no shell saw it

    async def test_what_it_says_on_standard_error_is_logged_in_bounds(self):
        client = await Client.ready(await self.start())
        long = "y" * 5000
        await self.steps(client, ["words", "I am here\x1b[31m"], ["words", long], ["words", "more", 20000], ["done"])
        line = await self.server.wait_log(r"process\.says .*I am here")
        self.assertNotIn("\x1b", line)
        lines = [line for line in self.server.log.lines if "process.says" in line]
        self.assertLess(len(lines), 500)
        self.assertLess(max(map(len, lines)), 2000)
        await self.assert_well(client)


class Cancelled(ProcessTest):
    async def test_a_cancel_at_any_point_is_told_and_what_comes_later_is_dropped(self):
        client = await Client.ready(await self.start())
        call = {"tool_call_id": "t", "name": "slow"}
        before = [
            ["say", "agent_thinking", {"text": "a"}],
            ["say", "tool_executing", call],
            ["say", "tool_completed", {**call, "result": 1}],
            ["say", "agent_delta", {"text": "b"}],
        ]
        for point in range(len(before) + 1):
            with self.subTest(point):
                late = [["note", "at"], ["wait", f"late{point}"], ["deltas", 3], ["done", "too late"], ["note", "over"]]
                await self.run_steps(client, *before[:point], *late)
                await self.until("the point", lambda p=point: len(self.notes("at")) > p)
                events = [await client.next() for _ in range(point + 1)]
                run_id = events[0]["run_id"]
                await client.send({"type": "agent_cancel", "data": {"run_id": run_id}})
                events += await client.until("agent_error")
                self.assert_failed(events, "cancelled")
                await self.until("the news", lambda r=run_id: self.seen("agent_cancel")[-1:] == [cancel(r)])
                self.touch(f"late{point}")
                await self.until("its late end", lambda p=point: len(self.notes("over")) > p)
                await self.assert_well(client)
        self.assertEqual(len(self.pids()), 1)
        await self.server.wait_log(r"process\.line_dropped .*no run with this run_id")

    async def test_who_goes_takes_its_run_along(self):
        client = await Client.ready(await self.start())
        await self.run_steps(client, ["deltas", 1], ["sleep", 100])
        events = await client.until("agent_delta")
        client.ws.transport.abort()
        await self.until("the news", lambda: self.seen("agent_cancel") == [cancel(events[0]["run_id"])])

    async def test_silence_and_a_run_that_is_too_long_are_ended_and_told(self):
        await self.start("idle_timeout = 2, timeout = 4", "--set", "runs.timeout=60s")
        client = await Client.ready(self.server)
        silent = await self.steps(client, ["deltas", 1], ["sleep", 100])
        self.assert_failed(silent, "upstream_timeout")
        slow = await self.steps(client, *[["sleep", 0.3], ["deltas", 1]] * 40)
        self.assert_failed(slow, "upstream_timeout")
        self.assertGreater(len(slow), 3)
        ids = [events[0]["run_id"] for events in (silent, slow)]
        await self.until("the news", lambda: self.seen("agent_cancel") == [cancel(i) for i in ids])
        await self.server.wait_log(r"did not end within 4 s")

    async def test_the_time_for_runs_ends_it_too(self):
        client = await Client.ready(await self.start("", "--set", "runs.timeout=1s"))
        self.assert_failed(await self.steps(client, ["sleep", 100]), "timeout")
        await self.until("the news", lambda: len(self.seen("agent_cancel")) == 1)


def cancel(run_id):
    return {"type": "agent_cancel", "run_id": run_id}


class Ends(ProcessTest):
    async def test_a_child_that_dies_at_any_point_ends_each_run_once_and_is_started_again(self):
        client = await Client.ready(await self.start("circuit = false"))
        other = await Client.ready(self.server)
        call = {"tool_call_id": "t", "name": "slow"}
        before = [
            ["say", "agent_thinking", {"text": "a"}],
            ["say", "tool_executing", call],
            ["say", "tool_completed", {**call, "result": 1}],
            ["deltas", 100],
            ["raw", '{"run_id": "RUN_ID", "type": "agent_del'],
        ]
        for point in range(len(before) + 1):
            for death in (["exit", 0], ["exit", 3], ["signal", signal.SIGKILL]):
                with self.subTest(point=point, death=death):
                    await self.assert_well(client)
                    await self.run_steps(other, ["deltas", 1], ["sleep", 100])
                    others = await other.until("agent_delta")
                    events = await self.steps(client, *before[:point], death)
                    code = "bad_upstream_answer" if point == len(before) else "upstream_unavailable"
                    self.assert_failed(events, code)
                    self.assert_failed(others + await other.until("agent_error"), "upstream_unavailable")
        # One a death, and one for each that had not said a word of its run: it was asked again, and died again.
        self.assertEqual(len(set(self.pids())), 18 + 3)
        await self.server.wait_log(r"process\.ended .*killed by signal 9")
        await self.server.wait_log(r"process\.ended .*exited with status 3")
        counted = await self.server.metrics()
        self.assertEqual(counted["tidegate_upstream_processes"], 0)
        self.assertEqual(counted["tidegate_upstream_processes_started_total"], 18 + 3)
        for reason in ("exited", "failed", "killed"):
            row = f'tidegate_upstream_processes_ended_total{{reason="{reason}"}}'
            self.assertEqual(counted[row], 6 + 1, reason)

    async def test_an_answer_right_before_the_end_is_an_answer(self):
        client = await Client.ready(await self.start())
        for _ in range(3):
            events = await self.steps(client, ["deltas", 50], ["done", "last words"], ["exit", 0])
            self.assert_events(events, "child")
            self.assertEqual(len(events), 52)
            await self.until_gone(self.pids())  # or the next request may reach it before it has ended
        self.assertEqual(len(self.pids()), 3)

    async def test_a_request_that_one_which_ends_has_not_answered_goes_to_the_next(self):
        client = await Client.ready(await self.start())
        other = await Client.ready(self.server)
        await self.assert_well(client)
        await self.run_steps(other, ["wait", "go"], ["done", "by the second"])
        await self.until("the request", lambda: len(self.seen("agent_execution")) == 2)
        await self.steps(client, ["done"], ["exit", 0])
        await self.until_gone(self.pids()[:1])  # or it sees the file before it has ended
        self.touch("go")
        events = await other.until("agent_completed", "agent_error")
        self.assert_events(events, "child")
        self.assertEqual(events[-1]["data"]["response"], "by the second")
        self.assertEqual(len(self.pids()), 2)

    async def test_one_that_keeps_dying_is_left_alone_for_a_while(self):
        await self.start("circuit = { failures = 3, pause = 2 }", arguments=("dies",))
        client = await Client.ready(self.server)
        for _ in range(3):
            self.assert_failed(await self.steps(client, ["done"]), "upstream_unavailable")
        await self.server.wait_log(r"process\.left_alone .*failures=3")
        self.assert_failed(await self.steps(client, ["done"]), "upstream_unavailable")
        self.assertEqual(len(self.pids()), 3)  # it was not asked
        await self.server.wait_log(r"several quick ends")
        self.write("circuit = { failures = 3, pause = 2 }", "dies")
        await asyncio.sleep(2.2)  # what the option says
        self.assert_failed(await self.steps(client, ["done"]), "upstream_unavailable")
        self.assertEqual(len(self.pids()), 4)

    async def test_the_pause_before_a_start_grows_and_runs_wait_for_it(self):
        await self.start("circuit = false", arguments=("dies",))
        client = await Client.ready(self.server)
        times = []
        for _ in range(5):
            began = time.monotonic()
            self.assert_failed(await self.steps(client, ["done"]), "upstream_unavailable")
            times.append(time.monotonic() - began)
        self.assertGreaterEqual(times[4], 0.75)  # 0.1, 0.2, 0.4, 0.8 s
        self.assertEqual(len(self.pids()), 5)
        await self.run_steps(client, ["done"])  # waits 1.6 s
        await self.server.metric_reaches("tidegate_upstream_process_restarts_waiting")
        self.assert_failed(await client.until("agent_error"), "upstream_unavailable")
        self.assertEqual(await self.server.metric("tidegate_upstream_process_restarts_waiting"), 0)

    async def test_a_program_that_cannot_be_started_fails_the_run(self):
        tool = self.folder / "tool"
        tool.write_text("#!/nowhere/interpreter\n")
        tool.chmod(0o755)
        policy = POLICY.replace('"%s", "child_agent.py"%s', '"./tool"').replace(", %s }", " }")
        (self.folder / "init.lua").write_text(open_policy(policy))
        self.server = await self.serve(self.folder, "--set", f"agents.processes={tool}", workers=1)
        client = await Client.ready(self.server)
        self.assert_failed(await self.steps(client), "upstream_unavailable")
        await self.server.wait_log(r"process\.failed name=tool .*no such file")
        counted = await self.server.metrics()
        self.assertEqual(counted['tidegate_upstream_processes_ended_total{reason="not_started"}'], 1)
        self.assertEqual(counted["tidegate_upstream_processes_started_total"], 0)


class Misbehaves(ProcessTest):
    """Whatever a child does, its runs end in a decided way and others notice nothing."""

    async def test_what_is_no_event_of_a_run_is_logged_and_dropped(self):
        client = await Client.ready(await self.start())
        garbage = [
            "print() was here", "", "   ", "[1, 2]", "null", "{", "\x00\x01\xff", '{"type": "agent_delta"}',
            '{"run_id": 7}', '{"run_id": "run_of_nobody", "type": "agent_completed"}', '{"run_id": "' + "x" * 9999 + '"}',
        ]  # fmt: skip
        events = await self.steps(client, *[["raw", line + "\n"] for line in garbage], ["done", "fine"])
        self.assertEqual(self.assert_events(events, "child"), ["agent_started", "agent_completed"])
        await self.server.wait_log(r"process\.line_dropped .*print\(\) was here")
        self.assertNotIn("run_of_nobody", self.server.log.text())

    async def test_what_cannot_be_an_event_of_its_run_ends_it(self):
        client = await Client.ready(await self.start())
        wrong = [
            '{"run_id": "RUN_ID", "type": "agent_delta"}',
            '{"run_id": "RUN_ID"}',
            '{"run_id": "RUN_ID", "type": "tool_completed", "tool_call_id": "never", "result": 1}',
            'oops {"run_id": "RUN_ID", "type": "agent_delta", "text": "x"}',
        ]
        for step in [["raw", line + "\n"] for line in wrong] + [["long", 3000000]]:
            with self.subTest(step):
                await self.run_steps(client, step, ["done", "not heard"])
                events = await client.until("agent_completed", "agent_error")
                self.assert_failed(events, "bad_upstream_answer")
                run_id = events[0]["run_id"]
                await self.until("the news", lambda r=run_id: self.seen("agent_cancel")[-1:] == [cancel(r)])
        await self.assert_well(client)
        self.assertEqual(len(self.pids()), 1)

    async def test_a_line_that_is_too_long_and_nobodys_is_dropped(self):
        client = await Client.ready(await self.start("max_event = 1000"))
        events = await self.steps(client, ["long", 3000000, False], ["done", "fine"])
        self.assert_events(events, "child")
        await self.server.wait_log(r"process\.line_dropped .*longer than max_event")

    async def test_a_flood_for_nobody_is_read_slowly_and_others_live(self):
        await self.start()
        client = await Client.ready(self.server)
        other = await Client.ready(self.server)
        await self.run_steps(client, ["flood", '{"run_id": "run_of_nobody"}\n', 100000], ["done"])
        await self.server.wait_log(r"process\.line_dropped")
        began = time.monotonic()
        for _ in range(20):
            self.assertEqual((await other.answer("hello", "echo"))[-1]["data"]["response"], "hello")
        self.assertLess(time.monotonic() - began, 5)
        lines = [line for line in self.server.log.lines if "process.line_dropped" in line]
        self.assertLess(len(lines), 200)
        run = (await client.next())["run_id"]
        await client.send({"type": "agent_cancel", "data": {"run_id": run}})
        self.assertEqual((await client.until("agent_error"))[-1]["data"]["code"], "cancelled")

    async def test_a_flood_of_words_is_read_slowly_and_others_live(self):
        client = await Client.ready(await self.start())
        other = await Client.ready(self.server)
        await self.run_steps(client, ["words", "w" * 900, 100000], ["done"])
        await self.server.wait_log(r"process\.says")
        for _ in range(20):
            await other.answer("hello", "echo")
        self.assertLess(len([line for line in self.server.log.lines if "process.says" in line]), 500)

    async def test_one_that_reads_nothing_is_given_so_much_and_no_more(self):
        # Large requests take their time under a sanitizer.
        more = ("--set", "script.cpu_budget=2s")
        await self.start("idle_timeout = 3", *more, arguments=("mute",))
        client = await Client.ready(self.server)
        large = "x" * 900000
        for _ in range(8):
            await self.run_steps(client, message=large)
        events = [await client.next() for _ in range(16)]
        codes = [e["data"]["code"] for e in events if e["type"] == "agent_error"]
        self.assertEqual(set(codes), {"upstream_unavailable", "upstream_timeout"})
        self.assertEqual(len(codes), 8)
        await self.server.wait_log(r"does not read its standard input")
        self.assertEqual((await client.answer("hello", "echo"))[-1]["data"]["response"], "hello")

    async def test_one_that_closes_its_output_is_ended_and_started_again(self):
        client = await Client.ready(await self.start())
        events = await self.steps(client, ["deltas", 3], ["close_output"], ["sleep", 100])
        self.assert_failed(events, "upstream_unavailable")
        await self.server.wait_log(r"process\.ended .*closed its standard output")
        await self.assert_well(client)
        await self.until_gone(self.pids()[:1])

    async def test_what_it_has_started_ends_with_it(self):
        client = await Client.ready(await self.start())
        events = await self.steps(client, ["grandchild"], ["deltas", 3], ["exit", 1])
        self.assert_failed(events, "upstream_unavailable")
        self.assertEqual(len(self.pids()), 2)
        await self.until_gone(self.pids())


class Life(ProcessTest):
    async def test_a_reload_leaves_runs_with_their_child_which_ends_when_they_have(self):
        client = await Client.ready(await self.start())
        await self.run_steps(client, ["deltas", 1], ["wait", "go"], ["done", "from the old one"])
        await client.until("agent_delta")
        self.write("timeout = 77")
        status, _, _ = await self.server.ask("POST", "/reload")
        self.assertEqual(status, 200)
        other = await Client.ready(self.server)
        await self.assert_well(other)
        old, new = self.pids()
        self.assertTrue(alive(old))
        self.touch("go")
        events = await client.until("agent_completed", "agent_error")
        self.assertEqual(events[-1]["data"].get("response"), "from the old one")
        await self.until_gone([old])
        await self.assert_well(client)
        self.assertTrue(alive(new))
        self.assertEqual(len(self.pids()), 2)

    async def test_a_reload_that_waits_no_longer_ends_runs_and_child(self):
        client = await Client.ready(await self.start("", "--set", "reload.drain_timeout=1s"))
        await self.run_steps(client, ["deltas", 1], ["sleep", 100])
        events = await client.until("agent_delta")
        self.write("timeout = 77")
        await self.server.ask("POST", "/reload")
        events += await client.until("agent_error")
        self.assert_failed(events, "reloaded")
        await self.until_gone(self.pids())

    async def test_the_end_of_the_server_is_the_end_of_every_child(self):
        await self.start(arguments=("deaf",), workers=2)
        clients = [await Client.ready(self.server) for _ in range(6)]
        for client in clients:
            await self.run_steps(client, ["grandchild"], ["deltas", 1], ["sleep", 100])
            await client.until("agent_delta")
        pids = self.pids()
        self.assertGreaterEqual(len(pids), 7)
        self.assertTrue(all(map(alive, pids)))
        self.server.signal(signal.SIGTERM)
        self.assertEqual(await self.server.ended(), 0)
        await self.until_gone(pids)  # killed, which each of them has still to come to
        self.assertIn("killed by signal 9", self.server.log.text())  # they ignored SIGTERM

    async def test_children_of_a_server_that_is_killed_read_the_end_of_their_input(self):
        client = await Client.ready(await self.start())
        await self.assert_well(client)
        self.server.process.kill()
        await asyncio.to_thread(self.server.wait)
        await self.until_gone(self.pids())
        self.server.exit_code = 0  # it was meant to

    async def test_nothing_starts_before_a_run_needs_it(self):
        client = await Client.ready(await self.start(workers=2))
        await client.answer("hello", "echo")
        self.assertEqual(self.pids(), [])


class Example(ServerTest):
    async def test_the_example_answers_several_at_once_and_notices_a_cancel(self):
        server = await self.serve(ROOT / "examples/process_agent", *ALLOWED, workers=1)
        client = await Client.ready(server, "demo-key")
        events = await client.answer("3 apples, 1 pear and 4.5 plums", "numbers")
        kinds = self.assert_events(events, "numbers")
        self.assertEqual(kinds[:4], ["agent_started", "agent_thinking", "tool_executing", "tool_completed"])
        self.assertEqual(events[1]["data"]["text"], "ada has 3 numbers.")
        self.assertEqual(events[-1]["data"]["response"], "3 numbers, from 1 to 4.5, together 8.5")
        events = await client.answer("none", "numbers")
        self.assertEqual(events[-1]["data"]["code"], "no_numbers")

        slow = {"message": "1 2 3", "agent_type": "numbers", "pause": 100}
        await client.send({"type": "agent_execution", "data": slow})
        run_id = (await client.until("agent_delta"))[0]["run_id"]
        other = await Client.ready(server, "demo-key")
        self.assert_events(await other.answer("7", "numbers"), "numbers")
        await client.send({"type": "agent_cancel", "data": {"run_id": run_id}})
        await client.until("agent_error")
        await server.wait_log(rf"process\.says name=numbers .*stopped {run_id}")


class NotAllowed(ProcessTest):
    WHY = re.compile(r"init\.lua:\d+: .*agent\.process: .*may not be run.*agents\.processes=/")

    def test_no_configuration_no_process(self):
        self.write()
        for command in (["check", self.folder], ["run", self.folder, "--listen", "127.0.0.1:0"]):
            done = tidegate(*command)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertRegex(done.stdout + done.stderr, self.WHY)
        done = tidegate("check", self.folder, "--set", "agents.processes=/usr/bin/env")
        self.assertRegex(done.stdout + done.stderr, self.WHY)
        done = tidegate("check", self.folder, *ALLOWED)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_only_absolute_paths_can_be_allowed(self):
        self.write()
        done = tidegate("check", self.folder, "--set", "agents.processes=python3")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('agents.processes: "python3" is no absolute path', done.stderr)

    async def test_a_reload_cannot_bring_a_program_that_is_not_allowed(self):
        client = await Client.ready(await self.start())
        await self.assert_well(client)
        policy = (self.folder / "init.lua").read_text().replace(f'"{sys.executable}"', '"/bin/sh"')
        (self.folder / "init.lua").write_text(policy)
        status, _, text = await self.server.ask("POST", "/reload")
        self.assertNotEqual(status, 200)
        self.assertRegex(text, "may not be run")
        await self.assert_well(client)

    def test_it_belongs_at_the_top_of_the_file(self):
        text = f"""
        local agent = require "tidegate.agent"
        function policy.route() agent.process{{ command = {{ "{sys.executable}" }} }} end
        policy.agents = {{ a = function() end }}
        """
        (self.folder / "init.lua").write_text(open_policy(text))
        done = tidegate("check", self.folder, *ALLOWED)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
