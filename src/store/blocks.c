/* SPDX-License-Identifier: MIT
 * store/blocks.c: the chunk files (layer 4). */
#include "store/blocks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/error.h"
#include "os/os.h"

/* A chunk grows in steps, so that a small root is small on the disk; every step is real space before it is used (no SIGBUS). */
enum { GROWTH_STEP = 1 << 20 };

void rst_chunk_name(uint32_t chunk, char ret_name[32]) { snprintf(ret_name, 32, "chunk_%04u.bin", chunk); }

bool rst_chunk_number(const char *name, uint32_t *ret_chunk)
{
    char own_name[32];
    if (strncmp(name, "chunk_", 6) != 0) return false;
    unsigned long number = strtoul(name + 6, NULL, 10);
    if (number >= (unsigned long)RST_CHUNK_PAGE_COUNT * RST_CHUNK_PAGE_SIZE) return false;
    *ret_chunk = (uint32_t)number;
    rst_chunk_name(*ret_chunk, own_name);
    return strcmp(name, own_name) == 0;
}

static int chunk_error(int err, const char *doing, uint32_t chunk, uint64_t offset)
{
    return rst_fail(err, "%s blocks/chunk_%04u.bin at offset %llu: %s", doing, chunk, (unsigned long long)offset, strerror(-err));
}

