"""Tasks: an agent that does several things at once, and that leaves nothing behind."""

import unittest

from harness import Client, ServerTest, open_policy

POLICY = open_policy(
    """
    local time = require "tidegate.time"
    local log = require "tidegate.log"

    policy.agents = {
      researcher = function(run, input)
        local results, errors = tide.all {
          web = function()
            return run:tool("web", { q = input.message }, function()
              run.conn.session.gate = "open"
              time.sleep(0.01)
              return "from the web"
            end)
          end,
          files = function()
            while run.conn.session.gate ~= "open" do time.sleep(0.005) end
            run:delta("looking into files")
            return "from the files"
          end,
          database = function()
            return nil, "database is down"
          end,
        }
        return { web = results.web, files = results.files, database = errors.database }
      end,

      fails = function(run)
        tide.all {
          function() time.sleep(60) log.info("never") end,
          function() time.sleep(0.01) error("the second failed") end,
        }
      end,

      forgets = function(run)
        tide.spawn(function() error("nobody listens") end)
        tide.spawn(function() time.sleep(60) log.info("never") end)
        time.sleep(0.01)
        return "done"
      end,

      greedy = function(run)
        local task = tide.spawn(function() pcall(function() while true do end end) while true do end end)
        while true do pcall(task.wait, task) end
      end,

      spins = function(run)
        run:delta("spins")
        while true do tide.spawn(function() end):wait() end
      end,
    }
    """
)


class Tasks(ServerTest):
    async def asyncSetUp(self):
        self.server = await self.serve(POLICY, "--set", "runs.timeout=120s", workers=1)
        self.client = await Client.ready(self.server)

    async def test_an_agent_does_several_things_at_once(self):
        events = await self.client.answer("x", "researcher")
        kinds = self.assert_events(events, "researcher")
        self.assert_seq(events)
        # `files` waits for what `web` does inside its tool: they run side by side.
        self.assertLess(kinds.index("tool_executing"), kinds.index("agent_delta"))
        self.assertEqual(
            events[-1]["data"]["response"],
            {"web": "from the web", "files": "from the files", "database": "database is down"},
        )

    async def test_the_first_error_ends_the_agent_and_cancels_the_rest(self):
        events = await self.client.answer("x", "fails")
        self.assert_events(events, "fails", "agent_error")
        line = await self.server.wait_log("run.failed")
        self.assertIn("the second failed", line)
        await self.client.alive()

    async def test_an_error_that_nobody_waits_for_is_in_the_log(self):
        events = await self.client.answer("x", "forgets")
        self.assertEqual(events[-1]["data"]["response"], "done")
        line = await self.server.wait_log("task.failed")
        self.assertIn("nobody listens", line)
        self.assertIn("traceback=", line)

    async def test_a_task_that_computes_for_ever_ends_its_agent_and_nobody_else(self):
        other = await Client.ready(self.server)
        await self.client.run("x", "greedy")
        events = await self.client.until("agent_completed", "agent_error")
        self.assertEqual(events[-1]["data"]["code"], "cpu_budget")
        await other.alive()
        await self.client.alive()

    async def test_tasks_that_keep_each_other_busy_leave_the_worker_to_others(self):
        await self.client.run("x", "spins")
        started = (await self.client.until("agent_delta"))[0]
        other = await Client.ready(self.server)
        await other.alive()
        await self.client.send({"type": "agent_cancel", "data": {"run_id": started["run_id"]}})
        events = await self.client.until("agent_error")
        self.assertEqual(events[-1]["data"]["code"], "cancelled")


if __name__ == "__main__":
    unittest.main()
