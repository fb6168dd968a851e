/* admin_routes.c - matches paths against the patterns of the route table, and reads queries.
 *
 * Paths are compared segment by segment before decoding, so that an encoded slash in a parameter
 * cannot become a separator.
 */
#include "ops/admin_routes.h"

#include <stdbool.h>
#include <string.h>

static bool text_is(struct tg_http_text text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

/* Takes the next "/segment" off *at; false when none is left. */
static bool next_segment(const char **at, const char *end, struct tg_http_text *segment)
{
    const char *start = *at;

    if (start == end || *start != '/')
        return false;
    start++;
    const char *stop = memchr(start, '/', (size_t)(end - start));
    if (stop == NULL)
        stop = end;
    *segment = (struct tg_http_text){start, (size_t)(stop - start)};
    *at = stop;
    return true;
}

static bool path_matches(const char *pattern, struct tg_http_text path, struct tg_http_text *param)
{
    const char *pattern_end = pattern + strlen(pattern);
    const char *path_at = path.data;
    const char *path_end = path.data + path.len;
    struct tg_http_text want;
    struct tg_http_text have;

    *param = (struct tg_http_text){NULL, 0};
    while (next_segment(&pattern, pattern_end, &want)) {
        if (!next_segment(&path_at, path_end, &have))
            return false;
        if (want.len > 0 && want.data[0] == ':') {
            if (have.len == 0)
                return false;
            *param = have;
        } else if (want.len != have.len || memcmp(want.data, have.data, want.len) != 0) {
            return false;
        }
    }
    return path_at == path_end;
}

static bool method_matches(const struct tg_admin_route *route, struct tg_http_text method)
{
    return text_is(method, route->method) ||
           (text_is(method, "HEAD") && strcmp(route->method, "GET") == 0);
}

/* Decodes one text and ends it with NUL; a NUL inside would cut it short unseen. */
static enum tg_err decode(struct tg_http_text text, bool form, struct tg_buffer *out)
{
    size_t before = out->len;
    enum tg_err err = tg_http_percent_decode(text, form, out);

    if (err != TG_ERR_OK)
        return err == TG_ERR_NOMEM ? err : TG_ERR_INVALID;
    if (out->len > before && memchr(tg_buffer_head(out) + before, '\0', out->len - before) != NULL)
        return TG_ERR_INVALID;
    return tg_buffer_append(out, "", 1);
}

enum tg_err tg_admin_route_find(const struct tg_admin_route *routes, size_t count,
                                struct tg_http_text method, struct tg_http_text path,
                                const struct tg_admin_route **out, struct tg_buffer *param)
{
    enum tg_err err = TG_ERR_NOT_FOUND;

    for (size_t i = 0; i < count; i++) {
        struct tg_http_text segment;
        if (!path_matches(routes[i].pattern, path, &segment))
            continue;
        if (!method_matches(&routes[i], method)) {
            err = TG_ERR_ILLEGAL;
            continue;
        }
        *out = &routes[i];
        return segment.data == NULL ? TG_ERR_OK : decode(segment, false, param);
    }
    return err;
}

enum tg_err tg_admin_route_allow(const struct tg_admin_route *routes, size_t count,
                                 struct tg_http_text path, struct tg_buffer *out)
{
    enum tg_err err = TG_ERR_OK;

    for (size_t i = 0; i < count && err == TG_ERR_OK; i++) {
        struct tg_http_text segment;
        if (!path_matches(routes[i].pattern, path, &segment))
            continue;
        err = tg_buffer_printf(out, "%s%s%s", out->len == 0 ? "" : ", ", routes[i].method,
                               strcmp(routes[i].method, "GET") == 0 ? ", HEAD" : "");
    }
    return err;
}

enum tg_err tg_admin_query_parse(struct tg_http_text query, struct tg_buffer *out)
{
    const char *at = query.data;
    const char *end = query.data + query.len;

    while (at < end) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        if (stop == NULL)
            stop = end;
        const char *equals = memchr(at, '=', (size_t)(stop - at));
        const char *name_end = equals == NULL ? stop : equals;
        const char *value = equals == NULL ? stop : equals + 1;
        if (name_end > at) {
            enum tg_err err = decode((struct tg_http_text){at, (size_t)(name_end - at)}, true, out);
            if (err == TG_ERR_OK)
                err = decode((struct tg_http_text){value, (size_t)(stop - value)}, true, out);
            if (err != TG_ERR_OK)
                return err;
        }
        at = stop == end ? end : stop + 1;
    }
    return TG_ERR_OK;
}

const char *tg_admin_query_find(const struct tg_buffer *parsed, const char *name)
{
    const char *at = (const char *)tg_buffer_head(parsed);

    if (at == NULL)
        return NULL;
    for (const char *end = at + parsed->len; at < end;) {
        const char *value = at + strlen(at) + 1;
        if (strcmp(at, name) == 0)
            return value;
        at = value + strlen(value) + 1;
    }
    return NULL;
}
