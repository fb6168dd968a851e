/* config_test.c - defaults, precedence, every kind of value, and the wording of errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "ops/config.h"

static struct tg_config config;
static struct tg_error error;

static int set_up(void **state)
{
    (void)state;
    tg_config_init(&config);
    error.text[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tg_config_fini(&config);
    return 0;
}

static void set(enum tg_config_source source, const char *key, const char *value)
{
    if (tg_config_set_text(&config, source, key, value, &error) != TG_ERR_OK)
        fail_msg("%s", error.text);
}

static void assert_refused(const char *key, const char *value, const char *text)
{
    assert_int_equal(tg_config_set_text(&config, TG_SOURCE_FLAG, key, value, &error),
                     TG_ERR_INVALID);
    assert_string_equal(error.text, text);
}

static struct tg_config_value string(const char *text)
{
    return (struct tg_config_value){.kind = TG_CONFIG_STRING, .string = text};
}

static struct tg_config_value number(double value)
{
    return (struct tg_config_value){.kind = TG_CONFIG_NUMBER, .number = value};
}

static struct tg_config_value boolean(bool value)
{
    return (struct tg_config_value){.kind = TG_CONFIG_BOOL, .flag = value};
}

static const struct tg_config_value table = {.kind = TG_CONFIG_TABLE};

static void file(const char *key, size_t index, struct tg_config_value value)
{
    if (tg_config_set_value(&config, key, index, &value, "config.lua:7", &error) != TG_ERR_OK)
        fail_msg("%s", error.text);
}

static void assert_file_refused(const char *key, size_t index, struct tg_config_value value,
                                const char *text)
{
    assert_int_equal(tg_config_set_value(&config, key, index, &value, "config.lua:7", &error),
                     TG_ERR_INVALID);
    assert_string_equal(error.text, text);
}

static const struct tg_config_option *option(const char *path)
{
    for (size_t i = 0; i < config.options_count; i++) {
        if (strcmp(config.options[i].path, path) == 0)
            return &config.options[i];
    }
    return NULL;
}

static void defaults_are_those_of_the_contract(void **state)
{
    (void)state;
    assert_int_equal(config.listen.count, 1);
    assert_string_equal(config.listen.items[0], "127.0.0.1:8080");
    assert_string_equal(config.admin, "127.0.0.1:9180");
    assert_null(config.admin_token);
    assert_null(config.policy);
    assert_int_equal(config.workers, 0);
    assert_int_equal(config.allowed_origins.count, 0);
    assert_int_equal(config.handshake_timeout_ms, 10000);
    assert_int_equal(config.auth_timeout_ms, 10000);
    assert_int_equal(config.setup_timeout_ms, 30000);
    assert_int_equal(config.idle_after_ms, 60000);
    assert_int_equal(config.ping_interval_ms, 30000);
    assert_int_equal(config.pong_timeout_ms, 10000);
    assert_int_equal(config.close_timeout_ms, 5000);
    assert_int_equal(config.max_message, 1048576);
    assert_int_equal(config.max_header, 16384);
    assert_int_equal(config.max_connections, 0);
    assert_int_equal(config.inbox_messages, 64);
    assert_int_equal(config.inbox_bytes, 1048576);
    assert_int_equal(config.outbox_bytes, 4194304);
    assert_int_equal(config.session_bytes, 65536);
    assert_int_equal(config.expiry_notice_ms, 60000);
    assert_int_equal(config.prepare_retry_ms, 1000);
    assert_int_equal(config.prepare_retry_max_ms, 30000);
    assert_int_equal(config.runs_max_per_connection, 8);
    assert_int_equal(config.runs_max_per_user, 0);
    assert_int_equal(config.runs_max_children, 16);
    assert_int_equal(config.runs_timeout_ms, 300000);
    assert_int_equal(config.runs_on_disconnect, TG_RUN_CANCEL);
    assert_int_equal(config.script_cpu_budget_ms, 50);
    assert_int_equal(config.script_wall_budget_ms, 10000);
    assert_int_equal(config.script_memory, 67108864);
    assert_int_equal(config.reload_drain_timeout_ms, 60000);
    assert_int_equal(config.reload_max_generations, 4);
    assert_int_equal(config.drain_timeout_ms, 30000);
    assert_false(config.strict);
    assert_int_equal(config.log_level, TG_LOG_INFO);
    assert_int_equal(config.log_format, TG_LOG_TEXT);
    assert_int_equal(tg_config_validate(&config, &error), TG_ERR_OK);
}

static void text_sets_each_kind(void **state)
{
    (void)state;
    set(TG_SOURCE_FLAG, "listen", "127.0.0.1:1, [::1]:2,:3");
    set(TG_SOURCE_FLAG, "admin", "off");
    set(TG_SOURCE_FLAG, "workers", "3");
    set(TG_SOURCE_FLAG, "allowed_origins", "https://a.example,http://b.example:8080");
    set(TG_SOURCE_FLAG, "limits.idle_after", "1.5s");
    set(TG_SOURCE_FLAG, "limits.max_message", "64KiB");
    set(TG_SOURCE_FLAG, "strict", "true");
    set(TG_SOURCE_FLAG, "runs.on_disconnect", "finish");
    set(TG_SOURCE_FLAG, "log.level", "debug");
    set(TG_SOURCE_FLAG, "log.format", "json");
    assert_int_equal(config.listen.count, 3);
    assert_string_equal(config.listen.items[1], "[::1]:2");
    assert_string_equal(config.admin, "off");
    assert_int_equal(config.workers, 3);
    assert_int_equal(config.allowed_origins.count, 2);
    assert_int_equal(config.idle_after_ms, 1500);
    assert_int_equal(config.max_message, 65536);
    assert_true(config.strict);
    assert_int_equal(config.runs_on_disconnect, TG_RUN_FINISH);
    assert_int_equal(config.log_level, TG_LOG_DEBUG);
    assert_int_equal(config.log_format, TG_LOG_JSON);
    set(TG_SOURCE_FLAG, "workers", "auto");
    assert_int_equal(config.workers, 0);
}

static void the_highest_source_wins_in_any_order(void **state)
{
    (void)state;
    set(TG_SOURCE_FLAG, "runs.timeout", "3s");
    set(TG_SOURCE_ENV, "runs.timeout", "2s");
    file("runs.timeout", 0, string("1s"));
    assert_int_equal(config.runs_timeout_ms, 3000);

    file("limits.auth_timeout", 0, string("1s"));
    set(TG_SOURCE_ENV, "limits.auth_timeout", "2s");
    assert_int_equal(config.auth_timeout_ms, 2000);

    set(TG_SOURCE_ENV, "listen", ":1");
    file("listen", 1, string(":2"));
    file("listen", 2, string(":3"));
    assert_int_equal(config.listen.count, 1);
    assert_string_equal(config.listen.items[0], ":1");
}

static void a_lower_source_is_checked_also_when_it_loses(void **state)
{
    (void)state;
    set(TG_SOURCE_FLAG, "runs.timeout", "3s");
    assert_file_refused("runs.timeout", 0, string("soon"),
                        "runs.timeout (config.lua:7): \"soon\" is no duration such as 500ms, 10s, "
                        "5m or 1h");
}

static void listen_flags_replace_once_and_then_add(void **state)
{
    (void)state;
    file("listen", 1, string(":5"));
    assert_int_equal(tg_config_add_listen(&config, "127.0.0.1:1", &error), TG_ERR_OK);
    assert_int_equal(tg_config_add_listen(&config, "127.0.0.1:2", &error), TG_ERR_OK);
    assert_int_equal(config.listen.count, 2);
    assert_string_equal(config.listen.items[0], "127.0.0.1:1");
    assert_string_equal(config.listen.items[1], "127.0.0.1:2");
    assert_int_equal(tg_config_add_listen(&config, "8080", &error), TG_ERR_INVALID);
    assert_string_equal(error.text, "listen: \"8080\" has no port; write ADDR:PORT such as "
                                    "127.0.0.1:8080, [::1]:8080 or :8080");
    assert_int_equal(config.listen.count, 2);
}

static void file_lists_grow_element_by_element(void **state)
{
    (void)state;
    file("listen", 1, string(":1"));
    file("listen", 2, string(":2"));
    file("listen", 3, string(":3"));
    assert_int_equal(config.listen.count, 3);
    assert_string_equal(config.listen.items[2], ":3");
    file("allowed_origins", 0, table);
    assert_int_equal(config.allowed_origins.count, 0);
    assert_file_refused("listen", 0, table,
                        "listen (config.lua:7): is empty; write ADDR:PORT such as "
                        "127.0.0.1:8080, [::1]:8080 or :8080");
}

static void file_values_have_types(void **state)
{
    (void)state;
    file("workers", 0, number(4));
    file("limits.max_message", 0, number(4096));
    file("limits.prepare_retry", 0, string("2s"));
    file("drain_timeout", 0, number(0));
    file("strict", 0, boolean(true));
    assert_int_equal(config.workers, 4);
    assert_int_equal(config.max_message, 4096);
    assert_int_equal(config.prepare_retry_ms, 2000);
    assert_int_equal(config.drain_timeout_ms, 0);
    assert_true(config.strict);

    assert_file_refused("limits.idle_after", 0, number(60),
                        "limits.idle_after (config.lua:7): \"60\" has no unit; write a duration "
                        "such as 500ms, 10s, 5m or 1h");
    assert_file_refused("workers", 0, string("4"),
                        "workers (config.lua:7): text was given; write a whole number from 1 to "
                        "255, or auto");
    assert_file_refused("workers", 0, number(1.5),
                        "workers (config.lua:7): \"1.5\" is not a whole number; write a whole "
                        "number from 1 to 255, or auto");
    assert_file_refused("strict", 0, string("true"),
                        "strict (config.lua:7): text was given; write false or true");
    assert_file_refused("policy", 0, number(1),
                        "policy (config.lua:7): a number was given; write text in quotes");
    assert_file_refused("admin", 0, boolean(false),
                        "admin (config.lua:7): true or false was given; write an address such as "
                        "\"127.0.0.1:9180\", or \"off\"");
    assert_file_refused("policy", 1, string("a"),
                        "policy (config.lua:7): a list was given; write text in quotes");
    assert_file_refused("limits.max_message", 0, table,
                        "limits.max_message (config.lua:7): a table was given; write a size such "
                        "as 512, 64KiB or 1MiB");
}

static void unknown_keys_are_named_with_the_nearest(void **state)
{
    (void)state;
    assert_file_refused("limits.max_mesage", 0, number(1),
                        "unknown key \"limits.max_mesage\" (config.lua:7); did you mean "
                        "\"limits.max_message\"?");
    assert_refused("max_message", "1",
                   "unknown key \"max_message\"; did you mean "
                   "\"limits.max_message\"?");
    assert_refused("tls.cert", "x", "unknown key \"tls.cert\"; `tidegate help run` lists all keys");
    assert_refused("limits", "x",
                   "\"limits\" is a section, not a key; name a key in it, as in `limits.NAME`");
    file("limits", 0, table);
    file("options", 0, table);
    assert_file_refused("nonsense", 0, table,
                        "unknown key \"nonsense\" (config.lua:7); `tidegate help run` lists all "
                        "keys");
}

static void errors_say_what_to_write(void **state)
{
    (void)state;
    assert_refused("limits.idle_after", "60",
                   "limits.idle_after: \"60\" has no unit; write a duration such as 500ms, 10s, "
                   "5m or 1h");
    assert_refused("limits.idle_after", "0",
                   "limits.idle_after: \"0\" is too small; write 1ms or "
                   "more");
    assert_refused("limits.idle_after", "721h",
                   "limits.idle_after: \"721h\" is too large; write 720h or less");
    assert_refused("limits.ping_interval", "721h",
                   "limits.ping_interval: \"721h\" is too large; write 720h or less");
    assert_refused("limits.message_timeout", "721h",
                   "limits.message_timeout: \"721h\" is too large; write 720h or less");
    assert_refused("workers", "256", "workers: \"256\" is too large; write 255 or less");
    assert_refused("workers", "-1",
                   "workers: \"-1\" is not a whole number; write a whole number "
                   "from 1 to 255, or auto");
    assert_refused("script.memory", "64KiB",
                   "script.memory: \"64KiB\" is too small; write 1MiB or "
                   "more");
    assert_refused("log.level", "loud",
                   "log.level: \"loud\" is not known; write error, warn, info "
                   "or debug");
    assert_refused("strict", "yes", "strict: \"yes\" is not known; write false or true");
    assert_refused("listen", "::1:80",
                   "listen: \"::1:80\": an IPv6 address needs brackets; write "
                   "ADDR:PORT such as 127.0.0.1:8080, [::1]:8080 or :8080");
    assert_refused("listen", "[::1]",
                   "listen: \"[::1]\" has no port; write ADDR:PORT such as "
                   "127.0.0.1:8080, [::1]:8080 or :8080");
    assert_refused("admin", "localhost:70000",
                   "admin: \"localhost:70000\": the port must be a number from 0 to 65535; write "
                   "ADDR:PORT such as 127.0.0.1:8080, [::1]:8080 or :8080");
    assert_refused("allowed_origins", "https://app.example/",
                   "allowed_origins: \"https://app.example/\": an origin ends after its host and "
                   "port; write it such as https://app.example");
    assert_refused("policy", "", "policy: is empty; give a value, or leave it out");
    assert_refused("policy\n\033[2J", "x",
                   "unknown key \"policy??[2J\"; `tidegate help run` lists all keys");
    assert_string_equal(config.admin, "127.0.0.1:9180");
    assert_int_equal(config.listen.count, 1);
}

static void secrets_stay_out_of_errors(void **state)
{
    (void)state;
    assert_int_equal(
        tg_config_set_text(&config, TG_SOURCE_ENV, "admin_token", "hunter2 hunter2", &error),
        TG_ERR_INVALID);
    assert_null(strstr(error.text, "hunter2"));
    assert_non_null(strstr(error.text, "admin_token"));
}

static void options_are_free(void **state)
{
    (void)state;
    file("options.upstream.url", 0, string("http://a"));
    file("options.upstream.retries", 0, number(3));
    file("options.debug", 0, boolean(false));
    file("options.models", 1, string("small"));
    file("options.models", 2, string("large"));
    set(TG_SOURCE_FLAG, "options.upstream.url", "http://b");
    assert_int_equal(config.options_count, 5);
    assert_string_equal(config.options[0].path, "debug"); /* sorted */
    assert_int_equal(config.options[0].kind, TG_OPTION_BOOL);
    assert_string_equal(config.options[0].text, "false");
    assert_string_equal(option("models.2")->text, "large");
    assert_int_equal(option("upstream.retries")->kind, TG_OPTION_NUMBER);
    assert_string_equal(option("upstream.retries")->text, "3");
    assert_string_equal(option("upstream.url")->text, "http://b");
    file("options.upstream.url", 0, string("http://c"));
    assert_string_equal(option("upstream.url")->text, "http://b");
    assert_refused("options.", "x",
                   "options.: is no name for an option; write options.NAME or "
                   "options.TABLE.NAME");
    assert_refused("options.a..b", "x",
                   "options.a..b: is no name for an option; write options.NAME or "
                   "options.TABLE.NAME");
}

