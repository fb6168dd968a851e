/* agent_result.h - what an agent returned: a response with details, or why there is none.
 *
 *     return response                      agent_completed
 *     return response, { usage = … }       with the table's fields beside `response` in data
 *     return nil, "why"                    agent_error, code "agent_failed"
 *     return nil, "why", "code"            agent_error with that code
 *
 * Other second values than these are ignored: `return text:gsub(…)` returns a count that nobody means.
 */
#ifndef TG_SCRIPT_AGENT_RESULT_H
#define TG_SCRIPT_AGENT_RESULT_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"
#include "script/call/call.h"

#define TG_AGENT_CODE_SIZE 65
#define TG_AGENT_MESSAGE_SIZE 513

struct tg_agent_result {
    bool failed;                         /* code and message count, else the others */
    char code[TG_AGENT_CODE_SIZE];       /* lower-case letters, digits and _ */
    char message[TG_AGENT_MESSAGE_SIZE]; /* for the client */
    struct tg_buffer response;           /* JSON; owned */
    struct tg_buffer details;            /* a JSON object, or empty; owned */
};

/* Reads the `count` values on top of the call's coroutine. Anything but TG_CALL_OK: the result is none of
 * the above, and error says why. Afterwards, in any case, tg_agent_result_fini. */
TG_MUST enum tg_call_outcome tg_agent_result_read(struct tg_call *call, int count,
                                                  struct tg_agent_result *result,
                                                  struct tg_error *error);
void tg_agent_result_fini(struct tg_agent_result *result);

#endif
