"""`tidegate check`: every mistake that it knows, at its place, and nothing where there is none.

In the policies below a comment `--> CODE` ends each line that must have a finding with that code; what a
check finds must be these and no other. `--> @0 CODE` is for a finding without a line.
"""

import json
import os
import re
import subprocess
import textwrap
import unittest
from pathlib import Path

from harness import BINARY, ROOT, FolderTest, clean_environment, open_policy, tidegate

HEAD = open_policy().replace("\nreturn policy\n", "")  # its lines come before those of a case
MARK = re.compile(r"-->\s*(@0\s+)?([A-Za-z][A-Za-z0-9, -]*?)\s*$")

# In an open policy: what is written in it, and the codes that it must give.
INSIDE = """
x = 42 --> global-write
---
function policy.message(conn, message)
  counter = 1 --> global-write
end
---
function policy.message(conn, message)
  function helper() end --> global-write
end
---
function policy.message(conn, message)
  string = nil --> global-write
end
---
function policy.message(conn, message)
  conn:send(mesage) --> undefined-global
end
---
local function never_called()
  return tostrnig(1) --> undefined-global
end
policy._x = never_called
---
function policy.message(conn, message)
  _G.print(_G.nothing) --> undefined-global
end
---
function policy.message(conn, message)
  io.open("/etc/passwd") --> unavailable
end
---
function policy.message(conn, message)
  os.execute("ls") --> unavailable
  os.exit(1) --> unavailable
end
---
function policy.message(conn, message)
  return package.loaded, jit.version, ffi --> unavailable, unavailable, unavailable
end
---
function policy.message(conn, message)
  local d = debug
  return d.getinfo(1), d.traceback() --> unavailable
end
---
function policy.message(conn, message)
  return loadfile("x"), dofile("y"), newproxy() --> unavailable, unavailable, unavailable
end
---
function policy.message(conn, message)
  return string.dump(function() end) --> unavailable
end
---
local exec = os.time
function policy.message(conn, message)
  local sys = os
  sys.remove("x") --> unavailable
  return exec
end
---
-- What pcall catches may be a question: a warning, and only that.
local ok = pcall(function()
  return jit.version --> unavailable
end)
policy._ok = ok
---
function policy.message(conn, message)
  function string.trim(s) return s end --> read-only
end
---
function policy.message(conn, message)
  tide.send = nil --> read-only
end
---
function policy.message(conn, message)
  conn.id = "x" --> read-only
end
---
function policy.message(conn, message)
  conn:snd("x") --> unknown-field
  conn.session.anything = conn.user_id
end
---
function policy.upgrade(request)
  return request.heders.origin, request.method --> unknown-field
end
---
function policy.reauthenticate(conn, credentials)
  local token = credentials.token or credentials.bearer --> unknown-field
  return { user_id = token }
end
---
function policy.message(conn, message)
  return string.trim("x") --> unknown-field
end
---
-- Asked for before it is used: no mistake.
function policy.message(conn, message)
  return string.trim and string.trim("x")
end
---
local crypto = require "tidegate.crypto"
function policy.message(conn, message)
  return crypto:sha256("x") --> signature
end
---
local crypto = require "tidegate.crypto"
function policy.message(conn, message)
  return crypto.sha265("x"), crypto.base64.encod("x") --> unknown-field, unknown-field
end
---
function policy.message(conn, message)
  tide.snd(conn.id, "x") --> unknown-field
end
---
policy.agents = { echo = function(run, input) run:thinkin("x") end } --> unknown-field
---
function policy.message(conn, message)
  return require "tidegate.cryto" --> unknown-module
end
---
function policy.message(conn, message)
  return require "socket" --> unknown-module
end
---
function policy.message(conn, message)
  return pcall(require, "nothing")
end
---
function policy.authenticated() end --> unknown-hook
---
policy.prepare = 42 --> bad-hook
---
policy.agents = { echo = 1 } --> bad-agent
---
policy.agents = { echo = { timeout = 3 } } --> bad-agent
---
policy.services = { db = 1 } --> bad-service
---
policy.service = { db = function() return true end } --> unknown-key
---
policy.agent = { echo = function() end } --> unknown-key
---
policy.version = 3 --> bad-key
---
policy.options = { key = { type = "text" } } --> option-declaration
---
policy.options = { key = { type = "string", required = true } } --> missing-option
---
policy.options = { api_key = { type = "string" } }
policy._k = tide.options.apikey --> undeclared-option
---
policy.options = { api_key = { type = "string" } }
policy._k = tide.options.api_key
policy._users = tide.options.users or {}
---
policy.options = { up = { url = { type = "string" } } }
local options = tide.options
function policy.message(conn, message)
  conn:send({ options.up.url, options.up.uri, options.up }) --> undeclared-option
end
---
function policy.message(conn, message, extra) --> signature
  return extra
end
---
function policy.message(message) --> signature
  return message
end
---
function policy.closed(info, conn) --> signature
  return info, conn
end
---
function policy:message(conn, message) --> signature
  return self, conn, message
end
---
function policy.message(connection, msg)
  return connection, msg
end
---
policy.agents = { echo = function(input) return input end } --> signature
---
policy.agents = { echo = { timeout = 3, run = function(input) return input end } } --> signature
---
policy.services = { db = function(context) return context ~= nil end } --> signature
---
policy.agents = { echo = { timeout = 3, run = function(run, input) return run:call("other", input) end } }
policy.services = { db = function(conn, context) return conn.services.db == nil and context ~= nil end }
---
function policy.route(conn, message)
  if message.type == "a" then return "billing" end
  return message.id and "suport" or nil --> unknown-agent
end
policy.agents = {
  billing = function() return 1 end,
  support = function() return 2 end,
}
---
function policy.route(conn, message)
  return message.data.agent_type == "billing" and "billing" or "support"
end
policy.agents = {
  billing = function() return 1 end,
  support = function() return 2 end,
  forgotten = function() return 3 end, --> unreachable-agent
}
---
-- Reached in other ways, or not decidable.
local AGENTS = { a = "one", b = "two" }
function policy.route(conn, message)
  return AGENTS[message.type] or "one"
end
policy.agents = { one = function() end, two = function() end }
---
function policy.route() return "one" end
policy.agents = {
  one = function(run, input) return policy.agents.two(run, input) end,
  two = function() return 2 end,
}
---
-- Names nobody: the only agent there is.
function policy.route() return nil end
policy.agents = { one = function() end }
---
function policy.text(conn, text) conn:send(text) end
policy.agents = { echo = function() end } --> unreachable-agent
---
function policy.text(conn, text) conn:send(text) end
function policy.message() end --> hook-beside-text
---
function policy.message(conn, message)
  local until_then = os.time() + 3
  while os.time() < until_then do end --> busy-wait
end
---
local time = require "tidegate.time"
function policy.message(conn, message)
  repeat until time.now() > 5 --> busy-wait
  while time.now() < 9 do time.sleep(1) end
end
---
function policy.message(conn, message)
  local n = 0
  while true do n = n + 1 end --> endless-loop
end
---
function policy.message(conn, message)
  while true do
    if conn.state == "closed" then break end
  end
end
---
function policy.upgrade(request)
  return request.headers.cookie and nil --> open-origins
end
---
error("no luck") --> load-failed
---
while true do end --> cpu-budget, endless-loop
"""

