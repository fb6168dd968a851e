/* config_rows.c - the table of all options.
 *
 * One row a key: what people see (`--help`, the manual page, hints) and how its text becomes a field
 * of struct tg_config. A new option is a new row here and a new field in config.h, nothing else.
 * Defaults are the texts that people see, read by the same parser as everything else, so the two
 * cannot differ. A least value of 0 says that 0 has a meaning, which the help text gives.
 */
#include <stddef.h>
#include <string.h>

#include "base/suggest.h"
#include "ops/config_internal.h"

#define MS_MAX (UINT64_C(1000) * 3600 * 24 * 365)
/* Of silence: what connection/ can measure with the 32 bits that it keeps of such times, with a margin. */
#define SILENCE_MS_MAX (UINT64_C(1000) * 3600 * 24 * 30)
#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* key, field, kind, value hint, default, least, most, word for 0, help */
#define ROW_MAP(X)                                                                                 \
    X("listen", listen, ADDRESSES, "ADDR:PORT,...", "127.0.0.1:8080", 0, 0, NULL,                  \
      "Addresses that clients connect to. Port 0 picks a free one. Also unix:/path?mode=0660, "    \
      "systemd, systemd:NAME, fd:NAME; before any of them ws:// or wss://.")                       \
    X("admin", admin, ADDRESS_OR_OFF, "ADDR:PORT|off", "127.0.0.1:9180", 0, 0, NULL,               \
      "Address of the admin listener. Anything but loopback needs admin_token.")                   \
    X("admin_token", admin_token, SECRET, "SECRET", "", 0, 0, NULL,                                \
      "Bearer token that every admin request must carry. Best given by the environment.")          \
    X("policy", policy, TEXT, "PATH", "", 0, 0, NULL,                                              \
      "The policy: a Lua file, or a folder with init.lua.")                                        \
    X("workers", workers, COUNT, "NUMBER|auto", "auto", 1, 255, "auto",                            \
      "Worker threads. auto: one per core.")                                                       \
    X("allowed_origins", allowed_origins, ORIGINS, "ORIGIN,...", "", 0, 0, NULL,                   \
      "Web origins whose pages may connect, such as https://app.example. Empty: any.")             \
    X("tls.certificate", tls_certificates, FILES, "FILE,...", "", 0, 0, NULL,                      \
      "Certificates (PEM, each with what leads to its root). The first is the default; others "    \
      "are "                                                                                       \
      "chosen by the name that a client asks for. With it, listen means wss://.")                  \
    X("tls.key", tls_keys, FILES, "FILE,...", "", 0, 0, NULL,                                      \
      "Their private keys, in the same order.")                                                    \
    X("tls.client_ca", tls_client_ca, TEXT, "FILE", "", 0, 0, NULL,                                \
      "CAs that client certificates must come from.")                                              \
    X("tls.client_auth", tls_client_auth, CLIENT_AUTH, "none|optional|required", "none", 0, 0,     \
      NULL, "Whether clients are asked for a certificate.")                                        \
    X("tls.min_version", tls_min_version, TLS_VERSION, "1.2|1.3", "1.2", 0, 0, NULL,               \
      "Oldest version of TLS. 1.3 needs mbedTLS 3.6 (Debian 13).")                                 \
    X("tls.session_tickets", tls_session_tickets, BOOL, "true|false", "true", 0, 1, NULL,          \
      "Let clients resume a session. Off where client certificates are asked for.")                \
    X("tls.ciphers", tls_ciphers, NAMES, "NAME,...", "", 0, 0, NULL,                               \
      "Cipher suites by their IANA names, best first. Empty: a good choice.")                      \
    X("trusted_proxies", trusted_proxies, RANGES, "RANGE,...", "", 0, 0, NULL,                     \
      "Proxies that are believed when they say who the client is: addresses, ranges, loopback, "   \
      "unix.")                                                                                     \
    X("proxy_protocol", proxy_protocol, BOOL, "true|false", "false", 0, 1, NULL,                   \
      "Trusted proxies begin each connection with a PROXY header, version 1 or 2.")                \
    X("strict", strict, BOOL, "true|false", "false", 0, 1, NULL,                                   \
      "Close a connection (4400) on a message that is no valid JSON object, instead of "           \
      "answering with an error.")                                                                  \
    X("drain_timeout", drain_timeout_ms, DURATION, "DURATION", "30s", 0, MS_MAX, NULL,             \
      "How long connections may finish their runs when the server stops.")                         \
    X("limits.handshake_timeout", handshake_timeout_ms, DURATION, "DURATION", "10s", 1, MS_MAX,    \
      NULL, "Time from the accepted socket to the complete upgrade request.")                      \
    X("limits.auth_timeout", auth_timeout_ms, DURATION, "DURATION", "10s", 1, MS_MAX, NULL,        \
      "Time to become authenticated.")                                                             \
    X("limits.setup_timeout", setup_timeout_ms, DURATION, "DURATION", "30s", 1, MS_MAX, NULL,      \
      "Time from authenticated to ready for messages.")                                            \
    X("limits.idle_after", idle_after_ms, DURATION, "DURATION", "60s", 1, SILENCE_MS_MAX, NULL,    \
      "Without a run or a message for this long a connection counts as idle.")                     \
    X("limits.ping_interval", ping_interval_ms, DURATION, "DURATION", "30s", 0, SILENCE_MS_MAX,    \
      NULL, "A connection that is silent for this long is pinged; 0: never.")                      \
    X("limits.pong_timeout", pong_timeout_ms, DURATION, "DURATION", "10s", 1, MS_MAX, NULL,        \
      "A ping that is not answered within this time ends the connection.")                         \
    X("limits.close_timeout", close_timeout_ms, DURATION, "DURATION", "5s", 1, MS_MAX, NULL,       \
      "How long the peer may take to answer a close, and its last messages to be heard.")          \
    X("limits.message_timeout", message_timeout_ms, DURATION, "DURATION", "60s", 0,                \
      SILENCE_MS_MAX, NULL,                                                                        \
      "How long a message may take to arrive, once begun; noticed up to limits.ping_interval "     \
      "later. 0: for ever.")                                                                       \
    X("limits.max_message", max_message, SIZE, "SIZE", "1MiB", 128, GIB, NULL,                     \
      "Largest message from a client, all its fragments together.")                                \
    X("limits.max_header", max_header, SIZE, "SIZE", "16KiB", 512, MIB, NULL,                      \
      "Largest head of an upgrade request.")                                                       \
    X("limits.max_connections", max_connections, COUNT, "NUMBER|unlimited", "unlimited", 0,        \
      UINT64_C(100000000), "unlimited", "Connections of the whole process.")                       \
    X("limits.max_connections_per_ip", max_connections_per_ip, COUNT, "NUMBER|unlimited",          \
      "unlimited", 0, UINT64_C(100000000), "unlimited",                                            \
      "Connections of one client address; an IPv6 client is its /64.")                             \
    X("limits.connection_rate", connection_rate, RATE, "RATE|unlimited", "unlimited", 0, 0, NULL,  \
      "New connections of one client address, such as 10/s or \"60/m burst 20\".")                 \
    X("limits.message_rate", message_rate, RATE, "RATE|unlimited", "unlimited", 0, 0, NULL,        \
      "Messages and pings of one connection; a faster one is closed (4429).")                      \
    X("limits.inbox_messages", inbox_messages, COUNT, "NUMBER", "64", 1, UINT64_C(1000000), NULL,  \
      "Messages that wait for the policy before reading from that client pauses.")                 \
    X("limits.inbox_bytes", inbox_bytes, SIZE, "SIZE", "1MiB", KIB, GIB, NULL,                     \
      "Bytes that wait for the policy before reading from that client pauses.")                    \
    X("limits.outbox_bytes", outbox_bytes, SIZE, "SIZE", "4MiB", KIB, GIB, NULL,                   \
      "Bytes that may wait for a slow client; at half of it its agents wait, over it it is "       \
      "closed (1008).")                                                                            \
    X("limits.outbox_timeout", outbox_timeout_ms, DURATION, "DURATION", "10s", 1, MS_MAX, NULL,    \
      "A client that takes nothing for this long while agents wait for it is closed (1008).")      \
    X("limits.session_bytes", session_bytes, SIZE, "SIZE", "64KiB", 0, GIB, NULL,                  \
      "Largest conn.session, encoded.")                                                            \
    X("limits.expiry_notice", expiry_notice_ms, DURATION, "DURATION", "60s", 0, MS_MAX, NULL,      \
      "How long before an identity expires its client is told.")                                   \
    X("limits.prepare_retry", prepare_retry_ms, DURATION, "DURATION", "1s", 1, MS_MAX, NULL,       \
      "First pause before prepare runs again for a degraded connection; it doubles each time.")    \
    X("limits.prepare_retry_max", prepare_retry_max_ms, DURATION, "DURATION", "30s", 1, MS_MAX,    \
      NULL, "Longest pause between two such attempts.")                                            \
    X("compression.enabled", compression, BOOL, "true|false", "false", 0, 1, NULL,                 \
      "Agree to compress messages (permessage-deflate) with clients that offer it.")               \
    X("compression.min_size", compression_min_size, SIZE, "SIZE", "1KiB", 0, GIB, NULL,            \
      "Messages to clients that are shorter are sent as they are; 0: none is.")                    \
    X("compression.level", compression_level, COUNT, "NUMBER", "6", 1, 9, NULL,                    \
      "Of zlib: from 1, fast, to 9, small.")                                                       \
    X("compression.memory_level", compression_memory_level, COUNT, "NUMBER", "8", 6, 9, NULL,      \
      "Of zlib: 2^(memory_level + 9) bytes for each stream that compresses.")                      \
    X("compression.window_bits", compression_window_bits, COUNT, "NUMBER", "15", 9, 15, NULL,      \
      "Largest window, as a power of two; clients that allow it are held to it too.")              \
    X("compression.server_context_takeover", compression_server_takeover, BOOL, "true|false",      \
      "false", 0, 1, NULL,                                                                         \
      "Keep the window between messages to a client: they get smaller, and each connection "       \
      "holds about 256 KiB.")                                                                      \
    X("compression.client_context_takeover", compression_client_takeover, BOOL, "true|false",      \
      "false", 0, 1, NULL, "Let clients keep theirs: each connection holds about 40 KiB.")         \
    X("runs.max_per_connection", runs_max_per_connection, COUNT, "NUMBER", "8", 1, 1000, NULL,     \
      "Agent runs of one connection at a time.")                                                   \
    X("runs.max_per_user", runs_max_per_user, COUNT, "NUMBER|unlimited", "unlimited", 0,           \
      UINT64_C(1000000), "unlimited",                                                              \
      "Agent runs of one user at a time, over all connections and workers.")                       \
    X("runs.max_children", runs_max_children, COUNT, "NUMBER", "16", 0, 1000, NULL,                \
      "Runs below one of a client's at a time: those that it called, and those that they did.")    \
    X("runs.timeout", runs_timeout_ms, DURATION, "DURATION", "300s", 1, MS_MAX, NULL,              \
      "Longest agent run.")                                                                        \
    X("runs.on_disconnect", runs_on_disconnect, ON_DISCONNECT, "cancel|finish", "cancel", 0, 0,    \
      NULL, "What happens to the runs of a connection that is lost.")                              \
    X("agents.processes", agents_processes, FILES, "FILE,...", "", 0, 0, NULL,                     \
      "Programs that policies may run as agents (agent.process), by absolute paths. Empty: none.") \
    X("script.cpu_budget", script_cpu_budget_ms, DURATION, "DURATION", "50ms", 1, MS_MAX, NULL,    \
      "CPU time that a script may take before it must wait or return.")                            \
    X("script.wall_budget", script_wall_budget_ms, DURATION, "DURATION", "10s", 1, MS_MAX, NULL,   \
      "Longest hook call, waiting included.")                                                      \
    X("script.memory", script_memory, SIZE, "SIZE", "64MiB", MIB, 1024 * GIB, NULL,                \
      "Memory of the policy on each worker.")                                                      \
    X("http.timeout", http_timeout_ms, DURATION, "DURATION", "30s", 1, MS_MAX, NULL,               \
      "Of scripts' HTTP requests: longest time for the whole answer, streams apart.")              \
    X("http.connect_timeout", http_connect_timeout_ms, DURATION, "DURATION", "5s", 1, MS_MAX,      \
      NULL, "Longest time to a connection, TLS included.")                                         \
    X("http.idle_timeout", http_idle_timeout_ms, DURATION, "DURATION", "60s", 1, MS_MAX, NULL,     \
      "Longest silence of a server whose answer is read as a stream.")                             \
    X("http.max_response", http_max_response, SIZE, "SIZE", "8MiB", KIB, GIB, NULL,                \
      "Largest body of an answer, decoded; of a stream, its largest line or event.")               \
    X("http.max_connections", http_max_connections, COUNT, "NUMBER|unlimited", "1024", 0,          \
      UINT64_C(1000000), "unlimited",                                                              \
      "Connections to other servers, of each worker; more requests wait for one, more "            \
      "WebSockets fail.")                                                                          \
    X("http.max_connections_per_host", http_max_connections_per_host, COUNT, "NUMBER|unlimited",   \
      "256", 0, UINT64_C(1000000), "unlimited",                                                    \
      "Those to one host and port. Over HTTP/2 one carries many requests.")                        \
    X("http.private_addresses", http_private_addresses, BOOL, "true|false", "true", 0, 1, NULL,    \
      "Whether scripts may reach loopback, private and other addresses that are not public. Off "  \
      "where others can say which URL a script fetches.")                                          \
    X("http.allowed_hosts", http_allowed_hosts, NAMES, "HOST,...", "", 0, 0, NULL,                 \
      "Hosts that scripts may reach: api.example, *.example, api.example:8443. Empty: any.")       \
    X("http.ca_file", http_ca_file, TEXT, "FILE", "", 0, 0, NULL,                                  \
      "CAs (PEM) that other servers' certificates must come from, in place of the system's.")      \
    X("kv.memory", kv_memory, SIZE, "SIZE", "32MiB", MIB, 1024 * GIB, NULL,                        \
      "Memory of the store that scripts share; what was used longest ago goes when it is full.")   \
    X("kv.max_value", kv_max_value, SIZE, "SIZE", "64KiB", 64, MIB / 2, NULL,                      \
      "Largest value in it, encoded.")                                                             \
    X("reload.drain_timeout", reload_drain_timeout_ms, DURATION, "DURATION", "60s", 0, MS_MAX,     \
      NULL, "How long calls under way may finish on the old policy after a reload.")               \
    X("reload.max_generations", reload_max_generations, COUNT, "NUMBER", "4", 2, 64, NULL,         \
      "Versions of the policy that may be alive at a time; a reload beyond ends the oldest.")      \
    X("watch", watch, BOOL, "true|false", "false", 0, 1, NULL,                                     \
      "Reload the policy when one of its files changes; also --watch.")                            \
    X("log.level", log_level, LOG_LEVEL, "error|warn|info|debug", "info", 0, 0, NULL,              \
      "Least important level that is logged.")                                                     \
    X("log.format", log_format, LOG_FORMAT, "text|json", "text", 0, 0, NULL,                       \
      "Form of the log on standard error.")

