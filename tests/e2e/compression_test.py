"""permessage-deflate: what is agreed on, and messages of every kind through clients of other makers."""

import asyncio
import functools
import json
import random
import subprocess
import unittest
import zlib
from pathlib import Path

import harness
from harness import BINARY_FRAME, CLOSE, DEADLINE, PONG, PING, TEXT
from harness import Client, Raw, ServerTest, frame, open_policy, tidegate, upgrade_request
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory as Deflate

CLIENTS = Path(__file__).resolve().parent / "clients"
ECHO = open_policy(
    """
    function policy.text(conn, text) conn:send(text) end
    function policy.binary(conn, bytes) conn:send_binary(bytes) end
    """
)
ANSWERS = open_policy(
    """
    policy.agents = {
      long = function(run, input) return ("a long answer "):rep(400) .. input.message end,
    }
    """
)
# Compressing counts as the script's time, and a sanitizer build takes more of it than the default allows.
ON = (
    "--set", "compression.enabled=true", "--set", "limits.max_message=2MiB",
    "--set", "script.cpu_budget=2s",
)
TAKEOVER = ON + (
    "--set", "compression.server_context_takeover=true",
    "--set", "compression.client_context_takeover=true",
)
SMALL = ON + ("--set", "compression.window_bits=9", "--set", "compression.memory_level=6")
ALL = ON + ("--set", "compression.min_size=0", "--set", "compression.level=1")

RSV1 = 0x40
HELLO = bytes.fromhex("f248cdc9c90700")  # RFC 7692 §7.2.3.1
OFFER = {"Sec-WebSocket-Extensions": "permessage-deflate"}


