/* tls.h - TLS of one client, on a non-blocking socket, through OpenSSL.
 *
 * Another library than the server's, so that what both would get wrong is noticed. Built without
 * OpenSSL, tls_create ends the program.
 */
#ifndef TG_TESTS_BENCH_LOAD_TLS_H
#define TG_TESTS_BENCH_LOAD_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct tls;

bool tls_is_built_in(void);
struct tls *tls_create(int fd);
/* False: it goes on when the socket is readable again. Dies when it fails. */
bool tls_handshake(struct tls *tls);
/* As read and send of a socket: -1 with errno EAGAIN, 0 at the end. One read of 16 KiB or more leaves
 * nothing behind that the socket would not tell of: OpenSSL reads record by record. */
ssize_t tls_read(struct tls *tls, void *data, size_t len);
ssize_t tls_write(struct tls *tls, const void *data, size_t len);
void tls_destroy(struct tls *tls); /* NULL is allowed */

#endif
