/* jwt_internal.h - what the files behind jwt.h share. */
#ifndef TG_PROTO_JWT_INTERNAL_H
#define TG_PROTO_JWT_INTERNAL_H

#include "proto/jwt_key.h"

/* `json` is one object, at most TG_JWT_DEPTH_MAX deep, in which no object names a member twice.
 * TG_ERR_INVALID: it is not; TG_ERR_NOMEM. */
TG_MUST enum tg_err tg__jwt_parse_object(const struct tg_buffer *json, struct tg_json_value *out);

/* Every algorithm that the key's kind and size allow. */
uint32_t tg__jwt_key_fitting(const struct tg_jwt_key *key);

#endif
