/* error.h - the one result type of the core, its classes, and error text for people.
 *
 * Every function that can fail returns an enum tg_err that the caller must look at. The class of an
 * error, not its code, picks the reaction: PEER ends one connection politely, SCRIPT ends it with
 * 1011, LOCAL refuses work and logs. Codes of other libraries are mapped in the one file that
 * includes their header and go no further.
 */
#ifndef TG_BASE_ERROR_H
#define TG_BASE_ERROR_H

#include <stdarg.h>
#include <stddef.h>

#if defined(__GNUC__)
#define TG_MUST __attribute__((warn_unused_result))
#define TG_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))
#else
#define TG_MUST
#define TG_PRINTF(format_index, first)
#endif

/* name, value, class, text */
#define TG_ERR_MAP(X)                                                                              \
    X(OK, 0, NONE, "ok")                                                                           \
    X(CLOSED, -1, NONE, "closed")                                                                  \
    X(LIMIT, -2, PEER, "limit exceeded")                                                           \
    X(PROTO, -3, PEER, "protocol violation")                                                       \
    X(SCRIPT, -4, SCRIPT, "policy raised an error")                                                \
    X(BUDGET, -5, SCRIPT, "policy budget exceeded")                                                \
    X(NOMEM, -6, LOCAL, "out of memory")                                                           \
    X(SYS, -7, LOCAL, "system call failed")                                                        \
    X(INVALID, -8, LOCAL, "invalid argument")                                                      \
    X(NOT_FOUND, -9, NONE, "not found")                                                            \
    X(EXISTS, -10, LOCAL, "already exists")                                                        \
    X(ILLEGAL, -11, LOCAL, "illegal transition")

enum tg_err {
#define X(name, value, class, text) TG_ERR_##name = (value),
    TG_ERR_MAP(X)
#undef X
};

enum tg_err_class { TG_CLASS_NONE, TG_CLASS_PEER, TG_CLASS_SCRIPT, TG_CLASS_LOCAL };

/* An error with text for people. The caller owns it; size is fixed so that failing to make an
 * error message cannot fail. Never holds a secret. */
struct tg_error {
    enum tg_err code;
    char text[512];
};

/* Static text of a code; never NULL. */
const char *tg_err_text(enum tg_err code);

enum tg_err_class tg_err_class_of(enum tg_err code);

/* Fills `error` (NULL is allowed: then only the code is passed through) and returns `code`. Text
 * longer than the field is cut at a UTF-8 boundary. */
enum tg_err tg_error_set(struct tg_error *error, enum tg_err code, const char *format, ...)
    TG_PRINTF(3, 4);

#endif
