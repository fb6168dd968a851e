/* load.c - a load on a WebSocket server: one thread, checks that every answer is right, tells what it cost.
 *
 *   load [flags] HOST PORT
 *
 * Kinds of work: `echo` and `route` (each client keeps --depth messages in flight), `connect` (upgrade
 * and clean close, over and over), `idle` (each client is answered once and then rests), `raw` (echoes of
 * bytes without WebSocket: what the kernel alone costs). With
 * --server PID it reads what the server's process used meanwhile: CPU time of all threads, and memory.
 * The figures come out as one JSON object, for compare.py.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client.h"
#include "histogram.h"
#include "message.h"
#include "process.h"

#define EVENTS 512
#define SOURCES_PER_ADDRESS 20000 /* below the range of ephemeral ports */

enum phase { WARMING, MEASURING, OVER };

static struct {
    enum work work;
    const char *host, *path, *header;
    struct sockaddr_in server;
    uint32_t clients, depth, opening; /* opening: connects under way at a time */
    size_t size;
    double warm_s, seconds;
    pid_t server_pid;
    bool utf8;
} options = {.path = "/",
             .header = "",
             .clients = 100,
             .depth = 1,
             .opening = 100,
             .size = 20,
             .warm_s = 0.5,
             .seconds = 2};

static struct {
    int epoll_fd;
    struct client *clients;
    struct message message;
    uint32_t started, open;
    enum phase phase;
    uint64_t began_ns, ended_ns, operations;
    struct usage before, after;
    struct histogram latencies;
} load;

static struct sockaddr_in *source_of(uint32_t number, struct sockaddr_in *source)
{
    if (options.clients <= SOURCES_PER_ADDRESS)
        return NULL;
    *source = (struct sockaddr_in){.sin_family = AF_INET};
    source->sin_addr.s_addr = htonl(0x7f000001 + number / SOURCES_PER_ADDRESS);
    return source;
}

static void start_client(uint32_t number)
{
    struct sockaddr_in source;

    load.clients[number].number = number;
    client_connect(&load.clients[number], load.epoll_fd, &options.server,
                   source_of(number, &source));
}

static void start_more(void)
{
    while (load.started < options.clients && load.started - load.open < options.opening)
        start_client(load.started++);
}

static void send_next(struct client *client)
{
    size_t len;
    const uint8_t *payload = message_write(&load.message, client->number, client->sent, &len);

    client->sent_at_ns[client->sent % options.depth] = now_ns();
    client->sent++;
    if (options.work == WORK_RAW)
        client_send_bytes(client, payload, len);
    else
        client_send(client, 1, payload, len);
}

static void note_operation(uint64_t since_ns, uint64_t now)
{
    if (load.phase != MEASURING)
        return;
    load.operations++;
    histogram_add(&load.latencies, now - since_ns);
}

static void begin_close(struct client *client)
{
    static const uint8_t normal[2] = {1000 >> 8, 1000 & 255};

    client->state = CLIENT_CLOSING;
    client_send(client, 8, normal, sizeof normal);
}

static void on_open(struct client *client)
{
    load.open++;
    if (options.work == WORK_CONNECT) {
        begin_close(client);
        return;
    }
    for (uint32_t i = 0; i < options.depth; i++)
        send_next(client);
}

static void on_frame(struct client *client, const struct frame *frame)
{
    if (client->state == CLIENT_CLOSING) {
        if (frame->opcode != 8)
            die("client %u: a frame of kind %d where its close was to be answered", client->number,
                frame->opcode);
        return; /* the server ends the stream */
    }
    if (frame->opcode == 8)
        die("client %u was closed: %.*s", client->number,
            (int)(frame->len > 2 ? frame->len - 2 : 0), frame->payload + 2);
    if (frame->opcode != 1 && frame->opcode != 2)
        die("client %u: a frame of kind %d", client->number, frame->opcode);
    if (message_is_greeting(&load.message, frame->payload, frame->len))
        return;
    if (client->answered == client->sent)
        die("client %u: an answer that nothing asked for: %.*s", client->number,
            (int)(frame->len < 200 ? frame->len : 200), frame->payload);
    message_check(&load.message, client->number, client->answered, frame->payload, frame->len);
    note_operation(client->sent_at_ns[client->answered % options.depth], now_ns());
    client->answered++;
    if (options.work != WORK_IDLE && load.phase != OVER)
        send_next(client);
}

