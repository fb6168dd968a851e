/* simulation_copy.c - requests to upstreams, and the pieces of their answers, each in one block of memory.
 */
#include <string.h>

#include "app/test/simulation_copy.h"
#include "base/memory.h"

/* Where the next text goes; counts when there is no block. */
struct packer {
    char *at; /* NULL: count only */
    size_t used;
};

static const char *pack(struct packer *packer, const void *data, size_t len)
{
    char *place = packer->at == NULL ? NULL : packer->at + packer->used;

    if (place != NULL) {
        if (len > 0)
            memcpy(place, data, len);
        place[len] = '\0';
    }
    packer->used += len + 1;
    return place;
}

static const char *pack_text(struct packer *packer, const char *text)
{
    return pack(packer, text, strlen(text));
}

/* headers: room for all of them, or NULL. */
static void pack_headers(struct packer *packer, const struct tg_fetch_header *from, size_t count,
                         struct tg_fetch_header *headers)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = pack_text(packer, from[i].name);
        const char *value = pack_text(packer, from[i].value);
        if (headers != NULL)
            headers[i] = (struct tg_fetch_header){name, value};
    }
}

static void pack_request(struct packer *packer, const struct tg_fetch_request *from,
                         struct tg_fetch_header *headers, struct tg_fetch_request *out)
{
    *out = *from;
    out->method = pack_text(packer, from->method); /* first: the block is freed by it */
    out->url = pack_text(packer, from->url);
    pack_headers(packer, from->headers, from->header_count, headers);
    out->headers = headers;
    out->body = from->body == NULL ? NULL : pack(packer, from->body, from->body_len);
    out->ca_file = NULL;
}

enum tg_err tg__sim_copy_request(const struct tg_fetch_request *from, struct tg_fetch_request *out)
{
    struct packer packer = {.at = NULL};
    size_t headers = from->header_count * sizeof(struct tg_fetch_header);

    pack_request(&packer, from, NULL, out);
    size_t texts = (packer.used + sizeof(void *) - 1) / sizeof(void *) * sizeof(void *);
    char *block = tg_alloc(texts + headers);
    if (block == NULL)
        return TG_ERR_NOMEM;
    packer = (struct packer){.at = block};
    pack_request(&packer, from, (struct tg_fetch_header *)(void *)(block + texts), out);
    return TG_ERR_OK;
}

struct tg__sim_piece *tg__sim_copy_piece(const struct tg_sim_piece *from)
{
    struct packer packer = {.at = NULL};
    size_t headers = from->header_count * sizeof(struct tg_fetch_header);

    pack_headers(&packer, from->headers, from->header_count, NULL);
    (void)pack(&packer, from->data, from->len);
    struct tg__sim_piece *piece = tg_calloc(1, sizeof *piece + headers + packer.used);
    if (piece == NULL)
        return NULL;
    struct tg_fetch_header *own = (struct tg_fetch_header *)(void *)piece->bytes;
    packer = (struct packer){.at = piece->bytes + headers};
    piece->what = *from;
    pack_headers(&packer, from->headers, from->header_count, own);
    piece->what.headers = own;
    piece->what.data = pack(&packer, from->data, from->len);
    tg_list_init(&piece->node);
    return piece;
}
