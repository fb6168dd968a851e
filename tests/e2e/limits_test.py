"""How many may come, and how fast: each limit refuses in words that the client can read, and recovers."""

import asyncio
import os
import resource
import unittest

from harness import Client, Raw, Refused, ServerTest, frame, open_policy, upgrade_request

POLICY = open_policy(
    """
    function policy.message(conn, message) conn:send({ type = "echo", n = message.n }) end
    """
)
PING = 9


class Limits(ServerTest):
    async def answer(self, server, headers=None):
        """(status, headers, body) of an upgrade that is refused; a reset raises."""
        raw = await Raw.connect(server)
        await raw.write(upgrade_request(headers=headers))
        status, head = await raw.response()
        self.assertNotEqual(status, 101)
        return status, head, (await raw.rest()).decode()

    async def refusals(self, server, reason):
        return await server.metric(f'tidegate_refusals_total{{reason="{reason}"}}')


class MaxConnections(Limits):
    async def test_it_is_exact_over_all_workers(self):
        server = await self.serve(POLICY, "--set", "limits.max_connections=5", workers=2)
        clients = [await Client.ready(server) for _ in range(5)]
        for _ in range(10):
            status, head, body = await self.answer(server)
            self.assertEqual(status, 503)
            self.assertEqual(head["retry-after"], "5")
            self.assertRegex(head["tidegate-connection-id"], r"^ws_\d{13}_")
            self.assertIn("as many connections as it may", body)
            await server.wait_log(r"conn\.turned_away id=" + head["tidegate-connection-id"])
        self.assertEqual(await self.refusals(server, "max_connections"), 10)
        for client in clients:
            await client.alive()
        await clients.pop().close()

        async def room():
            return len(await server.connections()) == 4

        await server.eventually("room for one", room)
        await Client.ready(server)
        self.assertEqual((await self.answer(server))[0], 503)

    async def test_many_at_once(self):
        server = await self.serve(POLICY, "--set", "limits.max_connections=7", workers=2)
        results = await asyncio.gather(
            *(Client.ready(server) for _ in range(60)), return_exceptions=True
        )
        ready = [result for result in results if isinstance(result, Client)]
        refused = [result.status for result in results if isinstance(result, Refused)]
        self.assertEqual(len(ready), 7)
        self.assertEqual(refused, [503] * 53)


class PerAddress(Limits):
    async def test_behind_a_proxy_the_client_counts(self):
        server = await self.serve(
            POLICY,
            "--set",
            "trusted_proxies=loopback",
            "--set",
            "limits.max_connections_per_ip=2",
            workers=2,
        )
        ann = {"Forwarded": "for=203.0.113.7"}
        clients = [await Client.ready(server, headers=ann) for _ in range(2)]
        status, head, body = await self.answer(server, {"X-Forwarded-For": "203.0.113.7"})
        self.assertEqual((status, head["retry-after"]), (429, "5"))
        self.assertIn("too many connections from this address", body)
        await Client.ready(server, headers={"Forwarded": "for=203.0.113.8"})
        # One IPv6 client has a network to itself.
        for host in ("1", "2"):
            await Client.ready(server, headers={"Forwarded": f'for="[2001:db8::{host}]:80"'})
        self.assertEqual((await self.answer(server, {"Forwarded": 'for="[2001:db8::9]"'}))[0], 429)
        await Client.ready(server, headers={"Forwarded": 'for="[2001:db8:0:1::1]"'})
        self.assertEqual(await self.refusals(server, "max_connections_per_ip"), 2)
        await clients[0].close()

        async def again():
            try:
                return await Client.ready(server, headers=ann)
            except Refused:
                return None

        await server.eventually("room for this address", again)

    async def test_direct_clients_as_well(self):
        server = await self.serve(POLICY, "--set", "limits.max_connections_per_ip=1", workers=2)
        await Client.ready(server)
        for _ in range(5):
            status, head, _ = await self.answer(server)
            self.assertEqual((status, head["retry-after"]), (429, "5"))


class Rates(Limits):
    async def test_connections(self):
        server = await self.serve(
            POLICY, "--set", "limits.connection_rate=1/h burst 3", workers=2
        )
        for _ in range(3):
            await (await Client.ready(server)).close()
        status, head, body = await self.answer(server)
        self.assertEqual(status, 429)
        self.assertIn("slow down", body)
        self.assertIn(int(head["retry-after"]), range(3500, 3601))
        self.assertEqual(await self.refusals(server, "connection_rate"), 1)

    async def test_messages(self):
        server = await self.serve(POLICY, "--set", "limits.message_rate=1/h burst 5")
        client = await Client.ready(server)
        for n in range(5):
            await client.send({"type": "x", "n": n})
            self.assertEqual((await client.expect("echo"))["n"], n)
        await client.send({"type": "x", "n": 5})
        code, reason = await client.closed()
        self.assertEqual(code, 4429)
        self.assertIn("slow down", reason)
        self.assertEqual(await self.refusals(server, "message_rate"), 1)
        self.assertEqual(await server.metric('tidegate_closes_total{code="4429"}'), 1)
        await Client.ready(server)  # each connection has its own

    async def test_pings_count(self):
        server = await self.serve(POLICY, "--set", "limits.message_rate=1/h burst 5")
        raw = await Raw.ready(server)
        await raw.write(frame(PING) * 6)
        self.assertEqual((await raw.until_close())[0], 4429)

    async def test_messages_in_one_write(self):
        """Those within the rate are answered; the rest of the same read is not."""
        server = await self.serve(POLICY, "--set", "limits.message_rate=1/h burst 3")
        raw = await Raw.ready(server)
        await raw.write(b"".join(frame(1, {"type": "x", "n": n}) for n in range(20)))
        for n in range(3):
            self.assertEqual((await raw.next())["n"], n)
        self.assertEqual((await raw.until_close())[0], 4429)


class Descriptors(Limits):
    def leave_free(self, server, count):
        """Lets the server open so many descriptors more. Returns what to give back."""
        pid = server.process.pid
        used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
        limit = 0
        while limit - sum(1 for fd in used if fd < limit) < count:
            limit += 1
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (max(limit, max(used) + 1), before[1]))
        return before

    async def test_one_too_many_is_told_and_then_it_goes_on(self):
        server = await self.serve(POLICY, workers=1)
        before = self.leave_free(server, 3)
        raws = []
        refused = None
        for _ in range(30):
            raw = await Raw.connect(server)
            await raw.write(upgrade_request())
            status, head = await raw.response()
            if status != 101:
                refused = (status, head["retry-after"], (await raw.rest()).decode())
                break
            raws.append(raw)
        self.assertGreaterEqual(len(raws), 2)
        self.assertEqual(
            refused, (503, "1", "the server is out of descriptors; try again shortly\n")
        )
        await server.wait_log(r"listener\.accept_failed .*too many open files")
        for raw in raws[1:]:  # those who are connected are none the worse
            await raw.write(frame(1, {"type": "x", "n": 1}))
            while (await raw.next())["type"] != "echo":
                pass
        raws[0].abort()

        async def accepted():
            raw = await Raw.connect(server)
            await raw.write(upgrade_request())
            return (await raw.response())[0] == 101

        await server.eventually("a client is accepted again", accepted)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, before)
        for _ in range(5):
            await Client.ready(server)
        self.assertGreaterEqual(await self.refusals(server, "descriptors"), 1)
        self.assertGreaterEqual(await server.metric("tidegate_accept_failures_total"), 1)


if __name__ == "__main__":
    unittest.main()
