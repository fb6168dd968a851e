---@meta tidegate.jwt

--- JSON Web Tokens, read strictly: the verifier says which algorithms and keys there are, the token only
--- which of them it wants. `none` does not exist, a public key is never a secret, `crit` and `b64` are
--- refused, keys that a token brings along (`jwk`, `jku`, `x5u`) are not looked at. There is no EdDSA: the
--- crypto library has none.
---
---     local verifier = jwt.verifier({
---       keys = { url = "https://id.example/jwks.json" },
---       algorithms = { "RS256" },
---       issuer = "https://id.example",
---       audience = "agents",
---     })
---
---     function policy.authenticate(conn, credentials)
---       local claims, why = verifier:verify(credentials.bearer)
---       if not claims then return nil, why end
---       return { user_id = claims.sub, expires_at = claims.exp } -- the core closes it when it expires
---     end
---
--- Verifying counts to the CPU budget. Measured: 0.04 ms for RS and PS (2,048 bits), 1.2 ms for ES256, 3 ms for
--- ES512, 0.002 ms for HS256.
---@class tidegate.jwt
local jwt = {}

---@alias tidegate.JwtAlgorithm
---| "RS256"
---| "RS384"
---| "RS512"
---| "PS256"
---| "PS384"
---| "PS512"
---| "ES256"
---| "ES384"
---| "ES512"
---| "HS256"
---| "HS384"
---| "HS512"

--- Why a token is refused: no token, or one that nobody should have made; its algorithm is not allowed; no
--- key for it, or more than one; not signed by that key; too old; from the future; another issuer; for
--- somebody else; a claim is missing or of the wrong kind; over `max_bytes`; keys cannot be fetched now.
---@alias tidegate.JwtCode
---| "malformed"
---| "algorithm"
---| "key"
---| "signature"
---| "expired"
---| "not_yet_valid"
---| "issuer"
---| "audience"
---| "claims"
---| "too_large"
---| "unavailable"

--- Text: PEM (a public key, or a certificate, of which only the key counts), or a JWK or JWKS as JSON. A
--- table: one of the forms below, a JWK, a JWKS, or a list of such. RSA keys have 2,048 bits at least, a
--- secret is at least as long as the hash. A token's `kid` chooses; without one, the only key that fits.
---@alias tidegate.JwtKeys string|tidegate.JwtSecret|tidegate.JwtFile|tidegate.JwtUrl|table

--- For HS256 to HS512.
---@class tidegate.JwtSecret
---@field secret string 32 bytes or more

--- Policies have no files. So this names an option of the configuration, and the operator sets it to the path
--- of a file with PEM, a JWK or a JWKS, which the core reads when the policy is loaded, and then only.
---@class tidegate.JwtFile
---@field file_option string "jwks_file": the path is `options.jwks_file`

--- A JWKS that is fetched by the first hook that needs it, once a worker. An unknown `kid` fetches it anew: at
--- most three times in a row, and then once in 20 seconds. While it cannot be fetched, the old one serves.
---@class tidegate.JwtUrl
---@field url string https, or http on this machine
---@field refresh? number seconds after which it is fetched anew; 600 by default, 60 at least
---@field max_stale? number seconds that an old one serves at most; 86400 by default

---@class tidegate.JwtRules
---@field typ? string what the header must have as `typ`, such as "at+jwt"
---@field require_exp? boolean true by default: a token that never expires is refused
---@field require_sub? boolean
---@field leeway? number seconds that clocks may differ, 0 to 60; 30 by default
---@field max_age? number seconds since `iat`
---@field max_bytes? integer of a token; 8192 by default

---@class tidegate.JwtOptions: tidegate.JwtRules
---@field keys tidegate.JwtKeys
---@field algorithms tidegate.JwtAlgorithm[] each needs a key
---@field issuer? string what `iss` must be
---@field audience? string|string[] one of which `aud` must be or hold. Without it, a token with `aud` is refused.

--- What is wrong with the options raises: at the top of the file, where `check` finds it.
---@param options tidegate.JwtOptions
---@return tidegate.JwtVerifier
function jwt.verifier(options) end

---@class tidegate.JwtOidcOptions: tidegate.JwtRules
---@field issuer string https://…: where /.well-known/openid-configuration is, and what `iss` must be
---@field audience string|string[]
---@field algorithms? tidegate.JwtAlgorithm[] those that the provider names; HS never
---@field refresh? number
---@field max_stale? number

--- For the tokens of an OpenID provider, which says itself where its keys are.
---@param options tidegate.JwtOidcOptions
---@return tidegate.JwtVerifier
function jwt.oidc(options) end

---@class tidegate.JwtSignOptions
---@field key string|table private: PEM without a password, or JWK (RSA: 4,096 bits at most); or { secret = … }
---@field algorithm tidegate.JwtAlgorithm
---@field kid? string
---@field typ? string "JWT" by default
---@field expires_in? number seconds; sets `exp`

--- A token, for tickets of your own and for tests. `iat` is added. Raises when the key does not fit. Of the
--- CPU budget it takes 2 ms with RSA (4,096 bits: 14 ms), 1.2 ms with ES256, 3 ms with ES512.
---@param claims table
---@param options tidegate.JwtSignOptions
---@return string token
function jwt.sign(claims, options) end

---@class tidegate.JwtVerifier
local Verifier = {}

--- Fetched keys make it wait. Neither token nor key is ever in the text.
---@param token? string
---@return table? claims
---@return string? err for people
---@return tidegate.JwtCode? code
function Verifier:verify(token) end

return jwt
