/* process.c - what another process has used, from /proc. */
#include "process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t thread_ns(pid_t pid, const char *thread)
{
    char path[96];
    unsigned long long ns = 0;

    (void)snprintf(path, sizeof path, "/proc/%d/task/%.16s/schedstat", (int)pid, thread);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%llu", &ns) != 1)
        ns = 0;
    (void)fclose(file);
    return ns;
}

static uint64_t threads_ns(pid_t pid)
{
    char path[64];
    struct dirent *entry;
    uint64_t sum = 0;

    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *folder = opendir(path);
    while (folder != NULL && (entry = readdir(folder)) != NULL)
        if (entry->d_name[0] != '.')
            sum += thread_ns(pid, entry->d_name);
    if (folder != NULL)
        (void)closedir(folder);
    return sum;
}

static void read_stat(pid_t pid, struct usage *usage)
{
    char path[64], text[1024];
    unsigned long long user = 0, system = 0;
    long long pages = 0;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    size_t len = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[len] = '\0';
    const char *rest = strrchr(text, ')'); /* the name before it may hold anything */
    if (rest == NULL ||
        sscanf(rest + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d "
               "%*d %*d %*u %*u %lld",
               &user, &system, &pages) != 3)
        return;
    uint64_t tick = UINT64_C(1000000000) / (uint64_t)sysconf(_SC_CLK_TCK);
    usage->user_ns = user * tick;
    usage->system_ns = system * tick;
    usage->resident = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

struct usage process_usage(pid_t pid)
{
    struct usage usage = {0};

    if (pid == 0)
        return usage;
    read_stat(pid, &usage);
    usage.cpu_ns = threads_ns(pid);
    return usage;
}
