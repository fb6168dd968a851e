/* tls_files.c - PEM files: read whole, parsed, and refused in words that name the file and the cause.
 *
 * What is read is wiped before it is freed, so that a key leaves no copy of its text behind.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "net/tls_internal.h"

#define FILE_MAX (16L << 20)

/* "FILE: what", always an error. */
static enum tg_err refuse(struct tg_error *error, const char *path, const char *what)
{
    (void)tg_error_set(error, TG_ERR_INVALID, "%s: %s", path, what);
    return TG_ERR_INVALID;
}

static enum tg_err refuse_result(struct tg_error *error, const char *path, const char *what,
                                 int result)
{
    char text[128];
    mbedtls_strerror(result, text, sizeof text);
    (void)tg_error_set(error, TG_ERR_INVALID, "%s: %s: %s", path, what, text);
    return TG_ERR_INVALID;
}

static enum tg_err read_all(struct tg__pem *pem, FILE *file, struct tg_error *error)
{
    struct stat info;
    if (fstat(fileno(file), &info) != 0 || !S_ISREG(info.st_mode) || info.st_size > FILE_MAX)
        return refuse(error, pem->path, "is no file of PEM");
    pem->text = tg_calloc(1, (size_t)info.st_size + 1);
    if (pem->text == NULL) {
        (void)tg_error_set(error, TG_ERR_NOMEM, "%s: out of memory", pem->path);
        return TG_ERR_NOMEM;
    }
    pem->size = fread(pem->text, 1, (size_t)info.st_size, file) + 1;
    if (ferror(file))
        return refuse(error, pem->path, "cannot be read");
    if (strstr((const char *)pem->text, "-----BEGIN ") == NULL)
        return refuse(error, pem->path, "holds no PEM (-----BEGIN ...)");
    return TG_ERR_OK;
}

enum tg_err tg__pem_read(struct tg__pem *pem, const char *path, struct tg_error *error)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL)
        return refuse(error, path, strerror(errno));
    pem->path = path;
    enum tg_err err = read_all(pem, file, error);
    (void)fclose(file);
    return err;
}

void tg__pem_fini(struct tg__pem *pem)
{
    if (pem->text != NULL)
        mbedtls_platform_zeroize(pem->text, pem->size);
    tg_free(pem->text);
    *pem = (struct tg__pem){0};
}

enum tg_err tg__pem_parse_certificates(mbedtls_x509_crt *out, const struct tg__pem *pem,
                                       bool lenient, struct tg_error *error)
{
    int result = mbedtls_x509_crt_parse(out, pem->text, pem->size);
    if (result < 0 && strstr((const char *)pem->text, "-----BEGIN CERTIFICATE-----") == NULL)
        return refuse(error, pem->path, "holds no certificate");
    if (result < 0)
        return refuse_result(error, pem->path, "no certificate that can be read", result);
    if (result > 0 && !lenient)
        return refuse(error, pem->path, "some of its certificates cannot be read");
    return TG_ERR_OK;
}

static enum tg_err parse_key(mbedtls_pk_context *out, const struct tg__pem *pem,
                             struct tg_error *error)
{
    int result = tg__tls_parse_key(out, pem->text, pem->size, tg__tls_random);
    if (result == 0)
        return TG_ERR_OK;
    if (result == MBEDTLS_ERR_PK_PASSWORD_REQUIRED)
        return refuse(error, pem->path,
                      "the key is encrypted with a passphrase; give one that is not");
    if (strstr((const char *)pem->text, "PRIVATE KEY-----") == NULL)
        return refuse(error, pem->path, "holds no private key");
    return refuse_result(error, pem->path, "no private key that can be read", result);
}

enum tg_err tg__pem_parse_pair(struct tg__tls_pair *out, const struct tg__pem *certificate,
                               const struct tg__pem *key, struct tg_error *error)
{
    enum tg_err err = tg__pem_parse_certificates(&out->chain, certificate, false, error);
    if (err == TG_ERR_OK)
        err = parse_key(&out->key, key, error);
    if (err != TG_ERR_OK || tg__tls_is_pair(&out->chain, &out->key, tg__tls_random))
        return err;
    (void)tg_error_set(error, TG_ERR_INVALID, "%s: the key does not match the certificate %s",
                       key->path, certificate->path);
    return TG_ERR_INVALID;
}
