/* version.h - which build this is. */
#ifndef TG_APP_VERSION_H
#define TG_APP_VERSION_H

/* Commit and build type, such as "1a2b3c4 RelWithDebInfo". Static text. */
const char *tg_build_text(void);

/* Calls fn for each library with its version at run time. */
void tg_version_each_library(void (*fn)(void *ctx, const char *name, const char *version),
                             void *ctx);

#endif
