/* jwt_json.c - JSON in which nothing can mean two things: two readers that take different ones of two
 * equal names have been the way around many a check (RFC 8725 §2.4).
 *
 * Names are sorted, so that a hostile object costs n log n.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/jwt_internal.h"

struct name {
    size_t at; /* in the text below */
    size_t len;
};

struct names {
    struct tg_buffer list; /* struct name each */
    struct tg_buffer text; /* decoded names, one after the other */
};

static int compare(const void *left, const void *right, void *ctx)
{
    const struct name *a = left;
    const struct name *b = right;
    const uint8_t *text = tg_buffer_head(ctx);
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return a->len == 0 ? 0 : memcmp(text + a->at, text + b->at, a->len);
}

static enum tg_err collect(const struct tg_json_value *object, struct names *names)
{
    size_t cursor = 0;
    struct tg_json_value key;
    struct tg_json_value value;
    tg_buffer_clear(&names->list);
    tg_buffer_clear(&names->text);
    while (tg_json_next(object, &cursor, &key, &value)) {
        struct name name = {.at = names->text.len};
        if (tg_json_decode_string(&key, &names->text) != TG_ERR_OK)
            return TG_ERR_NOMEM;
        name.len = names->text.len - name.at;
        if (tg_buffer_append(&names->list, &name, sizeof name) != TG_ERR_OK)
            return TG_ERR_NOMEM;
    }
    return TG_ERR_OK;
}

static enum tg_err check_names(const struct tg_json_value *object, struct names *names)
{
    if (collect(object, names) != TG_ERR_OK)
        return TG_ERR_NOMEM;
    size_t count = names->list.len / sizeof(struct name);
    if (count < 2)
        return TG_ERR_OK;
    struct name *list = (struct name *)(void *)tg_buffer_head(&names->list);
    qsort_r(list, count, sizeof *list, compare, &names->text);
    for (size_t i = 1; i < count; i++) {
        if (compare(&list[i - 1], &list[i], &names->text) == 0)
            return TG_ERR_INVALID;
    }
    return TG_ERR_OK;
}

/* Recursion is bounded by the depth. */
static enum tg_err check(const struct tg_json_value *value, unsigned depth, struct names *names)
{
    if (value->kind != TG_JSON_OBJECT && value->kind != TG_JSON_ARRAY)
        return TG_ERR_OK;
    if (depth > TG_JWT_DEPTH_MAX)
        return TG_ERR_INVALID;
    enum tg_err err = value->kind == TG_JSON_OBJECT ? check_names(value, names) : TG_ERR_OK;
    size_t cursor = 0;
    struct tg_json_value key;
    struct tg_json_value inner;
    while (err == TG_ERR_OK && tg_json_next(value, &cursor, &key, &inner))
        err = check(&inner, depth + 1, names);
    return err;
}

enum tg_err tg__jwt_parse_object(const struct tg_buffer *json, struct tg_json_value *out)
{
    struct names names = {TG_BUFFER_INIT, TG_BUFFER_INIT};
    if (json->len == 0)
        return TG_ERR_INVALID;
    enum tg_err err =
        tg_json_parse((const char *)tg_buffer_head(json), json->len, out, NULL) == TG_ERR_OK &&
                out->kind == TG_JSON_OBJECT
            ? check(out, 1, &names)
            : TG_ERR_INVALID;
    tg_buffer_fini(&names.list);
    tg_buffer_fini(&names.text);
    return err;
}
