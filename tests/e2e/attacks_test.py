"""What attackers show, to each ready-made policy that takes a secret: each attempt is denied with a reason of its
own, is counted, and leaves nothing secret in the log or in the admin interface's answers."""

import asyncio
import base64
import hashlib
import json
import secrets
import time
import unittest

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from attempts import AttackTest, Attempt
from harness import ROOT, Client
from upstream import Upstream

SIGNING_SECRET = "signing-secret-0123456789-abcdefgh"
ORIGIN = "https://app.example"


def base64url(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class Attacks(AttackTest):
    async def test_api_keys(self):
        names = ("good", "expired", "early", "stranger")
        keys = {name: secrets.token_hex(32) for name in names}
        now = int(time.time())
        options = []
        for name, more in (("good", ()), ("expired", ("not_after", now - 1)), ("early", ("not_before", now + 3600))):
            digest = hashlib.sha256(keys[name].encode()).hexdigest()
            options += ["--set", f"options.keys.{name}.user=ada", "--set", f"options.keys.{name}.sha256={digest}"]
            if more:
                options += ["--set", f"options.keys.{name}.{more[0]}={more[1]}"]
        server = await self.serve(ROOT / "policies/api_key.lua", "--log-level", "debug", *options)
        digest = hashlib.sha256(keys["good"].encode()).hexdigest()
        attempts = {
            "wrong": Attempt("unknown", "the API key is unknown", keys["stranger"].encode()),
            "all but the last digit": Attempt("unknown", "the API key is unknown", keys["good"][:-1].encode()),
            "its digest": Attempt("unknown", "the API key is unknown", digest.encode()),
            "expired": Attempt("expired", "the API key has expired", keys["expired"].encode()),
            "not yet valid": Attempt("not_yet_valid", "the API key is not valid yet", keys["early"].encode()),
            "oversized": Attempt("too_large", "the API key is too long", keys["good"].encode() * 5),
            "not UTF-8": Attempt("malformed", "the API key is malformed", headers={"X-Api-Key": b"\xff\xfe" + b"a" * 30}),
            "not UTF-8, in the query": Attempt("malformed", "the API key is malformed", path="/?api_key=%ff%00"),
            "empty": Attempt("malformed", "the API key is malformed", path="/?api_key="),
            "in the query": Attempt("unknown", "the API key is unknown", path="/?api_key=" + keys["stranger"]),
        }
        await self.attack(server, attempts, [*keys.values(), "\\xff"])
        # A key may be used twice at once; a revoked one not at all.
        two = await asyncio.gather(*(Client.ready(server, keys["good"]) for _ in range(2)))
        status, _, text = await server.ask("POST", "/tokens/key:good/revoke")
        self.assertEqual((status, json.loads(text)), (200, {"closed": 2}))
        for client in two:
            self.assertEqual(await client.closed(), (4401, "the token has been revoked"))
        revoked = {"revoked": Attempt("revoked", "the token has been revoked", keys["good"].encode())}
        await self.attack(server, revoked, keys.values())

    async def test_tickets(self):
        server = await self.serve(ROOT / "policies/ticket.lua", "--log-level", "debug", workers=2)
        issued = []

        async def issue(**order):
            body = json.dumps({"user_id": "ada", **order})
            _, _, text = await server.ask("POST", "/ticket", body=body)
            issued.append(json.loads(text)["ticket"])
            return issued[-1]

        def shows(reason, why, ticket, origin=None):
            return Attempt(reason, why, path="/?ticket=" + ticket, headers={"Origin": origin} if origin else None)

        used, short, bound = await issue(), await issue(ttl=0.001), await issue(origin=ORIGIN)
        cut = await issue()
        await (await Client.ready(server, path="/?ticket=" + used)).close()
        wrong = secrets.token_urlsafe(32)

        async def expired():
            client = await Client.open(server, bearer=short)
            return "expired" in (await client.closed())[1]

        await server.eventually("expired", expired)
        again = "the ticket has been used already; ask for another"
        attempts = {
            "wrong": shows("unknown", "the ticket is unknown", wrong),
            "expired": shows("expired", "the ticket has expired; ask for another", short),
            "for another audience": shows("origin", "the ticket is for another origin", bound, "https://evil.example"),
            "the same, by its own": shows("replayed", again, bound, ORIGIN),
            "replayed": shows("replayed", again, used),
            "replayed as a bearer token": Attempt("replayed", again, used.encode()),
            "all but the last digit": shows("unknown", "the ticket is unknown", cut[:-1]),
            "oversized": shows("too_large", "the ticket is too long", used * 200),
            "not UTF-8": shows("malformed", "the ticket is malformed", "%ff%fe"),
            "with a NUL": shows("malformed", "the ticket is malformed", used[:20] + "%00"),
        }
        await self.attack(server, attempts, [*issued, wrong])
        rows = await server.metrics()
        counted = {name: rows.get(f'tidegate_tickets_total{{outcome="{name}"}}', 0) for name in ("replayed", "foreign")}
        self.assertEqual(counted, {"replayed": 3, "foreign": 1})
        # Two at once.
        ticket = await issue()
        ends = await asyncio.gather(*(self.first_word(server, ticket) for _ in range(2)))
        self.assertEqual(sorted(ends), ["connection_ready", again])
        self.look_for(server, issued)

    async def first_word(self, server, ticket):
        client = await Client.open(server, path="/?ticket=" + ticket)
        try:
            return (await client.next())["type"]
        except Exception:
            return (await client.closed())[1]

    async def test_json_web_tokens(self):
        server = await self.serve(
            ROOT / "policies/jwt.lua",
            "--log-level", "debug",
            "--set", f"options.secret={SIGNING_SECRET}",
            "--set", "options.algorithms=HS256",
            "--set", "options.audience=agents",
            "--set", "options.issuer=https://id.example",
        )  # fmt: skip
        shown = [SIGNING_SECRET]
        now = int(time.time())

        def token(key=SIGNING_SECRET, algorithm="HS256", **claims):
            body = {"iss": "https://id.example", "sub": "ada", "aud": "agents", "iat": now, "exp": now + 600, **claims}
            shown.append(jwt.encode({k: v for k, v in body.items() if v is not None}, key, algorithm))
            return shown[-1].encode()

        good = token()
        await (await Client.ready(server, good.decode())).close()
        head, claims, signature = good.decode().split(".")
        attempts = {
            "wrong": ("malformed", b"nonsense"),
            "of another key": ("signature", token("0ther" * 10)),
            "of another algorithm": ("algorithm", token(rsa.generate_private_key(65537, 2048), "RS256")),
            "of no algorithm": ("algorithm", f"{base64url({'alg': 'none'})}.{claims}.".encode()),
            "without its signature": ("signature", f"{head}.{claims}.".encode()),
            "with half of its signature": ("signature", good[:-19]),
            "with other claims": ("signature", f"{head}.{claims[:-4]}AAAA.{signature}".encode()),
            "expired": ("expired", token(exp=now - 60)),
            "not yet valid": ("not_yet_valid", token(nbf=now + 600)),
            "for another audience": ("audience", token(aud="others")),
            "of another issuer": ("issuer", token(iss="https://evil.example")),
            "without an end": ("claims", token(exp=None)),
            "nobody's": ("claims", token(sub=None)),
            "oversized": ("too_large", token(pad="x" * 9000)),
            "not UTF-8": ("malformed", good[:-1] + b"\xff"),
        }
        attempts = {name: Attempt(reason, None, bearer) for name, (reason, bearer) in attempts.items()}
        message = json.dumps({"type": "authenticate", "data": {"token": token(aud="others").decode()}}).encode()
        attempts["in a message"] = Attempt("audience", None, message=message)
        attempts["in a message, no token"] = Attempt("malformed", None, message=b'{"type":"authenticate","data":[]}')
        await self.attack(server, attempts, shown)
        # A token may be used twice at once, and again; a revoked one not.
        replayed = token(jti="t-1").decode()
        two = await asyncio.gather(*(Client.ready(server, replayed) for _ in range(2)))
        status, _, text = await server.ask("POST", "/tokens/t-1/revoke", body='{"ttl": 600}')
        self.assertEqual((status, json.loads(text)), (200, {"closed": 2}))
        for client in two:
            self.assertEqual(await client.closed(), (4401, "the token has been revoked"))
        revoked = {"revoked": Attempt("revoked", "the token has been revoked", replayed.encode())}
        await self.attack(server, revoked, shown)

    async def test_webhook(self):
        state = {"mode": "well"}
        bearer = "session-" + secrets.token_hex(16)

        async def check(exchange):
            if state["mode"] == "broken":
                return await exchange.reply(500, "stack trace with " + bearer)
            asked = json.loads(exchange.body)
            if asked.get("bearer") == bearer:
                return await exchange.reply(200, json.dumps({"identity": {"user_id": "ada"}}), "Content-Type: application/json")
            gone = asked.get("bearer", "").startswith("gone-")
            body = json.dumps({"reason": "the session is over", "code": "expired"}) if gone else ""
            await exchange.reply(403, body, "Content-Type: application/json")

        upstream = await Upstream.start({"/check": check})
        self.addAsyncCleanup(upstream.stop)
        token = "service-" + secrets.token_hex(16)
        server = await self.serve(
            ROOT / "policies/webhook.lua",
            "--log-level", "debug",
            "--set", f"options.url={upstream.url('/check')}",
            "--set", f"options.token={token}",
            "--set", "options.send=bearer,query.sid",
            "--set", "options.failures=3",
            "--set", "options.cooldown=3600",
            "--set", "limits.max_header=64KiB",
            workers=1,
        )  # fmt: skip
        shown = [bearer, token, "stranger-secret", "gone-secret"]
        await (await Client.ready(server, bearer)).close()
        attempts = {
            "wrong": Attempt("denied", "not authenticated", b"stranger-secret"),
            "expired": Attempt("expired", "the session is over", b"gone-secret"),
            "oversized": Attempt("too_large", "the credentials are too long", bearer.encode() * 500),
            "not UTF-8": Attempt("malformed", "the credentials are malformed", path="/?sid=%ff%fe"),
        }
        await self.attack(server, attempts, shown)
        # A service that fails lets nobody in, is left alone after three faults, and its answers stay with it.
        state["mode"] = "broken"
        asked = len(upstream.requests)
        again = "authentication is not available now; try again later"
        faults = {f"fault {i}": Attempt("unavailable", again, bearer.encode(), code=4503) for i in range(6)}
        await self.attack(server, faults, shown)
        self.assertEqual(len(upstream.requests) - asked, 3)


if __name__ == "__main__":
    unittest.main()
