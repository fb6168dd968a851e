"""What the documents tell a reader to type works: the README, those of the examples, the heads of policies.

Each document is followed from its first line to its last in a folder of its own that looks like the
repository. A command that serves is started and stays; addresses in what follows become its real ones. A
command that this file does not know fails.
"""

import asyncio
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

from harness import BINARY, DEADLINE, ROOT, SANITIZER_REPORTS, Lines, ServerTest
from harness import clean_environment, tidegate, websockets

EXAMPLES = sorted(path for path in (ROOT / "examples").iterdir() if path.is_dir())
POLICIES = sorted(path for path in (ROOT / "policies").glob("*.lua") if not path.stem.endswith("_spec"))
README = (ROOT / "README.md").read_text()

FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
INLINE = re.compile(r"`((?:tidegate|\./dev|build/\S+|python3|curl|cmake|apt|apt-get|openssl|key=\S+) [^`\n]+)`")
# Not to be typed as it is: "tidegate run [POLICY]", "tidegate connect wss://…", "tidegate check".
PATTERN = re.compile(r"[\[…]|\s(?!POST )[A-Z_]+(\s|$)|^tidegate [a-z]+$|^tidegate connect --\w+$")

# Run elsewhere, and where.
ELSEWHERE = {
    r"\./dev (test|lint|fuzz|bench|docs|build|clean|help)\b": "dev is what runs this test, or what builds for it",
    r"xdg-open ": "needs a screen; browser_test opens the page",
    r"cmake --preset package && ": "builds the whole program once more; packaging is tried by hand",
}
SERVES = re.compile(r"^(?:\w+=\S+ )*(?:\./dev run|(?:build/release/)?tidegate run|python3 \S+)(?: |$)")
KNOWN = re.compile(
    r"^(?:\w+=\S* )*(?:(?:build/release/)?tidegate (?:check|connect|ctl|repl|test) |curl .*127\.0\.0\.1"
    r"|openssl |mkdir |cp |cat > |echo |export |key=|claims=|TOKEN=)"
)

# What the README's `tidegate check shop` looks at.
SHOP = {
    "users.lua": "local users, u = {}\nfunction users.read()\n  u = os.getenv('USERS')\n  return u\n"
    "end\nreturn users\n",
    "init.lua": "local users = require 'users'\nlocal policy = {}" + "\n" * 9 + "function policy.authenticate(conn)\n"
    "  local name = users[conn.request.path]\n  if not name then\n"
    "  conn:sned({ type = 'no' })\n  end\n  return name and { user_id = name }\nend\nreturn policy\n",
}


def commands(text):
    """The commands of a block: lines, joined where one goes on in the next."""
    found, lines = [], iter(text.splitlines())
    for line in lines:
        while line.endswith(("\\", "|")):
            line = line.removesuffix("\\") + (" " if line.endswith("\\") else "\n") + next(lines).strip()
        here = re.search(r"<<'(\w+)'", line)
        while here and not line.endswith("\n" + here[1]):
            line += "\n" + next(lines)
        if line.strip():
            found.append((line, None))
    return found


def dialogue(text):
    """[(command, what it prints)] of a block with prompts."""
    return [tuple(part.split("\n", 1)) for part in re.split(r"^\$ ", text, flags=re.M)[1:]]


def steps(text):
    """All commands of a document, in its order: of its blocks, and those inside sentences."""
    found = []
    for match in FENCED.finditer(text):
        if match[1] in ("sh", "console"):
            found += [(match.start(), step) for step in (commands if match[1] == "sh" else dialogue)(match[2])]
    prose = FENCED.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    found += [(m.start(), (m[1], None)) for m in INLINE.finditer(prose) if not PATTERN.search(m[1])]
    return [step for _, step in sorted(found, key=lambda entry: entry[0])]


def head(path):
    """(what serves, other commands, arguments of connect) in a file's first comment."""
    lines = re.match(r"(?:--.*\n)*", path.read_text())[0]
    lines = re.sub(r"\n--   (?=--)", " ", lines)
    typed = re.findall(r"^-- (?:Run:|  ) *(.*)", lines, re.M)
    serve = [line for line in typed if SERVES.match(line)]
    other = [line for line in typed if KNOWN.match(line) and not PATTERN.search(line)]
    # How a token is made says the example's README.
    return serve, other, [line for line in re.findall(r"^-- try: (.*)", lines, re.M) if "$" not in line]


