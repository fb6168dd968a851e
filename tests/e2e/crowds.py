"""Crowds of clients that mean no good, a few good users beside them who are timed, and what the server's
memory does meanwhile. hostile_test.py runs them small, tests/bench/hostile.py large.

    crowds.py HOST PORT USERS    the good users: a process of their own, until standard input ends
"""

import contextlib
import json
import random
import select
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

from harness import (
    BINARY,
    DEADLINE,
    PING,
    TEXT,
    Server,
    frame,
    open_policy,
    parse_metrics,
    raise_file_limit,
    upgrade_request,
)

KIB, MIB = 1024, 1024 * 1024
POLICY = open_policy(
    """
    policy.agents = {
      echo = function(run, input) return input.message end,
      flood = function(run, input)
        local piece = string.rep("x", 4000)
        while run:delta(piece) do end
        return nil, "stopped"
      end,
    }
    function policy.route(conn, message) return message.data.agent_type or "echo" end
    """
)


def is_sanitized():
    """Memory of a sanitizer build says nothing: what is freed stays for a while."""
    return b"__asan_init" in BINARY.read_bytes() or b"__tsan_init" in BINARY.read_bytes()


# --- one client: a blocking socket ---------------------------------------------------------------------------
class Peer:
    def __init__(self, server, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(DEADLINE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect((server.host, server.port))
        self.data = b""

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError("the server left")
        self.data += data

    def ask(self):
        self.send(upgrade_request())

    def read_head(self):
        while b"\r\n\r\n" not in self.data:
            self.more()
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 101 "), head

    def read_frame(self):
        while True:
            if len(self.data) >= 2:
                length, at = self.data[1], 2
                if length == 126 and len(self.data) >= 4:
                    length, at = struct.unpack_from("!H", self.data, 2)[0], 4
                elif length == 127 and len(self.data) >= 10:
                    length, at = struct.unpack_from("!Q", self.data, 2)[0], 10
                if (length < 126 or at > 2) and len(self.data) >= at + length:
                    opcode, payload = self.data[0] & 15, self.data[at : at + length]
                    self.data = self.data[at + length :]
                    return opcode, payload
            self.more()

    def until(self, kind):
        while True:
            opcode, payload = self.read_frame()
            assert opcode == TEXT, (opcode, payload)
            message = json.loads(payload)
            if message["type"] == kind:
                return message
            assert message["type"] not in ("error", "agent_error"), message

    def ready(self):
        self.read_head()
        self.until("connection_ready")
        return self

    def reset(self):
        """Leaves without a trace: no TIME_WAIT, so that a flood does not run out of ports."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def open_many(server, count, **options):
    """That many upgraded and ready, in batches so that connecting is not one round trip after the other."""
    peers = []
    while len(peers) < count:
        batch = [Peer(server, **options) for _ in range(min(100, count - len(peers)))]
        for peer in batch:
            peer.ask()
        peers += [peer.ready() for peer in batch]
    return peers


def leave(peers):
    for peer in peers:
        peer.reset()


# --- the good users ---------------------------------------------------------------------------------------------
class Address:
    def __init__(self, host, port):
        self.host, self.port = host, int(port)


def good_users(server, count):
    """Asks and gets answers until standard input ends, then prints how long that took."""
    users = open_many(server, count)
    answers, connects = [], []
    request = frame(TEXT, {"type": "agent_execution", "data": {"message": "hello"}})
    print("ready", flush=True)
    over = False
    while not over:
        over = select.select([sys.stdin], [], [], 0.02)[0]  # and once more after the end, at least once
        for user in users:
            began = time.monotonic()
            user.send(request)
            assert user.until("agent_completed")["data"]["response"] == "hello"
            answers.append(time.monotonic() - began)
        began = time.monotonic()
        leave(open_many(server, 1))
        connects.append(time.monotonic() - began)
    leave(users)
    print(json.dumps({"answers": answers, "connects": connects}))


class GoodUsers:
    """The same in a process of its own, as this one is busy being hostile."""

    def __init__(self, server, count=4):
        self.process = subprocess.Popen(
            [sys.executable, __file__, server.host, str(server.port), str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        line = self.process.stdout.readline()
        assert line == "ready\n", line + self.process.stderr.read()

    def stop(self):
        """How they fared, in milliseconds; fails when one was not served."""
        out, errors = self.process.communicate(timeout=3 * DEADLINE)
        assert self.process.returncode == 0, "the good users were not served:\n" + errors
        times = json.loads(out)
        return {
            "answers": len(times["answers"]),
            "median_ms": round(1000 * statistics.median(times["answers"]), 2),
            "worst_ms": round(1000 * max(times["answers"]), 1),
            "worst_connect_ms": round(1000 * max(times["connects"]), 1),
        }


# --- memory ---------------------------------------------------------------------------------------------------
def resident(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) * KIB for line in status if line.startswith("VmRSS"))


class Memory:
    """Looks at the server's memory now and then, for its peak."""

    def __init__(self, server):
        self.before = self.peak = resident(server)
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self):
        while not self._over.wait(0.02):
            self.peak = max(self.peak, resident(self._server))

    def stop(self):
        self._over.set()
        self._thread.join()
        self.peak = max(self.peak, resident(self._server))
        return self.peak - self.before


# --- what a scenario needs -----------------------------------------------------------------------------------------
def metrics(server):
    status, _, text = server.request("GET", "/metrics")
    assert status == 200, text
    return parse_metrics(text)


def count_of(server, prefix):
    """The sum of all rows of a metric."""
    return int(sum(value for name, value in metrics(server).items() if name.startswith(prefix)))


def wait_until(what, condition, timeout=DEADLINE):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.02)


