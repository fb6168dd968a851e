#!/usr/bin/env python3
"""Where the server's time goes: by system call and by library, from perf's samples of its CPU clock.

    ./dev bench where [SCENARIO] [--seconds S]

What is the program's own, by part, is told by `./dev bench instructions SCENARIO --parts`, which repeats.
"""

import argparse
import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import compare
import servers

SYSTEM_CALL = re.compile(r"^(?:ksys_|__x64_sys_|__se_sys_|__do_sys_|__arm64_sys_)(\w+)$")
PER_SECOND = "1999"


def place_of(stack):
    """The system call that a sample was in, or the library it was in; stack: (symbol, file) from the innermost on."""
    for symbol, _ in stack:
        match = SYSTEM_CALL.match(symbol)
        if match:
            return f"kernel: {match[1]}"
    file = stack[0][1]
    if "kernel" in file:
        return "kernel: other"
    return f"user: {Path(re.sub(r'[.]so.*', '.so', file)).name}"


def samples(text):
    """The stacks in what `perf script` prints."""
    for block in text.split("\n\n"):
        stack = re.findall(r"^\s+[0-9a-f]+ (\S+?)(?:\+0x[0-9a-f]+)? \((.*)\)$", block, re.M)
        if stack:
            yield stack


def record(scenario, seconds, folder):
    """The text of perf's samples while the load runs, and the load's figures."""
    tls = compare.certificate(folder) if scenario.get("tls") else None
    server = servers.Server("tidegate", scenario["work"], tls=tls)
    load = compare.Load("tidegate", {**scenario, "seconds": seconds}, server, wait=True)
    data = folder / "perf.data"
    try:
        load.wait_ready()
        perf = subprocess.Popen(
            ["perf", "record", "-q", "-e", "cpu-clock", "-F", PER_SECOND, "-g", "-p", str(server.pid), "-o", data]
        )
        load.go()
        figures = load.figures()
        perf.terminate()
        perf.wait()
    finally:
        load.stop()
        server.stop()
    script = ["perf", "script", "-i", data, "-F", "ip,sym,dso"]
    done = subprocess.run(script, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        raise SystemExit(f"where: {done.stderr.strip()}")
    return done.stdout, figures


def main():
    known = {scenario["name"]: scenario for scenario in compare.scenarios() if not scenario.get("spread")}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenario", nargs="?", default="echo-small", choices=known)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    if shutil.which("perf") is None:
        raise SystemExit("where: perf is not installed (linux-perf)")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        text, figures = record(known[options.scenario], options.seconds, Path(folder))
    places = collections.Counter(place_of(stack) for stack in samples(text))
    total = sum(places.values())
    if total == 0:
        raise SystemExit(f"where: perf took no sample; may this user ({os.geteuid()}) use it?")
    print(f"{options.scenario}: {figures['cpu_us']:.2f} us of CPU an operation, {total} samples")
    for place, count in places.most_common():
        if count / total >= 0.005:
            print(f"  {figures['cpu_us'] * count / total:8.2f} us {100 * count / total:5.1f} %  {place}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
