#!/usr/bin/env python3
"""What a message costs in figures that repeat: instructions, allocations and system calls of the real server.

    TIDEGATE_BIN=build/release/tidegate tests/bench/instructions.py [SCENARIO...] [--parts] [--top N]

The server runs under valgrind's callgrind (and again under strace) and is given a load of few and one of
many messages, each by a fresh start; the difference over the number of messages is the figure, so that
start, connects and end cancel out. What remains depends on how many messages each wake of the loop
finds: under valgrind the server is the slow side, so that is nearly always all of them.
"""

import argparse
import collections
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import servers

# name: work (servers.py), flags of the load, few and many operations. Of a stream an operation is a run, and its
# 102 events are the messages.
SCENARIOS = {
    "echo-small": ("echo", [], (2000, 12000)),
    "echo-small-deep": ("echo", ["--depth", "16"], (8000, 40000)),
    "echo-1k": ("echo", ["--size", "1024"], (2000, 12000)),
    "echo-16k": ("echo", ["--size", "16384"], (1000, 4000)),
    "echo-1m": ("echo", ["--clients", "2", "--size", "1048576"], (20, 60)),
    "route": ("route", [], (2000, 12000)),
    "route-deep": ("route", ["--depth", "16"], (8000, 40000)),
    "connect": ("connect", [], (400, 1600)),
    "handshake": ("handshake", ["--header", "Authorization: Bearer bench-key"], (400, 1600)),
    "stream": ("stream", [], (20, 100)),
    "stream-paced": ("stream", ["--pause", "0"], (20, 100)),
}
EVENTS_OF_A_RUN = 102
USUAL = ["echo-small", "echo-small-deep", "route", "route-deep", "connect", "handshake", "stream"]
ALLOCATORS = ("malloc", "calloc", "realloc")

# Budgets and deadlines in seconds of a machine, which valgrind is not.
PATIENCE = ["script.cpu_budget=20s", "script.wall_budget=60s", "limits.handshake_timeout=60s",
            "limits.auth_timeout=60s", "limits.setup_timeout=60s", "limits.ping_interval=300s",
            "limits.pong_timeout=60s"]  # fmt: skip


def serve(prefix, name, work, workers):
    """(process started, port) of a server that runs under the program in `prefix`."""
    more = {"workers": workers, "settings": PATIENCE} if name == "tidegate" else {}
    command = servers.COMMANDS[name](work, **more)
    if command is None:
        raise SystemExit(f"instructions: {name} does not do {work}")
    # nginx is started by a script, which then becomes it.
    command = [*command, "--under", *prefix] if name == "nginx-lua" else [*prefix, *command]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TIDEGATE_")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    line = process.stdout.readline()
    if not line.startswith("listening "):
        raise SystemExit(f"instructions: {' '.join(map(str, command))} did not start")
    return process, line.strip().rsplit(":", 1)[1]


def itself(pid):
    return pid


