/* config.h - every option of Tidegate: its name, kind, default and meaning, as rows of one table.
 *
 * The only place that knows all options. Modules get their own small option structs, filled from
 * here by app/. `--help`, the man page, unknown-key hints and the environment names all come from
 * the same rows. Precedence (flags > environment > file > default) is kept per key, so that sources
 * may be applied in any order.
 */
#ifndef TG_OPS_CONFIG_H
#define TG_OPS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"
#include "base/rate.h"
#include "net/tls_config.h"

enum tg_config_source { TG_SOURCE_DEFAULT, TG_SOURCE_FILE, TG_SOURCE_ENV, TG_SOURCE_FLAG };

enum tg_run_on_disconnect { TG_RUN_CANCEL, TG_RUN_FINISH };

/* A list of owned strings. */
struct tg_strings {
    char **items;
    size_t count;
};

/* One leaf of the free `options` table: path below "options" with dots ("upstream.url"). */
enum tg_option_kind { TG_OPTION_STRING, TG_OPTION_NUMBER, TG_OPTION_BOOL };
struct tg_config_option {
    char *path; /* owned */
    enum tg_option_kind kind;
    char *text; /* owned; the value as text ("true", "12.5", "abc") */
    enum tg_config_source source;
};

struct tg_config {
    /* Every field is a row in config.c. Durations in ms, sizes in bytes. Strings are owned. */
    struct tg_strings listen;
    char *admin;       /* "off" or address */
    char *admin_token; /* NULL: none; secret */
    char *policy;
    uint64_t workers; /* 0: one per core */
    struct tg_strings allowed_origins;
    struct tg_strings trusted_proxies; /* ranges, as tg_cidr_parse reads them */
    bool proxy_protocol;
    uint64_t handshake_timeout_ms, auth_timeout_ms, setup_timeout_ms, idle_after_ms;
    uint64_t ping_interval_ms, pong_timeout_ms, close_timeout_ms, message_timeout_ms;
    uint64_t max_message, max_header,
        max_connections; /* max_connections 0: no limit; whole process */
    uint64_t max_connections_per_ip;
    struct tg_rate connection_rate, message_rate;
    uint64_t inbox_messages, inbox_bytes, outbox_bytes, session_bytes;
    uint64_t outbox_timeout_ms;
    uint64_t expiry_notice_ms;
    uint64_t prepare_retry_ms, prepare_retry_max_ms;
    bool compression;
    uint64_t compression_level, compression_memory_level, compression_window_bits;
    uint64_t compression_min_size;
    bool compression_server_takeover, compression_client_takeover;
    uint64_t runs_max_per_connection, runs_max_per_user, runs_max_children, runs_timeout_ms;
    enum tg_run_on_disconnect runs_on_disconnect;
    struct tg_strings agents_processes; /* absolute paths */
    uint64_t script_cpu_budget_ms, script_wall_budget_ms, script_memory;
    uint64_t http_timeout_ms, http_connect_timeout_ms, http_idle_timeout_ms;
    uint64_t http_max_response, http_max_connections, http_max_connections_per_host;
    bool http_private_addresses;
    struct tg_strings http_allowed_hosts;
    char *http_ca_file; /* or NULL */
    uint64_t kv_memory, kv_max_value;
    uint64_t reload_drain_timeout_ms, reload_max_generations;
    bool watch;
    uint64_t drain_timeout_ms;
    bool strict;
    struct tg_strings tls_certificates, tls_keys; /* files, pairs in order */
    char *tls_client_ca;                          /* file, or NULL */
    enum tg_tls_client_auth tls_client_auth;
    enum tg_tls_version tls_min_version;
    bool tls_session_tickets;
    struct tg_strings tls_ciphers;
    enum tg_log_level log_level;
    enum tg_log_format log_format;

    struct tg_config_option *options; /* owned array, sorted by path */
    size_t options_count;

    void *private_sources; /* owned by config.c: which source set each key */
};

/* A value as the Lua file gives it. Lists arrive as several calls with the same key and index 1…n. */
enum tg_config_value_kind { TG_CONFIG_STRING, TG_CONFIG_NUMBER, TG_CONFIG_BOOL, TG_CONFIG_TABLE };
struct tg_config_value {
    enum tg_config_value_kind kind;
    const char *string; /* kind STRING */
    double number;
    bool flag;
};

/* Defaults. Never fails (start-up memory). */
void tg_config_init(struct tg_config *config);
void tg_config_fini(struct tg_config *config);

/* One key from text: a `--set KEY=VALUE` flag or the environment. Lists: comma-separated. On
 * TG_ERR_INVALID error names the key, what was wrong, the nearest valid key, and what a good value
 * looks like; the configuration is unchanged. Secrets are not repeated in errors. */
TG_MUST enum tg_err tg_config_set_text(struct tg_config *config, enum tg_config_source source,
                                       const char *key, const char *value, struct tg_error *error);

/* One leaf from the configuration file. `key` is the dotted path, `index` the place in a list (0 when
 * it is no list element), `where` "file:line". */
TG_MUST enum tg_err tg_config_set_value(struct tg_config *config, const char *key, size_t index,
                                        const struct tg_config_value *value, const char *where,
                                        struct tg_error *error);

/* Appends one more `listen` address from a flag (the first replaces what lower sources gave). */
TG_MUST enum tg_err tg_config_add_listen(struct tg_config *config, const char *address,
                                         struct tg_error *error);

/* Takes every TIDEGATE_* variable: TIDEGATE_LIMITS_MAX_MESSAGE -> limits.max_message,
 * TIDEGATE_OPTIONS_API_KEY -> options.api_key. An unknown one is an error as an unknown key is. */
TG_MUST enum tg_err tg_config_read_environment(struct tg_config *config, char *const *environment,
                                               struct tg_error *error);

/* Checks what concerns several keys at once (an admin address that is no loopback needs admin_token,
 * 1 <= workers <= 255, …). */
TG_MUST enum tg_err tg_config_validate(const struct tg_config *config, struct tg_error *error);

/* The address of one `listen` item, without the scheme that may stand before it. */
enum tg_listen_scheme { TG_LISTEN_EITHER, TG_LISTEN_WS, TG_LISTEN_WSS };
const char *tg_config_listen_address(const char *item, enum tg_listen_scheme *scheme);

/* The word of tls.client_auth: "none", "optional" or "required". */
const char *tg_config_client_auth_text(const struct tg_config *config);

/* All option rows for --help and the man page. */
struct tg_config_row {
    const char *key;
    const char *value_hint; /* "DURATION", "SIZE", "ADDR:PORT", … */
    const char *default_text;
    const char *help;
};
size_t tg_config_rows(const struct tg_config_row **rows);

#endif
