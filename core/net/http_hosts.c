/* http_hosts.c - which hosts may be asked, over HTTP or as WebSockets: http.allowed_hosts. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "net/http_client.h"

/* The part of an entry before its port; *port is 0 without one. */
static size_t split_port(const char *entry, unsigned long *port)
{
    size_t len = strlen(entry);
    const char *colon = strrchr(entry, ':');
    bool bare_v6 = entry[0] != '[' && colon != NULL && strchr(entry, ':') != colon;

    *port = 0;
    if (colon == NULL || bare_v6 || colon[1] == '\0' ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return len;
    *port = strtoul(colon + 1, NULL, 10);
    return (size_t)(colon - entry);
}

static bool matches(const char *entry, size_t len, const char *host, size_t host_len)
{
    if (len > 2 && entry[0] == '[' && entry[len - 1] == ']') {
        entry++;
        len -= 2;
    }
    if (len > 1 && entry[0] == '*' && entry[1] == '.') {
        entry++; /* ".example": any name below it, and not itself */
        len--;
        return host_len > len && strncasecmp(host + host_len - len, entry, len) == 0;
    }
    return host_len == len && strncasecmp(host, entry, len) == 0;
}

bool tg_fetch_host_allowed(const struct tg_http_client_options *options, const char *host,
                           uint16_t port, bool secure)
{
    size_t host_len = strlen(host);

    if (host_len > 1 && host[host_len - 1] == '.')
        host_len--;
    for (size_t i = 0; i < options->allowed_host_count; i++) {
        unsigned long wanted;
        const char *entry = options->allowed_hosts[i];
        size_t len = split_port(entry, &wanted);
        bool port_fits = wanted != 0 ? wanted == port : port == (secure ? 443 : 80);
        if (port_fits && matches(entry, len, host, host_len))
            return true;
    }
    return options->allowed_host_count == 0;
}
