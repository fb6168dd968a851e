/* connect.h - the flags of `tidegate connect`, for its help. */
#ifndef TG_APP_CONNECT_H
#define TG_APP_CONNECT_H

#include "app/arguments.h"

extern const struct tg_flag tg_connect_flags[];

#endif