static void an_option_is_a_leaf_or_a_table_never_both(void **state)
{
    (void)state;
    file("options.models", 1, string("small"));
    file("options.models", 2, string("large"));
    set(TG_SOURCE_FLAG, "options.models", "one");
    assert_int_equal(config.options_count, 1);
    file("options.models", 1, string("small"));
    assert_int_equal(config.options_count, 1);
    assert_string_equal(option("models")->text, "one");
    set(TG_SOURCE_FLAG, "options.models.x", "y");
    assert_null(option("models"));
    set(TG_SOURCE_FLAG, "options.modelsx", "y"); /* a longer name is not below it */
    assert_int_equal(config.options_count, 2);
}

static void environment_names_follow_the_keys(void **state)
{
    char *const environment[] = {(char *)(uintptr_t) "HOME=/root",
                                 (char *)(uintptr_t) "TIDEGATE_LIMITS_MAX_MESSAGE=2MiB",
                                 (char *)(uintptr_t) "TIDEGATE_OPTIONS_API_KEY=k=v",
                                 (char *)(uintptr_t) "TIDEGATE_SERVICE_HOST=10.0.0.1",
                                 (char *)(uintptr_t) "TIDEGATE_SERVICE_PORT_HTTP=80",
                                 (char *)(uintptr_t) "TIDEGATE_PORT=tcp://10.0.0.1:80",
                                 (char *)(uintptr_t) "TIDEGATE_PORT_80_TCP_ADDR=10.0.0.1",
                                 NULL};
    char *const misspelt[] = {(char *)(uintptr_t) "TIDEGATE_LIMITS_MAX_MESAGE=2MiB", NULL};
    char *const bad[] = {(char *)(uintptr_t) "TIDEGATE_RUNS_TIMEOUT=2", NULL};

    (void)state;
    assert_int_equal(tg_config_read_environment(&config, environment, &error), TG_ERR_OK);
    assert_int_equal(config.max_message, 2097152);
    assert_string_equal(option("api_key")->text, "k=v");
    assert_int_equal(option("api_key")->source, TG_SOURCE_ENV);
    assert_int_equal(tg_config_read_environment(&config, misspelt, &error), TG_ERR_INVALID);
    assert_string_equal(error.text, "environment variable TIDEGATE_LIMITS_MAX_MESAGE is no option; "
                                    "did you mean TIDEGATE_LIMITS_MAX_MESSAGE?");
    assert_int_equal(tg_config_read_environment(&config, bad, &error), TG_ERR_INVALID);
    assert_string_equal(error.text, "runs.timeout (TIDEGATE_RUNS_TIMEOUT): \"2\" has no unit; "
                                    "write a duration such as 500ms, 10s, 5m or 1h");
}

