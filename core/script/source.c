/* source.c - reads a policy's files into memory, once.
 *
 *     policy.lua    entry policy.lua, modules: the *.lua beside it
 *     policy/       entry policy/init.lua, modules: the *.lua below it, at any depth
 *
 * I1  Files are sorted by module; where two files have one name (x.lua, x/init.lua), the first wins, as
 *     in Lua's own search.
 * I2  After the seal nothing but the count changes; before it, one thread uses the source.
 */
#include "script/source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/hash.h"
#include "base/memory.h"

#define FILES_MAX 1000
#define BYTES_MAX ((size_t)16 << 20)
#define DEPTH_MAX 16
#define PATH_BYTES_MAX 4096
#define VERSION_DIGITS 12

struct file {
    struct tg_source_file public; /* strings owned */
    bool entry;
    bool used;
};

struct tg_source {
    atomic_uint count;
    char *path;         /* owned; as given */
    struct file *files; /* owned */
    size_t file_count;
    size_t capacity;
    size_t bytes;
    const struct file *entry;
    bool sealed;
    char version[TG_POLICY_VERSION_SIZE];
};

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);

    return len >= end_len && memcmp(text + len - end_len, end, end_len) == 0;
}

/* --- reading ------------------------------------------------------------------------------------ */

static enum tg_err read_all(int fd, const char *path, size_t max, struct tg_buffer *out,
                            struct tg_error *error)
{
    for (;;) {
        uint8_t *room = tg_buffer_reserve(out, 16384);
        if (room == NULL)
            return tg_error_set(error, TG_ERR_NOMEM, "%s: out of memory", path);
        ssize_t n = read(fd, room, 16384);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            return tg_error_set(error, TG_ERR_SYS, "%s: %s", path, strerror(errno));
        if (n == 0)
            return TG_ERR_OK;
        tg_buffer_commit(out, (size_t)n);
        if (out->len > max)
            return tg_error_set(error, TG_ERR_LIMIT,
                                "%s: the policy's files are larger than %zuMiB", path,
                                BYTES_MAX >> 20);
    }
}

static enum tg_err grow(struct tg_source *source, struct tg_error *error)
{
    if (source->file_count == FILES_MAX)
        return tg_error_set(error, TG_ERR_LIMIT, "%s: more than %d *.lua files", source->path,
                            FILES_MAX);
    if (source->file_count < source->capacity)
        return TG_ERR_OK;
    size_t capacity = source->capacity == 0 ? 16 : source->capacity * 2;
    struct file *files = tg_realloc(source->files, capacity * sizeof *files);
    if (files == NULL)
        return tg_error_set(error, TG_ERR_NOMEM, "%s: out of memory", source->path);
    source->files = files;
    source->capacity = capacity;
    return TG_ERR_OK;
}

/* Reads one file. `module` is its name for require; "" for the entry. */
static enum tg_err add_file(struct tg_source *source, const char *path, const char *module,
                            struct tg_error *error)
{
    struct tg_buffer content = TG_BUFFER_INIT;
    struct file file = {.entry = module[0] == '\0'};
    size_t len;

    enum tg_err err = grow(source, error);
    if (err != TG_ERR_OK)
        return err;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1)
        return tg_error_set(error, TG_ERR_SYS, "%s: %s", path, strerror(errno));
    err = read_all(fd, path, BYTES_MAX - source->bytes, &content, error);
    (void)close(fd);
    if (err != TG_ERR_OK) {
        tg_buffer_fini(&content);
        return err;
    }
    file.public.data = tg_buffer_detach(&content, &len);
    file.public.len = len;
    file.public.path = tg_strndup(path, strlen(path));
    file.public.module = tg_strndup(module, strlen(module));
    source->files[source->file_count++] = file;
    source->bytes += len;
    tg_buffer_fini(&content);
    if (file.public.data == NULL || file.public.path == NULL || file.public.module == NULL)
        return tg_error_set(error, TG_ERR_NOMEM, "%s: out of memory", path);
    return TG_ERR_OK;
}

/* "users/store.lua" -> "users.store", "users/init.lua" -> "users". */
static void module_name(const char *below, char *out, size_t size)
{
    (void)snprintf(out, size, "%.*s", (int)(strlen(below) - 4), below);
    for (char *c = out; *c != '\0'; c++) {
        if (*c == '/')
            *c = '.';
    }
    if (ends_with(out, ".init"))
        out[strlen(out) - 5] = '\0';
}

