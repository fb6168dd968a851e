"""Agent runs: the order of their events, and every way they end."""

import asyncio
import unittest

from harness import Client, Raw, ServerTest, TEXT, frame, open_policy

POLICY = open_policy(
    """
    local time = require "tidegate.time"
    policy.agents = {
      echo = function(run, input) return input.message end,
      data = function() return { list = { 1, 2 }, yes = true } end,
      slow = function(run)
        run:thinking("this takes a while")
        time.sleep(3600)
        return "never"
      end,
      patient = function(run)
        while not run:cancelled() do
          time.sleep(0.01)
        end
        return "cancelled by itself"
      end,
      waits = function(run)
        while not run.conn.session.go do
          time.sleep(0.01)
        end
        return "went"
      end,
      lingers = function(run)
        run:thinking("lingering")
        time.sleep(0.3)
        return "finished"
      end,
      fails = function() error("secret detail") end,
      spins = function() while true do end end,
      tools = function(run)
        local sum = run:tool("add", { a = 1, b = 2 }, function() return 3 end)
        local nested = run:tool("outer", {}, function()
          return run:tool("inner", nil, function() return "deep" end)
        end)
        return { sum = sum, nested = nested }
      end,
      tool_fails = function(run)
        local ok = pcall(run.tool, run, "bad", {}, function() error("no such file") end)
        return "went on: " .. tostring(ok)
      end,
      open_tool = function(run)
        run:tool("endless", {}, function() time.sleep(3600) end)
      end,
    }
    function policy.message(conn, message)
      if message.type == "go" then
        conn.session.go = true
      end
    end
    """
)