# Whole policies. A case is one file, or several, each after a line `=== PATH`.
WHOLE = """
return {
  authenticate = = 1 --> syntax
}
---
return 42 --> @0 no-hooks
---
return {} --> @0 no-authenticate
---
local policy = {}
function policy.authenticate(conn, credentials) --> open-door
  return { user_id = "guest" }
end
return policy
---
local policy = {}
function policy.authenticate(credentials) --> signature
  return credentials and { user_id = "x" } or nil
end
return policy
---
-- Everybody may connect, said in so many words.
local policy = {}
function policy.authenticate(conn)
  return { user_id = conn.id }
end
return policy
---
local policy = {}
function policy.authenticate(conn, credentials)
  return { user_id = conn.request.remote_address }
end
return policy
---
local policy = {}
function policy.authenticate(conn, credentials)
  return nil, "closed for today"
end
return policy
---
=== init.lua
local users = require "users.store"
local policy = {}
function policy.authenticate(conn, credentials)
  local late = require "late" --> late-require
  return late.check(users, credentials) or require("users.sotre") --> unknown-module
end
return policy
=== late.lua
return { check = function() return os.getenv("X") end } --> unavailable
=== users/store.lua
local M = {}
function M.find() return usres end --> undefined-global
return M
---
=== init.lua
local again = require "again"
local policy = {}
function policy.authenticate(conn, credentials)
  return again(require("again"), credentials)
end
return policy
=== again.lua
return function() return nil, "no" end
=== old.lua
-- --> @0 unused-file
return {}
=== again_spec.lua
local helper = require "spec_helper"
describe("again", helper)
=== spec_helper.lua
return function() end
---
=== init.lua
local policy = {}
function policy.authenticate(conn, credentials)
  return require("nam" .. "e")(credentials)
end
return policy
=== name.lua
return 1
---
=== init.lua
local users = require "users"
return { authenticate = users.check }
=== users.lua
local M = {}
function M.check(conn, creds)
  local x = = creds --> syntax
end
return M
"""

