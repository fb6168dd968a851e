/* header_of.h - a header of a kept request by its name. */
#ifndef TG_TESTS_HEADER_OF_H
#define TG_TESTS_HEADER_OF_H

#include "connection/request.h"

/* First value of a lower-case name, or NULL; valid until the next call. */
const char *header_of(const struct tg_request *request, const char *name);

#endif
