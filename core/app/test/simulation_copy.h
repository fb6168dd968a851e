/* simulation_copy.h - what a simulated upstream keeps: requests, and pieces of answers. */
#ifndef TG_APP_SIMULATION_COPY_H
#define TG_APP_SIMULATION_COPY_H

#include "base/list.h"
#include "script/testing/backend.h"

struct tg__sim_piece {
    struct tg_list node;
    struct tg_sim_piece what; /* headers and data point into this block */
    char bytes[];
};

/* All texts are in the block that begins with the method: it is freed by that. Without ca_file. */
TG_MUST enum tg_err tg__sim_copy_request(const struct tg_fetch_request *from,
                                         struct tg_fetch_request *out);
/* NULL: out of memory. Freed with tg_free. */
TG_MUST struct tg__sim_piece *tg__sim_copy_piece(const struct tg_sim_piece *from);

#endif
