"""Reloads that come while something waits: it ends where it began, and nothing is lost between two versions."""

import asyncio
import json
import signal
import unittest

from harness import BINARY_FRAME, Client, Raw, ServerTest, frame, open_policy


def version(name):
    """A policy that says its name, with hooks and agents that wait in every way there is."""
    return open_policy(f"""
        local time = require "tidegate.time"
        function policy.create_context(conn) return {{ made_by = "{name}" }} end
        function policy.message(conn, message)
          local kind = message.type
          if kind == "sleep" then
            conn:send({{ type = "asleep", by = "{name}" }})
            time.sleep(message.seconds)
          elseif kind == "flood" then
            local kilobyte = ("x"):rep(1024)
            for i = 1, message.count do
              conn:send({{ type = "piece", n = i, by = "{name}", text = kilobyte }})
            end
          elseif kind == "tell" then
            for i = 1, message.count do
              assert(tide.send(message.to, {{ type = "told", n = i, by = "{name}" }}))
            end
          elseif kind == "go" then
            conn.session.go = true
          end
          conn:send({{ type = "done", what = kind, n = message.n, by = "{name}" }})
        end
        policy.agents = {{
          streams = function(run, input)
            local n = 0
            while not run.conn.session.go do
              n = n + 1
              run:delta(n .. " ")
              time.sleep(0.005)
            end
            return {{ by = "{name}", n = n }}
          end,
          tool = function(run, input)
            return run:tool("wait", {{}}, function()
              while not run.conn.session.go do time.sleep(0.005) end
              return "{name}"
            end)
          end,
        }}
        """)


