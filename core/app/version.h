/* version.h - which build this is. */
#ifndef TG_APP_VERSION_H
#define TG_APP_VERSION_H

/* Commit and build type, such as "1a2b3c4 RelWithDebInfo". Static text. */
const char *tg_build_text(void);

#endif