class Reader(ServerTest):
    """Somebody who types what is written."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="tidegate-reader-"))
        self.addCleanup(shutil.rmtree, self.folder)
        for name in ("policies", "examples", "tests", "lua"):
            (self.folder / name).symlink_to(ROOT / name)
        for name in ("bin", "build/release"):
            (self.folder / name).mkdir(parents=True)
            (self.folder / name / "tidegate").symlink_to(BINARY.resolve())
        self.addresses, self.variables, self.more = {}, self.folder / ".variables", ""
        self.variables.touch()
        self.environment = clean_environment({"PATH": f"{self.folder}/bin:{os.environ['PATH']}"})

    def real(self, command):
        """The same command for the servers of this test."""
        for written, address in self.addresses.items():
            command = command.replace(written, address)
        command = command.replace("=… ", "=k-anything ").replace("curl ", "curl --fail ")
        return command.replace("python3 ", shlex.quote(sys.executable) + " ", 1)

    async def start(self, command):
        """Starts what serves, on ports of its own, and waits until it does."""
        command = self.real(re.sub(r"\./dev run", "tidegate run", re.sub(r"\s+#.*", "", command)))
        if "tidegate run" in command:
            command = re.sub(r"tidegate run(?= --|$)", "tidegate run examples/hello", command)
            command += " --listen 127.0.0.1:0 --admin 127.0.0.1:0 --workers 1 --set drain_timeout=1s" + self.more
        else:
            command += " --port 0"
        assignments = re.match(r"(?:\w+=\S+ )*", command)[0]
        process = await asyncio.to_thread(
            subprocess.Popen,
            ["bash", "-c", f". ./.variables; {assignments} exec {command[len(assignments):]}"],
            cwd=self.folder, env=self.environment, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        out, log = Lines(process.stdout), Lines(process.stderr)
        self.addAsyncCleanup(self.end, command, process, out, log)
        try:
            line = await asyncio.to_thread(out.wait, r"^(listening|model) \w+://")
        except AssertionError:
            raise AssertionError(f"{command}\n{log.text()}") from None
        url = line.split()[1].rstrip("/")
        if "model_server" in command:
            self.more = f" --set options.base_url={url}" + ("" if url.endswith("/v1") else "/v1")
        elif "tidegate run" not in command:
            self.more = f" --set options.url={url}"
        else:
            admin = (await asyncio.to_thread(out.wait, "^admin ")).split("//")[1].rstrip("/")
            self.environment["TIDEGATE_ADMIN"] = admin
            self.addresses = {"ws://127.0.0.1:8080": url, "127.0.0.1:9180": admin, "10.0.0.5:9180": admin}
            return url
        return None

    async def end(self, command, process, out, log):
        process.terminate()
        code = await asyncio.to_thread(process.wait, DEADLINE)
        for lines in (out, log):
            await asyncio.to_thread(lines.join)
        if "tidegate run" in command:
            self.assertEqual(code, 0, f"{command}\n{log.text()}")
        for report in SANITIZER_REPORTS:
            self.assertNotIn(report, log.text(), command)

    async def type(self, command, code=0):
        """Runs a command to its end; what it assigns is there for the next ones."""
        keep = re.match(r"(?:export )?(\w+)=(?:\$\(|'|\")", command)
        script = f"set -e; . ./.variables\n{self.real(command)}\n"
        if keep:
            script += f"declare -p {keep[1]} >> .variables\n"
        done = await asyncio.to_thread(
            subprocess.run, ["bash", "-o", "pipefail", "-c", script], cwd=self.folder, env=self.environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=6 * DEADLINE,
        )  # fmt: skip
        self.assertEqual(done.returncode, code, f"{command}\n{done.stdout}{done.stderr}")
        for report in SANITIZER_REPORTS:
            self.assertNotIn(report, done.stderr, command)
        return done.stdout

    async def follow(self, document):
        """Types all that a document says; returns what each command printed."""
        said = []
        for command, shown in document:
            if any(re.match(where, command) for where in ELSEWHERE):
                continue
            if SERVES.match(command):
                await self.start(command)
                continue
            self.assertRegex(command, KNOWN, "a command that this test does not know")
            out = await self.type(command, 1 if shown and "error:" in shown else 0)
            if shown is not None:
                self.assertEqual(out, shown, command)
            said.append((command, out))
        return said


class Documents(Reader):
    async def test_all_that_the_readme_says_works_from_the_first_line_to_the_last(self):
        greeter = next(m[2] for m in FENCED.finditer(README) if "return policy" in m[2])
        (self.folder / "greeter.lua").write_text(greeter)
        for name, text in SHOP.items():
            (self.folder / "shop").mkdir(exist_ok=True)
            (self.folder / "shop" / name).write_text(text)
        document = steps(README)
        self.assertGreater(len(document), 15)
        said = await self.follow(document)
        self.assertNotIn("not taken\n", [out for _, out in said])
        answers = [out for command, out in said if " connect " in command and "--agent" in command]
        wanted = ("You said: Hello", "Hello World", "Hello ada, you said: how are you?")
        for answer, expected in zip(answers, wanted, strict=True):
            self.assertIn(expected, answer)

    async def test_the_client_in_python_talks_to_the_first_policy(self):
        blocks = {m[1]: m[2] for m in reversed(list(FENCED.finditer(README))) if m[1] in ("lua", "python")}
        server = await self.serve(blocks["lua"])
        program = "import asyncio, websockets\nasync def main(url):\n" + textwrap.indent(blocks["python"], "    ")
        program += f"asyncio.run(main({server.url!r}))\n"
        if int(websockets.__version__.split(".")[0]) >= 14:
            program = program.replace("extra_headers", "additional_headers")
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env=self.environment,
        )  # fmt: skip
        out = Lines(process.stdout)
        try:
            await asyncio.to_thread(out.wait, "Hello World")
        finally:
            process.kill()
            await asyncio.to_thread(process.wait)
            out.join()

    async def test_all_that_the_readmes_of_the_examples_say_works(self):
        for example in EXAMPLES:
            with self.subTest(example.name):
                self.more, self.addresses = "", {}
                text = (example / "README.md").read_text()
                if "model_server.py" in text:  # a stand-in for the model, which readers have
                    await self.start("python3 tests/e2e/model_server.py")
                said = await self.follow([s for s in steps(text) if "model_server" not in s[0]])
                self.assertTrue([c for c, _ in said if "tidegate test" in c], "it says how to test it")
                for command, out in said:
                    if " --agent " in command:
                        self.assertIn("agent_completed", out, command)

    async def test_the_heads_of_policies_and_examples_say_how_to_run_them(self):
        certificates = self.folder / "certificates"
        certificates.mkdir()
        subprocess.run(["sh", ROOT / "tests/support/certificates.sh", certificates], check=True)
        for name in ("server.pem", "server.key", "ca.pem"):
            shutil.copy(certificates / name, self.folder)
        mtls = (ROOT / "policies/mtls.lua").read_text()
        tls = re.search(r"--   (return \{ tls = .*?\} \})$", mtls, re.M | re.S)[1]
        (self.folder / "tls.lua").write_text(tls.replace("\n--", "\n"))
        for path in POLICIES + [example / "init.lua" for example in EXAMPLES]:
            with self.subTest(str(path.relative_to(ROOT))):
                self.more, self.addresses = "", {}
                run, other, attempts = head(path)
                if "options.base_url" in " ".join(run):
                    await self.start("python3 tests/e2e/model_server.py")
                for command in run or [f"./dev run {path.parent.relative_to(ROOT)}"]:
                    await self.start(command)
                for command in other:
                    self.assertTrue(await self.type(command), command)
                for arguments in attempts:
                    out = await self.type(f"tidegate connect ws://127.0.0.1:8080 {arguments}")
                    self.assertIn("agent_completed", out)
                self.assertTrue(run or path.parent.parent.name == "examples", "how is it run?")
                self.assertLessEqual(len(attempts), 1)


class Lua(unittest.TestCase):
    """The README's pieces of Lua: policies, parts of policies, specs, configurations."""

    # Around a part of a policy. `demo` is a user of whom the options know.
    PART = """
local tide = require "tidegate"
local auth = require "tidegate.auth"
local policy = { authenticate = function(conn) return { user_id = conn.id } end }
function policy.binary() return tide.options.key, auth.keys end
"""
    HASH = "pbkdf2-sha256:600000:ZGVtbyBzYWx0IDEy:2_kbbLwAZme2Fqr4445_OaA45iZY-eOh7fnsToxPofE"

    def check(self, folder, text, command="check"):
        """Whatever it is, the program takes it."""
        (folder / "greeter.lua").write_text(next(m[2] for m in FENCED.finditer(README) if "return policy" in m[2]))
        if "describe(" in text:
            (folder / "greeter_spec.lua").write_text(text)
            return tidegate("test", folder, cwd=folder)
        if text.startswith("return {"):
            subprocess.run(["sh", ROOT / "tests/support/certificates.sh", folder], check=True)
            for name in ("example.org", "wildcard"):
                for kind in ("pem", "key"):
                    with contextlib.suppress(shutil.SameFileError):
                        shutil.copy(folder / f"wildcard.{kind}", folder / f"{name}.{kind}")
            (folder / "config.lua").write_text(text.replace("/etc/tidegate", str(folder)))
            return tidegate("check", folder / "greeter.lua", "--config", folder / "config.lua")
        if "return policy" not in text:
            text = self.PART + text + "\nreturn policy\n"
        (folder / "policy.lua").write_text(text)
        options = ("--set", f"options.users.ada={self.HASH}", "--set", "tls.client_auth=optional")
        certificates = ("--set", f"tls.client_ca={folder}/ca.pem", "--set", f"tls.certificate={folder}/server.pem")
        if "auth.mtls" in text:
            subprocess.run(["sh", ROOT / "tests/support/certificates.sh", folder], check=True)
            options += (*certificates, "--set", f"tls.key={folder}/server.key")
        return tidegate("check", folder / "policy.lua", *(options if "auth." in text[len(self.PART):] else ()))

    def test_every_piece_is_taken_by_the_program(self):
        pieces = [match[2] for match in FENCED.finditer(README) if match[1] == "lua"]
        self.assertGreater(len(pieces), 5)
        for text in pieces:
            with self.subTest(text), tempfile.TemporaryDirectory() as folder:
                done = self.check(Path(folder), text)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Names(unittest.TestCase):
    def test_what_the_readme_names_exists_and_what_exists_is_named(self):
        named = set(re.findall(r"`((?:policies|examples)/[\w./]+?)/?`", README))
        for name in sorted(named):
            self.assertTrue((ROOT / name).exists(), name)
        for path in POLICIES + EXAMPLES:
            self.assertIn(str(path.relative_to(ROOT)), named)

    def test_every_link_of_the_readme_leads_somewhere_and_its_contents_are_whole(self):
        sections = re.findall(r"^##+ (.*)", FENCED.sub("", README), re.M)
        anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in sections}
        for target in re.findall(r"\]\(([^)\s]+)\)", README):
            path, _, anchor = target.partition("#")
            if path:
                self.assertTrue((ROOT / path).exists(), target)
            else:
                self.assertIn(anchor, anchors)
        contents = README[: README.index("\n## ")]
        for title in re.findall(r"^## (.*)", FENCED.sub("", README), re.M):
            self.assertIn(f"[{title}](", contents)

    def test_no_row_of_a_table_stands_twice(self):
        for table in re.findall(r"(?:^\|.*\n)+", README, re.M):
            first = " ".join(row.split("|")[1] for row in table.splitlines()[2:])
            keys = re.findall(r"\b\d{4}\b|`[^`]+`", first)
            self.assertEqual(sorted({key for key in keys if keys.count(key) > 1}), [], table[:80])


if __name__ == "__main__":
    unittest.main()
