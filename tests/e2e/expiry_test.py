"""An identity that expires: the client is told, may prove itself again, and is closed otherwise."""

import time
import unittest

from harness import Client, ServerTest

# A token is "USER SECONDS": who it is and how long it is good for.
POLICY = """
local time = require "tidegate.time"
local policy = {}
local function identity(token)
  local user, seconds = (token or ""):match("^(%S+) (%S+)$")
  if not user then
    return nil, "bad token"
  end
  return { user_id = user, expires_at = time.now() + tonumber(seconds) }
end
function policy.authenticate(conn, credentials)
  return identity(credentials.bearer)
end
function policy.reauthenticate(conn, credentials)
  return identity(credentials.message.data.token)
end
function policy.message(conn)
  conn:send({ type = "expires", at = conn.identity.expires_at })
end
return policy
"""
NOTICE = ("--set", "limits.expiry_notice=700ms")


class Expiry(ServerTest):
    async def test_without_renewal_the_client_is_told_and_then_closed_4401(self):
        server = await self.serve(POLICY, *NOTICE)
        client = await Client.ready(server, "ada 1.2")
        await client.expect("auth_expiring")
        code, reason = await client.closed()
        self.assertEqual(code, 4401)
        self.assertIn("expired", reason)

    async def test_an_authenticate_message_extends_it(self):
        server = await self.serve(POLICY, *NOTICE)
        client = await Client.ready(server, "ada 1.2")
        first_end = (await client.expect("auth_expiring"))["data"]["expires_at"]
        self.assertEqual(client.data["expires_at"], first_end)  # connection_ready said so
        await client.send({"type": "authenticate", "data": {"token": "ada 2.4"}})
        renewed = await client.expect("authenticated")
        self.assertGreater(renewed["data"]["expires_at"], first_end)
        # The second notice belongs to the second term, and comes after the end of the first.
        messages = await client.until("auth_expiring")
        self.assertEqual(messages[-1]["data"]["expires_at"], renewed["data"]["expires_at"])
        self.assertGreater(time.time(), first_end)
        await client.send({"type": "authenticate", "data": {"token": "ada 3600"}})
        await client.send({"type": "when"})
        expires = (await client.until("expires"))[-1]["at"]
        self.assertGreater(expires, 1.7e9)
        self.assertNotIn("connection_ready", [message["type"] for message in messages])
        shown = await server.get(f"/connections/{client.id}")
        self.assertEqual(shown["state"], "processing_ready")

    async def test_a_bad_renewal_closes_4401(self):
        server = await self.serve(POLICY, *NOTICE)
        client = await Client.ready(server, "ada 60")
        await client.send({"type": "authenticate", "data": {"token": "nonsense"}})
        self.assertEqual(await client.closed(), (4401, "bad token"))

    async def test_an_identity_that_has_expired_already_is_no_identity(self):
        server = await self.serve(POLICY, *NOTICE)
        client = await Client.open(server, "ada -5")
        self.assertEqual((await client.closed())[0], 4401)


if __name__ == "__main__":
    unittest.main()
