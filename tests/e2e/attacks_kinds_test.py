"""What attackers show to the ready-made policies whose credentials somebody else keeps: keys, passwords, signed
cookies, certificates, a proxy's headers. Each attempt is denied for a reason of its own, counted by it, and leaves
nothing secret behind."""

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

from attempts import AttackTest, Attempt, WithClient
from harness import ROOT, Client, Raw, upgrade_request

SECRET = "signing-secret-0123456789-abcdefgh"
ORIGIN = "https://app.example"
KEY = "key-of-ada-7f3a09"
PASSWORD = "correct-horse-battery"
FOLDER = None  # with the certificates


def setUpModule():
    global FOLDER
    FOLDER = Path(tempfile.mkdtemp(prefix="tidegate-e2e-attacks-"))
    subprocess.run(["sh", str(ROOT / "tests/support/certificates.sh"), str(FOLDER)], check=True)


def tearDownModule():
    shutil.rmtree(FOLDER, ignore_errors=True)


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def first_message(data):
    return json.dumps({"type": "authenticate", "data": data}).encode()


class Kinds(AttackTest):
    async def serve_policy(self, name, *sets, **more):
        args = [word for setting in ("log.level=debug", *sets) for word in ("--set", setting)]
        return await self.serve(ROOT / "policies" / f"{name}.lua", *args, **more)

    async def test_bearer_keys(self):
        server = await self.serve_policy("bearer_keys", "options.keys.ada=" + KEY)
        await (await Client.ready(server, KEY)).close()
        attempts = {
            "none": Attempt("missing", "send a key"),
            "wrong": Attempt("unknown", "unknown key", b"stranger-key"),
            "all but the last": Attempt("unknown", "unknown key", KEY[:-1].encode()),
            "oversized": Attempt("too_large", "the key is too long", KEY.encode() * 50),
            "not UTF-8": Attempt("malformed", "the key is malformed", KEY.encode() + b"\xff"),
        }
        await self.attack(server, attempts, [KEY, "stranger-key", "\\xff"])

    async def test_first_messages(self):
        server = await self.serve_policy("first_message", "options.keys.ada=" + KEY)
        attempts = {
            "none": Attempt("missing", "send a key", message=first_message({})),
            "no data": Attempt("missing", "send a key", message=b'{"type":"authenticate"}'),
            "null": Attempt("malformed", "the key is no text", message=first_message({"token": None})),
            "wrong": Attempt("unknown", "unknown key", message=first_message({"token": "stranger-key"})),
            "a list": Attempt("malformed", "the key is no text", message=first_message({"token": [KEY]})),
            "a number": Attempt("malformed", "the key is no text", message=first_message({"token": 7})),
            "oversized": Attempt("too_large", "the key is too long", message=first_message({"token": KEY * 9000})),
            "with a NUL": Attempt("malformed", "the key is malformed", message=first_message({"token": KEY + "\0"})),
        }
        await self.attack(server, attempts, [KEY, "stranger-key"])

    async def test_subprotocols(self):
        server = await self.serve_policy("subprotocol_token", "options.keys.ada=" + KEY)

        def offers(reason, why, *tokens):
            names = ["tidegate.v1", *("base64url.bearer." + token for token in tokens)]
            return WithClient(reason, why, subprotocols=names)

        good, bad = base64url(KEY.encode()), base64url(b"stranger-key")
        malformed = "the token in the subprotocol is malformed"
        attempts = {
            "none": offers("missing", "send a key"),
            "wrong": offers("unknown", "unknown key", bad),
            "two, one of them good": offers("malformed", malformed, good, bad),
            "twice the same": offers("malformed", malformed, good, good),
            "not base64url": offers("malformed", malformed, "!!"),
            "oversized": offers("too_large", "the key is too long", base64url(KEY.encode() * 50)),
            "not UTF-8": offers("malformed", "the key is malformed", base64url(KEY.encode() + b"\xff")),
        }
        await self.attack(server, attempts, [KEY, good, bad, "stranger-key"])

    async def test_passwords(self):
        made = base64url(hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), b"salt of a test", 1000))
        kept = f"pbkdf2-sha256:1000:{base64url(b'salt of a test')}:{made}"
        server = await self.serve_policy("basic", "options.users.ada=" + kept, "options.attempts=8")
        wrong = "wrong user name or password"
        too_long = "the user name or the password is too long"
        malformed = "the user name or the password is malformed"

        def shows(reason, why, pair):
            return Attempt(reason, why, headers={"Authorization": b"Basic " + base64.b64encode(pair)})

        attempts = {
            "none": Attempt("missing", "send a user name and a password"),
            "of another scheme": Attempt("missing", "send a user name and a password", PASSWORD.encode()),
            "wrong": shows("unknown", wrong, b"ada:stranger-password"),
            "nobody's": shows("unknown", wrong, b"eve:" + PASSWORD.encode()),
            "its hash": shows("unknown", wrong, b"ada:" + kept.encode()),
            "oversized": shows("too_large", too_long, b"ada:" + PASSWORD.encode() * 50),
            "not UTF-8": shows("malformed", malformed, b"ada:\xff\xfe"),
            "with a NUL": shows("malformed", malformed, b"ada:" + PASSWORD.encode() + b"\0"),
            "not base64": Attempt("malformed", malformed, headers={"Authorization": "Basic ?" + PASSWORD}),
        }
        secrets = [PASSWORD, "stranger-password", kept, base64.b64encode(b"ada:" + PASSWORD.encode()).decode()]
        await self.attack(server, attempts, secrets)
        # Too many: seven have failed; after the eighth the right one is not even looked at.
        limited = {
            "the last": shows("unknown", wrong, b"ada:guess"),
            "one too many": shows("rate_limited", None, b"ada:" + PASSWORD.encode()),
        }
        limited["one too many"].code = 4429
        await self.attack(server, limited, secrets)
        events = await server.metric('tidegate_auth_events_total{event="rate_limited"}')
        self.assertEqual(events, 1)

    async def test_cookies(self):
        origin = "allowed_origins=" + ORIGIN
        server = await self.serve_policy("cookie_session", origin, "options.secret=" + SECRET)
        shown = [SECRET]

        def session(secret=SECRET, name="session", **claims):
            payload = base64url(json.dumps({"user_id": "ada", "expires_at": time.time() + 600, **claims}).encode())
            signed = hmac.new(secret.encode(), f"{name}={payload}".encode(), hashlib.sha256).digest()
            shown.append(f"{payload}.{base64url(signed)}")
            return shown[-1]

        def shows(reason, why, value):
            value = value.encode() if isinstance(value, str) else value
            return Attempt(reason, why, headers={"Cookie": b"theme=dark; session=" + value, "Origin": ORIGIN})

        good, invalid = session(), "the session is not valid"
        headers = {"Cookie": "session=" + good, "Origin": ORIGIN}
        await (await Client.ready(server, headers=headers)).close()
        payload, signature = good.split(".")
        attempts = {
            "none": Attempt("missing", "sign in first", headers={"Origin": ORIGIN}),
            "of another key": shows("signature", invalid, session("0ther" * 10)),
            "for another cookie": shows("signature", invalid, session(name="admin")),
            "with other claims": shows("signature", invalid, f"{payload[:-4]}AAAA.{signature}"),
            "without its signature": shows("malformed", invalid, payload + "."),
            "with half of its signature": shows("signature", invalid, good[:-19]),
            "wrong": shows("malformed", invalid, "nonsense"),
            "expired": shows("expired", "the session has expired; sign in again", session(expires_at=1)),
            "without an end": shows("claims", invalid, session(expires_at=None)),
            "oversized": shows("too_large", "the session is too long", good * 60),
            "not UTF-8": shows("malformed", invalid, good.encode() + b"\xff"),
        }
        await self.attack(server, attempts, shown)
        # Another site's page sends the same cookie, and a program none of the origins.
        before = await server.metric('tidegate_refusals_total{reason="origin"}')
        raw = await Raw.connect(server)
        await raw.write(upgrade_request("/", {"Cookie": "session=" + good, "Origin": "https://evil.example"}))
        self.assertEqual((await raw.response())[0], 403)
        self.assertEqual(await server.metric('tidegate_refusals_total{reason="origin"}'), before + 1)

    async def test_client_certificates(self):
        tls = {"certificate": "server.pem", "key": "server.key", "client_ca": "ca.pem"}
        sets = [f"tls.{name}={FOLDER / file}" for name, file in tls.items()]
        server = await self.serve_policy("mtls", *sets, "tls.client_auth=optional")

        def shows(reason, why, name=None):
            context = ssl.create_default_context(cafile=FOLDER / "ca.pem")
            context.check_hostname = False
            if name:
                context.load_cert_chain(FOLDER / f"{name}.pem", FOLDER / f"{name}.key")
            return WithClient(reason, why, ssl=context)

        attempts = {
            "none": shows("missing", "a client certificate is needed"),
            "of another CA": shows("issuer", "the client certificate is not of a CA that is known here", "rogue"),
            "expired": shows("expired", "the client certificate has expired", "stale"),
        }
        await self.attack(server, attempts, [])

    async def test_headers_of_a_proxy(self):
        server = await self.serve_policy("proxy_header", "trusted_proxies=127.0.0.1")

        def names(reason, why, user):
            return Attempt(reason, why, headers={"X-Forwarded-User": user})

        attempts = {
            "nobody": Attempt("missing", "the proxy names no user"),
            "two": names("malformed", "the proxy names more than one user", "ada, eve"),
            "oversized": names("too_large", "the user that the proxy names is too long", "a" * 300),
            "not UTF-8": names("malformed", "the user that the proxy names is no text", b"ada\xff"),
        }
        await self.attack(server, attempts, [])
        server = await self.serve_policy("proxy_header", "trusted_proxies=10.0.0.0/8")
        forged = {"X-Forwarded-User": "ada", "X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1"}
        past = Attempt("forbidden", "connect through the proxy", headers=forged, code=4403)
        await self.attack(server, {"past the proxy": past}, [])


if __name__ == "__main__":
    unittest.main()
