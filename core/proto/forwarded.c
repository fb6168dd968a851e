/* forwarded.c - walking the chain of proxies from the right.
 *
 * Lists are walked from the left, as the parser offers them, in one pass without memory: an element that
 * is not of a trusted proxy makes all before it void, and one that is leaves what was found before.
 */
#include "proto/forwarded.h"

#include <string.h>
#include <strings.h>

/* What is known after the elements so far, if the rest of the list were all trusted proxies. */
struct chain {
    const struct tg_cidr *trusted; /* borrowed */
    size_t trusted_count;
    struct tg_forwarded found;
    bool malformed; /* the element that was found */
    size_t count;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct tg_http_text trim(struct tg_http_text text)
{
    while (text.len > 0 && is_blank(text.data[0])) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && is_blank(text.data[text.len - 1]))
        text.len--;
    return text;
}

static bool name_is(struct tg_http_text text, const char *want)
{
    return text.len == strlen(want) && strncasecmp(text.data, want, text.len) == 0;
}

static bool is_secure_scheme(struct tg_http_text text)
{
    return name_is(text, "https") || name_is(text, "wss");
}

/* Takes the part of *rest before an unquoted ';'. False at the end; *open is set when a quote is left
 * open, as it is when a client's own header has swallowed what a proxy appended to it. */
static bool next_pair(struct tg_http_text *rest, struct tg_http_text *pair, bool *open)
{
    bool quoted = false;
    size_t i = 0;

    if (rest->data == NULL)
        return false;
    for (; i < rest->len && (quoted || rest->data[i] != ';'); i++) {
        if (rest->data[i] == '"')
            quoted = !quoted;
        else if (quoted && rest->data[i] == '\\' && i + 1 < rest->len)
            i++;
    }
    *open = quoted;
    *pair = trim((struct tg_http_text){rest->data, i});
    if (i >= rest->len) {
        rest->data = NULL;
    } else {
        rest->data += i + 1;
        rest->len -= i + 1;
    }
    return true;
}

/* A value with its quotes taken off; one with an escape in it holds no address. */
static struct tg_http_text unquote(struct tg_http_text value)
{
    if (value.len < 2 || value.data[0] != '"' || value.data[value.len - 1] != '"')
        return value;
    return (struct tg_http_text){value.data + 1, value.len - 2};
}

static bool all_of(struct tg_http_text text, const char *allowed)
{
    size_t i = 0;

    while (i < text.len && text.data[i] != '\0' && strchr(allowed, text.data[i]) != NULL)
        i++;
    return text.len > 0 && i == text.len;
}

/* RFC 7239 §6.3. Nothing else passes: a quote that a client has left open would hide what a proxy appended. */
static bool is_obfuscated(struct tg_http_text text)
{
    return text.len >= 2 && text.data[0] == '_' &&
           all_of(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
}

/* False: neither an address nor one of the ways to say none (RFC 7239 §6.2 and §6.3). */
static bool read_node(struct tg_http_text node, struct tg_address *out)
{
    *out = (struct tg_address){.kind = TG_ADDRESS_UNKNOWN};
    if (tg_address_parse(node.data, node.len, out))
        return true;
    const char *colon = node.len == 0 ? NULL : memchr(node.data, ':', node.len);
    struct tg_http_text name = node;
    if (colon != NULL) {
        name.len = (size_t)(colon - node.data);
        struct tg_http_text port = {colon + 1, node.len - name.len - 1};
        if (!all_of(port, "0123456789") && !is_obfuscated(port))
            return false;
    }
    return name_is(name, "unknown") || is_obfuscated(name);
}

bool tg_forwarded_element(struct tg_http_text element, struct tg_address *node, bool *secure)
{
    struct tg_http_text pair;
    bool seen = false;
    bool open = false;
    bool good = true;

    *node = (struct tg_address){.kind = TG_ADDRESS_UNKNOWN};
    *secure = false;
    while (next_pair(&element, &pair, &open)) {
        const char *equals = pair.len == 0 ? NULL : memchr(pair.data, '=', pair.len);
        if (equals == NULL || open) {
            good = good && !open && pair.len == 0;
            continue;
        }
        struct tg_http_text name = {pair.data, (size_t)(equals - pair.data)};
        struct tg_http_text value =
            unquote((struct tg_http_text){equals + 1, pair.len - name.len - 1});
        if (name_is(name, "for")) {
            good = good && !seen && read_node(value, node); /* once at most (RFC 7239 §4) */
            seen = true;
        } else if (name_is(name, "proto")) {
            *secure = is_secure_scheme(value);
        }
    }
    return good;
}

/* One more element to the right of those seen. */
static void add(struct chain *chain, bool good, const struct tg_address *node, bool secure)
{
    bool first = chain->count++ == 0;

    if (good && !first && tg_cidr_any(chain->trusted, chain->trusted_count, node))
        return;
    chain->found = (struct tg_forwarded){.client = *node, .secure = secure};
    chain->malformed = !good;
}

static void walk_forwarded(const struct tg_http *http, struct chain *chain)
{
    uint64_t cursor = 0;
    struct tg_http_text item;

    while (tg_http_next_item(http, TG_HEADER_FORWARDED, &cursor, &item)) {
        struct tg_address node;
        bool secure;
        bool good = tg_forwarded_element(item, &node, &secure);
        add(chain, good, &node, secure);
    }
}

static void walk_x_forwarded_for(const struct tg_http *http, struct chain *chain)
{
    uint64_t cursor = 0;
    struct tg_http_text item;

    while (tg_http_next_item(http, TG_HEADER_X_FORWARDED_FOR, &cursor, &item)) {
        struct tg_address node;
        bool good = read_node(unquote(item), &node);
        add(chain, good, &node, false);
    }
    cursor = 0;
    /* The last word is the nearest proxy's, which is trusted; those before it may be anybody's. */
    while (tg_http_next_item(http, TG_HEADER_X_FORWARDED_PROTO, &cursor, &item))
        chain->found.secure = is_secure_scheme(item);
}

enum tg_err tg_forwarded_resolve(const struct tg_http *http, const struct tg_address *peer,
                                 const struct tg_cidr *trusted, size_t trusted_count,
                                 struct tg_forwarded *out, const char **why)
{
    struct chain standard = {.trusted = trusted, .trusted_count = trusted_count};
    struct chain common = {.trusted = trusted, .trusted_count = trusted_count};

    walk_forwarded(http, &standard);
    walk_x_forwarded_for(http, &common);
    *out = standard.count > 0 ? standard.found : common.found;
    if (standard.count == 0 && common.count == 0)
        out->client = *peer;
    if (standard.malformed || common.malformed) {
        *why = "Forwarded or X-Forwarded-For names no address where the client's should stand";
        return TG_ERR_PROTO;
    }
    if (standard.count > 0 && common.count > 0 &&
        !tg_address_same_host(&standard.found.client, &common.found.client)) {
        *why = "Forwarded and X-Forwarded-For name different clients; the proxy should set one of "
               "them and remove the other";
        return TG_ERR_PROTO;
    }
    return TG_ERR_OK;
}

bool tg_forwarded_is_header(const struct tg_http_header *header)
{
    static const char prefix[] = "x-forwarded-";

    return header->number == TG_HEADER_FORWARDED || header->number == TG_HEADER_X_REAL_IP ||
           (header->name.len >= sizeof prefix - 1 &&
            memcmp(header->name.data, prefix, sizeof prefix - 1) == 0);
}
