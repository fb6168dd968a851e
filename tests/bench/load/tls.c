/* tls.c - TLS of one client through OpenSSL; without it, what says so. */
#include "tls.h"

#include <errno.h>

#include "client.h"

#ifdef LOAD_HAS_TLS

#include <openssl/err.h>
#include <openssl/ssl.h>

bool tls_is_built_in(void)
{
    return true;
}

static SSL *ssl_of(struct tls *tls)
{
    return (SSL *)(void *)tls;
}

static SSL_CTX *context(void)
{
    static SSL_CTX *made;

    if (made == NULL && (made = SSL_CTX_new(TLS_client_method())) == NULL)
        die("OpenSSL cannot start");
    SSL_CTX_set_mode(made, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                               SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_OFF);
    return made;
}

struct tls *tls_create(int fd)
{
    SSL *ssl = SSL_new(context());

    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1)
        die("OpenSSL cannot make a client");
    SSL_set_connect_state(ssl);
    return (struct tls *)(void *)ssl;
}

/* What an operation that moved nothing means: as a system call would tell. */
static ssize_t outcome(struct tls *tls, int result)
{
    char text[256] = "the stream was cut";

    switch (SSL_get_error(ssl_of(tls), result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        return errno == 0 || errno == ECONNRESET ? 0 : -1;
    default:
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
            ERR_clear_error();
            return 0;
        }
        ERR_error_string_n(ERR_get_error(), text, sizeof text);
        die("TLS: %s", text);
    }
}

bool tls_handshake(struct tls *tls)
{
    int result = SSL_do_handshake(ssl_of(tls));

    if (result != 1 && outcome(tls, result) == 0)
        die("the server ended the TLS handshake");
    return result == 1;
}

ssize_t tls_read(struct tls *tls, void *data, size_t len)
{
    size_t got;
    int result = SSL_read_ex(ssl_of(tls), data, len, &got);

    return result == 1 ? (ssize_t)got : outcome(tls, result);
}

ssize_t tls_write(struct tls *tls, const void *data, size_t len)
{
    size_t put;
    int result = SSL_write_ex(ssl_of(tls), data, len, &put);

    return result == 1 ? (ssize_t)put : outcome(tls, result);
}

void tls_destroy(struct tls *tls)
{
    SSL_free(ssl_of(tls));
}

#else

bool tls_is_built_in(void)
{
    return false;
}

struct tls *tls_create(int fd)
{
    (void)fd;
    die("built without OpenSSL (libssl-dev): no TLS");
}

bool tls_handshake(struct tls *tls)
{
    (void)tls;
    return false;
}

ssize_t tls_read(struct tls *tls, void *data, size_t len)
{
    (void)tls;
    (void)data;
    (void)len;
    errno = EPROTO;
    return -1;
}

ssize_t tls_write(struct tls *tls, const void *data, size_t len)
{
    (void)tls;
    (void)data;
    (void)len;
    errno = EPROTO;
    return -1;
}

void tls_destroy(struct tls *tls)
{
    (void)tls;
}

#endif
