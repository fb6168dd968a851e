"""RFC 6455 as a server must keep it, rule by rule, with exact bytes against examples/plain.

Every row names its section, what is sent, and all that must come back up to the end of the stream:
nothing more, nothing less, in this order. What a row sends goes out whole, then byte by byte, and the
answer must be the same. A row that ends in a close code for bytes that are not complete shows that the
server does not wait for the rest.
"""

import asyncio
import base64
import codecs
import hashlib
import random
import struct
import unittest
from dataclasses import dataclass, field

from harness import (
    BINARY_FRAME,
    CLOSE,
    DEADLINE,
    PING,
    PONG,
    ROOT,
    TEXT,
    Raw,
    ServerTest,
    frame,
    open_policy,
    upgrade_request,
)

PLAIN = ROOT / "examples/plain"
CONTINUATION = 0
KIB, MIB = 1024, 1024 * 1024
AT_ONCE = 8  # rows under way at a time
BYTEWISE_MAX = 400  # longer rows are cut into this many pieces instead of single bytes
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def close_body(code, reason=b""):
    return struct.pack("!H", code) + reason


def closing(code=1000, reason=b""):
    return frame(CLOSE, close_body(code, reason))


def header(first, length, form=None, mask=b"\0\0\0\0"):
    """The head of a frame, with the length in any form: 7, 16 or 64 bits."""
    if form is None:
        form = 7 if length < 126 else 16 if length < 65536 else 64
    flag = 0 if mask is None else 0x80
    size = {7: struct.pack("!B", flag | (length if form == 7 else 0)),
            16: struct.pack("!BH", flag | 126, length & 0xFFFF),
            64: struct.pack("!BQ", flag | 127, length)}[form]
    return bytes([first]) + size + (mask or b"")


def raw_frame(first, payload=b""):
    """A frame with any first byte; its mask changes nothing."""
    return header(first, len(payload)) + payload


def fragments(opcode, parts):
    """One message in these fragments."""
    last = len(parts) - 1
    return [
        frame(opcode if i == 0 else CONTINUATION, part, fin=i == last)
        for i, part in enumerate(parts)
    ]


def chop(data, size):
    return [data[i : i + size] for i in range(0, len(data), size)] or [b""]


@dataclass
class Row:
    """sent: bytes, or a list of them, written one by one. got: the frames that come back before the close.
    code: of the server's close frame; None: the server must still be there, so this side closes."""

    section: str
    what: str
    sent: object
    got: list = field(default_factory=list)
    code: object = None

    def bytes(self):
        return self.sent if isinstance(self.sent, bytes) else b"".join(self.sent)


async def read_frames(raw):
    """All frames up to the end of the stream, each judged as §5.1 and §5.2 want a server's frames."""
    frames = []
    data = await raw.rest()  # a reset instead of an end raises
    while data:
        first, second = data[0], data[1]
        assert first & 0x70 == 0, f"a reserved bit in {data[:2]!r}"
        assert second & 0x80 == 0, "the server masks"
        length, at = second, 2
        if length == 126:
            length, at = struct.unpack_from("!H", data, 2)[0], 4
            assert length >= 126, "a length that is longer than it must be"
        elif length == 127:
            length, at = struct.unpack_from("!Q", data, 2)[0], 10
            assert length >= 65536, "a length that is longer than it must be"
        assert first & 0x80, "the server fragments"
        assert len(data) >= at + length, "the stream ends inside a frame"
        frames.append((first & 0x0F, data[at : at + length]))
        data = data[at + length :]
    return frames


