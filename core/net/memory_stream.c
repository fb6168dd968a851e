/* memory_stream.c - both ends of a stream without a socket.
 *
 *   peer ──send──> to_owner ──[move, if it reads]──> owner
 *   peer <──────── inbox <──[move, window]── held <──write── owner
 *
 * The two ends share one block, which goes with the last of them. A stream that is created has no
 * descriptor: the poller never hears of it but to free it.
 *
 * I1  The owner is called from tg_memory_peer_move and nowhere else, as it would be from the loop.
 * I2  `held` is not empty only while the inbox is at its window, or between a write and the next move.
 */
#include "net/memory_stream.h"

#include <string.h>

#include "base/list.h" /* TG_CONTAINER_OF */
#include "base/memory.h"
#include "net/net_internal.h"

struct tg_memory_peer {
    struct tg_filter filter;   /* of `stream` */
    struct tg_stream *stream;  /* NULL once closed */
    struct tg_address address; /* what the owner takes the peer's to be */
    char *certificate;         /* owned; NULL: none */
    struct tg_buffer to_owner;
    struct tg_buffer held;  /* written, not let through */
    struct tg_buffer inbox; /* let through, not read by the peer */
    size_t window;
    bool wanted;       /* the owner reads */
    bool written_owed; /* it waits for on_written */
    bool fin;          /* of the peer, behind to_owner */
    bool fin_told;
    bool reset;
    bool owner_fin;
    bool cut;       /* by a close with bytes left, or without FIN */
    bool gone;      /* the stream's memory is */
    bool abandoned; /* nobody holds the peer's side */
};

static void free_memory(struct tg_memory_peer *peer)
{
    tg_buffer_fini(&peer->to_owner);
    tg_buffer_fini(&peer->held);
    tg_buffer_fini(&peer->inbox);
    tg_free(peer->certificate);
    tg_free(peer);
}

static struct tg_memory_peer *state_of(const struct tg_stream *stream)
{
    return TG_CONTAINER_OF(stream->filter, struct tg_memory_peer, filter);
}

/* What fits through the window. False: nothing did, or memory is out, which loses the connection. */
static bool let_through(struct tg_memory_peer *peer)
{
    size_t room = peer->inbox.len < peer->window ? peer->window - peer->inbox.len : 0;
    size_t len = peer->held.len < room ? peer->held.len : room;

    if (len == 0)
        return false;
    if (tg_buffer_append(&peer->inbox, tg_buffer_head(&peer->held), len) != TG_ERR_OK) {
        peer->reset = true;
        return true;
    }
    tg_buffer_consume(&peer->held, len, 0);
    return true;
}

static enum tg_err on_owner_write(struct tg_stream *stream, struct tg_buffer *bytes)
{
    struct tg_memory_peer *peer = state_of(stream);
    enum tg_err err = tg_buffer_append(&peer->held, tg_buffer_head(bytes), bytes->len);

    if (err != TG_ERR_OK)
        return err;
    tg_buffer_fini(bytes);
    (void)let_through(peer);
    peer->written_owed = peer->held.len > 0;
    return TG_ERR_OK;
}

static void on_owner_shutdown(struct tg_stream *stream)
{
    state_of(stream)->owner_fin = true;
}

static void on_owner_reading(struct tg_stream *stream, bool wanted)
{
    state_of(stream)->wanted = wanted;
}

static void on_owner_closing(struct tg_stream *stream)
{
    struct tg_memory_peer *peer = state_of(stream);

    peer->stream = NULL;
    peer->cut = !peer->owner_fin || peer->held.len > 0;
    tg_buffer_fini(&peer->held); /* as a socket that is closed: what it has not sent is lost */
}

static size_t held_for_owner(const struct tg_stream *stream)
{
    const struct tg_memory_peer *peer = state_of(stream);

    return peer->held.len;
}

static struct tg_address address_for_owner(const struct tg_stream *stream)
{
    return state_of(stream)->address;
}

static void on_stream_gone(struct tg_filter *filter)
{
    struct tg_memory_peer *peer = TG_CONTAINER_OF(filter, struct tg_memory_peer, filter);

    peer->stream = NULL;
    peer->gone = true;
    if (peer->abandoned)
        free_memory(peer);
}

static enum tg_err describe_tls(const struct tg_stream *stream, struct tg_buffer *out)
{
    (void)stream;
    return tg_buffer_append_str(out,
                                "{\"version\":\"TLSv1.3\",\"cipher\":\"TLS_AES_128_GCM_SHA256\"}");
}

static enum tg_err certificate_for_owner(const struct tg_stream *stream, struct tg_buffer *out)
{
    const char *certificate = state_of(stream)->certificate;

