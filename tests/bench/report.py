"""What was measured as Markdown: a table a scenario, and what it was measured with."""

import os
import platform
import subprocess

import servers

# (figure, title, format) of each column; the first is the one that ratios are of.
TABLES = {
    "messages": [
        ("cpu_us", "CPU us", "{:.2f}"),
        ("user_us", "user us", "{:.2f}"),
        ("system_us", "system us", "{:.2f}"),
        ("per_second", "a second", "{:,.0f}"),
        ("p50_us", "p50 us", "{:,.0f}"),
        ("p99_us", "p99 us", "{:,.0f}"),
    ],
    "memory": [
        ("bytes_per_client", "bytes a connection", "{:,.0f}"),
        ("open_seconds", "seconds to open all", "{:.2f}"),
    ],
    "crowd": [
        ("bytes_per_client", "bytes a connection", "{:,.0f}"),
        ("clients", "connections", "{:,.0f}"),
        ("processes", "server processes", "{:.0f}"),
        ("open_seconds", "seconds to open all", "{:.2f}"),
        ("cpu_us", "CPU us a message", "{:.2f}"),
        ("p50_us", "p50 us", "{:,.0f}"),
        ("p99_us", "p99 us", "{:,.0f}"),
    ],
    "events": [
        ("cpu_us", "CPU us an event", "{:.2f}"),
        ("user_us", "user us", "{:.2f}"),
        ("system_us", "system us", "{:.2f}"),
        ("operations", "events", "{:,.0f}"),
        ("per_second", "events a second", "{:,.0f}"),
        ("p50_us", "p50 gap us", "{:,.0f}"),
        ("p99_us", "p99 gap us", "{:,.0f}"),
        ("max_us", "worst gap us", "{:,.0f}"),
    ],
}
PACKAGES = ["libluajit-5.1-2", "libluajit2-5.1-2", "libuv1", "libwslay1", "libmbedtls14", "libmbedtls21",
            "libwebsockets17", "libwebsockets19t64", "nodejs", "node-ws", "openssl", "valgrind"]  # fmt: skip


def table(scenario, medians):
    """Ratios are to Tidegate, or to the first row of its own: more than 1 costs more."""
    columns = TABLES[scenario.get("table", "messages")]
    key = columns[0][0]
    first = next(iter(medians))
    own = medians[first][key] or 1
    rows = medians.items()
    if "workers" not in scenario:
        rows = sorted(rows, key=lambda row: row[1][key])
    lines = [f"### {scenario['name']}: {scenario['about']}", ""]
    lines.append(f"| server | ratio to {first} | " + " | ".join(title for _, title, _ in columns) + " |")
    lines.append("| --- |" + " ---: |" * (len(columns) + 1))
    for name, figures in rows:
        cells = [form.format(figures[column]) for column, _, form in columns]
        lines.append(f"| {name} | {figures[key] / own:.2f} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def versions():
    """Lines of packages and their versions, those of the unpacked nginx included."""
    query = ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Package} ${Version}\n", *PACKAGES]
    try:
        known = subprocess.run(query, capture_output=True, text=True).stdout.splitlines()
    except FileNotFoundError:  # no Debian
        return []
    lines = [line[3:].strip() for line in known if line.startswith("ii")]
    for path in sorted((servers.NGINX / "packages").glob("*.deb")):
        name, version, _ = path.name.split("_")
        lines.append(f"{name} {version.replace('%3a', ':')} (unpacked for the nginx peer)")
    return lines


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    version = subprocess.run([servers.BINARY, "version"], capture_output=True, text=True).stdout.strip()
    where = f"{model}, {len(servers.cores())} cores, Linux {platform.release()}"
    load = "{:.1f}".format(os.getloadavg()[0])
    where += f"; server on core {sorted(servers.server_cores())}, load on core {sorted(servers.client_cores())}"
    return f"{where}; load average at the start {load}\n\n```text\n" + "\n".join([version, *versions()]) + "\n```\n"
