/* SPDX-License-Identifier: MIT
 * tests/unit/test_scan.c: what is found in a damaged chunk (store/scan.h) and in a damaged ring (store/ring.h). */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/hash.h"
#include "os/os.h"
#include "store/log.h"
#include "store/ring.h"
#include "store/scan.h"

/* ---- chunks ---- */

enum { CHUNK = 3, CHUNK_SIZE = 16 << 10, ITEM_MAX = 64 };

static uint8_t chunk[CHUNK_SIZE];
static uint64_t tail; /* where the next record goes */
static struct rst_scan_item items[ITEM_MAX];

static void clear_chunk(void)
{
    memset(chunk, 0, sizeof chunk);
    tail = 0;
}

/* A whole record at the offset; its payload is `size` bytes of `fill`. Returns where it ends. */
static uint64_t put_at(uint64_t offset, enum rst_record_kind kind, uint64_t lsn, uint64_t number, uint32_t size, uint8_t fill)
{
    uint8_t payload[4096];
    struct rst_record record = {.kind = (uint16_t)kind, .lsn = lsn, .epoch = 2, .number = number, .payload_size = size};
    ck_assert_uint_le(size, sizeof payload);
    memset(payload, fill, size);
    record.payload_hash = rst_hash(payload, size, 0);
    rst_record_seal(&record, NULL, CHUNK, offset);
    memcpy(chunk + offset, &record, sizeof record);
    memcpy(chunk + offset + sizeof record, payload, size);
    return offset + rst_record_size(0, size);
}

static uint64_t put(uint64_t lsn, uint32_t size)
{
    uint64_t offset = tail;
    tail = put_at(offset, RST_RECORD_MEMORY, lsn, lsn, size, 'a');
    return offset;
}

/* Scans the first `size` bytes into items; they must cover every byte once unless something lies inside a damaged record. */
static unsigned scan_into_items(uint64_t size, bool heads)
{
    struct rst_scan scan;
    unsigned count = 0;
    rst_scan_begin(&scan, chunk, size, CHUNK);
    scan.heads = heads;
    while (count < ITEM_MAX && rst_scan_next(&scan, &items[count])) count++;
    ck_assert_uint_lt(count, ITEM_MAX);
    return count;
}

static void is_record(unsigned index, uint64_t offset, uint64_t lsn, bool payload_right)
{
    ck_assert_msg(items[index].kind == RST_SCAN_RECORD, "item %u is of kind %d", index, (int)items[index].kind);
    ck_assert_uint_eq(items[index].offset, offset);
    ck_assert_uint_eq(items[index].record.header.lsn, lsn);
    ck_assert_int_eq(items[index].payload_right, payload_right);
}

static void is_gap(unsigned index, uint64_t offset, uint64_t size, bool zero)
{
    ck_assert_msg(items[index].kind == RST_SCAN_GAP, "item %u is of kind %d", index, (int)items[index].kind);
    ck_assert_uint_eq(items[index].offset, offset);
    ck_assert_uint_eq(items[index].size, size);
    ck_assert_int_eq(items[index].zero, zero);
}

START_TEST(records_follow_each_other_to_the_end)
{
    ck_assert_uint_eq(scan_into_items(0, false), 0);
    uint64_t first = put(1, 10), second = put(2, 0), third = put(3, 1000);
    ck_assert_uint_eq(scan_into_items(tail, false), 3);
    is_record(0, first, 1, true);
    is_record(1, second, 2, true);
    is_record(2, third, 3, true);
    ck_assert_uint_eq(items[0].size, rst_record_size(0, 10));
    ck_assert_uint_eq(items[2].record.payload.size, 1000);
    ck_assert_uint_eq(scan_into_items(CHUNK_SIZE, false), 4);
    is_gap(3, tail, CHUNK_SIZE - tail, true);
    ck_assert(!items[3].guess);
}
END_TEST