static void on_end(struct client *client)
{
    if (client->state != CLIENT_CLOSING)
        die("client %u: the server ended the stream", client->number);
    note_operation(client->began_ns, now_ns());
    client_close(client);
    load.open--;
    if (load.phase != OVER)
        start_client(client->number);
}

static void on_connected(struct client *client)
{
    if (options.work == WORK_RAW) {
        client->state = CLIENT_OPEN;
        on_open(client);
    } else {
        client_upgrade(client, options.host, options.path, options.header);
    }
    client_flush(client, load.epoll_fd);
}

static bool take_answer(struct client *client, struct frame *frame)
{
    if (options.work == WORK_RAW)
        return client_take_bytes(client, load.message.len, frame);
    return client_take_frame(client, frame);
}

static void on_event(struct client *client, uint32_t events)
{
    struct frame frame;

    if (client->state == CLIENT_CONNECTING) {
        on_connected(client);
        return;
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        if (!client_read(client)) {
            on_end(client);
            return;
        }
        if (client->state == CLIENT_UPGRADING && client_take_upgrade(client))
            on_open(client);
        while (client->state >= CLIENT_OPEN && take_answer(client, &frame))
            on_frame(client, &frame);
        client_keep(client);
    }
    client_flush(client, load.epoll_fd);
}

static bool all_at_rest(void)
{
    if (load.open < options.clients)
        return false;
    for (uint32_t i = 0; i < options.clients; i++)
        if (load.clients[i].answered == 0)
            return false;
    return true;
}

/* What is measured begins when every client is open, or at rest, and the server is warm. */
static void look_at_clock(void)
{
    static uint64_t warm_ns;
    uint64_t now = now_ns();
    bool ready = options.work == WORK_CONNECT ||
                 (options.work == WORK_IDLE ? all_at_rest() : load.open == options.clients);

    if (load.phase == WARMING && warm_ns == 0 && ready)
        warm_ns = now + (uint64_t)(options.warm_s * 1e9);
    if (load.phase == WARMING && warm_ns != 0 && now >= warm_ns) {
        load.phase = MEASURING;
        load.began_ns = now;
        load.before = process_usage(options.server_pid);
    } else if (load.phase == MEASURING &&
               now >= load.began_ns + (uint64_t)(options.seconds * 1e9)) {
        load.after = process_usage(options.server_pid);
        load.phase = OVER;
        load.ended_ns = now;
    }
}

