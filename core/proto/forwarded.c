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

/* Takes the part of *rest before an unquoted ';'. */
static bool next_pair(struct tg_http_text *rest, struct tg_http_text *pair)
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

static struct tg_address read_node(struct tg_http_text node)
{
    struct tg_address address;

    if (tg_address_parse(node.data, node.len, &address))
        return address;
    return (struct tg_address){.kind = TG_ADDRESS_UNKNOWN};
}

void tg_forwarded_element(struct tg_http_text element, struct tg_address *node, bool *secure)
{
    struct tg_http_text pair;
    bool seen = false;

    *node = (struct tg_address){.kind = TG_ADDRESS_UNKNOWN};
    *secure = false;
    while (next_pair(&element, &pair)) {
        const char *equals = pair.len == 0 ? NULL : memchr(pair.data, '=', pair.len);
        if (equals == NULL)
            continue;
        struct tg_http_text name = {pair.data, (size_t)(equals - pair.data)};
        struct tg_http_text value = unquote(
            (struct tg_http_text){equals + 1, pair.len - name.len - 1});
        if (name_is(name, "for")) {
            /* "for" twice is malformed (RFC 7239 §4), and two answers are none. */
            *node = seen ? (struct tg_address){.kind = TG_ADDRESS_UNKNOWN} : read_node(value);
            seen = true;
        } else if (name_is(name, "proto")) {
            *secure = is_secure_scheme(value);
        }
    }
}

/* The address that is believed when this element is the next to the right of what was seen. */
static void add(struct chain *chain, const struct tg_address *node, bool secure)
{
    struct tg_forwarded *found = &chain->found;
    bool first = chain->count++ == 0;
    bool trusted = tg_cidr_any(chain->trusted, chain->trusted_count, node);

    if (first || !trusted)
        *found = (struct tg_forwarded){.client = *node, .secure = secure};
}

/* An unknown client is as far as one can see: the last proxy that is known stands for it. */
static void settle(struct chain *chain, const struct tg_address *peer)
{
    if (chain->count == 0 || chain->found.client.kind == TG_ADDRESS_UNKNOWN)
        chain->found.client = *peer;
}

static void walk_forwarded(const struct tg_http *http, struct chain *chain)
{
    uint64_t cursor = 0;
    struct tg_http_text item;

    while (tg_http_next_item(http, "forwarded", &cursor, &item)) {
        struct tg_address node;
        bool secure;
        tg_forwarded_element(item, &node, &secure);
        add(chain, &node, secure);
    }
}

static void walk_x_forwarded_for(const struct tg_http *http, struct chain *chain)
{
    uint64_t cursor = 0;
    struct tg_http_text item;

    while (tg_http_next_item(http, "x-forwarded-for", &cursor, &item)) {
        struct tg_address node = read_node(unquote(item));
        add(chain, &node, false);
    }
    cursor = 0;
    /* The last word is the nearest proxy's, which is trusted; those before it may be anybody's. */
    while (tg_http_next_item(http, "x-forwarded-proto", &cursor, &item))
        chain->found.secure = is_secure_scheme(item);
}

enum tg_err tg_forwarded_resolve(const struct tg_http *http, const struct tg_address *peer,
                                 const struct tg_cidr *trusted, size_t trusted_count,
                                 struct tg_forwarded *out)
{
    struct chain standard = {.trusted = trusted, .trusted_count = trusted_count};
    struct chain common = {.trusted = trusted, .trusted_count = trusted_count};

    walk_forwarded(http, &standard);
    walk_x_forwarded_for(http, &common);
    settle(&standard, peer);
    settle(&common, peer);
    *out = standard.count > 0 ? standard.found : common.found;
    if (standard.count > 0 && common.count > 0 &&
        !tg_address_same_host(&standard.found.client, &common.found.client))
        return TG_ERR_PROTO;
    return TG_ERR_OK;
}

bool tg_forwarded_is_header(const char *name)
{
    static const char prefix[] = "x-forwarded-";

    return strcmp(name, "forwarded") == 0 || strcmp(name, "x-real-ip") == 0 ||
           strncmp(name, prefix, sizeof prefix - 1) == 0;
}
