/* http_headers.c - the list of names, as texts with their lengths. */
#include "proto/http_headers.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

static const char *const names[TG_HEADERS] = {"",
#define X(number, name) name,
                                              TG_HEADER_MAP(X)
#undef X
};

/* A name of another length is passed over without a look at it. */
static const uint8_t lengths[TG_HEADERS] = {0,
#define X(number, name) sizeof(name) - 1,
                                            TG_HEADER_MAP(X)
#undef X
};

enum tg_header tg_header_number(const char *name, size_t len)
{
    for (enum tg_header i = TG_HEADER_OTHER + 1; i < TG_HEADERS; i++) {
        if (lengths[i] == len && memcmp(names[i], name, len) == 0)
            return i;
    }
    return TG_HEADER_OTHER;
}

const char *tg_header_name(enum tg_header number)
{
    assert(number < TG_HEADERS);
    return names[number];
}
