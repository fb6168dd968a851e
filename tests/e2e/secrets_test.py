"""What clients prove themselves with is in no log line and no admin answer, whatever a policy does with it."""

import json
import tempfile
import unittest
from pathlib import Path

from harness import Raw, ServerTest, frame, open_policy, tidegate, upgrade_request

SECRETS = {
    "query": "querysecret-1f9a",
    "encoded": "encodedsecret-77c1",
    "authorization": "bearersecret-2b8c",
    "cookie": "cookiesecret-3c7d",
    "subprotocol": "protocolsecret-4d6e",
    "api_key": "apikeysecret-5e5f",
    "header": "headersecret-6f40",
}
PATH = f"/chat?token={SECRETS['query']}&e=encoded%73ecret-77c1&theme=dark"
HEADERS = {
    "Authorization": "Bearer " + SECRETS["authorization"],
    "Cookie": f"theme=dark; sid={SECRETS['cookie']}",
    "Sec-WebSocket-Protocol": f"bearer.{SECRETS['subprotocol']}, tidegate.v1",
    "X-Api-Key": SECRETS["api_key"],
    "X-Auth-Token": SECRETS["header"],
}
# Everything that a policy can get at, as one text.
ALL = """
local function all(c, r)
  return table.concat({
    "token", c.query.token, c.query.e, c.bearer, c.cookies.sid, c.subprotocols[1], c.api_key,
    r.headers["x-auth-token"], r.headers.authorization, r.headers.cookie, r.query.token,
  }, " ")
end
"""


