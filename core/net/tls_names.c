/* tls_names.c - names that people know, for what the library calls otherwise: cipher suites by IANA,
 * errors and alerts in words.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "net/tls_internal.h"

/* "TLS_AES_…" of TLS 1.3 is "TLS1-3-AES-…" there; all others differ by their dashes only. */
#define LIBRARY_1_3 "TLS1-3-"

bool tg__tls_cipher_is_1_3(const char *iana_name)
{
    return strstr(iana_name, "_WITH_") == NULL;
}

int tg__tls_cipher_find(const char *iana_name)
{
    char name[TG__TLS_CIPHER_SIZE];
    const char *rest = iana_name;
    size_t len = 0;
    if (strncmp(iana_name, "TLS_", 4) != 0 || strlen(iana_name) + 4 > sizeof name)
        return 0;
    if (tg__tls_cipher_is_1_3(iana_name)) {
        len = strlen(LIBRARY_1_3);
        memcpy(name, LIBRARY_1_3, len);
        rest = iana_name + 4;
    }
    for (; *rest != '\0'; rest++)
        name[len++] = *rest == '_' ? '-' : *rest;
    name[len] = '\0';
    return mbedtls_ssl_get_ciphersuite_id(name);
}

void tg__tls_cipher_name(const char *library_name, char out[TG__TLS_CIPHER_SIZE])
{
    bool is_1_3 = strncmp(library_name, LIBRARY_1_3, strlen(LIBRARY_1_3)) == 0;
    (void)snprintf(out, TG__TLS_CIPHER_SIZE, "%s%s", is_1_3 ? "TLS_" : "",
                   library_name + (is_1_3 ? strlen(LIBRARY_1_3) : 0));
    for (char *c = out; *c != '\0'; c++)
        if (*c == '-')
            *c = '_';
}

/* What most often goes wrong, in words that say who should do what. */
static const struct {
    int result;
    const char *text;
} results[] = {
    {MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE, "the client gave no certificate"},
    {MBEDTLS_ERR_SSL_INVALID_RECORD, "what the peer sends is not TLS"},
    {MBEDTLS_ERR_SSL_INVALID_MAC, "a record cannot be decrypted"},
    {MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE, "the peer sent a message out of turn"},
    {MBEDTLS_ERR_SSL_ALLOC_FAILED, "out of memory"},
#if TG_TLS_LIBRARY_3
    {MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION, "no TLS version that both sides speak"},
    {MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE, "no cipher suite or curve that both sides know"},
    {MBEDTLS_ERR_SSL_NO_APPLICATION_PROTOCOL, "the peer does not speak http/1.1 (ALPN)"},
#else
    {MBEDTLS_ERR_SSL_BAD_HS_PROTOCOL_VERSION, "no TLS version that both sides speak"},
    {MBEDTLS_ERR_SSL_NO_CIPHER_CHOSEN, "no cipher suite or curve that both sides know"},
    {MBEDTLS_ERR_SSL_NO_USABLE_CIPHERSUITE, "no cipher suite that goes with our certificates"},
#endif
};

static const struct {
    int code;
    const char *text;
} alerts[] = {
    {MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE, "handshake failure"},
    {MBEDTLS_SSL_ALERT_MSG_BAD_CERT, "bad certificate"},
    {MBEDTLS_SSL_ALERT_MSG_UNSUPPORTED_CERT, "unsupported certificate"},
    {MBEDTLS_SSL_ALERT_MSG_CERT_REVOKED, "certificate revoked"},
    {MBEDTLS_SSL_ALERT_MSG_CERT_EXPIRED, "certificate expired"},
    {MBEDTLS_SSL_ALERT_MSG_CERT_UNKNOWN, "certificate unknown"},
    {MBEDTLS_SSL_ALERT_MSG_UNKNOWN_CA, "unknown CA"},
    {MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED, "access denied"},
    {MBEDTLS_SSL_ALERT_MSG_DECRYPT_ERROR, "decrypt error"},
    {MBEDTLS_SSL_ALERT_MSG_PROTOCOL_VERSION, "protocol version"},
    {MBEDTLS_SSL_ALERT_MSG_INSUFFICIENT_SECURITY, "insufficient security"},
    {MBEDTLS_SSL_ALERT_MSG_INTERNAL_ERROR, "internal error"},
    {MBEDTLS_SSL_ALERT_MSG_UNRECOGNIZED_NAME, "unrecognized name"},
    {MBEDTLS_SSL_ALERT_MSG_NO_APPLICATION_PROTOCOL, "no application protocol"},
    {116, "certificate required"}, /* TLS 1.3; 2.28 has no name for it */
};

static void alert_reason(int code, char out[TG__TLS_REASON_SIZE])
{
    const char *text = "alert";
    for (size_t i = 0; i < sizeof alerts / sizeof alerts[0]; i++)
        if (alerts[i].code == code)
            text = alerts[i].text;
    (void)snprintf(out, TG__TLS_REASON_SIZE, "the peer refused: %s (%d)", text, code);
}

static void certificate_reason(const mbedtls_ssl_context *ssl, char out[TG__TLS_REASON_SIZE])
{
    char why[TG__TLS_REASON_SIZE / 2];
    int len =
        mbedtls_x509_crt_verify_info(why, sizeof why, "; ", mbedtls_ssl_get_verify_result(ssl));
    size_t end = len < 0 ? 0 : (size_t)len;
    while (end > 0 && why[end - 1] == '\n')
        end--;
    for (size_t i = 0; i < end; i++)
        if (iscntrl((unsigned char)why[i]))
            why[i] = ' ';
    (void)snprintf(out, TG__TLS_REASON_SIZE, "the peer's certificate is refused%.*s", (int)end,
                   end == 0 ? "" : why);
}

void tg__tls_reason(const mbedtls_ssl_context *ssl, int result, char out[TG__TLS_REASON_SIZE])
{
    char text[128];
    if (result == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) {
        alert_reason(tg__tls_fatal_alert(ssl), out);
        return;
    }
    if (result == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED) {
        certificate_reason(ssl, out);
        return;
    }
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++)
        if (results[i].result == result) {
            (void)snprintf(out, TG__TLS_REASON_SIZE, "%s", results[i].text);
            return;
        }
    mbedtls_strerror(result, text, sizeof text);
    (void)snprintf(out, TG__TLS_REASON_SIZE, "%s (-0x%04x)", text, (unsigned)-result);
}