struct walk {
    struct tg_source *source;
    size_t root_len;        /* of the folder's path, with its slash */
    const char *entry_name; /* below the root: "init.lua" */
    bool deep;
    struct tg_error *error;
};

static enum tg_err walk_folder(const struct walk *walk, const char *folder, int depth);

static enum tg_err walk_entry(const struct walk *walk, const char *path, int depth)
{
    char module[PATH_BYTES_MAX];
    struct stat status;
    const char *below = path + walk->root_len;

    if (stat(path, &status) != 0)
        return TG_ERR_OK; /* gone since it was listed, or a link to nothing */
    if (S_ISDIR(status.st_mode) && walk->deep && depth < DEPTH_MAX)
        return walk_folder(walk, path, depth + 1);
    if (!S_ISREG(status.st_mode) || !ends_with(path, ".lua"))
        return TG_ERR_OK;
    if (strcmp(below, walk->entry_name) == 0)
        module[0] = '\0';
    else
        module_name(below, module, sizeof module);
    return add_file(walk->source, path, module, walk->error);
}

static enum tg_err walk_folder(const struct walk *walk, const char *folder, int depth)
{
    char path[PATH_BYTES_MAX];
    enum tg_err err = TG_ERR_OK;
    struct dirent *entry;

    DIR *dir = opendir(folder[0] == '\0' ? "." : folder);
    if (dir == NULL)
        return tg_error_set(walk->error, TG_ERR_SYS, "%s: %s", folder, strerror(errno));
    while (err == TG_ERR_OK && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        bool slash = folder[0] != '\0' && !ends_with(folder, "/");
        int len = snprintf(path, sizeof path, "%s%s%s", folder, slash ? "/" : "", entry->d_name);
        if (len < (int)sizeof path)
            err = walk_entry(walk, path, depth);
    }
    (void)closedir(dir);
    return err;
}

static int compare_files(const void *a, const void *b)
{
    const struct file *x = a, *y = b;
    int order = strcmp(x->public.module, y->public.module);

    if (order != 0)
        return order;
    /* x.lua before x/init.lua */
    return (ends_with(x->public.path, "/init.lua") ? 1 : 0) -
           (ends_with(y->public.path, "/init.lua") ? 1 : 0);
}

static enum tg_err find_entry(struct tg_source *source, struct tg_error *error)
{
    if (source->file_count > 1)
        qsort(source->files, source->file_count, sizeof *source->files, compare_files);
    for (size_t i = 0; i < source->file_count; i++) {
        if (source->files[i].entry)
            source->entry = &source->files[i];
    }
    if (source->entry == NULL)
        return tg_error_set(
            error, TG_ERR_NOT_FOUND,
            "%s: no init.lua in this folder; a policy is a file name.lua or a folder "
            "with init.lua",
            source->path);
    return TG_ERR_OK;
}

static enum tg_err read_folder(struct tg_source *source, struct tg_error *error)
{
    bool slash = !ends_with(source->path, "/");
    struct walk walk = {.source = source,
                        .root_len = strlen(source->path) + (slash ? 1 : 0),
                        .entry_name = "init.lua",
                        .deep = true,
                        .error = error};

    return walk_folder(&walk, source->path, 0);
}

static enum tg_err read_file_and_siblings(struct tg_source *source, struct tg_error *error)
{
    char folder[PATH_BYTES_MAX];
    const char *slash = strrchr(source->path, '/');
    size_t root_len = slash == NULL ? 0 : (size_t)(slash - source->path) + 1;
    struct walk walk = {.source = source,
                        .root_len = root_len,
                        .entry_name = source->path + root_len,
                        .error = error};

    if (root_len >= sizeof folder)
        return tg_error_set(error, TG_ERR_INVALID, "%s: the path is too long", source->path);
    memcpy(folder, source->path, root_len);
    folder[root_len] = '\0';
    return walk_folder(&walk, folder, 0);
}

static enum tg_err read_files(struct tg_source *source, struct tg_error *error)
{
    struct stat status;
    enum tg_err err;

