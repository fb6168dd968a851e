"""TLS: four kinds of clients, versions, names, tickets, client certificates, reloads under live connections.

The certificates are made by tests/support/certificates.sh, once for this file.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import textwrap
import unittest
from pathlib import Path

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from harness import DEADLINE, ROOT, Client, ServerTest, clean_environment, open_policy, tidegate

CLIENTS = Path(__file__).resolve().parent / "clients"
FOLDER = None  # with the certificates

HELLO = open_policy(
    """
    policy.agents = { echo = function(run, input) return input.message end }
    function policy.route(conn, message) return "echo" end
    function policy.message(conn, message)
      local tls = conn.request.tls
      conn:send { type = "tls", data = { remote = conn.request.remote_address, tls = tls and {
        version = tls.version, cipher = tls.cipher, server_name = tls.server_name } or false } }
    end
    function policy.binary(conn, bytes) conn:send_binary(bytes) end
    """
)

# Tells each client its certificate, as the policy sees it.
CERTIFICATES = textwrap.dedent(
    """
    local tide = require "tidegate"
    local json = require "tidegate.json"
    local policy = {}
    function policy.authenticate(conn, credentials)
      local certificate = credentials.client_certificate
      local user = certificate and certificate.verified and certificate.subject_cn or "nobody"
      return { user_id = user, certificate = certificate and tide.copy(certificate) }
    end
    function policy.message(conn, message)
      conn:send { type = "certificate", data = conn.identity.certificate and tide.copy(conn.identity.certificate) }
    end
    return policy
    """
)


def setUpModule():
    global FOLDER
    FOLDER = Path(tempfile.mkdtemp(prefix="tidegate-tls-"))
    subprocess.run(["sh", str(ROOT / "tests/support/certificates.sh"), str(FOLDER)], check=True)


def tearDownModule():
    shutil.rmtree(FOLDER, ignore_errors=True)


def pem(name):
    return str(FOLDER / f"{name}.pem")


def key(name):
    return str(FOLDER / f"{name}.key")


def options(*names, **more):
    """Flags for a server with these certificates."""
    settings = {
        "tls.certificate": ",".join(pem(name) for name in names),
        "tls.key": ",".join(key(name) for name in names),
        **{f"tls.{name}": value for name, value in more.items()},
    }
    return [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]


def context(certificate=None, verify=True, maximum=None):
    """What a Python client needs in order to trust the server."""
    made = ssl.create_default_context(cafile=pem("ca"))
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        made.load_cert_chain(pem(certificate), key(certificate))
    if maximum is not None:
        made.maximum_version = maximum
    return made


def s_client(server, *args, send=None):
    """Runs `openssl s_client`; its output, errors included."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{server.host}:{server.port}", "-CAfile", pem("ca"), *args],
        input=send or "",
        capture_output=True,
        text=True,
        errors="replace",
        timeout=3 * DEADLINE,
    )
    return done.stdout + done.stderr


def has_1_3():
    """Does the program's library speak TLS 1.3?"""
    version = re.search(r"^mbedtls +(\d+)", tidegate("version").stdout, re.M)
    return int(version[1]) >= 3


