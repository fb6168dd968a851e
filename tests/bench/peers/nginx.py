#!/usr/bin/env python3
"""Runs the nginx that nginx.sh has unpacked: nginx.py ROOT [echo|route|handshake] [flags]

Becomes nginx, one process that serves as a worker; `listening ws://127.0.0.1:PORT` is printed once it does.
"""

import argparse
import contextlib
import os
import platform
import resource
import socket
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
START_S = 60
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
KEPT_FREE = 64  # descriptors for what is no connection
WORK = {"echo": ("echo", ""), "route": ("route", ""),
        "handshake": ("echo", 'access_by_lua_block { require("nginx_peer").access() }')}  # fmt: skip


def configuration(root, run, port, work, tls):
    content, access = WORK[work]
    text = (HERE / "nginx.conf").read_text()
    values = {
        "RUN": run,
        "ROOT": root,
        "HERE": HERE,
        "ARCH": f"{platform.machine()}-linux-gnu",
        "ADDRESS": f"127.0.0.1:{port}",
        "CONNECTIONS": min(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - KEPT_FREE, 150000),
        "WORK": content,
        "ACCESS": access,
        "TLS": "ssl" if tls else "",
        "CERTIFICATE": f"ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};" if tls else "",
    }
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    descriptor = os.memfd_create("nginx.conf", 0)  # inherited: no file to leave behind
    os.write(descriptor, text.encode())
    return f"/proc/self/fd/{descriptor}"


def announce(port, line):
    """Prints the line once somebody listens, from a grandchild: this process becomes nginx."""
    if os.fork() > 0:
        os.wait()
        return
    if os.fork() == 0:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
                print(line, flush=True)
                break
            time.sleep(0.01)
    os._exit(0)


def try_out(command, environment, port):
    """0 when it serves a WebSocket."""
    with subprocess.Popen(command, env=environment, close_fds=False) as nginx:
        try:
            return 0 if upgrades(port, nginx) else 1
        finally:
            nginx.terminate()


def upgrades(port, nginx):
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and nginx.poll() is None:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(UPGRADE)
            return client.recv(4096).startswith(b"HTTP/1.1 101")
        time.sleep(0.01)
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("work", nargs="?", default="echo", choices=WORK)
    parser.add_argument("--tls", nargs=2, type=Path, metavar=("CERTIFICATE", "KEY"))
    parser.add_argument("--try", dest="trial", action="store_true", help="only whether it would start")
    parser.add_argument("--under", nargs=argparse.REMAINDER, default=[], help="what runs it: valgrind, strace")
    options = parser.parse_args()
    root = options.root.resolve()
    tls = [path.resolve() for path in options.tls] if options.tls else None
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    keeper.bind(("127.0.0.1", 0))  # and no listen: it keeps the port for nginx
    keeper.set_inheritable(True)
    port = keeper.getsockname()[1]
    run = root / "run"
    run.mkdir(exist_ok=True)
    config = configuration(root, run, port, options.work, tls)
    libraries = [root / part / f"{platform.machine()}-linux-gnu" for part in ("usr/lib", "lib")]
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, libraries))}
    command = [str(root / "usr/sbin/nginx"), "-p", str(run), "-e", "stderr", "-c", config]
    if options.trial:
        return try_out(command, environment, port)
    announce(port, f"listening {'wss' if tls else 'ws'}://127.0.0.1:{port}")
    os.execvpe([*options.under, *command][0], [*options.under, *command], environment)


if __name__ == "__main__":
    raise SystemExit(main())
