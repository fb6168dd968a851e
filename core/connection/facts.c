/* facts.c - the parts one behind the other; a change makes a new block.
 *
 * Where each part ends is told in as few bytes as the last end needs: four each were a third of all that is
 * kept of a user with a short name.
 */
#include "connection/facts.h"

#include <stdint.h>
#include <string.h>

#include "base/memory.h"

struct tg_facts {
    uint8_t width;   /* of an end: 1, 2 or 4 */
    uint8_t bytes[]; /* the ends of the parts, counted from the first part, and the parts */
};

static uint8_t width_for(size_t size)
{
    if (size <= UINT8_MAX)
        return 1;
    return size <= UINT16_MAX ? 2 : 4;
}

static uint32_t end_of(const struct tg_facts *facts, size_t part)
{
    const uint8_t *at = facts->bytes + part * facts->width;
    uint16_t end16;
    uint32_t end32;

    if (facts->width == 1)
        return *at;
    if (facts->width == 2) {
        memcpy(&end16, at, sizeof end16);
        return end16;
    }
    memcpy(&end32, at, sizeof end32);
    return end32;
}

static void set_end(struct tg_facts *facts, size_t part, size_t end)
{
    uint8_t *at = facts->bytes + part * facts->width;
    uint16_t end16 = (uint16_t)end;
    uint32_t end32 = (uint32_t)end;

    if (facts->width == 1)
        *at = (uint8_t)end;
    else if (facts->width == 2)
        memcpy(at, &end16, sizeof end16);
    else
        memcpy(at, &end32, sizeof end32);
}

struct tg_blob tg_facts_get(const struct tg_facts *facts, enum tg_fact which)
{
    struct tg_blob blob = {0};

    if (facts == NULL)
        return blob;
    uint32_t start = which == 0 ? 0 : end_of(facts, which - 1);
    blob.len = end_of(facts, which) - start;
    if (blob.len > 0)
        blob.data = facts->bytes + TG_FACTS * facts->width + start;
    return blob;
}

/* A new block with these parts. NULL when memory is out. */
static struct tg_facts *pack(const struct tg_blob parts[TG_FACTS])
{
    size_t size = 0;

    for (size_t i = 0; i < TG_FACTS; i++) {
        if (parts[i].len > UINT32_MAX - size)
            return NULL;
        size += parts[i].len;
    }
    uint8_t width = width_for(size);
    size_t ends_size = (size_t)TG_FACTS * width;
    struct tg_facts *facts = tg_alloc(sizeof *facts + ends_size + size);
    if (facts == NULL)
        return NULL;
    facts->width = width;
    size = 0;
    for (size_t i = 0; i < TG_FACTS; i++) {
        if (parts[i].len > 0)
            memcpy(facts->bytes + ends_size + size, parts[i].data, parts[i].len);
        size += parts[i].len;
        set_end(facts, i, size);
    }
    return facts;
}

static enum tg_err replace(struct tg_facts **facts, const struct tg_blob parts[TG_FACTS])
{
    struct tg_facts *fresh = pack(parts);

    if (fresh == NULL)
        return TG_ERR_NOMEM;
    tg_free(*facts);
    *facts = fresh;
    return TG_ERR_OK;
}

static void read_parts(const struct tg_facts *facts, struct tg_blob parts[TG_FACTS])
{
    for (enum tg_fact i = 0; i < TG_FACTS; i++)
        parts[i] = tg_facts_get(facts, i);
}

static struct tg_blob text_blob(const char *text)
{
    return (struct tg_blob){.data = (const uint8_t *)text, .len = strlen(text) + 1};
}

enum tg_err tg_facts_set_user(struct tg_facts **facts, const char *user_id, struct tg_blob identity)
{
    struct tg_blob parts[TG_FACTS];

    read_parts(*facts, parts);
    parts[TG_FACT_USER_ID] = text_blob(user_id);
    parts[TG_FACT_IDENTITY] = identity;
    return replace(facts, parts);
}

enum tg_err tg_facts_set(struct tg_facts **facts, enum tg_fact which, const void *data, size_t len)
{
    struct tg_blob parts[TG_FACTS];

    read_parts(*facts, parts);
    parts[which] = (struct tg_blob){.data = data, .len = len};
    return replace(facts, parts);
}