static void assert_invalid(const char *text)
{
    assert_int_equal(tg_config_validate(&config, &error), TG_ERR_INVALID);
    assert_string_equal(error.text, text);
}

static void keys_are_checked_together(void **state)
{
    (void)state;
    set(TG_SOURCE_FLAG, "admin", ":9180");
    assert_invalid("admin: :9180 can be reached from other machines, so it needs a token; set "
                   "admin_token (environment: TIDEGATE_ADMIN_TOKEN), or use a loopback address "
                   "such as 127.0.0.1:9180");
    set(TG_SOURCE_ENV, "admin_token", "t0ken");
    assert_int_equal(tg_config_validate(&config, &error), TG_ERR_OK);
    set(TG_SOURCE_FLAG, "listen", ":1,:2,:1");
    assert_invalid("listen: :1 is named twice");
    set(TG_SOURCE_FLAG, "listen", ":0,:0");
    assert_int_equal(tg_config_validate(&config, &error), TG_ERR_OK);
    set(TG_SOURCE_FLAG, "listen", ":9180");
    assert_invalid("listen and admin are both :9180; give each its own port");
    set(TG_SOURCE_FLAG, "listen", "ws://:9180");
    assert_invalid("listen and admin are both :9180; give each its own port");
    set(TG_SOURCE_FLAG, "listen", ":1,ws://:1");
    assert_invalid("listen: :1 is named twice");
    set(TG_SOURCE_FLAG, "listen", ":1");
    set(TG_SOURCE_FLAG, "limits.prepare_retry", "1m");
    assert_invalid("limits.prepare_retry_max is less than limits.prepare_retry");
    set(TG_SOURCE_FLAG, "limits.prepare_retry", "1s");
    set(TG_SOURCE_FLAG, "script.wall_budget", "1ms");
    assert_invalid("script.wall_budget is less than script.cpu_budget");
}

