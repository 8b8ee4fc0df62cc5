/* SPDX-License-Identifier: MIT
 * memmap_wal.c: the state.wal of memmap_fs, also behind a torn frame. Any bytes may come; none of them is trusted. */
#include "memmap_wal.h"

#include "foreign.h"

#include <stdlib.h>
#include <string.h>

enum { LENGTH_SIZE = 8, PAYLOAD_SIZE_MIN = 12 };

/* ---- One command ------------------------------------------------------------------------------------------------- */

struct cursor {
    const uint8_t *at;
    size_t left;
};

static bool take_number(struct cursor *cursor, size_t size, uint64_t *ret_number)
{
    uint64_t number = 0;
    if (cursor->left < size) return false;
    for (size_t i = 0; i < size; i++) number |= (uint64_t)cursor->at[i] << (8 * i);
    cursor->at += size;
    cursor->left -= size;
    *ret_number = number;
    return true;
}

static bool take_bytes(struct cursor *cursor, struct roost_bytes *ret_bytes)
{
    uint64_t size;
    if (!take_number(cursor, 8, &size) || size > cursor->left) return false;
    *ret_bytes = (struct roost_bytes){cursor->at, (size_t)size};
    cursor->at += size;
    cursor->left -= (size_t)size;
    return true;
}

static bool is_text(struct roost_bytes bytes) { return rst_utf8_valid(bytes.data, bytes.size, NULL); }

static bool take_place(struct cursor *cursor, struct memmap_command *command)
{
    uint64_t chunk;
    if (!take_number(cursor, 4, &chunk)) return false;
    command->chunk = (uint32_t)chunk;
    return take_number(cursor, 8, &command->offset) && take_number(cursor, 8, &command->length);
}

static bool take_tags(struct cursor *cursor, struct memmap_command *command)
{
    uint64_t count;
    struct roost_bytes tag;
    if (!take_number(cursor, 8, &count)) return false;
    const uint8_t *first = cursor->at;
    for (uint64_t i = 0; i < count; i++)
        if (!take_bytes(cursor, &tag)) return false;
    command->tags = (struct roost_bytes){first, (size_t)(cursor->at - first)};
    if (cursor->left) return false; /* before the texts are looked at: lengths that fit are rarely there by chance */
    for (struct roost_bytes rest = command->tags; memmap_next_tag(&rest, &tag);)
        if (!is_text(tag)) return false;
    return true;
}

bool memmap_next_tag(struct roost_bytes *tags, struct roost_bytes *ret_tag)
{
    struct cursor cursor = {tags->data, tags->size};
    if (!take_bytes(&cursor, ret_tag)) return false;
    *tags = (struct roost_bytes){cursor.at, cursor.left};
    return true;
}

bool memmap_decode(struct roost_bytes payload, struct memmap_command *ret_command)
{
    struct cursor cursor = {payload.data, payload.size};
    struct memmap_command command = {.kind = MEMMAP_MEMORY};
    uint64_t kind;
    bool good;
    if (!take_number(&cursor, 4, &kind) || kind > MEMMAP_STREAM) return false;
    command.kind = (enum memmap_kind)kind;
    if (command.kind == MEMMAP_MEMORY)
        good = take_number(&cursor, 8, &command.id) && take_place(&cursor, &command) && take_tags(&cursor, &command);
    else
        good = take_bytes(&cursor, &command.key);
    if (good && command.kind == MEMMAP_SET) good = take_bytes(&cursor, &command.value);
    if (good && command.kind == MEMMAP_STREAM) good = take_place(&cursor, &command);
    if (!good || cursor.left || !is_text(command.key)) return false;
    *ret_command = command;
    return true;
}

/* ---- The log ----------------------------------------------------------------------------------------------------- */

/* The whole command whose frame begins at `at`. */
static bool frame_at(struct roost_bytes log, uint64_t at, struct memmap_piece *ret_payload)
{
    struct memmap_command command;
    struct cursor cursor = {(const uint8_t *)log.data + at, log.size - at};
    uint64_t size;
    if (!take_number(&cursor, LENGTH_SIZE, &size) || size < PAYLOAD_SIZE_MIN || size > cursor.left) return false;
    *ret_payload = (struct memmap_piece){at + LENGTH_SIZE, size};
    return memmap_decode((struct roost_bytes){cursor.at, (size_t)size}, &command);
}

/* Where the first command begins of those, with anything between them, of which the last goes right over `place`: what ends or begins
 * there cannot be true then. 0: there is none. */
static uint64_t first_over(struct roost_bytes log, uint64_t at, uint64_t place)
{
    struct memmap_piece payload;
    uint64_t first = 0;
    while (at < place) {
        if (!frame_at(log, at, &payload)) {
            at++;
            continue;
        }
        if (!first) first = at;
        at = payload.offset + payload.size;
    }
    return at > place ? first : 0;
}

static bool add(struct memmap_piece **list, size_t *count, size_t *capacity, uint64_t offset, uint64_t size)
{
    if (!array_grow((void **)list, *count, capacity, sizeof **list)) return false;
    (*list)[(*count)++] = (struct memmap_piece){offset, size};
    return true;
}

/* At `at` begins no command. Where the next one begins: that may be inside of the one before, if that was the torn one and its length
 * took what came later for its own. *ret_from is where the gap begins. The size of the log: there is none. */
static uint64_t find_next(struct roost_bytes log, struct memmap_wal *wal, uint64_t at, uint64_t *ret_from)
{
    struct memmap_piece payload;
    *ret_from = at;
    if (wal->frame_count) {
        const struct memmap_piece *last = &wal->frames[wal->frame_count - 1];
        uint64_t begin = last->offset - LENGTH_SIZE;
        uint64_t next = last->offset + last->size == at ? first_over(log, begin + 1, at) : 0;
        if (next) {
            wal->frame_count--;
            *ret_from = begin;
            return next;
        }
    }
    for (uint64_t next = at + 1; next < log.size; next++)
        if (frame_at(log, next, &payload)) return next;
    return log.size;
}

bool memmap_wal_read(struct roost_bytes log, struct memmap_wal *ret_wal)
{
    struct memmap_wal *wal = ret_wal;
    struct memmap_piece payload;
    *wal = (struct memmap_wal){.frames = NULL};
    for (uint64_t at = 0, from; at < log.size;) {
        if (frame_at(log, at, &payload)) {
            if (!add(&wal->frames, &wal->frame_count, &wal->frame_capacity, payload.offset, payload.size)) return false;
            at = payload.offset + payload.size;
            continue;
        }
        at = find_next(log, wal, at, &from);
        if (!add(&wal->gaps, &wal->gap_count, &wal->gap_capacity, from, at - from)) return false;
    }
    return true;
}

void memmap_wal_free(struct memmap_wal *wal)
{
    free(wal->frames);
    free(wal->gaps);
    *wal = (struct memmap_wal){.frames = NULL};
}
