/* crypto_password.c - passwords at rest: `pbkdf2-sha256:ITERATIONS:SALT:HASH`, both in base64url.
 *
 *     called ─[few iterations]─> done          called ─> suspended ─[slice, slice, …]─> woken, done
 *
 * A hash that is worth something takes longer than a script may compute, and than others should wait. So it is
 * made a slice at a time, from the loop, while the script is suspended.
 *
 * I1  One slice is SLICE iterations: a few milliseconds on a slow machine.
 * I2  The password is nowhere but in the script's own text and in the work, which is overwritten.
 */
#include "script/api/crypto_password.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/base64.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/password.h"
#include "base/random.h"
#include "script/api/api.h"
#include "script/call/call.h"

#define SCHEME "pbkdf2-sha256"
#define SLICE 4096
#define ITERATIONS_MIN 1000
#define ITERATIONS_DEFAULT 600000
#define ITERATIONS_MAX 10000000
#define SALT_SIZE 16
#define SALT_SIZE_MAX 64
#define PASSWORD_BYTES_MAX 1024
#define TEXT_SIZE 256

struct job {
    struct tg_timer timer;
    struct tg_call *call;          /* borrowed: it ends the job before it ends */
    struct tg_password_work *work; /* owned */
    bool verify;
    uint8_t expected[TG_PASSWORD_HASH_SIZE]; /* verify */
    uint8_t salt[SALT_SIZE_MAX];
    size_t salt_len;
    uint32_t iterations;
};

static void destroy_job(struct job *job)
{
    tg_password_destroy(job->work);
    explicit_bzero(job, sizeof *job);
    tg_free(job);
}

static void write_base64url(const uint8_t *bytes, size_t len, char out[TEXT_SIZE])
{
    struct tg_buffer text = TG_BUFFER_INIT;
    if (tg_base64url_encode(bytes, len, &text) != TG_ERR_OK)
        abort(); /* some ninety bytes */
    (void)snprintf(out, TEXT_SIZE, "%.*s", (int)text.len, (const char *)tg_buffer_head(&text));
    tg_buffer_fini(&text);
}

struct answer {
    bool verify, good;
    char text[3 * TEXT_SIZE];
};

/* What the job came to; the job is gone. */
static struct answer finish_job(struct job *job)
{
    struct answer answer = {.verify = job->verify};
    uint8_t hash[TG_PASSWORD_HASH_SIZE];
    tg_password_result(job->work, hash);
    if (job->verify) {
        answer.good = tg_equal_constant_time(hash, sizeof hash, job->expected, sizeof hash);
    } else {
        char salt[TEXT_SIZE];
        char digest[TEXT_SIZE];
        write_base64url(job->salt, job->salt_len, salt);
        write_base64url(hash, sizeof hash, digest);
        (void)snprintf(answer.text, sizeof answer.text, SCHEME ":%u:%s:%s",
                       (unsigned)job->iterations, salt, digest);
    }
    explicit_bzero(hash, sizeof hash);
    destroy_job(job);
    return answer;
}

static int push_answer(lua_State *L)
{
    const struct answer *answer = lua_touserdata(L, 1);
    if (answer->verify)
        lua_pushboolean(L, answer->good);
    else
        lua_pushstring(L, answer->text);
    return 1;
}

static void on_slice(struct tg_timer *timer)
{
    struct job *job = TG_CONTAINER_OF(timer, struct job, timer);
    struct tg_call *call = job->call;
    /* A millisecond, so that whatever else the loop has to do comes between two slices. */
    if (tg_password_step(job->work, SLICE) > 0 &&
        tg_timer_start(call->generation->env->timers, timer, 1, on_slice) == TG_ERR_OK)
        return;
    (void)tg_password_step(job->work, UINT32_MAX); /* no memory for a timer: the rest at once */
    struct answer answer = finish_job(job);
    tg_call_wake(call, push_answer, &answer);
}

static void cancel_job(struct tg_call *call, void *wait)
{
    struct job *job = wait;
    tg_timer_stop(call->generation->env->timers, &job->timer);
    destroy_job(job);
}

/* Owns the job from here on. */
static int run_job(lua_State *L, struct job *job, const char *password, size_t len)
{
    job->call = tg_call_current(L);
    job->work = tg_password_create(password, len, job->salt, job->salt_len, job->iterations);
    if (job->work == NULL) {
        destroy_job(job);
        return luaL_error(L, "not enough memory");
    }
    if (tg_password_step(job->work, SLICE) == 0) {
        struct answer answer = finish_job(job);
        if (answer.verify)
            lua_pushboolean(L, answer.good);
        else
            lua_pushstring(L, answer.text);
        return 1;
    }
    if (tg_timer_start(job->call->generation->env->timers, &job->timer, 1, on_slice) != TG_ERR_OK) {
        destroy_job(job);
        return luaL_error(L, "not enough memory");
    }
    return tg_call_suspend(L, cancel_job, job); /* ends the job when it cannot */
}

