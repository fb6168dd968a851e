/* crypto_password.h - crypto.password_hash and crypto.password_verify.
 */
#ifndef TG_SCRIPT_API_CRYPTO_PASSWORD_H
#define TG_SCRIPT_API_CRYPTO_PASSWORD_H

struct lua_State;

/* Adds both to the table on top. */
void tg_crypto_password_add_functions(struct lua_State *L);

#endif
