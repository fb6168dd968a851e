/* simulation_process.h - processes that somebody plays: what a policy starts and writes becomes news, and what
 * they write is put in piece by piece, on the clock of a simulation.
 */
#ifndef TG_APP_SIMULATION_PROCESS_H
#define TG_APP_SIMULATION_PROCESS_H

#include "net/process.h"
#include "net/timer.h"
#include "script/testing/backend.h"

/* timers: manual; borrowed until destroy. Destroyed with tg_processes_destroy. */
TG_MUST enum tg_err tg_sim_processes_create(struct tg_processes **out, struct tg_timers *timers);

/* As next_process and play_process in struct tg_testing_backend. */
bool tg_sim_processes_next(struct tg_processes *from, struct tg_sim_process_news *out);
bool tg_sim_processes_have_news(const struct tg_processes *from);
TG_MUST enum tg_err tg_sim_processes_play(struct tg_processes *from, size_t number,
                                          const struct tg_sim_act *act);

#endif
