---@meta tidegate.http

--- Requests to other servers. Each waits for its answer and suspends this hook or agent, never the worker;
--- one that is given up (run cancelled, connection gone) ends at once. Answers of any status are
--- answers: `response.ok` tells. TLS is verified; redirects of GET and HEAD are followed, and only `accept`,
--- `accept-language` and `user-agent` go on to another origin.
---@class tidegate.http
local http = {}

--- Why there is none: nobody listens, the name has no address, no connection, too slow, certificate or
--- handshake, over `max_response`, too many redirects, not allowed by the configuration, not HTTP, lost in
--- the middle, ended by our side, no URL that can be fetched.
---@alias tidegate.HttpCode
---| "refused"
---| "resolve"
---| "connect"
---| "timeout"
---| "tls"
---| "too_large"
---| "redirects"
---| "forbidden"
---| "protocol"
---| "reset"
---| "closed"
---| "invalid"

--- What a request may take besides its URL.
---@class tidegate.HttpOptions
---@field headers? table<string, string|number|string[]>
---@field query? table<string, string|number|boolean|table> added to the URL
---@field body? string
---@field json? any sent as JSON; excludes body and form
---@field form? table<string, string|number|boolean|table> sent as application/x-www-form-urlencoded
---@field bearer? string the token of an Authorization header
---@field basic? string[] { user, password }
---@field timeout? number seconds for the whole answer (http.timeout); none for a stream
---@field connect_timeout? number seconds to a connection (http.connect_timeout)
---@field idle_timeout? number longest silence of the server, in seconds; http.idle_timeout for a stream
---@field redirects? integer followed for GET and HEAD, 5 by default; 0: the redirect is the answer
---@field max_response? integer bytes (http.max_response); of a stream, of its largest line or event
---@field stream? boolean return at the head; read, lines, events take the body as it comes

--- A request in one table.
---@class tidegate.HttpRequest: tidegate.HttpOptions
---@field url string
---@field method? string GET by default

--- Asks for what is at a URL.
---@param url string
---@param options? tidegate.HttpOptions
---@return tidegate.HttpResponse? response
---@return string? err for people: names the host, never a query or a secret
---@return tidegate.HttpCode? code
function http.get(url, options) end

--- As `get`, without the body.
---@param url string
---@param options? tidegate.HttpOptions
---@return tidegate.HttpResponse? response
---@return string? err
---@return tidegate.HttpCode? code
function http.head(url, options) end

--- Sends, most often `json`, `form` or `body`.
---@param url string
---@param options? tidegate.HttpOptions
---@return tidegate.HttpResponse? response
---@return string? err
---@return tidegate.HttpCode? code
function http.post(url, options) end

--- As `post`, with the method PUT.
---@param url string
---@param options? tidegate.HttpOptions
---@return tidegate.HttpResponse? response
---@return string? err
---@return tidegate.HttpCode? code
function http.put(url, options) end

--- As `post`, with the method PATCH.
---@param url string
---@param options? tidegate.HttpOptions
---@return tidegate.HttpResponse? response
---@return string? err
---@return tidegate.HttpCode? code
function http.patch(url, options) end

--- As `get`, with the method DELETE.
---@param url string
---@param options? tidegate.HttpOptions
---@return tidegate.HttpResponse? response
---@return string? err
---@return tidegate.HttpCode? code
function http.delete(url, options) end

--- Any method, with everything in one table.
---@param request tidegate.HttpRequest
---@return tidegate.HttpResponse? response
---@return string? err
---@return tidegate.HttpCode? code
function http.request(request) end

--- One server-sent event.
---@class tidegate.HttpEvent
---@field event string "message" unless the server says otherwise
---@field data string
---@field id? string the last that was sent
---@field retry? integer milliseconds; what the server last asked for

--- A stream ends with the hook or run that opened it, when nothing holds it any more, or when it is closed.
---@class tidegate.HttpResponse
---@field status integer
---@field ok boolean 200 to 299
---@field headers table<string, string> names in lower case; repeated ones joined with ", "
---@field body string not of a stream
---@field url string after redirects
---@field http_version string "1.0", "1.1", "2"
local response = {}

--- The body decoded; of a stream, what is left of it.
---@return any value
---@return string? err
function response:json() end

--- Every value of one header, as of Set-Cookie.
---@param name string
---@return string[]
function response:header_list(name) end

--- Of a stream: what has come, at most `max` bytes, waiting for some; "all": the rest. nil at the end.
---@param max? integer|"all"
---@return string? bytes
---@return string? err
---@return tidegate.HttpCode? code
function response:read(max) end

--- Of a stream: its lines, without LF or CRLF. Ask response:error() after the loop.
---@return fun(): string?
function response:lines() end

--- Of a stream: its server-sent events (text/event-stream). Ask response:error() after the loop.
---@return fun(): tidegate.HttpEvent?
function response:events() end

--- Nothing when the stream is under way or ended well.
---@return string? err
---@return tidegate.HttpCode? code
function response:error() end

--- Ends the stream; the server sees its connection go.
function response:close() end

return http
