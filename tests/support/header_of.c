/* header_of.c - a header of a kept request by its name. */
#include "support/header_of.h"

#include <string.h>

const char *header_of(const struct tg_request *request, const char *name)
{
    static struct tg_request_header header; /* its value may be in it */

    for (size_t cursor = 0; tg_request_next_header(request, &cursor, &header);)
        if (strcmp(header.name, name) == 0)
            return header.value;
    return NULL;
}
