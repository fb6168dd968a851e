/* tls_certificate.c - whom a certificate is for, and what it says, as JSON.
 *
 * Names are read from the raw SANs here and not by the library, whose versions know different kinds of
 * them. What a certificate says becomes an identity, so whatever could be read in two ways is left out:
 * a NUL or a control character inside a text, text that is not UTF-8, a second CN.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/hash.h"
#include "base/json_writer.h"
#include "base/utf8.h"
#include "net/tls_internal.h"

/* GeneralName (RFC 5280 §4.2.1.6), implicitly tagged. */
enum { SAN_EMAIL = 0x81, SAN_DNS = 0x82, SAN_URI = 0x86, SAN_IP = 0x87 };

#define DN_SIZE 1024
#define IP4_SIZE 4
#define IP6_SIZE 16

static bool is_text(const mbedtls_x509_buf *buf)
{
    for (size_t i = 0; i < buf->len; i++)
        if (buf->p[i] < ' ' || buf->p[i] == 0x7f)
            return false;
    return buf->len > 0 && tg_utf8_valid(buf->p, buf->len);
}

/* The next SAN of a kind, after `at` or from the start. The first item of the list is there, empty,
 * when there are none. */
static const mbedtls_x509_sequence *next_san(const mbedtls_x509_crt *certificate,
                                             const mbedtls_x509_sequence *at, int kind)
{
    at = at == NULL ? &certificate->subject_alt_names : at->next;
    while (at != NULL && (at->buf.tag != kind || at->buf.p == NULL))
        at = at->next;
    return at;
}

/* The one CN, or NULL. */
static const mbedtls_x509_buf *common_name(const mbedtls_x509_crt *certificate)
{
    const mbedtls_x509_buf *found = NULL;
    for (const mbedtls_x509_name *part = &certificate->subject; part != NULL; part = part->next) {
        if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &part->oid) != 0)
            continue;
        if (found != NULL)
            return NULL;
        found = &part->val;
    }
    bool readable =
        found != NULL &&
        (found->tag == MBEDTLS_ASN1_UTF8_STRING || found->tag == MBEDTLS_ASN1_PRINTABLE_STRING ||
         found->tag == MBEDTLS_ASN1_IA5_STRING) &&
        is_text(found);
    return readable ? found : NULL;
}

/* A wildcard stands for one whole label, the first (RFC 6125 §6.4.3). */
static bool name_fits(const mbedtls_x509_buf *pattern, const char *name, size_t len, bool wildcards)
{
    const char *text = (const char *)pattern->p;
    size_t text_len = pattern->len;
    if (!is_text(pattern))
        return false;
    if (text_len > 2 && text[0] == '*' && text[1] == '.') {
        const char *dot = memchr(name, '.', len);
        if (!wildcards || dot == NULL || dot == name)
            return false;
        len -= (size_t)(dot - name);
        name = dot;
        text++;
        text_len--;
    }
    return text_len == len && strncasecmp(text, name, len) == 0;
}

bool tg__tls_is_for_name(const mbedtls_x509_crt *certificate, const char *name, size_t len,
                         bool wildcards)
{
    const mbedtls_x509_sequence *san = next_san(certificate, NULL, SAN_DNS);
    if (san == NULL) {
        const mbedtls_x509_buf *cn = common_name(certificate);
        return cn != NULL && name_fits(cn, name, len, wildcards);
    }
    for (; san != NULL; san = next_san(certificate, san, SAN_DNS))
        if (name_fits(&san->buf, name, len, wildcards))
            return true;
    return false;
}

bool tg__tls_is_for_address(const mbedtls_x509_crt *certificate, const uint8_t *address, size_t len)
{
    const mbedtls_x509_sequence *san = NULL;
    while ((san = next_san(certificate, san, SAN_IP)) != NULL)
        if (san->buf.len == len && memcmp(san->buf.p, address, len) == 0)
            return true;
    return false;
}