    if (stat(source->path, &status) != 0)
        return tg_error_set(error, errno == ENOENT ? TG_ERR_NOT_FOUND : TG_ERR_SYS, "%s: %s",
                            source->path, strerror(errno));
    if (S_ISDIR(status.st_mode))
        err = read_folder(source, error);
    else if (S_ISREG(status.st_mode) && ends_with(source->path, ".lua"))
        err = read_file_and_siblings(source, error);
    else
        return tg_error_set(error, TG_ERR_INVALID,
                            "%s: a policy is a file name.lua or a folder with init.lua",
                            source->path);
    return err == TG_ERR_OK ? find_entry(source, error) : err;
}

enum tg_err tg_source_read(struct tg_source **out, const char *path, struct tg_error *error)
{
    struct tg_source *source = tg_calloc(1, sizeof *source);

    if (source == NULL)
        return tg_error_set(error, TG_ERR_NOMEM, "%s: out of memory", path);
    atomic_init(&source->count, 1);
    source->path = tg_strndup(path, strlen(path));
    enum tg_err err = source->path == NULL
                          ? tg_error_set(error, TG_ERR_NOMEM, "%s: out of memory", path)
                          : read_files(source, error);
    if (err != TG_ERR_OK) {
        tg_source_release(source);
        return err;
    }
    *out = source;
    return TG_ERR_OK;
}

struct tg_source *tg_source_retain(struct tg_source *source)
{
    (void)atomic_fetch_add_explicit(&source->count, 1, memory_order_relaxed);
    return source;
}

void tg_source_release(struct tg_source *source)
{
    if (source == NULL || atomic_fetch_sub_explicit(&source->count, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < source->file_count; i++) {
        tg_free((void *)(uintptr_t)source->files[i].public.module);
        tg_free((void *)(uintptr_t)source->files[i].public.path);
        tg_free((void *)(uintptr_t)source->files[i].public.data);
    }
    tg_free(source->files);
    tg_free(source->path);
    tg_free(source);
}

const struct tg_source_file *tg_source_entry(const struct tg_source *source)
{
    return &source->entry->public;
}

const struct tg_source_file *tg_source_find(const struct tg_source *source, const char *module)
{
    size_t low = 0, high = source->file_count;

    while (low < high) { /* the first of equal names */
        size_t middle = low + (high - low) / 2;
        if (strcmp(source->files[middle].public.module, module) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == source->file_count || strcmp(source->files[low].public.module, module) != 0)
        return NULL;
    return &source->files[low].public;
}

const char *tg_source_path(const struct tg_source *source)
{
    return source->path;
}

const struct tg_source_file *tg_source_at(const struct tg_source *source, size_t index)
{
    return index < source->file_count ? &source->files[index].public : NULL;
}

/* --- the version -------------------------------------------------------------------------------- */

void tg_source_mark_used(struct tg_source *source, const struct tg_source_file *file)
{
    if (source->sealed)
        return;
    for (size_t i = 0; i < source->file_count; i++) {
        if (&source->files[i].public == file)
            source->files[i].used = true;
    }
}

/* Names and lengths go in, too: the same bytes cut differently are another policy. */
static void add_to_hash(struct tg_buffer *all, const struct tg_source_file *file)
{
    uint8_t digest[TG_SHA256_SIZE];

    tg_sha256(file->data, file->len, digest);
    if (tg_buffer_append(all, digest, sizeof digest) != TG_ERR_OK ||
        tg_buffer_append(all, file->module, strlen(file->module) + 1) != TG_ERR_OK)
        abort(); /* a few bytes a file, at load time */
}

void tg_source_seal(struct tg_source *source)
{
    struct tg_buffer all = TG_BUFFER_INIT;
    uint8_t digest[TG_SHA256_SIZE];

    if (source->sealed)
        return;
    for (size_t i = 0; i < source->file_count; i++) {
        if (source->files[i].used)
            add_to_hash(&all, &source->files[i].public);
    }
    tg_sha256(tg_buffer_head(&all), all.len, digest);
    for (size_t i = 0; i < VERSION_DIGITS / 2; i++)
        (void)snprintf(source->version + 2 * i, 3, "%02x", digest[i]);
    source->sealed = true;
    tg_buffer_fini(&all);
}

const char *tg_source_version(const struct tg_source *source)
{
    return source->version;
}
