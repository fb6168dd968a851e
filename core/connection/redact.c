/* redact.c - finding the credentials of a request, and taking them out of a text.
 *
 * They are looked up anew for each text: this happens when a line is written, which costs more, and
 * nothing has to be kept for it with every connection.
 */
#include "connection/redact.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/base64.h"

#define SECRETS_MAX 64
#define FIELDS_MAX 64

struct span {
    const char *data;
    size_t len;
};

struct secrets {
    struct span items[SECRETS_MAX];
    size_t count;
    struct tg_buffer
        decoded[SECRETS_MAX]; /* owned; what items point to that is not in the request */
    size_t decoded_count;
};

static void add(struct secrets *secrets, const char *data, size_t len)
{
    while (len > 0 && (data[0] == ' ' || data[0] == '\t')) {
        data++;
        len--;
    }
    while (len > 0 && (data[len - 1] == ' ' || data[len - 1] == '\t'))
        len--;
    if (len >= TG_SECRET_MIN && secrets->count < SECRETS_MAX)
        secrets->items[secrets->count++] = (struct span){data, len};
}

/* Takes over `decoded`, of which the part from `skip` on is a secret. */
static void add_decoded(struct secrets *secrets, struct tg_buffer *decoded, size_t skip)
{
    if (secrets->decoded_count == SECRETS_MAX || decoded->len < skip + TG_SECRET_MIN) {
        tg_buffer_fini(decoded);
        return;
    }
    secrets->decoded[secrets->decoded_count++] = *decoded;
    add(secrets, (const char *)tg_buffer_head(decoded) + skip, decoded->len - skip);
}

/* The values of "a=1;b=2"; an item without '=' is one as a whole. */
static void add_values(struct secrets *secrets, const char *text, char separator, bool percent)
{
    while (*text != '\0') {
        const char *end = strchr(text, separator);
        size_t len = end == NULL ? strlen(text) : (size_t)(end - text);
        const char *equals = memchr(text, '=', len);
        const char *value = equals == NULL ? text : equals + 1;
        size_t value_len = len - (size_t)(value - text);
        add(secrets, value, value_len);
        if (percent && value_len > 0 && memchr(value, '%', value_len) != NULL) {
            struct tg_buffer decoded = TG_BUFFER_INIT;
            if (tg_http_percent_decode((struct tg_http_text){value, value_len}, true, &decoded) !=
                TG_ERR_OK)
                tg_buffer_clear(&decoded);
            add_decoded(secrets, &decoded, 0);
        }
        text += len + (end != NULL);
    }
}

static void add_authorization(struct secrets *secrets, const char *value)
{
    const char *blank = strchr(value, ' ');
    struct tg_buffer decoded = TG_BUFFER_INIT;

    add(secrets, value, strlen(value));
    if (blank == NULL)
        return;
    add(secrets, blank + 1, strlen(blank + 1));
    if (strncasecmp(value, "basic ", 6) != 0)
        return;
    const char *text = blank + strspn(blank, " ");
    if (tg_base64_decode(text, strlen(text), &decoded) != TG_ERR_OK || decoded.len == 0) {
        tg_buffer_fini(&decoded);
        return;
    }
    const char *colon = memchr(tg_buffer_head(&decoded), ':', decoded.len);
    size_t skip = colon == NULL ? 0 : (size_t)(colon + 1 - (const char *)tg_buffer_head(&decoded));
    add_decoded(secrets, &decoded, skip);
}

static void add_subprotocols(struct secrets *secrets, const char *value)
{
    static const char ours[] = "tidegate.v1";
    static const char bearer[] = "bearer.";

    while (*value != '\0') {
        size_t len = strcspn(value, ",");
        const char *item = value + strspn(value, " \t");
        size_t item_len = item < value + len ? len - (size_t)(item - value) : 0;
        bool is_ours = item_len >= sizeof ours - 1 && strncmp(item, ours, sizeof ours - 1) == 0;
        if (!is_ours) {
            add(secrets, item, item_len);
            if (item_len > sizeof bearer - 1 && strncmp(item, bearer, sizeof bearer - 1) == 0)
                add(secrets, item + sizeof bearer - 1, item_len - (sizeof bearer - 1));
        }
        value += len + (value[len] == ',');
    }
}

