"""The path that must never break: connect, be ready, ask the supervisor, get its answer. With three
clients that know nothing of each other, and for many users at once."""

import asyncio
import json
import subprocess
import unittest

import harness
from harness import ROOT, Client, ServerTest, open_policy

SUPERVISOR = ROOT / "examples/supervisor"
REQUEST = {
    "type": "agent_execution",
    "data": {"message": "Analyze the current market trends", "agent_type": "supervisor"},
}
CLIENTS = ROOT / "tests/e2e/clients"

# Answers with what only this user, on this connection, with this question can get.
PERSONAL = open_policy(
    """
    local time = require "tidegate.time"
    policy.agents = {
      personal = function(run, input)
        run:thinking("for " .. run.conn.user_id)
        local found = run:tool("look_up", { of = input.message }, function()
          time.sleep(0.01)
          return run.conn.user_id .. "/" .. input.message
        end)
        return found .. "/" .. run.conn.id
      end,
    }
    """
)


class GoldenPath(ServerTest):
    def assert_supervisor(self, ready, events):
        """The whole conversation, as every client must have seen it."""
        self.assertEqual(ready["type"], "connection_ready")
        self.assertRegex(ready["data"]["connection_id"], harness.ID_PATTERN)
        self.assertEqual(ready["data"]["state"], "processing_ready")
        self.assertEqual(ready["data"]["user_id"], "demo")
        kinds = self.assert_events(events, "supervisor")
        self.assert_seq(events)
        for kind in ("agent_thinking", "tool_executing", "tool_completed", "agent_delta"):
            self.assertIn(kind, kinds)
        self.assertLess(kinds.index("agent_thinking"), kinds.index("tool_executing"))
        self.assertEqual(kinds.count("tool_executing"), 2)
        self.assertGreater(kinds.count("agent_delta"), 1)
        answer = events[-1]["data"]["response"]
        self.assertRegex(answer, r"Northwind is rising: \+7\.0% over 5 days")
        self.assertGreater(len(answer), 100)
        streamed = "".join(e["data"]["text"] for e in events if e["type"] == "agent_delta")
        self.assertEqual(streamed.strip(), answer)
        self.assertGreaterEqual(events[-1]["data"]["duration_ms"], 0)

    async def run_client(self, *command):
        """The messages that a client program printed."""
        env = harness.clean_environment({"NODE_PATH": "/usr/share/nodejs"})
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=60, env=env
        )
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        return [json.loads(line) for line in done.stdout.splitlines()]

    async def test_python_client_gets_the_supervisors_answer(self):
        server = await self.serve(SUPERVISOR)
        client = await Client.open(server, "demo-key")
        ready = await client.next()
        await client.send(REQUEST)
        self.assert_supervisor(ready, await client.until("agent_completed", "agent_error"))
        await client.close()
        self.assertEqual(client.ws.close_code, 1000)

    async def test_lua_client_gets_the_supervisors_answer(self):
        server = await self.serve(SUPERVISOR)
        messages = await self.run_client(
            "luajit", str(CLIENTS / "golden.lua"), server.url, "demo-key", json.dumps(REQUEST)
        )
        self.assert_supervisor(messages[0], messages[1:])

    async def test_node_client_gets_the_supervisors_answer(self):
        server = await self.serve(SUPERVISOR)
        messages = await self.run_client(
            "node", str(CLIENTS / "golden.js"), server.url, "demo-key", json.dumps(REQUEST)
        )
        self.assert_supervisor(messages[0], messages[1:])

    async def test_seq_goes_on_over_several_runs_of_a_connection(self):
        server = await self.serve(SUPERVISOR)
        client = await Client.ready(server, "demo-key")
        events = []
        for _ in range(3):
            await client.send(REQUEST)
            events += await client.until("agent_completed", "agent_error")
        self.assert_seq(events)
        self.assertEqual(len({event["run_id"] for event in events}), 3)

    async def many_users(self, count):
        server = await self.serve(PERSONAL)
        clients = await asyncio.gather(
            *(Client.ready(server, f"user-{i}") for i in range(count))
        )

        async def ask(i, client):
            self.assertEqual(client.data["user_id"], f"user-{i}")
            await client.run(f"question-{i}")
            events = await client.until("agent_completed", "agent_error")
            self.assert_events(events, "personal")
            self.assert_seq(events)
            self.assertEqual(
                events[-1]["data"]["response"], f"user-{i}/question-{i}/{client.id}"
            )
            return {event["run_id"] for event in events}

        runs = await asyncio.gather(*(ask(i, client) for i, client in enumerate(clients)))
        self.assertEqual(len({client.id for client in clients}), count)
        self.assertEqual(len(set().union(*runs)), count)
        health = await server.get("/health")
        self.assertEqual(health["websocket"]["connections"], count)
        self.assertEqual(health["websocket"]["state_transition_success_rate"], 1.0)
        self.assertEqual(health["websocket"]["invalid_state_transitions_24h"], 0)
        await asyncio.gather(*(client.close() for client in clients))

    async def test_five_users_at_once_each_get_their_own_answers(self):
        await self.many_users(5)

    async def test_five_hundred_users_at_once_each_get_their_own_answers(self):
        harness.raise_file_limit()
        await self.many_users(500)


class Curl(ServerTest):
    @unittest.skipUnless(
        " ws" in subprocess.run(["curl", "--version"], capture_output=True, text=True).stdout,
        "this curl was built without WebSocket",
    )
    async def test_curl_is_told_that_it_is_ready(self):
        server = await self.serve(open_policy())
        url = f"ws://{server.host}:{server.port}/"
        curl = ["curl", "-sN", "--max-time", "2", url]  # it has no end of its own
        done = await asyncio.to_thread(subprocess.run, curl, capture_output=True, text=True)
        self.assertEqual(json.loads(done.stdout)["type"], "connection_ready")


if __name__ == "__main__":
    unittest.main()
