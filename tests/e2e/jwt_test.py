"""Tokens of an independent implementation (PyJWT on OpenSSL), keys and discovery from a real HTTP server."""

import base64
import http.server
import json
import threading
import time
import unittest

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from harness import Client, ROOT, ServerTest

SECRET = "0123456789abcdef" * 4

# Verifies with what the options say and shows what the token comes to.
POLICY = """
local tide = require "tidegate"
local jwt = require "tidegate.jwt"
local o = tide.options
local verifier = jwt.verifier({
  keys = o.secret and { secret = o.secret } or o.url and { url = o.url } or o.key,
  algorithms = { o.algorithm },
  audience = "api",
})
local policy = {}
function policy.authenticate(conn, credentials)
  local claims, why, code = verifier:verify(credentials.bearer)
  if not claims then
    return nil, code .. ": " .. why
  end
  return { user_id = claims.sub, expires_at = claims.exp }
end
return policy
"""

# Signs what it is told, so that PyJWT verifies what we made.
SIGNER = """
local tide = require "tidegate"
local jwt = require "tidegate.jwt"
local policy = {}
function policy.authenticate()
  return { user_id = "signer" }
end
function policy.message(conn, message)
  local options = { key = message.secret and { secret = message.secret } or message.key,
                    algorithm = message.algorithm, kid = "k1", expires_in = 60 }
  conn:send({ type = "token", token = jwt.sign({ sub = "ada", aud = "api" }, options) })
end
return policy
"""

RSA = rsa.generate_private_key(65537, 2048)
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
EC = {name: ec.generate_private_key(curve) for name, curve in CURVES.items()}
ALGORITHMS = [f"{kind}{size}" for kind in ("HS", "RS", "PS", "ES") for size in (256, 384, 512)]


def private_key(algorithm):
    if algorithm.startswith("HS"):
        return SECRET
    return EC[algorithm] if algorithm.startswith("ES") else RSA


def public_pem(key):
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem.decode()


def private_pem(key):
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode()


def token(algorithm, key=None, kid=None, **claims):
    claims = {"sub": "ada", "aud": "api", "exp": int(time.time()) + 600, **claims}
    headers = {"kid": kid} if kid else None
    return jwt.encode(claims, key or private_key(algorithm), algorithm, headers=headers)


def number(value, size):
    return base64.urlsafe_b64encode(value.to_bytes(size, "big")).rstrip(b"=").decode()


def jwk(key, kid):
    """The public half, put together by hand: PyJWT makes none."""
    numbers = key.public_key().public_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        return {"kty": "RSA", "kid": kid, "n": number(numbers.n, 256), "e": "AQAB", "use": "sig"}
    size = (key.key_size + 7) // 8
    curve = f"P-{key.key_size}"
    return {
        "kty": "EC",
        "kid": kid,
        "crv": curve,
        "x": number(numbers.x, size),
        "y": number(numbers.y, size),
    }