static bool names_a_secret(const char *name)
{
    static const char *const parts[] = {"token",    "secret",  "key",       "auth",
                                        "password", "session", "credential"};

    if (strncmp(name, "sec-websocket-", 14) == 0)
        return false;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strstr(name, parts[i]) != NULL)
            return true;
    return false;
}

static void find_secrets(struct secrets *secrets, const struct tg_request *request)
{
    secrets->count = 0;
    secrets->decoded_count = 0;
    struct tg_request_header header;
    for (size_t cursor = 0; tg_request_next_header(request, &cursor, &header);) {
        if (header.number == TG_HEADER_COOKIE)
            add_values(secrets, header.value, ';', false);
        else if (header.number == TG_HEADER_SEC_WEBSOCKET_PROTOCOL)
            add_subprotocols(secrets, header.value);
        else if (header.number == TG_HEADER_AUTHORIZATION)
            add_authorization(secrets, header.value);
        else if (names_a_secret(header.name))
            add(secrets, header.value, header.value_len);
    }
    add_values(secrets, tg_request_query(request), '&', true);
}

static void forget_secrets(struct secrets *secrets)
{
    for (size_t i = 0; i < secrets->decoded_count; i++)
        tg_buffer_fini(&secrets->decoded[i]);
}

/* Length of the longest secret that stands at the start of the text, or 0. A text may have been cut in the
 * middle of one. */
static size_t secret_at(const struct secrets *secrets, const char *text, size_t len)
{
    size_t longest = 0;

    for (size_t i = 0; i < secrets->count; i++) {
        const struct span *item = &secrets->items[i];
        size_t common = item->len < len ? item->len : len;
        if (common >= TG_SECRET_MIN && common > longest && memcmp(text, item->data, common) == 0)
            longest = common;
    }
    return longest;
}

static enum tg_err replace(const struct secrets *secrets, const char *text, size_t len,
                           struct tg_buffer *out)
{
    size_t kept = 0; /* start of what is not written yet */
    enum tg_err err = TG_ERR_OK;

    for (size_t i = 0; i < len && err == TG_ERR_OK;) {
        size_t secret = secret_at(secrets, text + i, len - i);
        if (secret == 0) {
            i++;
            continue;
        }
        err = tg_buffer_append(out, text + kept, i - kept);
        if (err == TG_ERR_OK)
            err = tg_buffer_append_str(out, TG_REDACTED);
        i += secret;
        kept = i;
    }
    return err == TG_ERR_OK ? tg_buffer_append(out, text + kept, len - kept) : err;
}

enum tg_err tg_redact(const struct tg_request *request, const char *text, size_t len,
                      struct tg_buffer *out)
{
    struct secrets secrets;

    if (request == NULL)
        return tg_buffer_append(out, text, len);
    find_secrets(&secrets, request);
    enum tg_err err = replace(&secrets, text, len, out);
    forget_secrets(&secrets);
    return err;
}

void tg_redact_log(const struct tg_request *request, enum tg_log_level level, const char *event,
                   const struct tg_log_field *fields, size_t count)
{
    struct tg_log_field clean[FIELDS_MAX];
    struct tg_buffer texts[FIELDS_MAX];
    struct secrets secrets;

    if (request == NULL) {
        tg_log_write(level, event, fields, count);
        return;
    }
    count = count < FIELDS_MAX ? count : FIELDS_MAX;
    find_secrets(&secrets, request);
    for (size_t i = 0; i < count; i++) {
        clean[i] = fields[i];
        texts[i] = TG_BUFFER_INIT;
        if (fields[i].kind != TG_FIELD_STR || fields[i].value.str.len < TG_SECRET_MIN)
            continue;
        if (replace(&secrets, fields[i].value.str.data, fields[i].value.str.len, &texts[i]) !=
            TG_ERR_OK)
            clean[i] = tg_log_str(fields[i].key, TG_REDACTED);
        else
            clean[i] =
                tg_log_strn(fields[i].key, (const char *)tg_buffer_head(&texts[i]), texts[i].len);
    }
    tg_log_write(level, event, clean, count);
    for (size_t i = 0; i < count; i++)
        tg_buffer_fini(&texts[i]);
    forget_secrets(&secrets);
}
