/* source_read.c - reads a policy's files into memory, once.
 *
 *     policy.lua    entry policy.lua, modules: the *.lua beside it
 *     policy/       entry policy/init.lua, modules: the *.lua below it, at any depth
 *
 * I1  Files are sorted by module; where two files have one name (x.lua, x/init.lua), the first wins, as
 *     in Lua's own search.
 * I2  Specs (*_spec.lua) are left out.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "script/policy/source_internal.h"

#define FILES_MAX 1000
#define BYTES_MAX ((size_t)16 << 20)
#define DEPTH_MAX 16
#define PATH_BYTES_MAX 4096

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);

    return len >= end_len && memcmp(text + len - end_len, end, end_len) == 0;
}

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
    struct tg__source_file *files = tg_realloc(source->files, capacity * sizeof *files);
    if (files == NULL)
        return tg_error_set(error, TG_ERR_NOMEM, "%s: out of memory", source->path);
    source->files = files;
    source->capacity = capacity;
    return TG_ERR_OK;
}

/* Takes the content, also on an error. `module` is its name for require; "" for the entry. */
static enum tg_err add_content(struct tg_source *source, const char *path, const char *module,
                               struct tg_buffer *content, struct tg_error *error)
{
    struct tg__source_file file = {.entry = module[0] == '\0'};
    size_t len;

    file.public.data = tg_buffer_detach(content, &len);
    file.public.len = len;
    file.public.path = tg_strndup(path, strlen(path));
    file.public.module = tg_strndup(module, strlen(module));
    source->files[source->file_count++] = file;
    source->bytes += len;
    tg_buffer_fini(content);
    if (file.public.data == NULL || file.public.path == NULL || file.public.module == NULL)
        return tg_error_set(error, TG_ERR_NOMEM, "%s: out of memory", path);
    return TG_ERR_OK;
}

static enum tg_err add_file(struct tg_source *source, const char *path, const char *module,
                            struct tg_error *error)
{
    struct tg_buffer content = TG_BUFFER_INIT;

    enum tg_err err = grow(source, error);
    if (err != TG_ERR_OK)
        return err;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1)
        return tg_error_set(error, TG_ERR_SYS, "%s: %s", path, strerror(errno));
    err = read_all(fd, path, BYTES_MAX - source->bytes, &content, error);
    (void)close(fd);
    if (err == TG_ERR_OK)
        return add_content(source, path, module, &content, error);
    tg_buffer_fini(&content);
    return err;
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
    if (!S_ISREG(status.st_mode) || !ends_with(path, ".lua") || ends_with(path, "_spec.lua"))
        return TG_ERR_OK; /* specs are about the policy, not a part of it */
    if (strcmp(below, walk->entry_name) == 0)
        module[0] = '\0';
    else
        module_name(below, module, sizeof module);
    return add_file(walk->source, path, module, walk->error);
}

/* ThreadSanitizer does not see the descriptor that opendir opens, and takes it for one that another thread
 * has had under that number. */
static DIR *open_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd == -1 ? NULL : fdopendir(fd);
    if (dir == NULL && fd != -1)
        (void)close(fd);
    return dir;
}

static enum tg_err walk_folder(const struct walk *walk, const char *folder, int depth)
{
    char path[PATH_BYTES_MAX];
    enum tg_err err = TG_ERR_OK;
    struct dirent *entry;

    DIR *dir = open_folder(folder[0] == '\0' ? "." : folder);
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
    const struct tg__source_file *x = a, *y = b;
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

static struct tg_source *create(const char *path)
{
    struct tg_source *source = tg_calloc(1, sizeof *source);

    if (source == NULL)
        return NULL;
    atomic_init(&source->count, 1);
    source->path = tg_strndup(path, strlen(path));
    if (source->path != NULL)
        return source;
    tg_source_release(source);
    return NULL;
}

enum tg_err tg_source_read(struct tg_source **out, const char *path, struct tg_error *error)
{
    struct tg_source *source = create(path);

    if (source == NULL)
        return tg_error_set(error, TG_ERR_NOMEM, "%s: out of memory", path);
    enum tg_err err = read_files(source, error);
    if (err != TG_ERR_OK) {
        tg_source_release(source);
        return err;
    }
    *out = source;
    return TG_ERR_OK;
}

static enum tg_err add_text(struct tg_source *source, const struct tg_source_text *text,
                            struct tg_error *error)
{
    struct tg_buffer content = TG_BUFFER_INIT;
    char module[PATH_BYTES_MAX] = "";

    enum tg_err err = grow(source, error);
    if (err != TG_ERR_OK)
        return err;
    if (!ends_with(text->path, ".lua") || strlen(text->path) >= sizeof module)
        return tg_error_set(error, TG_ERR_INVALID, "\"%.60s\" is no name of a Lua file",
                            text->path);
    if (strcmp(text->path, "init.lua") != 0)
        module_name(text->path, module, sizeof module);
    err = tg_buffer_append(&content, text->data, text->len);
    if (err != TG_ERR_OK)
        return tg_error_set(error, err, "%s: out of memory", text->path);
    return add_content(source, text->path, module, &content, error);
}

enum tg_err tg_source_from_texts(struct tg_source **out, const char *name,
                                 const struct tg_source_text *texts, size_t count,
                                 struct tg_error *error)
{
    struct tg_source *source = create(name);
    enum tg_err err =
        source == NULL ? tg_error_set(error, TG_ERR_NOMEM, "%s: out of memory", name) : TG_ERR_OK;

    for (size_t i = 0; i < count && err == TG_ERR_OK; i++)
        err = add_text(source, &texts[i], error);
    if (err == TG_ERR_OK)
        err = find_entry(source, error);
    if (err != TG_ERR_OK) {
        tg_source_release(source);
        return err;
    }
    *out = source;
    return TG_ERR_OK;
}
