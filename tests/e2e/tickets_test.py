"""Tickets from the admin interface: good once over all workers, for a while, for one origin; and nowhere in a log."""

import asyncio
import json
import re
import time
import unittest

from harness import ROOT, Client, ServerTest, tidegate

POLICY = ROOT / "policies/ticket.lua"
ORIGIN = "https://app.example"


class Tickets(ServerTest):
    async def issue(self, server, **order):
        status, _, text = await server.ask("POST", "/ticket", body=json.dumps({"user_id": "ada", **order}))
        self.assertEqual(status, 200, text)
        answer = json.loads(text)
        self.assertRegex(answer["ticket"], r"^[A-Za-z0-9_-]{43}$")
        return answer["ticket"]

    async def denied(self, server, path, why, origin=None):
        client = await Client.open(server, path=path, headers={"Origin": origin} if origin else None)
        code, reason = await client.closed()
        self.assertEqual(code, 4401)
        self.assertIn(why, reason)

    async def outcomes(self, server):
        rows = await server.metrics()
        found = {}
        for name, value in rows.items():
            match = re.match(r'tidegate_tickets_total\{outcome="(\w+)"\}', name)
            if match:
                found[match[1]] = value
        return found

    async def test_a_ticket_lets_in_once_as_whom_it_stands_for(self):
        server = await self.serve(POLICY, workers=2)
        before = time.time()
        identity = {"roles": ["dev"], "note": 'quote " and \u00e9', "nested": {"a": [1, None]}}
        status, _, text = await server.ask(
            "POST", "/ticket", body=json.dumps({"user_id": "zo\u00eb", "identity": identity, "ttl": 120})
        )
        answer = json.loads(text)
        self.assertEqual(status, 200)
        self.assertGreaterEqual(answer["expires_at"], before + 119)
        self.assertLessEqual(answer["expires_at"], time.time() + 121)
        client = await Client.ready(server, path="/?ticket=" + answer["ticket"])
        self.assertEqual(client.data["user_id"], "zo\u00eb")
        await self.denied(server, "/?ticket=" + answer["ticket"], "used already")
        await client.alive()
        self.assertEqual(await self.outcomes(server), {"issued": 1, "used": 1, "replayed": 1})

    async def test_of_fifty_simultaneous_uses_exactly_one_wins(self):
        server = await self.serve(POLICY, workers=2)
        ticket = await self.issue(server)
        clients = await asyncio.gather(*(Client.open(server) for _ in range(50)))
        await asyncio.gather(
            *(client.send({"type": "authenticate", "data": {"ticket": ticket}}) for client in clients)
        )

        async def end(client):
            try:
                message = await client.next()
                return message["data"]["user_id"]
            except Exception:
                return await client.closed()

        ends = await asyncio.gather(*(end(client) for client in clients))
        self.assertEqual(ends.count("ada"), 1)
        self.assertEqual(ends.count((4401, "the ticket has been used already; ask for another")), 49)
        self.assertEqual(await self.outcomes(server), {"issued": 1, "used": 1, "replayed": 49})
        denied = 'tidegate_hook_outcomes_total{hook="authenticate",outcome="denied"}'
        self.assertEqual(await server.metric(denied), 49)
        rows = await server.connections("?user=ada")
        self.assertEqual(len(rows), 1)

    async def test_both_workers_see_tickets_that_either_has_used(self):
        server = await self.serve(POLICY, workers=2)
        workers = set()
        for _ in range(40):
            ticket = await self.issue(server)
            client = await Client.ready(server, path="/?ticket=" + ticket)
            workers.add(client.id.split("_")[2][:2])
            await self.denied(server, "/?ticket=" + ticket, "used already")
            await client.close()
            if len(workers) == 2:
                break
        self.assertEqual(len(workers), 2)

    async def test_a_ticket_is_good_for_its_origin_only(self):
        server = await self.serve(POLICY)
        ticket = await self.issue(server, origin=ORIGIN)
        client = await Client.ready(server, path="/?ticket=" + ticket, headers={"Origin": ORIGIN})
        await client.close()
        for origin in (None, "https://evil.example", ORIGIN + ".evil.example"):
            ticket = await self.issue(server, origin=ORIGIN)
            await self.denied(server, "/?ticket=" + ticket, "another origin", origin)
            await self.denied(server, "/?ticket=" + ticket, "used already", ORIGIN)

    async def test_it_expires(self):
        server = await self.serve(POLICY)
        ticket = await self.issue(server, ttl=0.001)

        async def expired():
            client = await Client.open(server, path="/?ticket=" + ticket)
            return "has expired" in (await client.closed())[1]

        await server.eventually("expired", expired)

    async def test_a_ticket_survives_a_reload_of_the_policy(self):
        server = await self.serve(POLICY.read_text())
        ticket = await self.issue(server)
        server.write(POLICY.read_text() + "-- changed\n")
        self.assertEqual((await server.ask("POST", "/reload"))[0], 200)
        client = await Client.ready(server, bearer=ticket)
        self.assertEqual(client.data["user_id"], "ada")

    async def test_orders_that_are_wrong_are_refused_with_what_is_wrong(self):
        server = await self.serve(POLICY)
        rows = {
            "[]": "a JSON object",
            "nonsense": "a JSON object",
            "{}": "user_id is text",
            '{"user_id": 7}': "user_id is text",
            '{"user_id": ""}': "user_id is text",
            json.dumps({"user_id": "x" * 257}): "1 to 256",
            '{"user_id": "a", "ttl": 301}': "at most 300",
            '{"user_id": "a", "ttl": 0}': "at most 300",
            '{"user_id": "a", "ttl": "60"}': "at most 300",
            '{"user_id": "a", "ttl": 1e999}': "at most 300",
            '{"user_id": "a", "orgin": "https://app.example"}': "and nothing else",
            '{"user_id": "a\\nb"}': "without control characters",
            '{"user_id": "a", "origin": "https://app.example/"}': "without a path",
            '{"user_id": "a", "origin": "app.example"}': "such as https://app.example",
            '{"user_id": "a", "origin": ""}': "origin is text",
            '{"user_id": "a", "origin": 7}': "origin is text",
            '{"user_id": "a", "identity": []}': "identity is an object",
            '{"user_id": "a", "identity": {"user_id": "b"}}': "another than user_id",
            json.dumps({"user_id": "a", "identity": {"x": "y" * 5000}}): "4096",
        }
        for body, why in rows.items():
            with self.subTest(body[:40]):
                status, _, text = await server.ask("POST", "/ticket", body=body)
                self.assertEqual(status, 400, text)
                self.assertIn(why, json.loads(text)["error"]["message"])
        self.assertEqual((await server.ask("GET", "/ticket"))[0], 405)
        self.assertEqual((await server.ask("POST", "/ticket", headers={"Origin": "https://x"}, body="{}"))[0], 403)
        self.assertEqual(await self.outcomes(server), {})

    async def test_no_other_listener_and_no_one_without_the_token_issues_any(self):
        server = await self.serve(POLICY, "--set", "admin_token=letmein-123456")
        body = '{"user_id": "ada"}'
        self.assertEqual((await server.ask("POST", "/ticket", body=body))[0], 401)
        self.assertIn((await server.ask("POST", "/ticket", public=True))[0], (404, 426))
        headers = {"Authorization": "Bearer letmein-123456"}
        self.assertEqual((await server.ask("POST", "/ticket", body=body, headers=headers))[0], 200)

    async def test_ctl_prints_a_ticket_and_nothing_else(self):
        server = await self.serve(POLICY)

        async def ctl(*args):
            return await asyncio.to_thread(tidegate, "ctl", *args, "--admin", server.admin_url)

        done = await ctl("ticket", "a&b/zo\u00eb", "--origin", ORIGIN, "--ttl", "2m")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        path = "/?ticket=" + done.stdout.strip()
        client = await Client.ready(server, path=path, headers={"Origin": ORIGIN})
        self.assertEqual(client.data["user_id"], "a&b/zo\u00eb")
        answer = json.loads((await ctl("ticket", "ada", "--format", "json")).stdout)
        self.assertAlmostEqual(answer["expires_at"], time.time() + 60, delta=30)
        for args, code, why in (
            (("ticket",), 2, "which user? ticket USER"),
            (("ticket", ""), 2, "it is empty"),
            (("ticket", "ada", "--ttl", "soon"), 2, "--ttl is a time"),
            (("ticket", "ada", "--ttl", "1h"), 1, "at most 300"),
            (("status", "--ttl", "1h"), 2, "--ttl belongs to"),
            (("status", "--origin", "x"), 2, "--origin belongs to"),
        ):
            done = await ctl(*args)
            self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
            self.assertIn(why, done.stderr)


if __name__ == "__main__":
    unittest.main()
