"""`tidegate ctl` against real servers: what people read, what programs read, and every way to be refused."""

import asyncio
import json
import os
import pty
import re
import socket
import subprocess
import unittest

from harness import BINARY, DEADLINE, Client, Raw, ServerTest, clean_environment, open_policy, parse_metrics, tidegate

POLICY = open_policy(
    """
    function policy.authenticate(conn, credentials)
      return { user_id = credentials.bearer or "guest" }
    end
    function policy.message() end
    policy.agents = {
      waits = function(run) require("tidegate.time").sleep(60) end,
    }
    """
)
OK, NO, USAGE, UNREACHABLE = range(4)


class Ctl(ServerTest):
    async def ctl(self, server, *args, env=None, code=OK):
        """Runs `ctl` against that server; its exit status must be `code`. None: no --admin."""
        where = [] if server is None else ["--admin", server.admin_url]
        done = await asyncio.to_thread(tidegate, "ctl", *args, *where, env=env)
        self.assertEqual(done.returncode, code, f"{done.stdout}\n{done.stderr}")
        if code in (USAGE, UNREACHABLE):
            self.assertEqual(done.stdout, "")
        self.assertEqual(done.stderr != "", code != OK)
        self.assertNotIn("\033", done.stdout + done.stderr)  # no terminal here
        return done

    def rows(self, text):
        """{name: value} of the aligned lines of a page."""
        return dict(re.findall(r"^ *(.+?)  +(.*)$", text, re.M))


