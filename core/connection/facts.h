/* facts.h - what is known of who is connected: plain data and the user's name, in one packed block.
 *
 * Each is stored whole, rarely, and is read as long as the connection lives; one block instead of five
 * is what makes an idle client small. What tg_facts_get returns is valid until the next set.
 */
#ifndef TG_CONNECTION_FACTS_H
#define TG_CONNECTION_FACTS_H

#include <stddef.h>

#include "base/error.h"
#include "connection/hooks.h"

enum tg_fact {
    TG_FACT_USER_ID, /* with its NUL */
    TG_FACT_IDENTITY,
    TG_FACT_CONTEXT,
    TG_FACT_SERVICES,
    TG_FACT_SESSION,
    TG_FACTS
};

struct tg_facts; /* NULL: nothing is known. Freed with tg_free. */

/* data NULL when it is not known, or empty. */
struct tg_blob tg_facts_get(const struct tg_facts *facts, enum tg_fact which);
/* Both at once, which is how a connection begins: one block, where two would leave a hole in the heap. */
TG_MUST enum tg_err tg_facts_set_user(struct tg_facts **facts, const char *user_id,
                                      struct tg_blob identity);
/* Copies; `data` may lie in *facts. TG_ERR_NOMEM: all is as it was. */
TG_MUST enum tg_err tg_facts_set(struct tg_facts **facts, enum tg_fact which, const void *data,
                                 size_t len);

#endif
