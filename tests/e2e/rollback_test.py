"""Going back to the version of the policy that served before, and what the admin interface tells of versions."""

import json
import unittest

from harness import Client, ServerTest, open_policy


def version(name, extra=""):
    return open_policy(f"""
        local time = require "tidegate.time"
        function policy.message(conn, message)
          if message.type == "go" then conn.session.go = true return end
          conn:send({{ type = "seen", by = "{name}", version = conn.policy_version }})
        end
        policy.agents = {{
          waits = function(run)
            run:thinking("{name}")
            while not run.conn.session.go do time.sleep(0.01) end
            return "{name}"
          end,
        }}
        {extra}
        """)


class Versions(ServerTest):
    async def asyncSetUp(self):
        self.server = await self.serve(version("one"))
        self.one = (await self.server.get("/policy"))["version"]

    async def post(self, path):
        status, _, text = await self.server.ask("POST", path)
        return status, json.loads(text)

    async def by(self, client):
        await client.send({"type": "look"})
        return (await client.expect("seen"))["by"]

    async def take(self, name, extra=""):
        """Writes a version and reloads; its short text."""
        self.server.write(version(name, extra))
        status, body = await self.post("/reload")
        self.assertEqual(status, 200, body)
        return body["version"]


class Rollback(Versions):
    async def test_a_second_rollback_goes_forth_again(self):
        client = await Client.ready(self.server)
        two = await self.take("two")
        for wanted, back in (("one", self.one), ("two", two), ("one", self.one)):
            other = two if wanted == "one" else self.one
            status, body = await self.post("/rollback")
            self.assertEqual(
                (status, body),
                (200, {"result": "ok", "version": back, "previous": other, "unchanged": False}),
            )
            self.assertEqual(await self.by(client), wanted)
            policy = await self.server.get("/policy")
            self.assertEqual((policy["version"], policy["previous"]), (back, other))
            self.assertTrue(policy["last_reload"]["rollback"])
        # The files still hold the second.
        self.assertEqual((await self.post("/reload"))[1]["version"], two)
        self.assertEqual(await self.by(client), "two")
        await self.server.wait_log(f"policy.rollback result=ok why=admin version={self.one}")

    async def test_the_same_files_again_are_no_other_version(self):
        await self.take("two")
        self.assertTrue((await self.post("/reload"))[1]["unchanged"])
        self.assertEqual((await self.post("/rollback"))[1]["version"], self.one)

    async def test_without_an_earlier_version_it_says_so(self):
        status, body = await self.post("/rollback")
        self.assertEqual((status, body["error"]["code"]), (409, "no_previous_version"), body)
        self.assertIn("no other version", body["error"]["message"])
        health = await self.server.get("/health")
        self.assertEqual((health["status"], health["policy"]["previous"]), ("ok", None))

    async def test_a_version_that_failed_is_not_gone_back_to(self):
        await self.take("two")
        self.server.write("local x\nx.y = 1\n")
        self.assertEqual((await self.post("/reload"))[0], 422)
        self.assertEqual((await self.server.get("/health"))["status"], "degraded")
        self.assertEqual((await self.post("/rollback"))[1]["version"], self.one)
        self.assertEqual((await self.server.get("/health"))["status"], "ok")

    async def test_a_run_under_way_ends_on_the_version_it_began_with(self):
        await self.take("two")
        client = await Client.ready(self.server)
        await client.run("x", "waits")
        await client.until("agent_thinking")
        await self.post("/rollback")
        self.assertEqual(await self.by(client), "one")
        await client.send({"type": "go"})
        self.assertEqual((await client.expect("agent_completed"))["data"]["response"], "two")

    async def test_it_comes_to_every_worker(self):
        await self.take("two")
        clients = [await Client.ready(self.server) for _ in range(12)]
        await self.post("/rollback")
        workers = {row["worker"] for row in await self.server.connections()}
        self.assertEqual(workers, {1, 2})
        for client in clients:
            self.assertEqual(await self.by(client), "one")


