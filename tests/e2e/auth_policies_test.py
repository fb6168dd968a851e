"""The ready-made policies of tidegate.auth: each serves, lets in who proves it, and nobody else."""

import asyncio
import base64
import hashlib
import hmac
import json
import shutil
import ssl
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from harness import ROOT, Client, Refused, ServerTest, tidegate

SECRET = "0123456789abcdef" * 2
KEYS = ("--set", "options.keys.ada=k-ada-1", "--set", "options.keys.bob=k-bob-2")
FOLDER = None  # with the certificates


def setUpModule():
    global FOLDER
    FOLDER = Path(tempfile.mkdtemp(prefix="tidegate-e2e-auth-"))
    subprocess.run(["sh", str(ROOT / "tests/support/certificates.sh"), str(FOLDER)], check=True)


def tearDownModule():
    shutil.rmtree(FOLDER, ignore_errors=True)


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def password_hash(password, iterations):
    salt = b"salt for a test"
    made = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    return f"pbkdf2-sha256:{iterations}:{base64url(salt)}:{base64url(made)}"


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def session(secret=SECRET, user="ada", lasts=600, name="session"):
    payload = base64url(json.dumps({"user_id": user, "expires_at": int(time.time()) + lasts}).encode())
    signature = hmac.new(secret.encode(), f"{name}={payload}".encode(), hashlib.sha256).digest()
    return f"{payload}.{base64url(signature)}"


class AuthTest(ServerTest):
    async def serve_policy(self, name, *args, **more):
        return await self.serve(ROOT / "policies" / f"{name}.lua", *args, **more)

    async def assert_let_in(self, server, user, **options):
        client = await Client.ready(server, **options)
        self.assertEqual(client.data["user_id"], user)
        return client

    async def assert_denied(self, server, code, reason, **options):
        client = await Client.open(server, **options)
        self.assertEqual(await client.closed(), (code, reason))

    def assert_does_not_start(self, name, why, *args):
        done = tidegate("run", ROOT / "policies" / f"{name}.lua", "--admin", "127.0.0.1:0", *args)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(why, done.stdout + done.stderr)


class Basic(AuthTest):
    WRONG = "wrong user name or password"

    async def serve_users(self, iterations=1000, *args, **more):
        users = ("--set", f"options.users.ada={password_hash('correct horse', iterations)}")
        return await self.serve_policy("basic", *users, *args, **more)

    async def test_a_password_lets_its_user_in_and_is_in_no_log(self):
        server = await self.serve_users()
        await self.assert_let_in(server, "ada", headers=basic("ada", "correct horse"))
        for user, password in (("ada", "wrong-5d1c"), ("eve", "correct horse"), ("ada", "")):
            await self.assert_denied(server, 4401, self.WRONG, headers=basic(user, password))
        await self.assert_denied(server, 4401, "send a user name and a password")
        for secret in ("correct horse", "wrong-5d1c", basic("ada", "wrong-5d1c")["Authorization"]):
            self.assertNotIn(secret, server.log.text())

    async def test_all_workers_count_wrong_passwords_together(self):
        server = await self.serve_users(1000, "--set", "options.attempts=3", "--set", "options.per=600")
        for _ in range(3):
            await self.assert_denied(server, 4401, self.WRONG, headers=basic("ada", "wrong"))
        for _ in range(4):  # whichever worker it is
            client = await Client.open(server, headers=basic("ada", "correct horse"))
            code, reason = await client.closed()
            self.assertEqual(code, 4429)
            self.assertRegex(reason, r"^too many attempts; retry in \d+ s$")

    async def test_a_strong_hash_holds_up_nobody(self):
        server = await self.serve_users(600000, workers=1)
        slow = [asyncio.create_task(Client.ready(server, headers=basic("ada", "correct horse"))) for _ in range(3)]
        await self.assert_denied(server, 4401, "send a user name and a password")
        for client in await asyncio.gather(*slow):
            self.assertEqual(client.data["user_id"], "ada")

    async def test_it_does_not_start_without_users(self):
        self.assert_does_not_start("basic", "no user is configured")


class CookieSession(AuthTest):
    ORIGIN = "https://app.example"

    async def serve_sessions(self, *more):
        return await self.serve_policy(
            "cookie_session", "--set", "allowed_origins=" + self.ORIGIN, "--set", "options.secret=" + SECRET, *more
        )

    def headers(self, value, origin=ORIGIN, name="session"):
        return {"Cookie": f"theme=dark; {name}={value}", "Origin": origin}

    async def test_a_signed_session_lets_its_user_in(self):
        server = await self.serve_sessions()
        await self.assert_let_in(server, "ada", headers=self.headers(session()))
        await self.assert_let_in(server, "bob", headers=self.headers(session(user="bob")))

    async def test_nothing_else_does(self):
        server = await self.serve_sessions()
        bad = "the session is not valid"
        for value, why in (
            (session(secret="x" * 32), bad),
            (session(name="other"), bad),
            (session()[:-1], bad),
            (session().replace(".", ".A"), bad),
            (session(lasts=-1), "the session has expired; sign in again"),
            ("", "sign in first"),
        ):
            await self.assert_denied(server, 4401, why, headers=self.headers(value))
        with self.assertRaises(Refused) as refused:
            await Client.open(server, headers=self.headers(session(), origin="https://evil.example"))
        self.assertEqual(refused.exception.status, 403)

    async def test_a_secret_can_be_changed(self):
        server = await self.serve_sessions("--set", "options.previous_secret=" + "old-" * 8)
        await self.assert_let_in(server, "ada", headers=self.headers(session(secret="old-" * 8)))
        await self.assert_let_in(server, "ada", headers=self.headers(session()))

    async def test_it_does_not_start_when_any_page_could_connect(self):
        self.assert_does_not_start("cookie_session", "set allowed_origins", "--set", "options.secret=" + SECRET)


