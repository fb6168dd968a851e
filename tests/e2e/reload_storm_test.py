"""A thousand reloads under load, every fifth of them broken: no connection is dropped, no message lost,
doubled or out of order, no session forgotten, and no memory kept.

TIDEGATE_STORM_RELOADS makes it another number.
"""

import asyncio
import os
import unittest

from harness import Client, ServerTest, open_policy

RELOADS = int(os.environ.get("TIDEGATE_STORM_RELOADS", "1000"))
CONNECTIONS = 24
DELTAS = 6

# What is freed must come back soon, or the quarantine of AddressSanitizer is all that is measured.
SMALL_QUARANTINE = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=4"}


def version(n):
    return open_policy(f"""
        local time = require "tidegate.time"
        function policy.create_context(conn) return {{ made = "at the beginning" }} end
        function policy.message(conn, message)
          conn.session.count = (conn.session.count or 0) + 1
          conn:send({{
            type = "seen", n = message.n, count = conn.session.count, by = {n}, id = conn.id,
            context = conn.context.made,
          }})
        end
        policy.agents = {{
          streamer = function(run)
            for i = 1, {DELTAS} do
              run:delta(tostring(i))
              time.sleep(0.003)
            end
            return {n}
          end,
        }}
        """)


# Ways in which a version is broken, and what the answer to the reload says.
BROKEN = (
    (lambda text: text.replace("return policy", "return policy ]"), r"init\.lua:\d+: "),
    (lambda text: 'error("not today")\n' + text, r"init\.lua:1: not today"),
    (
        lambda text: 'if require("tidegate").worker == 2 then error("not here") end\n' + text,
        r"init\.lua:1: not here \(on worker 2\)",
    ),
    (lambda text: "while true do end\n" + text, r"init\.lua:1: computed for more than 60ms"),
)


class Storm(ServerTest):
    async def asyncSetUp(self):
        self.server = await self.serve(
            version(0), "--set", "script.cpu_budget=60ms", "--set", "reload.max_generations=64",
            "--set", "limits.ping_interval=0", env=SMALL_QUARANTINE,
        )  # fmt: skip
        self.serving = 0  # the version that has taken over on every worker
        self.written = 0  # the newest that can be met
        self.over = False
        self.messages = 0
        self.runs = 0

    async def talk(self, client):
        """Numbered messages, each answered before the next is sent; every fourth comes with a run."""
        n = seq = 0
        while not self.over:
            n += 1
            least = self.serving
            await client.send({"type": "number", "n": n})
            if n % 4 == 0:
                await client.run("x", "streamer", id=n)
                await self.check_message(client, n, least)
                seq = await self.check_run(client, n, seq, least)
            else:
                await self.check_message(client, n, least)
            await asyncio.sleep(0.005)  # leaves the machine some time for reloads
        self.messages += n

    async def check_message(self, client, n, least):
        seen = await client.expect("seen")
        self.assertEqual(
            (seen["n"], seen["count"], seen["id"], seen["context"]),
            (n, n, client.id, "at the beginning"),
        )
        self.assertTrue(least <= seen["by"] <= self.written, (least, seen, self.written))

    async def check_run(self, client, n, seq, least):
        events = await client.until("agent_completed", "agent_error")
        self.assert_events(events, "streamer")
        self.assert_seq(events, seq + 1)
        self.assertEqual(events[0]["data"]["request_id"], n)
        self.assertEqual(len({event["policy_version"] for event in events}), 1)
        deltas = "".join(e["data"]["text"] for e in events if e["type"] == "agent_delta")
        self.assertEqual(deltas, "".join(str(i + 1) for i in range(DELTAS)))
        self.assertTrue(least <= events[-1]["data"]["response"] <= self.written)
        self.runs += 1
        return events[-1]["seq"]

    async def reload(self, n):
        if n % 5 != 0:
            self.written = n
            self.server.write(version(n))
            status, _, text = await self.server.ask("POST", "/reload")
            self.assertEqual(status, 200, text)
            self.serving = n
            return
        spoil, error = BROKEN[n // 5 % len(BROKEN)]
        self.server.write(spoil(version(n)))
        status, _, text = await self.server.ask("POST", "/reload")
        self.assertEqual(status, 422, text)
        self.assertRegex(text, error)
        policy = await self.server.get("/policy")
        serving = {worker["generations"][0]["version"] for worker in policy["workers"]}
        self.assertEqual(serving, {policy["version"]}, "some worker took it")

    async def resident(self):
        """Kilobytes, once only one version lives on each worker."""

        async def settled():
            workers = (await self.server.get("/policy"))["workers"]
            return all(len(worker["generations"]) == 1 for worker in workers)

        await self.server.eventually("the old versions are gone", settled)
        with open(f"/proc/{self.server.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

    async def storm(self, first, last):
        for n in range(first, last):
            await self.reload(n)
            failed = [talker for talker in self.talkers if talker.done()]
            if failed:
                await failed[0]

    async def test_nobody_notices(self):
        clients = [await Client.ready(self.server, f"user-{n}") for n in range(CONNECTIONS)]
        self.talkers = [asyncio.create_task(self.talk(client)) for client in clients]
        warm = min(200, RELOADS // 3)
        await self.storm(1, warm)
        before = await self.resident()
        await self.storm(warm, RELOADS + 1)
        self.over = True
        await asyncio.gather(*self.talkers)
        after = await self.resident()
        print(f"{RELOADS} reloads, {self.messages} messages, {self.runs} runs, {before} -> {after} KB")

        self.assertGreater(self.messages, RELOADS)
        build = (await self.server.get("/version"))["build"]
        if "thread" not in build:  # ThreadSanitizer keeps notes on all memory that ever was in use
            self.assertLess(after, before * 1.1 + 16_384, "memory is kept")
        rows = await self.server.connections()
        self.assertEqual({row["id"] for row in rows}, {client.id for client in clients})
        self.assertEqual({row["worker"] for row in rows}, {1, 2})
        metrics = await self.server.metrics()
        self.assertEqual(metrics["tidegate_connections_opened_total"], CONNECTIONS)
        self.assertEqual(metrics["tidegate_connections_closed_total"], 0)
        self.assertEqual(metrics['tidegate_reloads_total{result="failed"}'], RELOADS // 5)
        self.assertEqual(metrics['tidegate_reloads_total{result="ok"}'], RELOADS - RELOADS // 5)
        self.assertNotIn("hook.failed", self.server.log.text())
        self.assertNotIn("run.failed", self.server.log.text())


if __name__ == "__main__":
    unittest.main()
