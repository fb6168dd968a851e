"""One connection, one ID: the same wherever it shows, and nothing a script can do replaces it."""

import unittest

import harness
from harness import Client, Raw, Refused, ServerTest, open_policy

SHOWS_ID = open_policy(
    """
    function policy.upgrade(request)
      if request.path == "/closed" then
        return tide.reject(403, "not this way")
      end
    end
    function policy.message(conn, message)
      conn:send({ type = "id", id = conn.id })
    end
    """
)

# The header `x-trick` picks what the script tries; each is a way somebody might replace the ID.
TRICKS = open_policy(
    """
    local other = "ws_1111111111111_0f0f0f0f0f0f_1111111111111111"
    local tricks = {
      assign = function(conn) conn.id = other end,
      rawset = function(conn) rawset(conn, "id", other) end,
      metatable = function(conn)
        setmetatable(conn, { __index = function() return other end })
      end,
      caught = function(conn) pcall(function() conn.id = other end) end,
      coroutine = function(conn)
        coroutine.wrap(function() pcall(function() conn.id = other end) end)()
      end,
      user_id = function(conn) conn.user_id = "mallory" end,
      identity = function(conn) conn.identity.user_id = "mallory" end,
      identity_caught = function(conn) pcall(function() conn.identity.user_id = "mallory" end) end,
    }
    local function trick_of(conn)
      return conn.request.headers["x-trick"]
    end

    function policy.authenticate(conn, credentials)
      local identity = { user_id = credentials.bearer or "guest" }
      if trick_of(conn) == "returned_identity" then
        identity.connection_id = other
      elseif trick_of(conn) == "returned_right" then
        identity.connection_id = conn.id
      elseif trick_of(conn) == "in_authenticate" then
        pcall(function() conn.id = other end)
      end
      return identity
    end
    function policy.reauthenticate(conn)
      return { user_id = "mallory" }
    end
    function policy.create_context(conn)
      if trick_of(conn) == "returned_context" then
        return { connection_id = other }
      end
      return {}
    end
    function policy.message(conn, message)
      local trick = tricks[trick_of(conn)]
      if trick then
        trick(conn)
      end
      -- What the script sees afterwards, should anything get this far.
      conn:send({ type = "after", id = conn.id, user_id = conn.user_id })
    end
    """
)
OTHER = "ws_1111111111111_0f0f0f0f0f0f_1111111111111111"


class SameEverywhere(ServerTest):
    async def test_wire_header_script_log_and_admin_show_the_same_id(self):
        server = await self.serve(SHOWS_ID)
        client = await Client.ready(server, "ada")
        self.assertRegex(client.id, harness.ID_PATTERN)
        self.assertEqual(client.headers["Tidegate-Connection-Id"], client.id)
        await client.send({"type": "who"})
        self.assertEqual((await client.expect("id"))["id"], client.id)
        self.assertEqual((await server.get(f"/connections/{client.id}"))["id"], client.id)
        self.assertEqual([c["id"] for c in await server.connections()], [client.id])
        await server.wait_log(rf"\bid={client.id}\b")
        await client.close()

    async def test_refusal_by_the_policy_carries_the_id_that_is_logged(self):
        server = await self.serve(SHOWS_ID)
        with self.assertRaises(Refused) as refused:
            await Client.open(server, path="/closed")
        self.assertEqual(refused.exception.status, 403)
        connection_id = refused.exception.headers["Tidegate-Connection-Id"]
        self.assertRegex(connection_id, harness.ID_PATTERN)
        await server.wait_log(rf"\bid={connection_id}\b")

    async def test_refusal_of_a_bad_upgrade_carries_an_id(self):
        server = await self.serve(SHOWS_ID)
        raw = await Raw.connect(server)
        await raw.write(harness.upgrade_request(headers={"Sec-WebSocket-Version": "12"}))
        status, headers = await raw.response()
        self.assertEqual(status, 426)
        self.assertRegex(headers["tidegate-connection-id"], harness.ID_PATTERN)
        raw.close()

    async def test_ids_name_their_worker_and_their_time(self):
        server = await self.serve(SHOWS_ID)
        client = await Client.ready(server)
        _, time_ms, serial, _ = client.id.split("_")
        self.assertIn(int(serial[:2], 16), (1, 2))
        connected = (await server.get(f"/connections/{client.id}"))["connected_at"]
        self.assertTrue(connected.endswith(f".{time_ms[-3:]}Z"), (connected, time_ms))
        await client.close()


