"""A server that policies fetch from: raw HTTP/1.1 in the test's own loop, so that a test says byte by byte
what is sent and when, and sees every connection come and go.

    upstream = await Upstream.start({"/hello": lambda exchange: exchange.reply(200, b"hi")})
    ...
    await upstream.stop()
"""

import asyncio
import fcntl
import socket
import struct
import termios

from harness import DEADLINE


class Exchange:
    """One request, and the connection to answer it on."""

    def __init__(self, upstream, connection, method, target, headers, body):
        self.upstream = upstream
        self.connection = connection
        self.method = method
        self.target = target
        self.path = target.split("?")[0]
        self.headers = headers
        self.body = body

    async def send(self, data):
        """Bytes as they are; waits until the kernel has taken most of them."""
        self.connection.writer.write(data.encode() if isinstance(data, str) else data)
        await self.connection.writer.drain()

    async def head(self, status=200, *lines):
        await self.send("\r\n".join([f"HTTP/1.1 {status} Some words", *lines, "", ""]))

    async def reply(self, status=200, body=b"", *lines):
        body = body.encode() if isinstance(body, str) else body
        text = "" if self.method == "HEAD" else body
        head = "\r\n".join([f"HTTP/1.1 {status} Some words", f"Content-Length: {len(body)}", *lines, "", ""])
        await self.send(head.encode() + (text.encode() if isinstance(text, str) else text))

    async def chunk(self, data):
        data = data.encode() if isinstance(data, str) else data
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    async def stream_head(self, *lines):
        await self.head(200, "Transfer-Encoding: chunked", *lines)

    async def all_taken(self):
        """Waits until the client's kernel has all that was written."""
        sock, unsent = self.connection.writer.get_extra_info("socket"), bytearray(4)
        for _ in range(2000):
            fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, unsent)
            if not any(unsent) and self.connection.writer.transport.get_write_buffer_size() == 0:
                return
            await asyncio.sleep(0.005)
        raise TimeoutError("the client does not take what was written")

    def abort(self):
        """Ends the connection with a reset."""
        sock = self.connection.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.writer.transport.abort()


class Connection:
    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer
        self.gone = asyncio.Event()  # the client has closed it


class Upstream:
    def __init__(self, routes):
        self.routes = routes
        self.connections = []
        self.requests = []
        self._asked = asyncio.Condition()
        self._tasks = set()

    @classmethod
    async def start(cls, routes, ssl=None, host="127.0.0.1", port=0):
        self = cls(routes)
        self.server = await asyncio.start_server(self._serve, host, port, ssl=ssl, limit=2**24)
        self.port = self.server.sockets[0].getsockname()[1]
        self.scheme = "https" if ssl else "http"
        return self

    def url(self, path="/", host="127.0.0.1"):
        return f"{self.scheme}://{host}:{self.port}{path}"

    async def asked(self, count):
        """The request of that number, counted from 1, now or later."""
        async with self._asked:
            await asyncio.wait_for(self._asked.wait_for(lambda: len(self.requests) >= count), DEADLINE)
        return self.requests[count - 1]

    async def _read(self, connection):
        head = (await connection.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {}
        for line in lines:
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
        body = await connection.reader.readexactly(int(headers.get("content-length", 0)))
        return Exchange(self, connection, method, target, headers, body)

    async def _serve(self, reader, writer):
        connection = Connection(reader, writer)
        self.connections.append(connection)
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            while True:
                exchange = await self._read(connection)
                async with self._asked:
                    self.requests.append(exchange)
                    self._asked.notify_all()
                handler = self.routes.get(exchange.path, self.routes.get("*"))
                if await self._answer(handler, exchange) == "close":
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            connection.gone.set()
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, handler, exchange):
        """Runs the handler, and ends it when the client goes."""
        answer = asyncio.ensure_future(handler(exchange))
        peek = asyncio.ensure_future(self._until_gone(exchange.connection))
        try:
            await asyncio.wait({answer, peek}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ConnectionResetError("the client is gone")
            return answer.result()
        finally:
            answer.cancel()
            peek.cancel()
            await asyncio.gather(answer, peek, return_exceptions=True)

    async def _until_gone(self, connection):
        """No client of ours sends its next request before it has the answer: a byte or an end is its leaving."""
        while not connection.reader.at_eof() and connection.reader.exception() is None:
            await asyncio.sleep(0.005)  # asyncio tells nobody of an end but a reader

    async def stop(self):
        self.server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