# What running refuses, too, is an error; the rest only says that something is odd.
WARNINGS = {
    "busy-wait", "endless-loop", "open-door", "open-origins", "signature", "undeclared-option", "unknown-option",
    "unreachable-agent", "unused-file",
}  # fmt: skip


def cases(text):
    return [case.strip("\n") + "\n" for case in text.split("\n---\n")]


def files_of(case):
    """{path: text} of a case."""
    if not case.startswith("=== "):
        return {"policy.lua": case}
    parts = re.split(r"(?m)^=== (\S+)\n", case)[1:]
    return dict(zip(parts[::2], parts[1::2]))


def expected_of(files, shift=0):
    """The (path, line, code) that the marks in the files ask for."""
    expected = []
    for path, text in files.items():
        for number, line in enumerate(text.split("\n"), 1):
            mark = MARK.search(line)
            if mark:
                for code in mark[2].split(","):
                    expected.append((path, 0 if mark[1] else number + shift, code.strip()))
    return sorted(expected)


class CheckTest(FolderTest):
    def document(self, *args, code=None):
        """The parsed answer of check --format json."""
        done = tidegate("check", *args, "--format", "json")
        if code is not None:
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout)


class Findings(CheckTest):
    def found(self, path, folder, *args):
        document = self.document(path, "--no-luacheck", *args)
        self.assertEqual(
            document["ok"], not any(f["severity"] == "error" for f in document["findings"]), document
        )
        return sorted(
            (os.path.relpath(f["file"], folder), f["line"] or 0, f["code"]) for f in document["findings"]
        )

    def test_each_mistake_in_an_open_policy_is_found_at_its_line(self):
        shift = HEAD.count("\n") + 1
        for number, case in enumerate(cases(INSIDE)):
            with self.subTest(case):
                name = f"case{number}/policy.lua"
                path = self.write(name, HEAD + "\n" + case + "return policy\n")
                expected = expected_of({"policy.lua": case}, shift)
                self.assertEqual(self.found(path, path.parent), expected)

    def test_each_mistake_of_a_whole_policy_is_found_at_its_line(self):
        for number, case in enumerate(cases(WHOLE)):
            with self.subTest(case):
                files = files_of(case)
                folder = self.folder / f"whole{number}"
                for name, text in files.items():
                    self.write(folder / name, text)
                path = folder if "init.lua" in files else folder / "policy.lua"
                self.assertEqual(self.found(path, folder), expected_of(files))

    def test_options_that_are_given_must_be_declared_where_any_is(self):
        declares = 'policy.options = { api_key = { type = "string" }, n = { type = "number" } }\n'
        path = self.write("policy.lua", open_policy(declares))
        line = HEAD.count("\n") + 1

        def found(*args):
            return self.found(path, path.parent, *args)

        self.assertEqual(found("--set", "options.api_key=x"), [])
        self.assertEqual(
            found("--set", "options.api_kye=x"), [("policy.lua", line, "unknown-option")]
        )
        self.assertEqual(found("--set", "options.n=many"), [("policy.lua", line, "option-value")])
        free = self.write("free.lua", open_policy("policy._g = tide.options.greeting"))
        self.assertEqual(self.found(free, free.parent, "--set", "options.anything=x"), [])

    def test_long_and_deep_texts_are_read(self):
        rows = "".join(f"  {{ id = {n}, name = 'user{n}' }},\n" for n in range(20000))
        body = f"local rows = {{\n{rows}}}\npolicy._n = #rows{' + 1' * 20000}\npolicy._wrong = nothing\n"
        path = self.write("policy.lua", open_policy(body))
        line = HEAD.count("\n") + 20004
        found = self.found(path, path.parent, "--set", "script.cpu_budget=5s")
        self.assertEqual(found, [("policy.lua", line, "undefined-global")])

    def test_loading_is_on_the_budgets_of_the_configuration(self):
        path = self.write("policy.lua", open_policy('policy._t = { ("x"):rep(2 ^ 22) }'))
        self.assertEqual(self.found(path, path.parent), [])
        codes = [code for *_, code in self.found(path, path.parent, "--set", "script.memory=2MiB")]
        self.assertEqual(codes, ["memory"])

    def test_cookies_are_fine_where_origins_are_listed(self):
        path = self.write(
            "policy.lua", open_policy("function policy.upgrade(r) return r.headers.cookie and nil end")
        )
        origins = ("--set", "allowed_origins=https://app.example")
        self.assertEqual([code for *_, code in self.found(path, path.parent)], ["open-origins"])
        self.assertEqual(self.found(path, path.parent, *origins), [])

    def test_every_code_that_is_listed_is_tried_above(self):
        listed = {line.split()[0] for line in tidegate("check", "--codes").stdout.splitlines()}
        tried = {code for case in cases(INSIDE) + cases(WHOLE) for *_, code in expected_of(files_of(case))}
        self.assertEqual(listed - tried, {"luacheck-W…", "memory", "option-value", "unknown-option"})
        self.assertEqual(tried - listed, set())

    def test_the_readme_lists_every_code(self):
        readme = (ROOT / "README.md").read_text()
        section = readme[readme.index("\n## Checking a policy\n") :]
        section = section[: section.index("\n## ", 4)]
        for line in tidegate("check", "--codes").stdout.splitlines():
            self.assertIn(f"`{line.split()[0]}`", section)

    def test_severities(self):
        for line in tidegate("check", "--codes").stdout.splitlines():
            code, severity = line.split()[:2]
            expected = "warning" if code in WARNINGS or code.startswith("luacheck") else "error"
            self.assertEqual(severity, expected, code)


