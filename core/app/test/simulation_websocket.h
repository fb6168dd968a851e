/* simulation_websocket.h - outgoing WebSockets without a network: what policies open and send waits until
 * somebody looks at it, and is answered piece by piece, on the clock of a simulation.
 */
#ifndef TG_APP_SIMULATION_WEBSOCKET_H
#define TG_APP_SIMULATION_WEBSOCKET_H

#include "client/ws_client.h"
#include "net/timer.h"
#include "script/testing/backend.h"

/* timers: manual; borrowed until destroy. Destroyed with tg_ws_client_destroy. */
TG_MUST enum tg_err tg_sim_ws_create(struct tg_ws_client **out, struct tg_timers *timers);

/* As next_websocket and answer_websocket in struct tg_testing_backend. */
bool tg_sim_ws_next(struct tg_ws_client *client, struct tg_sim_ws_news *out);
bool tg_sim_ws_has_news(const struct tg_ws_client *client); /* next would find some */
TG_MUST enum tg_err tg_sim_ws_answer(struct tg_ws_client *client, size_t number,
                                     const struct tg_sim_piece *piece);

#endif