START_TEST(a_void_is_passed_over_with_all_that_lies_in_it)
{
    uint64_t first = put(1, 10), hole = tail;
    put_at(hole, RST_RECORD_VOID, 0, 512, 0, 0);
    put_at(hole + 256, RST_RECORD_MEMORY, 9, 9, 20, 'x'); /* nobody's */
    tail = hole + 512;
    uint64_t second = put(2, 10);
    ck_assert_uint_eq(scan_into_items(tail, false), 3);
    is_record(0, first, 1, true);
    ck_assert_int_eq(items[1].kind, RST_SCAN_VOID);
    ck_assert_uint_eq(items[1].size, 512);
    is_record(2, second, 2, true);
    /* A length that leads out of the chunk, or nowhere, hides nothing. */
    static const uint64_t lengths[] = {CHUNK_SIZE, UINT64_MAX - 7, 8, 0, 513};
    for (size_t i = 0; i < RST_COUNT_OF(lengths); i++) {
        put_at(hole, RST_RECORD_VOID, 0, lengths[i], 0, 0);
        unsigned count = scan_into_items(tail, false), found = 0;
        for (unsigned k = 0; k < count; k++)
            if (items[k].kind == RST_SCAN_RECORD && items[k].record.header.lsn == 9) found++;
        ck_assert_msg(found == 1, "length %llu: %u", (unsigned long long)lengths[i], found);
        is_record(count - 1, second, 2, true);
    }
}
END_TEST

START_TEST(bytes_without_a_record_are_one_gap)
{
    put(1, 10);
    uint64_t gap = tail;
    memset(chunk + gap, 0xee, 200);
    tail += 200;
    uint64_t second = put(2, 10), zeros = tail;
    tail += 96;
    uint64_t third = put(3, 10);
    ck_assert_uint_eq(scan_into_items(tail, false), 5);
    is_gap(1, gap, 200, false);
    ck_assert(!items[1].guess);
    is_record(2, second, 2, true);
    is_gap(3, zeros, 96, true);
    is_record(4, third, 3, true);
    /* The place is under the checksum: a copy elsewhere is no record. */
    memcpy(chunk + zeros, chunk + third, 88);
    ck_assert_uint_eq(scan_into_items(tail, false), 5);
    is_gap(3, zeros, 96, false);
}
END_TEST

/* A header that fails its checksum and still looks like one: the rest of it is probably right. */
START_TEST(a_damaged_header_gives_a_guess)
{
    uint64_t first = put(1, 10), second = put(2, 300), third = put(3, 10);
    (void)first;
    chunk[second + offsetof(struct rst_record, time_ns)] ^= 1;
    ck_assert_uint_eq(scan_into_items(tail, false), 3);
    is_gap(1, second, third - second, false);
    ck_assert(items[1].guess);
    ck_assert_uint_eq(items[1].record.header.lsn, 2);
    ck_assert_uint_eq(items[1].record.header.number, 2);
    is_record(2, third, 3, true);
    chunk[second] ^= 1; /* the magic too: where it would end still fits */
    ck_assert_uint_eq(scan_into_items(tail, false), 3);
    ck_assert(items[1].guess);
    is_gap(1, second, third - second, false);
    chunk[second] ^= 1;
    chunk[second + offsetof(struct rst_record, payload_size) + 1] ^= 4; /* its size leads nowhere: the magic alone is left */
    ck_assert_uint_eq(scan_into_items(tail, false), 3);
    ck_assert(items[1].guess);
    is_gap(1, second, third - second, false);
    is_record(2, third, 3, true);
    chunk[second] ^= 1; /* and without that nothing */
    ck_assert_uint_eq(scan_into_items(tail, false), 3);
    ck_assert(!items[1].guess);
}
END_TEST

START_TEST(a_wrong_payload_keeps_its_place)
{
    uint64_t first = put(1, 500), second = put(2, 10);
    put_at(first + 200, RST_RECORD_MEMORY, 9, 9, 8, 'x'); /* within the payload, which so is wrong */
    ck_assert_uint_eq(scan_into_items(tail, false), 2);
    is_record(0, first, 1, false);
    is_record(1, second, 2, true);
    ck_assert_uint_eq(scan_into_items(tail, true), 2);
    is_record(0, first, 1, true); /* nobody looked */
}
END_TEST

