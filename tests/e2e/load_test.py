"""The load generator of tests/bench against the real server: every answer is checked, no time is."""

import asyncio
import json
import subprocess
import unittest

from harness import BINARY, ServerTest, clean_environment, open_policy

LOAD = BINARY.resolve().parent / "tests" / "bench" / "load"

ECHO = open_policy(
    """
    function policy.text(conn, text) conn:send(text) end
    """
)

ROUTE = open_policy(
    """
    local answers = {
      get_price = function(message) return { type = "price", id = message.id, amount = message.data.quantity * 3 } end,
    }
    function policy.message(conn, message) conn:send(answers[message.type](message)) end
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
    async def test_echoes_many_in_flight(self):
        server = await self.serve(ECHO, workers=1)
        figures = await load(server, "--clients", "10", "--depth", "16")
        self.assertGreater(figures["operations"], 0)
        self.assertGreater(figures["cpu_us"], 0)

    async def test_echoes_large_multibyte_text(self):
        server = await self.serve(ECHO, workers=1)
        self.assertGreater((await load(server, "--clients", "2", "--size", "100000", "--utf8"))["operations"], 0)

    async def test_routes_objects(self):
        server = await self.serve(ROUTE)
        self.assertGreater((await load(server, "--work", "route", "--clients", "10", "--depth", "4"))["operations"], 0)

    async def test_connects_and_closes(self):
        server = await self.serve(ECHO)
        self.assertGreater((await load(server, "--work", "connect", "--clients", "5"))["operations"], 0)

    async def test_rests(self):
        server = await self.serve(ECHO)
        self.assertGreater((await load(server, "--work", "idle", "--clients", "50"))["bytes_per_client"], 0)

    async def test_a_wrong_answer_is_noticed(self):
        server = await self.serve(ECHO.replace("conn:send(text)", "conn:send(text:upper())"), workers=1)
        with self.assertRaisesRegex(AssertionError, "a wrong answer"):
            await load(server, "--clients", "2")


if __name__ == "__main__":
    unittest.main()
