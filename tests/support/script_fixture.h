/* script_fixture.h - a policy in a temporary folder, a loop, a meter, and calls into the policy whose end
 * a test can look at.
 */
#ifndef TG_TESTS_SCRIPT_FIXTURE_H
#define TG_TESTS_SCRIPT_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <uv.h>

#include "script/call/call.h"
#include "script/policy/generation.h"

struct script_fixture {
    char dir[64]; /* removed at the end */
    uv_loop_t loop;
    uv_timer_t tick;
    struct tg_script_env env;
    struct tg_source *source;
    struct tg_generation *generation;
    struct tg_error error; /* of the last load that failed */

    /* How the last call ended. */
    int done; /* calls that ended since fixture_reset */
    enum tg_call_outcome outcome;
    int results;
    char result[512]; /* the first result as text */
    char text[512];
    char traceback[4096];
};

/* Starts the watchdog, the loop and the meter (50 ms, 16 MiB); no policy yet. */
void fixture_open(struct script_fixture *fx);
/* A meter with another budget, for what ThreadSanitizer makes slow: twenty times as long under it. Before the
 * first policy. */
void fixture_set_budget(struct script_fixture *fx, uint64_t ms);
/* Fails the test when a call is under way, the main stack is not empty or the loop will not close. */
void fixture_close(struct script_fixture *fx);

/* For cmocka_unit_test_prestate_setup_teardown, with the fixture as the state. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Writes dir/name (making folders), and gives the whole path. */
const char *fixture_write(struct script_fixture *fx, const char *name, const char *text);
/* Writes policy.lua and loads it in place of what was loaded. */
enum tg_err fixture_load(struct script_fixture *fx, const char *text);
/* The same, with `body` as the hook `message(conn, ...)`; fails the test when it does not load. */
void fixture_load_body(struct script_fixture *fx, const char *body);

/* Calls the hook `message` with one argument: a C function that waits (see fixture_wake), wall_ms as
 * budget. NULL when the call has ended already. */
struct tg_call *fixture_call(struct script_fixture *fx, uint64_t wall_ms);
/* load_body and call: ends at once. */
void fixture_run(struct script_fixture *fx, const char *body);

/* The last wait that began: wake it with a number, or see whether it was cancelled. */
extern struct tg_call *fixture_waiting;
extern int fixture_waits, fixture_cancels;
void fixture_wake(double value);

/* Runs the loop until so many calls have ended, at most twenty seconds. */
void fixture_loop_until(struct script_fixture *fx, int done);

#define assert_text_has(text, part)                                                                \
    do {                                                                                           \
        if (strstr((text), (part)) == NULL)                                                        \
            fail_msg("\"%s\" is not in \"%s\"", (part), (text));                                   \
    } while (0)

#endif
