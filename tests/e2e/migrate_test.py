"""`migrate`: a connection's session is brought into the form of a new version before that version sees it."""

import asyncio
import unittest

from harness import Client, ServerTest, open_policy

FIRST = open_policy("""
    function policy.message(conn, message)
      conn.session.n = (conn.session.n or 0) + 1
      conn:send({ type = "seen", n = conn.session.n })
    end
    """)


def second(migrate, extra=""):
    """Has its count in a table of its own, and a number of migrations."""
    return open_policy(f"""
        local time = require "tidegate.time"
        local log = require "tidegate.log"
        function policy.migrate(conn, session, from_version)
          log.info("migrates", {{ from = from_version }})
          {migrate}
        end
        local function forward(session)
          session.count, session.n = {{ total = session.n or 0 }}, nil
          session.times = (session.times or 0) + 1
        end
        function policy.message(conn, message)
          local count = conn.session.count
          count.total = count.total + 1
          conn:send({{ type = "seen", total = count.total, times = conn.session.times, text = message.text }})
        end
        function policy.closed(conn, info)
          log.info("bye", {{ total = conn.session.count and conn.session.count.total or -1 }})
        end
        policy.agents = {{
          counter = function(run) return run.conn.session.count.total end,
        }}
        {extra}
        """).replace("function policy.migrate", "local forward\nfunction policy.migrate").replace(
        "local function forward", "function forward"
    )


class Migrate(ServerTest):
    async def asyncSetUp(self):
        self.server = await self.serve(FIRST, "--set", "script.wall_budget=1s")
        self.first = (await self.server.get("/policy"))["version"]
        self.client = await Client.ready(self.server)
        await self.client.send({"type": "look"})
        await self.client.expect("seen")

    async def take(self, text):
        self.server.write(text)
        status, _, body = await self.server.ask("POST", "/reload")
        self.assertEqual(status, 200, body)

    async def look(self, text=""):
        await self.client.send({"type": "look", "text": text})

    async def test_once_for_each_connection_whatever_it_does_first(self):
        await self.take(second("forward(session)"))
        events = await self.client.answer("x", "counter")
        self.assertEqual(events[-1]["data"]["response"], 1)
        await self.look()
        seen = await self.client.expect("seen")
        self.assertEqual((seen["total"], seen["times"]), (2, 1))
        await self.server.wait_log(f"migrates.* from={self.first}")
        self.assertEqual(
            await self.server.metric('tidegate_hook_outcomes_total{hook="migrate",outcome="ok"}'), 1
        )
        self.assertIn("migrate", (await self.server.get("/policy"))["hooks"])

    async def test_going_back_migrates_with_the_newer_version_as_origin(self):
        back = FIRST.replace(
            "return policy\n",
            "function policy.migrate(conn, session, from)\n"
            "  session.n, session.count = session.count.total, nil\nend\nreturn policy\n",
        )
        await self.take(back)
        await self.take(second("forward(session)"))
        await self.look()
        self.assertEqual((await self.client.expect("seen"))["total"], 2)
        self.assertEqual((await self.server.ask("POST", "/rollback"))[0], 200)
        await self.look()
        self.assertEqual((await self.client.expect("seen"))["n"], 3)

    async def test_messages_wait_behind_one_that_waits(self):
        await self.take(second("time.sleep(0.1) forward(session)"))
        for n in range(20):
            await self.look(str(n))
        await self.client.run("x", "counter")
        for n in range(20):
            seen = await self.client.expect("seen")
            self.assertEqual((seen["text"], seen["total"], seen["times"]), (str(n), n + 2, 1))
        events = await self.client.until("agent_completed")
        self.assertEqual(events[-1]["data"]["response"], 21)

    async def test_a_client_that_leaves_meanwhile_is_told_good_bye_with_a_migrated_session(self):
        await self.take(second("time.sleep(0.2) forward(session)"))
        await self.look()
        await self.server.wait_log("migrates")
        self.client.ws.transport.abort()
        await self.server.wait_log("bye.* total=[12]")

    async def test_one_that_fails_fails_its_connection_only(self):
        other = await Client.ready(self.server)
        await self.take(
            second("if session.n then error('no way forward') end forward(session)")
        )
        await self.look()
        self.assertEqual((await self.client.closed()), (1011, "policy error"))
        await self.server.wait_log("hook.failed .*hook=migrate .*no way forward")
        await self.server.wait_log("bye.* total=-1")
        await other.send({"type": "look"})
        self.assertEqual((await other.expect("seen"))["total"], 1)
        self.assertEqual(
            await self.server.metric('tidegate_hook_outcomes_total{hook="migrate",outcome="error"}'),
            1,
        )

    async def test_one_that_never_ends_is_ended(self):
        await self.take(second("time.sleep(60)"))
        await self.look()
        self.assertEqual((await self.client.closed()), (1011, "policy took too long"))

    async def test_many_connections_at_once(self):
        clients = [await Client.ready(self.server) for _ in range(30)]
        await self.take(second("time.sleep(0.02) forward(session)"))

        async def use(client):
            for n in range(3):
                await client.send({"type": "look"})
                self.assertEqual((await client.expect("seen"))["total"], n + 1)

        await asyncio.gather(*(use(client) for client in clients))


if __name__ == "__main__":
    unittest.main()
