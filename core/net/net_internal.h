/* net_internal.h - what the files of this folder know of a stream and nobody else may see.
 *
 * Between the socket and the owner of a stream stands a filter, functions with what they keep:
 *
 *   socket ──received, ended──> filter ──deliver, end──> owner
 *   socket <──send, send_fin── filter <──write, shutdown── owner
 *
 * A stream begins as a plain one, with the functions that change nothing (stream.c); TLS puts its own filter
 * there (tls.c). One that stands in place of the socket, so that there is none, is in memory_stream.c.
 */
#ifndef TG_NET_NET_INTERNAL_H
#define TG_NET_NET_INTERNAL_H

#include <poll.h>
#include <sys/epoll.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/error.h"
#include "net/stream.h"

struct tg_filter;

struct tg_filter_calls {
    /* From the loop. The callee may end or close the stream. */
    void (*received)(struct tg_stream *stream, uint8_t *data, size_t len);
    /* From the loop: the peer's FIN. */
    void (*ended)(struct tg_stream *stream);
    /* From the loop: the socket has taken what tg__stream_send could not hand over at once. */
    void (*sent)(struct tg_stream *stream);
    /* From the owner. Never calls it back. */
    enum tg_err (*write)(struct tg_stream *stream, struct tg_buffer *bytes);
    void (*shutdown)(struct tg_stream *stream);
    /* Last words, before the socket is closed. NULL: none. */
    void (*closing)(struct tg_stream *stream);
    /* Bytes that the owner has written and the socket was not offered yet. */
    size_t (*held)(const struct tg_stream *stream);
    /* Reading is wanted, or no longer. NULL: the socket is told. */
    void (*reading)(struct tg_stream *stream, bool wanted);
    /* NULL: the socket knows. */
    struct tg_address (*peer)(const struct tg_stream *stream);
    /* As in tls.h. NULL: there is no TLS. */
    enum tg_err (*describe)(const struct tg_stream *stream, struct tg_buffer *out);
    enum tg_err (*certificate)(const struct tg_stream *stream, struct tg_buffer *out);
    /* After the last of the above: no stream has it any more. Of a plain one it is never called. */
    void (*destroy)(struct tg_filter *filter);
};

#define TG_TALKERS_MAX 1024

/* talkers.c: the streams that speak nearly every turn. */
struct tg_talkers {
    unsigned count;
    unsigned overdue;   /* that were silent for too long */
    int credit;         /* what asking them has spared of late; below 0: it does not pay */
    int guesses;        /* turns to come in which nobody is asked; below 0: in which all must be */
    int guess_rest;     /* turns of that after one more that was wrong */
    unsigned guessed;   /* talkers that are read in this turn without having been asked */
    unsigned in_vain;   /* reads of this turn that found nothing; whoever reads counts them */
    unsigned rest;      /* turns before it is tried again */
    unsigned next_rest; /* after it did not pay once more */
    struct pollfd asked[1 + TG_TALKERS_MAX]; /* the epoll, and these: */
    struct tg_stream *streams[TG_TALKERS_MAX];
    uint8_t silent[TG_TALKERS_MAX]; /* so many times in a row when asked */
};

struct tg_net {
    struct uv_loop_s *loop; /* borrowed until tg_net_destroy */
    /* poller.c: */
    bool leads;                     /* the loop is in the epoll, and not the epoll in the loop */
    int handles_open;               /* of the two: */
    uv_poll_t poll;                 /* of epoll_fd; not opened when it leads */
    uv_idle_t again;                /* active while there is a `first` */
    int epoll_fd;                   /* owned */
    uint32_t sockets;               /* in it, or talkers */
    struct tg_stream *first, *last; /* that want a turn without news from the kernel */
    uint16_t turn;                  /* counts them */
    struct tg_talkers talkers;      /* none unless it leads */
    unsigned ahead_rest;            /* turns in which nobody is read ahead */
    uint32_t streams;               /* that are not freed */
    bool destroyed;
    /* Given up when there is no other descriptor, so that a client can at least be told (listener.c); -1: it
     * is in use. */
    int spare_fd; /* owned */
    /* Of the stream that is being handed to on_accept: accept(2) has told it, which spares everybody a
     * getpeername. `of` NULL: there is none. */
    struct {
        const struct tg_stream *of;
        struct tg_address peer;
    } accepted;
    /* For filters, so that a stream at rest owns no memory for them. */
    uint8_t *plain;         /* owned; NULL before the first use */
    struct tg_buffer spare; /* empty, with room */
    uint8_t read_buffer[TG_NET_READ_SIZE];
};

