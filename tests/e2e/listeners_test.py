"""Where clients come from: Unix sockets, inherited sockets, IPv6, and proxies that say who the client is."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

from harness import (
    BINARY,
    DEADLINE,
    Client,
    Raw,
    Refused,
    ServerTest,
    clean_environment,
    open_policy,
    tidegate,
    upgrade_request,
)

POLICY = open_policy(
    """
    function policy.message(conn, message)
      local request = conn.request
      conn:send({
        type = "request", remote = request.remote_address, tls = request.tls and true or false,
        forwarded = request.headers["x-forwarded-for"],
      })
    end
    """
)
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


class Folder(ServerTest):
    def setUp(self):
        folder = tempfile.mkdtemp(prefix="tidegate-e2e-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.folder = Path(folder)

    async def seen(self, client):
        """What the policy knows of where the client comes from."""
        await client.send({"type": "who"})
        return await client.expect("request")


class UnixSockets(Folder):
    async def over(self, path):
        """A client that is ready, over a Unix socket."""
        raw = Raw(*await asyncio.open_unix_connection(str(path), limit=2**24))
        await raw.write(upgrade_request())
        status, _ = await raw.response()
        self.assertEqual(status, 101)
        self.assertEqual((await raw.next())["type"], "connection_ready")
        return raw

    async def test_clients_come_over_a_unix_socket(self):
        path = self.folder / "s"
        server = await self.serve(POLICY, "--listen", f"unix:{path}?mode=0600", workers=2)
        self.assertEqual(server.out.wait(r"^listening ws\+unix:"), f"listening ws+unix:{path}")
        self.assertEqual(stat.S_IMODE(path.lstat().st_mode), 0o600)
        raws = [await self.over(path) for _ in range(8)]
        rows = await server.connections()
        self.assertEqual({row["remote_address"] for row in rows}, {"unix"})
        self.assertEqual(len(rows), 8)
        for raw in raws:
            raw.close()
        await Client.ready(server)  # TCP beside it
        await asyncio.to_thread(server.stop)
        self.assertFalse(path.exists())

    async def test_curl(self):
        path = self.folder / "s"
        server = await self.serve(POLICY, "--listen", f"unix:{path}")
        done = await asyncio.to_thread(
            subprocess.run,
            ["curl", "-s", "--max-time", "20", "--unix-socket", str(path), "http://x/healthz"],
            capture_output=True,
            text=True,
        )
        self.assertEqual((done.returncode, done.stdout), (0, "ok\n"), server.log.text())

    async def test_the_file_of_a_server_that_died_is_replaced(self):
        path = self.folder / "s"
        server = await self.serve(POLICY, "--listen", f"unix:{path}")
        server.signal(signal.SIGKILL)
        await server.ended()
        server.exit_code = 0  # as wanted
        self.assertTrue(path.exists())
        await self.serve(POLICY, "--listen", f"unix:{path}")
        await self.over(path)

    async def test_a_socket_in_use_is_left_alone(self):
        path = self.folder / "s"
        await self.serve(POLICY, "--listen", f"unix:{path}")
        policy = self.folder / "policy.lua"
        policy.write_text(POLICY)
        done = await asyncio.to_thread(
            tidegate, "run", policy, "--listen", f"unix:{path}", "--admin", "127.0.0.1:0"
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn(str(path), done.stderr)
        self.assertIn("in use", done.stderr)
        await self.over(path)

    async def test_while_one_server_drains_the_next_takes_its_place(self):
        path = self.folder / "s"
        slow = open_policy(
            """
            local time = require "tidegate.time"
            policy.agents = { slow = function() time.sleep(600) end }
            """
        )
        first = await self.serve(slow, "--listen", f"unix:{path}", "--set", "drain_timeout=600s")
        busy = await Client.ready(first)
        await busy.run("x", "slow")
        await busy.expect("agent_started")
        first.signal(signal.SIGTERM)
        await first.wait_log("server.drain")
        await first.eventually("the file is gone", self.gone(path))
        await self.serve(POLICY, "--listen", f"unix:{path}")
        first.signal(signal.SIGTERM)
        await first.ended()
        await self.over(path)  # the first has not taken away what is the second's

    @staticmethod
    def gone(path):
        async def condition():
            return not path.exists()

        return condition

    async def test_a_bad_address_is_told(self):
        for address, why in (
            ("unix:relative", "absolute path"),
            ("unix:/x?mode=abc", "permissions"),
            ("systemd:", "name of a socket"),
            ("systemd", "has handed over no socket"),
        ):
            with self.subTest(address):
                policy = self.folder / "policy.lua"
                policy.write_text(POLICY)
                done = await asyncio.to_thread(
                    tidegate, "run", policy, "--listen", address, "--admin", "off"
                )
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(why, done.stderr)


# Opens what a service manager would, and becomes the server: the process must be the one that
# LISTEN_PID names.
LAUNCHER = """\
#!{python}
import os, socket, sys
tcp = socket.create_server(("127.0.0.1", 0))
unix = socket.socket(socket.AF_UNIX)
unix.bind({path!r})
unix.listen(16)
fds = [os.dup(s.fileno()) for s in (tcp, unix)]
for place, fd in enumerate(fds, 3):
    high = os.dup2(fd, 100 + place)
