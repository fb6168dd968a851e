"""The program as people meet it: commands, mistakes and the answers to them, options from everywhere."""

import asyncio
import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from harness import BINARY, Client, FolderTest, Server, ServerTest, open_policy, tidegate

OPTIONS = open_policy(
    """
    policy.agents = {
      echo = function(run, input) return "echo: " .. input.message end,
      fails = function() error("no") end,
    }
    function policy.message(conn)
      conn:send({ type = "options", greeting = tide.options.greeting, n = tide.options.n })
    end
    """
)
NEEDS_OPTION = open_policy('policy.options = { upstream_url = { type = "string", required = true } }')


class Folder(FolderTest):
    def assert_fails(self, done, *patterns, code=None):
        output = done.stdout + done.stderr
        if code is None:
            self.assertNotEqual(done.returncode, 0, output)
        else:
            self.assertEqual(done.returncode, code, output)
        for pattern in patterns:
            self.assertRegex(output, pattern)


class Help(Folder):
    def test_version_names_the_program_and_its_libraries(self):
        done = tidegate("version")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"tidegate \d+\.\d+\.\d+")
        for library in ("LuaJIT", "libuv", "llhttp", "wslay"):
            self.assertIn(library.lower(), done.stdout.lower())

    def test_help_lists_every_command(self):
        for command in (("help",), ("--help",)):
            done = tidegate(*command)
            self.assertEqual(done.returncode, 0)
            for name in ("run", "check", "connect", "version", "help"):
                self.assertRegex(done.stdout, rf"(?m)^\s+(tidegate )?{name}\b")

    def test_run_help_names_flags_and_options(self):
        text = tidegate("run", "--help").stdout + tidegate("help", "run").stdout
        for word in ("--listen", "--admin", "--workers", "--set", "limits.max_message"):
            self.assertIn(word, text)

    def test_an_unknown_command_is_refused_with_the_nearest_one(self):
        self.assert_fails(tidegate("chekc"), "chekc", "check")

    def test_an_unknown_flag_is_refused_with_the_nearest_one(self):
        self.assert_fails(tidegate("run", "--lissen", "127.0.0.1:0"), "--lissen", "--listen")

    def test_no_command_at_all_shows_what_there_is(self):
        done = tidegate()
        self.assertRegex(done.stdout + done.stderr, r"(?m)^\s+(tidegate )?run\b")


class Configuration(Folder):
    def run_config(self, text, *args):
        policy = self.write("policy.lua", OPTIONS)
        config = self.write("tidegate.lua", text)
        return tidegate("run", policy, "--config", config, "--listen", "127.0.0.1:0", *args)

    def test_an_unknown_key_is_named_with_its_line_and_the_nearest_key(self):
        done = self.run_config("return {\n  limits = {\n    max_mesage = '1MiB',\n  },\n}\n")
        self.assert_fails(done, r"tidegate\.lua:3", r"max_mesage", r"limits\.max_message")

    def test_a_value_of_the_wrong_kind_is_named_with_its_line(self):
        done = self.run_config("return {\n  limits = {\n    max_message = 'large',\n  },\n}\n")
        self.assert_fails(done, r"tidegate\.lua:3", r"limits\.max_message", r"large")

    def test_a_file_that_does_not_parse_is_named_with_its_line(self):
        self.assert_fails(self.run_config("return {\n  x = \n}\n"), r"tidegate\.lua:3")

    def test_a_configuration_reaches_neither_files_nor_programs(self):
        for text in ("os.execute('true')", "io.open('/etc/passwd')", "require('os')", "dofile('x')"):
            with self.subTest(text):
                self.assert_fails(self.run_config(f"{text}\nreturn {{}}\n"), r"tidegate\.lua:1")

    def test_an_unknown_key_in_set_is_refused_with_the_nearest_one(self):
        policy = self.write("policy.lua", OPTIONS)
        done = tidegate("run", policy, "--set", "limits.max_mesage=1MiB")
        self.assert_fails(done, r"max_mesage", r"limits\.max_message")

    def test_an_unknown_key_in_the_environment_is_refused(self):
        policy = self.write("policy.lua", OPTIONS)
        done = tidegate("run", policy, env={"TIDEGATE_LIMITS_MAX_MESAGE": "1MiB"})
        self.assert_fails(done, r"TIDEGATE_LIMITS_MAX_MESAGE", r"(?i)max_message")

    def test_an_address_in_use_or_nonsense_is_named(self):
        policy = self.write("policy.lua", OPTIONS)
        for address in ("127.0.0.1:99999", "nonsense", "256.0.0.1:0"):
            done = tidegate("run", policy, "--listen", address, "--admin", "off")
            self.assert_fails(done, address.replace(".", r"\."))