class Suspended(ServerTest):
    async def start(self, *args):
        self.server = await self.serve(version("one"), *args)

    async def take(self, name):
        self.server.write(version(name))
        status, _, text = await self.server.ask("POST", "/reload")
        self.assertEqual(status, 200, text)
        return json.loads(text)["version"]

    async def generations(self):
        policy = await self.server.get("/policy")
        return sum(len(worker["generations"]) for worker in policy["workers"])

    async def drained(self):
        async def alone():
            return await self.generations() == 2

        await self.server.eventually("only the newest version lives", alone)

    async def test_hooks_asleep_end_on_their_version_and_what_came_behind_them_on_the_new_one(self):
        await self.start()
        clients = [await Client.ready(self.server) for _ in range(8)]
        for client in clients:
            await client.send({"type": "sleep", "seconds": 3})  # longer than a reload on a busy machine
            await client.send({"type": "next", "n": 1})
            await client.expect("asleep")
        await self.take("two")
        self.assertGreater(await self.generations(), 2)
        for client in clients:
            first, second = await client.expect("done"), await client.expect("done")
            self.assertEqual((first["what"], first["by"]), ("sleep", "one"))
            self.assertEqual((second["what"], second["by"]), ("next", "two"))
        await self.drained()

    async def test_a_hook_that_waits_for_a_slow_client_sends_all_in_order(self):
        await self.start(
            "--set", "limits.outbox_bytes=256KiB", "--set", "limits.outbox_timeout=60s",
            "--set", "limits.ping_interval=0",  # reading all of it may take longer
        )  # fmt: skip
        raw = await Raw.ready(self.server)
        raw.reader._limit = 2**14  # stops reading early
        count = 20_000  # 20 MB: more than any socket takes
        await raw.write(frame(1, {"type": "flood", "count": count}))
        await raw.write(frame(1, {"type": "next"}))

        async def waits():
            detail = await self.server.get("/connections/" + raw.id)
            return detail["outbox_bytes"] > 30_000  # it goes on from a quarter of the limit

        await self.server.eventually("the client has too much unread", waits)
        await self.take("two")
        await self.take("three")
        for n in range(count):
            piece = await raw.next()
            self.assertEqual((piece["n"], piece["by"]), (n + 1, "one"))
        self.assertEqual((await raw.next())["by"], "one")
        self.assertEqual((await raw.next())["by"], "three")
        await self.drained()

    async def test_messages_to_another_worker_arrive_once_and_in_order(self):
        await self.start()
        clients, rows = [], {}
        while len(set(rows.values())) < 2:  # the kernel shares them out
            self.assertLess(len(clients), 200, "one worker gets no connection")
            clients.append(await Client.ready(self.server))
            rows = {row["id"]: row["worker"] for row in await self.server.connections()}
        sender = next(client for client in clients if rows[client.id] == 1)
        receiver = next(client for client in clients if rows[client.id] == 2)
        count, rounds = 400, 6
        for n in range(rounds):
            await sender.send({"type": "tell", "to": receiver.id, "count": count, "n": n})
            await self.take(f"version {n}")
        for n in range(rounds):
            self.assertEqual((await sender.expect("done"))["n"], n)
            told = [await receiver.expect("told") for _ in range(count)]
            self.assertEqual([message["n"] for message in told], list(range(1, count + 1)))
            self.assertEqual(len({message["by"] for message in told}), 1)
        await self.drained()

    async def test_runs_that_stream_go_on_where_they_are(self):
        await self.start(
            "--set", "reload.max_generations=8", "--set", "runs.max_per_connection=10"
        )  # fmt: skip
        client = await Client.ready(self.server)
        names = ["one", "two", "three", "four", "five"]
        versions = []
        for name in names:
            versions.append((await self.server.get("/policy"))["version"])
            for agent in ("streams", "tool"):
                await client.run("x", agent, id=f"{name} {agent}")
            await client.until("agent_started")
            await client.until("agent_delta")
            if name != names[-1]:
                await self.take(names[names.index(name) + 1])
        await client.send({"type": "go"})
        over, events = {}, []
        while len(over) < 2 * len(names):
            event = await client.next()
            events.append(event)
            if event["type"] == "agent_completed":
                over[event["run_id"]] = event
            self.assertNotEqual(event["type"], "agent_error", event)
        responses = [event["data"]["response"] for event in over.values()]
        self.assertCountEqual([r for r in responses if isinstance(r, str)], names)
        self.assertCountEqual([r["by"] for r in responses if isinstance(r, dict)], names)
        self.assertEqual({event["policy_version"] for event in over.values()}, set(versions))
        await self.drained()

    async def test_a_version_too_many_ends_the_oldest_with_the_reason(self):
        await self.start("--set", "reload.max_generations=2")
        client, sleeper = await Client.ready(self.server), await Client.ready(self.server)
        await client.run("x", "streams")
        await client.until("agent_delta")
        await sleeper.send({"type": "sleep", "seconds": 60})
        await sleeper.expect("asleep")
        await self.take("two")
        await client.run("y", "streams")  # keeps the second alive
        await client.until("agent_started")
        other = await Client.ready(self.server)
        await other.send({"type": "sleep", "seconds": 0.1})
        await other.expect("asleep")
        await self.take("three")
        events = await client.until("agent_error")
        self.assertEqual(events[-1]["data"]["code"], "reloaded")
        code, reason = await sleeper.closed()
        self.assertEqual(code, 1011)
        self.assertIn("reloaded", reason)
        await self.server.wait_log("policy.drain_ended")
        done = await other.expect("done")  # what is young enough goes on
        self.assertEqual(done["by"], "two")
        await client.send({"type": "go"})
        events = await client.until("agent_completed")
        self.assertEqual(events[-1]["data"]["response"]["by"], "two")

    async def test_what_outlives_the_drain_time_is_ended_with_the_reason(self):
        await self.start("--set", "reload.drain_timeout=200ms")
        client, sleeper = await Client.ready(self.server), await Client.ready(self.server)
        await client.run("x", "tool")
        await client.until("tool_executing")
        await sleeper.send({"type": "sleep", "seconds": 60})
        await sleeper.expect("asleep")
        await self.take("two")
        closed_tool, error = await client.until("agent_error")
        self.assertEqual(closed_tool["type"], "tool_completed")
        self.assertEqual(error["data"]["code"], "reloaded")
        self.assertEqual((await sleeper.closed())[0], 1011)
        await client.send({"type": "next"})
        self.assertEqual((await client.expect("done"))["by"], "two")
        await self.drained()

    async def test_a_storm_of_newcomers(self):
        await self.start("--set", "reload.max_generations=16")
        stop = False

        async def come_and_talk(n):
            client = await Client.ready(self.server, f"user-{n}")
            for i in range(5):
                await client.send({"type": "next", "n": i})
                self.assertEqual((await client.expect("done"))["n"], i)
            await client.close()

        async def keep_reloading():
            n = 0
            while not stop:
                n += 1
                await self.take(f"version {n}")
            return n

        reloading = asyncio.create_task(keep_reloading())
        for wave in range(4):
            await asyncio.gather(*(come_and_talk(100 * wave + n) for n in range(40)))
        stop = True
        self.assertGreater(await reloading, 4)
        self.assertNotIn("hook.failed", self.server.log.text())
        self.assertEqual(await self.server.metric('tidegate_closes_total{code="1011"}'), 0)

    async def test_while_another_reload_is_under_way(self):
        await self.start("--set", "reload.max_generations=16")
        clients = [await Client.ready(self.server) for _ in range(6)]
        for n in range(10):
            self.server.write(version(f"round {n}"))
            asked = [self.server.ask("POST", "/reload") for _ in range(6)]
            if n > 0:
                asked.insert(3, self.server.ask("POST", "/rollback"))
                asked.insert(3, self.server.ask("POST", "/rollback"))
            for client in clients:
                await client.send({"type": "next", "n": n})
            for status, _, text in await asyncio.gather(*asked):
                self.assertEqual(status, 200, text)
            for client in clients:
                self.assertEqual((await client.expect("done"))["n"], n)
            await self.take(f"round {n}")  # whatever the order was
            policy = await self.server.get("/policy")
            serving = {worker["generations"][0]["version"] for worker in policy["workers"]}
            self.assertEqual(serving, {policy["version"]})

    async def test_during_a_drain_the_policy_stays(self):
        await self.start("--set", "drain_timeout=20s")
        client = await Client.ready(self.server)
        await client.run("x", "streams")
        await client.until("agent_delta")
        before = (await self.server.get("/policy"))["version"]
        self.assertEqual((await self.server.ask("POST", "/drain"))[0], 202)
        self.server.write(version("two"))
        for path in ("/reload", "/rollback"):
            status, _, text = await self.server.ask("POST", path)
            self.assertEqual((status, json.loads(text)["error"]["code"]), (409, "draining"))
        self.server.signal(signal.SIGHUP)
        self.assertEqual((await self.server.get("/policy"))["version"], before)
        await client.send({"type": "go"})
        events = await client.until("agent_completed")
        self.assertEqual(events[-1]["data"]["response"]["by"], "one")
        self.assertEqual((await client.closed())[0], 1001)
        self.assertEqual(await self.server.ended(), 0)

    async def test_a_drain_that_comes_into_a_reload(self):
        await self.start("--set", "drain_timeout=20s")
        client = await Client.ready(self.server)
        await client.send({"type": "sleep", "seconds": 0.2})
        await client.expect("asleep")
        self.server.write(version("two"))
        answers = asyncio.gather(
            *(self.server.ask("POST", "/reload") for _ in range(4)),
            self.server.ask("POST", "/drain"),
            return_exceptions=True,
        )
        self.assertEqual((await client.expect("done"))["by"], "one")
        self.assertEqual((await client.closed())[0], 1001)
        await answers
        self.assertEqual(await self.server.ended(), 0)

    async def test_binary_frames_and_a_reload_at_each(self):
        await self.start()
        self.server.write(
            open_policy("function policy.binary(conn, bytes) conn:send_binary(bytes) end")
        )
        self.assertEqual((await self.server.ask("POST", "/reload"))[0], 200)
        raw = await Raw.ready(self.server)
        for n in range(20):
            payload = bytes([n]) * 70_000
            reloading = asyncio.create_task(self.server.ask("POST", "/reload"))
            await raw.write(frame(BINARY_FRAME, payload))
            self.assertEqual(await raw.read_frame(), (BINARY_FRAME, payload))
            self.assertEqual((await reloading)[0], 200)


if __name__ == "__main__":
    unittest.main()