for place in (3, 4):
    os.dup2(100 + place, place, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="web:local")
os.execv({program!r}, [{program!r}] + sys.argv[1:])
"""


class Inherited(Folder):
    async def launch(self, *args):
        path = str(self.folder / "s")
        launcher = self.folder / "launcher"
        text = LAUNCHER.format(python=sys.executable, path=path, program=str(BINARY))
        launcher.write_text(text)
        launcher.chmod(0o755)
        return await self.serve(POLICY, *args, program=launcher), path

    async def test_all_sockets_of_the_service_manager(self):
        server, path = await self.launch("--listen", "systemd")
        lines = [line for line in server.out.lines if line.startswith("listening ")]
        self.assertEqual(lines[2], f"listening ws+unix:{path}")
        clients = [await Client.ready(lines[1].split()[1]) for _ in range(6)]
        for client in clients:
            self.assertTrue((await self.seen(client))["remote"].startswith("127.0.0.1:"))
        raw = Raw(*await asyncio.open_unix_connection(path))
        await raw.write(upgrade_request())
        self.assertEqual((await raw.response())[0], 101)
        await asyncio.to_thread(server.stop)
        self.assertTrue(os.path.exists(path))  # not ours to remove

    async def test_by_name_and_by_number(self):
        server, path = await self.launch("--listen", "systemd:local", "--listen", "fd:3")
        lines = [line for line in server.out.lines if line.startswith("listening ")]
        self.assertEqual(lines[1], f"listening ws+unix:{path}")
        await Client.ready(lines[2].split()[1])


class Addresses(Folder):
    @unittest.skipUnless(socket.has_ipv6, "no IPv6 here")
    async def test_ipv6(self):
        with contextlib.closing(socket.socket(socket.AF_INET6)) as probe:
            try:
                probe.bind(("::1", 0))
            except OSError:
                self.skipTest("no IPv6 here")
        server = await self.serve(POLICY, "--listen", "[::1]:0")
        url = server.out.wait(r"^listening ws://\[::1\]:").split()[1]
        client = await Client.ready(url)
        self.assertTrue((await self.seen(client))["remote"].startswith("[::1]:"))

    async def test_an_ipv4_client_on_a_socket_for_both_has_an_ipv4_address(self):
        server = await self.serve(POLICY, "--listen", ":0")
        line = [line for line in server.out.lines if line.startswith("listening ")][1]
        client = await Client.ready("ws://127.0.0.1:" + line.rsplit(":", 1)[1])
        self.assertTrue((await self.seen(client))["remote"].startswith("127.0.0.1:"))


class Proxies(Folder):
    async def proxied(self, server, header):
        raw = await Raw.connect(server)
        await raw.write(header + upgrade_request())
        status, _ = await raw.response()
        self.assertEqual(status, 101)
        return await raw.next()

    async def test_proxy_headers_of_both_versions(self):
        server = await self.serve(
            POLICY, "--set", "trusted_proxies=loopback", "--set", "proxy_protocol=true"
        )
        v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c" + bytes.fromhex("cb007108 c6336402 dc04 01bb")
        first = await self.proxied(server, b"PROXY TCP4 203.0.113.7 198.51.100.2 56324 443\r\n")
        second = await self.proxied(server, v2)
        remotes = {row["id"]: row["remote_address"] for row in await server.connections()}
        self.assertEqual(remotes[first["data"]["connection_id"]], "203.0.113.7:56324")
        self.assertEqual(remotes[second["data"]["connection_id"]], "203.0.113.8:56324")
        await server.wait_log(r"conn\.open .*remote=203\.0\.113\.7:56324")

    async def test_without_the_header_a_trusted_proxy_is_refused(self):
        server = await self.serve(
            POLICY, "--set", "trusted_proxies=loopback", "--set", "proxy_protocol=true"
        )
        raw = await Raw.connect(server)
        await raw.write(upgrade_request())
        status, _ = await raw.response()
        self.assertEqual(status, 400)
        self.assertEqual(await raw.rest(), b"a PROXY header was expected\n")
        self.assertEqual(await server.metric('tidegate_refusals_total{reason="proxy"}'), 1)

    async def test_proxy_protocol_needs_trusted_proxies(self):
        policy = self.folder / "policy.lua"
        policy.write_text(POLICY)
        done = await asyncio.to_thread(tidegate, "run", policy, "--set", "proxy_protocol=true")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("trusted_proxies", done.stderr)

    async def test_forwarding_headers_are_believed_only_from_trusted_proxies(self):
        headers = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
        trusting = await self.serve(POLICY, "--set", "trusted_proxies=127.0.0.0/8,unix")
        client = await Client.ready(trusting, headers=headers)
        self.assertEqual(
            await self.seen(client),
            {"type": "request", "remote": "203.0.113.7", "tls": True, "forwarded": "203.0.113.7"},
        )
        await trusting.wait_log(r"conn\.open .*remote=203\.0\.113\.7 ")
        wary = await self.serve(POLICY)
        client = await Client.ready(wary, headers=headers)
        seen = await self.seen(client)
        self.assertNotIn("forwarded", seen)
        self.assertFalse(seen["tls"])
        self.assertTrue(seen["remote"].startswith("127.0.0.1:"))

    async def test_contradicting_headers_are_refused(self):
        server = await self.serve(POLICY, "--set", "trusted_proxies=loopback")
        with self.assertRaises(Refused) as refused:
            await Client.open(
                server, headers={"X-Forwarded-For": "203.0.113.7", "Forwarded": "for=6.6.6.6"}
            )
        self.assertEqual(refused.exception.status, 400)

    async def test_a_proxy_on_a_unix_socket(self):
        path = self.folder / "s"
        await self.serve(POLICY, "--listen", f"unix:{path}", "--set", "trusted_proxies=unix")
        raw = Raw(*await asyncio.open_unix_connection(str(path), limit=2**24))
        await raw.write(upgrade_request(headers={"X-Forwarded-For": "203.0.113.7"}))
        self.assertEqual((await raw.response())[0], 101)


@unittest.skipUnless(HAPROXY, "haproxy is not installed")
class Haproxy(Folder):
    """A real proxy in front, each way that it can say who the client is."""

    async def start(self, backend, mode, extra=""):
        listener = socket.create_server(("127.0.0.1", 0))  # handed over: a port that is free may be taken a moment later
        self.addCleanup(listener.close)
        port = listener.getsockname()[1]
        config = self.folder / "haproxy.cfg"
        config.write_text(
            textwrap.dedent(
                f"""\
                global
                    maxconn 64
                defaults
                    mode {mode}
                    timeout connect 10s
                    timeout client 60s
                    timeout server 60s
                    timeout tunnel 60s
                    {extra}
                frontend in
                    bind fd@{listener.fileno()}
                    default_backend out
                backend out
                    server s {backend}
                """
            )
        )
        log = open(self.folder / "haproxy.log", "w+b")
        self.addCleanup(log.close)
        process = subprocess.Popen(
            [HAPROXY, "-db", "-f", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=clean_environment(),
            pass_fds=[listener.fileno()],
        )
        listener.close()
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        deadline = asyncio.get_running_loop().time() + DEADLINE
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return f"ws://127.0.0.1:{port}"
            except OSError:
                ended = process.poll() is not None
                if ended or asyncio.get_running_loop().time() > deadline:
                    log.seek(0)
                    raise AssertionError(f"haproxy: {log.read().decode()}") from None
                await asyncio.sleep(0.02)

    def own_address(self, client):
        return "%s:%d" % client.ws.transport.get_extra_info("sockname")[:2]

    async def check(self, url, with_port=True):
        """Connects through the proxy: the server must see this end's address and not the proxy's."""
        clients = [await Client.ready(url) for _ in range(4)]
        for client in clients:
            remote = (await self.seen(client))["remote"]
            own = self.own_address(client)
            self.assertEqual(remote, own if with_port else own.rsplit(":", 1)[0])
            await client.alive()

    async def test_proxy_protocol(self):
        server = await self.serve(
            POLICY, "--set", "trusted_proxies=loopback", "--set", "proxy_protocol=true"
        )
        for word in ("send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"):
            with self.subTest(word):
                url = await self.start(f"127.0.0.1:{server.port} {word}", "tcp")
                await self.check(url)

    async def test_its_health_checks_are_answered(self):
        server = await self.serve(
            POLICY, "--set", "trusted_proxies=loopback", "--set", "proxy_protocol=true"
        )
        await self.start(
            f"127.0.0.1:{server.port} send-proxy-v2 check inter 200ms",
            "tcp",
            "option httpchk GET /healthz",
        )

        async def answered():
            metrics = await server.metrics()
            return metrics.get('tidegate_transitions_total{from="connecting",to="closed"}', 0) >= 2

        await server.eventually("two health checks", answered)
        self.assertEqual(await server.metric('tidegate_refusals_total{reason="proxy"}'), 0)

    async def test_forwarded_headers(self):
        server = await self.serve(POLICY, "--set", "trusted_proxies=loopback")
        url = await self.start(f"127.0.0.1:{server.port}", "http", "option forwardfor")
        client = await Client.ready(url, headers={"X-Forwarded-For": "6.6.6.6"})
        # 127.0.0.1 is a trusted proxy itself here, so the chain goes on to what the client claims.
        self.assertEqual((await self.seen(client))["remote"], "6.6.6.6")

    async def test_forwarded_headers_over_a_unix_socket(self):
        path = self.folder / "s"
        server = await self.serve(
            POLICY, "--listen", f"unix:{path}", "--set", "trusted_proxies=unix"
        )
        url = await self.start(f"unix@{path}", "http", "option forwardfor")
        client = await Client.ready(url, headers={"X-Forwarded-For": "6.6.6.6"})
        self.assertEqual((await self.seen(client))["remote"], "127.0.0.1")
        self.assertEqual(
            json.loads(server.request("GET", "/connections")[2])["connections"][0]["remote_address"],
            "127.0.0.1",
        )


if __name__ == "__main__":
    unittest.main()