    return certificate == NULL ? TG_ERR_OK : tg_buffer_append_str(out, certificate);
}

#define MEMORY_CALLS                                                                               \
    .write = on_owner_write, .shutdown = on_owner_shutdown, .closing = on_owner_closing,           \
    .held = held_for_owner, .reading = on_owner_reading, .peer = address_for_owner,                \
    .destroy = on_stream_gone

static const struct tg_filter_calls calls = {MEMORY_CALLS};
static const struct tg_filter_calls calls_with_tls = {
    MEMORY_CALLS,
    .describe = describe_tls,
    .certificate = certificate_for_owner,
};

enum tg_err tg_memory_stream_create(struct tg_stream **out, struct tg_memory_peer **peer_out,
                                    struct tg_net *net, const struct tg_memory_options *options)
{
    struct tg_memory_peer *peer = tg_calloc(1, sizeof *peer);
    const char *certificate = options->certificate;

    if (peer == NULL)
        return TG_ERR_NOMEM;
    peer->filter.calls = options->tls ? &calls_with_tls : &calls;
    peer->address = options->address;
    peer->window = SIZE_MAX;
    peer->abandoned = true; /* until the caller has it */
    if (certificate != NULL) {
        peer->certificate = tg_strndup(certificate, strlen(certificate));
        if (peer->certificate == NULL) {
            free_memory(peer);
            return TG_ERR_NOMEM;
        }
    }
    enum tg_err err = tg__stream_detached(&peer->stream, net, &peer->filter);
    if (err != TG_ERR_OK)
        return err;
    peer->abandoned = false;
    *out = peer->stream;
    *peer_out = peer;
    return TG_ERR_OK;
}

enum tg_err tg_memory_peer_send(struct tg_memory_peer *peer, const void *data, size_t len)
{
    if (peer->stream == NULL || peer->fin || peer->reset)
        return TG_ERR_OK;
    return tg_buffer_append(&peer->to_owner, data, len);
}

void tg_memory_peer_fin(struct tg_memory_peer *peer)
{
    peer->fin = true;
}

void tg_memory_peer_reset(struct tg_memory_peer *peer)
{
    peer->reset = true;
}

void tg_memory_peer_set_window(struct tg_memory_peer *peer, size_t bytes)
{
    peer->window = bytes;
}

/* As much as one read from a socket would give. */
static bool deliver(struct tg_memory_peer *peer)
{
    size_t len = peer->to_owner.len;
    struct tg_net *net = peer->stream->net;

    if (len == 0 || !peer->wanted)
        return false;
    if (len > sizeof net->read_buffer)
        len = sizeof net->read_buffer;
    memcpy(net->read_buffer, tg_buffer_head(&peer->to_owner), len);
    tg_buffer_consume(&peer->to_owner, len, 0);
    tg__stream_deliver(peer->stream, net->read_buffer, len);
    return true;
}

/* What only the owner's reading shows. */
static bool deliver_end(struct tg_memory_peer *peer)
{
    if (!peer->fin || peer->fin_told || !peer->wanted || peer->to_owner.len > 0)
        return false;
    peer->fin_told = true;
    tg__stream_end(peer->stream, TG_ERR_OK, "end of stream");
    return true;
}

bool tg_memory_peer_move(struct tg_memory_peer *peer)
{
    if (peer->stream == NULL || peer->stream->callbacks == NULL)
        return false;
    if (peer->reset) {
        bool news = !peer->stream->lost;
        tg__stream_end(peer->stream, TG_ERR_SYS, "connection reset by peer");
        return news;
    }
    bool moved = let_through(peer);
    if (peer->written_owed && peer->held.len == 0) {
        peer->written_owed = false;
        tg__stream_written(peer->stream);
        return true; /* the stream may be closed now */
    }
    return deliver(peer) || deliver_end(peer) || moved;
}

struct tg_buffer *tg_memory_peer_inbox(struct tg_memory_peer *peer)
{
    return &peer->inbox;
}

bool tg_memory_peer_ended(const struct tg_memory_peer *peer)
{
    return peer->stream == NULL || (peer->owner_fin && peer->held.len == 0);
}

bool tg_memory_peer_closed(const struct tg_memory_peer *peer)
{
    return peer->stream == NULL;
}

bool tg_memory_peer_was_cut(const struct tg_memory_peer *peer)
{
    return peer->cut;
}

void tg_memory_peer_destroy(struct tg_memory_peer *peer)
{
    if (peer == NULL)
        return;
    tg_memory_peer_reset(peer);
    (void)tg_memory_peer_move(peer);
    peer->abandoned = true;
    if (peer->gone)
        free_memory(peer);
}