class Asking(Ctl):
    async def test_status_shows_everything_at_a_glance(self):
        server = await self.serve(POLICY, workers=2)
        client = await Client.ready(server)
        await client.send({"type": "agent_execution", "data": {"message": "m"}})
        await client.expect("agent_started")
        rows = self.rows((await self.ctl(server, "status")).stdout)
        health = await server.get("/health")
        self.assertEqual(rows["status"], "ok")
        self.assertRegex(rows["uptime"], r"^\d+s$|^\d+m \d\ds$")
        self.assertEqual(rows["version"], health["version"])
        self.assertEqual(rows["workers"], "2")
        self.assertEqual(rows["policy"], health["policy"]["version"])
        self.assertEqual(rows["path"], str(server.policy))
        self.assertRegex(rows["last reload"], r"^ok  \d{4}-")
        self.assertEqual(rows["connections"], "1")
        self.assertEqual(rows["processing"], "1")
        self.assertNotIn("idle", rows)
        self.assertEqual(rows["runs"], "1")
        for fault in ("stuck in the handshake", "stuck in setup", "invalid transitions, 24 h", "connection ID mismatches"):
            self.assertEqual(rows[fault], "0")

    async def test_status_after_a_failed_reload_names_the_error(self):
        server = await self.serve(POLICY)
        server.write("return {")
        done = await self.ctl(server, "reload", code=NO)
        self.assertRegex(done.stderr, r"init\.lua:1: ")
        rows = self.rows((await self.ctl(server, "status")).stdout)
        self.assertEqual(rows["status"], "degraded")
        self.assertRegex(rows["last reload"], r"^failed  \d{4}-")
        self.assertRegex(rows["error"], r"init\.lua:1: ")

    async def test_status_while_the_server_drains(self):
        server = await self.serve(POLICY, "--set", "drain_timeout=30s")
        client = await Client.ready(server)
        await client.send({"type": "agent_execution", "data": {"message": "m"}})
        await client.expect("agent_started")
        self.assertIn("draining", (await self.ctl(server, "drain")).stdout)
        self.assertEqual(self.rows((await self.ctl(server, "status")).stdout)["status"], "draining")
        done = await self.ctl(server, "reload", code=NO)
        self.assertIn("shutting down", done.stderr)
        await client.ws.close()
        self.assertEqual(await server.ended(), 0)

    async def test_connections_are_a_table(self):
        server = await self.serve(POLICY)
        self.assertEqual((await self.ctl(server, "connections")).stdout, "no connections\n")
        clients = [await Client.ready(server, bearer=name) for name in ("ada", "a&b=c", "zoë")]
        lines = (await self.ctl(server, "connections")).stdout.splitlines()
        self.assertRegex(lines[0], r"^ID +STATE +USER +REMOTE +RUNS +CONNECTED +POLICY$")
        self.assertEqual(len(lines), 4)
        listed = await server.connections()
        for row in listed:
            line = next(line for line in lines if line.startswith(row["id"]))
            self.assertEqual(line.index(row["state"]), lines[0].index("STATE"))
            self.assertEqual(line.index(row["user_id"]), lines[0].index("USER"))
            self.assertEqual(line.index(row["connected_at"]), lines[0].index("CONNECTED"))
        for user in ("ada", "a&b=c", "zoë"):
            lines = (await self.ctl(server, "connections", "--user", user)).stdout.splitlines()
            self.assertEqual(len(lines), 2, user)
            self.assertIn(user, lines[1])
        lines = (await self.ctl(server, "connections", "--state", "processing_ready", "--limit", "2")).stdout.splitlines()
        self.assertEqual(len(lines), 4)
        self.assertEqual(lines[3], "2 of 3; --limit shows more")
        self.assertEqual((await self.ctl(server, "connections", "--state", "degraded")).stdout, "no connections\n")
        done = await self.ctl(server, "connections", "--state", "asleep", code=NO)
        self.assertIn("there is no such connection state", done.stderr)
        done = await self.ctl(server, "connections", "--limit", "0", code=NO)
        self.assertIn("1 to 10000", done.stderr)
        for client in clients:
            await client.close()

    async def test_one_connection_is_shown_with_its_moves(self):
        server = await self.serve(POLICY)
        client = await Client.ready(server, bearer="ada")
        text = (await self.ctl(server, "connection", client.id)).stdout
        rows = self.rows(text)
        self.assertEqual(rows["id"], client.id)
        self.assertEqual(rows["user id"], "ada")
        self.assertEqual(rows["state"], "processing_ready")
        self.assertRegex(text, r"(?m)^transitions\n +from +to +at +reason\n +connecting +accepted +\d{4}-\S+ +upgrade accepted$")
        await client.close()

    async def test_what_a_policy_says_cannot_steer_the_terminal(self):
        server = await self.serve(open_policy(
            """
            function policy.prepare() return tide.degraded("a\\27[31m\\nb\\tc\\194\\155d") end
            """
        ))
        client = await Client.ready(server)
        done = await self.ctl(server, "connection", client.id)
        self.assertRegex(done.stdout, r"(?m)^degraded reason +a ?\[31m b cd$")

    async def test_policy_and_metrics(self):
        server = await self.serve(POLICY)
        rows = self.rows((await self.ctl(server, "policy")).stdout)
        self.assertEqual(rows["version"], (await server.get("/policy"))["version"])
        self.assertIn("authenticate", rows["hooks"].split(", "))
        self.assertEqual(rows["agents"], "waits")
        metrics = parse_metrics((await self.ctl(server, "metrics")).stdout)
        self.assertIn("tidegate_connections_opened_total", metrics)

    async def test_json_is_the_servers_answer_as_it_is(self):
        server = await self.serve(POLICY, workers=1)  # several answer in any order
        client = await Client.ready(server)
        for args, path in (
            (("connections",), "/connections"),
            (("connection", client.id), "/connections/" + client.id),
            (("policy",), "/policy"),
        ):
            done = await self.ctl(server, *args, "--format", "json")
            self.assertEqual(json.loads(done.stdout), await server.get(path))
        health = json.loads((await self.ctl(server, "status", "--format=json")).stdout)
        self.assertEqual(health["websocket"]["connections"], 1)
        self.assertEqual(health["websocket"]["runs"], 0)
        done = await self.ctl(server, "connections", "--format", "json", "--state", "asleep", code=NO)
        self.assertEqual(json.loads(done.stdout)["error"]["code"], "bad_state")
        self.assertIn("there is no such connection state", done.stderr)
        await client.close()