/* What a stream needs only while the kernel does not do at once what it is asked: most never do. */
struct tg_pending {
    tg_stream_connected_fn on_connected; /* NULL: it is a write that is under way */
    void *connected_ctx;                 /* borrowed until on_connected or tg_stream_close */
    struct tg_buffer unsent;             /* owned */
    int error; /* errno of what failed and is told from the loop; 0: nothing did */
};

/* What a stream has that is not plain, or not at rest. What else a filter keeps of its stream stands behind. */
struct tg_filter {
    const struct tg_filter_calls *calls; /* static */
    struct tg_stream *next;              /* as of tg_stream */
    struct tg_pending pending;
};

/* There is one for every idle client: nothing is in it that can be had when it is needed, and two pointers of
 * which a plain stream at rest needs one share a word. Of 40 bytes malloc makes 48; one more word would be 64. */
struct tg_stream {
    struct tg_net *net;                          /* borrowed until on_closed */
    const struct tg_stream_callbacks *callbacks; /* borrowed until on_closed; NULL: not bound */
    void *ctx;                                   /* of the callbacks; borrowed until on_closed */

    union {
        struct tg_filter *filter; /* if has_filter; owned */
        struct tg_stream *next;   /* if not; behind this one in net->first, or NULL */
    };                            /* for either there are tg__calls_of and tg__next_of */

    int fd;              /* owned; -1: none, or closed */
    bool has_filter : 1; /* also a plain one, while something is pending */
    bool pending : 1;    /* there is something in filter->pending */
    bool waits : 1;      /* in net->first */
    bool readable : 1; /* the kernel may have bytes, or an end, that no event will tell of again */
    bool marked : 1;   /* a read may stop short of what is there: at an end, or at an urgent byte */
    bool room_asked : 1; /* of the kernel: an event tells when there is some */
    bool cut : 1;        /* for want of memory, perhaps in the middle of what was written */
    bool reading : 1;
    bool writing : 1;
    bool shut : 1;
    bool fin_waits : 1; /* for what is being written */
    bool ended : 1;
    bool lost : 1;
    bool closing : 1;
    bool talks : 1;      /* is in net->talkers: it reads, and nothing is pending */
    uint16_t spoke : 12; /* the last turn in which epoll told of it, as far as that goes */
    uint16_t streak : 4; /* how often it has spoken again soon */
};

/* For filters. To the owner, from the loop only: */
void tg__stream_deliver(struct tg_stream *stream, uint8_t *data, size_t len);
/* The end of the peer's side and then, at most, the loss of the rest; other calls do nothing. */
void tg__stream_end(struct tg_stream *stream, enum tg_err err, const char *why);
/* All that was written is with the kernel. */
void tg__stream_written(struct tg_stream *stream);

/* To the socket. Not while stream->writing. Takes what it can at once, which leaves `bytes` empty with
 * its memory; what is left of it moves to the stream (then stream->writing, and `sent` comes). */
TG_MUST enum tg_err tg__stream_send(struct tg_stream *stream, struct tg_buffer *bytes);
/* FIN, after what is being sent. Once. */
void tg__stream_send_fin(struct tg_stream *stream);

/* A stream without a socket: its filter must never send, and has `reading` and `peer`. Takes the filter, also
 * on error. */
TG_MUST enum tg_err tg__stream_detached(struct tg_stream **out, struct tg_net *net,
                                        struct tg_filter *filter);

