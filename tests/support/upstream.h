/* upstream.h - a WebSocket server of raw bytes on the loop of a test: one connection, which it upgrades or
 * not, reads or not, and says on it what the test says.
 */
#ifndef TG_TESTS_UPSTREAM_H
#define TG_TESTS_UPSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

struct upstream {
    uv_tcp_t listener, conn;
    uint16_t port;
    bool silent;  /* set before a client comes: does not answer the upgrade */
    bool stalled; /* reads nothing after the upgrade; see upstream_read */
    bool upgraded;
    bool gone; /* the client has closed */
    int accepted;
    char bytes[65536]; /* what came last */
    char head[4096];   /* the request; then what followed it, as far as there is room */
    size_t head_len;
    uint8_t frames[4096];
    size_t frames_len;
    size_t received; /* bytes after the request */
};

void upstream_open(struct upstream *up, uv_loop_t *loop);
void upstream_send(struct upstream *up, const void *data, size_t len);
void upstream_read(struct upstream *up); /* after a stall */
void upstream_reset(struct upstream *up);
void upstream_close(struct upstream *up); /* idempotent; then the loop runs once more */

#endif
