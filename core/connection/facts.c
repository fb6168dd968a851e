/* facts.c - the parts one behind the other; a change makes a new block.
 */
#include "connection/facts.h"

#include <stdint.h>
#include <string.h>

#include "base/memory.h"

struct tg_facts {
    uint32_t ends[TG_FACTS]; /* of each part in `bytes` */
    uint8_t bytes[];
};

static uint32_t start_of(const struct tg_facts *facts, enum tg_fact which)
{
    return which == 0 ? 0 : facts->ends[which - 1];
}

struct tg_blob tg_facts_get(const struct tg_facts *facts, enum tg_fact which)
{
    struct tg_blob blob = {0};

    if (facts == NULL)
        return blob;
    uint32_t start = start_of(facts, which);
    blob.len = facts->ends[which] - start;
    if (blob.len > 0)
        blob.data = facts->bytes + start;
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
    struct tg_facts *facts = tg_alloc(sizeof *facts + size);
    if (facts == NULL)
        return NULL;
    size = 0;
    for (size_t i = 0; i < TG_FACTS; i++) {
        if (parts[i].len > 0)
            memcpy(facts->bytes + size, parts[i].data, parts[i].len);
        size += parts[i].len;
        facts->ends[i] = (uint32_t)size;
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