static const char *check_password(lua_State *L, const char *name, size_t *len)
{
    tg_api_contexts(L, name, TG_IN_CALL);
    if (lua_type(L, 1) != LUA_TSTRING)
        luaL_error(L, "%s: a password (text) expected, got %s", name, tg_api_type_name(L, 1));
    return lua_tolstring(L, 1, len);
}

/* HMAC fills keys up with zeros, so that a password with zeros behind it would be the same. */
static bool is_usable(const char *password, size_t len)
{
    return len <= PASSWORD_BYTES_MAX && memchr(password, 0, len) == NULL;
}

/* crypto.password_hash(password [, iterations]) -> text | nil, why */
static int l_crypto_password_hash(lua_State *L)
{
    static const char name[] = "crypto.password_hash";
    size_t len = 0;
    lua_settop(L, 2);
    const char *password = check_password(L, name, &len);
    lua_Number n = lua_isnil(L, 2) ? ITERATIONS_DEFAULT : lua_tonumber(L, 2);
    if (!(n >= ITERATIONS_MIN && n <= ITERATIONS_MAX) || n != (lua_Number)(uint32_t)n)
        return luaL_error(L, "%s: from %d to %d iterations expected", name, ITERATIONS_MIN,
                          ITERATIONS_MAX);
    if (!is_usable(password, len))
        return tg_api_push_failure(L, "the password is longer than 1024 bytes, or holds a zero");
    struct job *job = tg_calloc(1, sizeof *job);
    if (job == NULL)
        return luaL_error(L, "not enough memory");
    job->iterations = (uint32_t)n;
    job->salt_len = SALT_SIZE;
    tg_random_bytes(job->salt, job->salt_len);
    return run_job(L, job, password, len);
}

/* Decodes what is before `end`; 0: it is malformed, or no `max` bytes hold it. */
static size_t read_base64url(const char *text, const char *end, uint8_t *out, size_t max)
{
    struct tg_buffer bytes = TG_BUFFER_INIT;
    size_t len = 0;
    if (end > text && end - text < TEXT_SIZE &&
        tg_base64url_decode(text, (size_t)(end - text), &bytes) == TG_ERR_OK && bytes.len <= max) {
        len = bytes.len;
        memcpy(out, tg_buffer_head(&bytes), len);
    }
    tg_buffer_fini(&bytes);
    return len;
}

static bool read_hash(const char *text, struct job *job)
{
    char *end = NULL;
    if (strncmp(text, SCHEME ":", sizeof SCHEME) != 0)
        return false;
    text += sizeof SCHEME;
    unsigned long iterations = text[0] >= '1' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;
    if (end == NULL || *end != ':' || iterations < ITERATIONS_MIN || iterations > ITERATIONS_MAX)
        return false;
    job->iterations = (uint32_t)iterations;
    text = end + 1;
    const char *colon = strchr(text, ':');
    if (colon == NULL)
        return false;
    job->salt_len = read_base64url(text, colon, job->salt, sizeof job->salt);
    text = colon + 1;
    return job->salt_len >= 8 && read_base64url(text, text + strlen(text), job->expected,
                                                sizeof job->expected) == sizeof job->expected;
}

/* crypto.password_verify(password, hash) -> boolean | nil, why */
static int l_crypto_password_verify(lua_State *L)
{
    static const char name[] = "crypto.password_verify";
    struct job read = {.verify = true};
    size_t len = 0;
    size_t hash_len = 0;
    lua_settop(L, 2);
    const char *password = check_password(L, name, &len);
    if (lua_type(L, 2) != LUA_TSTRING)
        return luaL_error(L, "%s: a hash (text) expected as argument 2, got %s", name,
                          tg_api_type_name(L, 2));
    const char *hash = lua_tolstring(L, 2, &hash_len);
    if (strlen(hash) != hash_len || !read_hash(hash, &read))
        return tg_api_push_failure(L, "not a hash that crypto.password_hash makes");
    if (!is_usable(password, len)) {
        lua_pushboolean(L, 0);
        return 1;
    }
    struct job *job = tg_calloc(1, sizeof *job);
    if (job == NULL)
        return luaL_error(L, "not enough memory");
    *job = read;
    return run_job(L, job, password, len);
}

static const luaL_Reg functions[] = {
    {"password_hash", l_crypto_password_hash},
    {"password_verify", l_crypto_password_verify},
    {NULL, NULL},
};

void tg_crypto_password_add_functions(lua_State *L)
{
    tg_api_set_functions(L, functions);
}
