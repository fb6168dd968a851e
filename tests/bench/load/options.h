/* options.h - what a load is asked to do, from the command line. */
#ifndef TG_TESTS_BENCH_LOAD_OPTIONS_H
#define TG_TESTS_BENCH_LOAD_OPTIONS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "message.h"

struct options {
    enum work work;
    const char *host, *path, *header, *pause;
    struct sockaddr_in server;
    uint32_t clients, depth;
    uint32_t opening; /* connects under way at a time */
    uint32_t active;  /* of an idle load: so many do not rest */
    size_t size;
    enum text text;
    uint64_t operations; /* exactly so many, however long it takes; 0: for `seconds` */
    double warm_s, seconds;
    pid_t server_pid;
    bool tls, wait;
    bool raw; /* bytes without WebSocket */
};

/* Ends the program with a usage text when they are not right. */
void options_read(struct options *options, int argc, char **argv);

#endif
