/* simulation_http.h - an HTTP client without a network: requests wait until somebody answers them, piece by
 * piece, on the clock of a simulation.
 */
#ifndef TG_APP_SIMULATION_HTTP_H
#define TG_APP_SIMULATION_HTTP_H

#include "net/http_client.h"
#include "net/timer.h"
#include "script/testing/backend.h"

/* timers: manual; borrowed until destroy. Destroyed with tg_http_client_destroy. */
TG_MUST enum tg_err tg_sim_http_create(struct tg_http_client **out, struct tg_timers *timers);

/* As next_fetch and answer in struct tg_testing_backend. */
size_t tg_sim_http_next(struct tg_http_client *client, const struct tg_fetch_request **request);
bool tg_sim_http_is_asked(const struct tg_http_client *client); /* next would find one */
TG_MUST enum tg_err tg_sim_http_answer(struct tg_http_client *client, size_t number,
                                       const struct tg_sim_piece *piece);

#endif
