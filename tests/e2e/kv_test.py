"""The store that all workers share: a limit that is exact whichever worker a client meets, locks, and what
a reload leaves alone."""

import asyncio
import unittest

from harness import Client, ServerTest, open_policy, tidegate

POLICY = open_policy(
    """
    local kv = require "tidegate.kv"
    local LIMIT = 50

    function policy.message(conn, message)
      if message.type == "ask" then
        local used = kv.incr("used:" .. message.who, 1, { ttl = 3600 })
        conn:send({ type = "answer", allowed = used <= LIMIT })
      elseif message.type == "collect" then
        -- Read, change, store unless somebody was in between: on any worker.
        local names
        repeat
          names = kv.get("names")
          local longer = tide.copy(names or {})
          longer[#longer + 1] = message.name
        until kv.cas("names", names, longer)
        conn:send({ type = "collected" })
      elseif message.type == "names" then
        conn:send({ type = "names", names = kv.get("names") or {} })
      elseif message.type == "fill" then
        local text = ("x"):rep(1000)
        for i = 1, 3000 do kv.set(message.prefix .. i, text) end
        conn:send({ type = "filled" })
      end
    end
    """
)


def worker_of(client):
    return int(client.id.split("_")[2][:2], 16)


class SharedStore(ServerTest):
    async def clients(self, server, count):
        """So many clients, and both workers have some."""
        clients = [await Client.ready(server) for _ in range(count)]
        while len({worker_of(client) for client in clients}) < 2:
            clients.append(await Client.ready(server))
            self.assertLess(len(clients), 200, "one worker gets no connection")
        return clients

    async def test_a_rate_limit_across_workers_is_exact(self):
        server = await self.serve(POLICY, workers=2)
        clients = await self.clients(server, 10)

        async def ask(client, times):
            allowed = 0
            for _ in range(times):
                await client.send({"type": "ask", "who": "ada"})
            for _ in range(times):
                allowed += (await client.expect("answer"))["allowed"]
            return allowed

        counts = await asyncio.gather(*(ask(client, 20) for client in clients))
        self.assertEqual(sum(counts), 50)
        name = 'tidegate_kv_operations_total{operation="incr"}'
        self.assertEqual(await server.metric(name), 20 * len(clients))
        self.assertEqual(await server.metric("tidegate_kv_entries"), 1)

    async def test_a_table_that_all_workers_change_loses_nothing(self):
        server = await self.serve(POLICY, workers=2)
        clients = await self.clients(server, 8)
        for index, client in enumerate(clients):
            for n in range(10):
                await client.send({"type": "collect", "name": f"{index}-{n}"})
        for client in clients:
            for _ in range(10):
                await client.expect("collected")
        await clients[0].send({"type": "names"})
        names = (await clients[0].expect("names"))["names"]
        expected = {f"{index}-{n}" for index in range(len(clients)) for n in range(10)}
        self.assertEqual(len(names), len(expected))
        self.assertEqual(set(names), expected)

    async def test_memory_is_bounded(self):
        server = await self.serve(POLICY, "--set", "kv.memory=1MiB", "--set", "kv.max_value=2KiB")
        client = await Client.ready(server)
        for prefix in "abc":
            await client.send({"type": "fill", "prefix": prefix})
            await client.expect("filled")
        self.assertLessEqual(await server.metric("tidegate_kv_bytes"), 1 << 20)
        self.assertGreater(await server.metric("tidegate_kv_bytes"), 1 << 19)
        self.assertGreater(await server.metric("tidegate_kv_evictions_total"), 7000)

    async def test_it_survives_a_reload(self):
        server = await self.serve(POLICY, workers=2)
        client = await Client.ready(server)
        await client.send({"type": "collect", "name": "before"})
        await client.expect("collected")
        server.write(POLICY + "-- edited\n")
        status, _, text = await server.ask("POST", "/reload")
        self.assertEqual(status, 200, text)
        await client.send({"type": "names"})
        self.assertEqual((await client.expect("names"))["names"], ["before"])

    async def test_the_probe_of_a_load_has_a_store_of_its_own(self):
        # Every load must be the first to take the lock: the probe and a check see an empty store, and
        # of the workers one gets it.
        policy = open_policy(
            """
            local kv = require "tidegate.kv"
            local first = kv.add("loaded", true)
            kv.incr("loads")
            function policy.message(conn)
              conn:send({ type = "loads", loads = kv.get("loads"), first = first or false })
            end
            """
        )
        server = await self.serve(policy, workers=2)
        done = await asyncio.to_thread(tidegate, "check", server.policy)
        self.assertEqual(done.returncode, 0, done.stderr)
        firsts = {}
        for client in await self.clients(server, 2):
            await client.send({"type": "look"})
            answer = await client.expect("loads")
            self.assertEqual(answer["loads"], 2)
            firsts[worker_of(client)] = answer["first"]
        self.assertEqual(sorted(firsts.values()), [False, True])


if __name__ == "__main__":
    unittest.main()
