"""What the end-to-end tests share: the real server as a process, and two kinds of client.

A test starts `Server`s with the policy it needs, talks to them through `Client` (python3-websockets)
or `Raw` (bytes, for everything a good client would never do), and looks at what the server says of
itself through its log and its admin interface. When a test ends, each of its servers must stop with
exit code 0 and must have printed no sanitizer report.

Nothing here sleeps in order to wait: every wait is for an event, with a deadline.
"""

import asyncio
import base64
import contextlib
import http.client
import inspect
import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import tempfile
import textwrap
import threading
import time
import unittest
import warnings
from pathlib import Path

warnings.simplefilter("ignore", DeprecationWarning)  # names that websockets keeps for old callers
import websockets  # noqa: E402
import websockets.exceptions  # noqa: E402
from websockets.exceptions import ConnectionClosed  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("TIDEGATE_BIN", ROOT / "build/dev/tidegate"))

# How long any one thing may take before a test calls it broken. Large, because a sanitizer build on
# a busy machine is slow; nothing waits that long when all is well.
DEADLINE = 20.0

SANITIZER_REPORTS = (
    "ERROR: AddressSanitizer",
    "ERROR: LeakSanitizer",
    "runtime error:",
    "WARNING: ThreadSanitizer",
)
ID_PATTERN = re.compile(r"^ws_[0-9]{13}_[0-9a-f]{12}_[0-9a-f]{16}$")

# The head and tail of most test policies: everybody may connect, as the user named by the bearer token.
OPEN_HEAD = """
local tide = require "tidegate"
local policy = {}
function policy.authenticate(conn, credentials)
  return { user_id = credentials.bearer or "guest" }
end
"""


def open_policy(body=""):
    """A whole policy from the lines in the middle: everybody may connect."""
    return OPEN_HEAD + textwrap.dedent(body) + "\nreturn policy\n"


def raise_file_limit():
    """Lets this process, and the servers it starts, open as many sockets as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def clean_environment(extra=None):
    """This process's environment without options of the server and without proxies."""
    env = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("TIDEGATE_") and not key.lower().endswith("_proxy")
    }
    env.update(extra or {})
    return env


class Stopped(AssertionError):
    """The server ended before it printed what was waited for."""


