/* lws_echo.c - an echo on libwebsockets, as its users write one: whole messages, one service thread.
 *
 *   lws_echo [CERTIFICATE KEY]     prints `listening ws://127.0.0.1:PORT`; stops on SIGTERM
 */
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A message on its way back, after LWS_PRE bytes that the library writes its head into. */
struct echo {
    struct echo *next;
    size_t len;
    int binary;
    unsigned char data[];
};

struct session {
    struct echo *first, *last; /* whole messages */
    unsigned char *partial;
    size_t len;
};

static int take(struct lws *wsi, struct session *session, const void *in, size_t len)
{
    unsigned char *grown = realloc(session->partial, session->len + len + 1);

    if (grown == NULL)
        return -1;
    memcpy(grown + session->len, in, len);
    session->partial = grown;
    session->len += len;
    if (lws_remaining_packet_payload(wsi) > 0 || !lws_is_final_fragment(wsi))
        return 0;
    struct echo *echo = malloc(sizeof *echo + LWS_PRE + session->len);
    if (echo == NULL)
        return -1;
    *echo = (struct echo){.len = session->len, .binary = lws_frame_is_binary(wsi)};
    memcpy(echo->data + LWS_PRE, session->partial, session->len);
    free(session->partial);
    session->partial = NULL;
    session->len = 0;
    if (session->first == NULL)
        session->first = echo;
    else
        session->last->next = echo;
    session->last = echo;
    lws_callback_on_writable(wsi);
    return 0;
}

static int give(struct lws *wsi, struct session *session)
{
    struct echo *echo = session->first;

    if (echo == NULL)
        return 0;
    session->first = echo->next;
    int put = lws_write(wsi, echo->data + LWS_PRE, echo->len,
                        echo->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
    free(echo);
    if (session->first != NULL)
        lws_callback_on_writable(wsi);
    return put < 0 ? -1 : 0;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t len)
{
    struct session *session = user;

    if (reason == LWS_CALLBACK_RECEIVE)
        return take(wsi, session, in, len);
    if (reason == LWS_CALLBACK_SERVER_WRITEABLE)
        return give(wsi, session);
    if (reason == LWS_CALLBACK_CLOSED) {
        while (session->first != NULL) {
            struct echo *echo = session->first;
            session->first = echo->next;
            free(echo);
        }
        free(session->partial);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct lws_protocols protocols[] = {
        {"echo", on_event, sizeof(struct session), 65536, 0, NULL, 0},
        {NULL, NULL, 0, 0, 0, NULL, 0}};
    struct lws_context_creation_info info = {0};

    lws_set_log_level(LLL_ERR, NULL);
    info.iface = "127.0.0.1";
    info.protocols = protocols;
    info.pt_serv_buf_size = 65536;
    /* A server has to refuse text that is no UTF-8 (RFC 6455 8.1); the library does so when asked. */
    info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_VALIDATE_UTF8;
    if (argc == 3) {
        info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
        info.ssl_cert_filepath = argv[1];
        info.ssl_private_key_filepath = argv[2];
    }
    struct lws_context *context = lws_create_context(&info);
    struct lws_vhost *vhost = context == NULL ? NULL : lws_create_vhost(context, &info);
    if (vhost == NULL)
        return 1;
    (void)printf("listening %s://127.0.0.1:%d\n", argc == 3 ? "wss" : "ws",
                 lws_get_vhost_listen_port(vhost));
    (void)fflush(stdout);
    while (lws_service(context, 0) >= 0) {
        /* until it is killed */
    }
    lws_context_destroy(context);
    return 0;
}