class Telling(Ctl):
    async def test_close_ends_that_connection_with_code_and_reason(self):
        server = await self.serve(POLICY)
        for words, expected in (
            ((), (1000, "closed by the operator")),
            (("4000",), (4000, "closed by the operator")),
            (("4001", 'say "hi" & go'), (4001, 'say "hi" & go')),
        ):
            client = await Client.ready(server)
            bystander = await Client.ready(server)
            self.assertEqual((await self.ctl(server, "close", client.id, *words)).stdout, "closing\n")
            self.assertEqual(await client.closed(), expected)
            await bystander.alive()
            await bystander.close()

    async def test_close_with_a_code_that_must_not_be_sent(self):
        server = await self.serve(POLICY)
        client = await Client.ready(server)
        for words in (("1005",), ("99999",), ("4000", "x" * 124)):
            done = await self.ctl(server, "close", client.id, *words, code=NO)
            self.assertIn("RFC 6455", done.stderr)
        await client.alive()
        await client.close()

    async def test_reload_and_rollback(self):
        server = await self.serve(POLICY)
        first = (await server.get("/policy"))["version"]
        done = await self.ctl(server, "rollback", code=NO)
        self.assertRegex(done.stderr, "^tidegate ctl: .")
        self.assertEqual(
            (await self.ctl(server, "reload")).stdout, f"policy {first} serves already: nothing has changed\n"
        )
        server.write(POLICY + "\n-- another version")
        done = await self.ctl(server, "reload")
        second = (await server.get("/policy"))["version"]
        self.assertNotEqual(first, second)
        self.assertEqual(done.stdout, f"policy {second} serves, after {first}\n")
        self.assertEqual((await self.ctl(server, "rollback")).stdout, f"policy {first} serves, after {second}\n")
        self.assertEqual((await server.get("/policy"))["version"], first)

    async def test_a_connection_that_is_gone(self):
        server = await self.serve(POLICY)
        client = await Client.ready(server)
        await client.close()

        async def gone():
            return await server.connections() == []

        await server.eventually("it is gone", gone)
        for action in ("connection", "close"):
            done = await self.ctl(server, action, client.id, code=NO)
            self.assertEqual(done.stderr, "tidegate ctl: there is no such connection\n")