class Replacing(ServerTest):
    async def trick(self, name, message=None):
        """(client, other client, server) after the trick; the first connection must have failed."""
        server = await self.serve(TRICKS)
        bystander = await Client.ready(server, "bystander")
        client = await Client.open(server, "ada", headers={"x-trick": name})
        if message is not None:
            ready = await client.expect("connection_ready")
            self.assertEqual(
                ready["data"]["connection_id"], client.headers["Tidegate-Connection-Id"]
            )
            await client.send(message)
        code, _ = await client.closed()
        self.assertEqual(code, 1011)
        client.id = client.headers["Tidegate-Connection-Id"]
        await bystander.alive()
        return client, bystander, server

    async def assert_mismatch(self, name, message=None):
        """An ID was offered: counted, and logged with both values."""
        client, bystander, server = await self.trick(name, message)
        self.assertEqual(await server.metric("tidegate_connection_id_mismatches_total"), 1)
        health = await server.get("/health")
        self.assertEqual(health["websocket"]["connection_id_mismatches"], 1)
        await server.wait_log(rf"(?=.*{client.id})(?=.*{OTHER})")
        await bystander.close()

    async def assert_tampering(self, name, message, offered):
        """Something else that the core owns: counted, and logged with both values."""
        client, bystander, server = await self.trick(name, message)
        self.assertEqual(await server.metric("tidegate_script_tampering_total"), 1)
        self.assertEqual(await server.metric("tidegate_connection_id_mismatches_total"), 0)
        await server.wait_log(rf"(?=.*{client.id})(?=.*\bada\b)(?=.*{offered})")
        await bystander.close()

    async def test_assigning_conn_id_fails_the_connection(self):
        await self.assert_mismatch("assign", {"type": "go"})

    async def test_rawset_on_conn_fails_the_connection(self):
        await self.assert_mismatch("rawset", {"type": "go"})

    async def test_assigning_conn_id_inside_pcall_fails_the_connection(self):
        await self.assert_mismatch("caught", {"type": "go"})

    async def test_assigning_conn_id_inside_a_coroutine_fails_the_connection(self):
        await self.assert_mismatch("coroutine", {"type": "go"})

    async def test_assigning_conn_id_inside_authenticate_fails_the_connection(self):
        await self.assert_mismatch("in_authenticate")

    async def test_another_connection_id_in_the_identity_fails_the_connection(self):
        await self.assert_mismatch("returned_identity")

    async def test_another_connection_id_in_the_context_fails_the_connection(self):
        await self.assert_mismatch("returned_context")

    async def test_a_new_metatable_for_conn_fails_the_connection(self):
        client, bystander, server = await self.trick("metatable", {"type": "go"})
        await server.wait_log(rf"\bid={client.id}\b.*metatable")
        await bystander.close()

    async def test_assigning_conn_user_id_fails_the_connection(self):
        await self.assert_tampering("user_id", {"type": "go"}, "mallory")

    async def test_assigning_into_the_identity_fails_the_connection(self):
        client, bystander, server = await self.trick("identity", {"type": "go"})
        self.assertEqual(await server.metric("tidegate_script_tampering_total"), 1)
        await server.wait_log(rf"\bid={client.id}\b.*user_id")
        await bystander.close()

    async def test_assigning_into_the_identity_inside_pcall_fails_the_connection(self):
        client, bystander, server = await self.trick("identity_caught", {"type": "go"})
        self.assertEqual(await server.metric("tidegate_script_tampering_total"), 1)
        await bystander.close()

    async def test_reauthenticating_as_another_user_fails_the_connection(self):
        client, bystander, server = await self.trick(
            "none", {"type": "authenticate", "data": {"token": "x"}}
        )
        await server.wait_log(rf"(?=.*{client.id})(?=.*\bada\b)(?=.*mallory)")
        await bystander.close()

    async def test_the_right_connection_id_in_the_identity_is_no_offence(self):
        server = await self.serve(TRICKS)
        client = await Client.ready(server, "ada", headers={"x-trick": "returned_right"})
        await client.alive()
        self.assertEqual(await server.metric("tidegate_connection_id_mismatches_total"), 0)
        await client.close()


if __name__ == "__main__":
    unittest.main()
