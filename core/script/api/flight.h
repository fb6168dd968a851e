/* flight.h - one of many calls does something for all of them while the others wait: keys that every
 * hook needs at once are fetched once. For modules of the library; no script gets a flight.
 */
#ifndef TG_SCRIPT_API_FLIGHT_H
#define TG_SCRIPT_API_FLIGHT_H

struct lua_State;

/* Before the first flight of a new state. */
void tg_flight_open_type(struct lua_State *L);
/* Adds new_flight, begin, wait and land to the table on top. */
void tg_flight_add_functions(struct lua_State *L);

#endif
