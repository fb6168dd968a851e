---@meta tidegate.auth

--- Authenticators, and blocks that make one of several. An authenticator answers as the hook `authenticate`
--- does, so it can be one:
---
---     policy.authenticate = auth.any_of{
---       auth.mtls{ user = "cn" },
---       auth.rate_limited(auth.basic{ users = users }, { attempts = 5, per = 60 }),
---     }
---
--- Four outcomes: yes, an identity; no, `nil, reason [, code]`; wait, `tide.need_message()`; and a fault: an
--- error, or an answer of another shape. No block skips a fault: the hook fails, and with it the connection.
---
--- | block | yes | no | wait |
--- | --- | --- | --- | --- |
--- | `any_of` | that identity | the next one; after the last, no | the next one; wait when none admits |
--- | `all_of` | the next one; after the last, all merged | no | wait |
--- | `first_message` | yes; before the message: wait | no | wait |
--- | `cache` | yes, kept | no, kept if final | wait, not kept |
--- | `rate_limited` | yes; over the limit: no, 429 | no, counted if final and not "missing" | wait |
--- | `roles` | yes, mapped; no, 403, without a needed role | no | wait |
--- | `map` | what its function answers | no | wait |
---
--- Final is every code but 408, 429, 5xx and "unavailable".
---@class tidegate.auth
local auth = {}

--- The code of a denial, by which `tidegate_auth_denials_total{reason}` counts it: an HTTP status from 400 to 599
--- (the close code is 4000 more: 4403, 4429), or a word of lower-case letters and underscores. Two words mean
--- something to other blocks: "missing" (there was no such credential) and "unavailable" (nobody can tell now;
--- closes with 4503). Ours are, too: "malformed", "too_large", "unknown", "signature", "expired", "not_yet_valid",
--- "audience", "issuer", "algorithm", "key", "claims", "replayed", "origin", "revoked", "mismatch", "denied".
---@alias tidegate.AuthCode integer|string

---@alias tidegate.Authenticator
---| fun(conn: tidegate.Conn, credentials: tidegate.Credentials): tidegate.AuthResult, string?, tidegate.AuthCode?

--- The first that admits. A denial goes on to the next. When all deny, the reason is the first whose code is not
--- "missing".
---@param blocks tidegate.Authenticator[]
---@return tidegate.Authenticator
function auth.any_of(blocks) end

---@class tidegate.AllOfOptions
---@field roles? "intersect"|"union" intersect by default; a block that names no roles does not limit

--- All must admit, and the same `user_id`. Asked in order, up to the first that does not admit. Of the
--- identities, what an earlier one says stays, roles are combined, and the earliest `expires_at` counts.
---@param blocks tidegate.Authenticator[]
---@param options? tidegate.AllOfOptions
---@return tidegate.Authenticator
function auth.all_of(blocks, options) end

--- Waits for the client's `authenticate` message, then asks.
---@param inner tidegate.Authenticator
---@return tidegate.Authenticator
function auth.first_message(inner) end

---@class tidegate.AuthCacheOptions
--- What answers are kept by: all that the block looks at. Nil: this one is not kept. Only an HMAC of it is kept.
---@field key fun(credentials: tidegate.Credentials): string?
---@field ttl? number seconds that a yes is kept, never beyond `identity.expires_at`; 60 by default, 0: not
---@field negative_ttl? number seconds that a no is kept; 5 by default, 0: not
---@field max? number answers on each worker; 10,000 by default

--- Keeps answers. While one hook asks, others of the worker with the same key wait for its answer; when it is
--- cancelled, the next of them asks. The block must look at credentials only, not at `conn`.
---@param inner tidegate.Authenticator
---@param options tidegate.AuthCacheOptions
---@return tidegate.Authenticator
function auth.cache(inner, options) end

---@class tidegate.AuthRateOptions
---@field attempts? number failed ones; 10 by default
---@field per? number seconds; 60 by default
--- "address" by default (of IPv6 the /64; not over Unix sockets); or "user", or both in a list
---@field by? "address"|"user"|string[]
--- Whom the client claims to be; by default of `basic`, or `data.username` or `data.user` of the message.
---@field user? fun(credentials: tidegate.Credentials): string?
---@field name? string of the counters; limiters of the same name share them

