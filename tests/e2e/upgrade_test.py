"""The public listener before the upgrade: good requests, bad ones, and those that are no upgrade."""

import base64
import unittest

from harness import Client, Raw, Refused, ServerTest, open_policy, upgrade_request

POLICY = open_policy(
    """
    function policy.message(conn, message)
      local request = conn.request
      conn:send({
        type = "request", method = request.method, path = request.path,
        custom = request.headers["x-custom"],
      })
    end
    """
)


class Upgrade(ServerTest):
    async def status(self, server, data):
        """Status and headers of the answer to these bytes."""
        raw = await Raw.connect(server)
        await raw.write(data)
        status, headers = await raw.response()
        raw.close()
        return status, headers

    async def test_bad_upgrades_are_refused_with_the_right_status(self):
        server = await self.serve(POLICY)
        short_key = base64.b64encode(b"short").decode()
        cases = (
            ("no key", upgrade_request(headers={"Sec-WebSocket-Key": None}), 400),
            ("a key that is no base64", upgrade_request(headers={"Sec-WebSocket-Key": "???"}), 400),
            ("a key that is too short", upgrade_request(headers={"Sec-WebSocket-Key": short_key}), 400),
            ("no version", upgrade_request(headers={"Sec-WebSocket-Version": None}), 426),
            ("another version", upgrade_request(headers={"Sec-WebSocket-Version": "8"}), 426),
            ("no host", upgrade_request(headers={"Host": None}), 400),
            ("POST", upgrade_request(method="POST"), 405),
            ("HTTP/1.0", upgrade_request(version="HTTP/1.0"), 505),
            ("another protocol", upgrade_request(headers={"Upgrade": "h2c"}), 426),
            ("no upgrade in Connection", upgrade_request(headers={"Connection": "close"}), 400),
            ("no HTTP", b"hello there\r\n\r\n", 400),
            ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64, 400),
            ("a head too large", upgrade_request(headers={"X-Large": "x" * 40000}), 431),
        )
        for name, data, expected in cases:
            with self.subTest(name):
                status, headers = await self.status(server, data)
                self.assertEqual(status, expected)
                if expected == 426:
                    self.assertEqual(headers.get("sec-websocket-version", "13"), "13")
        client = await Client.ready(server)
        await client.alive()

    async def test_requests_that_are_no_upgrade_get_426_or_404(self):
        server = await self.serve(POLICY)
        for path in ("/", "/index.html", "/health"):
            status, _ = await self.status(
                server, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            )
            self.assertIn(status, (404, 426), path)

    async def test_healthz_says_ok(self):
        server = await self.serve(POLICY)
        status, _, text = await server.ask("GET", "/healthz", public=True)
        self.assertEqual(status, 200)
        self.assertIn("ok", text)

    async def test_the_policy_sees_the_request(self):
        server = await self.serve(POLICY)
        client = await Client.ready(server, headers={"X-Custom": "Value"}, path="/some/path?x=1")
        await client.send({"type": "what"})
        self.assertEqual(
            await client.expect("request"),
            {"type": "request", "method": "GET", "path": "/some/path", "custom": "Value"},
        )

    async def test_the_offered_subprotocol_is_chosen_and_no_other(self):
        server = await self.serve(POLICY)
        client = await Client.ready(server, subprotocols=["chat", "tidegate.v1"])
        self.assertEqual(client.ws.subprotocol, "tidegate.v1")
        client = await Client.ready(server, subprotocols=["chat"])
        self.assertIsNone(client.ws.subprotocol)

    async def test_only_allowed_origins_may_connect(self):
        server = await self.serve(
            POLICY, "--set", "allowed_origins=https://app.example,https://other.example"
        )
        await Client.ready(server, headers={"Origin": "https://app.example"})
        await Client.ready(server)  # no browser, no Origin
        for origin in ("https://evil.example", "https://app.example.evil.example", "null"):
            with self.subTest(origin=origin), self.assertRaises(Refused) as refused:
                await Client.open(server, headers={"Origin": origin})
            self.assertEqual(refused.exception.status, 403)

    async def test_over_max_connections_the_next_is_refused_503_until_one_leaves(self):
        server = await self.serve(POLICY, "--set", "limits.max_connections=1", workers=1)
        first = await Client.ready(server)
        with self.assertRaises((Refused, OSError, EOFError)) as refused:
            await Client.open(server)
        if isinstance(refused.exception, Refused):
            self.assertEqual(refused.exception.status, 503)
        await first.alive()
        await first.close()

        async def let_in():
            try:
                return await Client.ready(server)
            except Refused:
                return None

        await server.eventually("room for another", let_in)

    async def test_bytes_one_at_a_time_are_an_upgrade_like_any_other(self):
        server = await self.serve(POLICY)
        raw = await Raw.connect(server)
        for byte in upgrade_request():
            await raw.write(bytes([byte]))
        status, headers = await raw.response()
        self.assertEqual(status, 101)
        self.assertEqual((await raw.next())["type"], "connection_ready")
        raw.close()

    async def test_several_listen_addresses_all_answer(self):
        server = await self.serve(POLICY, "--listen", "127.0.0.1:0")
        addresses = [line.split()[1] for line in server.out.lines if line.startswith("listening ")]
        if len(addresses) < 2:
            addresses.append(server.out.wait(rf"^listening (?!{server.url})").split()[1])
        self.assertEqual(len(set(addresses)), 2)
        for address in addresses:
            await (await Client.ready(address)).close()


if __name__ == "__main__":
    unittest.main()