class Lines:
    """The lines of one output of a process, read by a thread so that no pipe ever fills up."""

    def __init__(self, stream):
        self.lines = []
        self.ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream):
        with stream:
            for line in stream:
                with self._changed:
                    self.lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def find(self, pattern):
        """The first line that matches so far, or None."""
        return next((line for line in list(self.lines) if re.search(pattern, line)), None)

    def wait(self, pattern, timeout=DEADLINE):
        """The first line that matches, now or later."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found = self.find(pattern)
                if found is not None:
                    return found
                left = deadline - time.monotonic()
                if self.ended or left <= 0:
                    why = "the output ended" if self.ended else "time is up"
                    raise Stopped(f"{why} without a line like {pattern!r}:\n" + self.text())
                self._changed.wait(left)

    def text(self):
        return "\n".join(self.lines)

    def join(self):
        self._thread.join(DEADLINE)


class Server:
    """One running tidegate. Use ServerTest.serve to start it."""

    def __init__(self, policy, args=(), env=None, workers=2, program=BINARY):
        """policy: a path, or the text of a policy, which is written to a folder of its own."""
        self.folder = None
        if isinstance(policy, Path):
            self.policy = policy
        else:
            self.folder = Path(tempfile.mkdtemp(prefix="tidegate-e2e-"))
            self.policy = self.folder / "init.lua"
            self.write(policy)
        command = [str(program), "run", str(self.policy)]
        command += ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", str(workers)]
        # A test that ends with runs and connections open shall not wait for them. `args` may differ.
        command += ["--set", "drain_timeout=1s", "--set", "limits.close_timeout=2s"]
        self.process = subprocess.Popen(
            command + list(args),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=clean_environment(env),
        )
        self.out = Lines(self.process.stdout)
        self.log = Lines(self.process.stderr)
        self.exit_code = None
        try:
            self.url = self.out.wait(r"^listening wss?://").split()[1]
            self.admin_url = self.out.wait(r"^admin http://").split()[1]
        except Stopped:
            self.kill()
            raise Stopped("the server did not start:\n" + self.log.text()) from None
        self.host, self.port = split_address(self.url)
        self.admin_host, self.admin_port = split_address(self.admin_url)

    def write(self, text):
        """Replaces the policy's file, as an editor does: whole, under a new inode."""
        draft = self.policy.with_suffix(".draft")
        draft.write_text(textwrap.dedent(text))
        draft.replace(self.policy)

    # --- admin ---------------------------------------------------------------------------------------
    def request(self, method, path, headers=None, body=None, public=False):
        """(status, headers, text) of one HTTP request; to the public listener with public=True."""
        host, port = (self.host, self.port) if public else (self.admin_host, self.admin_port)
        connection = http.client.HTTPConnection(host, port, timeout=DEADLINE)
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            text = response.read().decode()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, text

    async def ask(self, method, path, **more):
        """The same without blocking this process's clients."""
        return await asyncio.to_thread(self.request, method, path, **more)

    async def get(self, path):
        """The JSON of a GET that must succeed."""
        status, _, text = await self.ask("GET", path)
        assert status == 200, f"GET {path}: {status} {text}"
        return json.loads(text)

    async def metrics(self):
        """The metrics as {'name{label="x"}': number}; malformed lines fail."""
        status, _, text = await self.ask("GET", "/metrics")
        assert status == 200, text
        return parse_metrics(text)

    async def metric(self, name):
        """One metric, 0.0 when it has no row (rows that are zero are left out)."""
        return (await self.metrics()).get(name, 0.0)

    async def connections(self, query=""):
        """What GET /connections lists."""
        body = await self.get("/connections" + query)
        return body["connections"]

    async def eventually(self, what, condition, timeout=DEADLINE):
        """Asks again and again until `condition` (async) gives something true, which is returned."""
        deadline = time.monotonic() + timeout
        while True:
            value = await condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError(f"never came: {what}\nlog:\n{self.log.text()}")
            await asyncio.sleep(0.02)

    async def metric_reaches(self, name, least=1):
        async def enough():
            return await self.metric(name) >= least

        await self.eventually(f"{name} >= {least}", enough)

    async def wait_log(self, pattern, timeout=DEADLINE):
        """The first log line that matches, now or later."""
        return await asyncio.to_thread(self.log.wait, pattern, timeout)

    # --- ending --------------------------------------------------------------------------------------
    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=DEADLINE):
        """Waits for the end of the process and returns its exit code."""
        self.exit_code = self.process.wait(timeout)
        self.out.join()
        self.log.join()
        return self.exit_code

    async def ended(self, timeout=DEADLINE):
        return await asyncio.to_thread(self.wait, timeout)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        self.remove_files()

    def remove_files(self):
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self):
        """SIGTERM, unless it has ended already; then the end must have been a clean one."""
        hung = False
        if self.exit_code is None:
            if self.process.poll() is None:
                self.signal(signal.SIGTERM)
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                hung = True
                self.kill()
        self.remove_files()
        errors = self.log.text()
        assert not hung, "the server did not stop after SIGTERM; its log:\n" + errors
        for report in SANITIZER_REPORTS:
            assert report not in errors, "a sanitizer reports:\n" + errors
        assert self.exit_code == 0, f"the server ended with {self.exit_code}; its log:\n{errors}"


def split_address(url):
    host, port = re.match(r"^\w+://(.+):(\d+)", url).groups()
    return host.strip("[]"), int(port)


def parse_metrics(text):
    """Prometheus text as {name with labels: value}. Raises on a line that is neither."""
    values = {}
    sample = re.compile(
        r'^([a-zA-Z_:][a-zA-Z0-9_:]*(?:\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*",?)*\})?) ([0-9.eE+-]+|NaN|[+-]Inf)$'
    )
    for line in text.splitlines():
        if line.startswith("# HELP ") or line.startswith("# TYPE ") or not line:
            continue
        match = sample.match(line)
        assert match, f"no metric: {line!r}"
        assert match[1] not in values, f"twice: {line!r}"
        values[match[1]] = float(match[2])
    return values


# --- a good client ---------------------------------------------------------------------------------------
class Refused(Exception):
    """The server answered the upgrade with something else than 101."""

    def __init__(self, status, headers):
        super().__init__(f"HTTP {status}")
        self.status = status
        self.headers = headers


