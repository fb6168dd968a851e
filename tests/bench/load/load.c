/* load.c - a load on a WebSocket server: one thread, checks that every answer is right, tells what it cost.
 *
 *   load [flags] HOST PORT
 *
 * Kinds of work: `echo` and `route` (each client keeps --depth messages in flight), `connect` (upgrade
 * and clean close, over and over), `idle` (each client is answered once and then rests, but for
 * --active), `stream` (each client has one run of an agent under way; its events are the operations, and
 * the time since the one before is their latency). --raw echoes
 * bytes without WebSocket: what the kernel alone costs. With --server PID it reads what the server's process used meanwhile: CPU time
 * of all threads, and memory. The figures come out as one JSON object, for compare.py.
 *
 * What is measured: from --warm seconds after every client is open (idle: answered) for --seconds, or
 * from the first connect (stream: when all are open) to the last of --operations answers.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client.h"
#include "figures.h"
#include "message.h"
#include "options.h"
#include "tls.h"

#define EVENTS 512
#define TURN_MS 10
#define PATIENCE_MS 60000
#define STANDARD_INPUT UINT32_MAX /* instead of the number of a client */
/* The kernel gives connects even ports of its range, some 14,000, and searches long for the last ones. */
#define SOURCES_PER_ADDRESS 10000

enum phase { WARMING, MEASURING, OVER };

static struct options options;

static struct {
    int epoll_fd;
    struct client *clients;
    struct message message;
    uint32_t started, open, at_rest;
    enum phase phase;
    uint64_t ready_ns;    /* every client open, and told to go on where others are waited for */
    uint64_t begun, done; /* messages or connects: asked for, and wholly answered */
    struct figures figures;
} load;

/* Whether one more may be asked for; counts it. */
static bool may_begin(void)
{
    if (load.phase == OVER || (options.operations != 0 && load.begun == options.operations))
        return false;
    load.begun++;
    return true;
}

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
    while (load.started < options.clients && load.started - load.open < options.opening &&
           (options.work != WORK_CONNECT || may_begin()))
        start_client(load.started++);
}

static void send_next(struct client *client)
{
    size_t len;
    const uint8_t *payload = message_write(&load.message, client->number, client->sent, &len);

    client->sent_at_ns[client->sent % options.depth] = now_ns();
    client->sent++;
    if (options.raw)
        client_send_bytes(client, payload, len);
    else
        client_send(client, 1, payload, len);
}

static void note_operation(uint64_t since_ns, uint64_t now)
{
    if (load.phase == MEASURING)
        figures_note(&load.figures, now - since_ns);
}

static void begin_close(struct client *client)
{
    static const uint8_t normal[2] = {1000 >> 8, 1000 & 255};

    client->state = CLIENT_CLOSING;
    client_send(client, 8, normal, sizeof normal);
}

static bool rests(const struct client *client)
{
    return options.work == WORK_IDLE && client->number >= options.active;
}

/* Runs of a stream, and the active ones among idle clients, begin together when every client is open. */
static void begin_together(void)
{
    for (uint32_t i = 0; i < options.clients; i++) {
        struct client *client = &load.clients[i];
        if ((options.work != WORK_STREAM && options.work != WORK_IDLE) || rests(client) ||
            !may_begin())
            continue;
        send_next(client);
        client_flush(client, load.epoll_fd);
    }
}

static void on_open(struct client *client)
{
    load.open++;
    if (options.work == WORK_CONNECT) {
        begin_close(client);
        return;
    }
    if (options.work == WORK_STREAM)
        return;
    for (uint32_t i = 0; i < options.depth && may_begin(); i++)
        send_next(client);
}

static void on_answer(struct client *client, const struct frame *frame)
{
    uint64_t *since_ns = &client->sent_at_ns[client->answered % options.depth];
    uint64_t now = now_ns();
    bool whole = true;

    if (options.work == WORK_STREAM)
        whole = message_check_event(client, frame->payload, frame->len);
    else
        message_check(&load.message, client->number, client->answered, frame->payload, frame->len);
    note_operation(*since_ns, now);
    *since_ns = now; /* events of a stream: the latency of each is since the one before */
    if (!whole)
        return;
    load.done++;
    if (client->answered++ == 0)
        load.at_rest++;
    if (!rests(client) && (options.work != WORK_IDLE || load.ready_ns != 0) && may_begin())
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
    if (frame->opcode == 9) {
        client_send(client, 10, frame->payload, frame->len);
        return;
    }
    if (frame->opcode != 1 && frame->opcode != 2)
        die("client %u: a frame of kind %d", client->number, frame->opcode);
    if (message_is_greeting(&load.message, frame->payload, frame->len))
        return;
    if (client->answered == client->sent)
        die("client %u: an answer that nothing asked for: %.*s", client->number,
            (int)(frame->len < 200 ? frame->len : 200), frame->payload);
    on_answer(client, frame);
}

