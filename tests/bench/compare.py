#!/usr/bin/env python3
"""Tidegate side by side with its peers: server CPU per message, memory, latency, as ratios of one run.

    TIDEGATE_BIN=build/release/tidegate tests/bench/compare.py [--rounds N] [--report FILE] [SCENARIO...]

Peers are what packages give: a raw TCP echo on epoll, libwebsockets, Node's `ws`; one whose package is not
installed is left out. Servers take turns within each round, so that what else the machine does meets
all of them; the medians of the rounds are told. The server and the load each keep a core to themselves
where there are two. Every answer is checked by the load generator (load/).
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
BINARY = Path(os.environ.get("TIDEGATE_BIN", "build/release/tidegate")).resolve()
PROGRAMS = BINARY.parent / "tests" / "bench"
SERVER_CORE, CLIENT_CORE = 0, 1


def tidegate(policy):
    return [BINARY, "run", HERE / "peers" / policy, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
            "--workers", "1", "--log-level", "warn"]  # fmt: skip


def node(work):
    return ["node", HERE / "peers" / "ws_server.js", work]


# What serves each kind of work; None: this peer does not.
PEERS = {
    "tidegate": lambda work: tidegate("route.lua" if work == "route" else "echo.lua"),
    "raw": lambda work: [PROGRAMS / "raw_echo"] if work in ("echo", "idle") else None,
    "libwebsockets": lambda work: [PROGRAMS / "lws_echo"] if work != "route" else None,
    "node-ws": lambda work: node("route" if work == "route" else "echo"),
}


def usable(name):
    if name == "node-ws":
        return shutil.which("node") is not None
    return Path(PEERS[name]("echo")[0]).exists()


def pin(core):
    """For the start of a child: one core of its own, and descriptors for many connections."""

    def prepare():
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) > 1:
            os.sched_setaffinity(0, {cores[core % len(cores)]})

    return prepare


class Peer:
    """A server that runs and knows its port."""

    def __init__(self, name, work):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TIDEGATE_")}
        environment["NODE_PATH"] = "/usr/share/nodejs"
        self.process = subprocess.Popen(
            PEERS[name](work), stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=pin(SERVER_CORE)
        )
        line = self.process.stdout.readline()
        if not line.startswith("listening "):
            raise SystemExit(f"compare: {name} did not start")
        self.port = line.strip().rsplit(":", 1)[1]

    def stop(self):
        self.process.terminate()
        self.process.wait()


def measure(name, scenario):
    """One run of the load against a fresh server of that name."""
    work = scenario["work"]
    peer = Peer(name, work)
    try:
        flags = ["--work", "raw" if name == "raw" else work, "--server", str(peer.process.pid)]
        for key in ("clients", "depth", "size", "seconds", "warm", "opening"):
            if key in scenario:
                flags += [f"--{key}", str(scenario[key])]
        if scenario.get("utf8"):
            flags.append("--utf8")
        command = [PROGRAMS / "load", *flags, "127.0.0.1", peer.port]
        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=pin(CLIENT_CORE))
        if done.returncode != 0:
            raise SystemExit(f"compare: {name}, {scenario['name']}: {done.stderr.strip()}")
        return json.loads(done.stdout)
    finally:
        peer.stop()


def compare(scenario, rounds):
    """The medians of each peer, by name, Tidegate first."""
    names = [name for name in PEERS if PEERS[name](scenario["work"]) and usable(name)]
    runs = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            runs[name].append(measure(name, scenario))
    return {
        name: {key: statistics.median(run[key] for run in of_name) for key in of_name[0]}
        for name, of_name in runs.items()
    }


COLUMNS = {
    "idle": [("bytes_per_client", "bytes a client", "{:.0f}")],
    "": [
        ("cpu_us", "CPU us", "{:.2f}"),
        ("user_share", "user share", "{:.2f}"),
        ("per_second", "a second", "{:.0f}"),
        ("p50_us", "p50 us", "{:.0f}"),
        ("p99_us", "p99 us", "{:.0f}"),
    ],
}


def table(scenario, medians):
    """The scenario as a Markdown table; ratios are to Tidegate: more than 1 costs more than it."""
    columns = COLUMNS.get(scenario["work"], COLUMNS[""])
    key = columns[0][0]
    lines = [f"### {scenario['name']}: {scenario['about']}", ""]
    lines.append("| server | ratio | " + " | ".join(title for _, title, _ in columns) + " |")
    lines.append("| --- |" + " ---: |" * (len(columns) + 1))
    own = medians["tidegate"][key] or 1
    for name, figures in sorted(medians.items(), key=lambda item: item[1][key]):
        cells = [form.format(figures[column]) for column, _, form in columns]
        lines.append(f"| {name} | {figures[key] / own:.2f} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    version = subprocess.run([BINARY, "version"], capture_output=True, text=True).stdout.strip()
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, Linux {platform.release()}\n\n```text\n{version}\n```\n"


def main():
    scenarios = tomllib.loads((HERE / "scenarios.toml").read_text())["scenario"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help=", ".join(s["name"] for s in scenarios))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--report", type=Path, help="also write the tables to this Markdown file")
    options = parser.parse_args()
    unknown = set(options.names) - {scenario["name"] for scenario in scenarios}
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    parts = [f"# Benchmarks\n\n{machine()}"]
    for scenario in scenarios:
        if options.names and scenario["name"] not in options.names:
            continue
        parts.append(table(scenario, compare(scenario, options.rounds)))
        print(parts[-1], flush=True)
    if options.report:
        options.report.write_text("\n".join(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