class Client:
    """A WebSocket client that obeys the protocol; hides what differs between websockets 10 and 15."""

    def __init__(self, ws):
        self.ws = ws
        response = getattr(ws, "response", None)
        self.headers = response.headers if response is not None else ws.response_headers
        self.extensions = ws.extensions if hasattr(ws, "extensions") else ws.protocol.extensions

    @classmethod
    async def open(cls, server, bearer=None, headers=None, path="/", **options):
        """server: a Server or a URL."""
        url = (server if isinstance(server, str) else server.url).rstrip("/") + path
        headers = dict(headers or {})
        if bearer is not None:
            headers["Authorization"] = "Bearer " + bearer
        parameters = inspect.signature(websockets.connect.__init__).parameters
        options["additional_headers" if "additional_headers" in parameters else "extra_headers"] = headers
        if "proxy" in parameters:
            options["proxy"] = None
        options.setdefault("open_timeout", 3 * DEADLINE)
        options.setdefault("close_timeout", DEADLINE)
        options.setdefault("ping_interval", None)
        options.setdefault("compression", None)
        options.setdefault("max_queue", None)
        try:
            return cls(await websockets.connect(url, **options))
        except websockets.exceptions.InvalidHandshake as error:
            response = getattr(error, "response", None)
            if response is not None:
                raise Refused(response.status_code, response.headers) from None
            if hasattr(error, "status_code"):
                raise Refused(error.status_code, error.headers) from None
            # No answer at all: the server closed the connection before it read the request.
            raise ConnectionResetError(str(error)) from None

    @classmethod
    async def ready(cls, server, bearer=None, **options):
        """Connects and waits for connection_ready, whose data is kept as `data`."""
        client = await cls.open(server, bearer, **options)
        message = await client.expect("connection_ready")
        client.data = message["data"]
        client.id = client.data["connection_id"]
        return client

    async def receive(self, timeout=DEADLINE):
        """The next frame as it is: str or bytes."""
        return await asyncio.wait_for(self.ws.recv(), timeout)

    async def next(self, timeout=DEADLINE):
        """The next message, decoded."""
        return json.loads(await self.receive(timeout))

    async def expect(self, kind):
        """The next message, which must be of this type."""
        message = await self.next()
        assert message.get("type") == kind, f"expected {kind}, got {message}"
        return message

    async def until(self, *kinds):
        """All messages up to and with the first of one of these types."""
        messages = []
        while True:
            messages.append(await self.next())
            if messages[-1].get("type") in kinds:
                return messages

    async def send(self, message):
        """A table is sent as JSON, str as text, bytes as binary."""
        await self.ws.send(json.dumps(message) if isinstance(message, dict) else message)

    async def run(self, message, agent=None, id=None):
        """Starts an agent run without waiting for anything."""
        request = {"type": "agent_execution", "data": {"message": message}}
        if agent is not None:
            request["data"]["agent_type"] = agent
        if id is not None:
            request["id"] = id
        await self.send(request)

    async def answer(self, message, agent=None):
        """Runs an agent to its end and returns all its events."""
        await self.run(message, agent)
        return await self.until("agent_completed", "agent_error")

    async def alive(self):
        """The connection still answers."""
        await self.send({"type": "ping"})
        await self.until("pong")

    async def closed(self, timeout=DEADLINE):
        """(code, reason) once the connection is closed; messages still to come are dropped."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.receive(timeout)
        await asyncio.wait_for(self.ws.wait_closed(), timeout)
        return self.ws.close_code, self.ws.close_reason

    async def close(self):
        await self.ws.close()


# --- bytes ------------------------------------------------------------------------------------------------
TEXT, BINARY_FRAME, CLOSE, PING, PONG = 1, 2, 8, 9, 10
HANDSHAKE = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": base64.b64encode(b"0123456789abcdef").decode(),
    "Sec-WebSocket-Version": "13",
}


def upgrade_request(path="/", headers=None, method="GET", version="HTTP/1.1"):
    """The bytes of an upgrade; a header given as None is left out."""
    wanted = {**HANDSHAKE, **(headers or {})}
    lines = [f"{method} {path} {version}"]
    lines += [f"{name}: {value}" for name, value in wanted.items() if value is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def frame(opcode, payload=b"", fin=True, mask=b"\x12\x34\x56\x78"):
    """One frame as a client sends it; mask=None leaves it unmasked, which is not allowed."""
    if isinstance(payload, dict):
        payload = json.dumps(payload)
    if isinstance(payload, str):
        payload = payload.encode()
    head = bytes([(0x80 if fin else 0) | opcode])
    flag = 0x80 if mask else 0
    if len(payload) < 126:
        head += bytes([flag | len(payload)])
    elif len(payload) < 65536:
        head += struct.pack("!BH", flag | 126, len(payload))
    else:
        head += struct.pack("!BQ", flag | 127, len(payload))
    if mask:
        key = int.from_bytes((mask * (len(payload) // 4 + 1))[: len(payload)], "big")
        payload = (int.from_bytes(payload, "big") ^ key).to_bytes(len(payload), "big")
        head += mask
    return head + payload


class Raw:
    """A TCP connection to a server, for sending and reading exact bytes."""

    opened = []  # of this test; what it leaves open is ended with it

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer
        self.opened.append(self)

    @classmethod
    async def connect(cls, server):
        return cls(*await asyncio.open_connection(server.host, server.port, limit=2**24))

    @classmethod
    async def open(cls, server, path="/", headers=None):
        """Connects and upgrades; `head` has the answer's headers."""
        raw = await cls.connect(server)
        await raw.write(upgrade_request(path, headers))
        status, raw.head = await raw.response()
        assert status == 101, f"not upgraded: {status}"
        return raw

    @classmethod
    async def ready(cls, server, headers=None):
        """The same, and waits for connection_ready."""
        raw = await cls.open(server, headers=headers)
        message = await raw.next()
        assert message["type"] == "connection_ready", message
        raw.id = message["data"]["connection_id"]
        return raw

    async def write(self, data):
        self.writer.write(data)
        await asyncio.wait_for(self.writer.drain(), DEADLINE)

    async def response(self):
        """(status, headers) of an HTTP answer."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), DEADLINE)
        lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value for name, value in headers.items()}

    async def read_frame(self, timeout=DEADLINE):
        """(opcode, payload) of the next frame, or None at the end of the stream."""
        return await asyncio.wait_for(self._read_frame(), timeout)

    async def _read_frame(self):
        try:
            first, second = await self.reader.readexactly(2)
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            assert not error.partial, f"the stream ended inside a frame: {error.partial!r}"
            return None

    async def next(self):
        """The next text message, decoded."""
        received = await self.read_frame()
        assert received is not None and received[0] == TEXT, received
        return json.loads(received[1])

    async def until_close(self):
        """(code, reason) of the close frame; what comes before it is dropped."""
        while True:
            received = await self.read_frame()
            assert received is not None, "the stream ended without a close frame"
            if received[0] == CLOSE:
                code = struct.unpack("!H", received[1][:2])[0] if received[1] else 1005
                return code, received[1][2:].decode()

    async def rest(self, timeout=DEADLINE):
        """Everything up to the end of the stream. A reset raises ConnectionResetError."""
        return await asyncio.wait_for(self.reader.read(), timeout)

    def abort(self):
        """Ends the connection with a reset."""
        self.writer.transport.abort()

    def close(self):
        self.writer.close()


# --- tests ------------------------------------------------------------------------------------------------
class ServerTest(unittest.IsolatedAsyncioTestCase):
    """A test with servers. What it opens is closed when it ends."""

    maxDiff = None

    async def serve(self, policy, *args, **options):
        """Starts a server; it is stopped, and its end is judged, when the test is over."""
        asyncio.get_running_loop().set_debug(False)  # unittest turns it on, which is slow
        server = await asyncio.to_thread(Server, policy, args, **options)
        self.addAsyncCleanup(self.finish, server)
        return server

    async def finish(self, server):
        """Stops the server beside the loop, so that its clients can answer their close frames."""
        for raw in Raw.opened:
            raw.abort()
        Raw.opened.clear()
        await asyncio.to_thread(server.stop)

    def start_program(self, *command, env=None):
        """(process, url, lines) of another server, once it says "listening URL"; it ends with the test."""
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=clean_environment(env),
        )
        out = Lines(process.stdout)

        def stop():
            process.kill()
            process.wait()
            out.join()

        self.addCleanup(stop)
        return process, out.wait("^listening ").split()[1], out

    def assert_events(self, events, agent, terminal="agent_completed"):
        """Checks the rules that every run's events obey, and returns their types."""
        kinds = [event["type"] for event in events]
        self.assertEqual(kinds[0], "agent_started")
        self.assertEqual(kinds[-1], terminal)
        self.assertEqual(kinds.count("agent_started"), 1)
        self.assertEqual(sum(kind in ("agent_completed", "agent_error") for kind in kinds), 1)
        self.assertEqual(len({event["run_id"] for event in events}), 1)
        open_calls = {}
        for event in events:
            self.assertRegex(event["timestamp"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
            self.assertEqual(event["agent"], agent)
            data = event["data"]
            if event["type"] == "tool_executing":
                self.assertNotIn(data["tool_call_id"], open_calls)
                open_calls[data["tool_call_id"]] = data["name"]
            elif event["type"] == "tool_completed":
                self.assertEqual(open_calls.pop(data["tool_call_id"]), data["name"])
                self.assertGreaterEqual(data["duration_ms"], 0)
                self.assertEqual(("result" in data) + ("error" in data), 1, data)
        self.assertEqual(open_calls, {}, "tool calls left open")
        return kinds

    def assert_seq(self, events, first=1):
        """Numbers without gap, from `first`."""
        self.assertEqual(
            [event["seq"] for event in events], list(range(first, first + len(events)))
        )


class FolderTest(unittest.TestCase):
    """A test of a command with files, in a folder of its own."""

    maxDiff = None

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="tidegate-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path


def tidegate(*args, timeout=60, env=None, stdin=subprocess.DEVNULL, cwd=None):
    """Runs a command of the program to its end; result with returncode, stdout and stderr."""
    done = subprocess.run(
        [str(BINARY), *map(str, args)],
        stdin=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        env=clean_environment(env),
        cwd=cwd,
    )
    for report in SANITIZER_REPORTS:
        assert report not in done.stderr, "a sanitizer reports:\n" + done.stderr
    return done
