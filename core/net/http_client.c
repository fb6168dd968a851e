/* http_client.c - what all HTTP clients share: the names of outcomes, and who a URL speaks of. */
#include "net/http_client.h"

#include <string.h>

const char *const tg_fetch_outcome_names[TG_FETCH_OUTCOMES] = {
#define X(name, text) text,
    TG_FETCH_OUTCOME_MAP(X)
#undef X
};

void tg_fetch_host(const char *url, char out[TG_FETCH_HOST_SIZE])
{
    const char *start = strstr(url, "://");
    size_t used = 0;

    start = start == NULL ? url : start + 3;
    size_t len = strcspn(start, "/?#\\");
    for (size_t i = 0; i < len; i++) {
        if (start[i] == '@') /* what is before it may be a password */
            used = 0;
        else if (used < TG_FETCH_HOST_SIZE - 1)
            out[used++] = (unsigned char)start[i] > ' ' && start[i] != 0x7f ? start[i] : '?';
    }
    out[used] = '\0';
}