def everybody_gone(server):
    wait_until("no connection left", lambda: count_of(server, "tidegate_connections{") == 0)


@contextlib.contextmanager
def crowd(server, facts):
    """Runs a scenario beside good users; fills in what there is to say of it when all have left."""
    users = GoodUsers(server)
    memory = Memory(server)
    try:
        yield memory
    finally:
        grown = memory.stop()
        served = users.stop()
    everybody_gone(server)
    facts.update(
        before=memory.before, grown=grown, after=resident(server) - memory.before, good_users=served
    )


# --- scenarios -----------------------------------------------------------------------------------------------------
def idle(server, count):
    """Connections that are there and say nothing."""
    facts = {"connections": count}
    with crowd(server, facts):
        before = resident(server)
        began = time.monotonic()
        peers = open_many(server, count)
        facts["seconds_to_open"] = round(time.monotonic() - began, 2)
        facts["bytes_per_connection"] = (resident(server) - before) // count
        assert count_of(server, "tidegate_connections{") >= count
        for peer in random.sample(peers, min(count, 100)):  # they are all still served
            peer.send(frame(TEXT, {"type": "ping"}))
            peer.until("pong")
        leave(peers)
    return facts


def slow_readers(server, count):
    """Clients whose agents talk without end and that read nothing: let go with 1008."""
    facts = {"connections": count}
    gone = 'tidegate_closes_total{code="1008"}'
    let_go = count_of(server, gone) + count
    with crowd(server, facts):
        peers = open_many(server, count, receive_buffer=4096)
        for peer in peers:
            peer.send(frame(TEXT, {"type": "agent_execution",
                                   "data": {"message": "go", "agent_type": "flood"}}))
        wait_until("all let go", lambda: count_of(server, gone) >= let_go, 3 * DEADLINE)
        with open("/proc/net/sockstat") as stat:
            facts["kernel"] = next(line.strip() for line in stat if line.startswith("TCP:"))
        leave(peers)
    return facts


def ping_flood(server, count, seconds, reads):
    """Pings as fast as they go out, by clients that read the answers, or do not."""
    facts = {"connections": count, "seconds": seconds}
    pings = b"".join(frame(PING, b"%04d" % i) for i in range(4000))
    taken = 'tidegate_messages_total{direction="in",kind="control"}'
    with crowd(server, facts):
        before = count_of(server, taken)
        peers = open_many(server, count)
        left = {}
        for peer in peers:
            peer.socket.setblocking(False)
            left[peer] = b""
        by_socket = {peer.socket: peer for peer in peers}
        over = time.monotonic() + seconds
        while time.monotonic() < over:
            readable, writable, _ = select.select(list(by_socket) if reads else [], list(by_socket), [], 0.1)
            for some in readable:
                with contextlib.suppress(BlockingIOError):
                    some.recv(MIB)
            for some in writable:
                peer = by_socket[some]
                left[peer] = left[peer] or pings
                with contextlib.suppress(BlockingIOError):
                    left[peer] = left[peer][some.send(left[peer]) :]
        facts["pings_per_second"] = round((count_of(server, taken) - before) / seconds)
        leave(peers)
    return facts