class Provider:
    """An HTTP server with files that a test may replace; counts what is asked of it."""

    def __init__(self):
        self.files = {}
        self.asked = []
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                provider.asked.append(self.path)
                body = provider.files.get(self.path)
                text = json.dumps(body or {}).encode()
                self.send_response(200 if body is not None else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Tokens(ServerTest):
    async def verify_with(self, algorithm, text, more=()):
        """The server, and what a client with that token comes to: its user_id or the reason."""
        if algorithm.startswith("HS"):
            options = ("--set", "options.secret=" + SECRET)
        else:
            options = ("--set", "options.key=" + public_pem(private_key(algorithm)))
        return await self.serve(POLICY, *options, "--set", "options.algorithm=" + algorithm, *more)

    async def test_tokens_of_every_algorithm_are_accepted_and_changed_ones_are_not(self):
        for algorithm in ALGORITHMS:
            with self.subTest(algorithm):
                server = await self.verify_with(algorithm, None)
                good = token(algorithm)
                client = await Client.ready(server, good)
                self.assertEqual(client.data["user_id"], "ada")
                await client.close()
                head, claims, signature = good.split(".")
                other = token(algorithm, sub="eve").split(".")[1]
                for bad in (f"{head}.{other}.{signature}", f"{head}.{claims}.", f"{head}.{claims}"):
                    client = await Client.open(server, bad)
                    code, reason = await client.closed()
                    self.assertEqual(code, 4401)
                    self.assertRegex(reason, "^(signature|malformed): ")
                self.assertNotIn(signature[:20], server.log.text())
                server.stop()

    async def test_what_pyjwt_makes_of_our_tokens(self):
        server = await self.serve(SIGNER)
        client = await Client.ready(server)
        for algorithm in ALGORITHMS:
            with self.subTest(algorithm):
                key = private_key(algorithm)
                what = {"secret": key} if key is SECRET else {"key": private_pem(key)}
                await client.send({"type": "sign", "algorithm": algorithm, **what})
                made = (await client.expect("token"))["token"]
                open_key = key if key is SECRET else key.public_key()
                claims = jwt.decode(made, open_key, [algorithm], audience="api")
                self.assertEqual(claims["sub"], "ada")
                self.assertEqual(claims["exp"], claims["iat"] + 60)
                self.assertEqual(jwt.get_unverified_header(made)["kid"], "k1")

    async def test_the_attacks(self):
        server = await self.verify_with("RS256", None)
        pem = public_pem(RSA)
        claims = {"sub": "eve", "aud": "api", "exp": int(time.time()) + 600}

        def raw(header, key=None):
            parts = [json.dumps(part).encode() for part in (header, claims)]
            parts = [base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts]
            text = ".".join(parts)
            if key is None:
                return text + "."
            mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
            signed = base64.urlsafe_b64encode(mac.sign(text.encode(), key)).rstrip(b"=").decode()
            return f"{text}.{signed}"

        rows = {
            "no signature": raw({"alg": "none"}),
            "no signature, with one": raw({"alg": "none"}, b"x"),
            "the public key as a secret": raw({"alg": "HS256"}, pem.encode()),
            "the same as RS256": raw({"alg": "RS256"}, pem.encode()),
            "a key that it brings along": jwt.encode(
                claims, EC["ES256"], "ES256", headers={"jwk": jwk(EC["ES256"], "x")}
            ),
            "another RSA key": token("RS256", rsa.generate_private_key(65537, 2048)),
            "PS256": token("PS256"),
            "for somebody else": token("RS256", aud="others"),
            "expired": token("RS256", exp=int(time.time()) - 60),
        }
        for name, bad in rows.items():
            with self.subTest(name):
                client = await Client.open(server, bad)
                code, reason = await client.closed()
                self.assertEqual(code, 4401)
                self.assertRegex(reason, "^(malformed|algorithm|signature|audience|expired): ")
        client = await Client.ready(server, token("RS256"))
        self.assertEqual(client.data["user_id"], "ada")

    async def test_the_connection_ends_with_its_token(self):
        server = await self.verify_with("ES256", None, ("--set", "limits.expiry_notice=2s"))
        client = await Client.ready(server, token("ES256", exp=int(time.time()) + 3))
        await client.expect("auth_expiring")
        code, reason = await client.closed()
        self.assertEqual(code, 4401)
        self.assertIn("expired", reason)


class Fetched(ServerTest):
    def setUp(self):
        super().setUp()
        self.provider = Provider()
        self.addCleanup(self.provider.stop)

    async def test_keys_are_fetched_once_a_worker_and_anew_when_they_rotate_or_the_policy_is_reloaded(self):
        self.provider.files["/keys"] = {"keys": [jwk(RSA, "1"), {"kty": "OKP", "crv": "Ed25519"}]}
        server = await self.serve(
            POLICY,
            "--set", f"options.url={self.provider.url}/keys",
            "--set", "options.algorithm=RS256",
            workers=1,
        )
        for _ in range(3):
            client = await Client.ready(server, token("RS256", kid="1"))
            self.assertEqual(client.data["user_id"], "ada")
            await client.close()
        self.assertEqual(self.provider.asked, ["/keys"])
        fresh = rsa.generate_private_key(65537, 2048)
        self.provider.files["/keys"] = {"keys": [jwk(RSA, "1"), jwk(fresh, "2")]}
        await Client.ready(server, token("RS256", fresh, kid="2"))
        await Client.ready(server, token("RS256", kid="1"))
        self.assertEqual(self.provider.asked, ["/keys"] * 2)
        # The keys belong to a version of the policy: a reload fetches what is there now.
        self.provider.files["/keys"] = {"keys": [jwk(fresh, "2")]}
        server.write(POLICY + "-- changed\n")
        status, _, _ = await server.ask("POST", "/reload")
        self.assertEqual(status, 200)
        client = await Client.ready(server, token("RS256", fresh, kid="2"))
        self.assertEqual(self.provider.asked, ["/keys"] * 3)
        for _ in range(5):  # who knows no key cannot make the server ask for ever
            client = await Client.open(server, token("RS256", kid="1"))
            self.assertRegex((await client.closed())[1], "^key: ")
        self.assertEqual(self.provider.asked, ["/keys"] * 6)

    async def test_a_provider_that_is_away_lets_nobody_in(self):
        server = await self.serve(
            POLICY,
            "--set", f"options.url={self.provider.url}/nothing",
            "--set", "options.algorithm=RS256",
        )
        client = await Client.open(server, token("RS256", kid="1"))
        code, reason = await client.closed()
        self.assertEqual(code, 4401)
        self.assertEqual(reason, "unavailable: the keys of tokens cannot be had now; try again later")
        await server.wait_log("keys cannot be fetched.*404")  # and who serves is told why

    async def test_the_ready_made_policy_with_a_provider(self):
        issuer = self.provider.url
        self.provider.files["/.well-known/openid-configuration"] = {
            "issuer": issuer,
            "jwks_uri": issuer + "/jwks",
            "id_token_signing_alg_values_supported": ["ES384", "RS256", "HS256"],
        }
        self.provider.files["/jwks"] = {"keys": [jwk(EC["ES384"], "a"), jwk(RSA, "b")]}
        server = await self.serve(
            ROOT / "policies/jwt.lua",
            "--set", f"options.issuer={issuer}",
            "--set", "options.audience=api",
            "--set", "options.roles_claim=scope",
            workers=1,
        )
        client = await Client.ready(server, token("ES384", kid="a", iss=issuer, scope="read write"))
        shown = await server.get(f"/connections/{client.id}")
        self.assertEqual(shown["user_id"], "ada")
        client = await Client.open(server)
        await client.send(
            {"type": "authenticate", "data": {"token": token("RS256", kid="b", iss=issuer)}}
        )
        await client.until("connection_ready")
        client = await Client.open(server, token("ES384", kid="a", iss="https://evil.example"))
        code, reason = await client.closed()
        self.assertEqual((code, reason), (4401, "the token comes from another issuer"))
        self.assertEqual(self.provider.asked, ["/.well-known/openid-configuration", "/jwks"])


if __name__ == "__main__":
    unittest.main()
