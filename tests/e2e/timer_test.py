"""Timers: what a policy does by itself, on every worker or on one for all, version by version."""

import unittest

from harness import Client, ServerTest, open_policy


def ticking(name):
    return open_policy(
        f"""
        local timer, kv = require "tidegate.timer", require "tidegate.kv"
        timer.every(0.02, function()
          kv.incr("ticks:{name}")
          local to = kv.get("listener")
          if to then tide.send(to, {{ type = "tick", by = "{name}" }}) end
        end)
        -- One worker for all: the others find the key there.
        timer.every(0.05, function()
          if kv.add("lock", true, {{ ttl = 3600 }}) then kv.incr("alone") end
        end)
        function policy.message(conn, message)
          if message.type == "listen" then kv.set("listener", conn.id) end
          if message.type == "count" then
            conn:send({{ type = "count", one = kv.get("ticks:one") or 0, two = kv.get("ticks:two") or 0,
              alone = kv.get("alone") or 0 }})
          end
        end
        """
    )


class Timers(ServerTest):
    async def count(self, client):
        await client.send({"type": "count"})
        return (await client.until("count"))[-1]

    async def counted(self, server, client, name, least):
        async def enough():
            return (await self.count(client))[name] >= least

        await server.eventually(f"{least} ticks of {name}", enough)

    async def test_they_reach_connections_of_any_worker(self):
        server = await self.serve(ticking("one"), workers=2)
        client = await Client.ready(server)
        await client.send({"type": "listen"})
        for _ in range(5):
            self.assertEqual((await client.next())["by"], "one")

    async def test_one_worker_does_it_for_all(self):
        server = await self.serve(ticking("one"), workers=2)
        client = await Client.ready(server)
        await self.counted(server, client, "one", 20)
        self.assertEqual((await self.count(client))["alone"], 1)

    async def test_a_reload_ends_the_old_ones_and_begins_the_new(self):
        server = await self.serve(ticking("one"), workers=2)
        client = await Client.ready(server)
        await self.counted(server, client, "one", 4)
        server.write(ticking("two"))
        status, _, text = await server.ask("POST", "/reload")
        self.assertEqual(status, 200, text)
        one = (await self.count(client))["one"]
        await self.counted(server, client, "two", 10)
        # A callback that was under way when the version changed may have counted once, on each worker.
        self.assertLessEqual((await self.count(client))["one"], one + 2)

    async def test_a_refused_reload_changes_no_timer(self):
        server = await self.serve(ticking("one"), workers=2)
        client = await Client.ready(server)
        server.write(ticking("two") + "\nsyntax error")
        status, _, text = await server.ask("POST", "/reload")
        self.assertNotEqual(status, 200, text)
        one = (await self.count(client))["one"]
        await self.counted(server, client, "one", one + 10)
        self.assertEqual((await self.count(client))["two"], 0)

    async def test_an_error_is_logged_and_the_next_tick_comes(self):
        server = await self.serve(
            open_policy(
                """
                local timer = require "tidegate.timer"
                timer.every(0.02, function() error("bad tick") end)
                timer.after(0, function() while true do end end)
                """
            ),
            workers=1,
        )
        line = await server.wait_log("timer.failed.*bad tick")
        self.assertRegex(line, r"policy=[0-9a-f]{12}")
        self.assertIn("traceback=", line)
        await server.metric_reaches('tidegate_timer_outcomes_total{outcome="error"}', 3)
        await server.metric_reaches('tidegate_timer_outcomes_total{outcome="cpu_budget"}', 1)
        client = await Client.ready(server)
        await client.alive()

    async def test_a_server_with_timers_stops_in_order(self):
        server = await self.serve(ticking("one"), workers=2)
        client = await Client.ready(server)
        await self.counted(server, client, "one", 2)
        await server.ask("POST", "/drain")
        await client.closed()
        await server.ended()


if __name__ == "__main__":
    unittest.main()