class Secrets(ServerTest):
    async def serve_loud(self, body, **more):
        policy = open_policy(ALL + body)
        return await self.serve(policy, "--log-level", "debug", **more)

    async def upgrade(self, server, path=PATH, headers=None):
        raw = await Raw.connect(server)
        await raw.write(upgrade_request(path, {**HEADERS, **(headers or {})}))
        status, head = await raw.response()
        return raw, status, head

    async def check(self, server, raw=None):
        """No secret in anything that the server has printed or answers now."""
        texts = [server.log.text(), server.out.text()]
        rows = await server.connections()
        texts.append(json.dumps(rows))
        for row in rows:
            texts.append((await server.ask("GET", "/connections/" + row["id"]))[2])  # or it is gone
        for path in ("/health", "/metrics", "/policy"):
            texts.append((await server.ask("GET", path))[2])
        for name, secret in SECRETS.items():
            for text in texts:
                self.assertNotIn(secret, text, f"{name} leaked")
                self.assertNotIn("encoded%73ecret", text)

    async def test_a_connection_that_works(self):
        server = await self.serve_loud("")
        raw, status, head = await self.upgrade(server)
        self.assertEqual((status, head["sec-websocket-protocol"]), (101, "tidegate.v1"))
        self.assertEqual((await raw.next())["type"], "connection_ready")
        await server.wait_log(r"conn\.open")
        self.assertEqual(len(await server.connections()), 1)
        await self.check_without_user(server)

    async def check_without_user(self, server):
        """The open policy takes the token for the user's name, which is the policy's own doing."""
        log = server.log.text()
        for name, secret in SECRETS.items():
            if name != "authorization":
                self.assertNotIn(secret, log, name)

    async def test_only_our_own_subprotocol_is_ever_echoed(self):
        server = await self.serve_loud("")
        for offered, echoed in (
            ("bearer." + SECRETS["subprotocol"], None),
            ("tidegate.v1", "tidegate.v1"),
            (f"x, bearer.{SECRETS['subprotocol']}, tidegate.v1", "tidegate.v1"),
            (f"tidegate.v1.{SECRETS['subprotocol']}", None),
            (f"{SECRETS['subprotocol']}, tidegate.v2", None),
        ):
            with self.subTest(offered):
                _, status, head = await self.upgrade(
                    server, headers={"Sec-WebSocket-Protocol": offered}
                )
                self.assertEqual((status, head.get("sec-websocket-protocol")), (101, echoed))

    async def test_hooks_that_shout(self):
        shouts = {
            "an error": "function policy.authenticate(conn, c) error(all(c, conn.request)) end",
            "an error table": "function policy.authenticate(conn, c) error({ why = all(c, conn.request) }) end",
            "a reason": "function policy.authenticate(conn, c) return nil, c.query.token .. c.bearer end",
            "a wrong result": "function policy.authenticate(conn, c) return { user_id = { c.bearer } } end",
            "a wrong key": "function policy.authenticate(conn, c) return { user_id = 'a', [c.bearer] = print } end",
            "refusing": "function policy.upgrade(r) return require('tidegate').reject(403, r.query.token) end",
            "a failing upgrade": "function policy.upgrade(r) error(r.headers.authorization .. r.headers.cookie) end",
            "another ID": "function policy.authenticate(conn, c) return { user_id = 'a', connection_id = c.bearer } end",
            "closing": "function policy.authenticate(conn, c) conn:close(4000, c.query.token) return { user_id = 'a' } end",
            "writing": "function policy.authenticate(conn, c) conn.id = c.cookies.sid end",
        }
        for name, body in shouts.items():
            with self.subTest(name):
                server = await self.serve_loud(body, workers=1)
                raw, status, _ = await self.upgrade(server)
                if status == 101:
                    await raw.until_close()
                raw.abort()
                await server.wait_log(r"conn\.(close|refused)")
                self.assertIn("[redacted]", server.log.text() + "[redacted]" * (name in self.quiet))
                await self.check(server)

    # What says nothing of the value in the first place.
    quiet = ("an error table", "a wrong result", "a wrong key")

    async def test_log_and_print_of_a_policy(self):
        server = await self.serve_loud(
            """
            local log = require "tidegate.log"
            local tide = require "tidegate"
            function policy.authenticate(conn, c)
              print(all(c, conn.request))
              log.debug(all(c, conn.request), { detail = all(c, conn.request) })
              return { user_id = "ada" }
            end
            function policy.prepare(conn) return tide.degraded("no answer for " .. conn.request.query.token) end
            function policy.message(conn) error(conn.request.headers.authorization) end
            policy.agents = { a = function(run) error(run.conn.request.headers.cookie) end }
            """,
            workers=1,
        )
        raw, status, _ = await self.upgrade(server)
        self.assertEqual(status, 101)
        await raw.next()
        line = await server.wait_log(r"policy\.log")
        self.assertEqual(line.count("[redacted]") % 2, 0)
        self.assertIn("[redacted]", line)
        self.assertIn("[redacted]", await server.wait_log(r"policy\.print"))
        rows = await server.connections()
        detail = await server.get("/connections/" + rows[0]["id"])
        self.assertEqual(detail["degraded_reason"], "no answer for [redacted]")
        run = {"type": "agent_execution", "data": {"message": "x", "agent_type": "a"}}
        await raw.write(frame(1, run))
        await server.wait_log(r"run\.failed .*\[redacted\]")
        await self.check(server)
        await raw.write(frame(1, {"type": "x"}))
        await raw.until_close()
        await server.wait_log(r"hook\.failed .*\[redacted\]")
        await self.check(server)

    async def test_requests_that_are_refused(self):
        server = await self.serve_loud("", workers=1)
        for headers in (
            {"Sec-WebSocket-Version": "8"},
            {"Sec-WebSocket-Key": SECRETS["api_key"]},
            {"Upgrade": None},
            {"Host": None},
            {"X-Long": "x" * 20000},
        ):
            _, status, _ = await self.upgrade(server, headers=headers)
            self.assertGreaterEqual(status, 400)
        raw = await Raw.connect(server)
        await raw.write(f"GET /?token={SECRETS['query']} HTTP/1.1\r\nBad Header: x\r\n\r\n".encode())
        self.assertEqual((await raw.response())[0], 400)
        await self.check(server)


class Check(unittest.TestCase):
    """`tidegate check` asks to look at what web pages could do with cookies."""

    def check(self, body, *args):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "policy.lua"
            path.write_text(open_policy(body))
            return tidegate("check", path, *args)

    def test_cookies_without_origins(self):
        body = "function policy.authenticate(conn, c) return { user_id = c.cookies.sid } end"
        done = self.check(body)
        self.assertEqual(done.returncode, 0)
        self.assertIn("warning: ", done.stdout)
        self.assertIn("cross-site WebSocket hijacking", done.stdout)
        self.assertIn("set allowed_origins", done.stdout)

    def test_cookies_with_origins(self):
        body = "function policy.authenticate(conn, c) return { user_id = c.cookies.sid } end"
        done = self.check(body, "--set", "allowed_origins=https://app.example")
        self.assertEqual(done.returncode, 0)
        self.assertNotIn("origins", done.stdout + done.stderr)

    def test_no_cookies(self):
        done = self.check("-- credentials.cookies would be another way\nlocal cookies_of = 1")
        self.assertEqual(done.returncode, 0)
        self.assertNotIn("origins", done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
