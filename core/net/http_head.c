/* http_head.c - an answer's header lines, as libcurl hands them over one by one.
 *
 * A 1xx answer is dropped when the next status line comes. Lines after the head's end are trailers, which
 * nobody asked for.
 */
#include <string.h>

#include "base/memory.h"
#include "net/http_client_internal.h"

void tg__head_reset(struct tg__head *head)
{
    size_t bytes = head->bytes;
    struct tg_buffer text = head->text;

    tg_buffer_clear(&text);
    *head = (struct tg__head){.text = text, .bytes = bytes};
}

void tg__head_fini(struct tg__head *head)
{
    tg_buffer_fini(&head->text);
}

/* "HTTP/1.1 200 OK", "HTTP/2 200" */
static void take_status(struct tg__head *head, const char *line, size_t len)
{
    const char *space = memchr(line, ' ', len);

    tg__head_reset(head);
    if (space == NULL)
        return;
    size_t version = (size_t)(space - line) - 5;
    if (version < sizeof head->version)
        memcpy(head->version, line + 5, version);
    for (const char *at = space + 1; at < line + len && *at >= '0' && *at <= '9'; at++) {
        if (head->status < 100)
            head->status = head->status * 10 + (*at - '0');
    }
}

static enum tg_err append(struct tg__head *head, const char *data, size_t len, bool lower)
{
    uint8_t *room = tg_buffer_reserve(&head->text, len + 1);

    if (room == NULL)
        return TG_ERR_NOMEM;
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)data[i];
        if (lower && byte >= 'A' && byte <= 'Z')
            byte = (unsigned char)(byte + ('a' - 'A'));
        room[i] = byte < ' ' || byte == 0x7f ? ' ' : byte;
    }
    room[len] = '\0';
    tg_buffer_commit(&head->text, len + 1);
    return TG_ERR_OK;
}

static void trim(const char **text, size_t *len)
{
    while (*len > 0 && ((*text)[0] == ' ' || (*text)[0] == '\t')) {
        (*text)++;
        (*len)--;
    }
    while (*len > 0 && strchr(" \t\r\n", (*text)[*len - 1]) != NULL)
        (*len)--;
}

/* A line that begins with a blank goes on with the value before it. */
static enum tg_err go_on(struct tg__head *head, const char *line, size_t len)
{
    trim(&line, &len);
    if (head->count == 0 || len == 0)
        return TG_ERR_OK;
    tg_buffer_head(&head->text)[head->text.len - 1] = ' ';
    return append(head, line, len, false);
}

static enum tg_err take_header(struct tg__head *head, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);

    if (colon == NULL)
        return TG_ERR_OK;
    size_t name_len = (size_t)(colon - line);
    const char *value = colon + 1;
    size_t value_len = len - name_len - 1;
    size_t before = head->text.len;
    trim(&line, &name_len);
    trim(&value, &value_len);
    enum tg_err err = append(head, line, name_len, true);
    if (err == TG_ERR_OK)
        err = append(head, value, value_len, false);
    if (err == TG_ERR_OK)
        head->count++;
    else
        head->text.len = before;
    return err;
}

enum tg_err tg__head_add(struct tg__head *head, const char *line, size_t len)
{
    head->bytes += len;
    if (head->bytes > TG__HEAD_BYTES_MAX)
        return TG_ERR_LIMIT;
    if (head->complete)
        return TG_ERR_OK;
    if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        take_status(head, line, len);
        return TG_ERR_OK;
    }
    if (len == 0 || line[0] == '\r' || line[0] == '\n') {
        head->complete = head->status >= 200;
        return TG_ERR_OK;
    }
    if (line[0] == ' ' || line[0] == '\t')
        return go_on(head, line, len);
    return take_header(head, line, len);
}

const char *tg__head_find(const struct tg__head *head, const char *name)
{
    const char *text = (const char *)tg_buffer_head(&head->text);

    for (size_t i = 0; i < head->count; i++) {
        const char *value = text + strlen(text) + 1;
        if (strcmp(text, name) == 0)
            return value;
        text = value + strlen(value) + 1;
    }
    return NULL;
}

struct tg_fetch_header *tg__head_list(const struct tg__head *head)
{
    struct tg_fetch_header *list = tg_calloc(head->count + 1, sizeof *list);
    const char *text = (const char *)tg_buffer_head(&head->text);

    for (size_t i = 0; list != NULL && i < head->count; i++) {
        list[i].name = text;
        list[i].value = text + strlen(text) + 1;
        text = list[i].value + strlen(list[i].value) + 1;
    }
    return list;
}
