/* SPDX-License-Identifier: MIT
 * fuzz/memmap.c: the log of another program, as `roost import --from memmap_fs` reads it (src/cli/memmap_wal.c): any bytes; and whole
 * commands of which the last is cut off, or one in the middle is and more follow. */
#include "cli/memmap_wal.h"
#include "fuzz.h"

static void add_text(struct rst_buffer *log, struct roost_bytes text)
{
    rst_buffer_add_u64(log, text.size);
    rst_buffer_add(log, text.data, text.size);
}

/* Text of letters, so that it is UTF-8. */
static void add_letters(struct rst_buffer *log, struct fuzz *fuzz)
{
    struct roost_bytes text = fuzz_take(fuzz, fuzz_u8(fuzz) % 20);
    rst_buffer_add_u64(log, text.size);
    for (size_t i = 0; i < text.size; i++) rst_buffer_add_u8(log, ((const uint8_t *)text.data)[i] & 0x7f);
}

static void add_command(struct rst_buffer *log, struct fuzz *fuzz)
{
    struct rst_buffer payload = {0};
    uint32_t kind = fuzz_u8(fuzz) % 4;
    rst_buffer_add_u32(&payload, kind);
    if (kind == MEMMAP_MEMORY)
        rst_buffer_add_u64(&payload, fuzz_number(fuzz));
    else
        add_letters(&payload, fuzz);
    if (kind == MEMMAP_SET) add_text(&payload, fuzz_take(fuzz, fuzz_u8(fuzz)));
    if (kind == MEMMAP_MEMORY || kind == MEMMAP_STREAM) {
        rst_buffer_add_u32(&payload, fuzz_u8(fuzz));
        rst_buffer_add_u64(&payload, fuzz_number(fuzz));
        rst_buffer_add_u64(&payload, fuzz_number(fuzz));
    }
    if (kind == MEMMAP_MEMORY) {
        unsigned count = fuzz_u8(fuzz) % 4;
        rst_buffer_add_u64(&payload, count);
        for (unsigned i = 0; i < count; i++) add_letters(&payload, fuzz);
    }
    add_text(log, (struct roost_bytes){payload.data, payload.size});
    rst_buffer_free(&payload);
}

/* Frames and gaps lie one behind the other and cover the log; each frame is a command. Returns how many. */
static size_t check(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = fuzz_copy(bytes, size);
    struct memmap_wal wal;
    RST_CHECK(memmap_wal_read((struct roost_bytes){copy, size}, &wal));
    uint64_t covered = 0, end = 0, gap = 0;
    for (size_t i = 0; i < wal.frame_count; i++) {
        struct memmap_command command;
        struct roost_bytes tag, payload = {copy + wal.frames[i].offset, wal.frames[i].size};
        RST_CHECK(wal.frames[i].offset >= end + 8 && wal.frames[i].size <= size - wal.frames[i].offset);
        end = wal.frames[i].offset + wal.frames[i].size;
        covered += 8 + wal.frames[i].size;
        RST_CHECK(memmap_decode(payload, &command));
        fuzz_touch(command.key);
        fuzz_touch(command.value);
        while (memmap_next_tag(&command.tags, &tag)) fuzz_touch(tag);
    }
    for (size_t i = 0; i < wal.gap_count; i++) {
        RST_CHECK(wal.gaps[i].size && (!i || wal.gaps[i].offset >= gap));
        gap = wal.gaps[i].offset + wal.gaps[i].size;
        covered += wal.gaps[i].size;
    }
    RST_CHECK(covered == size);
    size_t count = wal.frame_count;
    memmap_wal_free(&wal);
    free(copy);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {data, size};
    uint8_t kind = fuzz_u8(&fuzz);
    if (kind % 4 == 0) {
        (void)check(fuzz.at, fuzz.left);
        return 0;
    }
    struct rst_buffer log = {0};
    unsigned count = fuzz_u8(&fuzz) % 20, before = fuzz_u8(&fuzz) % 20;
    for (unsigned i = 0; i < before; i++) add_command(&log, &fuzz);
    size_t torn_at = log.size;
    add_command(&log, &fuzz);
    size_t torn_size = log.size - torn_at;
    RST_CHECK(check(log.data, log.size) == before + 1);
    log.size = torn_at + fuzz_below(&fuzz, (uint32_t)torn_size); /* a crash */
    (void)check(log.data, log.size); /* what is left may hold a command, if a value did */
    if (kind % 4 >= 2)
        for (unsigned i = 0; i < count; i++) add_command(&log, &fuzz);
    if (kind % 4 == 3) fuzz_damage(&fuzz, log.data, log.size, fuzz_u8(&fuzz) % 8);
    (void)check(log.data, log.size);
    rst_buffer_free(&log);
    return 0;
}
