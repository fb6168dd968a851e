/* check.c - everything that can be said about a policy without serving it. */
#include "script/check/check.h"

#include <string.h>

#include "base/memory.h"
#include "script/check/facts.h"
#include "script/check/scan.h"
#include "script/policy/source.h"

static void add_name(void *ctx, const char *name)
{
    struct tg_check_names *list = ctx;
    char **names = tg_xcalloc(list->count + 1, sizeof *names);

    if (list->count > 0)
        memcpy(names, list->names, list->count * sizeof *names);
    tg_free(list->names);
    names[list->count++] = tg_xstrdup(name);
    list->names = names;
}

static void free_names(struct tg_check_names *list)
{
    for (size_t i = 0; i < list->count; i++)
        tg_free(list->names[i]);
    tg_free(list->names);
    *list = (struct tg_check_names){.names = NULL};
}

static void take(void *ctx, const struct tg_finding *finding)
{
    struct tg_check *check = ctx;

    tg_findings_add(&check->findings, finding);
}

/* Loads the policy as a worker would. Facts stay empty when it is refused. */
static enum tg_err load(struct tg_check *check, struct tg_source *source, struct tg_buffer *facts,
                        struct tg_error *error)
{
    struct tg_mistakes mistakes = {.report = take, .ctx = check};
    struct tg_generation *generation = NULL;

    if (tg_generation_build(&generation, check->env, source, &mistakes) != TG_ERR_OK)
        return TG_ERR_OK;
    memcpy(check->version, generation->version, sizeof check->version);
    tg_generation_each_hook(generation, add_name, &check->hooks);
    tg_generation_each_agent(generation, add_name, &check->agents);
    tg_generation_each_service(generation, add_name, &check->services);
    enum tg_err err = tg_check_facts(generation, facts, error);
    tg_generation_destroy(generation);
    return err;
}

static bool is_folder(const struct tg_check *check)
{
    return strcmp(check->policy, check->entry) != 0;
}

static void list_file(void *ctx, const char *path)
{
    struct tg_check *check = ctx;

    add_name(&check->files, path);
}

enum tg_err tg_check_run(struct tg_check *check, struct tg_error *error)
{
    struct tg_buffer facts = TG_BUFFER_INIT;
    struct tg_source *source = NULL;
    enum tg_err err = tg_source_read(&source, check->policy, error);

    if (err != TG_ERR_OK)
        return err;
    check->entry = tg_xstrdup(tg_source_entry(source)->path);
    err = load(check, source, &facts, error);
    if (err == TG_ERR_OK) {
        struct tg_scan scan = {
            .env = check->env,
            .source = source,
            .folder = is_folder(check),
            .has_origins = check->has_origins,
            .facts = facts.len > 0 ? &facts : NULL,
            .report = take,
            .file = list_file,
            .ctx = check,
        };
        err = tg_scan_run(&scan, error);
    }
    tg_findings_sort(&check->findings, check->entry);
    tg_buffer_fini(&facts);
    tg_source_release(source);
    return err;
}

void tg_check_fini(struct tg_check *check)
{
    tg_findings_fini(&check->findings);
    free_names(&check->hooks);
    free_names(&check->agents);
    free_names(&check->services);
    free_names(&check->files);
    tg_free(check->entry);
    check->entry = NULL;
}
