/* http_client_curl_url.c - URLs, taken apart by the same parser that fetches them: no two readings of one.
 */
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "base/memory.h"
#include "net/http_client_internal.h"

/* A part as our own text, or NULL; *code is set when it is not OK. */
static char *part_of(CURLU *url, CURLUPart part, unsigned flags, CURLUcode *code)
{
    char *text = NULL;

    if (*code == CURLUE_OK)
        *code = curl_url_get(url, part, &text, flags);
    char *copy = *code == CURLUE_OK ? tg_strndup(text, strlen(text)) : NULL;
    if (*code == CURLUE_OK && copy == NULL)
        *code = CURLUE_OUT_OF_MEMORY;
    curl_free(text);
    return copy;
}

/* Takes user and password away; false when there were any. */
static bool strip_user(CURLU *url)
{
    char *user = NULL;
    char *password = NULL;
    bool none = curl_url_get(url, CURLUPART_USER, &user, 0) == CURLUE_NO_USER &&
                curl_url_get(url, CURLUPART_PASSWORD, &password, 0) == CURLUE_NO_PASSWORD;

    curl_free(user);
    curl_free(password);
    (void)curl_url_set(url, CURLUPART_USER, NULL, 0);
    (void)curl_url_set(url, CURLUPART_PASSWORD, NULL, 0);
    (void)curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
    return none;
}

static CURLUcode take_apart(struct tg__url *out, CURLU *url)
{
    CURLUcode code = CURLUE_OK;
    char *scheme = part_of(url, CURLUPART_SCHEME, 0, &code);
    char *port = part_of(url, CURLUPART_PORT, CURLU_DEFAULT_PORT, &code);

    out->host = part_of(url, CURLUPART_HOST, CURLU_PUNYCODE, &code);
    out->text = part_of(url, CURLUPART_URL, 0, &code);
    if (code == CURLUE_OK) {
        out->https = strcmp(scheme, "https") == 0;
        if (!out->https && strcmp(scheme, "http") != 0)
            code = CURLUE_UNSUPPORTED_SCHEME;
        out->port = (uint16_t)strtoul(port, NULL, 10);
        tg_fetch_host(out->text, out->name);
    }
    tg_free(scheme);
    tg_free(port);
    return code;
}

static void lower_host(char *host)
{
    size_t len = strlen(host);

    if (host[0] == '[' && host[len - 1] == ']') {
        memmove(host, host + 1, len - 2);
        host[len - 2] = '\0';
    }
    for (; *host != '\0'; host++) {
        if (*host >= 'A' && *host <= 'Z')
            *host = (char)(*host + ('a' - 'A'));
    }
}

enum tg_err tg__url_parse(struct tg__url *out, const char *base, const char *text)
{
    CURLU *url = curl_url();
    CURLUcode code = url == NULL ? CURLUE_OUT_OF_MEMORY : CURLUE_OK;
    struct tg__url parsed = {.text = NULL};

    if (code == CURLUE_OK && base != NULL)
        code = curl_url_set(url, CURLUPART_URL, base, 0);
    if (code == CURLUE_OK)
        code = curl_url_set(url, CURLUPART_URL, text, CURLU_URLENCODE | CURLU_ALLOW_SPACE);
    /* A redirect's password is dropped, a request's is a mistake. */
    if (code == CURLUE_OK && !strip_user(url) && base == NULL)
        code = CURLUE_USER_NOT_ALLOWED;
    if (code == CURLUE_OK)
        code = take_apart(&parsed, url);
    curl_url_cleanup(url);
    if (code != CURLUE_OK) {
        tg__url_fini(&parsed);
        return code == CURLUE_OUT_OF_MEMORY ? TG_ERR_NOMEM : TG_ERR_INVALID;
    }
    lower_host(parsed.host);
    *out = parsed;
    return TG_ERR_OK;
}

void tg__url_fini(struct tg__url *url)
{
    tg_free(url->text);
    tg_free(url->host);
    url->text = NULL;
    url->host = NULL;
}