class Check(Folder):
    def test_a_good_policy_passes(self):
        done = tidegate("check", self.write("policy.lua", OPTIONS))
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_bad_policies_fail_with_file_and_line(self):
        head = "local policy = {}\nfunction policy.authenticate() return { user_id = 'x' } end\n"
        cases = (
            ("no Lua", "local x = = 1\n", r"bad\.lua:1"),
            ("it raises", head + "error('boom')\nreturn policy\n", r"bad\.lua:3.*boom"),
            ("no table", "return 42\n", r"bad\.lua"),
            ("unknown hook", head + "function policy.autenticate() end\nreturn policy\n",
             r"autenticate[\s\S]*authenticate"),
            ("a hook that is no function", head + "policy.prepare = 42\nreturn policy\n", r"prepare"),
            ("an agent that is no function", head + "policy.agents = { a = 1 }\nreturn policy\n", r"\ba\b"),
            ("a new global", head + "answer = 42\nreturn policy\n", r"bad\.lua:3.*answer"),
            ("an unknown module", "local x = require 'nothing'\n" + head + "return policy\n",
             r"bad\.lua:1[\s\S]*nothing"),
            ("a loop", "while true do end\n", r"bad\.lua"),
            ("too much memory", "local s = ('x'):rep(2^30)\n", r"bad\.lua"),
        )  # fmt: skip
        for name, text, pattern in cases:
            with self.subTest(name):
                self.assert_fails(tidegate("check", self.write("bad.lua", text)), pattern, code=1)

    def test_what_the_sandbox_withholds_is_not_there(self):
        head = "local policy = {}\nfunction policy.authenticate() return { user_id = 'x' } end\n"
        for expression in (
            "io.open('/etc/passwd')",
            "os.execute('true')",
            "os.getenv('HOME')",
            "require('ffi')",
            "require('jit')",
            "require('io')",
            "package.loadlib('x', 'y')",
            "dofile('/etc/passwd')",
            "loadfile('/etc/passwd')",
            "debug.getregistry()",
            "debug.sethook()",
            "newproxy()",
            "string.dump(function() end)",
            "assert(loadstring('\\27LJ'))",
            "require('../../etc/passwd')",
        ):
            with self.subTest(expression):
                path = self.write("bad.lua", f"{head}local x = {expression}\nreturn policy\n")
                self.assert_fails(tidegate("check", path), code=1)

    def test_a_folder_with_init_and_modules_is_a_policy(self):
        self.write("shop/users.lua", "return { ada = true }\n")
        self.write("shop/init.lua", "local users = require 'users'\n" + OPTIONS)
        done = tidegate("check", self.folder / "shop")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_mistake_in_a_module_names_the_modules_file(self):
        self.write("shop/users.lua", "return {\n  ada = = true }\n")
        self.write("shop/init.lua", "local users = require 'users'\n" + OPTIONS)
        self.assert_fails(tidegate("check", self.folder / "shop"), r"users\.lua:2", code=1)

    def test_a_policy_that_is_not_there_is_named(self):
        self.assert_fails(tidegate("check", self.folder / "absent.lua"), r"absent\.lua", code=2)


