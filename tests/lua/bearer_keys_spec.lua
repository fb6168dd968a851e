--- Loads the policy anew with these options, as a generation does.
local function load_policy(options)
  package.loaded["tidegate"] = { options = options }
  local policy = assert(loadfile "policies/bearer_keys.lua")()
  package.loaded["tidegate"] = nil
  return policy
end

describe("bearer_keys", function()
  it("does not load without any key, so that nobody runs it open by accident", function()
    assert.error_matches(function() load_policy({}) end, "no key is configured")
    assert.error_matches(function() load_policy({ keys = {} }) end, "no key is configured")
  end)

  it("lets in who holds a key, as the user it belongs to", function()
    local policy = load_policy({ keys = { ada = "k-1", bob = "k-2" } })
    assert.same({ user_id = "ada" }, policy.authenticate({}, { bearer = "k-1" }))
    assert.same({ user_id = "bob" }, policy.authenticate({}, { bearer = "k-2" }))
  end)

  it("takes keys that the configuration holds as numbers", function()
    local policy = load_policy({ keys = { ada = 12345 } })
    assert.same({ user_id = "ada" }, policy.authenticate({}, { bearer = "12345" }))
  end)

  it("denies everybody else and says why", function()
    local policy = load_policy({ keys = { ada = "k-1" } })
    local rows = {
      { desc = "no key", credentials = {}, why = "send a key" },
      { desc = "an unknown key", credentials = { bearer = "k-9" }, why = "unknown key" },
      { desc = "a user's name in place of a key", credentials = { bearer = "ada" }, why = "unknown key" },
      { desc = "an empty key", credentials = { bearer = "" }, why = "unknown key" },
      { desc = "another case", credentials = { bearer = "K-1" }, why = "unknown key" },
    }
    for _, row in ipairs(rows) do
      local identity, why = policy.authenticate({}, row.credentials)
      assert.is_nil(identity, row.desc)
      assert.matches(row.why, why, 1, true, row.desc)
    end
  end)
end)