def deflate(data):
    """The payload of a message, as RFC 7692 §7.2.1 makes it."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    payload = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
    assert payload.endswith(b"\0\0\xff\xff")
    return payload[:-4]


def inflate(payload):
    return zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")


@functools.cache
def messages():
    """Pairs of text and noise, of sizes around everything that a size may decide."""
    rng = random.Random(7)
    pairs = []
    for size in (0, 1, 100, 1023, 1024, 1025, 20000, 70000, 1 << 20):
        text = "".join(rng.choices(("agent ", "delta ", "größe ", "工具 "), k=size // 6 + 1))
        pairs.append((text.encode()[:size].decode(errors="ignore"), rng.randbytes(size)))
    return pairs


class Frames(Raw):
    """Raw, but with the reserved bits of what is read."""

    async def read_whole(self):
        """(first byte, payload) of the next frame."""
        first, second = await asyncio.wait_for(self.reader.readexactly(2), DEADLINE)
        length = second & 0x7F
        if length > 125:
            size = 2 if length == 126 else 8
            length = int.from_bytes(await self.reader.readexactly(size), "big")
        return first, await asyncio.wait_for(self.reader.readexactly(length), DEADLINE)


def peak_kib(server):
    """The most memory that the server has had so far."""
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError("no VmHWM")


class Compression(ServerTest):
    async def test_off_by_default(self):
        server = await self.serve(ECHO)
        raw = await Raw.open(server, headers=OFFER)
        self.assertNotIn("sec-websocket-extensions", raw.head)
        await raw.write(frame(TEXT | RSV1, HELLO))
        self.assertEqual((await raw.until_close())[0], 1002)
        client = await Client.open(server, compression="deflate")
        self.assertEqual(client.extensions, [])
        await client.send("x" * 5000)
        self.assertEqual(await client.receive(), "x" * 5000)
        self.assertEqual(await server.metric('compression_bytes_total{direction="out"}'), 0)

    async def test_what_is_answered_to_offers(self):
        plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        cases = (
            (ON, "permessage-deflate", plain),
            (ON, "permessage-deflate; client_max_window_bits", plain),
            (ON, "permessage-deflate; client_max_window_bits=10", plain + "; client_max_window_bits=10"),
            (ON, "foo, permessage-deflate; server_max_window_bits=8, permessage-deflate", plain),
            (ON, "permessage-deflate; server_max_window_bits=8", None),
            (ON, "permessage-deflate; unknown", None),
            (ON, "x-webkit-deflate-frame", None),
            (TAKEOVER, "permessage-deflate", "permessage-deflate"),
            (
                TAKEOVER,
                'permessage-deflate; server_max_window_bits="11"; server_no_context_takeover',
                "permessage-deflate; server_no_context_takeover; server_max_window_bits=11",
            ),
            (
                SMALL,
                "permessage-deflate; server_max_window_bits=15; client_max_window_bits",
                plain + "; server_max_window_bits=9; client_max_window_bits=9",
            ),
        )
        servers = {}
        for args, offer, answer in cases:
            with self.subTest(offer=offer):
                if args not in servers:
                    servers[args] = await self.serve(ECHO, *args, workers=1)
                raw = await Raw.open(servers[args], headers={"Sec-WebSocket-Extensions": offer})
                self.assertEqual(raw.head.get("sec-websocket-extensions"), answer)

    async def test_a_malformed_offer_is_refused(self):
        server = await self.serve(ECHO, *ON)
        for offer in ("permessage-deflate;", "a b", 'permessage-deflate; x="'):
            raw = await Raw.connect(server)
            await raw.write(upgrade_request(headers={"Sec-WebSocket-Extensions": offer}))
            status, _ = await raw.response()
            self.assertEqual(status, 400, offer)

    async def echo_all(self, server, deflate_options, largest):
        client = await Client.open(
            server, extensions=[Deflate(**deflate_options)], max_size=None
        )
        self.assertEqual([e.name for e in client.extensions], ["permessage-deflate"])
        for text, noise in messages():
            if len(noise) > largest:
                continue
            fragments = [text[i : i + 5000] for i in range(0, len(text) or 1, 5000)]
            for message in (text, noise, text, fragments):
                await client.ws.send(message)
                expected = message if not isinstance(message, list) else text
                received = await client.receive()
                self.assertTrue(received == expected, f"{len(noise)} bytes, {deflate_options}")
        await client.close()
        self.assertEqual(client.ws.close_code, 1000)

    async def test_python_client_of_every_option(self):
        options = (
            {"client_max_window_bits": True},
            {"server_no_context_takeover": True},
            {"client_no_context_takeover": True},
            {"server_max_window_bits": 9, "client_max_window_bits": 9},
            {"server_max_window_bits": 12, "client_max_window_bits": 12, "server_no_context_takeover": True},
            {"compress_settings": {"memLevel": 1, "level": 9}},
        )
        for args in (ON, TAKEOVER, SMALL + TAKEOVER, ALL):
            server = await self.serve(ECHO, *args)
            for deflate_options in options:
                with self.subTest(args=args, options=deflate_options):
                    largest = 1 << 20 if deflate_options is options[0] else 70000
                    await self.echo_all(server, deflate_options, largest)
            plain = await server.metric('tidegate_compression_bytes_total{direction="out",stage="plain"}')
            packed = await server.metric('tidegate_compression_bytes_total{direction="out",stage="compressed"}')
            self.assertGreater(packed, 0)
            self.assertGreater(plain, packed)

    async def test_node_client_of_every_option(self):
        options = (
            True,
            {"threshold": 0},
            {"serverNoContextTakeover": True, "clientNoContextTakeover": True},
            {"serverMaxWindowBits": 10, "clientMaxWindowBits": 10, "threshold": 0},
            {"zlibDeflateOptions": {"level": 1, "memLevel": 9}, "clientMaxWindowBits": 9},
        )
        for args in (ON, TAKEOVER, ALL + SMALL):
            server = await self.serve(ECHO, *args)
            for deflate_options in options:
                with self.subTest(args=args, options=deflate_options):
                    largest = 1 << 20 if deflate_options is options[0] else 65536
                    extensions = await self.node(server, deflate_options, largest)
                    self.assertIn("permessage-deflate", extensions)

    async def node(self, server, deflate_options, largest):
        """What was negotiated by a Node client that got every echo."""
        done = await asyncio.to_thread(
            subprocess.run,
            ["node", str(CLIENTS / "compression.js"), server.url, json.dumps(deflate_options),
             json.dumps([0, 1, 500, 1024, 3000, 65536, largest])],
            capture_output=True,
            text=True,
            timeout=120,
            env=harness.clean_environment({"NODE_PATH": "/usr/share/nodejs"}),
        )
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        return done.stdout

    async def test_short_messages_are_sent_as_they_are(self):
        server = await self.serve(ECHO, *ON, "--set", "compression.min_size=100")
        raw = await Frames.open(server, headers=OFFER)
        for size, first in ((0, 0x81), (99, 0x81), (100, 0xC1), (5000, 0xC1)):
            await raw.write(frame(TEXT, b"x" * size))
            received, payload = await raw.read_whole()
            self.assertEqual(received, first, size)
            self.assertEqual(inflate(payload) if first & RSV1 else payload, b"x" * size)
        noise = random.Random(1).randbytes(3000)
        await raw.write(frame(BINARY_FRAME, noise))
        self.assertEqual(await raw.read_whole(), (0x82, noise))

    async def test_control_frames_are_never_compressed(self):
        server = await self.serve(ECHO, *ALL)
        raw = await Frames.open(server, headers=OFFER)
        await raw.write(frame(TEXT | RSV1, HELLO[:3], fin=False))
        await raw.write(frame(PING, b"p" * 100))
        self.assertEqual(await raw.read_whole(), (0x80 | PONG, b"p" * 100))
        await raw.write(frame(0, HELLO[3:]))
        self.assertEqual(await raw.read_whole(), (0x81, b"Hello"))  # it does not get smaller
        await raw.write(frame(CLOSE, b"\x03\xe8"))
        self.assertEqual((await raw.read_whole())[0], 0x80 | CLOSE)

    async def test_what_breaks_the_rules_ends_the_connection(self):
        server = await self.serve(ECHO, *ON)
        cases = (
            ("RSV1 on a ping", frame(PING | RSV1), 1002),
            ("RSV1 on a continuation", frame(TEXT, b"a", fin=False) + frame(RSV1, b"b"), 1002),
            ("RSV2", frame(TEXT | 0x20, b"a"), 1002),
            ("no DEFLATE data", frame(TEXT | RSV1, b"\x07\x07\x07"), 1002),
            ("cut off", frame(TEXT | RSV1, HELLO[:-2]), 1002),
            ("the window of no message", frame(TEXT | RSV1, bytes.fromhex("f200110000")), 1002),
            ("text that is not UTF-8", frame(TEXT | RSV1, deflate(b"caf\xe9")), 1007),
        )
        for name, data, code in cases:
            with self.subTest(name):
                raw = await Raw.open(server, headers=OFFER)
                await raw.write(data)
                self.assertEqual((await raw.until_close())[0], code)

    async def test_a_bomb_stops_at_the_limit(self):
        server = await self.serve(
            ECHO, "--set", "compression.enabled=true", "--set", "limits.max_message=1MiB", workers=1
        )
        bystander = await Client.open(server)
        bomb = deflate(bytes(1 << 28))
        self.assertLess(len(bomb), 1 << 19)
        before = peak_kib(server)
        for bytes_at_once in (len(bomb), 1000):
            raw = await Raw.open(server, headers=OFFER)
            pieces = [bomb[i : i + bytes_at_once] for i in range(0, len(bomb), bytes_at_once)]
            frames = [
                frame(BINARY_FRAME | RSV1 if i == 0 else 0, piece, fin=i == len(pieces) - 1)
                for i, piece in enumerate(pieces)
            ]
            # The server hangs up in the middle, so not all of it can be written.
            writing = asyncio.ensure_future(raw.write(b"".join(frames)))
            self.assertEqual((await raw.until_close())[0], 1009)
            raw.abort()
            await asyncio.gather(writing, return_exceptions=True)
        self.assertLess(peak_kib(server) - before, 64 * 1024)
        await bystander.send("still there?")
        self.assertEqual(await bystander.receive(), "still there?")

    async def test_connect_offers_it_when_asked(self):
        server = await self.serve(ANSWERS, *ON)
        for more, compressed in (((), False), (("--compress",), True)):
            done = await asyncio.to_thread(
                tidegate, "connect", server.url, "--agent", "long", "World" * 300, *more
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            last = json.loads(done.stdout.splitlines()[-1])
            self.assertTrue(last["data"]["response"].endswith("World"), last)
            for direction in ("in", "out"):
                name = f'tidegate_compression_bytes_total{{direction="{direction}",stage="plain"}}'
                self.assertEqual(await server.metric(name) > 0, compressed, direction)


if __name__ == "__main__":
    unittest.main()
