"""Everything a reader is told to try works: the examples, the ready-made policies, the README."""

import asyncio
import json
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from harness import ROOT, Client, ServerTest, tidegate


def flags_in_head(policy):
    """What a policy's first comment says that it needs."""
    return [word for pair in re.findall(r"(--set) ([a-z0-9_.]+=[^ `\n]+)", policy.read_text()) for word in pair]


class Examples(ServerTest):
    async def connect(self, server, *args):
        done = await asyncio.to_thread(tidegate, "connect", server.url, *args)
        return done, [json.loads(line) for line in done.stdout.splitlines()]

    async def test_hello_says_back_what_it_is_told(self):
        server = await self.serve(ROOT / "examples/hello")
        done, messages = await self.connect(server, "--agent", "echo", "Hello")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_events(messages[1:], "echo")
        self.assertEqual(messages[-1]["data"]["response"], "You said: Hello")

    async def test_supervisor_answers_who_has_a_key_and_nobody_else(self):
        server = await self.serve(ROOT / "examples/supervisor")
        question = ("--agent", "supervisor", "Analyze the current market trends")
        done, messages = await self.connect(server, "--bearer", "demo-key", *question)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("Contoso is falling", messages[-1]["data"]["response"])
        done, messages = await self.connect(server, "--bearer", "ops-key", *question)
        self.assertIn("Volatility index is rising", messages[-1]["data"]["response"])
        for token, why in ((None, "send a key"), ("wrong", "unknown key")):
            client = await Client.open(server, token)
            code, reason = await client.closed()
            self.assertEqual(code, 4401)
            self.assertIn(why, reason)

    async def test_supervisor_refuses_an_empty_question(self):
        server = await self.serve(ROOT / "examples/supervisor")
        client = await Client.ready(server, "demo-key")
        events = await client.answer("", "supervisor")
        self.assert_events(events, "supervisor", "agent_error")

    async def test_jwt_lets_in_who_has_a_token(self):
        secret = {"TIDEGATE_OPTIONS_SECRET": "a secret of 32 bytes or more, and not this one"}
        server = await self.serve(ROOT / "examples/jwt", env=secret)
        command = [ROOT / "examples/jwt/token.py", "ada", "admin"]
        token = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **secret}).stdout
        question = ("--agent", "whoami", "Who am I?")
        done, messages = await self.connect(server, "--bearer", token.strip(), *question)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(messages[-1]["data"]["response"], "You are ada, your roles: admin.")
        done, _ = await self.connect(server, "--bearer", token.strip()[:-3] + "AAA", *question)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("4401", done.stderr)

    async def test_plain_sends_text_and_binary_back_and_nothing_else(self):
        server = await self.serve(ROOT / "examples/plain")
        client = await Client.open(server)
        for frame in ("hello", b"\x00\xff", '{"type":"ping"}', "", "not { json"):
            await client.send(frame)
            self.assertEqual(await client.receive(), frame)
        await client.close()
        self.assertEqual(client.ws.close_code, 1000)

    async def test_plain_has_rooms_over_all_workers(self):
        server = await self.serve(ROOT / "examples/plain", workers=2)
        clients = []
        for number in range(8):
            clients.append(await Client.open(server, path="/room/lobby"))
            await clients[-1].send(f"hello from {number}")  # heard when its sender is in the room
            for client in clients:
                self.assertEqual(await client.receive(), f"hello from {number}")
        await clients[0].send("good morning")
        for client in clients:
            self.assertEqual(await client.receive(), "good morning")
            await client.close()

    async def test_every_example_passes_check_and_has_a_readme(self):
        examples = [path for path in (ROOT / "examples").iterdir() if path.is_dir()]
        self.assertGreaterEqual(len(examples), 3)
        for example in examples:
            with self.subTest(example.name):
                done = tidegate("check", example, *flags_in_head(example / "init.lua"))
                self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
                self.assertTrue((example / "README.md").read_text().startswith(f"# {example.name}"))


class Policies(ServerTest):
    async def test_bearer_keys_lets_in_who_holds_a_key_from_the_options(self):
        server = await self.serve(
            ROOT / "policies/bearer_keys.lua",
            "--set", "options.keys.ada=k-ada-1",
            "--set", "options.keys.bob=k-bob-2",
        )  # fmt: skip
        client = await Client.ready(server, "k-bob-2")
        self.assertEqual(client.data["user_id"], "bob")
        for token in (None, "k-eve-3", "ada", ""):
            stranger = await Client.open(server, token)
            self.assertEqual((await stranger.closed())[0], 4401, token)

    async def test_bearer_keys_without_any_key_does_not_start(self):
        done = tidegate("check", ROOT / "policies/bearer_keys.lua")
        self.assertEqual(done.returncode, 1)
        self.assertIn("keys", done.stdout + done.stderr)


class Readme(ServerTest):
    README = (ROOT / "README.md").read_text()

    def blocks(self, language):
        return re.findall(rf"```{language}\n(.*?)```", self.README, re.S)

    async def test_every_whole_policy_in_the_readme_passes_check(self):
        policies = [block for block in self.blocks("lua") if "return policy" in block]
        self.assertTrue(policies)
        for text in policies:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "policy.lua"
                path.write_text(text)
                done = tidegate("check", path)
                self.assertEqual(done.returncode, 0, text + done.stderr + done.stdout)

    async def test_the_first_policy_in_the_readme_answers(self):
        text = next(block for block in self.blocks("lua") if "return policy" in block)
        server = await self.serve(text)
        client = await Client.ready(server, "demo-key")
        (agent,) = (await server.get("/policy"))["agents"]
        events = await client.answer("Ada", agent)
        self.assert_events(events, agent)
        self.assertIn("Ada", events[-1]["data"]["response"])

    async def test_every_configuration_key_is_in_the_readme_with_its_default(self):
        text = tidegate("run", "--help").stdout + tidegate("help", "run").stdout
        keys = set(re.findall(r"\b(?:limits|runs|script|reload|log)\.[a-z_]+", text))
        self.assertGreater(len(keys), 20)
        for key in sorted(keys):
            self.assertIn(f"`{key}`", self.README)

    async def test_every_folder_of_the_tree_is_there(self):
        tree = next(block for block in self.blocks("text") if "core/" in block)
        named = re.findall(r"^((?:[a-z0-9_]+/)+|[A-Za-z.]+)\s", tree, re.M)
        self.assertGreater(len(named), 5)
        for name in named:
            self.assertTrue((ROOT / name).exists(), name)


if __name__ == "__main__":
    unittest.main()
