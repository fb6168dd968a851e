"""A new policy version under live connections: all of it or nothing, and nobody notices but in the
answers."""

import json
import signal
import unittest

from harness import Client, ServerTest


def version(name, extra=""):
    """A policy that says its name; `count` counts in the session."""
    return f"""
local tide = require "tidegate"
local time = require "tidegate.time"
local policy = {{}}
function policy.authenticate(conn, credentials)
  return {{ user_id = credentials.bearer or "guest", by = "{name}" }}
end
function policy.create_context(conn, identity)
  return {{ made_by = "{name}" }}
end
function policy.message(conn, message)
  if message.type == "go" then
    conn.session.go = true
    return
  end
  conn.session.count = (conn.session.count or 0) + 1
  conn:send({{
    type = "seen", by = "{name}", count = conn.session.count, id = conn.id,
    identity = conn.identity.by, context = conn.context.made_by, version = conn.policy_version,
  }})
end
policy.agents = {{
  waits = function(run)
    run:thinking("{name}")
    while not run.conn.session.go do
      time.sleep(0.01)
    end
    return "{name}"
  end,
}}
{extra}
return policy
"""


class Reload(ServerTest):
    async def asyncSetUp(self):
        self.server = await self.serve(version("one"))

    async def seen(self, client):
        await client.send({"type": "look"})
        return await client.expect("seen")

    async def reload(self):
        status, _, text = await self.server.ask("POST", "/reload")
        return status, text

    async def test_live_connections_are_served_by_the_new_version_and_keep_what_is_theirs(self):
        client = await Client.ready(self.server, "ada")
        first = await self.seen(client)
        self.assertEqual((first["by"], first["count"]), ("one", 1))
        self.server.write(version("two"))
        status, text = await self.reload()
        self.assertEqual(status, 200, text)
        second = await self.seen(client)
        self.assertEqual((second["by"], second["count"]), ("two", 2))
        self.assertEqual(second["id"], first["id"])
        self.assertEqual((second["identity"], second["context"]), ("one", "one"))
        self.assertNotEqual(second["version"], first["version"])
        policy = await self.server.get("/policy")
        self.assertEqual(policy["version"], second["version"])
        self.assertEqual(json.loads(text)["version"], second["version"])
        newcomer = await Client.ready(self.server, "bob")
        self.assertEqual((await self.seen(newcomer))["identity"], "two")

    async def test_a_run_under_way_ends_on_the_version_it_began_with(self):
        client = await Client.ready(self.server)
        await client.run("x", "waits")
        await client.until("agent_thinking")
        self.server.write(version("two"))
        self.assertEqual((await self.reload())[0], 200)
        self.assertEqual((await self.seen(client))["by"], "two")
        await client.send({"type": "go"})
        self.assertEqual((await client.expect("agent_completed"))["data"]["response"], "one")
        events = await client.answer("x", "waits")
        self.assertEqual(events[-1]["data"]["response"], "two")

    async def assert_refused(self, text, *words):
        """This file is not taken; the version before goes on on every worker."""
        clients = [await Client.ready(self.server) for _ in range(6)]
        before = (await self.server.get("/policy"))["version"]
        self.server.write(text)
        status, body = await self.reload()
        self.assertGreaterEqual(status, 400)
        for word in words:
            self.assertRegex(body, word)
        clients += [await Client.ready(self.server) for _ in range(6)]
        for client in clients:
            seen = await self.seen(client)
            self.assertEqual((seen["by"], seen["version"]), ("one", before))
        health = await self.server.get("/health")
        self.assertEqual(health["policy"]["version"], before)
        self.assertEqual(health["policy"]["last_reload"]["result"], "failed")
        for word in words:
            self.assertRegex(health["policy"]["last_reload"]["error"], word)
        self.assertEqual(
            await self.server.metric('tidegate_reloads_total{result="failed"}'), 1
        )

    async def test_a_file_that_does_not_parse_is_refused_with_its_line(self):
        await self.assert_refused("local policy = {}\n\nfunction policy.authenticate(\n", r"init\.lua:[345]")

    async def test_a_file_that_raises_is_refused_with_its_line(self):
        await self.assert_refused("local x\n\nx.y = 1\n", r"init\.lua:3")

    async def test_a_policy_without_authenticate_is_refused(self):
        await self.assert_refused("return {}\n", "authenticate", r"init\.lua")

    async def test_a_policy_that_never_finishes_loading_is_refused(self):
        await self.assert_refused("while true do end\n", r"init\.lua")

    async def test_after_a_refused_reload_a_good_one_works(self):
        client = await Client.ready(self.server)
        self.server.write("this is no Lua\n")
        self.assertGreaterEqual((await self.reload())[0], 400)
        self.server.write(version("three"))
        self.assertEqual((await self.reload())[0], 200)
        self.assertEqual((await self.seen(client))["by"], "three")
        health = await self.server.get("/health")
        self.assertEqual(health["policy"]["last_reload"]["result"], "ok")
        self.assertIsNone(health["policy"]["last_reload"].get("error"))

    async def test_sighup_reloads(self):
        client = await Client.ready(self.server)
        self.server.write(version("two"))
        self.server.signal(signal.SIGHUP)
        await self.server.metric_reaches('tidegate_reloads_total{result="ok"}')
        self.assertEqual((await self.seen(client))["by"], "two")

    async def test_many_reloads_under_load_lose_no_message(self):
        clients = [await Client.ready(self.server, f"user-{n}") for n in range(8)]
        for n in range(10):
            for client in clients:
                await client.send({"type": "look"})
            self.server.write(version(f"round-{n}"))
            self.assertEqual((await self.reload())[0], 200)
        for client in clients:
            counts = [(await client.expect("seen"))["count"] for _ in range(10)]
            self.assertEqual(counts, list(range(1, 11)))

    async def test_modules_of_the_policy_are_reloaded_with_it(self):
        (self.server.folder / "words.lua").write_text('return { name = "first" }\n')
        using = version("x", 'local words = require "words"\nfunction policy.binary(c) c:send(words.name) end')
        self.server.write(using)
        self.assertEqual((await self.reload())[0], 200)
        client = await Client.ready(self.server)
        await client.send(b"?")
        self.assertEqual(await client.receive(), "first")
        before = (await self.server.get("/policy"))["version"]
        (self.server.folder / "words.lua").write_text('return { name = "second" }\n')
        self.assertEqual((await self.reload())[0], 200)
        await client.send(b"?")
        self.assertEqual(await client.receive(), "second")
        self.assertNotEqual((await self.server.get("/policy"))["version"], before)


if __name__ == "__main__":
    unittest.main()
