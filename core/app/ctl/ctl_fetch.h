/* ctl_fetch.h - one HTTP request, answered before the function returns. */
#ifndef TG_APP_CTL_FETCH_H
#define TG_APP_CTL_FETCH_H

#include <stdbool.h>

#include "app/ctl/ctl_request.h"
#include "base/buffer.h"
#include "base/error.h"

struct tg_ctl_answer {
    int status;
    struct tg_buffer body; /* owned */
};

/* On an error nothing was answered, and error says why. out is zero-initialised. */
TG_MUST enum tg_err tg_ctl_fetch(const struct tg_ctl_request *request, struct tg_ctl_answer *out,
                                 struct tg_error *error);

#endif
