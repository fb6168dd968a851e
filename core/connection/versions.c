/* versions.c - the policy versions that connections were served by, each text once for all of them.
 *
 * There are as many places as generations of a policy had connections at one time: one, or a few after reloads. A
 * connection has the number of its own, which is half of a pointer: the place in the hub's list, from 1.
 */
#include <string.h>

#include "base/memory.h"
#include "connection/connection_internal.h"

struct tg_version {
    size_t users; /* connections; 0: the text may be another's */
    char text[TG_POLICY_VERSION_SIZE];
};

static struct tg_version *get(const struct tg_hub *hub, uint32_t number)
{
    return hub->versions[number - 1];
}

static bool is(const struct tg_version *version, const char *text)
{
    return strncmp(version->text, text, sizeof version->text - 1) == 0;
}

/* A place for one more; 0 when memory is out. */
static uint32_t add_place(struct tg_hub *hub)
{
    struct tg_version **versions =
        tg_realloc(hub->versions, (hub->version_count + 1) * sizeof(struct tg_version *));
    if (versions == NULL)
        return 0;
    hub->versions = versions;
    versions[hub->version_count] = tg_calloc(1, sizeof(struct tg_version));
    return versions[hub->version_count] == NULL ? 0 : ++hub->version_count;
}

/* 0 when memory is out. */
static uint32_t number_of(struct tg_hub *hub, const char *text)
{
    uint32_t unused = 0;
    for (uint32_t number = 1; number <= hub->version_count; number++) {
        if (get(hub, number)->users == 0)
            unused = number;
        else if (is(get(hub, number), text))
            return number;
    }
    if (unused == 0)
        unused = add_place(hub);
    if (unused == 0)
        return 0;
    struct tg_version *version = get(hub, unused);
    memset(version->text, 0, sizeof version->text);
    memcpy(version->text, text, strnlen(text, sizeof version->text - 1));
    return unused;
}

void tg__version_release(struct tg_conn *conn)
{
    if (conn->version != 0)
        get(conn->hub, conn->version)->users--;
    conn->version = 0;
}

void tg__versions_fini(struct tg_hub *hub)
{
    while (hub->version_count > 0)
        tg_free(get(hub, hub->version_count--));
    tg_free(hub->versions);
}

const char *tg_conn_policy_version(const struct tg_conn *conn)
{
    return conn->version == 0 ? "" : get(conn->hub, conn->version)->text;
}

void tg_conn_set_policy_version(struct tg_conn *conn, const char *version)
{
    if (conn->version != 0 && is(get(conn->hub, conn->version), version)) /* at nearly every hook */
        return;
    tg__version_release(conn);
    conn->version = number_of(conn->hub, version);
    if (conn->version != 0)
        get(conn->hub, conn->version)->users++;
}
