/* versions.c - the policy versions that connections were served by, each text once for all of them.
 *
 * There are as many as generations of a policy with connections left: one, or a few after reloads.
 */
#include <string.h>

#include "base/memory.h"
#include "connection/connection_internal.h"

struct tg_version {
    struct tg_list node; /* hub->versions */
    size_t users;        /* connections */
    char text[TG_POLICY_VERSION_SIZE];
};

static bool is(const struct tg_version *version, const char *text)
{
    return strncmp(version->text, text, sizeof version->text - 1) == 0;
}

/* NULL when memory is out. */
static struct tg_version *version_of(struct tg_hub *hub, const char *text)
{
    TG_LIST_EACH (node, next, &hub->versions) {
        struct tg_version *version = TG_CONTAINER_OF(node, struct tg_version, node);
        if (is(version, text))
            return version;
    }
    struct tg_version *version = tg_calloc(1, sizeof *version);
    if (version == NULL)
        return NULL;
    memcpy(version->text, text, strnlen(text, sizeof version->text - 1));
    tg_list_push(&hub->versions, &version->node);
    return version;
}

void tg__version_release(struct tg_conn *conn)
{
    struct tg_version *version = conn->version;
    conn->version = NULL;
    if (version == NULL || --version->users > 0)
        return;
    tg_list_remove(&version->node);
    tg_free(version);
}

const char *tg_conn_policy_version(const struct tg_conn *conn)
{
    return conn->version == NULL ? "" : conn->version->text;
}

void tg_conn_set_policy_version(struct tg_conn *conn, const char *version)
{
    if (conn->version != NULL && is(conn->version, version)) /* at nearly every hook */
        return;
    tg__version_release(conn);
    conn->version = version_of(conn->hub, version);
    if (conn->version != NULL)
        conn->version->users++;
}
