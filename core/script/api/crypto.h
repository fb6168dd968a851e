/* crypto.h - the module tidegate.crypto. */
#ifndef TG_SCRIPT_API_CRYPTO_H
#define TG_SCRIPT_API_CRYPTO_H

struct lua_State;

int tg_crypto_open(struct lua_State *L);

#endif
