/* passes.c - tickets and revocations, each in a kept store (kv.h) under SHA-256 keys.
 *
 *   issued ──take──> used ──> forgotten, AFTERLIFE_MS after it would have expired
 *
 * I1  An entry leaves the issued state by one compare-and-set on its version: so one taker wins, and the
 *     others find a used one.
 * I2  A ticket itself is in no memory of ours after it was given out.
 *
 * Used and expired tickets stay for a while without their identity, so that a replay is called a replay.
 */
#include "script/passes.h"

#include <stdatomic.h>
#include <string.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/random.h"
#include "script/kv/kv.h"

#define TICKET_BYTES 32
#define AFTERLIFE_MS 600000
#define TICKETS_MEMORY ((size_t)8 << 20)
#define REVOCATIONS_MEMORY ((size_t)16 << 20)
#define VALUE_MAX (sizeof(struct record) + TG_TICKET_ORIGIN_MAX + TG_TICKET_IDENTITY_MAX)

const char *const tg_ticket_outcome_names[TG_TICKET_OUTCOMES] = {
    [TG_TICKET_ISSUED] = "issued",     [TG_TICKET_USED] = "used",
    [TG_TICKET_UNKNOWN] = "unknown",   [TG_TICKET_EXPIRED] = "expired",
    [TG_TICKET_REPLAYED] = "replayed", [TG_TICKET_FOREIGN] = "foreign",
};

struct tg_passes {
    struct tg_kv *tickets; /* SHA-256 of the ticket -> record, origin, identity */
    struct tg_kv *revoked; /* SHA-256 of the token's ID -> one byte */
    _Atomic uint64_t outcomes[TG_TICKET_OUTCOMES];
    _Atomic uint64_t revocations;
};

/* How the value of a ticket begins. */
struct record {
    uint64_t due_ms; /* on the monotonic clock */
    uint32_t origin_len;
    bool bound; /* to that origin */
    bool used;  /* nothing follows */
};

struct digest {
    uint8_t bytes[TG_SHA256_SIZE];
};

static struct digest digest_of(const char *text, size_t len)
{
    struct digest digest;
    tg_sha256(text, len, digest.bytes);
    return digest;
}

static struct tg_kv_key key_of(const struct digest *digest)
{
    return (struct tg_kv_key){(const char *)digest->bytes, sizeof digest->bytes};
}

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static enum tg_err create_store(struct tg_kv **out, size_t memory, size_t value_max)
{
    struct tg_kv_options options = {.memory = memory, .value_max = value_max, .keep = true};
    return tg_kv_create(out, &options);
}

enum tg_err tg_passes_create(struct tg_passes **out)
{
    struct tg_passes *passes = tg_calloc(1, sizeof *passes);
    enum tg_err err = passes == NULL ? TG_ERR_NOMEM : TG_ERR_OK;

    if (err == TG_ERR_OK)
        err = create_store(&passes->tickets, TICKETS_MEMORY, VALUE_MAX);
    if (err == TG_ERR_OK)
        err = create_store(&passes->revoked, REVOCATIONS_MEMORY, 1);
    if (err == TG_ERR_OK)
        *out = passes;
    else
        tg_passes_destroy(passes);
    return err;
}

void tg_passes_destroy(struct tg_passes *passes)
{
    if (passes == NULL)
        return;
    tg_kv_destroy(passes->tickets);
    tg_kv_destroy(passes->revoked);
    tg_free(passes);
}

/* --- tickets --------------------------------------------------------------------------------------- */

static enum tg_err make_ticket(char ticket[TG_TICKET_SIZE])
{
    uint8_t bytes[TICKET_BYTES];
    struct tg_buffer text = TG_BUFFER_INIT;

    tg_random_bytes(bytes, sizeof bytes);
    enum tg_err err = tg_base64url_encode(bytes, sizeof bytes, &text);
    if (err == TG_ERR_OK) {
        memcpy(ticket, tg_buffer_head(&text), TG_TICKET_SIZE - 1);
        ticket[TG_TICKET_SIZE - 1] = '\0';
    }
    tg_buffer_fini(&text);
    return err;
}

enum tg_err tg_passes_issue(struct tg_passes *passes, const struct tg_ticket_order *order,
                            char ticket[TG_TICKET_SIZE], double *expires_at)
{
    struct record record = {
        .due_ms = tg_clock_monotonic_ms() + order->ttl_ms,
        .origin_len = (uint32_t)order->origin_len,
        .bound = order->origin != NULL,
    };
    char value[VALUE_MAX];
    size_t len = sizeof record;

    if (order->ttl_ms == 0 || order->ttl_ms > TG_TICKET_TTL_MAX_MS ||
        order->origin_len > TG_TICKET_ORIGIN_MAX)
        return TG_ERR_INVALID;
    if (order->identity_len > TG_TICKET_IDENTITY_MAX)
        return TG_ERR_LIMIT;
    memcpy(value, &record, sizeof record);
    if (record.bound)
        memcpy(value + len, order->origin, order->origin_len);
    len += order->origin_len;
    memcpy(value + len, order->identity, order->identity_len);
    len += order->identity_len;
    enum tg_err err = make_ticket(ticket);
    if (err != TG_ERR_OK)
        return err;
    struct digest digest = digest_of(ticket, TG_TICKET_SIZE - 1);
    err = tg_kv_set_if(passes->tickets, TG_KV_ADD, key_of(&digest), 0, value, len,
                       order->ttl_ms + AFTERLIFE_MS);
    if (err != TG_ERR_OK)
        return err;
    *expires_at = (double)(tg_clock_wall_ms() + order->ttl_ms) / 1000;
    count(&passes->outcomes[TG_TICKET_ISSUED]);
    return TG_ERR_OK;
}

