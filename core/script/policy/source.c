/* source.c - a policy's files in memory: who counts them, which are found, what their version is.
 *
 * I1  Files are sorted by module (source_read.c).
 * I2  After the seal nothing but the count changes; before it, one thread uses the source.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/hash.h"
#include "base/memory.h"
#include "script/policy/source_internal.h"

#define VERSION_DIGITS 12

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

static bool same_file(const struct tg_source_file *a, const struct tg_source_file *b)
{
    return a->len == b->len && strcmp(a->module, b->module) == 0 &&
           (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

bool tg_source_equals(const struct tg_source *a, const struct tg_source *b)
{
    if (a->file_count != b->file_count)
        return false;
    for (size_t i = 0; i < a->file_count; i++) {
        if (!same_file(&a->files[i].public, &b->files[i].public))
            return false;
    }
    return true;
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

bool tg_source_is_used(const struct tg_source *source, const struct tg_source_file *file)
{
    for (size_t i = 0; i < source->file_count; i++) {
        if (&source->files[i].public == file)
            return source->files[i].used;
    }
    return false;
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