static void tls_keys_are_checked_together(void **state)
{
    (void)state;
    set(TG_SOURCE_FLAG, "listen", "wss://127.0.0.1:1");
    assert_invalid(
        "listen: wss://127.0.0.1:1 needs a certificate; set tls.certificate and tls.key");
    set(TG_SOURCE_FLAG, "tls.certificate", "a.pem, b.pem");
    assert_invalid(
        "tls.certificate names 2 files and tls.key 0; each certificate needs its key, in "
        "the same order");
    file("tls.key", 1, string("a.key"));
    file("tls.key", 2, string("b.key"));
    assert_int_equal(tg_config_validate(&config, &error), TG_ERR_OK);
    assert_string_equal(config.tls_certificates.items[1], "b.pem");
    assert_string_equal(config.tls_keys.items[1], "b.key");
    set(TG_SOURCE_FLAG, "tls.client_auth", "optional");
    assert_int_equal(config.tls_client_auth, TG_TLS_CLIENT_OPTIONAL);
    assert_invalid("tls.client_auth: tls.client_ca must say whose certificates count");
    set(TG_SOURCE_FLAG, "tls.client_ca", "ca.pem");
    assert_int_equal(tg_config_validate(&config, &error), TG_ERR_OK);
    set(TG_SOURCE_FLAG, "tls.client_auth", "none");
    assert_invalid("tls.client_ca: nobody is asked for a certificate; set tls.client_auth to "
                   "optional or required");
    assert_refused("tls.min_version", "1.1",
                   "tls.min_version: \"1.1\" is not known; write 1.2 or 1.3");
    set(TG_SOURCE_FLAG, "tls.min_version", "1.3");
    assert_int_equal(config.tls_min_version, TG_TLS_1_3);
}

