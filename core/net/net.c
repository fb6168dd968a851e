/* net.c - what the streams of one loop share: the read buffer, and a descriptor to give up when there is no
 * other.
 */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/memory.h"
#include "net/net_internal.h"

static enum tg_err create(struct tg_net **out, struct uv_loop_s *loop, bool leads)
{
    struct tg_net *net = tg_alloc(sizeof *net);

    if (net == NULL)
        return TG_ERR_NOMEM;
    /* send can be told not to signal when the peer is gone, the write of a library cannot. */
    (void)signal(SIGPIPE, SIG_IGN);
    net->loop = loop;
    net->leads = leads;
    net->handles_open = 0;
    net->sockets = 0;
    net->first = NULL;
    net->streams = 0;
    net->turn = 0;
    net->ahead_rest = 0;
    net->destroyed = false;
    net->accepted.of = NULL;
    net->plain = NULL;
    net->spare = TG_BUFFER_INIT;
    enum tg_err err = tg__poller_open(net);
    if (err != TG_ERR_OK) {
        tg_free(net);
        return err;
    }
    net->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC); /* -1: then clients are not told */
    *out = net;
    return TG_ERR_OK;
}

enum tg_err tg_net_create(struct tg_net **out, struct uv_loop_s *loop)
{
    return create(out, loop, false);
}

enum tg_err tg_net_create_leading(struct tg_net **out, struct uv_loop_s *loop)
{
    return create(out, loop, true);
}

void tg__net_free(struct tg_net *net)
{
    if (net->spare_fd != -1)
        close(net->spare_fd);
    tg_free(net->plain);
    tg_buffer_fini(&net->spare);
    tg_free(net);
}

void tg_net_destroy(struct tg_net *net)
{
    if (net == NULL || net->destroyed)
        return;
    net->destroyed = true;
    if (net->streams == 0)
        tg__poller_close(net);
}

void tg__net_let_go(struct tg_net *net)
{
    if (--net->streams == 0 && net->destroyed)
        tg__poller_close(net);
}

struct uv_loop_s *tg_net_loop(const struct tg_net *net)
{
    return net->loop;
}
