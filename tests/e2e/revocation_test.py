"""Ending what a user or a token has open, on all workers, from scripts, over HTTP and by `tidegate ctl`."""

import asyncio
import json
import unittest

from harness import Client, ServerTest, tidegate

POLICY = """
local tide = require "tidegate"
local auth = require "tidegate.auth"
local policy = {}
-- "user" or "user:token"
local function by_name(conn, credentials)
  local user, token = credentials.bearer:match "^([^:]+):?(.*)$"
  return { user_id = user, token_id = token ~= "" and token or nil }
end
policy.authenticate = auth.revocable(by_name)
function policy.message(conn, message)
  if message.type == "close_user" then
    local closed, why = tide.close_user(message.user, message.code, message.reason)
    conn:send({ type = "done", closed = closed, why = why })
  elseif message.type == "revoke" then
    local closed, why = auth.revoke(message.token, message.ttl)
    conn:send({ type = "done", closed = closed, why = why })
  end
end
policy.agents = {}
return policy
"""


class Revocation(ServerTest):
    async def spread(self, server, bearer, count=12):
        """Ready clients on both workers."""
        clients = [await Client.ready(server, bearer) for _ in range(count)]
        while len({client.id.split("_")[2][:2] for client in clients}) < 2:
            clients.append(await Client.ready(server, bearer))
        return clients

    async def post(self, server, path, body=None, status=200):
        got, _, text = await server.ask("POST", path, body=None if body is None else json.dumps(body))
        self.assertEqual(got, status, text)
        return json.loads(text)

    async def gone(self, clients, code, reason):
        for end in await asyncio.gather(*(client.closed() for client in clients)):
            self.assertEqual(end, (code, reason))

    async def test_a_script_closes_a_user_on_all_workers(self):
        server = await self.serve(POLICY, workers=2)
        ada, bob = await self.spread(server, "ada"), await self.spread(server, "bob", 4)
        await bob[0].send({"type": "close_user", "user": "ada", "code": 4003, "reason": "moved on"})
        self.assertEqual((await bob[0].expect("done"))["closed"], len(ada))
        await self.gone(ada, 4003, "moved on")
        for client in bob:
            await client.alive()
        await bob[0].send({"type": "close_user", "user": "ada"})
        self.assertEqual((await bob[0].expect("done"))["closed"], 0)
        self.assertEqual(await server.connections("?user=ada"), [])

    async def test_a_script_closes_its_own_user_and_itself(self):
        server = await self.serve(POLICY, workers=2)
        ada = await self.spread(server, "ada")
        await ada[0].send({"type": "close_user", "user": "ada"})
        await self.gone(ada, 1000, "")

    async def test_the_admin_interface_closes_a_user(self):
        server = await self.serve(POLICY, workers=2)
        ada = await self.spread(server, "ada b/c\u00eb")
        other = await Client.ready(server, "ada")
        path = "/users/ada%20b%2Fc%C3%AB/close"
        self.assertEqual(await self.post(server, path, {"code": 4003, "reason": "bye"}), {"closed": len(ada)})
        await self.gone(ada, 4003, "bye")
        self.assertEqual(await self.post(server, path), {"closed": 0})
        await self.post(server, path, {"code": 1005}, 400)
        await other.alive()
        self.assertEqual(await self.post(server, "/users/ada/close"), {"closed": 1})
        self.assertEqual(await other.closed(), (1000, "closed by the operator"))

    async def test_a_revoked_token_is_closed_everywhere_and_never_let_in_again(self):
        server = await self.serve(POLICY, workers=2)
        leaked, other = await self.spread(server, "ada:t-1"), await self.spread(server, "ada:t-2", 2)
        plain = await Client.ready(server, "ada")
        await plain.send({"type": "revoke", "token": "t-1", "ttl": 600})
        self.assertEqual((await plain.expect("done"))["closed"], len(leaked))
        await self.gone(leaked, 4401, "the token has been revoked")
        for _ in range(6):
            client = await Client.open(server, "ada:t-1")
            self.assertEqual(await client.closed(), (4401, "the token has been revoked"))
        for client in (*other, plain):
            await client.alive()
        server.write(POLICY + "-- changed\n")
        await self.post(server, "/reload")
        client = await Client.open(server, "ada:t-1")
        self.assertEqual((await client.closed())[0], 4401)
        denied = 'tidegate_hook_outcomes_total{hook="authenticate",outcome="denied"}'
        self.assertEqual(await server.metric(denied), 7)
        self.assertEqual(await server.metric("tidegate_token_revocations_total"), 1)

    async def test_a_revocation_ends_with_its_time(self):
        server = await self.serve(POLICY)
        self.assertEqual(await self.post(server, "/tokens/t-1/revoke", {"ttl": 0.5}), {"closed": 0})

        async def admitted():
            client = await Client.open(server, "ada:t-1")
            try:
                return (await client.next())["type"] == "connection_ready"
            except Exception:
                return False

        await server.eventually("admitted again", admitted)

    async def test_the_admin_interface_revokes(self):
        server = await self.serve(POLICY, workers=2)
        leaked = await self.spread(server, "ada:key:a/1")
        self.assertEqual(await self.post(server, "/tokens/key%3Aa%2F1/revoke"), {"closed": len(leaked)})
        await self.gone(leaked, 4401, "the token has been revoked")
        client = await Client.open(server, "ada:key:a/1")
        self.assertEqual((await client.closed())[0], 4401)
        for body in ({"ttl": 0}, {"ttl": "1h"}, {"ttl": 1e10}, {"tll": 60}, []):
            answer = await self.post(server, "/tokens/x/revoke", body, 400)
            self.assertEqual(answer["error"]["code"], "bad_revocation")

    async def test_ctl_closes_a_user_and_revokes(self):
        server = await self.serve(POLICY, workers=2)

        async def ctl(*args):
            return await asyncio.to_thread(tidegate, "ctl", *args, "--admin", server.admin_url)

        ada, bob = await self.spread(server, "a&b", 2), await Client.ready(server, "bob:t/1")
        done = await ctl("close-user", "a&b", "4003", "bye")
        self.assertEqual((done.returncode, done.stdout), (0, f"{len(ada)} connections closed\n"))
        await self.gone(ada, 4003, "bye")
        done = await ctl("revoke", "t/1", "--ttl", "1h")
        self.assertEqual((done.returncode, done.stdout), (0, "revoked; 1 connection closed\n"))
        self.assertEqual((await bob.closed())[0], 4401)
        for args in (("close-user",), ("close-user", "a", "x"), ("revoke",), ("revoke", "a", "b")):
            done = await ctl(*args)
            self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)


if __name__ == "__main__":
    unittest.main()
