/* SPDX-License-Identifier: MIT
 * fuzz/lane.c: a lane as the writer sees it. A second process has attached and its lane is filled from the input: submissions built as
 * clients build them, with wrong numbers, sizes and places, under right checksums or not. The first process writes, and so serves it;
 * later the second dies, and its lane is drained. What the writer itself keeps stays right: a check finds nothing. */
#include <stdio.h>

#include "base/hash.h"
#include "format/submission.h"
#include "machine.h"
#include "region/layout.h"

enum { ENTRY_MAX = 8, SLOT = 1 };
static struct rst_region_header layout;

static void put(struct machine *machine, uint64_t offset, const void *bytes, size_t size)
{
    RST_CHECK(sim_corrupt(machine->sim, MACHINE_ROOT "/region", offset, bytes, size) == 0);
}

static void build(struct fuzz *fuzz, struct rst_buffer *submission)
{
    static const char *const names[] = {"a", "key/1", "name", "b", "new"};
    struct rst_buffer fields = {0};
    rst_submission_begin(submission);
    for (unsigned count = 1 + fuzz_u8(fuzz) % 3; count > 0; count--) {
        struct rst_op op = {.kind = 1 + fuzz_u8(fuzz) % 5, .number = fuzz_u8(fuzz) % 16};
        if (fuzz_one_in(fuzz, 8)) op.kind = fuzz_u8(fuzz) % 48;
        if (fuzz_one_in(fuzz, 8)) op.flags = fuzz_u8(fuzz);
        if (fuzz_one_in(fuzz, 8)) op.number = fuzz_number(fuzz);
        if (fuzz_one_in(fuzz, 8)) op.argument = fuzz_number(fuzz);
        if (fuzz_one_in(fuzz, 8)) op.offset = fuzz_number(fuzz);
        if (fuzz_one_in(fuzz, 8)) op.chunk = (uint32_t)fuzz_number(fuzz);
        rst_buffer_clear(&fields);
        uint8_t shape = fuzz_u8(fuzz);
        const char *name = names[shape / 8 % RST_COUNT_OF(names)];
        if (shape % 4)
            rst_fields_add(&fields, op.kind == RST_OP_STREAM || shape % 4 == 2 ? RST_FIELD_NAME : RST_FIELD_KEY,
                           roost_text(name));
        if (shape % 8 == 7) rst_fields_add(&fields, fuzz_u8(fuzz) % 4, fuzz_take(fuzz, fuzz_u8(fuzz)));
        rst_fields_end(&fields);
        struct roost_bytes payload = fuzz_take(fuzz, fuzz_u8(fuzz) % 64);
        op.payload_hash = rst_hash(payload.data, payload.size, 0);
        if (op.flags & RST_OP_EXTERNAL) {
            payload.data = NULL;
            payload.size = (size_t)(fuzz_number(fuzz) & UINT32_MAX);
        }
        rst_submission_add(submission, &op, rst_bytes(fields.data, fields.size), payload);
    }
    RST_CHECK(rst_submission_end(submission, 1 + fuzz_u8(fuzz) % 2) == 0);
    if (fuzz_one_in(fuzz, 4)) { /* damage, mostly under a right checksum */
        struct rst_submission_header header;
        memcpy(&header, submission->data, sizeof header);
        fuzz_damage(fuzz, submission->data + sizeof header, submission->size - sizeof header, 1 + fuzz_u8(fuzz) % 2);
        if (!fuzz_one_in(fuzz, 4))
            header.checksum = rst_hash(submission->data + sizeof header, submission->size - sizeof header, header.level);
        memcpy(submission->data, &header, sizeof header);
    }
    rst_buffer_free(&fields);
}

static void fill_lane(struct machine *machine, struct fuzz *fuzz)
{
    uint64_t lane = layout.lanes_offset + SLOT * RST_LANE_SIZE, at = lane + offsetof(struct rst_lane, data), head[16];
    struct rst_buffer submission = {0};
    RST_CHECK(sim_read_file(machine->sim, MACHINE_ROOT "/region", head, sizeof head, lane) == (int64_t)sizeof head);
    uint64_t sequence = head[8]; /* consumed */
    for (unsigned count = 1 + fuzz_u8(fuzz) % ENTRY_MAX; count > 0; count--) {
        build(fuzz, &submission);
        sequence++;
        struct rst_lane_entry entry = {.offset = at, .size = (uint32_t)submission.size, .result_count = fuzz_u8(fuzz) % 8};
        uint64_t state = fuzz_one_in(fuzz, 8) ? fuzz_u8(fuzz) % 8 : RST_LANE_SUBMITTED;
        entry.word = sequence << 3 | state;
        if (fuzz_one_in(fuzz, 16)) entry.offset = fuzz_number(fuzz);
        if (fuzz_one_in(fuzz, 16)) entry.offset = layout.pool_offset + fuzz_u8(fuzz) * 8;
        if (fuzz_one_in(fuzz, 16)) entry.size = (uint32_t)fuzz_number(fuzz);
        if (fuzz_one_in(fuzz, 16)) entry.result_count = (uint32_t)fuzz_number(fuzz);
        if (fuzz_one_in(fuzz, 32)) entry.word = fuzz_number(fuzz);
        if (at + submission.size <= lane + RST_LANE_SIZE) put(machine, at, submission.data, submission.size);
        put(machine, lane + offsetof(struct rst_lane, entries) + sequence % RST_LANE_ENTRY_COUNT * sizeof entry, &entry,
            sizeof entry);
        at += rst_align_up(submission.size, 8) + 64;
    }
    if (fuzz_one_in(fuzz, 16)) sequence = fuzz_number(fuzz);
    put(machine, lane, &sequence, sizeof sequence);
    rst_buffer_free(&submission);
}

static void no_finding(void *user, int error, const char *file, uint64_t offset, const char *detail)
{
    (void)user;
    fprintf(stderr, "%s at %llu: %s\n", file, (unsigned long long)offset, detail);
    RST_CHECK(error == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {data, size};
    struct machine machine;
    uint8_t kind = fuzz_u8(&fuzz);
    machine_start(&machine, MACHINE_CLOSED);
    RST_CHECK(machine_open(&machine, 0) == 0 && machine_open(&machine, SLOT) == 0);
    RST_CHECK(sim_read_file(machine.sim, MACHINE_ROOT "/region", &layout, sizeof layout, 0) == (int64_t)sizeof layout);
    machine_write(machine_use(&machine, SLOT));
    for (unsigned round = 0; round < 3 && fuzz.left; round++) {
        fill_lane(&machine, &fuzz);
        machine_write(machine_use(&machine, 0));
    }
    roost_root *root = machine_use(&machine, 0);
    machine_read(root, NULL, NULL);
    if (kind % 2) fill_lane(&machine, &fuzz);
    if (kind % 4 > 1) machine_kill(&machine);
    (void)machine_close(&machine, SLOT);
    (void)machine_close(&machine, 0);
    RST_CHECK(machine_open(&machine, 0) == 0);
    root = machine_use(&machine, 0);
    RST_CHECK(roost_check(root, no_finding, NULL) == 0);
    if (kind & 4) RST_CHECK(roost_rebuild(root) == 0 && roost_check(root, no_finding, NULL) == 0);
    machine_end(&machine);
    return 0;
}
