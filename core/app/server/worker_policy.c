/* worker_policy.c - which versions of the policy live on a worker, as JSON for the admin interface, and which
 * of them its connections are on.
 */
#include <string.h>

#include "app/server/worker_internal.h"
#include "app/task.h"
#include "base/json_writer.h"
#include "base/memory.h"
#include "connection/connection.h"

/* Versions that are told apart; a connection that has been idle for more reloads counts as "". */
#define VERSIONS_MAX 64

struct question {
    tg_rows_fn done;
    void *ctx;
};

struct census {
    struct {
        const char *version; /* borrowed from a connection */
        size_t count;
    } rows[VERSIONS_MAX];
    size_t used;
    size_t rest;
};

static void count_version(struct census *census, const char *version)
{
    size_t i = 0;
    while (i < census->used && strcmp(census->rows[i].version, version) != 0)
        i++;
    if (i == VERSIONS_MAX) {
        census->rest++;
        return;
    }
    if (i == census->used)
        census->rows[census->used++].version = version;
    census->rows[i].count++;
}

static void write_row(struct tg_json_writer *w, const char *version, size_t count)
{
    tg_json_begin_object(w);
    tg_json_member_str(w, "version", version);
    tg_json_member_uint(w, "count", count);
    tg_json_end_object(w);
}

static void write_connections(struct tg_json_writer *w, struct tg_hub *hub)
{
    struct census census = {.used = 0};
    struct tg_conn *conn;
    size_t cursor = 0;
    while ((conn = tg_hub_next(hub, &cursor)) != NULL)
        count_version(&census, tg_conn_policy_version(conn));
    tg_json_key(w, "connections");
    tg_json_begin_array(w);
    for (size_t i = 0; i < census.used; i++)
        write_row(w, census.rows[i].version, census.rows[i].count);
    if (census.rest > 0)
        write_row(w, "", census.rest);
    tg_json_end_array(w);
}

static void write_generation(void *ctx, const struct tg_generation_facts *facts)
{
    struct tg_json_writer *w = ctx;
    tg_json_begin_object(w);
    tg_json_member_str(w, "version", facts->version);
    tg_json_member_bool(w, "draining", facts->draining);
    tg_json_member_uint(w, "calls", facts->calls);
    tg_json_member_uint(w, "memory_bytes", facts->memory_bytes);
    tg_json_end_object(w);
}

static void do_policy(void *receiver, void *arg, bool lost)
{
    struct tg_worker *worker = receiver;
    struct question *question = arg;
    struct tg_buffer rows = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&rows);
    if (!lost) {
        tg_json_begin_object(&w);
        tg_json_member_uint(&w, "worker", worker->options.index + 1);
        tg_json_key(&w, "generations");
        tg_json_begin_array(&w);
        if (worker->host != NULL)
            tg_host_each_generation(worker->host, write_generation, &w);
        tg_json_end_array(&w);
        write_connections(&w, worker->hub);
        tg_json_end_object(&w);
        if (tg_json_writer_failed(&w))
            tg_buffer_clear(&rows);
    }
    question->done(question->ctx, &rows, rows.len > 0);
    tg_buffer_fini(&rows);
    tg_free(question);
}

void tg_worker_policy(struct tg_worker *worker, tg_rows_fn done, void *ctx)
{
    struct question *question = tg_xcalloc(1, sizeof *question);
    *question = (struct question){.done = done, .ctx = ctx};
    tg_task_post(worker->mailbox, do_policy, question);
}
