/* options.c - what a load is asked to do, from the command line. */
#include "options.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "tls.h"

static const char usage[] =
    "usage: load [flags] HOST PORT\n"
    "  --work KIND         echo, route, connect, idle or stream (echo)\n"
    "  --clients N         how many connections (100)\n"
    "  --depth N           messages in flight of each (1)\n"
    "  --size BYTES        of an echo (20)\n"
    "  --text KIND         of an echo: ascii, scripts or vietnamese (ascii)\n"
    "  --active N          of an idle load, clients that go on with echoes (0)\n"
    "  --pause S           of a stream, what the agent waits after each piece (it does not)\n"
    "  --seconds S         measured, after --warm S (2 and 0.5)\n"
    "  --operations N      exactly so many instead, no warming up\n"
    "  --opening N         connects under way at a time (100; of connect: all)\n"
    "  --raw               without WebSocket: echo and idle of bytes\n"
    "  --wait              says `ready` when all are open, and measures after a byte of input\n"
    "  --path P --header H of the upgrade request\n"
    "  --tls               TLS; no certificate is refused\n"
    "  --server PID        the process whose CPU time and memory are read\n"
    "  --features          says `tls` when it can do that\n";

static double number_of(const char *text, const char *name)
{
    char *end;
    double value = strtod(text, &end);

    if (*end != '\0' || end == text || !(value >= 0))
        die("--%s takes a number, not %s", name, text);
    return value;
}

static uint32_t count_of(const char *text, const char *name)
{
    double value = number_of(text, name);

    if (value > UINT32_MAX)
        die("--%s is too large", name);
    return (uint32_t)value;
}

static void set_option(struct options *options, const char *name, const char *value)
{
    if (strcmp(name, "work") == 0)
        options->work = work_named(value);
    else if (strcmp(name, "clients") == 0)
        options->clients = count_of(value, name);
    else if (strcmp(name, "depth") == 0)
        options->depth = count_of(value, name);
    else if (strcmp(name, "size") == 0)
        options->size = count_of(value, name);
    else if (strcmp(name, "text") == 0)
        options->text = text_named(value);
    else if (strcmp(name, "tls") == 0)
        options->tls = true;
    else if (strcmp(name, "features") == 0)
        exit(puts(tls_is_built_in() ? "tls" : "") == EOF);
    else if (strcmp(name, "raw") == 0)
        options->raw = true;
    else if (strcmp(name, "wait") == 0)
        options->wait = true;
    else if (strcmp(name, "active") == 0)
        options->active = count_of(value, name);
    else if (strcmp(name, "pause") == 0)
        options->pause = number_of(value, name) >= 0 ? value : NULL;
    else if (strcmp(name, "seconds") == 0)
        options->seconds = number_of(value, name);
    else if (strcmp(name, "warm") == 0)
        options->warm_s = number_of(value, name);
    else if (strcmp(name, "operations") == 0)
        options->operations = (uint64_t)number_of(value, name);
    else if (strcmp(name, "opening") == 0)
        options->opening = count_of(value, name);
    else if (strcmp(name, "path") == 0)
        options->path = value;
    else if (strcmp(name, "header") == 0)
        options->header = value;
    else
        options->server_pid = (pid_t)count_of(value, name);
}

void options_read(struct options *options, int argc, char **argv)
{
    static const struct option flags[] = {
        {"work", 1, NULL, 0},    {"clients", 1, NULL, 0}, {"depth", 1, NULL, 0},
        {"size", 1, NULL, 0},    {"text", 1, NULL, 0},    {"tls", 0, NULL, 0},
        {"wait", 0, NULL, 0},    {"raw", 0, NULL, 0},     {"features", 0, NULL, 0},
        {"active", 1, NULL, 0},  {"pause", 1, NULL, 0},   {"seconds", 1, NULL, 0},
        {"warm", 1, NULL, 0},    {"path", 1, NULL, 0},    {"operations", 1, NULL, 0},
        {"opening", 1, NULL, 0}, {"header", 1, NULL, 0},  {"server", 1, NULL, 0},
        {NULL, 0, NULL, 0}};
    int which, found;

    *options = (struct options){.path = "/",
                                .header = "",
                                .clients = 100,
                                .depth = 1,
                                .opening = 100,
                                .size = 20,
                                .warm_s = 0.5,
                                .seconds = 2};
    while ((found = getopt_long(argc, argv, "", flags, &which)) == 0)
        set_option(options, flags[which].name, optarg);
    if (found != -1 || argc - optind != 2 || options->clients == 0 || options->depth == 0 ||
        options->opening == 0) {
        (void)fputs(usage, stderr);
        exit(2);
    }
    if (options->work == WORK_CONNECT)
        options->opening = options->clients;
    options->host = argv[optind];
    options->server.sin_family = AF_INET;
    options->server.sin_port = htons((uint16_t)number_of(argv[optind + 1], "port"));
    if (inet_pton(AF_INET, options->host, &options->server.sin_addr) != 1)
        die("%s is no IPv4 address", options->host);
}