const struct tg_config_row tg__shown_rows[] = {
#define X(key, field, kind, hint, fallback, min, max, word, help) {key, hint, fallback, help},
    ROW_MAP(X)
#undef X
};

const struct tg__row tg__rows[] = {
#define X(key, field, kind, hint, fallback, min, max, word, help)                                  \
    {TG__##kind, offsetof(struct tg_config, field), min, max, word},
    ROW_MAP(X)
#undef X
};

enum { ROW_COUNT = sizeof tg__rows / sizeof tg__rows[0] };
const size_t tg__row_count = ROW_COUNT;

size_t tg__row_find(const char *key)
{
    size_t i = 0;
    while (i < ROW_COUNT && strcmp(tg__shown_rows[i].key, key) != 0)
        i++;
    return i;
}

bool tg__row_is_section(const char *key)
{
    size_t len = strlen(key);

    if (strcmp(key, "options") == 0)
        return true;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const char *candidate = tg__shown_rows[i].key;
        if (strncmp(candidate, key, len) == 0 && candidate[len] == '.')
            return true;
    }
    return false;
}

const char *tg__row_suggest(const char *key)
{
    const char *keys[ROW_COUNT];
    const char *leaves[ROW_COUNT];
    const char *dot = strrchr(key, '.');

    for (size_t i = 0; i < ROW_COUNT; i++) {
        const char *leaf;
        keys[i] = tg__shown_rows[i].key;
        leaf = strrchr(keys[i], '.');
        leaves[i] = leaf == NULL ? keys[i] : leaf + 1;
    }
    const char *found = tg_suggest(key, keys, ROW_COUNT);
    if (found != NULL)
        return found;
    /* Right name, wrong or no section: "max_message", "script.max_message". */
    found = tg_suggest(dot == NULL ? key : dot + 1, leaves, ROW_COUNT);
    for (size_t i = 0; found != NULL && i < ROW_COUNT; i++) {
        if (leaves[i] == found)
            return keys[i];
    }
    return NULL;
}

size_t tg_config_rows(const struct tg_config_row **rows)
{
    *rows = tg__shown_rows;
    return ROW_COUNT;
}
