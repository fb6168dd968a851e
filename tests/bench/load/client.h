/* client.h - one WebSocket client of the load generator: a non-blocking socket, the upgrade, frames.
 *
 * Speaks just what a load needs (RFC 6455 client side: masked text, binary and close frames; no
 * extensions) and checks what it is told: every answer must be a whole, unmasked, final data frame.
 */
#ifndef TG_TESTS_BENCH_LOAD_CLIENT_H
#define TG_TESTS_BENCH_LOAD_CLIENT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum client_state {
    CLIENT_IDLE,
    CLIENT_CONNECTING,
    CLIENT_SECURING,
    CLIENT_UPGRADING,
    CLIENT_OPEN,
    CLIENT_CLOSING
};

struct tls;

struct bytes {
    uint8_t *data; /* owned */
    size_t start, end, capacity;
};

struct client {
    int fd; /* -1: none */
    enum client_state state;
    struct tls *tls; /* owned; NULL: plain */
    struct bytes in, out;
    const uint8_t *cursor; /* what client_read left to be taken, until client_keep */
    size_t left;
    bool wants_out;  /* epoll tells when the socket takes more */
    uint32_t number; /* which client this is */
    uint64_t sent;   /* messages, the next one's number */
    uint64_t answered;
    uint64_t began_ns;    /* of the connect under way */
    uint64_t *sent_at_ns; /* owned by load.c: a ring, by message number */
    uint64_t seq;         /* of the last event of a stream */
    uint32_t pieces;      /* of the run under way */
};

struct frame {
    int opcode;
    const uint8_t *payload; /* valid until client_keep */
    size_t len;
};

/* Ends the program with a message; a load that is not right measures nothing. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

uint64_t now_ns(void);

/* Starts a connect; epoll knows the client afterwards. `source` may be NULL. */
void client_connect(struct client *client, int epoll_fd, const struct sockaddr_in *server,
                    const struct sockaddr_in *source);
/* After EPOLLOUT on CLIENT_CONNECTING: dies when there is no connection. */
void client_check_connected(const struct client *client);
/* Begins TLS. */
void client_secure(struct client *client);
/* Queues the upgrade request. */
void client_upgrade(struct client *client, const char *host, const char *path, const char *header);
/* Takes in what has arrived. False: the peer has ended the stream. */
bool client_read(struct client *client);
/* Keeps what was not taken for the next read: a client at rest owns no buffer. */
void client_keep(struct client *client);
/* When the whole answer to the upgrade is there: true, or dies when it is no 101. */
bool client_take_upgrade(struct client *client);
/* The next whole frame. */
bool client_take_frame(struct client *client, struct frame *frame);
/* The next `len` bytes as they are, for a server that speaks no WebSocket. */
bool client_take_bytes(struct client *client, size_t len, struct frame *frame);
void client_send_bytes(struct client *client, const uint8_t *bytes, size_t len);
/* Queues a masked frame; the caller flushes. */
void client_send(struct client *client, int opcode, const uint8_t *payload, size_t len);
/* Writes what is queued as far as the socket takes it; asks epoll for the rest. */
void client_flush(struct client *client, int epoll_fd);
void client_close(struct client *client);

#endif
