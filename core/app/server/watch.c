/* watch.c - tells when something about the policy's files may have changed.
 *
 *   name.lua   its folder: the policy and the modules beside it
 *   folder     it and the folders below it
 *
 * And every folder on the way there, for the one name that leads on: so a folder that is removed and made
 * again, or a link that is set to another release, is seen. A file behind a link is watched itself.
 *
 * After each change all watches are set anew, the new ones before the old ones go, and then `changed` is
 * told: what happens in between is in one of the two. Owns its handles; each is freed when it has closed.
 */
#include "app/server/watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"
#include "net/timer.h"

/* Editors and copies change files in bursts; one that goes on and on is not waited for longer than this. */
#define QUIET_MS 100
#define WAIT_MS_MAX 1000
#define WATCHES_MAX 1024
#define DEPTH_MAX 16
#define PATH_BYTES_MAX 4096

struct tg_watch {
    uv_loop_t *loop;          /* borrowed */
    struct tg_timers *timers; /* borrowed */
    char *policy;             /* owned */
    tg_watch_fn changed;
    void *ctx;
    struct tg_timer quiet;
    uint64_t first_ms; /* of the changes that have not been told */
    struct tg_list watches;
    size_t count;
    bool warned;
};

/* One folder, or a file behind a link. */
struct watched {
    struct tg_list node;
    uv_fs_event_t handle;
    struct tg_watch *watch; /* borrowed until the handle is being closed */
    char *only;             /* owned; the one name that matters; NULL: all do */
    char path[];
};

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);
    return len >= end_len && memcmp(text + len - end_len, end, end_len) == 0;
}

/* --- what has changed ------------------------------------------------------------------------------ */

static void reopen(struct tg_watch *watch);

static void on_quiet(struct tg_timer *timer)
{
    struct tg_watch *watch = TG_CONTAINER_OF(timer, struct tg_watch, quiet);
    reopen(watch);
    watch->changed(watch->ctx);
}

static void wait_for_quiet(struct tg_watch *watch)
{
    uint64_t now = tg_timers_now_ms(watch->timers);
    uint64_t delay = QUIET_MS;
    if (!tg_timer_running(&watch->quiet))
        watch->first_ms = now;
    uint64_t last = watch->first_ms + WAIT_MS_MAX;
    if (now + delay > last)
        delay = last > now ? last - now : 0;
    if (tg_timer_start(watch->timers, &watch->quiet, delay, on_quiet) != TG_ERR_OK)
        tg_log(TG_LOG_WARN, "watch.failed", tg_log_str("reason", "out of memory"));
}

/* Policies consist of *.lua files; folders and links may lead to some, and so may what is gone. */
static bool matters(const struct watched *watched, const char *name)
{
    char path[PATH_BYTES_MAX];
    struct stat status;
    if (name == NULL)
        return true;
    if (watched->only != NULL)
        return strcmp(watched->only, name) == 0;
    if (ends_with(name, ".lua"))
        return true;
    int len = snprintf(path, sizeof path, "%s/%s", watched->path, name);
    return len >= (int)sizeof path || lstat(path, &status) != 0 || !S_ISREG(status.st_mode);
}

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    struct watched *watched = handle->data;
    (void)events;
    if (status != 0 || matters(watched, name))
        wait_for_quiet(watched->watch);
}

/* --- the watches ----------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct watched *watched = handle->data;
    tg_free(watched->only);
    tg_free(watched);
}

static void close_watch(struct watched *watched)
{
    tg_list_remove(&watched->node);
    watched->watch->count--;
    uv_close((uv_handle_t *)&watched->handle, on_closed);
}

static void warn(struct tg_watch *watch, const char *path, const char *reason)
{
    if (!watch->warned)
        tg_log(TG_LOG_WARN, "watch.failed", tg_log_str("path", path), tg_log_str("reason", reason));
    watch->warned = true;
}

/* only: of `only_len` bytes; NULL: everything in it matters. A folder that is not there is no mistake. */
static void add(struct tg_watch *watch, const char *path, const char *only, size_t only_len)
{
    size_t size = strlen(path) + 1;
    if (watch->count == WATCHES_MAX) {
        warn(watch, path, "too many folders to watch them all");
        return;
    }
    struct watched *watched = tg_xcalloc(1, sizeof *watched + size);
    watched->watch = watch;
    watched->only = only == NULL ? NULL : tg_xstrdup(only);
    if (only != NULL)
        watched->only[only_len] = '\0';
    memcpy(watched->path, path, size);
    (void)uv_fs_event_init(watch->loop, &watched->handle);
    watched->handle.data = watched;
    tg_list_push(&watch->watches, &watched->node);
    watch->count++;
    int rc = uv_fs_event_start(&watched->handle, on_event, path, 0);
    if (rc == 0)
        return;
    if (rc != UV_ENOENT && rc != UV_ENOTDIR)
        warn(watch, path, uv_strerror(rc));
    close_watch(watched);
}

