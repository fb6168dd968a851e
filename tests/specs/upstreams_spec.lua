local testing = require "tidegate.testing"

--- A host with one agent that asks with tidegate.http; `body` ends with what the agent returns.
local function host_that(body, options)
  options = options or {}
  options.source = ([[
local http = require "tidegate.http"
local policy = {}
function policy.authenticate() return { user_id = "u" } end
policy.agents = { ask = function(run, input) %s end }
return policy]]):format(body)
  return testing.host(options)
end

local function ask(host, message)
  local client = host:connect()
  client:execute(message or "x", "ask")
  return client
end

local function answer_of(client)
  return client:expect("agent_completed").data.response
end

describe("a fake upstream", function()
  it("answers what it is asked", function()
    local host = host_that [[
      local url = "https://api.example/v1/complete?key=k"
      local response = http.post(url, { json = { prompt = input.message } })
      return { response.status, response.headers["x-request"], response:json().text }]]
    host:http("POST https://api.example/v1/complete", function(request)
      local text = request.json.prompt .. "!"
      return { status = 201, headers = { ["X-Request"] = "r1" }, json = { text = text } }
    end)
    assert.same({ 201, "r1", "Hello!" }, answer_of(ask(host, "Hello")))
    local requests = host:requests()
    assert.equal(1, #requests)
    assert.equal("https://api.example/v1/complete?key=k", requests[1].url)
    assert.same({ prompt = "Hello" }, requests[1].json)
    assert.equal(0, #host:requests "https://other.example/*")
  end)

  it("may be a fixed answer, and the last one given counts", function()
    local host = host_that 'return http.get("http://a.example/x/1").body'
    host:http("http://a.example/x/*", { body = "first" })
    assert.equal("first", answer_of(ask(host)))
    host:http("http://a.example/x/*", { body = "second" })
    assert.equal("second", answer_of(ask(host)))
  end)

  it("takes its time, on the host's clock", function()
    local host = host_that 'return http.get("http://a.example/").body'
    host:http("http://a.example/", { body = "late", delay = 3 })
    local client = ask(host)
    host:advance(2)
    assert.equal("processing", client.state)
    host:advance(2)
    local done = client:expect "agent_completed"
    assert.equal("late", done.data.response)
    assert.equal(3000, done.data.duration_ms)
  end)

  it("may be too slow for the policy", function()
    local host = host_that [[
      local response, why, code = http.get("http://a.example/", { timeout = 5 })
      return { response == nil, code }]]
    host:http("http://a.example/", { delay = 60 })
    local client = ask(host)
    host:advance(6)
    assert.same({ true, "timeout" }, answer_of(client))
  end)

  for _, fault in ipairs{ "refused", "resolve", "connect", "timeout", "tls", "reset", "protocol" } do
    it("may fail: " .. fault, function()
      local host = host_that [[
        local response, why, code = http.get("http://a.example/")
        return { response == nil, code }]]
      host:http("http://a.example/", fault)
      assert.same({ true, fault }, answer_of(ask(host)))
    end)
  end

  it("streams, with pauses and to a bad end", function()
    local host = host_that [[
      local response = http.get("http://a.example/", { stream = true })
      local lines = {}
      for line in response:lines() do
        lines[#lines + 1] = line
        run:delta(line)
      end
      local why, code = response:error()
      return { lines, code }]]
    host:http("http://a.example/", {
      chunks = { "one\ntw", { "o\n", delay = 1 }, { "three\n", delay = 1 }, { fault = "reset", delay = 1 } },
    })
    local client = ask(host)
    assert.equal("one", client:expect("agent_delta").data.text)
    host:advance(1)
    assert.equal("two", client:expect("agent_delta").data.text)
    assert.error(function() client:expect "agent_delta" end)
    host:advance(2)
    assert.same({ { "one", "two", "three" }, "reset" }, answer_of(client))
  end)

  it("may redirect", function()
    local host = host_that 'local r, why, code = http.get("http://a.example/old") return r and r.body or code'
    host:http("http://a.example/old", { status = 302, headers = { Location = "/new" } })
    host:http("http://a.example/new", { body = "moved here" })
    assert.equal("moved here", answer_of(ask(host)))
    host:http("http://a.example/new", { status = 302, headers = { location = "/old" } })
    assert.equal("redirects", answer_of(ask(host)))
  end)

  it("that nobody gave fails the spec, and the policy gets `refused`", function()
    local host = host_that [[
      local response, why, code = http.get("http://nowhere.example/x?secret=1")
      return code]]
    local client = host:connect()
    assert.error_matches(function() client:execute("x", "ask") end,
      "the policy asked for GET http://nowhere.example/x?secret=1 and no host:http answers that", 1, true)
    assert.equal("refused", answer_of(client))
  end)

  it("whose function fails, fails the spec", function()
    local host = host_that 'return (select(3, http.get("http://a.example/")))'
    host:http("http://a.example/", function() error("bad handler") end)
    local client = host:connect()
    assert.error_matches(function() client:execute("x", "ask") end, "bad handler")
    assert.equal("closed", answer_of(client))
  end)

  it("is left alone when the client goes", function()
    local host = host_that 'return http.get("http://a.example/").body'
    host:http("http://a.example/", { body = "x", delay = 10 })
    local client = ask(host)
    client:drop()
    host:advance(20)
    assert.equal("failed", client.state)
    assert.equal(1, #host:requests())
  end)

  it("says what is wrong with an answer", function()
    local host = host_that "return 1"
    assert.error_matches(function() host:http("http://a.example/", "explodes") end,
      'there is no fault "explodes"', 1, true)
    assert.error_matches(function() host:http("http://a.example/", 7) end, "an answer is a function")
    assert.error_matches(function() host:http(nil, {}) end, "a URL expected")
  end)
end)