class ClientsTest(ServerTest):
    async def test_python(self):
        server = await self.serve(HELLO, *options("server"))
        self.assertTrue(server.url.startswith("wss://"), server.url)
        client = await Client.ready(server, bearer="ada", ssl=context(), server_hostname="localhost")
        events = await client.answer("hello")
        self.assertEqual(events[-1]["data"]["response"], "hello")
        await client.send({"type": "what"})
        tls = (await client.expect("tls"))["data"]["tls"]
        self.assertEqual(tls["version"], "TLSv1.3" if has_1_3() else "TLSv1.2")
        self.assertEqual(tls["server_name"], "localhost")
        self.assertTrue(tls["cipher"].startswith("TLS_"), tls)
        await client.close()
        self.assertEqual(client.ws.close_code, 1000)

    async def test_plain_listener_beside_it(self):
        server = await self.serve(HELLO, *options("server"), "--listen", "ws://127.0.0.1:0")
        plain = await asyncio.to_thread(server.out.wait, r"^listening ws://")
        client = await Client.ready(plain.split()[1])
        await client.send({"type": "what"})
        self.assertEqual((await client.expect("tls"))["data"]["tls"], False)
        self.assertEqual(await server.metric("tidegate_tls_handshake_failures_total"), 0)
        await client.close()

    async def other_client(self, command, env):
        server = await self.serve(HELLO, *options("server"))
        request = json.dumps({"type": "agent_execution", "data": {"message": "hello"}})
        process = await asyncio.create_subprocess_exec(
            *command, f"wss://localhost:{server.port}/", "ada", request,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment(env))
        out, err = await asyncio.wait_for(process.communicate(), 3 * DEADLINE)
        self.assertEqual(process.returncode, 0, err.decode())
        messages = [json.loads(line) for line in out.decode().splitlines()]
        self.assertEqual(messages[-1]["data"]["response"], "hello")

    async def test_node(self):
        modules = {"NODE_PATH": os.environ.get("NODE_PATH", "/usr/share/nodejs:/usr/lib/nodejs")}
        await self.other_client(["node", str(CLIENTS / "golden.js")],
                                {"NODE_EXTRA_CA_CERTS": pem("ca"), **modules})

    async def test_lua_http(self):
        lua = shutil.which("luajit") or shutil.which("lua")
        await self.other_client([lua, str(CLIENTS / "golden.lua")], {"SSL_CERT_FILE": pem("ca")})

    async def test_curl(self):
        server = await self.serve(HELLO, *options("server"))
        done = await asyncio.to_thread(
            subprocess.run,
            ["curl", "-sSi", "--noproxy", "*", "--cacert", pem("ca"),
             f"https://{server.host}:{server.port}/healthz"],
            capture_output=True, text=True, timeout=3 * DEADLINE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.startswith("HTTP/1.1 200"), done.stdout)

    async def test_connect_command(self):
        server = await self.serve(HELLO, *options("server"))

        async def connect(*args, url=server.url):
            return await asyncio.to_thread(tidegate, "connect", url, "--agent", "echo", "hello", *args)

        done = await connect("--cacert", pem("ca"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('"response":"hello"', done.stdout)
        done = await connect("--cacert", pem("ca"), url=f"wss://localhost:{server.port}")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = await connect("--cacert", pem("rogue-ca"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("certificate is refused", done.stderr)
        done = await connect("--insecure")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("not checked", done.stderr)
        done = await connect()  # the system's CAs do not know ours
        self.assertEqual(done.returncode, 1)
        await server.metric_reaches("tidegate_tls_handshake_failures_total", 2)

    async def test_connect_command_checks_the_name(self):
        server = await self.serve(HELLO, *options("other"))
        for host in ("localhost", "127.0.0.1"):
            done = await asyncio.to_thread(
                tidegate, "connect", f"wss://{host}:{server.port}", "--cacert", pem("ca"),
                "--agent", "echo", "hello")
            self.assertEqual(done.returncode, 1, host)
            self.assertIn("TLS: ", done.stderr)


class HandshakeTest(ServerTest):
    async def test_versions(self):
        server = await self.serve(HELLO, *options("server"))
        # A client that would really speak TLS 1.1 needs its own security level lowered first.
        old = await asyncio.to_thread(s_client, server, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        self.assertRegex(old, r"alert protocol version|no protocols available")
        current = await asyncio.to_thread(s_client, server, "-tls1_2")
        self.assertRegex(current, r"Verify return code: 0")
        newest = await asyncio.to_thread(s_client, server, "-tls1_3")
        if has_1_3():
            self.assertRegex(newest, r"TLSv1.3, Cipher is TLS_")
        else:
            self.assertRegex(newest, r"alert (protocol version|handshake failure)")
        await server.wait_log(r"tls.handshake_failed .*reason=\"no TLS version that both sides speak\"")

    async def test_minimum_version(self):
        done = await asyncio.to_thread(
            tidegate, "run", ROOT / "examples/hello", "--listen", "127.0.0.1:0", "--admin", "off",
            *options("server", min_version="1.3")) if not has_1_3() else None
        if done is not None:
            self.assertEqual(done.returncode, 1)
            self.assertIn("has no TLS 1.3", done.stderr)
            return
        server = await self.serve(HELLO, *options("server", min_version="1.3"))
        self.assertRegex(await asyncio.to_thread(s_client, server, "-tls1_3"), r"Verify return code: 0")
        self.assertRegex(await asyncio.to_thread(s_client, server, "-tls1_2"), r"alert protocol version")

    async def test_weak_ciphers_are_not_offered(self):
        server = await self.serve(HELLO, *options("server", "rsa"))
        for cipher in ("AES128-SHA", "AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"):
            out = await asyncio.to_thread(
                s_client, server, "-tls1_2", "-cipher", cipher + ":@SECLEVEL=0")
            self.assertRegex(out, r"handshake failure|no cipher match", cipher)
        await server.metric_reaches("tidegate_tls_handshake_failures_total", 4)

    async def test_chosen_cipher(self):
        chosen = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
        server = await self.serve(HELLO, *options("server", ciphers=chosen))
        out = await asyncio.to_thread(s_client, server, "-tls1_2")
        self.assertIn("Cipher is ECDHE-ECDSA-CHACHA20-POLY1305", out)

    async def test_both_kinds_of_key(self):
        server = await self.serve(HELLO, *options("server", "rsa"))
        for algorithm, want in (("ECDSA", "ECDSA"), ("RSA", "RSA")):
            out = await asyncio.to_thread(
                s_client, server, "-servername", "localhost", "-tls1_2",
                "-cipher", f"ECDHE-{algorithm}-AES128-GCM-SHA256")
            self.assertIn(f"Cipher is ECDHE-{want}-AES128-GCM-SHA256", out)

    async def test_server_names(self):
        server = await self.serve(HELLO, *options("server", "other", "wildcard"))
        for name, subject in (("localhost", "localhost"), ("other.example.test", "other"),
                              ("a.wild.test", "wildcard"), ("unknown.test", "localhost")):
            out = await asyncio.to_thread(s_client, server, "-servername", name)
            self.assertRegex(out, rf"subject=CN ?= ?{subject}\b", name)
        out = await asyncio.to_thread(s_client, server, "-noservername")
        self.assertRegex(out, r"subject=CN ?= ?localhost\b")

    async def test_alpn(self):
        server = await self.serve(HELLO, *options("server"))
        out = await asyncio.to_thread(s_client, server, "-alpn", "h2,http/1.1")
        self.assertIn("ALPN protocol: http/1.1", out)
        out = await asyncio.to_thread(s_client, server, "-alpn", "h2")
        self.assertRegex(out, r"no application protocol")
        out = await asyncio.to_thread(s_client, server)
        self.assertIn("No ALPN negotiated", out)

    async def resumed(self, server):
        """Does a client that was here before resume its session?"""
        state = FOLDER / "session"
        state.unlink(missing_ok=True)
        # TLS 1.3 sends its tickets behind the handshake, so the client asks for something and reads.
        ask = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        first = await asyncio.to_thread(
            s_client, server, "-servername", "localhost", "-sess_out", str(state), "-ign_eof", send=ask)
        self.assertIn("200 OK", first)
        if not state.exists():
            return False
        second = await asyncio.to_thread(
            s_client, server, "-servername", "localhost", "-sess_in", str(state), "-ign_eof", send=ask)
        self.assertIn("200 OK", second)
        return "Reused, TLS" in second

    async def test_session_tickets(self):
        server = await self.serve(HELLO, *options("server"))
        for _ in range(4):  # whichever worker has it
            self.assertTrue(await self.resumed(server))

    async def test_session_tickets_off(self):
        server = await self.serve(HELLO, *options("server", session_tickets="false"))
        self.assertFalse(await self.resumed(server))

    async def test_plain_http_gets_a_hint(self):
        server = await self.serve(HELLO, *options("server"))
        status, _, text = await server.ask("GET", "/", public=True)
        self.assertEqual(status, 400)
        self.assertIn("wss://", text)
        await server.wait_log(r'tls.handshake_failed .*reason="plain HTTP on a TLS port"')
        await server.metric_reaches("tidegate_tls_handshake_failures_total", 1)

    async def test_a_silent_client_is_dropped(self):
        server = await self.serve(HELLO, *options("server"), "--set", "limits.handshake_timeout=300ms")
        reader, writer = await asyncio.open_connection(server.host, server.port)
        self.assertEqual(await asyncio.wait_for(reader.read(), DEADLINE), b"")
        writer.close()
        await server.metric_reaches("tidegate_tls_handshake_failures_total", 1)
        await server.metric_reaches('tidegate_stuck_connections_total{state="connecting"}', 1)

    async def test_an_untrusting_client_is_named(self):
        server = await self.serve(HELLO, *options("rogue"))
        out = await asyncio.to_thread(s_client, server, "-tls1_2", "-verify_return_error")
        self.assertIn("certificate verify failed", out)
        await server.wait_log(r'tls.handshake_failed .*reason="the peer refused: unknown CA \(48\)"')


class ProxyTest(ServerTest):
    SETTINGS = ("--set", "trusted_proxies=loopback", "--set", "proxy_protocol=true")

    async def test_proxy_header_stands_before_tls(self):
        server = await self.serve(HELLO, *options("server"), *self.SETTINGS)
        raw = socket.create_connection((server.host, server.port), DEADLINE)
        raw.sendall(b"PROXY TCP4 203.0.113.9 192.0.2.1 5555 443\r\n")
        raw.setblocking(False)
        client = await Client.ready(server, ssl=context(), sock=raw, server_hostname="localhost")
        await client.send({"type": "what"})
        data = (await client.expect("tls"))["data"]
        self.assertEqual(data["remote"], "203.0.113.9:5555")
        self.assertEqual(data["tls"]["server_name"], "localhost")
        await client.close()

    async def test_proxy_header_is_missing(self):
        server = await self.serve(HELLO, *options("server"), *self.SETTINGS)
        out = await asyncio.to_thread(s_client, server)
        self.assertNotIn("Cipher is TLS", out)
        await server.metric_reaches("tidegate_tls_handshake_failures_total", 1)


class ClientCertificateTest(ServerTest):
    def settings(self, auth):
        return options("server", client_ca=pem("ca"), client_auth=auth)

    async def certificate(self, server, name):
        client = await Client.ready(server, ssl=context(name))
        await client.send({"type": "what"})
        data = (await client.expect("certificate")).get("data")
        user = client.data["user_id"]
        await client.close()
        return user, data

    async def test_required(self):
        server = await self.serve(CERTIFICATES, *self.settings("required"))
        user, certificate = await self.certificate(server, "client")
        self.assertEqual(user, "ada")
        self.assertEqual(certificate["subject"], "O=Example, CN=ada")
        self.assertEqual(certificate["issuer"], "CN=Tidegate test CA")
        self.assertEqual(certificate["sans"], {
            "dns": ["ada.example.test"], "email": ["ada@example.test"],
            "uri": ["spiffe://example.test/ada"], "ip": ["10.1.2.3"]})
        said = subprocess.run(
            ["openssl", "x509", "-in", pem("client"), "-noout", "-fingerprint", "-sha256", "-serial"],
            capture_output=True, text=True, check=True).stdout
        fingerprint = re.search(r"Fingerprint=(\S+)", said)[1].replace(":", "").lower()
        self.assertEqual(certificate["fingerprint_sha256"], fingerprint)
        self.assertEqual(certificate["serial"].lstrip("0"),
                         re.search(r"serial=(\w+)", said)[1].lower().lstrip("0"))
        for name in (None, "rogue", "stale"):
            # With TLS 1.3 the client learns of it only when it reads.
            with self.assertRaises((OSError, EOFError, ConnectionClosed, InvalidHandshake, InvalidMessage)):
                client = await Client.open(server, ssl=context(name))
                await client.receive()
        await server.metric_reaches("tidegate_tls_handshake_failures_total", 3)
        await server.wait_log(r'tls.handshake_failed .*reason="the client gave no certificate"')
        await server.wait_log(r"tls.handshake_failed .*not correctly signed by the trusted CA")
        connected = (await server.metrics())["tidegate_transitions_total{from=\"connecting\",to=\"accepted\"}"]
        self.assertEqual(connected, 1)

    async def test_optional(self):
        server = await self.serve(CERTIFICATES, *self.settings("optional"))
        self.assertEqual((await self.certificate(server, "client"))[0], "ada")
        for name in (None, "rogue", "stale"):
            self.assertEqual(await self.certificate(server, name), ("nobody", None), name)

    async def test_not_asked_for(self):
        server = await self.serve(CERTIFICATES, *options("server"))
        self.assertEqual(await self.certificate(server, "client"), ("nobody", None))

    async def test_is_proved_on_every_connection(self):
        """A resumed session would vouch for a certificate that nobody has looked at."""
        server = await self.serve(CERTIFICATES, *self.settings("required"))
        shared = context("client")
        for _ in range(3):
            client = await Client.ready(server, ssl=shared)
            self.assertEqual(client.data["user_id"], "ada")
            self.assertFalse(client.ws.transport.get_extra_info("ssl_object").session_reused)
            await client.close()

    async def test_connect_command(self):
        server = await self.serve(
            CERTIFICATES.replace("return policy", "policy.agents = { who = function(run) return run.conn.user_id end }\nreturn policy"),
            *self.settings("required"))
        done = await asyncio.to_thread(
            tidegate, "connect", server.url, "--cacert", pem("ca"), "--cert", pem("client"),
            "--key", key("client"), "--agent", "who", "I?")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('"response":"ada"', done.stdout)


class ReloadTest(ServerTest):
    def place(self, source):
        """Puts a certificate where the server looks for it."""
        for suffix in (".pem", ".key"):
            draft = FOLDER / f"live{suffix}.draft"
            shutil.copy(FOLDER / f"{source}{suffix}", draft)
            draft.replace(FOLDER / f"live{suffix}")

    async def shown(self, server):
        """The certificate that new clients see, and that one of them works."""
        client = await Client.ready(server, ssl=context())
        shown = client.ws.transport.get_extra_info("ssl_object").getpeercert(True)
        await client.alive()
        await client.close()
        return ssl.DER_cert_to_PEM_cert(shown).strip()

    def certificate(self, name):
        text = (FOLDER / f"{name}.pem").read_text()
        return text[text.index("-----BEGIN"):].strip()

    async def test_reload_under_live_connections(self):
        self.place("server")
        server = await self.serve(HELLO, *options("live"))
        clients = [await Client.ready(server, ssl=context()) for _ in range(6)]
        self.assertEqual(await self.shown(server), self.certificate("server"))

        self.place("renewed")
        status, _, text = await server.ask("POST", "/reload")
        self.assertEqual(status, 200, text)
        for _ in range(6):  # both workers
            self.assertEqual(await self.shown(server), self.certificate("renewed"))
        for client in clients:
            self.assertEqual((await client.answer("still here"))[-1]["data"]["response"], "still here")

        self.place("server")
        server.signal(signal.SIGHUP)

        async def switched():
            return await self.shown(server) == self.certificate("server")

        await server.eventually("the first certificate again", switched)
        for client in clients:
            await client.alive()
            await client.close()

    async def test_a_broken_file_changes_nothing(self):
        self.place("server")
        server = await self.serve(HELLO, *options("live"))
        client = await Client.ready(server, ssl=context())
        before = (await server.get("/policy"))["version"]
        server.write(HELLO.replace('"echo"', '"other"').replace("echo =", "other ="))
        shutil.copy(key("other"), FOLDER / "live.key")
        status, _, text = await server.ask("POST", "/reload")
        self.assertEqual(status, 422, text)
        self.assertIn("live.key", text)
        self.assertIn("does not match", text)
        await server.wait_log(r"tls.reload result=failed error=.*live.key")
        policy = await server.get("/policy")
        self.assertEqual(policy["version"], before)
        self.assertEqual(policy["last_reload"]["result"], "failed")
        self.assertEqual(await self.shown(server), self.certificate("server"))
        self.assertEqual((await client.answer("same"))[-1]["data"]["response"], "same")

        self.place("renewed")
        status, _, text = await server.ask("POST", "/reload")
        self.assertEqual(status, 200, text)
        self.assertNotEqual((await server.get("/policy"))["version"], before)
        self.assertEqual(await self.shown(server), self.certificate("renewed"))
        await client.close()

    async def test_a_broken_policy_keeps_the_certificates(self):
        self.place("server")
        server = await self.serve(HELLO, *options("live"))
        self.place("renewed")
        server.write("return {")
        status, _, _ = await server.ask("POST", "/reload")
        self.assertEqual(status, 422)
        self.assertEqual(await self.shown(server), self.certificate("server"))

    async def test_the_same_files_keep_sessions(self):
        self.place("server")
        server = await self.serve(HELLO, *options("live"))
        shared = context(maximum=ssl.TLSVersion.TLSv1_2)
        client = await Client.ready(server, ssl=shared)
        session = client.ws.transport.get_extra_info("ssl_object").session
        await client.close()

        def reused():
            with socket.create_connection((server.host, server.port), DEADLINE) as raw:
                with shared.wrap_socket(raw, server_hostname="127.0.0.1", session=session) as tls:
                    return tls.session_reused

        self.assertTrue(await asyncio.to_thread(reused))
        self.assertEqual((await server.ask("POST", "/reload"))[0], 200)
        self.assertTrue(await asyncio.to_thread(reused))
        self.place("renewed")
        self.assertEqual((await server.ask("POST", "/reload"))[0], 200)
        await self.shown(server)
        self.assertFalse(await asyncio.to_thread(reused))


class StartTest(ServerTest):
    def refused(self, *args):
        done = tidegate("run", ROOT / "examples/hello", "--listen", "127.0.0.1:0", "--admin", "off", *args)
        self.assertIn(done.returncode, (1, 2), done.stderr)
        self.assertNotIn("listening", done.stdout)
        return done.stderr

    def test_errors_name_file_and_cause(self):
        (FOLDER / "empty.pem").write_text("nothing here\n")
        one = lambda certificate, private: [  # noqa: E731
            "--set", f"tls.certificate={certificate}", "--set", f"tls.key={private}"]
        text = self.refused(*one("/nonexistent/a.pem", key("server")))
        self.assertIn("/nonexistent/a.pem: No such file", text)
        text = self.refused(*one(FOLDER / "empty.pem", key("server")))
        self.assertIn("empty.pem: holds no PEM", text)
        text = self.refused(*one(pem("server"), key("other")))
        self.assertIn("other.key: the key does not match the certificate", text)
        text = self.refused("--set", f"tls.certificate={pem('server')}")
        self.assertIn("tls.key", text)
        text = self.refused("--listen", "wss://127.0.0.1:0")
        self.assertIn("needs a certificate", text)
        text = self.refused(*options("server", client_auth="required"))
        self.assertIn("tls.client_ca", text)
        text = self.refused(*options("server", client_ca=pem("ca")))
        self.assertIn("tls.client_auth", text)
        text = self.refused(*options("server", ciphers="AES128"))
        self.assertIn('"AES128" is not known', text)
        text = self.refused(*options("server", min_version="1.1"))
        self.assertIn("1.2 or 1.3", text)

    async def test_expired_is_a_warning(self):
        server = await self.serve(HELLO, *options("expired"))
        self.assertIsNotNone(server.log.find(r"warn  tls.certificate_expired .*expired.pem"))


class LoadTest(ServerTest):
    async def test_hundred_clients_echo_a_mebibyte(self):
        server = await self.serve(
            HELLO, *options("server"), "--set", "limits.max_message=2MiB",
            "--set", "limits.handshake_timeout=60s", "--set", "limits.ping_interval=0",  # all at once, on a busy machine
            "--set", "script.cpu_budget=2s",  # a sanitizer takes its time over a mebibyte
        )  # fmt: skip
        trust = context()
        payload = os.urandom(1 << 20)

        async def one(number):
            client = await Client.ready(server, ssl=trust, max_size=None)
            for _ in range(2):
                await client.send(payload[number:] + payload[:number])
            for _ in range(2):
                answer = await client.receive(6 * DEADLINE)
                self.assertEqual(answer, payload[number:] + payload[:number])
            await client.close()
            self.assertEqual(client.ws.close_code, 1000)

        await asyncio.gather(*(one(number) for number in range(100)))
        self.assertEqual(await server.metric("tidegate_tls_handshake_failures_total"), 0)

    async def test_a_client_that_reads_late(self):
        """What it has not read yet waits, in its sockets and here, and comes whole."""
        server = await self.serve(HELLO, *options("server"))
        client = await Client.ready(server, ssl=context(), max_size=None, max_queue=1)
        payload = os.urandom(1 << 19)
        sending = asyncio.create_task(self.send_many(client, payload, 8))
        for _ in range(8):
            self.assertEqual(await client.receive(), payload)
        await sending
        await client.close()

    async def send_many(self, client, payload, count):
        for _ in range(count):
            await client.send(payload)

    async def test_drain_says_goodbye(self):
        server = await self.serve(HELLO, *options("server"))
        client = await Client.ready(server, ssl=context())
        server.signal(signal.SIGTERM)
        code, _ = await client.closed()
        self.assertEqual(code, 1001)
        self.assertEqual(await server.ended(), 0)


if __name__ == "__main__":
    unittest.main()
