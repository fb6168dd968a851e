/* process_program.c - which files may become processes, and what of the server's environment they may see.
 *
 * Who writes a policy says what it wants to run; who runs the server has said, by absolute paths, what may be
 * run. What runs is always the operator's own path: nothing that happens in a policy's folder between this
 * look and the start can put another file in its place.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "net/process.h"

#define PATH_DEFAULT "/usr/local/bin:/usr/bin:/bin"

/* --- programs ----------------------------------------------------------------------------------- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

static bool is_program(const char *path)
{
    struct stat facts;

    return stat(path, &facts) == 0 && S_ISREG(facts.st_mode) && access(path, X_OK) == 0;
}

static bool same_file(const char *a, const char *b)
{
    char real_a[PATH_MAX];
    char real_b[PATH_MAX];

    return realpath(a, real_a) != NULL && realpath(b, real_b) != NULL &&
           strcmp(real_a, real_b) == 0;
}

/* The file that a word with a slash means. */
static const char *locate(const char *word, const char *folder, char out[PATH_MAX])
{
    bool fits = true;

    if (word[0] == '/' || folder == NULL)
        fits = snprintf(out, PATH_MAX, "%s", word) < PATH_MAX;
    else
        fits = snprintf(out, PATH_MAX, "%s/%s", folder, word) < PATH_MAX;
    return fits ? out : "";
}

/* Where a shell would find the name; "" when it would not. For hints only. */
static const char *look_up(const char *name, char out[PATH_MAX])
{
    const char *path = getenv("PATH");

    for (path = path == NULL ? PATH_DEFAULT : path; *path != '\0';) {
        size_t len = strcspn(path, ":");
        if (snprintf(out, PATH_MAX, "%.*s/%s", (int)len, path, name) < PATH_MAX && out[0] == '/' &&
            is_program(out))
            return out;
        path += len + (path[len] == ':' ? 1 : 0);
    }
    return "";
}

static enum tg_err refuse(const char *word, const char *hint, struct tg_error *error)
{
    return tg_error_set(
        error, TG_ERR_INVALID,
        "\"%.120s\" may not be run: only programs that the configuration names, by their "
        "paths, in agents.processes are started, such as --set "
        "agents.processes=%.200s",
        word, hint[0] == '/' ? hint : "/usr/bin/python3");
}

enum tg_err tg_program_find(const char *word, const char *folder, const char *const *allowed,
                            size_t allowed_count, const char **out, struct tg_error *error)
{
    char path[PATH_MAX];
    bool is_name = strchr(word, '/') == NULL;
    const char *file = is_name ? "" : locate(word, folder, path);
    const char *found = NULL;

    for (size_t i = 0; i < allowed_count && found == NULL; i++)
        if (strcmp(is_name ? base_name(allowed[i]) : allowed[i], is_name ? word : file) == 0)
            found = allowed[i];
    for (size_t i = 0; i < allowed_count && found == NULL && !is_name; i++)
        if (same_file(file, allowed[i]))
            found = allowed[i];
    if (found == NULL)
        return refuse(word, is_name ? look_up(word, path) : file, error);
    if (!is_program(found))
        return tg_error_set(error, TG_ERR_NOT_FOUND,
                            "%.300s, which agents.processes allows, is no program: %s", found,
                            access(found, X_OK) != 0 ? strerror(errno) : "not a file");
    *out = found;
    return TG_ERR_OK;
}

/* --- the environment ---------------------------------------------------------------------------- */

/* Everything else stays here, TIDEGATE_* above all: it holds the policy's secrets and the admin's token. */
static const char *const passed_on[] = {
    "PATH",     "HOME",   "USER",     "LOGNAME",    "LANG",
    "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_COLLATE", "LC_MESSAGES",
    "TZ",       "TMPDIR", "LC_TIME",  "LC_NUMERIC", "LC_MONETARY",
};

static enum tg_err add(struct tg_buffer *out, const char *name, const char *value)
{
    enum tg_err err = tg_buffer_append_str(out, name);

    if (err == TG_ERR_OK)
        err = tg_buffer_append(out, "=", 1);
    return err == TG_ERR_OK ? tg_buffer_append(out, value, strlen(value) + 1) : err;
}

enum tg_err tg_process_environment(struct tg_buffer *out)
{
    /* Python keeps lines to itself when it writes to a pipe, unless told otherwise. */
    enum tg_err err = add(out, "PYTHONUNBUFFERED", "1");

    if (err == TG_ERR_OK && getenv("PATH") == NULL)
        err = add(out, "PATH", PATH_DEFAULT);
    for (size_t i = 0; i < sizeof passed_on / sizeof passed_on[0] && err == TG_ERR_OK; i++) {
        const char *value = getenv(passed_on[i]);
        if (value != NULL)
            err = add(out, passed_on[i], value);
    }
    return err;
}
