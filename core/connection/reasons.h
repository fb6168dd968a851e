/* reasons.h - a number of eight bits for each static text that names a transition.
 *
 * Every connection keeps its last transitions with their reasons, and there are some dozens of these in
 * the whole program: a number is seven bytes less than a pointer, twelve times in each connection.
 */
#ifndef TG_CONNECTION_REASONS_H
#define TG_CONNECTION_REASONS_H

#include <stdint.h>

/* The same number for the same pointer, from any thread and for ever. `reason` is static text. */
uint8_t tg__reason_number(const char *reason);
/* Static. */
const char *tg__reason_text(uint8_t number);

#endif
