/* worker_listeners.c - where a worker's connections come from: its listeners, and TLS before the hub.
 *
 * The descriptors are the worker's until listening; from then on, the listeners'.
 */
#include "app/server/worker_internal.h"
#include "app/task.h"
#include "base/log.h"
#include "net/tls.h"

static void on_accept(void *ctx, struct tg_stream *stream)
{
    struct tg_worker *worker = ctx;
    tg_hub_accept(worker->hub, stream);
}

static void on_accept_tls(void *ctx, struct tg_stream *stream)
{
    struct tg_worker *worker = ctx;
    if (tg_stream_start_tls(stream, worker->tls, worker->options.index) != TG_ERR_OK) {
        tg_counter_add(&worker->metrics->tls_handshake_failures, 1);
        tg_stream_close(stream); /* out of memory, and nothing can be told */
        return;
    }
    tg_hub_accept(worker->hub, stream);
}

static void on_accept_error(void *ctx, const char *why)
{
    struct tg_worker *worker = ctx;
    uint64_t left_out;
    tg_counter_add(&worker->metrics->accept_failures, 1);
    if (tg_log_gate_pass(&worker->accept_gate, uv_now(&worker->loop), 1, &left_out))
        tg_log(TG_LOG_WARN, "listener.accept_failed", tg_log_str("reason", why),
               tg_log_uint("worker", worker->options.index + 1), tg_log_uint("more", left_out));
}

static const char out_of_descriptors[] =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Length: 52\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    "the server is out of descriptors; try again shortly\n";

static void on_refused(void *ctx)
{
    struct tg_worker *worker = ctx;
    tg_counter_add(&worker->metrics->refusals[TG_REFUSAL_DESCRIPTORS], 1);
}

static void do_set_tls(void *receiver, void *arg, bool lost)
{
    struct tg_worker *worker = receiver;
    struct tg_tls_config *fresh = arg;
    if (lost) {
        tg_tls_config_release(fresh);
        return;
    }
    tg_tls_config_release(worker->tls);
    worker->tls = fresh;
}

void tg_worker_set_tls(struct tg_worker *worker, struct tg_tls_config *tls)
{
    tg_task_post(worker->mailbox, do_set_tls, tg_tls_config_retain(tls));
}

static void do_listen(void *receiver, void *arg, bool lost)
{
    struct tg_worker *worker = receiver;
    (void)arg;
    for (size_t i = 0; !lost && i < worker->options.fd_count; i++) {
        int fd = worker->fds[i];
        bool tls = worker->tls_fds[i];
        worker->fds[i] = -1;
        if (tg_listener_start(&worker->listeners[i], worker->net, fd,
                              tls ? on_accept_tls : on_accept, on_accept_error,
                              worker) != TG_ERR_OK)
            on_accept_error(worker, "the listener could not be started");
        else
            tg_listener_set_refusal(worker->listeners[i], tls ? "" : out_of_descriptors,
                                    on_refused);
    }
}

void tg_worker_listen(struct tg_worker *worker)
{
    tg_task_post(worker->mailbox, do_listen, NULL);
}

void tg__worker_stop_listening(struct tg_worker *worker)
{
    for (size_t i = 0; i < worker->options.fd_count; i++) {
        tg_listener_stop(worker->listeners[i]);
        worker->listeners[i] = NULL;
    }
}
