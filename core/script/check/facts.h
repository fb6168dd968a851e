/* facts.h - what a policy that loaded is, as plain data for the scan of its text. */
#ifndef TG_SCRIPT_CHECK_FACTS_H
#define TG_SCRIPT_CHECK_FACTS_H

#include "base/buffer.h"
#include "base/error.h"

struct tg_generation;

/* Appends { hooks, agents, declared } in the encoding of plain.h: each hook and agent with the place of its
 * function { path, line, last }, each declared option as path -> true. */
TG_MUST enum tg_err tg_check_facts(struct tg_generation *generation, struct tg_buffer *out,
                                   struct tg_error *error);

#endif