static void run(void)
{
    struct epoll_event events[EVENTS];

    while (load.phase != OVER) {
        if (options.work != WORK_CONNECT || load.started < options.clients)
            start_more();
        int count = epoll_wait(load.epoll_fd, events, EVENTS, 10);
        if (count < 0 && errno != EINTR)
            die("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < count; i++)
            on_event(&load.clients[events[i].data.u32], events[i].events);
        look_at_clock();
    }
}

static void report(const struct usage *at_start)
{
    double seconds = (double)(load.ended_ns - load.began_ns) / 1e9;
    double operations = load.operations == 0 ? 1 : (double)load.operations;
    struct usage used = {.user_ns = load.after.user_ns - load.before.user_ns,
                         .system_ns = load.after.system_ns - load.before.system_ns,
                         .cpu_ns = load.after.cpu_ns - load.before.cpu_ns};

    (void)printf(
        "{\"operations\": %llu, \"seconds\": %.3f, \"per_second\": %.0f, \"cpu_us\": %.3f, "
        "\"user_share\": %.3f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, "
        "\"bytes_per_client\": %.0f}\n",
        (unsigned long long)load.operations, seconds, operations / seconds,
        (double)used.cpu_ns / 1e3 / operations,
        used.user_ns + used.system_ns == 0
            ? 0
            : (double)used.user_ns / (double)(used.user_ns + used.system_ns),
        histogram_quantile(&load.latencies, 0.5) / 1e3,
        histogram_quantile(&load.latencies, 0.99) / 1e3, (double)load.latencies.max / 1e3,
        ((double)load.after.resident - (double)at_start->resident) / options.clients);
}

static double number_of(const char *text, const char *name)
{
    char *end;
    double value = strtod(text, &end);

    if (*end != '\0' || end == text || !(value >= 0))
        die("--%s takes a number, not %s", name, text);
    return value;
}

static const char usage[] =
    "usage: load [flags] HOST PORT\n"
    "  --work echo|route|connect|idle|raw\n"
    "  --clients N         how many connections (100)\n"
    "  --depth N           messages in flight of each (1)\n"
    "  --size BYTES        of an echo (20)\n"
    "  --utf8              echoes of multi-byte text instead of ASCII\n"
    "  --seconds S         measured, after --warm S\n"
    "  --opening N         connects under way at a time (100)\n"
    "  --path P --header H of the upgrade request\n"
    "  --server PID        the process whose CPU time and memory are read\n";

static void set_option(const char *name, const char *value)
{
    if (strcmp(name, "work") == 0)
        options.work = work_named(value);
    else if (strcmp(name, "clients") == 0)
        options.clients = (uint32_t)number_of(value, name);
    else if (strcmp(name, "depth") == 0)
        options.depth = (uint32_t)number_of(value, name);
    else if (strcmp(name, "size") == 0)
        options.size = (size_t)number_of(value, name);
    else if (strcmp(name, "utf8") == 0)
        options.utf8 = true;
    else if (strcmp(name, "seconds") == 0)
        options.seconds = number_of(value, name);
    else if (strcmp(name, "warm") == 0)
        options.warm_s = number_of(value, name);
    else if (strcmp(name, "opening") == 0)
        options.opening = (uint32_t)number_of(value, name);
    else if (strcmp(name, "path") == 0)
        options.path = value;
    else if (strcmp(name, "header") == 0)
        options.header = value;
    else
        options.server_pid = (pid_t)number_of(value, name);
}

static void read_options(int argc, char **argv)
{
    static const struct option flags[] = {
        {"work", 1, NULL, 0},   {"clients", 1, NULL, 0}, {"depth", 1, NULL, 0},
        {"size", 1, NULL, 0},   {"utf8", 0, NULL, 0},    {"seconds", 1, NULL, 0},
        {"warm", 1, NULL, 0},   {"opening", 1, NULL, 0}, {"path", 1, NULL, 0},
        {"header", 1, NULL, 0}, {"server", 1, NULL, 0},  {NULL, 0, NULL, 0}};
    int which;

    while (getopt_long(argc, argv, "", flags, &which) == 0)
        set_option(flags[which].name, optarg);
    if (argc - optind != 2 || options.clients == 0 || options.depth == 0) {
        (void)fputs(usage, stderr);
        exit(2);
    }
    options.host = argv[optind];
    options.server.sin_family = AF_INET;
    options.server.sin_port = htons((uint16_t)number_of(argv[optind + 1], "port"));
    if (inet_pton(AF_INET, options.host, &options.server.sin_addr) != 1)
        die("%s is no IPv4 address", options.host);
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < options.clients + 16)
        die("%u clients need more descriptors than the %llu that this process may have",
            options.clients, (unsigned long long)limit.rlim_cur);
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    raise_descriptor_limit();
    message_init(&load.message, options.work, options.size, options.utf8);
    load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    load.clients = calloc(options.clients, sizeof *load.clients);
    uint64_t *sent_at = calloc((size_t)options.clients * options.depth, sizeof *sent_at);
    if (load.epoll_fd < 0 || load.clients == NULL || sent_at == NULL)
        die("cannot set up: %s", strerror(errno));
    for (uint32_t i = 0; i < options.clients; i++)
        load.clients[i].sent_at_ns = sent_at + (size_t)i * options.depth;
    struct usage at_start = process_usage(options.server_pid);
    run();
    report(&at_start);
    return 0;
}
