/* secure.h - what a connection has to do with TLS. Only for the files of this folder. */
#ifndef TG_CONNECTION_SECURE_H
#define TG_CONNECTION_SECURE_H

#include "connection/connection_internal.h"

/* The request with what TLS knows of its sender. NULL: out of memory. */
TG_MUST struct tg_request *tg__secure_request(const struct tg_conn *conn,
                                              struct tg_request_about *about);
/* Counts and logs it when the connection ends before its TLS handshake does. */
void tg__secure_failed(struct tg_conn *conn, const char *why);

#endif
