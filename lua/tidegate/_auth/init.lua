--- tidegate.auth: authenticators, and blocks that make one of several. Private: loaded by the core.
--
-- An authenticator is a function (conn, credentials) that answers as the hook `authenticate` does:
--   yes    an identity, alone
--   no     nil, a reason and perhaps a code: an HTTP status (close code 4000 more), or a word, by which it is
--          counted ("missing": there was no such credential; "unavailable": nobody could tell, ask again)
--   wait   tide.need_message()
--   fault  an error, or anything else, which is made one: the hook fails, and the connection with it
--
-- What a block comes to, by what the block inside answers:
--
--   block          yes                      no                        wait            fault
--   any_of         that identity            the next; after the       the next; wait  fault
--                                           last: no, with the first  if none admits
--                                           reason that is not
--                                           "missing"
--   all_of         the next; after the      no                        wait            fault
--                  last: merged; no, if
--                  it is another user
--   first_message  yes (before the message: wait, and nobody is asked)
--                                           no                        wait            fault
--   cache          yes, kept                no, kept if it is final   wait, not kept  fault, not kept; also
--                                                                                     for who waits for it
--   rate_limited   yes (over the limit: no, 429, and nobody is asked)
--                                           no, counted if it is      wait            fault
--                                           final, not "missing"
--   roles          yes, mapped; no, 403,    no                        wait            fault
--                  without a needed role
--   map            what fn answers          no                        wait            fault
--
-- Final is every code but 408, 429, 5xx and "unavailable". all_of merges so: what an earlier block says
-- stays, roles are intersected (or united, if it is told to; who names none does not limit), the earliest
-- expires_at counts. There is no way around a fault: any_of does not skip it.
local core = ...
local shape = require "tidegate._auth.shape"(core)

local M = {}

for _, name in ipairs { "blocks", "cache", "limit", "kinds", "basic", "cookie" } do
  for key, fn in pairs(require("tidegate._auth." .. name)(core, shape)) do
    M[key] = fn
  end
end

-- What few policies use is loaded by those.
for _, name in ipairs { "api_key", "ticket", "webhook", "revocable" } do
  M[name] = function(options)
    return require("tidegate._auth." .. name)(options, core, M)
  end
end

function M.revoke(...)
  return require("tidegate.passes").revoke(...)
end

return M
