/* admin_access.c - Host, Origin and token of an admin request.
 *
 * A web page can make a browser send requests here. Two rules keep it out. `Host` must be a name
 * that is ours by construction: a name that an attacker controls and points at 127.0.0.1 is not. And
 * an `Origin`, which browsers add to everything but plain navigation, must be the very one that
 * `Host` names. The port in `Host` is not compared: through a forwarded port it differs from ours,
 * and it says nothing about who asks.
 *
 * A listener on all addresses has no one address; there any IP address passes as Host, because only
 * names can be rebound.
 */
#include "ops/admin_access.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"

#define BEARER "Bearer "

/* "host" of "host:port", brackets kept: "[::1]". */
static struct tg_http_text host_part(const char *data, size_t len)
{
    size_t end = 0;

    if (len > 0 && data[0] == '[') {
        while (end < len && data[end] != ']')
            end++;
        end = end < len ? end + 1 : len;
    } else {
        while (end < len && data[end] != ':')
            end++;
    }
    return (struct tg_http_text){data, end};
}

/* What follows the host is nothing, or a colon and digits. */
static bool port_part_ok(const char *data, size_t len)
{
    if (len == 0)
        return true;
    if (data[0] != ':')
        return false;
    for (size_t i = 1; i < len; i++) {
        if (!isdigit((unsigned char)data[i]))
            return false;
    }
    return true;
}

static bool equals(struct tg_http_text text, const char *name)
{
    return text.len == strlen(name) && strncasecmp(text.data, name, text.len) == 0;
}

static bool is_ip_literal(struct tg_http_text host)
{
    size_t dots = 0;

    if (host.len > 2 && host.data[0] == '[')
        return host.data[host.len - 1] == ']';
    for (size_t i = 0; i < host.len; i++) {
        if (host.data[i] == '.')
            dots++;
        else if (!isdigit((unsigned char)host.data[i]))
            return false;
    }
    return dots == 3;
}

static bool host_is_ours(const struct tg_admin_access *access, struct tg_http_text value)
{
    struct tg_http_text host = host_part(value.data, value.len);
    struct tg_http_text bound = host_part(access->address, strlen(access->address));

    if (!port_part_ok(value.data + host.len, value.len - host.len))
        return false;
    if (equals(host, "localhost") || equals(host, "127.0.0.1") || equals(host, "[::1]"))
        return true;
    if (bound.len == host.len && strncasecmp(bound.data, host.data, host.len) == 0)
        return true;
    return (bound.len == 0 || equals(bound, "0.0.0.0") || equals(bound, "[::]")) &&
           is_ip_literal(host);
}

static bool origin_is_ours(struct tg_http_text origin, struct tg_http_text host)
{
    const size_t scheme = sizeof "http://" - 1;

    return origin.len == scheme + host.len && strncasecmp(origin.data, "http://", scheme) == 0 &&
           strncasecmp(origin.data + scheme, host.data, host.len) == 0;
}

static bool token_matches(const char *token, struct tg_http_text header)
{
    const size_t scheme = sizeof BEARER - 1;

    if (header.data == NULL || header.len < scheme || strncasecmp(header.data, BEARER, scheme) != 0)
        return false;
    return tg_equal_constant_time(header.data + scheme, header.len - scheme, token, strlen(token));
}

static bool refuse(struct tg_admin_refusal *refusal, int status, const char *code,
                   const char *message)
{
    *refusal = (struct tg_admin_refusal){status, code, message};
    return false;
}

bool tg_admin_access_check(const struct tg_admin_access *access, const struct tg_http *http,
                           struct tg_admin_refusal *refusal)
{
    size_t hosts;
    size_t origins;
    size_t tokens;
    struct tg_http_text host = tg_http_find(http, TG_HEADER_HOST, &hosts);
    struct tg_http_text origin = tg_http_find(http, TG_HEADER_ORIGIN, &origins);
    struct tg_http_text token = tg_http_find(http, TG_HEADER_AUTHORIZATION, &tokens);

    if (hosts != 1)
        return refuse(refusal, 400, "bad_host", "send exactly one Host header");
    if (!host_is_ours(access, host))
        return refuse(refusal, 403, "host_not_allowed",
                      "the Host header is none of this listener's names; ask for it by its IP "
                      "address or as localhost");
    if (origins > 1 || (origins == 1 && !origin_is_ours(origin, host)))
        return refuse(refusal, 403, "origin_not_allowed",
                      "requests from web pages of other origins are not answered");
    if (access->token == NULL)
        return true;
    if (tokens == 0)
        return refuse(refusal, 401, "token_missing", "send `Authorization: Bearer TOKEN`");
    if (tokens > 1 || !token_matches(access->token, token))
        return refuse(refusal, 401, "token_wrong", "the bearer token is not the admin_token");
    return true;
}
