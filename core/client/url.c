/* url.c - reads a ws:// or wss:// URL (RFC 6455 §3) strictly: what cannot be sent as it stands is
 * refused with the way to write it.
 */
#include "client/url.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static enum tg_err refuse(struct tg_error *error, const char *what)
{
    return tg_error_set(error, TG_ERR_INVALID, "%s", what);
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncasecmp(text, prefix, strlen(prefix)) == 0;
}

static enum tg_err skip_scheme(const char **text, bool *secure, struct tg_error *error)
{
    *secure = starts_with(*text, "wss://");
    if (*secure || starts_with(*text, "ws://")) {
        *text += strlen(*secure ? "wss://" : "ws://");
        return TG_ERR_OK;
    }
    if (starts_with(*text, "http://"))
        return refuse(error, "the URL of a WebSocket starts with ws://, not http://");
    if (starts_with(*text, "https://"))
        return refuse(error, "the URL of a WebSocket starts with wss://, not https://");
    return refuse(error, "the URL needs a scheme: ws://HOST:PORT/PATH");
}

static enum tg_err check_characters(const char *text, struct tg_error *error)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '#')
            return refuse(error, "a WebSocket URL has no #fragment; write # as %23");
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f)
            return refuse(error,
                          "the URL holds a blank or a character that must be written as %XX");
    }
    return TG_ERR_OK;
}

/* [start, end) is "host", "host:port", "[v6]" or "[v6]:port". Sets the host; *port is where the port's
 * digits begin, or `end`. */
static enum tg_err split_host(const char *start, const char *end, struct tg_ws_url *out,
                              const char **port, struct tg_error *error)
{
    const char *host_end;
    size_t len;

    if (start < end && *start == '[') {
        host_end = memchr(start, ']', (size_t)(end - start));
        if (host_end == NULL)
            return refuse(error, "the IPv6 address has no closing bracket");
        start++;
        *port = host_end + 1;
    } else {
        host_end = memchr(start, ':', (size_t)(end - start));
        if (host_end == NULL)
            host_end = end;
        else if (memchr(host_end + 1, ':', (size_t)(end - host_end - 1)) != NULL)
            return refuse(error, "an IPv6 address needs brackets: ws://[::1]:8080/");
        *port = host_end;
    }
    len = (size_t)(host_end - start);
    if (len == 0)
        return refuse(error, "the URL has no host: ws://HOST:PORT/PATH");
    if (len > TG_URL_HOST_MAX)
        return refuse(error, "the host name is too long");
    memcpy(out->host, start, len);
    out->host[len] = '\0';
    if (*port < end && **port != ':')
        return refuse(error, "between the address and the path only :PORT may stand");
    if (*port < end)
        ++*port;
    else
        *port = NULL;
    return TG_ERR_OK;
}

static uint16_t default_port(const struct tg_ws_url *url)
{
    return url->secure ? 443 : 80;
}

static enum tg_err read_port(const char *digits, const char *end, struct tg_ws_url *out,
                             struct tg_error *error)
{
    unsigned long port = 0;

    if (digits == NULL) {
        out->port = default_port(out);
        return TG_ERR_OK;
    }
    for (const char *c = digits; c < end && port <= 65535; c++) {
        if (!isdigit((unsigned char)*c))
            return refuse(error, "the port must be a number from 1 to 65535");
        port = port * 10 + (unsigned long)(*c - '0');
    }
    if (port == 0 || port > 65535)
        return refuse(error, "the port must be a number from 1 to 65535");
    out->port = (uint16_t)port;
    return TG_ERR_OK;
}

enum tg_err tg_ws_url_parse(const char *text, struct tg_ws_url *out, struct tg_error *error)
{
    const char *end;
    const char *port = NULL;
    enum tg_err err = skip_scheme(&text, &out->secure, error);

    if (err == TG_ERR_OK)
        err = check_characters(text, error);
    if (err != TG_ERR_OK)
        return err;
    end = text + strcspn(text, "/?");
    if (memchr(text, '@', (size_t)(end - text)) != NULL)
        return refuse(error, "a WebSocket URL carries no user and password; send them in a header");
    err = split_host(text, end, out, &port, error);
    if (err == TG_ERR_OK)
        err = read_port(port, end, out, error);
    if (err != TG_ERR_OK)
        return err;
    if (strlen(end) + 1 > TG_URL_TARGET_MAX)
        return refuse(error, "the path is too long");
    snprintf(out->target, sizeof out->target, "%s%s", *end == '/' ? "" : "/", end);
    bool v6 = strchr(out->host, ':') != NULL;
    snprintf(out->authority, sizeof out->authority, "%s%s%s", v6 ? "[" : "", out->host,
             v6 ? "]" : "");
    if (out->port != default_port(out)) {
        size_t len = strlen(out->authority);
        snprintf(out->authority + len, sizeof out->authority - len, ":%u", (unsigned)out->port);
    }
    return TG_ERR_OK;
}