static void listen_items_may_name_a_scheme(void **state)
{
    enum tg_listen_scheme scheme;

    (void)state;
    assert_string_equal(tg_config_listen_address("wss://[::1]:2", &scheme), "[::1]:2");
    assert_int_equal(scheme, TG_LISTEN_WSS);
    assert_string_equal(tg_config_listen_address("ws://:2", &scheme), ":2");
    assert_int_equal(scheme, TG_LISTEN_WS);
    assert_string_equal(tg_config_listen_address(":2", &scheme), ":2");
    assert_int_equal(scheme, TG_LISTEN_EITHER);
    assert_refused("listen", "wss://127.0.0.1",
                   "listen: \"127.0.0.1\" has no port; write ADDR:PORT such as 127.0.0.1:8080, "
                   "[::1]:8080 or :8080");
}

static void clients_come_from_more_than_tcp(void **state)
{
    (void)state;
    set(TG_SOURCE_FLAG, "listen", "unix:/run/t.sock?mode=0600,systemd,systemd:web,fd:3");
    assert_int_equal(config.listen.count, 4);
    assert_int_equal(tg_config_validate(&config, &error), TG_ERR_OK);
    set(TG_SOURCE_FLAG, "listen", "unix:/run/t.sock,unix:/run/t.sock");
    assert_invalid("listen: unix:/run/t.sock is named twice");
    assert_refused("listen", "unix:t.sock",
                   "listen: \"unix:t.sock\": write unix: and an absolute path, as in "
                   "unix:/run/tidegate.sock");
}