static void on_end(struct client *client)
{
    if (client->state != CLIENT_CLOSING)
        die("client %u: the server ended the stream", client->number);
    note_operation(client->began_ns, now_ns());
    load.done++;
    client_close(client);
    load.open--;
    if (may_begin())
        start_client(client->number);
}

/* The way to an open connection, one step; what it queues is flushed by the caller. */
static void on_event_before_upgrade(struct client *client)
{
    if (client->state == CLIENT_CONNECTING) {
        client_check_connected(client);
        if (options.raw) {
            client->state = CLIENT_OPEN;
            on_open(client);
            return;
        }
        if (options.tls)
            client_secure(client);
    }
    if (client->state == CLIENT_SECURING && !tls_handshake(client->tls))
        return;
    client_upgrade(client, options.host, options.path, options.header);
}

static bool take_answer(struct client *client, struct frame *frame)
{
    if (options.raw)
        return client_take_bytes(client, load.message.len, frame);
    return client_take_frame(client, frame);
}

static void on_event(struct client *client, uint32_t events)
{
    struct frame frame;

    if (client->state < CLIENT_UPGRADING) {
        on_event_before_upgrade(client);
    } else if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
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

static void begin_measuring(uint64_t now)
{
    load.phase = MEASURING;
    figures_begin(&load.figures, now);
}

static void end_measuring(uint64_t now)
{
    load.phase = OVER;
    figures_end(&load.figures, now);
}

static bool is_ready(void)
{
    if (options.work == WORK_CONNECT)
        return true;
    return (options.work == WORK_IDLE ? load.at_rest : load.open) == options.clients;
}

/* With --wait: several loads measure together, when each has heard from who started them. */
static void say_ready(void)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = STANDARD_INPUT};

    (void)puts("ready");
    (void)fflush(stdout);
    if (epoll_ctl(load.epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0)
        die("--wait: standard input is no pipe: %s", strerror(errno));
}

static void hear_go(void)
{
    char byte;

    if (read(STDIN_FILENO, &byte, 1) != 1)
        die("--wait: nobody is left to say when");
    (void)epoll_ctl(load.epoll_fd, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
    load.ready_ns = now_ns();
    begin_together();
}

static void look_at_clock(void)
{
    uint64_t now = now_ns();

    if (load.figures.opened_ns == 0 && is_ready()) {
        load.figures.opened_ns = now;
        load.ready_ns = options.wait ? 0 : now;
        if (options.operations != 0 && options.work == WORK_STREAM)
            begin_measuring(now);
        if (options.wait)
            say_ready();
        else
            begin_together();
    }
    if (options.operations != 0) {
        if (load.done == options.operations)
            end_measuring(now);
    } else if (load.phase == WARMING && load.ready_ns != 0 &&
               now >= load.ready_ns + (uint64_t)(options.warm_s * 1e9)) {
        begin_measuring(now);
    } else if (load.phase == MEASURING &&
               now >= load.figures.began_ns + (uint64_t)(options.seconds * 1e9)) {
        end_measuring(now);
    }
}

static void run(void)
{
    struct epoll_event events[EVENTS];
    int silent = 0;

    figures_start(&load.figures, options.server_pid);
    if (options.operations != 0 && options.work != WORK_STREAM)
        begin_measuring(load.figures.started_ns);
    while (load.phase != OVER) {
        start_more();
        int count = epoll_wait(load.epoll_fd, events, EVENTS, TURN_MS);
        if (count < 0 && errno != EINTR)
            die("epoll_wait: %s", strerror(errno));
        silent = count > 0 || options.wait ? 0 : silent + 1;
        if (silent > PATIENCE_MS / TURN_MS)
            die("nothing has come for a minute; %llu of %llu were answered",
                (unsigned long long)load.done, (unsigned long long)load.begun);
        for (int i = 0; i < count; i++) {
            if (events[i].data.u32 == STANDARD_INPUT)
                hear_go();
            else
                on_event(&load.clients[events[i].data.u32], events[i].events);
        }
        look_at_clock();
    }
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < (rlim_t)options.clients + 16)
        die("%u clients need more descriptors than the %llu that this process may have",
            options.clients, (unsigned long long)limit.rlim_cur);
}

int main(int argc, char **argv)
{
    options_read(&options, argc, argv);
    raise_descriptor_limit();
    message_init(&load.message, options.work, options.size, options.text, options.pause);
    load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    load.clients = calloc(options.clients, sizeof *load.clients);
    uint64_t *sent_at = calloc((size_t)options.clients * options.depth, sizeof *sent_at);
    if (load.epoll_fd < 0 || load.clients == NULL || sent_at == NULL)
        die("cannot set up: %s", strerror(errno));
    for (uint32_t i = 0; i < options.clients; i++)
        load.clients[i].sent_at_ns = sent_at + (size_t)i * options.depth;
    run();
    figures_print(&load.figures, options.clients);
    return 0;
}