int rst_blocks_open(struct rst_blocks *blocks, int root_directory, uint64_t chunk_size)
{
    memset(blocks, 0, sizeof *blocks);
    blocks->chunk_size = chunk_size;
    blocks->mode = 0600;
    pthread_mutex_init(&blocks->lock, NULL);
    blocks->directory = rst_os->open(root_directory, "blocks", RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    if (blocks->directory >= 0) return 0;
    int err = blocks->directory;
    return err == -ENOENT ? rst_fail(ROOST_ECORRUPT, "the root has no folder blocks/")
                          : rst_fail(err, "opening blocks/: %s", strerror(-err));
}

void rst_blocks_close(struct rst_blocks *blocks)
{
    for (uint32_t page = 0; page < RST_CHUNK_PAGE_COUNT; page++) {
        if (!blocks->pages[page]) continue;
        for (uint32_t i = 0; i < RST_CHUNK_PAGE_SIZE; i++) {
            struct rst_chunk *chunk = &blocks->pages[page][i];
            if (chunk->base) rst_os->unmap(chunk->base, chunk->mapped);
            if (chunk->file >= 0) rst_os->close(chunk->file);
        }
        free(blocks->pages[page]);
    }
    if (blocks->directory >= 0) rst_os->close(blocks->directory);
    pthread_mutex_destroy(&blocks->lock);
    memset(blocks, 0, sizeof *blocks);
    blocks->directory = -1;
}

void rst_blocks_close_files(struct rst_blocks *blocks)
{
    for (uint32_t page = 0; page < RST_CHUNK_PAGE_COUNT; page++)
        for (uint32_t i = 0; blocks->pages[page] && i < RST_CHUNK_PAGE_SIZE; i++)
            if (blocks->pages[page][i].file >= 0) rst_os->close(blocks->pages[page][i].file);
    rst_os->close(blocks->directory);
}

/* The chunk's line in the table, made when first asked for. Under the lock. */
static struct rst_chunk *line_of(struct rst_blocks *blocks, uint32_t chunk)
{
    uint32_t page = chunk / RST_CHUNK_PAGE_SIZE;
    if (page >= RST_CHUNK_PAGE_COUNT) return NULL;
    if (!blocks->pages[page]) {
        struct rst_chunk *lines = calloc(RST_CHUNK_PAGE_SIZE, sizeof *lines);
        if (!lines) return NULL;
        for (uint32_t i = 0; i < RST_CHUNK_PAGE_SIZE; i++) lines[i].file = -1;
        blocks->pages[page] = lines;
    }
    return &blocks->pages[page][chunk % RST_CHUNK_PAGE_SIZE];
}

/* ---- reading ---- */

/* Maps the chunk whole, also what it has not grown to yet: later growth needs no new mapping. Under the lock. */
static int map_chunk(struct rst_blocks *blocks, struct rst_chunk *line, uint32_t chunk, uint64_t end)
{
    char name[32];
    rst_chunk_name(chunk, name);
    int file = line->file >= 0 ? line->file : rst_os->open(blocks->directory, name, RST_OPEN_READ, 0);
    if (file == -ENOENT) return rst_fail(ROOST_ECORRUPT, "blocks/%s is missing", name);
    if (file < 0) return chunk_error(file == -ELOOP ? ROOST_ECORRUPT : file, "opening", chunk, 0);
    struct rst_stat stat;
    int err = rst_os->stat(file, &stat);
    if (!err) line->size = stat.size;
    if (!err && stat.size < end)
        err = rst_fail(ROOST_ECORRUPT, "blocks/%s has only %llu bytes; a record should lie before offset %llu", name,
                       (unsigned long long)stat.size, (unsigned long long)end);
    if (!err && !line->base) {
        uint64_t size = stat.size > blocks->chunk_size ? stat.size : blocks->chunk_size;
        void *base = NULL;
        err = rst_os->map(file, 0, size, RST_MAP_READ, &base);
        if (err) err = chunk_error(err, "mapping", chunk, 0);
        line->base = base;
        line->mapped = err ? 0 : size;
    }
    if (file != line->file) rst_os->close(file);
    if (!err && end > line->mapped) err = rst_fail(ROOST_ECORRUPT, "blocks/%s: a record beyond the chunk's end", name);
    return err;
}

const uint8_t *rst_blocks_bytes(struct rst_blocks *blocks, uint32_t chunk, uint64_t offset, uint64_t size, int *ret_err)
{
    uint64_t end = offset + size;
    *ret_err = 0;
    if (end < offset) {
        *ret_err = rst_fail(ROOST_ECORRUPT, "a place in the blocks that cannot be");
        return NULL;
    }
    pthread_mutex_lock(&blocks->lock);
    struct rst_chunk *line = line_of(blocks, chunk);
    if (!line)
        *ret_err = rst_fail(chunk >= RST_CHUNK_PAGE_COUNT * RST_CHUNK_PAGE_SIZE ? ROOST_ECORRUPT : ROOST_ENOMEM,
                            "blocks/chunk_%u.bin cannot be", chunk);
    else if (!line->base || end > line->size)
        *ret_err = map_chunk(blocks, line, chunk, end);
    const uint8_t *bytes = *ret_err ? NULL : line->base + offset;
    pthread_mutex_unlock(&blocks->lock);
    return bytes;
}

/* The bytes of a record; *ret_size: how many. A file that was cut off within the padding still has all that counts. */
static const uint8_t *record_bytes(struct rst_blocks *blocks, const struct rst_place *place, uint64_t *ret_size, int *ret_err)
{
    *ret_size = place->size;
    const uint8_t *bytes = rst_blocks_bytes(blocks, place->chunk, place->offset, place->size, ret_err);
    if (bytes || *ret_err != ROOST_ECORRUPT) return bytes;
    int64_t size = rst_blocks_size(blocks, place->chunk);
    uint64_t end = size > 0 ? (uint64_t)size : 0;
    if (end <= place->offset || end - place->offset + RST_RECORD_ALIGNMENT <= place->size) return NULL;
    *ret_size = end - place->offset;
    return *ret_size < place->size ? rst_blocks_bytes(blocks, place->chunk, place->offset, *ret_size, ret_err) : NULL;
}

int rst_blocks_read(struct rst_blocks *blocks, const struct rst_place *place, struct rst_record_view *ret_record)
{
    int err;
    uint64_t size;
    const uint8_t *bytes = record_bytes(blocks, place, &size, &err);
    if (!bytes) return err;
    err = rst_record_decode(bytes, size, place->chunk, place->offset, ret_record);
    if (!err && (!ret_record->payload.data ||
                 rst_record_size(ret_record->header.fields_size, ret_record->header.payload_size) != place->size))
        err = rst_fail(ROOST_ECORRUPT, "a record's sizes do not fit");
    if (err) return rst_fail_context(err, "blocks/chunk_%04u.bin, offset %llu", place->chunk, (unsigned long long)place->offset);
    return 0;
}

/* ---- writing ---- */

/* The chunk open for writing. Under the lock. */
static int writable(struct rst_blocks *blocks, uint32_t chunk, bool create, struct rst_chunk **ret_line)
{
    struct rst_chunk *line = line_of(blocks, chunk);
    if (!line) return rst_fail(ROOST_ENOMEM, "no memory for one more chunk");
    if (line->file < 0) {
        char name[32];
        rst_chunk_name(chunk, name);
        int file = rst_os->open(blocks->directory, name, RST_OPEN_WRITE | (create ? RST_OPEN_CREATE : 0u), blocks->mode);
        if (file < 0) return chunk_error(file, "opening", chunk, 0);
        struct rst_stat stat;
        int err = create ? rst_own_like(file, blocks->directory) : 0;
        if (!err) err = rst_os->stat(file, &stat);
        if (err) {
            rst_os->close(file);
            return chunk_error(err, "looking at", chunk, 0);
        }
        line->file = file;
        line->size = stat.size;
    }
    *ret_line = line;
    return 0;
}

int rst_blocks_allocate(struct rst_blocks *blocks, uint32_t chunk, uint64_t end, bool *ret_new)
{
    struct rst_chunk *line = NULL;
    *ret_new = false;
    pthread_mutex_lock(&blocks->lock);
    int err = writable(blocks, chunk, true, &line);
    if (!err && line->size < end) {
        *ret_new = line->size == 0;
        uint64_t size = rst_align_up(end, GROWTH_STEP);
        if (size > blocks->chunk_size) size = end > blocks->chunk_size ? rst_align_up(end, 4096) : blocks->chunk_size;
        err = rst_os->allocate(line->file, line->size, size - line->size);
        /* Near the end of the disk a whole step may be too much where what is needed still fits. */
        if (err == -ENOSPC) err = rst_os->allocate(line->file, line->size, (size = rst_align_up(end, 4096)) - line->size);
        if (err)
            err = chunk_error(err, "growing", chunk, line->size);
        else
            line->size = size;
    }
    pthread_mutex_unlock(&blocks->lock);
    return err;
}

int rst_blocks_write(struct rst_blocks *blocks, uint32_t chunk, uint64_t offset, const void *bytes, size_t size)
{
    struct rst_chunk *line = NULL;
    pthread_mutex_lock(&blocks->lock);
    int err = writable(blocks, chunk, false, &line), file = err ? -1 : line->file;
    pthread_mutex_unlock(&blocks->lock);
    if (err) return err;
    err = rst_write_all(file, bytes, size, offset);
    return err ? chunk_error(err, "writing", chunk, offset) : 0;
}

int rst_blocks_sync(struct rst_blocks *blocks, uint32_t chunk)
{
    struct rst_chunk *line = NULL;
    pthread_mutex_lock(&blocks->lock);
    int err = writable(blocks, chunk, false, &line), file = err ? -1 : line->file;
    pthread_mutex_unlock(&blocks->lock);
    if (err) return err;
    err = rst_os->fdatasync(file);
    return err ? chunk_error(err, "syncing", chunk, 0) : 0;
}

int rst_blocks_sync_directory(struct rst_blocks *blocks)
{
    int err = rst_os->fsync(blocks->directory);
    return err ? rst_fail(err, "syncing blocks/: %s", strerror(-err)) : 0;
}

int64_t rst_blocks_size(struct rst_blocks *blocks, uint32_t chunk)
{
    char name[32];
    rst_chunk_name(chunk, name);
    struct rst_stat stat;
    int err = rst_os->stat_at(blocks->directory, name, &stat);
    if (err == -ENOENT) return 0;
    return err ? chunk_error(err, "looking at", chunk, 0) : (int64_t)stat.size;
}

static int add_chunk(void *user, const char *name)
{
    uint32_t chunk;
    if (rst_chunk_number(name, &chunk)) rst_buffer_add_u32(user, chunk);
    return 0;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = rst_get_u32(a), y = rst_get_u32(b);
    return (x > y) - (x < y);
}

int rst_chunks_list(int directory, struct rst_buffer *ret_numbers)
{
    rst_buffer_clear(ret_numbers);
    int err = rst_os->list(directory, add_chunk, ret_numbers);
    if (err) return rst_fail(err, "listing blocks/: %s", strerror(-err));
    if (ret_numbers->failed) return rst_fail(ROOST_ENOMEM, "no memory for a list of the chunks");
    if (ret_numbers->size) qsort(ret_numbers->data, ret_numbers->size / 4, 4, by_number);
    return 0;
}

struct count {
    struct rst_blocks *blocks;
    uint32_t count;
    uint64_t bytes;
};

static int count_chunk(void *user, const char *name)
{
    struct count *count = user;
    uint32_t chunk;
    if (!rst_chunk_number(name, &chunk)) return 0;
    if (chunk >= count->count) count->count = chunk + 1;
    int64_t size = rst_blocks_size(count->blocks, chunk);
    if (size < 0) return (int)size;
    count->bytes += (uint64_t)size;
    return 0;
}

int rst_blocks_count(struct rst_blocks *blocks, uint32_t *ret_count, uint64_t *ret_bytes)
{
    struct count count = {blocks, 0, 0};
    int err = rst_os->list(blocks->directory, count_chunk, &count);
    if (err) return rst_fail(err, "listing blocks/: %s", strerror(-err));
    *ret_count = count.count;
    *ret_bytes = count.bytes;
    return 0;
}

struct rst_place rst_blocks_next(uint64_t chunk_size, uint32_t chunk, uint64_t tail, uint32_t size)
{
    struct rst_place place = {tail, size, chunk};
    if (tail && tail + size > chunk_size) {
        place.chunk = chunk + 1;
        place.offset = 0;
    }
    return place;
}
