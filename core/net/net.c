/* net.c - what the streams of one loop share: the read buffer, and a descriptor to give up when there is no
 * other.
 */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/memory.h"
#include "net/net_internal.h"

enum tg_err tg_net_create(struct tg_net **out, struct uv_loop_s *loop)
{
    struct tg_net *net = tg_alloc(sizeof *net);

    if (net == NULL)
        return TG_ERR_NOMEM;
    /* libuv writes with write(2): without this a peer that is gone would end the process. */
    (void)signal(SIGPIPE, SIG_IGN);
    net->loop = loop;
    net->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC); /* -1: then clients are not told */
    net->accepted.of = NULL;
    net->plain = NULL;
    net->spare = TG_BUFFER_INIT;
    *out = net;
    return TG_ERR_OK;
}

void tg_net_destroy(struct tg_net *net)
{
    if (net == NULL)
        return;
    if (net->spare_fd != -1)
        close(net->spare_fd);
    tg_free(net->plain);
    tg_buffer_fini(&net->spare);
    tg_free(net);
}

struct uv_loop_s *tg_net_loop(const struct tg_net *net)
{
    return net->loop;
}