class Runs(ServerTest):
    async def start(self, agent, *args):
        """A client whose run of that agent has started; returns (server, client, first event)."""
        server = await self.serve(POLICY, *args)
        client = await Client.ready(server)
        await client.run("x", agent)
        return server, client, await client.expect("agent_started")

    async def assert_outcome(self, server, agent, outcome):
        await server.metric_reaches(
            f'tidegate_run_outcomes_total{{agent="{agent}",outcome="{outcome}"}}'
        )

    async def test_the_response_may_be_a_text_or_data(self):
        server = await self.serve(POLICY)
        client = await Client.ready(server)
        events = await client.answer("héllo", "echo")
        self.assertEqual(self.assert_events(events, "echo"), ["agent_started", "agent_completed"])
        self.assertEqual(events[-1]["data"]["response"], "héllo")
        events = await client.answer("x", "data")
        self.assertEqual(events[-1]["data"]["response"], {"list": [1, 2], "yes": True})
        await self.assert_outcome(server, "echo", "completed")

    async def test_tool_events_come_in_pairs_and_may_nest(self):
        server = await self.serve(POLICY)
        client = await Client.ready(server)
        events = await client.answer("x", "tools")
        self.assert_events(events, "tools")
        self.assert_seq(events)
        shape = [(e["type"], e["data"]["name"]) for e in events if "tool" in e["type"]]
        self.assertEqual(
            shape,
            [
                ("tool_executing", "add"),
                ("tool_completed", "add"),
                ("tool_executing", "outer"),
                ("tool_executing", "inner"),
                ("tool_completed", "inner"),
                ("tool_completed", "outer"),
            ],
        )
        first = next(e for e in events if e["type"] == "tool_executing")
        self.assertEqual(first["data"]["arguments"], {"a": 1, "b": 2})
        self.assertEqual(events[-1]["data"]["response"], {"sum": 3, "nested": "deep"})

    async def test_a_tool_that_raises_completes_with_an_error(self):
        server = await self.serve(POLICY)
        client = await Client.ready(server)
        events = await client.answer("x", "tool_fails")
        self.assert_events(events, "tool_fails")
        completed = next(e for e in events if e["type"] == "tool_completed")
        self.assertIn("no such file", str(completed["data"]["error"]))
        self.assertEqual(events[-1]["data"]["response"], "went on: false")

    async def test_cancel_ends_a_run_that_waits(self):
        server, client, started = await self.start("slow")
        await client.send({"type": "agent_cancel", "data": {"run_id": started["run_id"]}})
        events = [started] + await client.until("agent_error", "agent_completed")
        self.assert_events(events, "slow", "agent_error")
        self.assertEqual(events[-1]["data"]["code"], "cancelled")
        await self.assert_outcome(server, "slow", "cancelled")
        await client.alive()

    async def test_cancel_ends_a_run_that_looks_itself(self):
        server, client, started = await self.start("patient")
        await client.send({"type": "agent_cancel", "data": {"run_id": started["run_id"]}})
        events = [started] + await client.until("agent_error", "agent_completed")
        self.assert_events(events, "patient", "agent_error")
        self.assertEqual(events[-1]["data"]["code"], "cancelled")
        self.assertEqual((await client.answer("y", "echo"))[-1]["data"]["response"], "y")

    async def test_another_connections_run_cannot_be_cancelled(self):
        server, client, started = await self.start("waits")
        stranger = await Client.ready(server, "stranger")
        await stranger.send({"type": "agent_cancel", "data": {"run_id": started["run_id"]}})
        self.assertEqual((await stranger.expect("error"))["data"]["code"], "unknown_run")
        await client.send({"type": "go"})
        self.assertEqual((await client.expect("agent_completed"))["data"]["response"], "went")

    async def test_a_run_over_its_time_ends_in_agent_error_timeout(self):
        server, client, started = await self.start("slow", "--set", "runs.timeout=300ms")
        events = [started] + await client.until("agent_error", "agent_completed")
        self.assert_events(events, "slow", "agent_error")
        self.assertEqual(events[-1]["data"]["code"], "timeout")
        await self.assert_outcome(server, "slow", "timeout")
        await client.alive()

    async def test_an_open_tool_is_completed_with_an_error_before_the_run_ends(self):
        server, client, started = await self.start("open_tool", "--set", "runs.timeout=300ms")
        events = [started] + await client.until("agent_error", "agent_completed")
        kinds = self.assert_events(events, "open_tool", "agent_error")
        self.assertEqual(
            kinds, ["agent_started", "tool_executing", "tool_completed", "agent_error"]
        )
        self.assertIn("error", events[-2]["data"])

    async def test_an_agent_that_raises_ends_in_agent_error_without_its_traceback(self):
        server, client, started = await self.start("fails")
        events = [started] + await client.until("agent_error", "agent_completed")
        self.assert_events(events, "fails", "agent_error")
        self.assertEqual(events[-1]["data"]["code"], "script_error")
        self.assertNotIn("traceback", events[-1]["data"]["message"])
        await server.wait_log(r"secret detail")
        await self.assert_outcome(server, "fails", "failed")
        await client.alive()

    async def test_an_agent_that_spins_is_stopped_and_hurts_nobody_else(self):
        server, client, started = await self.start("spins")
        events = [started] + await client.until("agent_error", "agent_completed")
        self.assert_events(events, "spins", "agent_error")
        self.assertEqual(events[-1]["data"]["code"], "cpu_budget")
        await self.assert_outcome(server, "spins", "budget")
        await client.alive()

    async def test_one_run_too_many_is_answered_too_many_runs(self):
        server, client, _ = await self.start("waits", "--set", "runs.max_per_connection=2")
        await client.run("x", "waits")
        await client.expect("agent_started")
        await client.run("x", "echo", id="third")
        error = await client.expect("error")
        self.assertEqual(error["data"]["code"], "too_many_runs")
        self.assertEqual(error["id"], "third")
        await client.send({"type": "go"})
        await client.until("agent_completed")
        await client.until("agent_completed")
        self.assertEqual((await client.answer("y", "echo"))[-1]["data"]["response"], "y")

    async def test_runs_of_one_connection_go_on_side_by_side(self):
        server, client, waiting = await self.start("waits")
        events = await client.answer("meanwhile", "echo")
        self.assertEqual(events[-1]["data"]["response"], "meanwhile")
        await client.send({"type": "go"})
        last = await client.expect("agent_completed")
        self.assertEqual(last["run_id"], waiting["run_id"])
        self.assert_seq([waiting] + events + [last])

    async def test_the_state_is_processing_while_a_run_is_under_way(self):
        server, client, _ = await self.start("waits")
        shown = await server.get(f"/connections/{client.id}")
        self.assertEqual(shown["state"], "processing")
        self.assertEqual((await server.metrics())['tidegate_runs{agent="waits"}'], 1)
        await client.send({"type": "go"})
        await client.expect("agent_completed")
        shown = await server.get(f"/connections/{client.id}")
        self.assertEqual(shown["state"], "processing_ready")

    async def test_a_lost_connection_cancels_its_runs(self):
        server = await self.serve(POLICY)
        raw = await Raw.ready(server)
        request = {"type": "agent_execution", "data": {"message": "x", "agent_type": "slow"}}
        await raw.write(frame(TEXT, request))
        self.assertEqual((await raw.next())["type"], "agent_started")
        raw.abort()
        await self.assert_outcome(server, "slow", "connection_lost")

    async def test_with_on_disconnect_finish_a_run_ends_unheard(self):
        server = await self.serve(POLICY, "--set", "runs.on_disconnect=finish")
        raw = await Raw.ready(server)
        request = {"type": "agent_execution", "data": {"message": "x", "agent_type": "lingers"}}
        await raw.write(frame(TEXT, request))
        self.assertEqual((await raw.next())["type"], "agent_started")
        raw.abort()
        await self.assert_outcome(server, "lingers", "completed")

    async def test_many_runs_of_many_connections_keep_their_events_apart(self):
        server = await self.serve(POLICY)
        clients = [await Client.ready(server, f"user-{n}") for n in range(20)]

        async def ask(client):
            for n in range(10):
                events = await client.answer(f"{client.id}-{n}", "echo")
                self.assert_events(events, "echo")
                self.assertEqual(events[-1]["data"]["response"], f"{client.id}-{n}")

        await asyncio.gather(*(ask(client) for client in clients))


class DefaultAgent(ServerTest):
    async def test_without_agent_type_the_only_agent_is_taken(self):
        server = await self.serve(
            open_policy("policy.agents = { only = function() return 'only' end }")
        )
        client = await Client.ready(server)
        self.assert_events(await client.answer("x"), "only")

    async def test_without_agent_type_and_with_several_agents_it_is_unknown(self):
        server = await self.serve(POLICY)
        client = await Client.ready(server)
        await client.run("x")
        self.assertEqual((await client.expect("error"))["data"]["code"], "unknown_agent")


if __name__ == "__main__":
    unittest.main()
