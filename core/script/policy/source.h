/* source.h - an unchanging snapshot of a policy's files, shared by all workers of one reload.
 *
 * Read once, on the main thread, so that every worker builds its generation from the same bytes even
 * while somebody saves a file. Counted (atomically); immutable after tg_source_seal.
 */
#ifndef TG_SCRIPT_SOURCE_H
#define TG_SCRIPT_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "connection/connection.h" /* TG_POLICY_VERSION_SIZE */

struct tg_source;

struct tg_source_file {
    const char *module; /* "users.store": the name that require takes (users/store.lua or
                         * users/store/init.lua); the entry file is "" */
    const char *path;   /* as people should see it in errors: below the path as they gave it */
    const char *data;
    size_t len;
};

/* Reads `path`: a file name.lua (with the *.lua files beside it as its modules) or a folder with
 * init.lua (with all *.lua below it). Specs (*_spec.lua) are no part of it. At most 1,000 files and
 * 16 MiB. error names the file. */
TG_MUST enum tg_err tg_source_read(struct tg_source **out, const char *path,
                                   struct tg_error *error);
/* The same from memory, copied: files of a folder, "init.lua" among them. */
struct tg_source_text {
    const char *path; /* "users/store.lua" */
    const char *data;
    size_t len;
};
TG_MUST enum tg_err tg_source_from_texts(struct tg_source **out, const char *name,
                                         const struct tg_source_text *texts, size_t count,
                                         struct tg_error *error);
struct tg_source *tg_source_retain(struct tg_source *source);
void tg_source_release(struct tg_source *source); /* NULL is allowed */

const struct tg_source_file *tg_source_entry(const struct tg_source *source);
/* NULL when the policy has no such module. */
const struct tg_source_file *tg_source_find(const struct tg_source *source, const char *module);
const char *tg_source_path(const struct tg_source *source);
/* All files, sorted by module; NULL past the last. */
const struct tg_source_file *tg_source_at(const struct tg_source *source, size_t index);

/* The same modules with the same contents. */
bool tg_source_equals(const struct tg_source *a, const struct tg_source *b);

/* Fixes the version: a short hash over the contents of the files marked as used. What comes after the
 * seal changes nothing. */
void tg_source_mark_used(struct tg_source *source, const struct tg_source_file *file);
bool tg_source_is_used(const struct tg_source *source, const struct tg_source_file *file);
void tg_source_seal(struct tg_source *source);
const char *tg_source_version(
    const struct tg_source *source); /* 12 hex digits; "" before the seal */

#endif
