"""The benchmarks' tools against the real server, for a blink each: every answer is checked, no time is."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path
from unittest import mock

from harness import BINARY, ROOT, ServerTest, clean_environment, open_policy

os.environ.setdefault("TIDEGATE_BIN", str(BINARY))
BENCH = ROOT / "tests" / "bench"
sys.path.insert(0, str(BENCH))
import compare  # noqa: E402
import instructions  # noqa: E402
import servers  # noqa: E402

LOAD = BINARY.resolve().parent / "tests" / "bench" / "load"
EVENTS_OF_A_RUN = 102  # agent_started, 100 agent_delta, agent_completed

ECHO = open_policy(
    """
    function policy.text(conn, text) conn:send(text) end
    """
)


async def load(server, *flags):
    """The figures of one short load; fails when an answer was wrong."""
    command = [LOAD, "--seconds", "0.2", "--warm", "0", "--server", str(server.process.pid), *flags]
    command += [server.host, str(server.port)]
    options = {"capture_output": True, "text": True, "timeout": 60, "env": clean_environment()}
    done = await asyncio.to_thread(subprocess.run, command, **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Load(ServerTest):
    async def test_for_a_time(self):
        server = await self.serve(ECHO, workers=1)
        figures = await load(server, "--clients", "10", "--depth", "16")
        self.assertGreater(figures["operations"], 0)
        self.assertGreater(figures["cpu_us"], 0)
        self.assertGreater(figures["open_seconds"], 0)

    async def test_for_a_number_of_messages(self):
        server = await self.serve(ECHO, workers=1)
        await load(server, "--clients", "10", "--depth", "7", "--operations", "333")
        metrics = await server.metrics()
        self.assertEqual(metrics['tidegate_messages_total{direction="in",kind="text"}'], 333)

    async def test_a_wrong_answer_is_noticed(self):
        server = await self.serve(ECHO.replace("conn:send(text)", "conn:send(text:upper())"), workers=1)
        with self.assertRaisesRegex(AssertionError, "a wrong answer"):
            await load(server, "--clients", "2")

    async def test_events_out_of_order_are_noticed(self):
        policy = (BENCH / "peers" / "stream.lua").read_text()
        swapped = policy.replace('"piece " .. piece', '"piece " .. (piece == 7 and 8 or piece)')
        self.assertNotEqual(policy, swapped)
        server = await self.serve(swapped, workers=1)
        with self.assertRaisesRegex(AssertionError, '"piece 7" was to come'):
            await load(server, "--work", "stream", "--clients", "2")

    async def test_a_server_that_goes_away_is_noticed(self):
        server = await self.serve(ECHO.replace("conn:send(text)", "conn:close(4000, 'enough')"), workers=1)
        with self.assertRaisesRegex(AssertionError, "was closed: enough"):
            await load(server, "--clients", "2")


def small(scenario):
    """The same work of few clients: (scenario, how many operations it has to count)."""
    few = {**scenario, "clients": 4, "operations": 8 if scenario.get("size", 0) > 100000 else 40}
    if "active" in scenario:
        few["active"] = 2
    elif scenario["work"] == "idle":
        few["operations"] = 4
    if scenario["work"] == "stream":
        few.update(operations=8, pause=min(scenario.get("pause", 0), 0.001))
        return few, 8 * EVENTS_OF_A_RUN
    return few, few["operations"]


class Scenarios(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="tidegate-bench-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def skip_without_tls(self, scenario):
        if scenario.get("tls") and not compare.has_tls():
            self.skipTest("the load generator was built without OpenSSL (libssl-dev)")

    def measure(self, name, scenario, **more):
        few, expected = small(scenario)
        figures = compare.measure(name, few, self.folder, **more)
        self.assertEqual(figures["operations"], expected)
        return figures

    def test_every_scenario_counts_what_it_asked_for(self):
        for scenario in compare.scenarios():
            with self.subTest(scenario["name"]):
                self.skip_without_tls(scenario)
                self.measure("tidegate", scenario, workers=max(scenario.get("workers", [1])))

    def test_every_peer_that_is_there_does_its_works(self):
        names = set(servers.COMMANDS) - set(servers.missing()) - {"tidegate"}
        scenarios = {scenario["name"]: scenario for scenario in compare.scenarios()}
        for name in sorted(names):
            for work in ("echo-small-deep", "route", "handshake", "tls-echo-small"):
                with self.subTest(f"{name} {work}"):
                    self.skip_without_tls(scenarios[work])
                    if name in compare.contestants(scenarios[work]):
                        self.measure(name, scenarios[work])

    def test_a_crowd_is_spread_over_as_many_servers_as_it_takes(self):
        scenario = next(each for each in compare.scenarios() if each.get("spread"))
        with mock.patch.object(compare, "most_connections", return_value=4):
            figures = compare.measure(
                "tidegate", {**scenario, "clients": 10, "active": 3, "seconds": 0.1, "warm": 0}, self.folder
            )
        self.assertEqual((figures["clients"], figures["processes"]), (10, 3))
        self.assertGreater(figures["operations"], 0)

    def test_the_report_has_a_row_for_each_server(self):
        path = self.folder / "report.md"
        command = [sys.executable, BENCH / "bench.py", "--rounds", "1", "--seconds", "0.05", "--peers", "tidegate,raw"]
        done = subprocess.run([*command, "--report", path, "echo-small", "scaling"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        text = path.read_text()
        for expected in ("### echo-small: 20 bytes", "| tidegate | 1.00 |", "| raw |", "| 4 workers |", "luajit "):
            self.assertIn(expected, text)

    def test_the_list_names_every_scenario_and_tool(self):
        listed = subprocess.run(
            [sys.executable, BENCH / "bench.py", "--list"], capture_output=True, text=True, check=True
        ).stdout
        for name in [scenario["name"] for scenario in compare.scenarios()] + ["instructions", "hook_cost", "hostile"]:
            self.assertIn(f"  {name} ", listed)


class Counts(unittest.TestCase):
    """instructions.py; valgrind itself cannot run what is built with sanitizers."""

    def test_a_profile_is_read(self):
        text = """\
            events: Ir
            totals: 999
            ob=(1) /usr/bin/tidegate
            fl=(1) /src/core/net/stream.c
            fn=(1) on_read
            10 7
            fi=(2) /src/core/base/buffer.h
            11 3
            cfi=(3) /src/malloc.c
            cob=(2) /lib/libc.so.6
            cfn=(2) malloc
            calls=4 20
            12 400

            ob=(2)
            fl=(3)
            fn=(2)
            20 100

            summary: 110
            """
        with tempfile.NamedTemporaryFile("w", suffix=".out") as file:
            file.write(textwrap.dedent(text))
            file.flush()
            profile = instructions.Profile(file.name)
        self.assertEqual(dict(profile.calls), {"malloc": 4})
        parts = instructions.grouped(profile.costs, instructions.part_of)
        self.assertEqual(dict(parts), {"core/net": 10, "libc: malloc": 100})

    def test_what_both_runs_had_cancels_out(self):
        self.assertEqual(instructions.per_message({"a": 5, "b": 9}, {"a": 25, "b": 9}, 10), {"a": 2.0})

    @unittest.skipUnless(shutil.which("strace"), "strace is not installed")
    def test_system_calls_of_an_echo_are_counted(self):
        with tempfile.TemporaryDirectory() as folder:
            counts = [instructions.system_calls("echo-small", n, Path(folder)) for n in (100, 300)]
        per_message = instructions.per_message(*counts, 200)
        for names in (("read", "recvfrom", "readv"), ("write", "sendto", "writev", "sendmsg")):
            self.assertAlmostEqual(sum(per_message.get(name, 0) for name in names), 1, delta=0.2)


if __name__ == "__main__":
    unittest.main()