static void proxies_and_rates(void **state)
{
    (void)state;
    set(TG_SOURCE_FLAG, "trusted_proxies", "10.0.0.0/8, loopback, unix");
    assert_int_equal(config.trusted_proxies.count, 3);
    assert_string_equal(config.trusted_proxies.items[1], "loopback");
    assert_refused("trusted_proxies", "10.0.0.1/8",
                   "trusted_proxies: \"10.0.0.1/8\" has bits beyond its prefix; the range starts "
                   "at 10.0.0.0/8");
    file("proxy_protocol", 0, (struct tg_config_value){.kind = TG_CONFIG_BOOL, .flag = true});
    assert_int_equal(tg_config_validate(&config, &error), TG_ERR_OK);
    set(TG_SOURCE_FLAG, "trusted_proxies", "");
    assert_invalid("proxy_protocol: only trusted_proxies are asked for a PROXY header, and there "
                   "are none; name them, such as trusted_proxies = \"10.0.0.0/8\"");
    set(TG_SOURCE_FLAG, "limits.message_rate", "50/s burst 80");
    assert_int_equal(config.message_rate.burst, 80);
    assert_int_equal(config.message_rate.interval_ns, 20000000);
    assert_false(tg_rate_limits(&config.connection_rate));
    assert_refused("limits.connection_rate", "100",
                   "limits.connection_rate: \"100\" is no rate; write a rate such as 100/s, 20/m "
                   "or \"100/s burst 300\", or unlimited");
    assert_file_refused(
        "limits.connection_rate", 0,
        (struct tg_config_value){.kind = TG_CONFIG_NUMBER, .number = 5},
        "limits.connection_rate (config.lua:7): a number was given; write a rate such as "
        "\"100/s\", \"20/m\" or \"100/s burst 300\", or \"unlimited\"");
}

static void every_default_can_be_written_as_it_is_shown(void **state)
{
    const struct tg_config_row *rows;
    size_t count = tg_config_rows(&rows);

    (void)state;
    assert_true(count > 30);
    for (size_t i = 0; i < count; i++) {
        assert_true(strlen(rows[i].help) > 10);
        assert_true(strlen(rows[i].value_hint) > 0);
        if (rows[i].default_text[0] != '\0')
            set(TG_SOURCE_FLAG, rows[i].key, rows[i].default_text);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(defaults_are_those_of_the_contract),
        TEST(text_sets_each_kind),
        TEST(the_highest_source_wins_in_any_order),
        TEST(a_lower_source_is_checked_also_when_it_loses),
        TEST(listen_flags_replace_once_and_then_add),
        TEST(file_lists_grow_element_by_element),
        TEST(file_values_have_types),
        TEST(unknown_keys_are_named_with_the_nearest),
        TEST(errors_say_what_to_write),
        TEST(secrets_stay_out_of_errors),
        TEST(options_are_free),
        TEST(an_option_is_a_leaf_or_a_table_never_both),
        TEST(environment_names_follow_the_keys),
        TEST(keys_are_checked_together),
        TEST(tls_keys_are_checked_together),
        TEST(listen_items_may_name_a_scheme),
        TEST(clients_come_from_more_than_tcp),
        TEST(proxies_and_rates),
        TEST(every_default_can_be_written_as_it_is_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