class Answers(CheckTest):
    def test_a_finding_has_place_code_and_hint(self):
        path = self.write("policy.lua", open_policy("function policy.message(conn)\n  conn:sned('x')\nend"))
        line = HEAD.count("\n") + 2
        done = tidegate("check", path, "--no-luacheck")
        self.assertEqual(done.returncode, 1, done)
        self.assertIn(
            f'{path}:{line}:8: error: conn has no field "sned" [unknown-field]\n'
            f'    did you mean "send"?\n',
            done.stdout,
        )
        self.assertIn(f"{path}: 1 error, 0 warnings\n", done.stdout)
        finding = self.document(path, "--no-luacheck", code=1)["findings"][0]
        self.assertEqual(
            finding,
            {
                "severity": "error", "code": "unknown-field", "file": str(path), "line": line, "column": 8,
                "message": 'conn has no field "sned"', "hint": 'did you mean "send"?',
            },
        )  # fmt: skip

    def test_a_good_policy_tells_what_it_is(self):
        document = self.document(ROOT / "examples/supervisor", code=0)
        self.assertTrue(document["ok"])
        self.assertRegex(document["version"], r"^[0-9a-f]{12}$")
        self.assertEqual(document["hooks"], ["authenticate", "create_context", "route"])
        self.assertEqual(document["agents"], ["supervisor"])
        self.assertEqual([Path(p).name for p in document["files"]], ["init.lua", "market.lua"])
        self.assertEqual(document["findings"], [])

    def test_what_run_refuses_check_refuses_in_the_same_words(self):
        mistakes = ("policy.agents = { a = 1 }", "error('boom')", "x = 1", "policy.autenticate = print",
                    "policy.options = { k = { type = 'string', required = true } }")  # fmt: skip
        for mistake in mistakes:
            with self.subTest(mistake):
                path = self.write("policy.lua", open_policy(mistake))
                run = tidegate("run", path, "--listen", "127.0.0.1:0", "--admin", "off")
                self.assertEqual(run.returncode, 1, run)
                errors = [f for f in self.document(path, code=1)["findings"] if f["severity"] == "error"]
                self.assertEqual(len(errors), 1, errors)
                text = errors[0]["message"] + ("; " + errors[0]["hint"] if errors[0]["hint"] else "")
                self.assertIn(f"{path}:{errors[0]['line']}: {text}", run.stderr)

    def test_exit_codes(self):
        good = self.write("good.lua", open_policy())
        odd = self.write("odd.lua", open_policy("function policy.message(message) return message end"))
        bad = self.write("bad.lua", open_policy("x = 1"))
        gone = self.folder / "gone.lua"
        for args, code in (
            ((good,), 0), ((odd,), 0), ((odd, "--strict"), 1), ((good, "--strict"), 0), ((bad,), 1),
            ((gone,), 2), ((good, bad, odd), 1), ((bad, gone, good), 2), ((), 2), ((good, "--fromat", "x"), 2),
            ((good, "--format", "xml"), 2), ((good, "--config", gone), 2), ((good, "--set", "strikt=true"), 2),
        ):  # fmt: skip
            done = tidegate("check", "--no-luacheck", *args)
            self.assertEqual(done.returncode, code, (args, done.stdout, done.stderr))

    def test_several_policies_are_one_document(self):
        good = self.write("good.lua", open_policy())
        bad = self.write("bad.lua", open_policy("x = 1"))
        document = self.document(good, bad, code=1)
        self.assertFalse(document["ok"])
        self.assertEqual(
            [(p["policy"], p["ok"]) for p in document["policies"]], [(str(good), True), (str(bad), False)]
        )
        self.assertTrue(self.document(good, good, code=0)["ok"])

    def test_strict_makes_json_say_no(self):
        odd = self.write("odd.lua", open_policy("function policy.message(message) return message end"))
        self.assertTrue(self.document(odd, code=0)["ok"])
        self.assertFalse(self.document(odd, "--strict", code=1)["ok"])

    def test_the_policy_of_the_configuration_is_checked(self):
        policy = self.write("policy.lua", open_policy())
        config = self.write("tidegate.lua", f"return {{ policy = '{policy}' }}\n")
        self.assertEqual(self.document("--config", config, code=0)["policy"], str(policy))