def child_of(pid):
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def run(prefix, scenario, operations, server="tidegate", workers=1, pid_of=itself):
    """The load of one scenario against a server started through `prefix`; `pid_of` finds it from what was started."""
    work, flags, _ = SCENARIOS[scenario]
    process, port = serve(prefix, server, work, workers)
    try:
        kind = "connect" if work == "handshake" else work
        flags = [*flags, "--raw"] if server == "raw" else flags
        command = [servers.PROGRAMS / "load", "--work", kind, "--clients", "20", *flags]
        command += ["--operations", str(operations), "127.0.0.1", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise SystemExit(f"instructions: {scenario}: {done.stderr.strip()}")
    finally:
        os.kill(pid_of(process.pid), signal.SIGTERM)
        process.wait(timeout=120)
        process.stdout.close()


# --- callgrind -----------------------------------------------------------------------------------------
class Profile:
    """A file of callgrind's: instructions by (object, file, function) without what they call, and calls."""

    def __init__(self, path):
        self.costs = collections.Counter()
        self.calls = collections.Counter()
        self.names = {"ob": {}, "fl": {}, "fn": {}}
        self._read(path)

    def _named(self, kind, text):
        """A name, from `(7) name` when it is first seen and `(7)` later."""
        match = re.fullmatch(r"\((\d+)\)(?: (.*))?", text)
        if match is None:
            return text
        if match[2] is not None:
            self.names[kind][match[1]] = match[2]
        return self.names[kind][match[1]]

    def _read(self, path):
        here = {"ob": "", "fl": "", "fn": ""}
        after_calls = False
        with open(path) as lines:
            for line in lines:
                key, equals, text = line.rstrip("\n").partition("=")
                if not equals:
                    words = line.split()
                    if after_calls:  # what the called one cost, told with itself, too
                        after_calls = False
                    elif len(words) == 2 and words[0].isdigit():
                        self.costs[here["ob"], here["fl"], here["fn"]] += int(words[1])
                elif key in here:
                    here[key] = self._named(key, text)
                elif key in ("fi", "fe", "cfi", "cfl"):
                    self._named("fl", text)
                elif key == "cob":
                    self._named("ob", text)
                elif key == "cfn":
                    called = self._named("fn", text)
                elif key == "calls":
                    self.calls[called] += int(text.split()[0])
                    after_calls = True


def profile(scenario, operations, folder, **more):
    out = folder / f"{scenario}.{operations}"
    prefix = ["valgrind", "--tool=callgrind", "--quiet", f"--callgrind-out-file={out}", "--compress-pos=no"]
    run(prefix, scenario, operations, **more)
    return Profile(out)


def per_message(few, many, messages):
    """The difference of two counters, over the messages."""
    return {key: (many[key] - few[key]) / messages for key in many if many[key] != few[key]}


# --- parts ---------------------------------------------------------------------------------------------
def part_of(key):
    """Where a cost belongs: a folder of core/, or the library."""
    ob, fl, fn = key
    match = re.search(r"/core/([a-z_]+(?:/[a-z_]+)*)/[a-z0-9_]+\.[ch]$", fl)
    if match:
        return "core/" + match[1]
    name = re.sub(r"\.so.*", "", Path(ob).name)
    if name == "libc" and re.match(r"_?_?(int_|libc_)?(malloc|free|calloc|realloc|memalign|malloc_|tcache|unlink)", fn):
        return "libc: malloc"
    return {"libluajit-5": "LuaJIT", "libluajit-5.1": "LuaJIT"}.get(name, name)


def grouped(costs, group):
    groups = collections.Counter()
    for key, cost in costs.items():
        groups[group(key)] += cost
    return groups


def function_of(key):
    ob, fl, fn = key
    place = re.search(r"/(core/.*)$", fl)
    return f"{fn}  [{place[1] if place else Path(ob).name}]"


# --- system calls --------------------------------------------------------------------------------------
def system_calls(scenario, operations, folder, **more):
    """Calls by name, from strace's summary."""
    out = folder / f"{scenario}.{operations}.strace"
    run(["strace", "-f", "-c", "-U", "name,calls", "-o", out], scenario, operations, pid_of=child_of, **more)
    counts = collections.Counter()
    for line in out.read_text().splitlines():
        words = line.split()
        if len(words) == 2 and words[1].isdigit() and words[0] != "total":
            counts[words[0]] = int(words[1])
    return counts


def table(title, rows, unit):
    print(f"\n  {title}")
    for name, value in rows:
        print(f"  {value:12.{unit}f}  {name}")


def measure(scenario, options, folder):
    few, many = SCENARIOS[scenario][2]
    messages = (many - few) * (EVENTS_OF_A_RUN if scenario.startswith("stream") else 1)
    how = {"server": options.server, "workers": options.workers}
    if options.instructions:
        profiles = [profile(scenario, count, folder, **how) for count in (few, many)]
        costs = per_message(profiles[0].costs, profiles[1].costs, messages)
        calls = per_message(profiles[0].calls, profiles[1].calls, messages)
        allocations = sum(calls.get(name, 0) for name in ALLOCATORS)
        print(f"{scenario:16} {sum(costs.values()):9.0f} instructions  {allocations:6.2f} allocations", end="")
    else:
        print(f"{scenario:16}", end="")
    if options.system_calls:
        counts = [system_calls(scenario, count, folder, **how) for count in (few, many)]
        by_name = per_message(*counts, messages)
        told = sorted(((name, value) for name, value in by_name.items() if abs(value) >= 0.005), key=lambda r: -r[1])
        print(f"  {sum(by_name.values()):6.2f} system calls:", ", ".join(f"{n} {v:.2f}" for n, v in told), end="")
    print(flush=True)
    if options.instructions and options.parts:
        table("instructions by part, without what it calls", grouped(costs, part_of).most_common(20), 0)
    if options.instructions and options.top:
        table("by function, without what it calls", grouped(costs, function_of).most_common(options.top), 0)
        table("calls", sorted(calls.items(), key=lambda item: -item[1])[: options.top], 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--parts", action="store_true", help="instructions by part of the server")
    parser.add_argument("--top", type=int, default=0, metavar="N", help="the N functions that cost most")
    choices = [name for name in servers.COMMANDS if name != "node-ws"]  # valgrind is too slow for it
    parser.add_argument("--server", default="tidegate", choices=choices)
    parser.add_argument("--workers", type=int, default=1, help="of the server (1)")
    parser.add_argument("--no-instructions", dest="instructions", action="store_false", help="system calls only")
    parser.add_argument("--no-system-calls", dest="system_calls", action="store_false", help="no strace")
    options = parser.parse_args()
    unknown = set(options.names) - set(SCENARIOS)
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    if options.instructions and shutil.which("valgrind") is None:
        raise SystemExit("instructions: valgrind is not installed")
    options.system_calls = options.system_calls and shutil.which("strace") is not None
    with tempfile.TemporaryDirectory() as folder:
        for name in options.names or USUAL:
            measure(name, options, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