static void write_text_sans(struct tg_json_writer *w, const mbedtls_x509_crt *certificate,
                            const char *key, int kind)
{
    const mbedtls_x509_sequence *san = NULL;
    tg_json_key(w, key);
    tg_json_begin_array(w);
    while ((san = next_san(certificate, san, kind)) != NULL)
        if (is_text(&san->buf))
            tg_json_strn(w, (const char *)san->buf.p, san->buf.len);
    tg_json_end_array(w);
}

static void write_ip_sans(struct tg_json_writer *w, const mbedtls_x509_crt *certificate)
{
    const mbedtls_x509_sequence *san = NULL;
    char text[INET6_ADDRSTRLEN];
    tg_json_key(w, "ip");
    tg_json_begin_array(w);
    while ((san = next_san(certificate, san, SAN_IP)) != NULL) {
        bool known = san->buf.len == IP4_SIZE || san->buf.len == IP6_SIZE;
        int family = san->buf.len == IP4_SIZE ? AF_INET : AF_INET6;
        if (known && inet_ntop(family, san->buf.p, text, sizeof text) != NULL)
            tg_json_str(w, text);
    }
    tg_json_end_array(w);
}

static void write_hex(struct tg_json_writer *w, const char *key, const uint8_t *bytes, size_t len)
{
    char text[2 * 64 + 1] = "";
    if (len > sizeof text / 2)
        len = sizeof text / 2;
    for (size_t i = 0; i < len; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    tg_json_member_str(w, key, text);
}

static void write_name(struct tg_json_writer *w, const char *key, const mbedtls_x509_name *name)
{
    char text[DN_SIZE];
    int len = mbedtls_x509_dn_gets(text, sizeof text, name);
    if (len > 0 && tg_utf8_valid(text, (size_t)len))
        tg_json_member_str(w, key, text);
}

static void write_time(struct tg_json_writer *w, const char *key, const mbedtls_x509_time *time)
{
    struct tm parts = {
        .tm_year = time->year - 1900,
        .tm_mon = time->mon - 1,
        .tm_mday = time->day,
        .tm_hour = time->hour,
        .tm_min = time->min,
        .tm_sec = time->sec,
    };
    tg_json_key(w, key);
    tg_json_int(w, timegm(&parts));
}

enum tg_err tg__tls_write_certificate(const mbedtls_x509_crt *certificate, struct tg_buffer *out)
{
    struct tg_json_writer w = tg_json_writer_on(out);
    const mbedtls_x509_buf *cn = common_name(certificate);
    uint8_t fingerprint[TG_SHA256_SIZE];
    tg_sha256(certificate->raw.p, certificate->raw.len, fingerprint);
    tg_json_begin_object(&w);
    write_name(&w, "subject", &certificate->subject);
    if (cn != NULL) {
        tg_json_key(&w, "subject_cn");
        tg_json_strn(&w, (const char *)cn->p, cn->len);
    }
    write_name(&w, "issuer", &certificate->issuer);
    write_hex(&w, "serial", certificate->serial.p, certificate->serial.len);
    tg_json_key(&w, "sans");
    tg_json_begin_object(&w);
    write_text_sans(&w, certificate, "dns", SAN_DNS);
    write_text_sans(&w, certificate, "email", SAN_EMAIL);
    write_text_sans(&w, certificate, "uri", SAN_URI);
    write_ip_sans(&w, certificate);
    tg_json_end_object(&w);
    write_hex(&w, "fingerprint_sha256", fingerprint, sizeof fingerprint);
    write_time(&w, "not_before", &certificate->valid_from);
    write_time(&w, "not_after", &certificate->valid_to);
    tg_json_member_bool(&w, "verified", true);
    tg_json_end_object(&w);
    return tg_json_writer_failed(&w) ? TG_ERR_NOMEM : TG_ERR_OK;
}
