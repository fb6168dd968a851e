#!/usr/bin/env python3
"""Measures Tidegate, beside its peers and by itself. `./dev bench` builds what it needs and runs it.

    ./dev bench                         every comparison of scenarios.toml
    ./dev bench echo-small route        these
    ./dev bench --report FILE           as Markdown, too, with versions and machine
    ./dev bench --list                  what there is
    ./dev bench instructions [...]      one of the tools; what follows is for it
"""

import argparse
import runpy
import subprocess
import sys
from pathlib import Path

import compare
import report
import servers

HERE = Path(__file__).resolve().parent
TOOLS = {
    "instructions": "instructions, allocations and system calls of a message: figures that repeat",
    "where": "where the server's time goes, by system call and library (perf)",
    "hook_cost": "a hook call with and without budgets, metrics and transitions: nanoseconds and instructions",
    "concurrency": "what tasks and the shared store cost a script",
    "hostile": "crowds of hostile clients, and what they leave behind",
}
IN_REPORT = ("instructions", "hook_cost", "where")


def listing(scenarios):
    lines = ["Comparisons with peers, by medians of rounds:", ""]
    lines += [f"  {scenario['name']:16} {scenario['about']}" for scenario in scenarios]
    lines += ["", "Tools, each with flags of its own (NAME --help):", ""]
    lines += [f"  {name:16} {about}" for name, about in TOOLS.items()]
    absent = [f"  {name:16} not there: install {package}" for name, package in servers.missing().items()]
    return "\n".join(lines + (["", "Peers:", "", *absent] if absent else []))


def run_tool(name, arguments):
    sys.argv = [name, *arguments]
    runpy.run_path(str(HERE / f"{name}.py"), run_name="__main__")


def told_by(name):
    """What a tool prints, for the report."""
    done = subprocess.run([sys.executable, HERE / f"{name}.py"], stdout=subprocess.PIPE, text=True)
    return f"### {name}: {TOOLS[name]}\n\n```text\n{done.stdout.rstrip()}\n```\n"


def read_options(scenarios):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="./dev bench"
    )
    parser.add_argument("names", nargs="*", metavar="SCENARIO")
    parser.add_argument("--list", action="store_true", help="what there is")
    parser.add_argument("--rounds", type=int, default=5, help="each server takes so many turns (5)")
    parser.add_argument("--peers", help="only these servers, divided by commas")
    parser.add_argument("--seconds", type=float, help="measured in each turn, instead of what the scenario says")
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write the tables to this Markdown file")
    options = parser.parse_args()
    unknown = set(options.names) - {scenario["name"] for scenario in scenarios}
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; --list shows what there is")
    options.peers = options.peers.split(",") if options.peers else None
    if options.peers and set(options.peers) - set(servers.COMMANDS):
        parser.error(f"the servers are {', '.join(servers.COMMANDS)}")
    return options


def main():
    if len(sys.argv) > 1 and sys.argv[1] in TOOLS:
        return run_tool(sys.argv[1], sys.argv[2:])
    scenarios = compare.scenarios()
    options = read_options(scenarios)
    if options.list:
        print(listing(scenarios))
        return 0
    for name, package in servers.missing().items():
        print(f"bench: {name} is left out: it needs {package}", file=sys.stderr)
    told = [f"# Benchmarks\n\n{report.machine()}"]
    for scenario in scenarios:
        if options.names and scenario["name"] not in options.names:
            continue
        if scenario.get("tls") and not compare.has_tls():
            print(f"bench: {scenario['name']} is left out: it needs libssl-dev", file=sys.stderr)
            continue
        if options.seconds:
            scenario["seconds"] = options.seconds
        told.append(report.table(scenario, compare.compare(scenario, options.rounds, options.peers)))
        print(told[-1], flush=True)
        if options.report:
            options.report.write_text("\n".join(told))
    if options.report and not options.names:
        for name in IN_REPORT:
            told.append(told_by(name))
            options.report.write_text("\n".join(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