/* An older life's record, whose place was written over since: the newer ones inside it count. */
START_TEST(what_lies_in_a_record_whose_size_leads_nowhere_is_found)
{
    uint64_t old = put(1, 900);
    tail = old + sizeof(struct rst_record) + 40;
    memset(chunk + old + sizeof(struct rst_record), 0xee, 40);
    uint64_t first = put(2, 100), second = put(3, 840); /* runs over the old one's end */
    uint64_t third = put(4, 10);
    ck_assert_uint_eq(scan_into_items(tail, false), 4);
    is_record(0, old, 1, false);
    is_record(1, first, 2, true); /* the bytes before it were given with the old one */
    is_record(2, second, 3, true);
    is_record(3, third, 4, true);
    /* Behind its end nothing is hidden: a gap there is told. */
    memset(chunk + second, 0xee, third - second);
    unsigned count = scan_into_items(tail, false);
    ck_assert_uint_eq(count, 4);
    ck_assert_int_eq(items[2].kind, RST_SCAN_GAP);
    ck_assert_uint_eq(items[2].offset + items[2].size, third);
}
END_TEST

START_TEST(a_chunk_that_ends_early)
{
    uint64_t first = put(1, 10), second = put(2, 101), end = second + sizeof(struct rst_record) + 101;
    ck_assert_uint_lt(end, tail);
    for (uint64_t size = end; size <= tail; size++) { /* within the padding: nothing is missing */
        ck_assert_uint_eq(scan_into_items(size, false), 2);
        is_record(1, second, 2, true);
        ck_assert_uint_eq(items[1].size, size - second);
    }
    ck_assert_uint_eq(scan_into_items(end - 1, false), 2);
    is_record(0, first, 1, true);
    is_record(1, second, 2, false);
    ck_assert_ptr_null(items[1].record.payload.data);
    ck_assert_uint_eq(scan_into_items(end - 1, true), 2);
    is_record(1, second, 2, false);
    ck_assert_uint_eq(scan_into_items(second + 40, false), 2);
    is_gap(1, second, 40, false);
}
END_TEST

static void ended(struct rst_epochs *epochs, uint64_t epoch, uint64_t kept)
{
    struct rst_record record = {.kind = RST_RECORD_EPOCH, .epoch = epoch, .number = epoch - 1, .extra = kept};
    rst_epochs_add(epochs, &record);
    record.kind = RST_RECORD_MEMORY; /* says nothing */
    record.extra = 1;
    rst_epochs_add(epochs, &record);
}

START_TEST(each_epoch_says_what_it_kept_of_all_before)
{
    struct rst_epochs epochs = {0};
    rst_epochs_sort(&epochs);
    ck_assert(rst_epochs_kept(&epochs, 1, 1000));
    ended(&epochs, 4, 30);
    ended(&epochs, 2, 10);
    ended(&epochs, 3, 20);
    rst_epochs_sort(&epochs);
    static const struct {
        uint64_t epoch, lsn;
        bool kept;
    } cases[] = {{1, 10, true}, {1, 11, false}, {2, 20, true}, {2, 21, false}, {3, 30, true}, {3, 31, false}, {4, 1000, true}};
    for (size_t i = 0; i < RST_COUNT_OF(cases); i++)
        ck_assert_msg(rst_epochs_kept(&epochs, cases[i].epoch, cases[i].lsn) == cases[i].kept, "case %zu", i);
    ended(&epochs, 6, 15); /* a later one kept less than those before it */
    rst_epochs_sort(&epochs);
    ck_assert(!rst_epochs_kept(&epochs, 2, 20));
    ck_assert(!rst_epochs_kept(&epochs, 4, 16));
    ck_assert(rst_epochs_kept(&epochs, 3, 15));
    ck_assert(!rst_epochs_kept(&epochs, 1, 11));
    ck_assert(rst_epochs_kept(&epochs, 6, 1000));
    rst_epochs_free(&epochs);
}
END_TEST

