"""`tidegate repl`: a policy at a prompt, fed from a pipe."""

import json
import re
import subprocess
import unittest

from harness import BINARY, DEADLINE, ROOT, FolderTest, Lines, clean_environment, open_policy, tidegate

HELLO = ROOT / "examples/hello"


class Repl(FolderTest):
    def policy(self, text, name="policy.lua"):
        return self.write(name, text)

    def type(self, policy, *lines, args=(), code=0):
        typed = self.folder / "typed"
        typed.write_text("".join(line + "\n" for line in lines))
        with typed.open() as stdin:
            done = tidegate("repl", policy, *args, stdin=stdin)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def test_lines_are_messages_and_what_a_client_would_see_is_printed(self):
        out = self.type(HELLO, "Hello", '{"type":"ping"}').stdout.splitlines()
        messages = [json.loads(line) for line in out]
        self.assertEqual(
            [message["type"] for message in messages],
            ["connection_ready", "agent_started", "agent_thinking", "agent_completed", "pong"],
        )
        self.assertEqual(messages[3]["data"]["response"], "You said: Hello")

    def test_lua_runs_in_the_sandbox_of_the_policy_with_the_connection_at_hand(self):
        out = self.type(
            HELLO,
            "= 1 + 1, conn.user_id, { a = 1 }",
            "= conn.session.count = 3",
            "/session",
            "/identity",
            "= policy.agents.echo ~= nil, tide ~= nil",
            "= for i = 1, 2 do conn:send{ type = 'n', i = i } end",
            "=",
            args=("--bearer", "ada"),
        ).stdout.splitlines()
        self.assertEqual(out[1:7], ["2", '"ada"', '{"a":1}', '{"count":3}', '{"user_id":"ada"}', "true"])
        self.assertEqual([json.loads(line)["i"] for line in out[8:10]], [1, 2])

    def test_options_come_from_the_environment_too_and_the_policy_that_is_named_wins(self):
        typed = self.write("typed", "= tide.options.key, policy.agents.echo ~= nil\n")
        environment = {"TIDEGATE_OPTIONS_KEY": "k-1", "TIDEGATE_POLICY": str(ROOT / "examples/plain")}
        with typed.open() as stdin:
            done = tidegate("repl", HELLO, stdin=stdin, env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.splitlines()[1:], ['"k-1"', "true"])

    def test_a_long_token_arrives_whole(self):
        policy = self.policy(
            "return { authenticate = function(_, sent) return { user_id = tostring(#sent.bearer) } end }"
        )
        out = self.type(policy, "= conn.user_id", args=("--bearer", "t" * 3000)).stdout
        self.assertEqual(out.splitlines()[1:], ['"3000"'])

    def test_lua_that_fails_or_never_ends_is_told_and_the_rest_goes_on(self):
        done = self.type(
            HELLO,
            "= error('oops')",
            "= while true do end",
            "= io.open('/etc/passwd')",
            "= local",
            "= require('tidegate.time').sleep(0.01) return 'awake'",
            code=1,
        )
        self.assertIn("tidegate repl: oops", done.stderr)
        self.assertIn("script.cpu_budget", done.stderr)
        self.assertRegex(done.stderr, r"line:1: .*io")
        self.assertIn('"awake"', done.stdout)

    def test_the_state_is_shown_with_its_moves(self):
        out = self.type(HELLO, "/state").stdout
        self.assertRegex(out, r"(?m)^processing_ready id=ws_\S+ user_id=guest policy=[0-9a-f]{12}$")
        self.assertRegex(out, r"(?m)^  \S+Z  connecting -> accepted  ")

    def test_another_client_may_be_tried(self):
        policy = self.policy(open_policy("""
            function policy.create_context(conn)
              local request = conn.request
              return { path = request.path, page = request.query.page, host = request.headers["x-host"],
                remote = request.remote_address }
            end
            """))
        out = self.type(
            policy,
            "/connect bearer=bob path=/chat query=page=2 header=X-Host:a remote=203.0.113.7:99",
            "/context",
            "= conn.user_id",
        ).stdout.splitlines()
        self.assertEqual(
            json.loads(out[2]), {"path": "/chat", "page": "2", "host": "a", "remote": "203.0.113.7:99"}
        )
        self.assertEqual(out[3], '"bob"')

    def test_a_denial_is_told(self):
        done = self.type(ROOT / "examples/supervisor", "Hello", code=1)
        self.assertIn("the connection is over: 4401 send a key", done.stderr)
        self.assertIn("/connect makes one", done.stderr)

    def test_a_refused_upgrade_is_told(self):
        policy = self.policy(open_policy("""
            function policy.upgrade() return tide.reject(403, "not from here") end
            """))
        self.assertIn("refused with HTTP 403: not from here", self.type(policy, code=1).stderr)

    def test_a_runs_end_is_awaited_before_the_next_line(self):
        policy = self.policy(open_policy("""
            local time = require "tidegate.time"
            policy.agents = { slow = function() time.sleep(0.2) return "done" end }
            """))
        out = self.type(policy, "go", "= 'after'").stdout.splitlines()
        self.assertEqual(json.loads(out[-2])["data"]["response"], "done")
        self.assertEqual(out[-1], '"after"')

    def test_plain_policies_get_lines_as_they_are(self):
        out = self.type(ROOT / "examples/plain", "hello", '{"no": "type"}').stdout
        self.assertEqual(out.splitlines(), ["hello", '{"no": "type"}'])

    def test_a_saved_policy_is_taken_before_the_next_line(self):
        policy = self.policy(open_policy("policy.agents = { a = function() return 'one' end }"))
        process = subprocess.Popen(
            [str(BINARY), "repl", str(policy)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(),
        )
        self.addCleanup(process.stdout.close)
        lines = Lines(process.stdout)
        errors = Lines(process.stderr)

        def ask(line):
            process.stdin.write(line + "\n")
            process.stdin.flush()

        ask("= conn.session.kept = true")
        ask("x")
        lines.wait('"response":"one"')
        policy.write_text(policy.read_text().replace("'one'", "'two'"))
        ask("x")
        lines.wait('"response":"two"')
        policy.write_text("return 7")
        ask("x")
        errors.wait("policy.lua")
        ask("= 'still'")
        lines.wait('"still"')
        ask("/session")
        lines.wait('{"kept":true}')
        process.stdin.close()
        self.assertEqual(process.wait(DEADLINE), 1)
        self.assertEqual(lines.text().count('"response":"two"'), 2)
        lines.join()
        errors.join()

    def test_upstreams_are_real(self):
        policy = self.policy(open_policy("""
            local http = require "tidegate.http"
            policy.agents = { ask = function(run, input)
              local response, why, code = http.get("http://127.0.0.1:1/", { connect_timeout = 5 })
              return code
            end }
            """))
        out = self.type(policy, "x", args=("--set", "http.private_addresses=true")).stdout
        self.assertIn('"response":"refused"', out)

    def test_commands_and_mistakes(self):
        done = self.type(HELLO, "/help", "/nonsense", "/connect nonsense", "/cancel", code=1)
        self.assertIn("/connect [N=V…]", done.stdout)
        for text in ("no such command", "NAME=VALUE", "no run is under way"):
            self.assertIn(text, done.stderr)
        done = self.type(HELLO, "/close 4000", "/quit", "never read")
        self.assertIn("the connection is over: 4000", done.stderr)
        self.assertNotIn("never read", done.stdout)

    def test_a_policy_that_does_not_load_ends_it(self):
        policy = self.policy("local policy = {}\nreturn policy\n")
        self.assertIn("authenticate", self.type(policy, "x", code=1).stderr)
        self.assertIn("no_such", self.type("no_such.lua", code=1).stderr)

    def test_wrong_arguments_exit_with_2(self):
        for args, why in (
            ((), "which policy"),
            ((HELLO, HELLO), "one policy at a time"),
            ((HELLO, "--set", "limits.max_mesage=1"), "limits.max_message"),
            ((HELLO, "--nonsense"), "nonsense"),
        ):
            done = tidegate("repl", *args)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertTrue(re.search(why, done.stderr), done.stderr)


if __name__ == "__main__":
    unittest.main()