--- Denies with 429 whoever failed too often, without asking. All workers count together. Attempts under way
--- count; those that succeed are given back.
---@param inner tidegate.Authenticator
---@param options tidegate.AuthRateOptions
---@return tidegate.Authenticator
function auth.rate_limited(inner, options) end

---@class tidegate.AuthRolesOptions
---@field require_any? string[] without one of them: no, 403
--- A role to a role or to several; those that it does not know are dropped.
---@field map? table<string, string|string[]>|fun(role: string): string|string[]|nil

--- Translates `identity.roles` and asks for some.
---@param inner tidegate.Authenticator
---@param options tidegate.AuthRolesOptions
---@return tidegate.Authenticator
function auth.roles(inner, options) end

--- Changes the identity of a block that admits; `fn` gets a copy of its own and answers as a block does.
---@param inner tidegate.Authenticator
---@param fn fun(identity: table, conn: tidegate.Conn, credentials: tidegate.Credentials): any, string?, any
---@return tidegate.Authenticator
function auth.map(inner, fn) end

---@class tidegate.AuthKeysOptions
---@field keys table<string, string|number> user to key
--- Where the key is; `data.token` of the message by default, else `bearer`.
---@field from? fun(credentials: tidegate.Credentials): string?

--- Keys that are known beforehand. Codes: "missing", "malformed", "too_large", "unknown".
---@param options tidegate.AuthKeysOptions
---@return tidegate.Authenticator
function auth.keys(options) end

---@class tidegate.AuthPassword
---@field hash string of `crypto.password_hash`
---@field roles? string[]

---@class tidegate.AuthBasicOptions
--- Name to hash; or a function, which may wait.
---@field users table<string, string|tidegate.AuthPassword>|fun(name: string): string|tidegate.AuthPassword|nil

--- `Authorization: Basic …`. Refusing takes as long for users that do not exist. Put it behind `rate_limited`.
--- Codes: "missing", "malformed", "too_large", "unknown".
---@param options tidegate.AuthBasicOptions
---@return tidegate.Authenticator
function auth.basic(options) end

---@class tidegate.AuthCookieOptions
---@field secret string|string[] 32 bytes or more; several while they change, the newest first
---@field name? string of the cookie; "session" by default

--- Sessions in cookies that `sign_cookie`, or a web application, has signed. Does not load without
--- `allowed_origins`: browsers send cookies whichever page connects. Codes: "missing", "malformed", "too_large",
--- "signature", "claims", "expired".
---@param options tidegate.AuthCookieOptions
---@return tidegate.Authenticator
function auth.cookie_session(options) end

---@class tidegate.AuthSignOptions
---@field secret string 32 bytes or more
---@field name? string
---@field expires_in number seconds

--- The value of such a cookie: `payload.signature`, in base64url. The payload is the identity with
--- `expires_at` as JSON, the signature HMAC-SHA-256 of `NAME=payload`.
---@param identity tidegate.Identity
---@param options tidegate.AuthSignOptions
---@return string
function auth.sign_cookie(identity, options) end

---@class tidegate.AuthSubprotocolOptions
---@field prefix? string "base64url.bearer." by default; the token follows, in base64url

--- A token in a subprotocol, for browsers, which set no headers: `inner` finds it in `credentials.bearer`. It is
--- never echoed; offer `tidegate.v1` beside it. Codes of its own: "missing", "malformed".
---@param inner tidegate.Authenticator
---@param options? tidegate.AuthSubprotocolOptions
---@return tidegate.Authenticator
function auth.subprotocol_token(inner, options) end

---@class tidegate.AuthProxyOptions
---@field header string that the proxy sets, and takes away from what clients send
---@field roles? string a header with roles, between commas

--- The user whom a proxy names. Believed only from `trusted_proxies`, without which it does not load. Codes: 403 for
--- whoever comes past the proxy, "missing", "malformed", "too_large".
---@param options tidegate.AuthProxyOptions
---@return tidegate.Authenticator
function auth.proxy_header(options) end

---@class tidegate.AuthMtlsOptions
--- "cn" by default; of several names of a kind none is taken
---@field user? "cn"|"subject"|"dns"|"email"|"uri"|"ip"|fun(certificate: tidegate.ClientCertificate): string?
---@field issuer? string that it must have been issued by