def connect_flood(server, seconds):
    """Connections that come and go: at once, in the middle of the head, right after the upgrade."""
    facts = {"seconds": seconds}
    with crowd(server, facts):
        count = 0
        over = time.monotonic() + seconds
        while time.monotonic() < over:
            peer = Peer(server)
            if count % 3 == 1:
                peer.send(upgrade_request()[:-5])
            elif count % 3 == 2:
                peer.ask()
                peer.read_head()
            peer.reset()
            count += 1
        facts["connections"] = count
        facts["per_second"] = round(count / seconds)
    return facts


def slow_heads(server, count):
    """Heads that never end, a byte at a time: answered 408 and let go when the deadline passes."""
    facts = {"connections": count}
    with crowd(server, facts) as memory:
        before = resident(server)
        peers = [Peer(server) for _ in range(count)]
        began = time.monotonic()
        for peer in peers:
            peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        waiting = {peer.socket: peer for peer in peers}
        answered = 0
        while waiting:
            assert time.monotonic() < began + 3 * DEADLINE, f"{len(waiting)} heads are still waited for"
            facts["bytes_per_connection"] = (max(memory.peak, before) - before) // count
            poll = select.poll()
            for some in waiting:
                poll.register(some, select.POLLIN)
            found = {fd for fd, _ in poll.poll(100)}
            for some in [some for some in waiting if some.fileno() in found]:
                peer = waiting.pop(some)
                with contextlib.suppress(ConnectionError, EOFError):
                    while b"\r\n\r\n" not in peer.data:
                        peer.more()
                answered += peer.data.startswith(b"HTTP/1.1 408 ")
                peer.reset()
            for peer in waiting.values():
                with contextlib.suppress(ConnectionError):
                    peer.send(b"x")
        facts["seconds"] = round(time.monotonic() - began, 1)
        facts["answered_408"] = answered
    return facts


def slow_messages(server, count, rounds):
    """Messages of 1 MiB by their head, of which a little arrives now and then."""
    facts = {"connections": count}
    piece = b"a" * 1000
    with crowd(server, facts):
        before = resident(server)
        peers = open_many(server, count)
        for peer in peers:
            peer.send(b"\x81" + struct.pack("!BQ", 0x80 | 127, MIB) + b"\0\0\0\0")
        for _ in range(rounds):
            for peer in peers:
                peer.send(piece)
        # A connection of after these is served only when theirs were read.
        leave(open_many(server, 1))
        facts["arrived_per_connection"] = rounds * len(piece)
        facts["bytes_per_connection"] = (resident(server) - before) // count
        leave(peers)
    return facts


def start(workers=2, *args):
    raise_file_limit()
    return Server(POLICY, (
        "--log-level", "error", "--set", "limits.outbox_bytes=256KiB", "--set", "limits.outbox_timeout=1500ms",
        "--set", "limits.handshake_timeout=3s", *args), workers=workers)


def report(name, facts):
    def size(value):
        return f"{value / MIB:.1f} MiB" if abs(value) >= MIB else f"{value / KIB:.1f} KiB"

    memory = ", ".join(f"{word} {size(facts[word])}" for word in ("before", "grown", "after") if word in facts)
    rest = {k: v for k, v in facts.items() if k not in ("before", "grown", "after", "good_users")}
    if "bytes_per_connection" in rest:
        rest["bytes_per_connection"] = size(rest["bytes_per_connection"])
    shown = " ".join(f"{key}={value}" for key, value in rest.items())
    users = " ".join(f"{key}={value}" for key, value in facts["good_users"].items())
    return f"{name:14} {shown}\n{'':14} memory: {memory}\n{'':14} good users: {users}"


if __name__ == "__main__":
    good_users(Address(*sys.argv[1:3]), int(sys.argv[3]))