class Options(ServerTest):
    async def options(self, *args, **more):
        server = await self.serve(OPTIONS, *args, **more)
        client = await Client.ready(server)
        await client.send({"type": "options?"})
        message = await client.expect("options")
        await client.close()
        return message

    async def test_set_environment_and_file_all_reach_tide_options(self):
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "tidegate.lua"
            config.write_text('return { options = { greeting = "from the file", n = 3 } }\n')
            from_file = await self.options("--config", str(config))
            self.assertEqual((from_file["greeting"], from_file["n"]), ("from the file", 3))
            environment = {"TIDEGATE_OPTIONS_GREETING": "from the environment"}
            from_env = await self.options("--config", str(config), env=environment)
            self.assertEqual((from_env["greeting"], from_env["n"]), ("from the environment", 3))
            flag = ("--set", "options.greeting=from the flag")
            from_flag = await self.options("--config", str(config), *flag, env=environment)
            self.assertEqual((from_flag["greeting"], from_flag["n"]), ("from the flag", 3))

    async def test_a_missing_option_is_named_by_check_and_by_run(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "policy.lua"
            path.write_text(NEEDS_OPTION)
            for command in (("check", path), ("run", path, "--listen", "127.0.0.1:0", "--admin", "off")):
                done = tidegate(*command)
                self.assertEqual(done.returncode, 1, done)
                self.assertRegex(done.stdout + done.stderr, r"upstream_url")
            done = tidegate("check", path, "--set", "options.upstream_url=http://127.0.0.1:1")
            self.assertEqual(done.returncode, 0, done.stderr)


class Connect(ServerTest):
    async def connect(self, server, *args):
        return await asyncio.to_thread(tidegate, "connect", server.url, *args)

    async def test_connect_agent_in_a_pipe_gives_json_lines_and_exit_0(self):
        server = await self.serve(OPTIONS)
        done = await self.connect(server, "--bearer", "ada", "--agent", "echo", "Hello there")
        self.assertEqual(done.returncode, 0, done.stderr)
        messages = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(messages[0]["type"], "connection_ready")
        self.assertEqual(messages[0]["data"]["user_id"], "ada")
        self.assert_events(messages[1:], "echo")
        self.assertEqual(messages[-1]["data"]["response"], "echo: Hello there")

    async def test_connect_fails_when_the_run_fails(self):
        server = await self.serve(OPTIONS)
        done = await self.connect(server, "--agent", "fails", "x")
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(json.loads(done.stdout.splitlines()[-1])["type"], "agent_error")

    async def test_connect_to_nobody_says_so(self):
        server = await self.serve(OPTIONS)
        done = await self.connect(server, "--agent", "nobody", "x")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("unknown_agent", done.stdout + done.stderr)

    async def test_connect_where_nobody_listens_says_so(self):
        done = tidegate("connect", "ws://127.0.0.1:1", "--agent", "echo", "x")
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r"127\.0\.0\.1.*refused")

    async def test_connect_shows_why_it_was_closed(self):
        server = await self.serve(
            "return { authenticate = function() return nil, 'not today' end }\n"
        )
        done = await self.connect(server, "--agent", "echo", "x")
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stdout + done.stderr, r"4401")
        self.assertRegex(done.stdout + done.stderr, r"not today")


class Install(Folder):
    @unittest.skipUnless((BINARY.parent / "CMakeCache.txt").exists(), "not a build folder")
    def test_cmake_install_gives_a_program_that_serves_an_installed_example(self):
        prefix = self.folder / "prefix"
        done = subprocess.run(
            ["cmake", "--install", str(BINARY.parent), "--prefix", str(prefix)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        share = prefix / "share/tidegate"
        self.assertTrue(os.access(prefix / "bin/tidegate", os.X_OK))
        self.assertTrue(list((share / "policies").glob("*.lua")), "no policies")
        self.assertTrue(list((share / "meta").rglob("*.lua")), "no annotations")
        man = (prefix / "share/man/man1/tidegate.1").read_text()
        self.assertIn(".TH ", man)
        self.assertIn("limits.max_message", man.replace("\\", ""))
        server = Server(share / "examples/hello", program=prefix / "bin/tidegate")
        try:
            done = tidegate("connect", server.url, "--agent", "echo", "Hi")
            self.assertEqual(done.returncode, 0, done.stderr)
            last = json.loads(done.stdout.splitlines()[-1])
            self.assertEqual(last["data"]["response"], "You said: Hi")
        finally:
            server.stop()


if __name__ == "__main__":
    unittest.main()
