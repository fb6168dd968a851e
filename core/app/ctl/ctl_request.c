/* ctl_request.c - where the admin interface is, and the request to it.
 *
 * Where: --admin, else TIDEGATE_ADMIN, else the file of --config, else the default, as `run` decides on
 * where it listens; the token alike. A server that listens on every address is asked on loopback.
 */
#include "app/ctl/ctl_request.h"

#include <stdlib.h>
#include <string.h>

#include "app/config_sources.h"
#include "base/json_writer.h"
#include "base/memory.h"

/* Also as `run` prints it: http://ADDR:PORT. */
static enum tg_err set_admin(struct tg_config *config, const char *text, struct tg_error *error)
{
    const size_t scheme = sizeof "http://" - 1;
    char *address = tg_xstrdup(strncmp(text, "http://", scheme) == 0 ? text + scheme : text);
    size_t len = strlen(address);
    enum tg_err err;

    if (len > 0 && address[len - 1] == '/')
        address[len - 1] = '\0';
    err = tg_config_set_text(config, TG_SOURCE_FLAG, "admin", address, error);
    tg_free(address);
    return err;
}

/* Sets `admin` and the token as the configuration and what overrides it say. */
static enum tg_err configure(struct tg_config *config, const struct tg_ctl_options *options,
                             struct tg_error *error)
{
    const char *admin = options->admin != NULL ? options->admin : getenv("TIDEGATE_ADMIN");
    const char *token = options->token != NULL ? options->token : getenv("TIDEGATE_ADMIN_TOKEN");
    enum tg_err err = tg_config_read_file(config, options->config, error);

    if (err == TG_ERR_OK && admin != NULL && admin[0] != '\0')
        err = set_admin(config, admin, error);
    if (err == TG_ERR_OK && token != NULL && token[0] != '\0')
        err = tg_config_set_text(config, TG_SOURCE_FLAG, "admin_token", token, error);
    return err;
}

static bool begins_with_host(const char *address, const char *host)
{
    size_t len = strlen(host);
    return strncmp(address, host, len) == 0 && address[len] == ':';
}

static enum tg_err find_address(const char *admin, struct tg_buffer *out, struct tg_error *error)
{
    const char *port = strrchr(admin, ':');
    const char *host = NULL;

    if (port == NULL)
        return tg_error_set(error, TG_ERR_INVALID,
                            "the configuration has no admin listener (admin = \"off\")");
    if (strtoul(port + 1, NULL, 10) == 0)
        return tg_error_set(error, TG_ERR_INVALID,
                            "with port 0 the server picks one and prints it as `admin http://…`; "
                            "say --admin with that");
    if (port == admin || begins_with_host(admin, "0.0.0.0"))
        host = "127.0.0.1";
    else if (begins_with_host(admin, "[::]"))
        host = "[::1]";
    if (host == NULL)
        return tg_buffer_append(out, admin, strlen(admin) + 1);
    return tg_buffer_printf(out, "%s%s%c", host, port, '\0');
}

static enum tg_err append_encoded(struct tg_buffer *url, const char *value)
{
    static const char unreserved[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    enum tg_err err = TG_ERR_OK;

    for (; *value != '\0' && err == TG_ERR_OK; value++)
        err = strchr(unreserved, *value) != NULL
                  ? tg_buffer_append(url, value, 1)
                  : tg_buffer_printf(url, "%%%02X", (unsigned)(unsigned char)*value);
    return err;
}

static enum tg_err append_query(struct tg_buffer *url, char *separator, const char *name,
                                const char *value)
{
    enum tg_err err;

    if (value == NULL)
        return TG_ERR_OK;
    err = tg_buffer_printf(url, "%c%s=", *separator, name);
    *separator = '&';
    return err == TG_ERR_OK ? append_encoded(url, value) : err;
}

static enum tg_err write_url(const struct tg_ctl_options *options, struct tg_ctl_request *out)
{
    const char *path = options->action->path;
    const char *id = strstr(path, "%s");
    char separator = '?';
    int before = (int)(id == NULL ? strlen(path) : (size_t)(id - path));
    enum tg_err err = tg_buffer_printf(&out->url, "http://%s%.*s",
                                       (const char *)tg_buffer_head(&out->address), before, path);

    if (err == TG_ERR_OK && id != NULL)
        err = append_encoded(&out->url, options->words[0]);
    if (err == TG_ERR_OK && id != NULL)
        err = tg_buffer_append_str(&out->url, id + 2);
    if (err == TG_ERR_OK)
        err = append_query(&out->url, &separator, "state", options->state);
    if (err == TG_ERR_OK)
        err = append_query(&out->url, &separator, "user", options->user);
    if (err == TG_ERR_OK)
        err = append_query(&out->url, &separator, "limit", options->limit);
    return err == TG_ERR_OK ? tg_buffer_append(&out->url, "", 1) : err;
}

static enum tg_err write_body(const struct tg_ctl_options *options, struct tg_buffer *out)
{
    struct tg_json_writer w = tg_json_writer_on(out);

    enum tg_ctl_what what = options->action->what;
    bool closes = what == TG_CTL_CLOSE || what == TG_CTL_CLOSE_USER;

    if (!(closes && options->word_count > 1) && what != TG_CTL_TICKET && options->ttl == NULL)
        return TG_ERR_OK;
    tg_json_begin_object(&w);
    if (closes)
        tg_json_member_uint(&w, "code", strtoul(options->words[1], NULL, 10));
    if (closes && options->word_count > 2)
        tg_json_member_str(&w, "reason", options->words[2]);
    if (what == TG_CTL_TICKET)
        tg_json_member_str(&w, "user_id", options->words[0]);
    if (options->origin != NULL)
        tg_json_member_str(&w, "origin", options->origin);
    if (options->ttl != NULL)
        tg_json_member_real(&w, "ttl", options->ttl_seconds);
    tg_json_end_object(&w);
    return tg_json_writer_failed(&w) ? TG_ERR_NOMEM : TG_ERR_OK;
}

static enum tg_err write_request(const struct tg_ctl_options *options,
                                 const struct tg_config *config, struct tg_ctl_request *out,
                                 struct tg_error *error)
{
    enum tg_err err = find_address(config->admin, &out->address, error);

    if (err == TG_ERR_INVALID)
        return err;
    if (err == TG_ERR_OK && config->admin_token != NULL)
        err = tg_buffer_append(&out->token, config->admin_token, strlen(config->admin_token) + 1);
    if (err == TG_ERR_OK)
        err = write_url(options, out);
    if (err == TG_ERR_OK)
        err = write_body(options, &out->body);
    return err == TG_ERR_OK ? err : tg_error_set(error, err, "out of memory");
}

enum tg_err tg_ctl_request_make(const struct tg_ctl_options *options, struct tg_ctl_request *out,
                                struct tg_error *error)
{
    struct tg_config config;
    enum tg_err err;

    tg_config_init(&config);
    out->method = options->action->method;
    err = configure(&config, options, error);
    if (err == TG_ERR_OK)
        err = write_request(options, &config, out, error);
    tg_config_fini(&config);
    return err;
}

void tg_ctl_request_fini(struct tg_ctl_request *request)
{
    tg_buffer_fini(&request->address);
    tg_buffer_fini(&request->url);
    tg_buffer_fini(&request->body);
    tg_buffer_fini(&request->token);
}