/* Each folder on the way to `path`, for the name that follows. */
static void add_way(struct tg_watch *watch, const char *path)
{
    char folder[PATH_BYTES_MAX];
    const char *name = path;
    while (*name == '/')
        name++;
    while (*name != '\0') {
        size_t len = strcspn(name, "/");
        size_t before = (size_t)(name - path);
        if (before + 1 > sizeof folder)
            return;
        memcpy(folder, path, before);
        folder[before] = '\0';
        add(watch, before == 0 ? "." : folder, name, len);
        name += len;
        while (*name == '/')
            name++;
    }
}

static void add_folder(struct tg_watch *watch, const char *path, bool deep, int depth);

static void add_entry(struct tg_watch *watch, const char *path, bool deep, int depth)
{
    struct stat link;
    struct stat status;
    if (lstat(path, &link) != 0 || stat(path, &status) != 0)
        return;
    if (S_ISDIR(status.st_mode) && deep && depth < DEPTH_MAX)
        add_folder(watch, path, deep, depth + 1);
    else if (S_ISLNK(link.st_mode) && S_ISREG(status.st_mode) && ends_with(path, ".lua"))
        add(watch, path, NULL, 0);
}

static void add_folder(struct tg_watch *watch, const char *path, bool deep, int depth)
{
    char entry_path[PATH_BYTES_MAX];
    struct dirent *entry;
    add(watch, path, NULL, 0);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* as in script/source_read.c */
    DIR *dir = fd == -1 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        if (fd != -1)
            (void)close(fd);
        return;
    }
    while ((entry = readdir(dir)) != NULL) {
        int len = snprintf(entry_path, sizeof entry_path, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && len < (int)sizeof entry_path)
            add_entry(watch, entry_path, deep, depth);
    }
    (void)closedir(dir);
}

static void add_all(struct tg_watch *watch)
{
    char folder[PATH_BYTES_MAX];
    const char *slash = strrchr(watch->policy, '/');
    add_way(watch, watch->policy);
    if (!ends_with(watch->policy, ".lua")) {
        add_folder(watch, watch->policy, true, 0);
        return;
    }
    int len = slash == NULL ? 1 : (int)(slash - watch->policy);
    (void)snprintf(folder, sizeof folder, "%.*s", len, slash == NULL ? "." : watch->policy);
    add_folder(watch, folder[0] == '\0' ? "/" : folder, false, 0);
}

static void reopen(struct tg_watch *watch)
{
    struct tg_list old;
    tg_list_init(&old);
    while (!tg_list_empty(&watch->watches)) {
        struct tg_list *node = tg_list_first(&watch->watches);
        tg_list_remove(node);
        tg_list_push(&old, node);
    }
    size_t old_count = watch->count;
    watch->count = 0;
    add_all(watch);
    watch->count += old_count;
    while (!tg_list_empty(&old))
        close_watch(TG_CONTAINER_OF(old.next, struct watched, node));
}

enum tg_err tg_watch_create(struct tg_watch **out, struct uv_loop_s *loop, struct tg_timers *timers,
                            const char *policy, tg_watch_fn changed, void *ctx)
{
    struct tg_watch *watch = tg_calloc(1, sizeof *watch);
    if (watch == NULL)
        return TG_ERR_NOMEM;
    watch->loop = loop;
    watch->timers = timers;
    watch->policy = tg_xstrdup(policy);
    watch->changed = changed;
    watch->ctx = ctx;
    tg_list_init(&watch->watches);
    for (size_t len = strlen(policy); len > 1 && watch->policy[len - 1] == '/'; len--)
        watch->policy[len - 1] = '\0';
    add_all(watch);
    *out = watch;
    return TG_ERR_OK;
}

void tg_watch_destroy(struct tg_watch *watch)
{
    if (watch == NULL)
        return;
    tg_timer_stop(watch->timers, &watch->quiet);
    while (!tg_list_empty(&watch->watches))
        close_watch(TG_CONTAINER_OF(watch->watches.next, struct watched, node));
    tg_free(watch->policy);
    tg_free(watch);
}
