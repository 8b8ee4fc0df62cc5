/* SPDX-License-Identifier: MIT
 * fuzz/replay.c: runs one target without a fuzzer: on files, on all files of folders, and on damaged copies of these.
 *
 *     fuzz_frame [--rounds N] PATH...     each file as it is, and N damaged copies of it; a PATH that is not there holds nothing
 *
 * What crashes is named beforehand, on stderr; a damaged copy is written to the file that ROOST_FUZZ_INPUT names, if it is set. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#include "fuzz.h"

static uint64_t random_state =
    88172645463325252u; /* xorshift64, G. Marsaglia, "Xorshift RNGs", 2003: the same copies each time */
static unsigned rounds, run_count;

static uint64_t random_number(void)
{
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    return random_state;
}

static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    run_count++;
}

static void keep_copy(const uint8_t *data, size_t size)
{
    const char *path = getenv("ROOST_FUZZ_INPUT");
    FILE *file = path ? fopen(path, "wb") : NULL;
    if (!file) return;
    fwrite(data, 1, size, file);
    fclose(file);
}

/* Some bytes changed, moved or cut off. */
static void run_damaged(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    for (uint64_t change = random_number() % 8; change > 0 && size; change--) {
        size_t at = random_number() % size, from = random_number() % size, most = size - (at > from ? at : from);
        switch (random_number() % 4) {
        case 0:
            memmove(copy + at, copy + from, random_number() % (most + 1));
            break;
        case 1:
            copy[at] ^= (uint8_t)(1u << random_number() % 8);
            break;
        default:
            copy[at] = (uint8_t)random_number();
        }
    }
    if (size && random_number() % 8 == 0) size = random_number() % size;
    keep_copy(copy, size);
    run(copy, size);
    free(copy);
}

static void run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    struct rst_buffer bytes = {0};
    for (size_t got = 1; got;) {
        uint8_t *to = rst_buffer_extend(&bytes, 65536);
        RST_CHECK(to);
        got = fread(to, 1, 65536, file);
        bytes.size -= 65536 - got;
    }
    fclose(file);
    fprintf(stderr, "%s\n", path);
    run(bytes.data, bytes.size);
    for (unsigned i = 0; i < rounds; i++) run_damaged(bytes.data, bytes.size);
    rst_buffer_free(&bytes);
}

static int not_hidden(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static void run_path(const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, not_hidden, alphasort);
    if (count < 0) {
        if (errno == ENOTDIR) run_file(path);
        return;
    }
    for (int i = 0; i < count; i++) {
        char file[4096];
        snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        run_file(file);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    int first = 1;
    if (argc > 2 && strcmp(argv[1], "--rounds") == 0) {
        rounds = (unsigned)strtoul(argv[2], NULL, 10);
        first = 3;
    }
    for (int i = first; i < argc; i++) run_path(argv[i]);
    printf("%u inputs\n", run_count);
    return 0;
}