/* What every connected socket is set to. A socket that listens passes it on to those it accepts. */
void tg__socket_tune(int fd);
/* A stream over a connected socket that is tuned and does not block. Takes `fd`, also on error. */
TG_MUST enum tg_err tg__stream_adopt(struct tg_stream **out, struct tg_net *net, int fd);

/* Plain, which is with the filter that changes nothing, and no socket yet; NULL when memory is out. */
TG_MUST struct tg_stream *tg__stream_new(struct tg_net *net);
/* Of a plain one that nothing is pending of; owned from here on. */
void tg__stream_set_filter(struct tg_stream *stream, struct tg_filter *filter);

extern const struct tg_filter_calls tg__plain_calls;

static inline const struct tg_filter_calls *tg__calls_of(const struct tg_stream *stream)
{
    return stream->has_filter ? stream->filter->calls : &tg__plain_calls;
}
static inline struct tg_stream **tg__next_of(struct tg_stream *stream)
{
    return stream->has_filter ? &stream->filter->next : &stream->next;
}

/* Something is pending from here on: what it returns is zero but for what the caller sets. NULL when memory is
 * out. */
TG_MUST struct tg_pending *tg__stream_suspend(struct tg_stream *stream);
/* What was pending has come to an end. */
void tg__stream_settled(struct tg_stream *stream);
/* From the loop, soon after tg__poller_again: reads what is left, tells what has failed, and frees the
 * stream once it is closed. */
void tg__stream_turn(struct tg_stream *stream);

/* stream_io.c, from the loop. `events` are epoll's. */
void tg__socket_ready(struct tg_stream *stream, uint32_t events);
/* The first few of them, if there is nothing to do but to read. Returns how many; 0: the first is for tg__socket_ready. */
int tg__sockets_read_ahead(struct tg_net *net, const struct epoll_event *events, int count);
void tg__socket_turn(struct tg_stream *stream);
/* There must be one. What it has not sent is given up. */
void tg__socket_close(struct tg_stream *stream);

const char *tg__errno_text(int error); /* static, as libuv words it */

/* poller.c. Open: TG_ERR_SYS when there is no descriptor. Close: tg__net_free follows from the loop. */
TG_MUST enum tg_err tg__poller_open(struct tg_net *net);
void tg__poller_close(struct tg_net *net);
TG_MUST enum tg_err tg__poller_add(
    struct tg_stream *stream); /* TG_ERR_SYS: out of memory or watches */
/* `pending` has come or gone, or reading has stopped. */
void tg__poller_update(struct tg_stream *stream);
void tg__poller_remove(struct tg_stream *stream);
void tg__poller_again(
    struct tg_stream *stream); /* tg__stream_turn, in the next turn of the loop; idempotent */

/* talkers.c */
void tg__talkers_init(struct tg_talkers *talkers, int epoll_fd);
/* False: no more of them now. */
bool tg__talkers_add(struct tg_talkers *talkers, struct tg_stream *stream);
/* There must be one. */
void tg__talkers_remove(struct tg_talkers *talkers, const struct tg_stream *stream);
/* Asks all of them, and the epoll whether it has news; or guesses that all have bytes, and the epoll may have news.
 * `events` has room for TG_TALKERS_MAX. Returns how many were put there. timeout: of poll(2). */
int tg__talkers_wait(struct tg_talkers *talkers, int timeout, struct epoll_event *events,
                     bool *of_epoll);
/* In place of a wait, in a turn in which there are none. */
void tg__talkers_rest(struct tg_talkers *talkers);
/* After each wait, until NULL: removes one that is to be watched by epoll again, and returns it. */
struct tg_stream *tg__talkers_dismiss(struct tg_talkers *talkers);

void tg__net_free(struct tg_net *net);
/* A stream less. */
void tg__net_let_go(struct tg_net *net);

struct sockaddr_storage;
struct tg_address tg__address_from(const struct sockaddr_storage *address);

#endif