FAKE = """#!/bin/sh
printf '%s\\n' "$@" >"$0.args"
while [ "$1" != -- ]; do shift; done
echo "$2:3:7: (W211) unused variable 'x'"
echo "$2:LINE:1: (W113) accessing undefined variable 'y'"
echo "$2:1:1: (W113) accessing undefined variable 'z'"
echo "$2:9:1: (E011) expected expression"
exit 1
"""


class Luacheck(CheckTest):
    """With a stand-in for the program where its answer matters, and the real one where it is installed."""

    def run_with(self, script, *args):
        """check with only this luacheck on the path; None: with none."""
        tools = self.folder / "tools"
        tools.mkdir(exist_ok=True)
        if script is not None:
            (tools / "luacheck").write_text(script)
            (tools / "luacheck").chmod(0o755)
        env = clean_environment()
        env["PATH"] = str(tools)
        done = subprocess.run(
            [str(BINARY), "check", *map(str, args)], capture_output=True, text=True, timeout=60, env=env
        )
        self.assertEqual(done.stderr, "")
        return done

    def test_its_warnings_are_findings(self):
        path = self.write("policy.lua", open_policy("-- one\n-- two\nlocal x = y"))
        line = HEAD.count("\n") + 3
        fake = FAKE.replace("LINE", str(line))
        document = json.loads(self.run_with(fake, path, "--format", "json").stdout)
        self.assertIs(document["luacheck"], True)
        found = [(f["severity"], f["code"], f["line"], f["column"]) for f in document["findings"]]
        # Globals count only where we said nothing; what is no Lua is for LuaJIT to say.
        self.assertEqual(
            found,
            [
                ("warning", "luacheck-W113", 1, 1),
                ("warning", "luacheck-W211", 3, 7),
                ("error", "undefined-global", line, 11),
            ],
        )

    def test_it_knows_the_globals_of_the_sandbox(self):
        path = self.write("policy.lua", open_policy())
        self.run_with(FAKE, path)
        args = (self.folder / "tools/luacheck.args").read_text().split("\n")
        globals_ = args[args.index("--read-globals") + 1 : args.index("--")]
        for name in ("require", "string.byte", "os.time", "coroutine.wrap", "print"):
            self.assertIn(name, globals_)
        for name in ("io", "os.execute", "dofile"):
            self.assertNotIn(name, globals_)
        self.assertEqual(args[args.index("--") + 1], str(path))

    def test_without_it_json_says_so_and_text_only_when_asked(self):
        path = self.write("policy.lua", open_policy())
        self.assertIs(json.loads(self.run_with(None, path, "--format", "json").stdout)["luacheck"], False)
        self.assertNotIn("luacheck", self.run_with(None, path).stdout)
        verbose = self.run_with(None, path, path, "--verbose").stdout
        self.assertEqual(verbose.count("luacheck"), 1)

    def test_no_luacheck_does_not_start_it(self):
        path = self.write("policy.lua", open_policy())
        document = json.loads(self.run_with(FAKE, path, "--no-luacheck", "--format", "json").stdout)
        self.assertIs(document["luacheck"], False)
        self.assertFalse((self.folder / "tools/luacheck.args").exists())

    def test_one_that_fails_changes_nothing(self):
        path = self.write("policy.lua", open_policy())
        document = json.loads(self.run_with("#!/bin/sh\nexit 3\n", path, "--format", "json").stdout)
        self.assertEqual((document["ok"], document["luacheck"], document["findings"]), (True, False, []))

    def test_one_that_never_ends_is_ended(self):
        path = self.write("policy.lua", open_policy())
        done = self.run_with("#!/bin/sh\nexec /bin/sleep 600\n", path, "--verbose")
        self.assertEqual(done.returncode, 0)
        self.assertIn("luacheck: did not answer", done.stdout)

    def test_the_real_one(self):
        if not any(os.access(Path(p) / "luacheck", os.X_OK) for p in os.environ["PATH"].split(":")):
            self.skipTest("luacheck is not installed")
        path = self.write("policy.lua", open_policy("local unused = tide.version"))
        document = self.document(path, code=0)
        self.assertEqual([f["code"] for f in document["findings"]], ["luacheck-W211"])