class Finding(Ctl):
    async def test_the_server_is_named_in_many_ways(self):
        server = await self.serve(POLICY)
        bare = server.admin_url.removeprefix("http://")
        config = server.folder / "tidegate.lua"
        config.write_text(f'return {{ admin = "0.0.0.0:{server.admin_port}", admin_token = "unused" }}')
        wrong = {"TIDEGATE_ADMIN": "127.0.0.1:1"}
        for args, env in (
            (("--admin", bare), wrong),
            (("--admin", server.admin_url + "/"), wrong),
            ((), {"TIDEGATE_ADMIN": bare}),
            (("--config", config), {}),
            (("--config", config), {"TIDEGATE_ADMIN": bare}),
        ):
            done = await self.ctl(None, "status", *args, env=env)
            self.assertIn("status", done.stdout)

    async def test_over_ipv6(self):
        server = await self.serve(POLICY, "--admin", "[::1]:0")
        self.assertIn("[::1]", server.admin_url)
        self.assertEqual(self.rows((await self.ctl(server, "status")).stdout)["status"], "ok")
        done = await self.ctl(None, "status", "--admin", f"[::]:{server.admin_port}")
        self.assertEqual(self.rows(done.stdout)["status"], "ok")

    async def test_proxies_of_the_environment_are_not_asked(self):
        server = await self.serve(POLICY)
        env = {name: "http://127.0.0.1:1" for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy")}
        await self.ctl(server, "status", env=env)

    async def test_a_token_from_everywhere_and_a_wrong_one(self):
        server = await self.serve(POLICY, "--set", "admin_token=s3cret-token")
        config = server.folder / "tidegate.lua"
        config.write_text('return { admin_token = "s3cret-token" }')
        for args, env in (
            (("--token", "s3cret-token"), {"TIDEGATE_ADMIN_TOKEN": "wrong"}),
            ((), {"TIDEGATE_ADMIN_TOKEN": "s3cret-token"}),
            (("--config", config), {}),
        ):
            await self.ctl(server, "status", *args, env=env)
        for args in ((), ("--token", "wr0ng")):
            done = await self.ctl(server, "status", *args, code=NO)
            self.assertIn("TIDEGATE_ADMIN_TOKEN", done.stderr)
            self.assertNotIn("wr0ng", done.stderr)

    async def test_a_server_that_is_not_there_is_3_and_says_what_to_check(self):
        with socket.socket() as sock:  # bound, and nobody listens
            sock.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{sock.getsockname()[1]}"
            done = await self.ctl(None, "status", "--admin", address, code=UNREACHABLE)
        self.assertIn(f"no answer from {address}: ", done.stderr)
        for hint in ("refused", "--admin", "TIDEGATE_ADMIN", "--config"):
            self.assertIn(hint, done.stderr)

    async def test_something_else_that_listens_there_is_3(self):
        server = await self.serve(POLICY)
        address = f"{server.host}:{server.port}"  # for clients
        for action in (("status",), ("metrics",), ("reload",)):
            done = await self.ctl(None, *action, "--admin", address, code=UNREACHABLE)
            self.assertIn("no admin interface", done.stderr)


class Mistakes(Ctl):
    async def test_each_is_named(self):
        good = "ws_1757500188434_010000000a2f_92a8758b5c1f77aa"
        for args, pattern in (
            ((), "what\\? status"),
            (("stauts",), "did you mean status"),
            (("xyzzy",), "there are status"),
            (("connection",), "which connection\\?"),
            (("connection", "../drain"), "no connection ID"),
            (("connection", good + "x"), "no connection ID"),
            (("connection", good, "more"), '"more" is too much'),
            (("close",), "which connection\\?"),
            (("close", good, "soon"), "no close code"),
            (("status", "now"), '"now" is too much'),
            (("status", "--state", "idle"), "belong to"),
            (("connections", "--sate", "idle"), "did you mean --state"),
            (("status", "--format", "xml"), "text or json"),
            (("status", "--admin", "localhost"), "has no port"),
            (("status", "--admin", "127.0.0.1:0"), "port 0"),
            (("status", "--admin", "off"), "no admin listener"),
            (("status", "--config", "/nonexistent.lua"), "nonexistent"),
        ):
            with self.subTest(args=args):
                done = await self.ctl(None, *args, code=USAGE)
                self.assertRegex(done.stderr, pattern)
                self.assertIn("tidegate help ctl", done.stderr)


class Terminals(Ctl):
    def on_terminal(self, *args, **env):
        """What a terminal of that command would get."""
        ours, theirs = pty.openpty()
        environment = clean_environment(env | {"TERM": "xterm"})
        process = subprocess.Popen([str(BINARY), "ctl", *args], stdin=theirs, stdout=theirs, env=environment)
        os.close(theirs)
        out = b""
        try:
            while data := os.read(ours, 65536):
                out += data
        except OSError:  # how the end of a terminal shows
            pass
        os.close(ours)
        self.assertEqual(process.wait(DEADLINE), 0)
        return out.decode()

    async def test_colours_are_for_terminals_that_want_them(self):
        server = await self.serve(POLICY)
        await Client.ready(server)
        status = await asyncio.to_thread(self.on_terminal, "status", "--admin", server.admin_url)
        self.assertIn("\033[32mok\033[0m", status)
        self.assertNotIn("\033[31m", status)  # nothing is wrong
        listed = await asyncio.to_thread(self.on_terminal, "connections", "--admin", server.admin_url)
        self.assertIn("\033[2mID", listed)
        plain = await asyncio.to_thread(self.on_terminal, "status", "--admin", server.admin_url, NO_COLOR="1")
        self.assertNotIn("\033", plain)
        server.write("return {")
        await server.ask("POST", "/reload")
        status = await asyncio.to_thread(self.on_terminal, "status", "--admin", server.admin_url)
        self.assertIn("\033[33mdegraded\033[0m", status)
        self.assertIn("\033[31mfailed\033[0m", status)


if __name__ == "__main__":
    unittest.main()
