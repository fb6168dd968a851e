/* ctl_request.h - what `tidegate ctl` asks over HTTP, and of whom. */
#ifndef TG_APP_CTL_REQUEST_H
#define TG_APP_CTL_REQUEST_H

#include "app/ctl/ctl_options.h"
#include "base/buffer.h"
#include "base/error.h"

/* Texts end with a NUL. */
struct tg_ctl_request {
    const char *method;
    struct tg_buffer address; /* for people: "127.0.0.1:9180" */
    struct tg_buffer url;
    struct tg_buffer body;  /* JSON, or empty; without a NUL */
    struct tg_buffer token; /* empty: none; secret */
};

/* Reads the configuration file and the environment. out is zero-initialised. */
TG_MUST enum tg_err tg_ctl_request_make(const struct tg_ctl_options *options,
                                        struct tg_ctl_request *out, struct tg_error *error);
void tg_ctl_request_fini(struct tg_ctl_request *request);

#endif
