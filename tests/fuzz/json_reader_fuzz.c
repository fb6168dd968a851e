/* json_reader_fuzz.c - any bytes into the reader; what it accepts is walked, decoded, and written
 * again, and that must be accepted and mean the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json_reader.h"
#include "base/json_writer.h"
#include "base/utf8.h"

#define DEPTH_MAX 31 /* of the writer, less the outermost array */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
    if (!condition)
        abort();
}

static void copy_string(struct tg_json_writer *w, const struct tg_json_value *value, bool key)
{
    struct tg_buffer text = TG_BUFFER_INIT;
    check(tg_json_decode_string(value, &text) == TG_ERR_OK);
    check(tg_utf8_valid(text.data, text.len) && text.len + 2 <= value->len);
    const char *head = text.len == 0 ? "" : (const char *)tg_buffer_head(&text);
    char copy[32];
    enum tg_err copied = tg_json_copy_string(value, copy, sizeof copy);
    bool fits = text.len < sizeof copy && memchr(head, 0, text.len) == NULL;
    check(copied == (fits ? TG_ERR_OK : TG_ERR_LIMIT));
    check(!fits || tg_json_equals(value, copy));
    if (key)
        tg_json_keyn(w, head, text.len);
    else
        tg_json_strn(w, head, text.len);
    tg_buffer_fini(&text);
}

static void copy_value(struct tg_json_writer *w, const struct tg_json_value *value, int depth);

static void copy_items(struct tg_json_writer *w, const struct tg_json_value *container, int depth)
{
    size_t cursor = 0;
    struct tg_json_value key;
    struct tg_json_value value;
    while (tg_json_next(container, &cursor, &key, &value)) {
        check((key.kind == TG_JSON_STRING) == (container->kind == TG_JSON_OBJECT));
        check(value.raw > container->raw &&
              value.raw + value.len < container->raw + container->len);
        if (key.kind == TG_JSON_STRING)
            copy_string(w, &key, true);
        copy_value(w, &value, depth + 1);
    }
}

static void copy_value(struct tg_json_writer *w, const struct tg_json_value *value, int depth)
{
    struct tg_json_value again;
    check(tg_json_parse(value->raw, value->len, &again, NULL) == TG_ERR_OK);
    check(again.kind == value->kind);
    if (value->kind == TG_JSON_STRING) {
        copy_string(w, value, false);
    } else if (value->kind == TG_JSON_OBJECT && depth < DEPTH_MAX) {
        tg_json_begin_object(w);
        copy_items(w, value, depth);
        tg_json_end_object(w);
    } else if (value->kind == TG_JSON_ARRAY && depth < DEPTH_MAX) {
        tg_json_begin_array(w);
        copy_items(w, value, depth);
        tg_json_end_array(w);
    } else {
        (void)tg_json_number(value);
        tg_json_raw(w, value->raw, value->len);
    }
}

/* With members looked for on the way, as for messages. */
static void check_members(const char *text, size_t size, const struct tg_json_value *value)
{
    static const char *const keys[] = {"type", "id"};
    struct tg_json_value same, found, members[2];
    if (!tg_utf8_valid(text, size))
        return;
    enum tg_err err = tg_json_parse_members(text, size, &same, keys, members, 2, NULL);
    check((err == TG_ERR_OK) == (value->kind != TG_JSON_NONE));
    check(same.kind == value->kind && (err != TG_ERR_OK || same.len == value->len));
    for (size_t i = 0; i < 2; i++) {
        found = tg_json_member(value, keys[i]);
        check(found.kind == members[i].kind);
        check(found.kind == TG_JSON_NONE || found.raw == members[i].raw);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_json_value value;
    struct tg_error error = {0};
    enum tg_err err = tg_json_parse((const char *)data, size, &value, &error);
    check_members((const char *)data, size, &value);
    if (err != TG_ERR_OK) {
        check(value.kind == TG_JSON_NONE && error.text[0] != '\0');
        return 0;
    }
    struct tg_buffer out = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&out);
    copy_value(&w, &value, 0);
    check(!tg_json_writer_failed(&w) && w.depth == 0);
    struct tg_json_value copy;
    check(tg_json_parse((const char *)tg_buffer_head(&out), out.len, &copy, NULL) == TG_ERR_OK);
    check(copy.kind == value.kind);
    (void)tg_json_member(&value, "type");
    tg_buffer_fini(&out);
    return 0;
}