class Tokens(AuthTest):
    async def test_a_subprotocol_holds_a_key_that_is_never_sent_back(self):
        server = await self.serve_policy("subprotocol_token", *KEYS)
        token = "base64url.bearer." + base64url(b"k-ada-1")
        client = await self.assert_let_in(server, "ada", subprotocols=["tidegate.v1", token])
        self.assertEqual(client.headers["Sec-WebSocket-Protocol"], "tidegate.v1")
        await self.assert_let_in(server, "bob", bearer="k-bob-2")
        wrong = "base64url.bearer." + base64url(b"k-eve-3")
        await self.assert_denied(server, 4401, "unknown key", subprotocols=["tidegate.v1", wrong])
        await self.assert_denied(server, 4401, "send a key")
        for secret in (token, wrong, "k-ada-1"):
            self.assertNotIn(secret, server.log.text())
        self.assert_does_not_start("subprotocol_token", "no key is configured")

    async def test_a_first_message_holds_a_key(self):
        server = await self.serve_policy("first_message", *KEYS)
        client = await Client.open(server)
        await client.send(json.dumps({"type": "authenticate", "data": {"token": "k-bob-2"}}))
        message = await client.expect("connection_ready")
        self.assertEqual(message["data"]["user_id"], "bob")
        for data, why in (({"token": "k-eve-3"}, "unknown key"), ({}, "send a key")):
            client = await Client.open(server, "k-ada-1")
            await client.send(json.dumps({"type": "authenticate", "data": data}))
            self.assertEqual(await client.closed(), (4401, why))
        self.assert_does_not_start("first_message", "no key is configured")


class ProxyHeader(AuthTest):
    USER = {"X-Forwarded-User": "ada", "X-Forwarded-Groups": "dev,ops"}

    async def test_a_trusted_proxy_names_the_user(self):
        server = await self.serve_policy("proxy_header", "--set", "trusted_proxies=127.0.0.1")
        client = await self.assert_let_in(server, "ada", headers=self.USER)
        self.assertEqual((await server.get("/connections/" + client.id))["user_id"], "ada")
        await self.assert_denied(server, 4401, "the proxy names no user")

    async def test_nobody_else_does(self):
        server = await self.serve_policy("proxy_header", "--set", "trusted_proxies=10.0.0.0/8")
        await self.assert_denied(server, 4403, "connect through the proxy", headers=self.USER)
        forged = {**self.USER, "X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1"}
        await self.assert_denied(server, 4403, "connect through the proxy", headers=forged)
        self.assert_does_not_start("proxy_header", "name the proxies in trusted_proxies")


class Mtls(AuthTest):
    def context(self, name=None):
        made = ssl.create_default_context(cafile=FOLDER / "ca.pem")
        made.check_hostname = False
        if name:
            made.load_cert_chain(FOLDER / f"{name}.pem", FOLDER / f"{name}.key")
        return made

    async def test_the_owner_of_a_certificate_is_let_in(self):
        tls = {"certificate": "server.pem", "key": "server.key", "client_ca": "ca.pem"}
        args = [word for key, file in tls.items() for word in ("--set", f"tls.{key}={FOLDER / file}")]
        server = await self.serve_policy("mtls", *args, "--set", "tls.client_auth=optional")
        await self.assert_let_in(server, "ada", ssl=self.context("client"))
        await self.assert_denied(server, 4401, "a client certificate is needed", ssl=self.context())

    async def test_it_does_not_start_where_nobody_is_asked_for_a_certificate(self):
        why = "clients are not asked for certificates: set tls.client_ca, and tls.client_auth to optional or required"
        self.assert_does_not_start("mtls", why)
        server_only = ("--set", f"tls.certificate={FOLDER}/server.pem", "--set", f"tls.key={FOLDER}/server.key")
        self.assert_does_not_start("mtls", why, *server_only)
        checked = tidegate("check", ROOT / "policies/mtls.lua")  # what its server asks for cannot be known here
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    async def test_a_reload_does_not_bring_it_where_nobody_is_asked_for_a_certificate(self):
        server = await self.serve((ROOT / "policies/allow_all.lua").read_text())
        server.write((ROOT / "policies/mtls.lua").read_text())
        status, _, text = await server.ask("POST", "/reload")
        self.assertEqual(status, 422, text)
        self.assertIn("tls.client_auth", text)
        await self.assert_let_in(server, "guest")


class AllowAll(AuthTest):
    async def test_everybody_is_let_in_on_loopback(self):
        server = await self.serve_policy("allow_all")
        await self.assert_let_in(server, "guest")
        await self.assert_let_in(server, "guest", bearer="whatever")

    async def test_it_does_not_start_where_others_can_connect(self):
        why = "everybody who reaches 0.0.0.0:0 could connect"
        self.assert_does_not_start("allow_all", why, "--listen", "0.0.0.0:0")
        server = await self.serve_policy("allow_all", "--listen", "0.0.0.0:0", "--set", "options.force=true")
        await server.wait_log("everybody may connect")
        await self.assert_let_in(server, "guest")


if __name__ == "__main__":
    unittest.main()
