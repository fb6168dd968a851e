"""A script state that is spoilt is built anew: its worker goes on, and so do its connections."""

import asyncio
import contextlib
import time
import unittest

from harness import Client, ConnectionClosed, ServerTest, open_policy

POLICY = """
    local tide = require "tidegate"
    local time = require "tidegate.time"
    local hoard = {}
    local function fill(size)
      while true do hoard[#hoard + 1] = ("x"):rep(size) .. #hoard end
    end
    function policy.message(conn, message)
      if message.type == "hoard" then -- to the last byte
        for _, size in ipairs({ 1e6, 1e4, 1e3 }) do pcall(fill, size) end
        fill(10)
      end
      conn.session.count = (conn.session.count or 0) + 1
      conn:send({
        type = "seen", count = conn.session.count, hoard = #hoard, id = conn.id, worker = tide.worker,
        context = conn.context.made,
      })
    end
    function policy.create_context(conn) return { made = "at the beginning" } end
    policy.agents = {
      slow = function(run)
        while not run.conn.session.go do time.sleep(0.01) end
        return "done"
      end,
    }
    """


class Rebuild(ServerTest):
    async def asyncSetUp(self):
        # Filling 64 MiB may take a sanitizer build longer than the usual CPU budget.
        self.server = await self.serve(
            open_policy(POLICY), "--set", "script.cpu_budget=10s", "--set", "script.memory=64MiB",
            workers=1,
        )  # fmt: skip

    async def look(self, client):
        await client.send({"type": "look"})
        return await client.expect("seen")

    async def memory(self):
        return await self.server.metric('tidegate_script_memory_bytes{worker="1"}')

    async def rebuilds(self):
        return await self.server.metric('tidegate_script_rebuilds_total{reason="memory"}')

    async def hoard(self):
        hoarder = await Client.ready(self.server, "hoarder")
        await hoarder.send({"type": "hoard"})
        self.assertEqual(await hoarder.closed(), (1011, "policy out of memory"))

    async def test_a_policy_that_hoards_keeps_answering_and_others_notice_nothing(self):
        clients = [await Client.ready(self.server, f"user-{n}") for n in range(10)]
        for client in clients:
            self.assertEqual((await self.look(client))["count"], 1)
        before = await self.memory()
        hoarding = asyncio.create_task(self.hoard())
        for n in range(20):
            for client in clients:
                await client.send({"type": "look"})
            for client in clients:
                seen = await client.expect("seen")
                self.assertEqual(
                    (seen["count"], seen["id"], seen["context"], seen["worker"]),
                    (n + 2, client.id, "at the beginning", 1),
                )
        await hoarding
        version = (await self.server.get("/policy"))["version"]
        await self.server.wait_log(f"policy.rebuilt reason=memory worker=1 version={version}")
        self.assertEqual(await self.rebuilds(), 1)
        for client in clients:
            seen = await self.look(client)
            self.assertEqual((seen["hoard"], seen["count"]), (0, 22))

        async def is_back():
            return await self.memory() < 2 * before

        await self.server.eventually("the memory comes back", is_back)
        policy = await self.server.get("/policy")
        self.assertEqual(policy["version"], version)
        self.assertEqual(policy["last_reload"]["why"], "start")  # it was no reload
        self.assertEqual(await self.server.metric('tidegate_reloads_total{result="ok"}'), 0)
        self.assertEqual(len(policy["workers"][0]["generations"]), 1)

    async def test_a_run_that_waits_in_the_old_state_may_end_there(self):
        client = await Client.ready(self.server)
        await client.run("x", "slow")
        await client.expect("agent_started")
        await self.hoard()
        await self.server.wait_log("policy.rebuilt")
        await client.send({"type": "go"})
        await client.expect("seen")
        policy = await self.server.get("/policy")
        self.assertEqual(
            [row["draining"] for row in policy["workers"][0]["generations"]], [False, True]
        )

    async def test_one_that_hoards_again_and_again_does_not_keep_its_worker_busy(self):
        started = time.monotonic()
        for _ in range(4):
            hoarder = await Client.open(self.server)  # may find no memory even to authenticate
            with contextlib.suppress(ConnectionClosed):
                await hoarder.send({"type": "hoard"})
            self.assertEqual((await hoarder.closed())[0], 1011)

        async def well():
            client = await Client.open(self.server)
            try:
                message = await client.next()
            except ConnectionClosed:
                return False
            await client.close()
            return message.get("type") == "connection_ready" and await self.rebuilds() >= 2

        await self.server.eventually("a state that is well again", well)
        # At once, after a second, after two more: four hoarders cannot have had four states.
        self.assertLessEqual(await self.rebuilds(), 2 + (time.monotonic() - started) / 2)


if __name__ == "__main__":
    unittest.main()