--- The owner of a client certificate (`tls.client_ca`), until the certificate expires. Does not load in a server
--- that asks nobody for one (`tls.client_auth`). Codes: "missing", "issuer", "expired", "not_yet_valid", "malformed",
--- "too_large", "claims" when it does not say whose it is.
---@param options? tidegate.AuthMtlsOptions
---@return tidegate.Authenticator
function auth.mtls(options) end

---@class tidegate.AuthOpenOptions
---@field user? string "guest" by default
---@field force? boolean also where others can connect

--- Everybody. Does not load where `listen` has an address that is not of this machine only.
---@param options? tidegate.AuthOpenOptions
---@return tidegate.Authenticator
function auth.allow_all(options) end

---@class tidegate.AuthKey
---@field id string what it is called; becomes `identity.key_id`, and "key:" .. id `identity.token_id`
---@field user_id string several keys may be one user's
---@field sha256 string of the key, in hexadecimal; the key itself is random and long
---@field not_before? number unix seconds: the next key may be known before it is good
---@field not_after? number unix seconds: becomes `identity.expires_at`
---@field identity? table what else belongs to the identity, such as roles

---@class tidegate.AuthApiKeyOptions
---@field keys tidegate.AuthKey[]
---@field message? boolean wait for the `authenticate` message when there is no key; true by default

--- API keys, of which only digests are kept: `data.api_key` or `data.token` of the message, `X-API-Key`, or the
--- bearer. Codes: "missing", "malformed", "too_large", "unknown", "not_yet_valid", "expired".
---@param options tidegate.AuthApiKeyOptions
---@return tidegate.Authenticator
function auth.api_key(options) end

---@class tidegate.AuthTicketOptions
---@field parameter? string of the query; "ticket" by default
---@field message? boolean wait for the `authenticate` message when there is no ticket; true by default

--- Tickets of `POST /ticket`, or of `passes.issue`: each is good once, for a while, and for pages of its origin.
--- `data.ticket` or `data.token` of the message, the query, or the bearer. Codes: "missing", "malformed",
--- "too_large", "unknown", "expired", "replayed", "origin". Never inside `auth.cache`, which would let in again.
---@param options? tidegate.AuthTicketOptions
---@return tidegate.Authenticator
function auth.ticket(options) end

---@class tidegate.AuthWebhookOptions
---@field url string of the service
--- What it gets, as JSON: "bearer", "basic", "api_key", "message" (its data), "subprotocols",
--- "client_certificate", "remote_address", "path", "query.NAME", "cookies.NAME", "headers.NAME"; "bearer" and
--- "message" by default.
---@field send? string[]
---@field headers? table<string, string> of the request to it
---@field bearer? string with which it knows us
---@field timeout? number seconds; 3 by default
---@field cache_ttl? number seconds that a yes is kept, never beyond `identity.expires_at`; 0 by default: not
---@field negative_ttl? number seconds that a no is kept; 0 by default: not
---@field failures? number faults in a row after which it is not asked for a while; 5 by default
---@field cooldown? number seconds of that while; then one connection asks for all; 30 by default
---@field message? boolean wait for the `authenticate` message when nothing was shown; true by default

--- An HTTP service decides. It answers 200 with `{ "identity": { "user_id": … } }`, or 401 or 403, with
--- `{ "reason": text, "code": word }` if it likes: for the client, and to be counted by. Anything else is a
--- fault, and a fault denies: "try again later" (503, so 4503 closes). Other codes: "missing", "malformed",
--- "too_large", "denied" when the service gives none.
---@param options tidegate.AuthWebhookOptions
---@return tidegate.Authenticator
function auth.webhook(options) end

--- What `inner` lets in, unless its `identity.token_id` or `identity.jti` has been revoked (code "revoked"). Put
--- it around all others: what is revoked while a block still waits is seen by what comes after.
---@param inner tidegate.Authenticator
---@return tidegate.Authenticator
function auth.revocable(inner) end

--- Revokes a token for all workers, and closes its live connections with 4401; see `passes.revoke`.
--- Where: hooks, agents, timers.
---@param token_id string
---@param ttl number seconds: as long as the token would have been good
---@return integer? closed connections
---@return string? err "too many", "out of memory": it is not revoked
function auth.revoke(token_id, ttl) end

return auth
