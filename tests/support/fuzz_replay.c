/* fuzz_replay.c - runs a fuzz target over files instead of under libFuzzer.
 *
 * Arguments are files, or folders whose files are taken. A file that made the target fail stays in the
 * corpus and so becomes a regression test. The empty input always runs first.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t replayed;

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    struct stat info;
    if (fstat(fileno(file), &info) != 0) {
        perror(path);
        fclose(file);
        return 1;
    }
    /* Exactly as large as the input, so that AddressSanitizer sees a read past its end. */
    size_t size = (size_t)info.st_size;
    uint8_t *data = malloc(size == 0 ? 1 : size);
    int failed = data == NULL || fread(data, 1, size, file) != size;
    fclose(file);
    if (failed) {
        fprintf(stderr, "%s: cannot be read\n", path);
    } else {
        (void)LLVMFuzzerTestOneInput(data, size);
        replayed++;
    }
    free(data);
    return failed;
}

static int replay_folder(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        perror(path);
        return 1;
    }
    int failed = 0;
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        char file[4096];
        int len = snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        failed |= len < 0 || (size_t)len >= sizeof file || replay_file(file);
    }
    closedir(folder);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;
    (void)LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        struct stat info;
        int is_folder = stat(argv[i], &info) == 0 && S_ISDIR(info.st_mode);
        failed |= is_folder ? replay_folder(argv[i]) : replay_file(argv[i]);
    }
    printf("%zu inputs replayed\n", replayed);
    return failed;
}
