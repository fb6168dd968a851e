"""Servers that policies open WebSockets to: one made with python3-websockets, for what a good server does,
and one of raw bytes, for everything else. Both see every connection come and go.

    upstream = await Upstream.start(handler)        # async def handler(link): await link.event("agent_delta", …)
    upstream = await RawUpstream.start(handler)     # async def handler(link): await link.upgrade(); …
    ...
    await upstream.stop()
"""

import asyncio
import base64
import hashlib
import json
import socket
import struct

from harness import DEADLINE, websockets

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def event(kind, **members):
    return json.dumps({"type": kind, **members})


class Server:
    """What both have in common."""

    def __init__(self, handler):
        self.handler = handler
        self.links = []
        self._opened = asyncio.Condition()

    def url(self, path="/run", host="127.0.0.1"):
        return f"{self.scheme}://{host}:{self.port}{path}"

    async def add(self, link):
        async with self._opened:
            self.links.append(link)
            self._opened.notify_all()

    async def link(self, number=1):
        """The connection of that number, now or later."""
        async with self._opened:
            await asyncio.wait_for(self._opened.wait_for(lambda: len(self.links) >= number), DEADLINE)
        return self.links[number - 1]

    async def all_gone(self):
        """Every connection so far is closed."""
        for link in self.links:
            await asyncio.wait_for(link.gone.wait(), DEADLINE)

    def listening(self, ssl):
        self.port = self.server.sockets[0].getsockname()[1]
        self.scheme = "wss" if ssl else "ws"
        return self


class Link:
    """A connection to the good server; `handler` runs once for each request that comes on it."""

    def __init__(self, ws):
        self.ws = ws
        request = getattr(ws, "request", None)
        self.headers = request.headers if request is not None else ws.request_headers
        self.request = None  # the last one
        self.requests = []
        self.cancelled = asyncio.Event()
        self.gone = asyncio.Event()

    @property
    def close_code(self):
        return self.ws.close_code

    async def event(self, kind, **members):
        await self.ws.send(event(kind, **members))


class Upstream(Server):
    @classmethod
    async def start(cls, handler, ssl=None, host="127.0.0.1", **options):
        self = cls(handler)
        self.server = await websockets.serve(self._serve, host, 0, ssl=ssl, **options)
        return self.listening(ssl)

    async def _serve(self, ws, _path=None):
        link = Link(ws)
        await self.add(link)
        run = None
        try:
            async for message in ws:
                message = json.loads(message)
                if message["type"] == "agent_cancel":
                    link.cancel = message
                    link.cancelled.set()
                    continue
                link.request = message
                link.requests.append(message)
                run = asyncio.ensure_future(self.handler(link))
        except websockets.exceptions.ConnectionClosed:
            pass
        finally:
            if run is not None:
                run.cancel()
                await asyncio.gather(run, return_exceptions=True)
            link.gone.set()

    async def stop(self):
        self.server.close()
        for link in self.links:
            link.ws.transport.abort()
        await self.server.wait_closed()


class RawLink:
    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer
        self.gone = asyncio.Event()
        self.head = ""

    async def send(self, data):
        self.writer.write(data.encode() if isinstance(data, str) else data)
        await self.writer.drain()

    async def read_head(self):
        self.head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")

    def accept(self):
        key = next(line for line in self.head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
        digest = hashlib.sha1((key.split(":")[1].strip() + GUID).encode()).digest()
        return base64.b64encode(digest).decode()

    async def answer(self, status, *lines, body=b""):
        lines = [f"HTTP/1.1 {status} Some words", *lines]
        if status != 101:
            lines.append(f"Content-Length: {len(body)}")
        await self.send("\r\n".join([*lines, "", ""]).encode() + body)

    async def upgrade(self):
        accept = f"Sec-WebSocket-Accept: {self.accept()}"
        await self.answer(101, "Upgrade: websocket", "Connection: Upgrade", accept)

    async def read_frame(self):
        """(opcode, payload); short and middle-sized ones."""
        first, second = await self.reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", await self.reader.readexactly(2))
        mask = await self.reader.readexactly(4)
        data = await self.reader.readexactly(length)
        return first & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))

    @staticmethod
    def frame(data, opcode=TEXT, fin=True):
        data = data.encode() if isinstance(data, str) else data
        head = bytes([(0x80 if fin else 0) | opcode])
        if len(data) < 126:
            return head + bytes([len(data)]) + data
        if len(data) < 65536:
            return head + b"\x7e" + struct.pack(">H", len(data)) + data
        return head + b"\x7f" + struct.pack(">Q", len(data)) + data

    async def event(self, kind, **members):
        await self.send(self.frame(event(kind, **members)))

    def reset(self):
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def fin(self):
        self.writer.close()


class RawUpstream(Server):
    @classmethod
    async def start(cls, handler, host="127.0.0.1"):
        self = cls(handler)
        self._tasks = set()
        self.server = await asyncio.start_server(self._serve, host, 0)
        return self.listening(None)

    async def _serve(self, reader, writer):
        link = RawLink(reader, writer)
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            await link.read_head()
            await self.add(link)
            await self.handler(link)
            while await reader.read(65536):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            link.gone.set()
            self._tasks.discard(task)
            writer.close()

    async def stop(self):
        self.server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