async def play(server, row, bytewise):
    """Runs a row and returns a complaint, or None."""
    raw = await Raw.open(server)
    try:
        data = row.bytes()
        if row.code is None:
            data += closing(1000)
        if bytewise:
            pieces = chop(data, 1 if len(data) <= BYTEWISE_MAX else -(-len(data) // BYTEWISE_MAX))
        else:
            pieces = [data] if isinstance(row.sent, bytes) else [*row.sent, data[len(row.bytes()) :]]
        for piece in pieces:
            await raw.write(piece)
            await asyncio.sleep(0)
        frames = await read_frames(raw)
    except (ConnectionError, asyncio.TimeoutError, AssertionError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        raw.abort()
    code = 1000 if row.code is None else row.code
    if not frames or frames[-1][0] != CLOSE:
        return f"no close frame: {short(frames)}"
    body = frames[-1][1]
    got_code = struct.unpack("!H", body[:2])[0] if body else 1005
    if frames[:-1] != row.got or got_code != code:
        return f"got {short(frames[:-1])} and close {got_code}, wanted {short(row.got)} and {code}"
    return None


def short(frames):
    return [(opcode, payload if len(payload) < 40 else f"{len(payload)} bytes") for opcode, payload in frames]


class RfcTest(ServerTest):
    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)  # making rows takes a while, and that is all right

    async def plain(self, *args):
        return await self.serve(PLAIN, *args, workers=1)

    async def check(self, rows, *args, ways=(False, True)):
        """Plays all rows in all ways against one server."""
        server = await self.plain("--log-level", "error", *args)
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(row, bytewise):
            async with gate:
                complaint = await play(server, row, bytewise)
            if complaint:
                return f"§{row.section} {row.what}{' (in bytes)' if bytewise else ''}: {complaint}"

        complaints = await asyncio.gather(*(one(row, way) for row in rows for way in ways))
        bad = [complaint for complaint in complaints if complaint]
        self.assertEqual(bad, [], f"{len(bad)} of {len(complaints)} rows")
        self.assertGreater(len(complaints), 0)


# --- §4, the opening handshake ------------------------------------------------------------------------------
def request(lines, first="GET / HTTP/1.1"):
    return ("\r\n".join([first, *lines]) + "\r\n\r\n").encode()


GOOD = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def head(first="GET / HTTP/1.1", extra=(), **changes):
    """A good request but for changes: a name with _ for - ; None leaves it out, a tuple sends it repeatedly."""
    lines = []
    wanted = dict(GOOD)
    for name, value in changes.items():
        wanted[name.replace("_", "-")] = value
    for name, value in wanted.items():
        for single in value if isinstance(value, tuple) else (value,):
            if single is not None:
                lines.append(f"{name}: {single}")
    return request([*lines, *extra], first)


def key_of(count):
    return base64.b64encode(bytes(range(count))).decode()


HANDSHAKES = (
    # section, what, request, status
    ("4.2.1-1", "a GET", head(), 101),
    ("4.2.1-1", "a resource name with a query", head("GET /a/b?c=d&e HTTP/1.1"), 101),
    ("4.2.1-1", "an absolute URI", head("GET http://localhost/chat HTTP/1.1"), 101),
    ("4.2.1-1", "POST", head("POST / HTTP/1.1"), 405),
    ("4.2.1-1", "PUT", head("PUT / HTTP/1.1"), 405),
    ("4.2.1-1", "HTTP/1.0", head("GET / HTTP/1.0"), 505),
    ("4.2.1-1", "HTTP/0.9", head("GET / HTTP/0.9"), (400, 505)),
    ("4.2.1-1", "no version", head("GET /"), (400, 505)),
    ("4.2.1-1", "no target", head("GET HTTP/1.1"), 400),
    ("4.2.1-1", "a fragment in the target (§3)", head("GET /#a HTTP/1.1"), 400),
    ("4.2.1-2", "no Host", head(Host=None), 400),
    ("4.2.1-2", "an empty Host", head(Host=""), 400),
    ("4.2.1-2", "two Hosts", head(Host=("a", "b")), 400),
    ("4.2.1-2", "a Host with a port", head(Host="localhost:8080"), 101),
    ("4.2.1-3", "no Upgrade", head(Upgrade=None), 426),
    ("4.2.1-3", "an empty Upgrade", head(Upgrade=""), 426),
    ("4.2.1-3", "another protocol", head(Upgrade="h2c"), 426),
    ("4.2.1-3", "a longer word", head(Upgrade="websockets"), 426),
    ("4.2.1-3", "in any case", head(Upgrade="WebSocket"), 101),
    ("4.2.1-3", "in capitals", head(Upgrade="WEBSOCKET"), 101),
    ("4.2.1-3", "in a list", head(Upgrade="h2c, websocket"), 101),
    ("4.2.1-3", "in two lines", head(Upgrade=("h2c", "websocket")), 101),
    ("4.2.1-4", "no Connection", head(Connection=None), 400),
    ("4.2.1-4", "close", head(Connection="close"), 400),
    ("4.2.1-4", "a longer word", head(Connection="upgraded"), 400),
    ("4.2.1-4", "in any case", head(Connection="uPGRADE"), 101),
    ("4.2.1-4", "in a list", head(Connection="keep-alive, Upgrade"), 101),
    ("4.2.1-4", "in a list without spaces", head(Connection="keep-alive,Upgrade"), 101),
    ("4.2.1-4", "in two lines", head(Connection=("keep-alive", "Upgrade")), 101),
    ("4.2.1-5", "no key", head(Sec_WebSocket_Key=None), 400),
    ("4.2.1-5", "an empty key", head(Sec_WebSocket_Key=""), 400),
    ("4.2.1-5", "two keys", head(Sec_WebSocket_Key=(key_of(16), key_of(16))), 400),
    ("4.2.1-5", "a key of 15 bytes", head(Sec_WebSocket_Key=key_of(15)), 400),
    ("4.2.1-5", "a key of 17 bytes", head(Sec_WebSocket_Key=key_of(17)), 400),
    ("4.2.1-5", "a key of 18 bytes", head(Sec_WebSocket_Key=key_of(18)), 400),
    ("4.2.1-5", "a key without padding", head(Sec_WebSocket_Key=key_of(16)[:-2]), 400),
    ("4.2.1-5", "a key that is no base64", head(Sec_WebSocket_Key="!" * 22 + "=="), 400),
    ("4.2.1-5", "a key with a space inside", head(Sec_WebSocket_Key="AAAAAAAAAA AAAAAAAAAAA=="), 400),
    ("4.2.1-5", "white space around the key", head(Sec_WebSocket_Key="  " + key_of(16) + "\t"), 101),
    ("4.2.1-6", "no version", head(Sec_WebSocket_Version=None), 426),
    *(
        ("4.2.1-6", f"version {version}", head(Sec_WebSocket_Version=version), 426)
        for version in ("0", "7", "8", "12", "14", "130", "013", "-13", "13.0", "thirteen", "255")
    ),
    ("4.2.1-6", "two versions", head(Sec_WebSocket_Version=("8", "13")), 400),
    ("4.2.1-7", "an Origin", head(Origin="https://example.org"), 101),
    ("4.2.1-8", "a subprotocol that is not spoken", head(Sec_WebSocket_Protocol="chat"), 101),
    ("4.2.1-9", "an unknown extension", head(Sec_WebSocket_Extensions="x-mine; a=1; b=\"c\""), 101),
    ("4.2.1-9", "several extensions", head(Sec_WebSocket_Extensions=("x-a", "x-b, x-c")), 101),
    ("9.1", "an extension list that is none", head(Sec_WebSocket_Extensions="x-a; ="), 400),
    ("9.1", "an extension without a name", head(Sec_WebSocket_Extensions="; a"), 400),
    ("4.2.1-10", "unknown headers and cookies", head(Cookie="a=b", X_Other="c"), 101),
    ("4.2.1", "header names in any case", request(f"{n.upper()}: {v}" for n, v in GOOD.items()), 101),
    ("4.2.1", "no space after the colon", request(f"{n}:{v}" for n, v in GOOD.items()), 101),
    ("4.2.1", "an empty line first (RFC 9112 §2.2)", b"\r\n" + head(), 101),
    ("4.2.1", "space before the colon", head(extra=["X-Bad : 1"]), 400),
    ("4.2.1", "a folded line", head(extra=["X-Bad: 1", " 2"]), 400),
    ("4.2.1", "a NUL", head(extra=["X-Bad: a\0b"]), 400),
    ("4.2.1", "a body", head(extra=["Content-Length: 5"]) + b"hello", 400),
    ("4.2.1", "a chunked body", head(extra=["Transfer-Encoding: chunked"]) + b"0\r\n\r\n", 400),
    ("4.2.1", "no HTTP at all", b"hello, are you there?\r\n\r\n", 400),
    ("4.2.1", "a head without an end", head(extra=["X-Large: " + "x" * 70000]), 431),
)


class Handshake(RfcTest):
    async def answer(self, server, data):
        raw = await Raw.connect(server)
        await raw.write(data)
        lines = (await raw.reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {}
        for line in lines[1:-1]:
            name, value = line.split(": ", 1)
            headers[name.lower()] = ", ".join(filter(None, (headers.get(name.lower()), value)))
        return raw, int(lines[0].removeprefix("HTTP/1.1 ").split()[0]), headers

    async def judge(self, server, row):
        section, what, data, expected = row
        with self.subTest(f"§{section} {what}"):
            raw, status, headers = await self.answer(server, data)
            self.assertIn(status, expected if isinstance(expected, tuple) else (expected,))
            if status == 101:
                self.assertEqual(headers["upgrade"].lower(), "websocket")
                self.assertEqual(headers["connection"].lower(), "upgrade")
                self.assertNotIn("sec-websocket-protocol", headers)
                self.assertNotIn("sec-websocket-extensions", headers)
                self.assertNotIn("content-length", headers)
                await raw.write(frame(TEXT, "up") + closing())
                self.assertEqual(await read_frames(raw), [(TEXT, b"up"), (CLOSE, close_body(1000))])
            else:
                # §4.2.2: an answer, and then the end: what follows a refusal is never taken as frames.
                if status == 426:
                    self.assertEqual(headers["sec-websocket-version"], "13")
                self.assertIn("close", headers["connection"].lower())
                body = await raw.reader.readexactly(int(headers["content-length"]))
                self.assertTrue(body.endswith(b"\n") and len(body) > 5, body)
                await raw.write(frame(TEXT, "not up"))
                self.assertEqual(await raw.rest(), b"")
            raw.close()

    async def test_every_header_of_the_opening_handshake(self):
        server = await self.plain("--log-level", "error")
        for row in HANDSHAKES:
            await self.judge(server, row)

    async def test_the_answer_to_the_key(self):
        """§4.2.2-5.4, and the key of §1.3."""
        server = await self.plain()
        keys = [GOOD["Sec-WebSocket-Key"], *(base64.b64encode(random.randbytes(16)).decode() for _ in range(20))]
        for key in keys:
            raw, status, headers = await self.answer(server, head(Sec_WebSocket_Key=key))
            expected = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
            self.assertEqual((status, headers["sec-websocket-accept"]), (101, expected))
            raw.abort()
        expected = base64.b64encode(hashlib.sha1(keys[0].encode() + GUID).digest()).decode()
        self.assertEqual(expected, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")

    async def test_subprotocols_are_chosen_from_what_was_offered(self):
        """§4.2.2-5.5: at most one, and one that was offered."""
        server = await self.plain()
        for offered, chosen in (
            (("tidegate.v1",), "tidegate.v1"),
            (("chat, tidegate.v1",), "tidegate.v1"),
            (("chat", "tidegate.v1, other"), "tidegate.v1"),
            (("Tidegate.V1",), None),
            (("tidegate.v10",), None),
            (("chat",), None),
        ):
            with self.subTest(offered=offered):
                raw, status, headers = await self.answer(server, head(Sec_WebSocket_Protocol=offered))
                self.assertEqual((status, headers.get("sec-websocket-protocol")), (101, chosen))
                raw.abort()

    async def test_frames_right_behind_the_request_are_read_after_it(self):
        server = await self.plain()
        early = frame(TEXT, "early") + frame(BINARY_FRAME, b"bird")
        for cut in (0, 1, 2, 5, 6, 11, 14, len(early)):
            raw = await Raw.connect(server)
            await raw.write(head() + early[:cut])
            await raw.write(early[cut:])
            self.assertEqual((await raw.response())[0], 101)
            self.assertEqual(await raw.read_frame(), (TEXT, b"early"))
            self.assertEqual(await raw.read_frame(), (BINARY_FRAME, b"bird"))
            await raw.write(closing())
            self.assertEqual(await read_frames(raw), [(CLOSE, close_body(1000))])

    async def test_messages_and_a_close_right_behind_the_request(self):
        """§5.5.1: what came before the close frame is answered before ours."""
        server = await self.plain()
        early = frame(TEXT, "early") + frame(BINARY_FRAME, b"bird") + frame(TEXT, "worm") + closing(1000, b"bye")
        answers = [(TEXT, b"early"), (BINARY_FRAME, b"bird"), (TEXT, b"worm"), (CLOSE, close_body(1000, b"bye"))]
        for cut in (0, 1, 6, 11, 14, len(early) - 1, len(early)):
            raw = await Raw.connect(server)
            await raw.write(head() + early[:cut])
            await raw.write(early[cut:])
            self.assertEqual((await raw.response())[0], 101)
            self.assertEqual(await read_frames(raw), answers)
            raw.close()

    async def test_a_message_right_behind_the_request_and_then_the_end_of_the_stream(self):
        server = await self.plain()
        raw = await Raw.connect(server)
        await raw.write(head() + frame(TEXT, "early") + frame(TEXT, "bird"))
        raw.writer.write_eof()
        self.assertEqual((await raw.response())[0], 101)
        self.assertEqual(await read_frames(raw), [(TEXT, b"early"), (TEXT, b"bird")])
        raw.close()

    async def test_a_request_that_arrives_in_pieces(self):
        server = await self.plain()
        for size in (1, 2, 3, 7, 50):
            raw = await Raw.connect(server)
            for piece in chop(head(), size):
                await raw.write(piece)
                await asyncio.sleep(0)
            self.assertEqual((await raw.response())[0], 101)
            raw.abort()


# --- §5, data framing -----------------------------------------------------------------------------------------
def echo_rows():
    """§5.2: every form of the length, text and binary."""
    sizes = (0, 1, 2, 124, 125, 126, 127, 128, 1000, 65534, 65535, 65536, 65537, 70000)
    for size in sizes:
        text = (b"*" * size, ("äöü€" * size).encode()[: size - size % 9])
        for payload in set(text):
            yield Row("5.2", f"text of {len(payload)} bytes", frame(TEXT, payload), [(TEXT, payload)])
        payload = random.Random(size).randbytes(size)
        yield Row("5.2", f"binary of {size} bytes", frame(BINARY_FRAME, payload), [(BINARY_FRAME, payload)])


def masking_rows():
    for opcode in (TEXT, BINARY_FRAME, CONTINUATION, PING, PONG, CLOSE):
        yield Row("5.1", f"opcode {opcode} without mask", frame(opcode, b"ab", mask=None), [], 1002)
        yield Row("5.1", f"opcode {opcode} without mask, only its head", header(0x80 | opcode, 5, mask=None), [], 1002)
    yield Row("5.1", "a good message before it is still answered",
              frame(TEXT, "one") + frame(TEXT, "two", mask=None) + frame(TEXT, "three"), [(TEXT, b"one")], 1002)
    for key in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x80\0\0\x01", b"abcd"):
        for size in (1, 3, 4, 5, 8, 17, 63, 300):
            payload = bytes(i * 7 % 256 for i in range(size))
            yield Row("5.3", f"mask {key!r} on {size} bytes", frame(BINARY_FRAME, payload, mask=key),
                      [(BINARY_FRAME, payload)])


def reserved_rows():
    before = frame(TEXT, "one")
    for bits in range(1, 8):
        for opcode in (TEXT, BINARY_FRAME, PING, PONG, CLOSE):
            yield Row("5.2", f"reserved bits {bits} on opcode {opcode}",
                      before + raw_frame(0x80 | bits << 4 | opcode, b"\x03\xe8") + frame(PING, "p"),
                      [(TEXT, b"one")], 1002)
        yield Row("5.2", f"reserved bits {bits} on a fragment",
                  frame(TEXT, "a", fin=False) + raw_frame(0x80 | bits << 4, b"b"), [], 1002)
    for opcode in (*range(3, 8), *range(11, 16)):
        for payload in (b"", b"reserved"):
            yield Row("5.2", f"opcode {opcode} with {len(payload)} bytes",
                      before + raw_frame(0x80 | opcode, payload) + frame(PING, "p"), [(TEXT, b"one")], 1002)
        yield Row("5.2", f"opcode {opcode} inside a fragmented message",
                  frame(TEXT, "a", fin=False) + raw_frame(0x80 | opcode), [], 1002)


def length_rows():
    for opcode in (TEXT, BINARY_FRAME):
        first = 0x80 | opcode
        for length in (0, 1, 125):
            yield Row("5.2", f"{length} in 16 bits", header(first, length, 16) + b"a" * length, [], 1002)
        for length in (0, 125, 126, 65535):
            yield Row("5.2", f"{length} in 64 bits", header(first, length, 64) + b"a" * length, [], 1002)
        yield Row("5.2", "2^63", header(first, 1 << 63, 64), [], 1002)
        yield Row("5.2", "2^64 - 1", header(first, (1 << 64) - 1, 64), [], 1002)
        yield Row("5.2", "2^63 - 1", header(first, (1 << 63) - 1, 64), [], 1009)
        yield Row("7.4.1", "one byte more than is taken: known from the head", header(first, MIB + 1), [], 1009)
    yield Row("7.4.1", "too much with a later fragment", [
        frame(BINARY_FRAME, b"a" * MIB, fin=False), header(0x80, 1)], [], 1009)
    yield Row("5.2", "a 16-bit length on a fragment", frame(TEXT, "a", fin=False) + header(0x80, 5, 16), [], 1002)


def control_rows():
    for size in (0, 1, 5, 124, 125):
        payload = bytes(range(size))
        yield Row("5.5.2", f"ping of {size} bytes", frame(PING, payload), [(PONG, payload)])
        yield Row("5.5.3", f"pong that nobody asked for, {size} bytes", frame(PONG, payload), [])
    yield Row("5.5.2", "ping of any bytes", frame(PING, b"\0\xff\xfe\xfd\xfc"), [(PONG, b"\0\xff\xfe\xfd\xfc")])
    yield Row("5.5.3", "a pong and then a ping", frame(PONG, "a") + frame(PING, "b"), [(PONG, b"b")])
    pings = [b"payload %d" % i for i in range(10)]
    yield Row("5.5.2", "ten pings", b"".join(frame(PING, p) for p in pings), [(PONG, p) for p in pings])
    for opcode in (PING, PONG, CLOSE):
        yield Row("5.5", f"control {opcode} over 125 bytes",
                  header(0x80 | opcode, 126) + b"\x03\xe8" + b"a" * 124, [], 1002)
        yield Row("5.5", f"control {opcode} with a 16-bit length: known from the head", header(0x80 | opcode, 126), [], 1002)
        yield Row("5.5", f"control {opcode} with a 64-bit length", header(0x80 | opcode, 1, 64), [], 1002)
        yield Row("5.5", f"control {opcode} fragmented",
                  frame(opcode, b"\x03\xe8", fin=False) + frame(CONTINUATION, "b"), [], 1002)
        yield Row("5.5", f"control {opcode} fragmented: known from the head", header(opcode, 5), [], 1002)


def fragment_rows():
    both = [(TEXT, b"onetwo")]
    one, two = fragments(TEXT, [b"one", b"two"])
    yield Row("5.4", "two fragments", one + two, both)
    yield Row("5.4", "two fragments, two writes", [one, two], both)
    yield Row("5.4", "a ping between", one + frame(PING, "p") + two, [(PONG, b"p"), *both])
    yield Row("5.4", "a pong between", one + frame(PONG, "p") + two, both)
    yield Row("5.4", "pings around every fragment", b"".join(
        part + frame(PING, b"%d" % i) for i, part in enumerate([one, two])), [(PONG, b"0"), *both, (PONG, b"1")])
    five = [b"a" * n for n in (0, 1, 126, 0, 70000)]
    for opcode in (TEXT, BINARY_FRAME):
        yield Row("5.4", f"five fragments of opcode {opcode}, two of them empty", fragments(opcode, five),
                  [(opcode, b"".join(five))])
        yield Row("5.4", f"opcode {opcode}: all fragments empty", fragments(opcode, [b"", b"", b""]), [(opcode, b"")])
        yield Row("5.4", f"opcode {opcode}: one fragment, the end empty", fragments(opcode, [b"a", b""]), [(opcode, b"a")])
    yield Row("5.4", "many fragments with pings", [
        part + frame(PING, b"%d" % i) for i, part in enumerate(fragments(TEXT, [b"%d," % i for i in range(50)]))],
        [*((PONG, b"%d" % i) for i in range(49)), (TEXT, b"".join(b"%d," % i for i in range(50))), (PONG, b"49")])
    for fin in (True, False):
        lost = frame(CONTINUATION, "lost", fin=fin)
        name = f"a continuation of nothing, fin={fin}"
        yield Row("5.4", name, lost + frame(TEXT, "x"), [], 1002)
        yield Row("5.4", name + ": known from its head", header(0x80 if fin else 0, 9), [], 1002)
        yield Row("5.4", name + ", after a whole message", frame(TEXT, "x") + lost, [(TEXT, b"x")], 1002)
        yield Row("5.4", name + ", after a fragmented message", one + two + lost, both, 1002)
    for opcode in (TEXT, BINARY_FRAME):
        for fin in (True, False):
            yield Row("5.4", f"a new message {opcode} in a fragmented one, fin={fin}",
                      one + frame(opcode, "new", fin=fin), [], 1002)
        yield Row("5.4", f"a new message {opcode} behind a ping", one + frame(PING, "p") + frame(opcode, "n"),
                  [(PONG, b"p")], 1002)
    yield Row("5.4", "messages one after the other", one + two + frame(BINARY_FRAME, b"\xff") + one + two,
              [*both, (BINARY_FRAME, b"\xff"), *both])


class Framing(RfcTest):
    async def test_payload_lengths(self):
        await self.check(list(echo_rows()))

    async def test_masking(self):
        await self.check(list(masking_rows()))

    async def test_reserved_bits_and_opcodes(self):
        await self.check(list(reserved_rows()))

    async def test_forms_of_the_length(self):
        await self.check(list(length_rows()))

    async def test_control_frames(self):
        await self.check(list(control_rows()))

    async def test_fragments(self):
        await self.check(list(fragment_rows()))

    async def test_a_message_cut_at_every_place(self):
        """The same bytes in two writes, cut everywhere: the second goes out after the first had an effect."""
        server = await self.plain("--log-level", "error")
        data = frame(TEXT, "äh", fin=False) + frame(PING, "p") + frame(CONTINUATION, b"!" * 130)
        for cut in range(1, len(data)):
            raw = await Raw.open(server)
            await raw.write(frame(PING, "first") + data[:cut])
            self.assertEqual(await raw.read_frame(), (PONG, b"first"))
            await raw.write(data[cut:] + closing())
            self.assertEqual(await read_frames(raw), [(PONG, b"p"), (TEXT, "äh".encode() + b"!" * 130),
                                                      (CLOSE, close_body(1000))])


# --- §8.1, UTF-8 ------------------------------------------------------------------------------------------------
GOOD_TEXT = [
    "κόσμε".encode(),
    "Hello-µ@ßöäüàá-UTF-8!!".encode(),
    *(chr(point).encode() for point in (
        0, 0x7F, 0x80, 0x7FF, 0x800, 0xFFF, 0x1000, 0xD7FF, 0xE000, 0xFFFD, 0xFFFE, 0xFFFF, 0xFDD0, 0xFDEF,
        0xFEFF, 0x10000, 0x1FFFE, 0x3FFFF, 0x40000, 0xFFFFF, 0x100000, 0x10FFFD, 0x10FFFF)),
    "a€𝄞".encode() * 40,
]


def first_bad(data):
    """How many bytes show that this is not UTF-8, whatever follows; None: it may still become it."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    for i in range(len(data)):
        try:
            decoder.decode(data[i : i + 1])
        except UnicodeDecodeError:
            return i + 1
    return None


def bad_sequences():
    """Every kind of wrong byte behind every kind of lead byte."""
    seconds = (0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF)
    leads = (0x80, 0x81, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3,
             0xF4, 0xF5, 0xF8, 0xFC, 0xFE, 0xFF)
    candidates = [bytes([lead, second]) for lead in leads for second in seconds]
    tails = (0x00, 0x7F, 0xC0, 0xE2, 0xFF)
    candidates += [b"\xe2\x82" + bytes([b]) for b in tails] + [b"\xf0\x9f\x98" + bytes([b]) for b in tails]
    candidates += [b"\xf0\x9f" + bytes([b]) for b in tails]
    candidates += ["κόσμε".encode() + b"\xed\xa0\x80edited", "κόσμε".encode() + b"\xf4\x90\x80\x80edited"]
    found = {data[: first_bad(data)] for data in candidates if first_bad(data) is not None}
    return sorted(found)


def utf8_rows():
    for text in GOOD_TEXT:
        yield Row("8.1", f"{text[:12]!r} whole", frame(TEXT, text), [(TEXT, text)])
        if len(text) < 40:
            yield Row("8.1", f"{text!r} in fragments of a byte", b"".join(fragments(TEXT, chop(text, 1))), [(TEXT, text)])
        for cut in range(1, min(len(text), 8)):
            yield Row("8.1", f"{text[:12]!r} in fragments cut at {cut}",
                      b"".join(fragments(TEXT, [text[:cut], text[cut:]])), [(TEXT, text)])
    for text in ("é".encode(), "€".encode(), "𝄞".encode()):
        for cut in range(1, len(text)):
            yield Row("8.1", f"{text!r} ends after {cut} bytes", frame(TEXT, b"ok" + text[:cut]), [], 1007)
            yield Row("8.1", f"{text!r} ends after {cut} bytes, in fragments",
                      b"".join(fragments(TEXT, [b"ok" + text[:cut], b""])), [], 1007)
            yield Row("8.1", f"{text!r} is cut by a ping only after {cut} bytes",
                      frame(TEXT, text[:cut], fin=False) + frame(PING, "p") + frame(CONTINUATION, text[cut:]),
                      [(PONG, b"p"), (TEXT, text)])


def bad_utf8_rows():
    for bad in bad_sequences():
        text = b"ok" + bad
        yield Row("8.1", f"{bad!r} in a whole message", frame(TEXT, text + b"more"), [], 1007)
        yield Row("8.1", f"{bad!r} in a frame of which half is there", header(0x81, 500) + text, [], 1007)
        yield Row("8.1", f"{bad!r} in the first fragment", frame(TEXT, text, fin=False), [], 1007)
        yield Row("8.1", f"{bad!r} across fragments",
                  frame(TEXT, text[:-1], fin=False) + frame(CONTINUATION, text[-1:], fin=False), [], 1007)
        yield Row("8.1", f"{bad!r} across fragments, in a frame of which a byte is there",
                  frame(TEXT, text[:-1], fin=False) + header(0, 300) + text[-1:], [], 1007)


class Utf8(RfcTest):
    async def test_good_text_is_taken_in_any_pieces(self):
        await self.check(list(utf8_rows()))

    async def test_bad_text_is_refused_with_its_first_bad_byte(self):
        self.assertGreater(len(bad_sequences()), 90)
        await self.check(list(bad_utf8_rows()), ways=(False,))

    async def test_bytes_of_a_binary_message_are_not_judged(self):
        bad = b"".join(bad_sequences())
        await self.check([
            Row("5.6", "binary", frame(BINARY_FRAME, bad), [(BINARY_FRAME, bad)]),
            Row("5.6", "binary in fragments", fragments(BINARY_FRAME, chop(bad, 3)), [(BINARY_FRAME, bad)]),
            Row("5.5.2", "ping", frame(PING, bad[:125]), [(PONG, bad[:125])]),
        ])


# --- §5.5.1 and §7, closing ---------------------------------------------------------------------------------------
MAY_BE_SENT = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


def close_rows():
    edges = {0, 1, 999, 1015, 1016, 1099, 1100, 1999, 2000, 2999, 3000, 3001, 3999, 4000, 4001, 4999, 5000, 32768, 65535}
    for code in sorted({*range(1000, 1016), *edges}):
        good = code in MAY_BE_SENT
        for reason in (b"", b"why"):
            yield Row("7.4", f"code {code} with {len(reason)} bytes of reason", closing(code, reason), [],
                      code if good else 1002)
    yield Row("5.5.1", "no body: none comes back", frame(CLOSE), [], 1005)
    yield Row("5.5.1", "a body of one byte", frame(CLOSE, b"\x03"), [], 1002)
    yield Row("5.5.1", "a body of one byte, which an earlier frame would make whole",
              frame(PING, b"a\xe8") + frame(CLOSE, b"\x03"), [(PONG, b"a\xe8")], 1002)
    for reason in (b"a" * 123, "ä".encode() * 61, b"\0\n\"", "𝄞".encode()):
        yield Row("5.5.1", f"a reason of {len(reason)} bytes", closing(1000, reason), [], 1000)
    for bad in (b"\xff", b"\xce", "κόσμε".encode() + b"\xed\xa0\x80", b"a" * 122 + b"\xc3"):
        yield Row("7.1.6", f"a reason that is not UTF-8: {bad[-4:]!r}", closing(1000, bad), [], 1007)
    yield Row("5.5.1", "a message and then a close", frame(TEXT, "a") + closing(1000), [(TEXT, b"a")], 1000)
    large = b"*" * 262144
    yield Row("5.5.1", "a long message and then a close, a ping after it",
              frame(TEXT, large) + closing(1000) + frame(PING), [(TEXT, large)], 1000)
    for name, after in (
        ("a second close", closing(1001)),
        ("a ping", frame(PING, "p")),
        ("a message", frame(TEXT, "late")),
        ("a bad frame", raw_frame(0xFF, b"a")),
        ("noise", bytes(range(256)) * 20),
        ("a lot", frame(BINARY_FRAME, b"a" * 300000) * 2),
    ):
        yield Row("5.5.1", f"{name} after a close is not read", closing(1000) + after, [], 1000)
    begun = frame(TEXT, "begun", fin=False)
    yield Row("5.5.1", "a close inside a fragmented message", begun + closing(1001) + frame(CONTINUATION, "end"), [], 1001)
    yield Row("7.1.7", "a lot behind a bad frame: the close still arrives",
              raw_frame(0x83) + frame(BINARY_FRAME, b"a" * 300000) * 2, [], 1002)


class Closing(RfcTest):
    async def test_codes_and_reasons(self):
        await self.check(list(close_rows()))

    async def test_the_server_ends_the_connection_while_this_side_is_open(self):
        """§7.1.1: the server is the first to close the TCP connection, after a clean and after a bad end."""
        server = await self.plain()
        for sent, code in ((closing(1000), 1000), (frame(CLOSE), 1005), (raw_frame(0x83), 1002)):
            raw = await Raw.open(server)
            await raw.write(sent)
            self.assertEqual((await raw.until_close())[0], code)
            self.assertIsNone(await raw.read_frame())
            self.assertFalse(raw.writer.is_closing())
            raw.abort()

    async def test_peers_that_end_only_their_side(self):
        """§7.1.5: without a close frame it is 1006, whatever was under way; answers due still leave."""
        server = await self.plain("--set", "limits.close_timeout=1h")
        for name, sent, expected in (
            ("at rest", b"", []),
            ("inside a head", b"\x81", []),
            ("inside a frame", frame(TEXT, "unfinished")[:-3], []),
            ("inside a fragmented message", frame(TEXT, "begun", fin=False), []),
            ("after a message", frame(TEXT, "asked"), [(TEXT, b"asked")]),
            ("after a long message", frame(TEXT, b"l" * MIB), [(TEXT, b"l" * MIB)]),
            ("after a close", closing(1000), [(CLOSE, close_body(1000))]),
            ("after a bad frame", raw_frame(0x83), [(CLOSE, None)]),
        ):
            with self.subTest(name):
                raw = await Raw.open(server)
                await raw.write(sent)
                raw.writer.write_eof()
                frames = await read_frames(raw)
                if expected and expected[-1][1] is None:
                    self.assertEqual(frames[-1][1][:2], close_body(1002))
                else:
                    self.assertEqual(short(frames), short(expected))
                raw.close()

    async def test_peers_that_vanish(self):
        server = await self.plain()
        for sent in (b"", b"\x81", frame(TEXT, "x")[:-1], frame(TEXT, b"x" * 200000), closing(1000)):
            raw = await Raw.open(server)
            await raw.write(sent)
            raw.abort()

        async def gone():
            return await server.connections() == []

        await server.eventually("no connection left", gone)

    async def test_after_the_servers_close_only_the_peers_close_counts(self):
        """§5.5.1: frames that were under way are read and dropped; the answer ends it."""
        server = await self.serve(open_policy(
            """
            function policy.text(conn, text)
              if text == "bye" then conn:close(4000, "bye") else conn:send(text) end
            end
            """), "--set", "limits.close_timeout=1h", workers=1)
        for name, late in (
            ("nothing", b""),
            ("a message", frame(TEXT, "late")),
            ("a ping", frame(PING, "late")),
            ("a message in pieces", frame(TEXT, "a", fin=False) + frame(CONTINUATION, "b")),
            ("a lot", frame(BINARY_FRAME, b"a" * 300000)),
        ):
            with self.subTest(name):
                raw = await Raw.open(server)
                await raw.write(frame(TEXT, "hi") + frame(TEXT, "bye") + frame(TEXT, "too late"))
                self.assertEqual(await raw.read_frame(), (TEXT, b"hi"))
                self.assertEqual(await raw.read_frame(), (CLOSE, close_body(4000, b"bye")))
                await raw.write(late + closing(4000))
                self.assertEqual(await raw.rest(), b"")
                raw.close()
        raw = await Raw.open(server)
        await raw.write(frame(TEXT, "bye"))
        await raw.until_close()
        await raw.write(raw_frame(0x83, b"bad"))  # §7.1.7: fails now, without a second close frame
        self.assertEqual(await raw.rest(), b"")


# --- large and many ------------------------------------------------------------------------------------------------
def large_rows(sizes):
    for size in sizes:
        text, data = b"*" * size, random.Random(size).randbytes(size)
        yield Row("5.2", f"text of {size // KIB} KiB", header(0x81, size) + text, [(TEXT, text)])
        yield Row("5.2", f"binary of {size // KIB} KiB", header(0x82, size) + data, [(BINARY_FRAME, data)])


def unmasked_fragments(opcode, data, size):
    """As fragments(), with a mask that changes nothing, because this process is slow at masking."""
    parts = chop(data, size)
    return b"".join(
        header((opcode if i == 0 else 0) | (0x80 if i == len(parts) - 1 else 0), len(part)) + part
        for i, part in enumerate(parts)
    )


class Large(RfcTest):
    # The policy copies and checks 16 MiB at once, which a sanitizer makes many times slower.
    LIMITS = ("--set", "limits.max_message=16MiB", "--set", "script.cpu_budget=2s")

    async def test_messages_up_to_16_mib(self):
        await self.check(list(large_rows((64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB))), *self.LIMITS,
                         ways=(False,))

    async def test_4_mib_in_fragments(self):
        text = "tïdegate€𝄞".encode() * (4 * MIB // 16)
        rows = [
            Row("5.4", f"4 MiB in fragments of {size}", unmasked_fragments(opcode, text, size), [(opcode, text)])
            for size in (256, KIB, 4 * KIB + 1, 64 * KIB, MIB)
            for opcode in (TEXT, BINARY_FRAME)
        ]
        await self.check(rows, *self.LIMITS, ways=(False,))

    async def test_1_mib_in_small_writes(self):
        text = "tïdegate€𝄞".encode() * (MIB // 16)
        rows = [
            Row("5.2", f"1 MiB in writes of {size}", chop(header(0x81, len(text)) + text, size), [(TEXT, text)])
            for size in (64, 256, KIB, 2 * KIB + 1)
        ]
        rows.append(Row("5.4", "65536 bytes in fragments of 1300",
                        fragments(TEXT, chop(b"*" * 65536, 1300)), [(TEXT, b"*" * 65536)]))
        await self.check(rows, ways=(False,))

    async def test_the_default_limit(self):
        """Without --set a message over 1 MiB is 1009, by its head alone."""
        full = b"*" * MIB
        await self.check([
            Row("7.4.1", "1 MiB", header(0x81, MIB) + full, [(TEXT, full)]),
            Row("7.4.1", "1 MiB and a byte", header(0x81, MIB + 1), [], 1009),
            Row("7.4.1", "4 MiB that go on arriving", header(0x82, 4 * MIB) + full * 4, [], 1009),
            Row("7.4.1", "too much in fragments of 4 KiB", unmasked_fragments(TEXT, full + b"!", 4 * KIB), [], 1009),
        ], ways=(False,))

    async def test_many_messages_there_and_back(self):
        server = await self.plain()
        for size in (0, 16, 125, KIB, 16 * KIB):
            raw = await Raw.open(server)
            for opcode in (TEXT, BINARY_FRAME):
                for i in range(100):
                    payload = (b"%d" % i).ljust(size, b".")[:size]
                    await raw.write(frame(opcode, payload))
                    self.assertEqual(await raw.read_frame(), (opcode, payload))
            raw.abort()

    async def test_many_messages_at_once_come_back_in_order(self):
        server = await self.plain()
        raw = await Raw.open(server)
        payloads = [(b"%d " % i).ljust(i % 300, b".") for i in range(5000)]

        async def send():
            for some in chop(payloads, 100):
                await raw.write(b"".join(frame(TEXT, payload) for payload in some))
            await raw.write(closing())

        sending = asyncio.create_task(send())
        frames = await asyncio.wait_for(read_frames(raw), 3 * DEADLINE)
        await sending
        self.assertEqual(frames, [*((TEXT, p) for p in payloads), (CLOSE, close_body(1000))])


if __name__ == "__main__":
    unittest.main()
