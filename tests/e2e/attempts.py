"""What an attacker shows to a server, and how a test looks at what came of it."""

import re

from harness import Client, Raw, ServerTest, frame, upgrade_request

DENIED = 'tidegate_hook_outcomes_total{hook="authenticate",outcome="denied"}'
TEXT = 1


class Attempt:
    """What is shown; what the client is told (None: whatever); and by which reason it is counted."""

    def __init__(self, reason, why, bearer=None, path="/", headers=None, message=None, code=4401):
        self.reason, self.why, self.path, self.message, self.code = reason, why, path, message, code
        self.headers = {**({"Authorization": b"Bearer " + bearer} if bearer else {}), **(headers or {})}

    async def __call__(self, server):
        """The code and reason of the close frame."""
        request = upgrade_request(self.path, {k: v for k, v in self.headers.items() if isinstance(v, str)})
        raw_lines = b"".join(
            name.encode() + b": " + value + b"\r\n" for name, value in self.headers.items() if isinstance(value, bytes)
        )
        raw = await Raw.connect(server)
        await raw.write(request[:-2] + raw_lines + b"\r\n")
        status, _ = await raw.response()
        assert status == 101, status
        if self.message is not None:
            await raw.write(frame(TEXT, self.message))
        return await raw.until_close()


class WithClient(Attempt):
    """The same by the client library, which can do TLS and subprotocols."""

    def __init__(self, reason, why, code=4401, **options):
        super().__init__(reason, why, code=code)
        self.options = options

    async def __call__(self, server):
        return await (await Client.open(server, **self.options)).closed()


class AttackTest(ServerTest):
    async def denials(self, server):
        """How many were denied so far: in all, and by reason."""
        rows = await server.metrics()
        found = (re.fullmatch(r'tidegate_auth_denials_total\{reason="(\w+)"\}', name) for name in rows)
        return rows.get(DENIED, 0), {match[1]: rows[match[0]] for match in found if match}

    async def attack(self, server, attempts, shown):
        """Every attempt is denied and counted by its reason; then no log line and no answer holds a secret."""
        for name, attempt in attempts.items():
            with self.subTest(name):
                count, before = await self.denials(server)
                code, why = await attempt(server)
                self.assertEqual((code, why), (attempt.code, attempt.why or why))
                expected = {**before, attempt.reason: before.get(attempt.reason, 0) + 1}
                self.assertEqual(await self.denials(server), (count + 1, expected))
        self.look_for(server, shown)

    def look_for(self, server, shown):
        texts = [server.log.text(), server.out.text()]
        self.assertIn("conn.", texts[0])  # there is a log to look at
        for path in ("/health", "/metrics", "/policy", "/connections"):
            texts.append(server.request("GET", path)[2])
        for secret in shown:
            for text in texts:
                self.assertNotIn(secret, text)