/* ---- rings ---- */

enum { RING_SIZE = 32 << 10 };

static int file;
static struct rst_os table;
static struct rst_ring ring;

static void make_file(void)
{
    char name[] = "/tmp/roost-ring-XXXXXX";
    table = rst_os_linux;
    rst_os = &table;
    file = mkstemp(name);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(unlink(name), 0);
    ck_assert_int_eq(ftruncate(file, RST_LOG_RING_OFFSET + RING_SIZE), 0);
    memset(&ring, 0, sizeof ring);
}

static void close_file(void)
{
    rst_ring_free(&ring);
    table = rst_os_linux;
    close(file);
}

static uint8_t body_byte(uint64_t lsn, size_t at) { return (uint8_t)((lsn * 2654435761u + at * 40503u + at * at * 7u) >> 5); }

/* A frame of one LSN whose body does not compress; it ends at the next multiple of 512. Returns that position. */
static uint64_t write_frame(uint64_t position, uint64_t epoch, uint64_t lsn, size_t body_size)
{
    struct rst_frame_header header = {.position = position, .epoch = epoch, .lsn_first = lsn, .lsn_last = lsn};
    struct rst_buffer body = {0}, bytes = {0};
    for (size_t i = 0; i < body_size; i++) {
        uint8_t byte = body_byte(lsn, i);
        rst_buffer_add(&body, &byte, 1);
    }
    ck_assert_int_eq(rst_frame_encode(&header, &body, &bytes), 0);
    uint64_t at = position % RING_SIZE, first = bytes.size < RING_SIZE - at ? bytes.size : RING_SIZE - at;
    ck_assert_int_eq(rst_write_all(file, bytes.data, first, RST_LOG_RING_OFFSET + at), 0);
    ck_assert_int_eq(rst_write_all(file, bytes.data + first, bytes.size - first, RST_LOG_RING_OFFSET), 0);
    rst_buffer_free(&body);
    rst_buffer_free(&bytes);
    return rst_frame_end(&header);
}

static void spoil(uint64_t position)
{
    uint8_t byte = 0xee;
    ck_assert_int_eq(rst_write_all(file, &byte, 1, RST_LOG_RING_OFFSET + (position + 130) % RING_SIZE), 0);
}

static size_t read_ring(void)
{
    rst_ring_free(&ring);
    memset(&ring, 0, sizeof ring);
    ck_assert_int_eq(rst_ring_read(file, RING_SIZE, &ring), 0);
    return rst_ring_count(&ring);
}

/* What leads to the newest frame: the LSN of the first of them; 0: no frame. */
static uint64_t chain(bool *ret_hole)
{
    size_t first = 0;
    return rst_ring_chain(&ring, &first, ret_hole) ? rst_ring_at(&ring, first)->lsn_first : 0;
}

START_TEST(a_ring_that_was_not_filled_has_everything)
{
    bool hole;
    ck_assert_uint_eq(read_ring(), 0);
    ck_assert_uint_eq(chain(&hole), 0);
    uint64_t position = 0;
    for (uint64_t lsn = 1; lsn <= 5; lsn++) position = write_frame(position, 1, lsn, 700);
    ck_assert_uint_eq(read_ring(), 5);
    for (size_t i = 0; i < 5; i++) ck_assert_uint_eq(rst_ring_at(&ring, i)->lsn_first, i + 1);
    ck_assert_uint_eq(chain(&hole), 1);
    ck_assert(!hole);
    ck_assert_uint_eq(chain(NULL), 1);
    /* The file is cut short: what is missing reads as zeros. */
    ck_assert_int_eq(ftruncate(file, RST_LOG_RING_OFFSET + 2 * 1024), 0);
    ck_assert_uint_eq(read_ring(), 2);
    ck_assert_uint_eq(ring.unreadable, 0);
}
END_TEST

