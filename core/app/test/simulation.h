/* simulation.h - a worker without a thread, a socket or a listener, for tests of policies and for
 * prototypes: the real hub, runs and script host on a loop that somebody else turns.
 *
 * Only three things are not real: what carries the bytes of clients (net/memory_stream.h), the clock, and
 * HTTP upstreams (simulation_http.h). In a live simulation, the clock and upstreams are real, too.
 */
#ifndef TG_APP_SIMULATION_H
#define TG_APP_SIMULATION_H

#include "ops/config.h"
#include "script/testing/backend.h"

struct uv_loop_s;
struct tg_host;

/* All functions of the table are those below. */
extern const struct tg_testing_backend tg_simulation_backend;

/* Live: with the system's clocks and the network's HTTP client, on a loop that the caller runs. on_turn comes
 * in each turn of the loop after everything has moved. Logs go where the process's go. */
struct tg_sim_live {
    void (*on_turn)(void *ctx);
    void *ctx;
};
/* Starts, with a configuration that is complete; takes its content. */
TG_MUST enum tg_err tg_sim_create_live(struct tg_sim **out, struct tg_config *config,
                                       const struct tg_sim_live *live, struct tg_error *error);
struct uv_loop_s *tg_sim_loop(struct tg_sim *sim);
struct tg_host *tg_sim_host(struct tg_sim *sim);

TG_MUST enum tg_err tg_sim_create(struct tg_sim **out, uint64_t wall_ms, struct tg_error *error);
TG_MUST enum tg_err tg_sim_set(struct tg_sim *sim, const struct tg_config_leaf *leaf,
                               struct tg_error *error);
TG_MUST enum tg_err tg_sim_start(struct tg_sim *sim, struct tg_error *error);
void tg_sim_destroy(struct tg_sim *sim); /* NULL is allowed */

TG_MUST enum tg_err tg_sim_load(struct tg_sim *sim, struct tg_source *source,
                                struct tg_error *error);
TG_MUST enum tg_err tg_sim_rollback(struct tg_sim *sim, struct tg_error *error);
const char *tg_sim_version(const struct tg_sim *sim);
void tg_sim_drain(struct tg_sim *sim);

enum tg_sim_rest tg_sim_advance(struct tg_sim *sim, uint64_t ms, uint64_t *left_ms);
uint64_t tg_sim_wall_ms(const struct tg_sim *sim);

TG_MUST enum tg_err tg_sim_connect(struct tg_sim *sim, const struct tg_sim_connect *options,
                                   size_t *number, struct tg_error *error);
void tg_sim_client_facts(struct tg_sim *sim, size_t number, struct tg_sim_facts *out);
bool tg_sim_client_header(struct tg_sim *sim, size_t number, size_t i, const char **name,
                          const char **value);
bool tg_sim_client_send(struct tg_sim *sim, size_t number, bool text, const void *data, size_t len);
bool tg_sim_client_close(struct tg_sim *sim, size_t number, int code, const char *reason);
void tg_sim_client_drop(struct tg_sim *sim, size_t number);
void tg_sim_client_stall(struct tg_sim *sim, size_t number, size_t window);
void tg_sim_client_resume(struct tg_sim *sim, size_t number);
bool tg_sim_client_take(struct tg_sim *sim, size_t number, bool *text, struct tg_buffer *out);

size_t tg_sim_next_fetch(struct tg_sim *sim, const struct tg_fetch_request **request);
TG_MUST enum tg_err tg_sim_answer(struct tg_sim *sim, size_t number,
                                  const struct tg_sim_piece *piece);
bool tg_sim_next_websocket(struct tg_sim *sim, struct tg_sim_ws_news *out);
TG_MUST enum tg_err tg_sim_answer_websocket(struct tg_sim *sim, size_t number,
                                            const struct tg_sim_piece *piece);

bool tg_sim_next_process(struct tg_sim *sim, struct tg_sim_process_news *out);
TG_MUST enum tg_err tg_sim_play_process(struct tg_sim *sim, size_t number,
                                        const struct tg_sim_act *act);

TG_MUST enum tg_err tg_sim_metrics(struct tg_sim *sim, struct tg_buffer *out);
const char *tg_sim_log_line(const struct tg_sim *sim, size_t i);

#endif
