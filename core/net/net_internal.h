/* net_internal.h - what listener.c needs of stream.c and nobody else may see.
 */
#ifndef TG_NET_NET_INTERNAL_H
#define TG_NET_NET_INTERNAL_H

#include "base/error.h"
#include "net/stream.h"

/* A stream over a connected socket. Takes `fd`, also on error. */
TG_MUST enum tg_err tg__stream_adopt(struct tg_stream **out, struct tg_net *net, int fd);

struct sockaddr_storage;
/* "127.0.0.1:80" or "[::1]:80"; false when the family is neither. */
bool tg__address_format(const struct sockaddr_storage *address, char out[TG_ADDRESS_SIZE]);

#endif
