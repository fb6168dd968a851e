"""A hook that decides and fails says no: whatever goes wrong in it, nobody gets in."""

import contextlib
import tempfile
import unittest
from pathlib import Path

import websockets.exceptions

from harness import Client, ConnectionClosed, Refused, ServerTest, open_policy, tidegate

HOOKS = ("upgrade", "authenticate", "reauthenticate", "create_context", "prepare")

# The header `x-fault` is "HOOK:FAULT".
FAULTY = """
local tide = require "tidegate"
local time = require "tidegate.time"
local policy = {}

local faults = {
  raise = function() error("it broke") end,
  raise_table = function() error({ user_id = "ada" }) end,
  sleep = function() time.sleep(3600) end,
  loop = function() while true do end end,
  caught_loop = function()
    while true do
      pcall(function() while true do end end)
    end
  end,
}
local wrong = {
  upgrade = { 42, "yes", { user_id = "ada" } },
  authenticate = { true, "ada", {}, { user_id = 7 }, { user_id = "" } },
  reauthenticate = { true, "ada", {}, { user_id = 7 } },
  create_context = { print, { f = print } },
  prepare = { 42, "ok", {} },
}

local function decide(request, hook, good)
  local name, fault = (request.headers["x-fault"] or ""):match("^(.-):(.*)$")
  if name ~= hook then
    return good
  end
  if fault:match("^wrong") then
    return wrong[hook][tonumber(fault:match("%d+"))]
  end
  return faults[fault]()
end

function policy.upgrade(request)
  return decide(request, "upgrade", nil)
end
function policy.authenticate(conn)
  return decide(conn.request, "authenticate", { user_id = "ada" })
end
function policy.reauthenticate(conn)
  return decide(conn.request, "reauthenticate", { user_id = "ada" })
end
function policy.create_context(conn)
  return decide(conn.request, "create_context", {})
end
function policy.prepare(conn)
  return decide(conn.request, "prepare", true)
end
function policy.message(conn)
  conn:send({ type = "inside" })
end
return policy
"""


class Faults(ServerTest):
    async def assert_denied(self, hook, fault):
        """The fault of that hook lets nobody in, and ends one who is in."""
        if hook == "upgrade":
            with self.assertRaises(Refused) as refused:
                await Client.open(self.server, headers={"x-fault": f"{hook}:{fault}"})
            self.assertEqual(refused.exception.status, 500)
            return
        client = await Client.open(self.server, headers={"x-fault": f"{hook}:{fault}"})
        if hook == "reauthenticate":
            await client.expect("connection_ready")
            await client.send({"type": "authenticate", "data": {}})
        heard = []
        with contextlib.suppress(ConnectionClosed):  # as it must be
            await client.send({"type": "knock"})
            while True:
                heard.append(await client.next())
        self.assertEqual(heard, [], f"{hook} {fault}")
        code, reason = await client.closed()
        self.assertEqual(code, 1011, f"{hook} {fault}: {reason}")
        self.assertNotIn("it broke", reason)
        self.assertNotIn("traceback", reason)

    async def each_hook(self, fault, outcome, *args):
        self.server = await self.serve(FAULTY, *args)
        for hook in HOOKS:
            with self.subTest(hook=hook):
                await self.assert_denied(hook, fault)
                name = f'tidegate_hook_outcomes_total{{hook="{hook}",outcome="{outcome}"}}'
                await self.server.metric_reaches(name)
        # It was only those connections.
        await (await Client.ready(self.server)).close()

    async def test_a_deciding_hook_that_raises_denies(self):
        await self.each_hook("raise", "error")
        await self.server.wait_log(r"init\.lua:\d+: it broke")

    async def test_a_deciding_hook_that_raises_a_table_denies(self):
        await self.each_hook("raise_table", "error")

    async def test_a_deciding_hook_that_takes_too_long_denies(self):
        await self.each_hook("sleep", "wall_budget", "--set", "script.wall_budget=300ms")

    async def test_a_deciding_hook_that_loops_for_ever_denies(self):
        await self.each_hook("loop", "cpu_budget")

    async def test_a_deciding_hook_that_catches_its_own_interruption_denies(self):
        await self.each_hook("caught_loop", "cpu_budget")

    async def test_a_deciding_hook_that_returns_the_wrong_shape_denies(self):
        self.server = await self.serve(FAULTY)
        counts = {"upgrade": 3, "authenticate": 5, "reauthenticate": 4, "create_context": 2, "prepare": 3}
        for hook, count in counts.items():
            for n in range(1, count + 1):
                with self.subTest(hook=hook, shape=n):
                    await self.assert_denied(hook, f"wrong{n}")
            name = f'tidegate_hook_outcomes_total{{hook="{hook}",outcome="bad_result"}}'
            self.assertEqual(await self.server.metric(name), count, hook)
        await (await Client.ready(self.server)).close()


class Denials(ServerTest):
    POLICY = open_policy(
        """
        function policy.upgrade(request)
          if request.path == "/no" then
            return tide.reject(403, "origin not allowed")
          end
        end
        local authenticate = policy.authenticate
        function policy.authenticate(conn, credentials)
          if credentials.bearer == "stranger" then
            return nil, "unknown key"
          end
          return authenticate(conn, credentials)
        end
        function policy.create_context(conn, identity)
          if identity.user_id == "homeless" then
            return nil, "no tenant"
          end
          return {}
        end
        function policy.prepare(conn)
          if conn.user_id == "broken" then
            return nil, "no database"
          end
          return true
        end
        """
    )

    async def test_upgrade_may_refuse_with_a_status_of_its_own(self):
        server = await self.serve(self.POLICY)
        with self.assertRaises(Refused) as refused:
            await Client.open(server, path="/no")
        self.assertEqual(refused.exception.status, 403)

    async def test_authenticate_may_refuse_with_its_reason(self):
        server = await self.serve(self.POLICY)
        client = await Client.open(server, "stranger")
        self.assertEqual(await client.closed(), (4401, "unknown key"))
        name = 'tidegate_hook_outcomes_total{hook="authenticate",outcome="denied"}'
        self.assertEqual(await server.metric(name), 1)

    async def test_create_context_and_prepare_may_refuse_with_their_reason(self):
        server = await self.serve(self.POLICY)
        for user, why in (("homeless", "no tenant"), ("broken", "no database")):
            client = await Client.open(server, user)
            code, reason = await client.closed()
            self.assertIn(code, (1011, 1013, 4403))
            self.assertEqual(reason, why)


class WithoutAuthenticate(ServerTest):
    async def test_neither_check_nor_run_accepts_a_policy_without_authenticate(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "open_door.lua"
            path.write_text("return { agents = {} }\n")
            for command in (("check", path), ("run", path, "--listen", "127.0.0.1:0", "--admin", "off")):
                done = tidegate(*command)
                self.assertEqual(done.returncode, 1, done)
                self.assertIn("open_door.lua", done.stderr + done.stdout)
                self.assertIn("authenticate", done.stderr + done.stdout)
                self.assertRegex(done.stderr + done.stdout, r"function policy\.authenticate")
                self.assertNotIn("listening", done.stdout)


if __name__ == "__main__":
    unittest.main()