START_TEST(a_damaged_frame_is_a_hole)
{
    bool hole;
    uint64_t positions[6] = {0};
    for (uint64_t lsn = 1; lsn <= 5; lsn++) positions[lsn] = write_frame(positions[lsn - 1], 1, lsn, 700);
    spoil(positions[1]); /* the second */
    ck_assert_uint_eq(read_ring(), 4);
    ck_assert_uint_eq(chain(&hole), 3);
    ck_assert(hole);
    write_frame(positions[1], 1, 2, 700);
    spoil(0); /* the first */
    ck_assert_uint_eq(read_ring(), 4);
    ck_assert_uint_eq(chain(&hole), 2);
    ck_assert(hole);
    write_frame(0, 1, 1, 700);
    spoil(positions[4]); /* of the last nobody can know */
    ck_assert_uint_eq(read_ring(), 4);
    ck_assert_uint_eq(chain(&hole), 1);
    ck_assert(!hole);
}
END_TEST

START_TEST(a_ring_that_was_written_over)
{
    bool hole;
    uint64_t position = 0, lsn = 0;
    while (position < 3 * (uint64_t)RING_SIZE + 1000) position = write_frame(position, 1, ++lsn, 700);
    uint64_t oldest = lsn - RING_SIZE / 1024 + 1;
    ck_assert_uint_eq(read_ring(), RING_SIZE / 1024);
    ck_assert_uint_eq(chain(&hole), oldest);
    ck_assert(!hole);
    spoil(position - RING_SIZE + 4 * 1024); /* far enough back, and yet something is missing in between */
    ck_assert_uint_eq(read_ring(), RING_SIZE / 1024 - 1);
    ck_assert_uint_eq(chain(&hole), oldest + 5);
    ck_assert(hole);
    write_frame(position - RING_SIZE + 4 * 1024, 1, oldest + 4, 700);
    write_frame(position - 2 * (uint64_t)RING_SIZE, 1, oldest - RING_SIZE / 1024,
                700); /* of the lap before, in the oldest's place */
    ck_assert_uint_eq(read_ring(), RING_SIZE / 1024);
    ck_assert_uint_eq(chain(&hole), oldest + 1);
    ck_assert(!hole);
    spoil(position - RING_SIZE); /* half overwritten, as the oldest always may be */
    ck_assert_uint_eq(read_ring(), RING_SIZE / 1024 - 1);
    ck_assert_uint_eq(chain(&hole), oldest + 1);
    ck_assert(!hole);
    for (unsigned i = 1; i <= RING_SIZE / 1024 / 2; i++) spoil(position - RING_SIZE + i * 1024); /* so much never is */
    read_ring();
    ck_assert_uint_eq(chain(&hole), oldest + RING_SIZE / 1024 / 2 + 1);
    ck_assert(hole);
}
END_TEST

START_TEST(a_frame_over_the_rings_end_is_whole)
{
    struct rst_buffer scratch = {0};
    struct rst_frame frame;
    uint64_t position = 0, lsn = 0;
    bool hole;
    while (position < RING_SIZE - 1024) position = write_frame(position, 1, ++lsn, 700);
    uint64_t end = write_frame(position, 1, ++lsn, 5000);
    ck_assert_uint_gt(end, RING_SIZE);
    size_t count = read_ring();
    ck_assert_uint_eq(rst_ring_at(&ring, count - 1)->lsn_first, lsn);
    ck_assert_int_eq(rst_ring_frame(&ring, count - 1, &scratch, &frame), 0);
    ck_assert_uint_eq(frame.header.raw_size, 5000);
    for (size_t i = 0; i < 5000; i++) ck_assert_uint_eq(frame.body[i], body_byte(lsn, i));
    ck_assert_uint_lt(chain(&hole), lsn);
    ck_assert(!hole);
    spoil(RING_SIZE + 512); /* the part at the ring's beginning */
    ck_assert_uint_eq(read_ring(), count - 1);
    rst_buffer_free(&scratch);
}
END_TEST