class Shipped(CheckTest):
    def test_policies_and_examples_have_no_finding(self):
        policies = (p for p in (ROOT / "policies").glob("*.lua") if not p.name.endswith("_spec.lua"))
        shipped = sorted(policies) + sorted(
            p.parent for p in (ROOT / "examples").glob("*/init.lua")
        )
        self.assertGreater(len(shipped), 3)
        for policy in shipped:
            with self.subTest(policy.name):
                entry = policy / "init.lua" if policy.is_dir() else policy
                # What its head says that it needs.
                needed = re.findall(r"(--set) ([a-z0-9_.]+=[^ `\n]+)", entry.read_text())
                document = self.document(policy, "--strict", *(word for pair in needed for word in pair), code=0)
                self.assertEqual(document["findings"], [])

    def test_policies_in_the_readme_have_no_finding(self):
        readme = (ROOT / "README.md").read_text()
        blocks = [b for b in re.findall(r"```lua\n(.*?)```", readme, re.S) if "return policy" in b]
        self.assertGreater(len(blocks), 0)
        for number, block in enumerate(blocks):
            with self.subTest(block):
                path = self.write(f"readme{number}.lua", textwrap.dedent(block))
                self.assertEqual(self.document(path, "--strict", code=0)["findings"], [])


if __name__ == "__main__":
    unittest.main()
