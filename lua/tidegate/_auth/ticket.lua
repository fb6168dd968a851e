--- auth.ticket: tickets that the admin interface has issued, each good once. Private.
--
-- The core keeps them and says which of many uses is the one (tidegate.passes).
local tide = require "tidegate"
local passes = require "tidegate.passes"
local presented = require "tidegate._auth.presented"

local TICKET_BYTES = 43
local option_types = { parameter = "string", message = "boolean" }

--- Why not, by outcome of passes.take: a text and a code.
local denials = {
  unknown = { "the ticket is unknown", "unknown" },
  expired = { "the ticket has expired; ask for another", "expired" },
  replayed = { "the ticket has been used already; ask for another", "replayed" },
  foreign = { "the ticket is for another origin", "origin" },
}

return function(options)
  options = options or {}
  local why = presented.wrong_option(options, option_types)
  if why then
    error("auth.ticket: " .. why, 2)
  end
  local parameter = options.parameter or "ticket"
  if parameter == "" then
    error("auth.ticket: parameter: the name of one in the query expected", 2)
  end
  local waits = options.message ~= false

  return function(conn, credentials)
    local query = credentials.query and credentials.query[parameter]
    local found = presented.find(credentials, { "ticket", "token" }, { query, credentials.bearer })
    if found == nil then
      if waits and not credentials.message then
        return tide.need_message()
      end
      return nil, ("send a ticket: ?%s=TICKET"):format(parameter), "missing"
    end
    local reason, code = presented.wrong_form(found, "ticket", TICKET_BYTES)
    if reason then
      return nil, reason, code
    end
    local identity, outcome = passes.take(found, conn.request.headers.origin)
    if not identity then
      return nil, unpack(denials[outcome])
    end
    return identity
  end
end
