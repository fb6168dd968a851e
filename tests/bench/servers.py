"""The servers that are compared: how each is started for a kind of work, and how it is stopped.

Every one prints `listening ws://ADDRESS:PORT`, or `wss://`, once it serves, and serves with one thread.
One whose package is not installed, or that does not do a work, has no command for it.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
BINARY = Path(os.environ.get("TIDEGATE_BIN", "build/release/tidegate")).resolve()
PROGRAMS = BINARY.parent / "tests" / "bench"
NGINX = HERE.parents[1] / "build" / "bench-peers" / "nginx"
UWS = HERE.parents[1] / "build" / "bench-peers" / "uws" / "uws.node"

# The policy of each work; `scenarios.toml` names works.
POLICIES = {"echo": "echo.lua", "idle": "echo.lua", "connect": "echo.lua", "route": "route.lua",
            "handshake": "handshake.lua", "stream": "stream.lua"}  # fmt: skip


def tidegate(work, tls=None, workers=1, settings=()):
    command = [BINARY, "run", HERE / "peers" / POLICIES[work], "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
               "--workers", str(workers), "--log-level", "warn"]  # fmt: skip
    if tls:
        settings = [*settings, f"tls.certificate={tls[0]}", f"tls.key={tls[1]}"]
    for setting in settings:
        command += ["--set", setting]
    return command


def raw(work, tls=None):
    return [PROGRAMS / "raw_echo"] if work in ("echo", "idle") and not tls else None


def libwebsockets(work, tls=None):
    return [PROGRAMS / "lws_echo", *(tls or [])] if work in ("echo", "idle", "connect") else None


def kind_of(work):
    """What a peer does for a work that asks nothing of its own."""
    return {"connect": "echo", "idle": "echo"}.get(work, work)


def node(work, tls=None):
    if work not in POLICIES or work == "stream" or tls:
        return None
    return ["node", HERE / "peers" / "ws_server.js", kind_of(work)]


def uwebsockets(work, tls=None):
    if work not in POLICIES or work == "stream" or tls:
        return None
    return ["node", HERE / "peers" / "uws_server.js", UWS, kind_of(work)]


def nginx(work, tls=None):
    if work not in POLICIES or work == "stream":
        return None
    kind = kind_of(work)
    return [HERE / "peers" / "nginx.py", NGINX, kind, *(["--tls", *tls] if tls else [])]


COMMANDS = {
    "tidegate": tidegate,
    "raw": raw,
    "uwebsockets.js": uwebsockets,
    "libwebsockets": libwebsockets,
    "nginx-lua": nginx,
    "node-ws": node,
}


def missing():
    """{name: what to install} of the peers that cannot run here."""
    found = {
        "libwebsockets": (PROGRAMS / "lws_echo").exists(),
        "nginx-lua": (NGINX / "complete").exists(),
        "uwebsockets.js": (UWS.parent / "complete").exists(),
        "node-ws": shutil.which("node") is not None and Path("/usr/share/nodejs/ws").exists(),
    }
    needs = {
        "libwebsockets": "libwebsockets-dev",
        "nginx-lua": "tests/bench/peers/nginx.sh",
        "uwebsockets.js": "tests/bench/peers/uws.sh",
        "node-ws": "node-ws",
    }
    return {name: needs[name] for name, there in found.items() if not there}


def cores():
    return sorted(os.sched_getaffinity(0))


def prepare(chosen):
    """For the start of a child: cores of its own, and descriptors for many connections."""

    def in_child():
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        os.sched_setaffinity(0, chosen)

    return in_child


def server_cores():
    """All but the last one, which is the load's; the same one where there is only one."""
    return set(cores()[:1])


def client_cores():
    return set(cores()[-1:])


class Server:
    """One that runs and knows its port."""

    def __init__(self, name, work, on=None, **more):
        command = COMMANDS[name](work, **more)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TIDEGATE_")}
        environment["NODE_PATH"] = "/usr/share/nodejs"
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=environment,
            preexec_fn=prepare(on or server_cores()),
        )
        line = self.process.stdout.readline()
        if not line.startswith("listening "):
            self.process.kill()
            self.process.wait()
            raise SystemExit(f"bench: {name} did not start: {' '.join(map(str, command))}\n{self.last_words()}")
        self.port = line.strip().rsplit(":", 1)[1]
        self.pid = self.process.pid

    def last_words(self):
        """The end of what it logged."""
        self.log.seek(0)
        return "".join(line.decode(errors="replace") for line in self.log.readlines()[-5:])

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()
