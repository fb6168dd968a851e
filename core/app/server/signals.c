/* signals.c - SIGTERM and SIGINT drain, SIGHUP reloads. SIGPIPE is ignored: writes report it.
 */
#include <signal.h>
#include <string.h>

#include "app/server/server_internal.h"
#include "base/log.h"

static const int numbers[TG_SIGNALS] = {SIGTERM, SIGINT, SIGHUP};

static void on_signal(uv_signal_t *handle, int number)
{
    struct tg_server *server = handle->data;
    if (number != SIGHUP)
        tg_server_drain(server, number == SIGTERM ? "SIGTERM" : "SIGINT");
    else if (!server->draining)
        tg_reload_request(server->reload, "SIGHUP", NULL, NULL);
}

enum tg_err tg__signals_start(struct tg_server *server, struct tg_error *error)
{
    (void)signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < TG_SIGNALS; i++) {
        (void)uv_signal_init(&server->loop, &server->signals[i]);
        server->signals[i].data = server;
        int rc = uv_signal_start(&server->signals[i], on_signal, numbers[i]);
        if (rc != 0)
            return tg_error_set(error, TG_ERR_SYS, "signal %s cannot be watched: %s",
                                strsignal(numbers[i]), uv_strerror(rc));
    }
    return TG_ERR_OK;
}

void tg__signals_stop(struct tg_server *server)
{
    /* Giving the handlers back would make a late signal deadly to a process that ends in order. */
    sigset_t late;
    (void)sigemptyset(&late);
    for (size_t i = 0; i < TG_SIGNALS; i++)
        (void)sigaddset(&late, numbers[i]);
    (void)pthread_sigmask(SIG_BLOCK, &late, NULL);
    for (size_t i = 0; i < TG_SIGNALS; i++)
        if (server->signals[i].loop != NULL)
            uv_close((uv_handle_t *)&server->signals[i], NULL);
}
