/* spec_state.h - runs specs: busted in a Lua state of its own, with all standard libraries, that is trusted
 * and no policy. Policies under test have states of their own, in simulated hosts.
 */
#ifndef TG_SCRIPT_TESTING_SPEC_STATE_H
#define TG_SCRIPT_TESTING_SPEC_STATE_H

#include <stddef.h>

#include "base/error.h"
#include "script/testing/backend.h"

/* All borrowed for the call. */
struct tg_specs {
    const char *const *paths; /* files and folders; none: what is below the current folder */
    size_t path_count;
    const char *const *arguments; /* for busted itself */
    size_t argument_count;
    const struct tg_testing_backend *backend;
};

/* *status: 0 when all is well, 1 when not; what was wrong has been printed. TG_ERR_SCRIPT: our own Lua failed,
 * error says how. */
TG_MUST enum tg_err tg_specs_run(const struct tg_specs *specs, int *status, struct tg_error *error);

#endif