class Told(Versions):
    async def test_every_event_names_the_version_that_executes_its_run(self):
        client = await Client.ready(self.server)
        await client.run("x", "waits")
        events = await client.until("agent_thinking")
        two = await self.take("two")
        await client.run("y", "waits")
        events += await client.until("agent_thinking")
        await client.send({"type": "go"})
        events += await client.until("agent_completed")
        events += await client.until("agent_completed")
        versions = {event["run_id"]: set() for event in events}
        for event in events:
            versions[event["run_id"]].add(event["policy_version"])
        self.assertEqual(list(versions.values()), [{self.one}, {two}])

    async def test_policy_tells_which_versions_live_where(self):
        clients = [await Client.ready(self.server) for _ in range(8)]
        await clients[0].run("x", "waits")
        await clients[0].until("agent_thinking")
        two = await self.take("two")
        self.assertEqual(await self.by(clients[1]), "two")
        policy = await self.server.get("/policy")
        self.assertEqual((policy["version"], policy["previous"]), (two, self.one))
        self.assertEqual(policy["last_reload"]["result"], "ok")
        self.assertEqual(policy["last_reload"]["why"], "admin")
        self.assertEqual(policy["last_reload"]["version"], two)
        self.assertEqual(policy["connections"], {self.one: 7, two: 1})
        self.assertEqual([worker["worker"] for worker in policy["workers"]], [1, 2])
        draining = 0
        for worker in policy["workers"]:
            serves, *others = worker["generations"]
            self.assertEqual((serves["version"], serves["draining"]), (two, False))
            self.assertGreater(serves["memory_bytes"], 10_000)
            for other in others:
                self.assertEqual((other["version"], other["draining"]), (self.one, True))
                draining += other["calls"]
        self.assertEqual(draining, 1)
        self.assertEqual(
            sum(row["count"] for worker in policy["workers"] for row in worker["connections"]), 8
        )
        detail = await self.server.get("/connections/" + clients[1].id)
        self.assertEqual(detail["policy_version"], two)
        rows = {row["id"]: row["policy_version"] for row in await self.server.connections()}
        self.assertEqual((rows[clients[1].id], rows[clients[2].id]), (two, self.one))
        self.assertEqual(await self.server.metric(f'tidegate_policy_info{{version="{two}"}}'), 1)
        await clients[0].send({"type": "go"})
        await clients[0].until("agent_completed")

        async def drained():
            workers = (await self.server.get("/policy"))["workers"]
            return all(len(worker["generations"]) == 1 for worker in workers)

        await self.server.eventually("only the new version lives", drained)

    async def test_a_failed_reload_is_told_with_file_line_and_who_asked(self):
        self.server.write("local x\n\nx.y = 1\n")
        await self.post("/reload")
        for last in (
            (await self.server.get("/policy"))["last_reload"],
            (await self.server.get("/health"))["policy"]["last_reload"],
        ):
            self.assertEqual((last["result"], last["why"]), ("failed", "admin"))
            self.assertRegex(last["error"], r"init\.lua:3")
            self.assertRegex(last["at"], r"^\d{4}-\d\d-\d\dT.*Z$")

    async def test_log_lines_of_hooks_and_runs_name_the_version(self):
        two = await self.take(
            "two",
            'function policy.binary() error("boom") end\n'
            'policy.agents.bad = function() error("bang") end',
        )
        client = await Client.ready(self.server)
        await client.answer("x", "bad")
        await self.server.wait_log(f"run.failed .*policy={two}")
        await client.send(b"x")
        self.assertEqual((await client.closed())[0], 1011)
        await self.server.wait_log(f"hook.failed .*policy={two}")
        await self.server.wait_log(f"conn.close .*policy={two}")


if __name__ == "__main__":
    unittest.main()
