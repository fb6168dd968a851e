#!/usr/bin/env python3
"""Tidegate side by side with its peers: server CPU per message, memory, latency, as ratios of one run.

Servers take turns within each round, so that what else the machine does meets all of them; the medians
of the rounds are told. Server and load each keep cores of their own where there are two. Every answer is
checked by the load generator (load/). `./dev bench` is the way to it; bench.py the command line.
"""

import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import servers

HERE = Path(__file__).resolve().parent
LOAD_FLAGS = ("clients", "depth", "size", "seconds", "warm", "opening", "header", "active", "pause", "operations", "text")
WORST_OF = ("p50_us", "p99_us", "max_us", "open_seconds", "seconds")  # of several loads at once
KEPT_FREE = 300  # descriptors of a process that are no connections


def scenarios():
    listed = tomllib.loads((HERE / "scenarios.toml").read_text())["scenario"]
    return [{"clients": 100, **scenario} for scenario in listed]


def certificate(folder):
    """A key and a self-signed certificate for 127.0.0.1, as (certificate, key)."""
    paths = folder / "certificate.pem", folder / "key.pem"
    if not paths[0].exists():
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                   "30", "-subj", "/CN=127.0.0.1", "-out", paths[0], "-keyout", paths[1]]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
    return paths


def has_tls():
    """Whether the load generator was built with it."""
    return "tls" in subprocess.run([servers.PROGRAMS / "load", "--features"], capture_output=True, text=True).stdout


class Load:
    """The load generator against one server, under way."""

    def __init__(self, name, scenario, server, wait):
        work = "connect" if scenario["work"] == "handshake" else scenario["work"]
        flags = ["--work", work, "--server", str(server.pid)]
        for key in LOAD_FLAGS:
            if key in scenario:
                flags += [f"--{key}", str(scenario[key])]
        flags += ["--tls"] if scenario.get("tls") else []
        flags += ["--raw"] if name == "raw" else []
        flags += ["--wait"] if wait else []
        self.about, self.server = f"{name}, {scenario['name']}", server
        self.process = subprocess.Popen(
            [servers.PROGRAMS / "load", *flags, "127.0.0.1", server.port],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=servers.prepare(servers.client_cores()),
        )

    def wait_ready(self):
        if self.process.stdout.readline() != "ready\n":
            self.figures()

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def figures(self):
        out, errors = self.process.communicate()
        if self.process.returncode != 0:
            raise SystemExit(f"bench: {self.about}: {errors.strip()}\n{self.server.last_words()}")
        return json.loads(out)

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def most_connections():
    """How many one process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] - KEPT_FREE


def parts(scenario):
    """The scenario once for each server process that it is spread over: no more connections than it may have."""
    count = math.ceil(scenario["clients"] / most_connections()) if scenario.get("spread") else 1
    return [
        {**scenario, **{key: divided(scenario[key], count, i) for key in ("clients", "active") if key in scenario}}
        for i in range(count)
    ]


def divided(whole, count, i):
    """The share of the i-th of so many; the shares add up to the whole."""
    return whole * (i + 1) // count - whole * i // count


def together(scenario, figures):
    """What several loads at once have measured, as one: the worst of each latency, sums and means."""
    clients = sum(part["clients"] for part in scenario)
    operations = sum(part["operations"] for part in figures) or 1
    return {
        **{key: max(part[key] for part in figures) for key in WORST_OF},
        **{key: sum(part[key] for part in figures) for key in ("operations", "per_second")},
        **{
            key: sum(part[key] * part["operations"] for part in figures) / operations
            for key in ("cpu_us", "user_us", "system_us")
        },
        "bytes_per_client": sum(
            of_part["bytes_per_client"] * part["clients"] for of_part, part in zip(figures, scenario)
        )
        / clients,
        "clients": clients,
        "processes": len(scenario),
    }


def measure(name, scenario, folder, **more):
    """One run of the load against fresh servers of that name."""
    tls = certificate(folder) if scenario.get("tls") else None
    split = parts(scenario)
    started, loads = [], []
    try:
        for part in split:
            started.append(servers.Server(name, scenario["work"], tls=tls, **more))
        for part, server in zip(split, started):
            loads.append(Load(name, part, server, wait=len(split) > 1))
        if len(split) > 1:
            for load in loads:
                load.wait_ready()
            for load in loads:
                load.go()
        return together(split, [load.figures() for load in loads])
    finally:
        for load in loads:
            load.stop()
        for server in started:
            server.stop()


def contestants(scenario, wanted=None):
    """{row: (name, arguments)} of who takes part, Tidegate first."""
    if "workers" in scenario:
        return {f"{n} worker{'s' if n > 1 else ''}": ("tidegate", {"workers": n}) for n in scenario["workers"]}
    tls = ("", "") if scenario.get("tls") else None
    absent = servers.missing()
    return {
        name: (name, {})
        for name, command in servers.COMMANDS.items()
        if name not in absent
        and name in (wanted or scenario.get("peers", servers.COMMANDS))
        and command(scenario["work"], tls=tls)
    }


def compare(scenario, rounds, wanted=None):
    """The medians of each row, Tidegate first."""
    rows = contestants(scenario, wanted)
    runs = {row: [] for row in rows}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for _ in range(rounds):
            for row, (name, more) in rows.items():
                runs[row].append(measure(name, scenario, Path(folder), **more))
    return {
        row: {key: statistics.median(run[key] for run in of_row) for key in of_row[0]} for row, of_row in runs.items()
    }


if __name__ == "__main__":
    import bench

    sys.exit(bench.main())
