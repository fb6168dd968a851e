"""`tidegate test`: specs of policies in simulated hosts, and what a person sees when they fail."""

import json
import re
import unittest
import xml.etree.ElementTree

from harness import ROOT, FolderTest, open_policy, tidegate

GREETER = open_policy("""
policy.agents = { greeter = function(run, input) return "Hello " .. input.message end }
""")

PASSING = """
local testing = require "tidegate.testing"
describe("greeter", function()
  it("greets #quick", function()
    local client = testing.host("greeter.lua"):connect()
    client:execute("World", "greeter")
    assert.equal("Hello World", client:expect("agent_completed").data.response)
  end)
  it("counts", function() assert.equal(2, 1 + 1) end)
end)
"""


class TestingCommand(FolderTest):
    def run_specs(self, *args, code=0, **more):
        done = tidegate("test", *args, cwd=self.folder, **more)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def test_specs_that_pass_exit_with_0(self):
        self.write("greeter.lua", GREETER)
        self.write("greeter_spec.lua", PASSING)
        for words in ((), (".",), ("greeter_spec.lua",), ("greeter.lua",), (self.folder,)):
            with self.subTest(words):
                done = self.run_specs(*words)
                self.assertIn("2 successes / 0 failures / 0 errors", done.stdout)
                self.assertEqual(done.stderr, "")

    def test_specs_below_folders_are_found_but_not_in_build_or_hidden_ones(self):
        for folder in ("", "deep/er/", "build/", ".git/", "node_modules/x/"):
            self.write(f"{folder}one_spec.lua", 'it("runs", function() end)')
        self.write("not_a_test.lua", 'error("never loaded")')
        self.assertIn("2 successes", self.run_specs().stdout)

    def test_a_failure_exits_with_1_and_shows_what_the_policy_logged(self):
        self.write("greeter.lua", open_policy("""
            function policy.message()
              local function deep() error("the roof leaks") end
              deep()
            end
            """))
        self.write("greeter_spec.lua", """
            it("answers", function()
              local client = require("tidegate.testing").host("greeter.lua"):connect()
              client:send{ type = "hello" }
              client:expect("answer")
            end)
            """)
        out = self.run_specs(code=1).stdout
        self.assertIn("0 successes", out)
        self.assertRegex(out, r"greeter_spec\.lua:5: expected answer; there came")
        self.assertIn('{"type":"connection_ready"', out)
        self.assertIn("the connection is failed, closed with 1011", out)
        self.assertIn("the policy's log:", out)
        self.assertRegex(out, r"hook\.failed .*the roof leaks")
        self.assertIn("in function 'deep'", out)

    def test_a_policy_that_does_not_load_is_named_with_its_line(self):
        self.write("broken.lua", "local policy = {}\nfunction policy.authenticat() end\nreturn policy\n")
        self.write("broken_spec.lua", """
            it("loads", function() require("tidegate.testing").host("broken.lua") end)
            """)
        out = self.run_specs(code=1).stdout
        self.assertRegex(out, r"(?s)broken_spec\.lua:2: .*broken\.lua:2: .*authenticat")

    def test_a_spec_that_cannot_be_read_fails_and_the_others_run(self):
        self.write("bad_spec.lua", "it('x', function(\n")
        self.write("good_spec.lua", 'it("runs", function() end)')
        done = self.run_specs(code=1)
        self.assertIn("1 success ", done.stdout)
        self.assertIn("bad_spec.lua:2:", done.stdout + done.stderr)

    def test_an_error_outside_of_tests_fails(self):
        self.write("bad_spec.lua", 'error("at the top")')
        self.assertIn("at the top", self.run_specs(code=1).stdout)

    def test_a_spec_cannot_end_the_run(self):
        self.write("a_spec.lua", 'it("leaves", function() os.exit(0) end)')
        self.write("b_spec.lua", 'it("runs", function() end)')
        out = self.run_specs(code=1).stdout
        self.assertIn("1 success ", out)
        self.assertIn("os.exit was called", out)

    def test_a_hostile_policy_is_killed_in_a_simulated_host_as_well(self):
        self.write("hostile.lua", open_policy("""
            function policy.message() while true do pcall(function() while true do end end) end end
            function policy.binary() return ("x"):rep(1e9) end
            local function hog()
              local t = {}
              while true do t[#t + 1] = ("x"):rep(1e5) .. #t end
            end
            policy.agents = { hog = hog }
        """))
        self.write("hostile_spec.lua", """
            local testing = require("tidegate.testing")
            it("is killed", function()
              local config = { ["script.memory"] = "16MiB", ["script.cpu_budget"] = "1s" }
              local host = testing.host("hostile.lua", { config = config })
              local client = host:connect()
              client:send{ type = "go" }
              assert.equal(1011, client.close_code)
              client = host:connect()
              client:send_binary("go")
              assert.equal(1011, client.close_code)
              client = host:connect()
              client:execute("go")
              assert.matches("memory", client:expect("agent_error").data.code)
              assert.equal("processing_ready", client.state)
            end)
            """)
        self.assertIn("1 success ", self.run_specs().stdout)

    def test_hosts_that_a_spec_forgets_are_closed_for_it(self):
        self.write("greeter.lua", GREETER)
        self.write("many_spec.lua", """
            local testing = require("tidegate.testing")
            local kept = {}
            describe("many", function()
              setup(function() kept.of_file = testing.host("greeter.lua") end)
              it("makes some", function()
                for i = 1, 20 do kept[i] = testing.host("greeter.lua"); kept[i]:connect() end
              end)
              it("finds them closed", function()
                for i = 1, 20 do
                  assert.error_matches(function() kept[i]:connect() end, "the host is closed")
                end
                kept.of_file:connect()
              end)
            end)
            """)
        self.run_specs()

    def test_filters_lists_and_tags(self):
        self.write("greeter.lua", GREETER)
        self.write("greeter_spec.lua", PASSING)
        self.assertIn("1 success ", self.run_specs("--filter", "counts").stdout)
        self.assertIn("1 success ", self.run_specs("--filter-out=counts").stdout)
        self.assertIn("1 success ", self.run_specs("--tags", "quick").stdout)
        listed = self.run_specs("--list").stdout
        self.assertIn("greeter greets #quick", listed)
        twice = self.run_specs("--repeat", "2", "--shuffle").stdout
        self.assertEqual(twice.count("2 successes / 0 failures"), 2)

    def test_results_for_machines(self):
        self.write("mixed_spec.lua", 'it("passes", function() end)\nit("fails", function() error("no") end)\n')
        tap = self.run_specs("--format", "tap", code=1).stdout
        self.assertRegex(tap, r"(?m)^not ok \d")
        document = json.loads(self.run_specs("--format=json", code=1).stdout)
        self.assertEqual(len(document["successes"]), 1)
        report = xml.etree.ElementTree.fromstring(self.run_specs("--format", "junit", code=1).stdout)
        self.assertEqual(len(report.findall(".//testcase")), 2)

    def test_arguments_behind_two_dashes_go_to_busted(self):
        self.write("one_spec.lua", 'it("runs", function() assert.is_true(_G.given) end)')
        self.run_specs(code=1)
        self.run_specs("--", "-e", "_G.given = true")

    def test_wrong_arguments_exit_with_2(self):
        for args, why in (
            (("no_such_folder",), "there is no file or folder no_such_folder"),
            (("--format", "yaml"), "use plain, tap, json or junit"),
            (("--no-such-flag",), "no-such-flag"),
        ):
            with self.subTest(args):
                self.assertIn(why, self.run_specs(*args, code=2).stderr)

    def test_nothing_to_test_is_a_failure(self):
        self.assertIn("there is no spec for .", self.run_specs(code=1).stderr)
        self.write("greeter.lua", GREETER)
        self.assertIn("there is no spec for greeter.lua", self.run_specs("greeter.lua", code=1).stderr)

    def test_without_busted_the_package_is_named(self):
        self.write("one_spec.lua", 'it("runs", function() end)')
        done = self.run_specs(code=1, env={"LUA_PATH": "/nowhere/?.lua", "LUA_CPATH": "/nowhere/?.so"})
        self.assertIn("busted is not installed; install the Debian package lua-busted", done.stderr)

    def test_specs_of_a_policy_are_no_part_of_it(self):
        policy = self.write("policy/init.lua", GREETER)
        before = tidegate("check", policy.parent)
        self.write("policy/init_spec.lua", "this is no Lua at all")
        after = tidegate("check", policy.parent)
        self.assertEqual(after.returncode, 0, after.stdout + after.stderr)
        self.assertEqual(after.stdout, before.stdout)

    def test_plain_lua_and_policies_are_told_where_the_library_works(self):
        self.write("policy.lua", 'local testing = require "tidegate.testing"\n' + GREETER)
        done = tidegate("check", self.folder / "policy.lua")
        self.assertEqual(done.returncode, 1)
        self.assertIn("run them with `tidegate test`", done.stdout + done.stderr)

    def test_the_spec_in_the_readme_works(self):
        text = (ROOT / "README.md").read_text()
        section = text[text.index("## Testing a policy") :]
        spec = re.search(r"```lua\n(.*?)```", section, re.S).group(1)
        policy = re.search(r"```lua\n(local policy = \{\}.*?)```", text, re.S).group(1)
        self.write("greeter.lua", policy)
        self.write("greeter_spec.lua", spec)
        self.assertIn("2 successes", self.run_specs().stdout)

    def test_every_shipped_example_and_policy_has_a_spec(self):
        for folder in (path for path in (ROOT / "examples").iterdir() if path.is_dir()):
            self.assertTrue(list(folder.glob("*_spec.lua")), folder)
        for policy in (ROOT / "policies").glob("*.lua"):
            if not policy.name.endswith("_spec.lua"):
                self.assertTrue(policy.with_name(policy.stem + "_spec.lua").exists(), policy)


if __name__ == "__main__":
    unittest.main()