/* What a recovery dropped, and a copy in another place, are no part of the newest frame's past. */
START_TEST(frames_of_other_lives_and_places)
{
    bool hole;
    uint64_t second = write_frame(0, 1, 1, 200), third = write_frame(second, 1, 2, 200);
    write_frame(third, 1, 3, 200);
    write_frame(second, 2, 7, 200); /* 2 and 3 were dropped; of 3 the frame is left */
    ck_assert_uint_eq(read_ring(), 3);
    ck_assert_uint_eq(rst_ring_at(&ring, 2)->lsn_first, 7);
    ck_assert_uint_eq(chain(&hole), 1);
    ck_assert(!hole);
    uint8_t bytes[512];
    ck_assert_int_eq(rst_read_all(file, bytes, sizeof bytes, RST_LOG_RING_OFFSET), sizeof bytes);
    ck_assert_int_eq(rst_write_all(file, bytes, sizeof bytes, RST_LOG_RING_OFFSET + 8192), 0);
    ck_assert_uint_eq(read_ring(), 3);
}
END_TEST

enum { BAD_OFFSET = RST_LOG_RING_OFFSET + 8192 };

static int64_t bad_page(int from, void *to, size_t size, uint64_t offset)
{
    return offset < BAD_OFFSET + 4096 && offset + size > BAD_OFFSET ? -EIO : rst_os_linux.pread(from, to, size, offset);
}

START_TEST(a_page_that_the_disk_refuses_costs_no_other)
{
    bool hole;
    uint64_t position = 0, lsn = 0;
    while (position < 20 * 1024) position = write_frame(position, 1, ++lsn, 700);
    table.pread = bad_page;
    ck_assert_uint_eq(read_ring(), 16);
    ck_assert_uint_eq(ring.unreadable, 4096);
    ck_assert_uint_eq(chain(&hole), 13);
    ck_assert(hole);
    uint8_t bytes[3 * 4096];
    memset(bytes, 0xee, sizeof bytes);
    ck_assert_uint_eq(rst_read_what_can_be(file, bytes, sizeof bytes, BAD_OFFSET - 4096), 4096);
    for (size_t i = 4096; i < 2 * 4096; i++) ck_assert_uint_eq(bytes[i], 0);
    ck_assert_uint_eq(bytes[3 * 1024], 'F'); /* a frame's magic */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scan");
    TCase *chunks = tcase_create("chunks"), *rings = tcase_create("rings");
    tcase_add_checked_fixture(chunks, clear_chunk, NULL);
    tcase_add_test(chunks, records_follow_each_other_to_the_end);
    tcase_add_test(chunks, a_void_is_passed_over_with_all_that_lies_in_it);
    tcase_add_test(chunks, bytes_without_a_record_are_one_gap);
    tcase_add_test(chunks, a_damaged_header_gives_a_guess);
    tcase_add_test(chunks, a_wrong_payload_keeps_its_place);
    tcase_add_test(chunks, what_lies_in_a_record_whose_size_leads_nowhere_is_found);
    tcase_add_test(chunks, a_chunk_that_ends_early);
    tcase_add_test(chunks, each_epoch_says_what_it_kept_of_all_before);
    tcase_add_checked_fixture(rings, make_file, close_file);
    tcase_add_test(rings, a_ring_that_was_not_filled_has_everything);
    tcase_add_test(rings, a_damaged_frame_is_a_hole);
    tcase_add_test(rings, a_ring_that_was_written_over);
    tcase_add_test(rings, a_frame_over_the_rings_end_is_whole);
    tcase_add_test(rings, frames_of_other_lives_and_places);
    tcase_add_test(rings, a_page_that_the_disk_refuses_costs_no_other);
    suite_add_tcase(suite, chunks);
    suite_add_tcase(suite, rings);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
