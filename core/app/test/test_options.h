/* test_options.h - the flags of `tidegate test`. */
#ifndef TG_APP_TEST_OPTIONS_H
#define TG_APP_TEST_OPTIONS_H

#include "app/arguments.h"

extern const struct tg_flag tg_test_flags[];

#endif