/* What showing the ticket would give now. */
static enum tg_ticket_outcome judge(const struct record *record, const char *bound_to,
                                    const char *origin, size_t origin_len)
{
    if (record->used)
        return TG_TICKET_REPLAYED;
    if (record->due_ms <= tg_clock_monotonic_ms())
        return TG_TICKET_EXPIRED;
    if (record->bound && (origin == NULL || origin_len != record->origin_len ||
                          memcmp(bound_to, origin, origin_len) != 0))
        return TG_TICKET_FOREIGN;
    return TG_TICKET_USED;
}

static enum tg_err use_up(struct tg_passes *passes, const struct digest *digest, uint64_t version,
                          struct record record)
{
    uint64_t now_ms = tg_clock_monotonic_ms();

    record.used = true;
    return tg_kv_set_if(passes->tickets, TG_KV_CAS, key_of(digest), version, &record, sizeof record,
                        record.due_ms + AFTERLIFE_MS - now_ms);
}

/* TG_ERR_EXISTS: somebody else was there between the look and the use. */
static enum tg_err try_take(struct tg_passes *passes, const struct digest *digest,
                            const char *origin, size_t origin_len, struct tg_buffer *value,
                            enum tg_ticket_outcome *outcome)
{
    struct record record;
    uint64_t version;
    enum tg_err err = tg_kv_get(passes->tickets, TG_KV_GET, key_of(digest), value, &version);

    *outcome = TG_TICKET_UNKNOWN;
    if (err == TG_ERR_NOT_FOUND)
        return TG_ERR_OK;
    if (err != TG_ERR_OK)
        return err;
    memcpy(&record, tg_buffer_head(value), sizeof record);
    tg_buffer_consume(value, sizeof record, SIZE_MAX);
    *outcome = judge(&record, (const char *)tg_buffer_head(value), origin, origin_len);
    if (*outcome != TG_TICKET_USED && *outcome != TG_TICKET_FOREIGN)
        return TG_ERR_OK;
    tg_buffer_consume(value, record.origin_len, SIZE_MAX);
    return use_up(passes, digest, version, record);
}

enum tg_err tg_passes_take(struct tg_passes *passes, const char *ticket, size_t len,
                           const char *origin, size_t origin_len, struct tg_buffer *identity,
                           enum tg_ticket_outcome *outcome)
{
    struct tg_buffer value = TG_BUFFER_INIT;
    enum tg_err err = TG_ERR_EXISTS;

    *outcome = TG_TICKET_UNKNOWN;
    if (len != TG_TICKET_SIZE - 1) {
        count(&passes->outcomes[TG_TICKET_UNKNOWN]);
        return TG_ERR_OK;
    }
    struct digest digest = digest_of(ticket, len);
    while (err == TG_ERR_EXISTS) { /* the second look finds it used */
        tg_buffer_clear(&value);
        err = try_take(passes, &digest, origin, origin_len, &value, outcome);
    }
    if (err == TG_ERR_OK && *outcome == TG_TICKET_USED)
        err = tg_buffer_append(identity, tg_buffer_head(&value), value.len);
    tg_buffer_fini(&value);
    if (err == TG_ERR_OK)
        count(&passes->outcomes[*outcome]);
    return err;
}

/* --- revocations ----------------------------------------------------------------------------------- */

enum tg_err tg_passes_revoke(struct tg_passes *passes, const char *token_id, size_t len,
                             uint64_t ttl_ms)
{
    struct digest digest = digest_of(token_id, len);
    struct tg_kv_key key = key_of(&digest);
    struct tg_buffer value = TG_BUFFER_INIT;
    enum tg_err err = TG_ERR_EXISTS;

    while (err == TG_ERR_EXISTS) {
        uint64_t version = 0;
        uint64_t left_ms = 0;
        tg_buffer_clear(&value);
        err = tg_kv_get(passes->revoked, TG_KV_GET, key, &value, &version);
        if (err != TG_ERR_OK && err != TG_ERR_NOT_FOUND)
            break;
        err = tg_kv_ttl(passes->revoked, key, &left_ms);
        if (err == TG_ERR_OK && left_ms >= ttl_ms)
            break;
        err = tg_kv_set_if(passes->revoked, TG_KV_CAS, key, version, "r", 1, ttl_ms);
    }
    tg_buffer_fini(&value);
    if (err == TG_ERR_OK)
        count(&passes->revocations);
    return err;
}

bool tg_passes_is_revoked(struct tg_passes *passes, const char *token_id, size_t len)
{
    struct digest digest = digest_of(token_id, len);
    uint64_t left_ms;

    return tg_kv_ttl(passes->revoked, key_of(&digest), &left_ms) == TG_ERR_OK;
}

void tg_passes_read_stats(const struct tg_passes *passes, struct tg_passes_stats *out)
{
    for (int i = 0; i < TG_TICKET_OUTCOMES; i++)
        out->tickets[i] = atomic_load_explicit(&passes->outcomes[i], memory_order_relaxed);
    out->revocations = atomic_load_explicit(&passes->revocations, memory_order_relaxed);
}
