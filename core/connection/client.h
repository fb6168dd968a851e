/* client.h - who the client of a connection is, through proxies, and whether it may come. Only for the files
 * of this folder.
 *
 *   peer not trusted ──> the peer is the client: admitted on accept
 *   trusted, proxy_protocol ──> PROXY header: its source, admitted then; or it is a proxy as well:
 *   trusted ──> Forwarded, X-Forwarded-For of the head: admitted once the head is in
 */
#ifndef TG_CONNECTION_CLIENT_H
#define TG_CONNECTION_CLIENT_H

#include "connection/connection_internal.h"

/* Before there is a connection. True: it has entered, and been admitted when its address is known already.
 * Else *why and *wait_ms (0: unknown) say what to answer. */
TG_MUST bool tg__client_enter(struct tg_hub *hub, const struct tg_address *peer,
                              enum tg_refusal *why, uint64_t *wait_ms);
/* Undoes it when the connection could not be made. */
void tg__client_abandon(struct tg_hub *hub, const struct tg_address *peer);
/* On a fresh connection whose peer has entered. */
TG_MUST enum tg_err tg__client_begin(struct tg_conn *conn, const struct tg_address *peer);
/* No PROXY header is awaited (any more). */
void tg__client_forget_proxy(struct tg_conn *conn);
/* When the connection is over. */
void tg__client_end(struct tg_conn *conn);

/* Takes the PROXY header off the front. False: it is not complete, or the connection has been refused. */
TG_MUST bool tg__client_read_proxy(struct tg_conn *conn, const uint8_t **data, size_t *len);
/* The head is in: the client as far as it can be known. False: refused. *secure: a proxy says that the client
 * spoke TLS to it. */
TG_MUST bool tg__client_from_head(struct tg_conn *conn, bool *secure);
/* The last word, before anything is asked of the policy. False: refused. */
TG_MUST bool tg__client_admit(struct tg_conn *conn);

/* Status, body and header lines of an answer to one that may not come. */
struct tg_refusal_answer {
    int status;
    const char *text; /* static */
    char extra[48];
};
struct tg_refusal_answer tg__refusal_answer(enum tg_refusal why, uint64_t wait_ms);
void tg__count_refusal(struct tg_hub *hub, enum tg_refusal why);

/* turn_away.c: answers a peer that is no connection and never will be; takes the stream. */
void tg__turn_away(struct tg_hub *hub, struct tg_stream *stream, const struct tg_address *peer,
                   enum tg_refusal why, uint64_t wait_ms);
/* Closes those that are still reading their answer. */
void tg__turn_away_end(struct tg_hub *hub);

#endif
