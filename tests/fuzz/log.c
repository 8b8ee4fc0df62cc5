/* SPDX-License-Identifier: MIT
 * fuzz/log.c: a whole log, and recovery from it. The ring is made from the input, frame by frame: each is encoded and sealed as a writer
 * would, with wrong numbers where the input says so; then bytes of the log and of MANIFEST are damaged, without new checksums.
 * The root then opens or is refused, is read, written, closed and opened again. Damage may lose memories but invents none. */
#include "format/log.h"
#include "base/hash.h"
#include "machine.h"

enum { FRAME_MAX = 12, ENTRY_MAX = 4, KNOWN_MAX = 256 };

/* Memories that the input put into the ring; those that were there before all have the same text. */
static struct known {
    uint64_t id, hash;
} known[KNOWN_MAX];
static size_t known_count;

static uint64_t hash_of(struct roost_bytes bytes) { return rst_hash(bytes.data, bytes.size, 0); }

static void remember(uint64_t id, uint64_t hash)
{
    if (known_count < KNOWN_MAX) known[known_count++] = (struct known){id, hash};
}

static void must_be_known(void *user, const struct roost_memory *memory)
{
    (void)user;
    uint64_t hash = hash_of(memory->text);
    if (rst_bytes_equal(memory->text, roost_text(MACHINE_TEXT))) return;
    for (size_t i = 0; i < known_count; i++)
        if (known[i].id == memory->id && known[i].hash == hash) return;
    RST_CHECK(known_count == KNOWN_MAX);
}

/* What a writer keeps in mind from frame to frame. */
struct ring {
    uint64_t position, epoch, lsn, id, tail, durable_lsn;
    uint32_t chunk;
};

static void add_entries(struct ring *ring, struct fuzz *fuzz, struct rst_frame_header *header, struct rst_buffer *body)
{
    struct rst_buffer record_bytes = {0};
    for (unsigned count = fuzz_u8(fuzz) % (ENTRY_MAX + 1); count > 0; count--) {
        uint64_t offset = ring->tail;
        uint32_t chunk = ring->chunk;
        if (fuzz_one_in(fuzz, 16)) offset = fuzz_number(fuzz);
        if (fuzz_one_in(fuzz, 16)) chunk = (uint32_t)fuzz_number(fuzz);
        rst_buffer_clear(&record_bytes);
        struct rst_record record =
            machine_record(fuzz, header->lsn_first + header->entry_count, header->epoch, ring->id, chunk, offset, &record_bytes);
        uint64_t size = rst_record_size(record.fields_size, record.payload_size);
        struct rst_frame_entry entry = {offset, chunk, (uint32_t)size, (uint32_t)record_bytes.size, 0};
        if (fuzz_one_in(fuzz, 16)) entry.flags = RST_ENTRY_EXTERNAL;
        if (fuzz_one_in(fuzz, 16)) entry.inline_size = (uint32_t)fuzz_number(fuzz);
        if (fuzz_one_in(fuzz, 16)) entry.record_size = (uint32_t)fuzz_number(fuzz);
        rst_buffer_add(body, &entry, sizeof entry);
        rst_buffer_add(body, record_bytes.data, record_bytes.size);
        rst_buffer_add_zeros(body, rst_align_up(record_bytes.size, 8) - record_bytes.size);
        if (record.kind == RST_RECORD_MEMORY) /* of an empty text the hash is not looked at */
            remember(record.number, record.payload_size ? record.payload_hash : hash_of(rst_bytes(NULL, 0)));
        ring->id++;
        ring->tail = rst_align_up(ring->tail + size, 8) % MACHINE_CHUNK_SIZE;
        header->entry_count++;
    }
    rst_buffer_free(&record_bytes);
}

static void add_consumed(struct fuzz *fuzz, struct rst_frame_header *header, struct rst_buffer *body)
{
    for (header->consumed_count = fuzz_u8(fuzz) % 3; body->size / sizeof(struct rst_frame_consumed) < header->consumed_count;) {
        struct rst_frame_consumed consumed = {.client = fuzz_u8(fuzz), .sequence = fuzz_u8(fuzz), .lsn = header->lsn_first};
        rst_buffer_add(body, &consumed, sizeof consumed);
    }
}

static void twist(struct fuzz *fuzz, struct rst_frame_header *header)
{
    uint64_t *const numbers[] = {&header->epoch,   &header->lsn_first,  &header->lsn_last,    &header->durable_lsn,
                                 &header->id_next, &header->id_ceiling, &header->lsn_ceiling, &header->chunk_tail};
    uint32_t *const counts[] = {&header->chunk, &header->consumed_count, &header->entry_count, &header->flags};
    if (fuzz_one_in(fuzz, 4)) *numbers[fuzz_u8(fuzz) % RST_COUNT_OF(numbers)] = fuzz_number(fuzz);
    if (fuzz_one_in(fuzz, 8)) *counts[fuzz_u8(fuzz) % RST_COUNT_OF(counts)] = (uint32_t)fuzz_number(fuzz);
}

static void put(struct machine *machine, uint64_t position, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i += RST_FRAME_ALIGNMENT)
        RST_CHECK(sim_corrupt(machine->sim, MACHINE_ROOT "/state.wal", RST_LOG_RING_OFFSET + (position + i) % MACHINE_LOG_SIZE,
                              bytes + i, RST_FRAME_ALIGNMENT) == 0);
}

static void add_frame(struct machine *machine, struct ring *ring, struct fuzz *fuzz)
{
    struct rst_buffer body = {0}, bytes = {0};
    struct rst_frame_header header = {
        .position = ring->position, .epoch = ring->epoch, .lsn_first = ring->lsn, .durable_lsn = ring->durable_lsn};
    add_consumed(fuzz, &header, &body);
    add_entries(ring, fuzz, &header, &body);
    header.lsn_last = header.lsn_first + (header.entry_count ? header.entry_count - 1 : 0);
    header.id_next = ring->id;
    header.id_ceiling = ring->id + 4096;
    header.lsn_ceiling = header.lsn_last + 4096;
    header.chunk = ring->chunk;
    header.chunk_tail = ring->tail;
    if (fuzz_one_in(fuzz, 8)) header.flags = RST_FRAME_CLOSED;
    uint64_t lsn_next = header.lsn_last + 1;
    twist(fuzz, &header);
    RST_CHECK(rst_frame_encode(&header, &body, &bytes) == 0);
    if (bytes.size <= MACHINE_LOG_SIZE) put(machine, ring->position, bytes.data, bytes.size);
    ring->durable_lsn = fuzz_one_in(fuzz, 2) ? ring->lsn : ring->durable_lsn;
    ring->lsn = lsn_next;
    ring->position += bytes.size;
    if (fuzz_one_in(fuzz, 8)) ring->position += RST_FRAME_ALIGNMENT; /* a hole */
    if (fuzz_one_in(fuzz, 8)) ring->epoch++;
    rst_buffer_free(&body);
    rst_buffer_free(&bytes);
}

/* Goes on where the root's own log ends. */
static void find_end(const struct machine *machine, struct ring *ring)
{
    *ring = (struct ring){.epoch = 1, .lsn = 1, .id = 1};
    uint8_t bytes[RST_FRAME_ALIGNMENT];
    for (;;) {
        struct rst_frame_header header;
        uint64_t offset = RST_LOG_RING_OFFSET + ring->position % MACHINE_LOG_SIZE;
        RST_CHECK(sim_read_file(machine->sim, MACHINE_ROOT "/state.wal", bytes, sizeof bytes, offset) == (int64_t)sizeof bytes);
        memcpy(&header, bytes, sizeof header);
        if (!rst_frame_plausible(&header, ring->position, MACHINE_LOG_SIZE)) return;
        *ring = (struct ring){ring->position + rst_align_up(header.size, RST_FRAME_ALIGNMENT),
                              header.epoch,
                              header.lsn_last + 1,
                              header.id_next,
                              header.chunk_tail,
                              header.durable_lsn,
                              header.chunk};
    }
}

static void open_and_use(struct machine *machine, void (*seen)(void *user, const struct roost_memory *memory))
{
    if (machine_open(machine, 0)) return;
    machine_read(machine_use(machine, 0), seen, NULL);
    machine_write(machine_use(machine, 0));
    machine_read(machine_use(machine, 0), NULL, NULL);
    (void)machine_close(machine, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {data, size};
    struct machine machine;
    struct ring ring;
    uint8_t kind = fuzz_u8(&fuzz);
    machine_start(&machine, kind % 2 ? MACHINE_CLOSED : MACHINE_EMPTY);
    known_count = 0;
    find_end(&machine, &ring);
    for (unsigned count = fuzz_u8(&fuzz) % FRAME_MAX; count > 0 && fuzz.left; count--) add_frame(&machine, &ring, &fuzz);
    for (unsigned count = kind / 2 % 4; count > 0; count--)
        machine_damage(&machine, "state.wal", RST_LOG_RING_OFFSET, ring.position % MACHINE_LOG_SIZE, &fuzz);
    if (kind / 8 % 8 == 7) machine_damage(&machine, "state.wal", 0, RST_LOG_RING_OFFSET, &fuzz);
    if (kind / 8 % 8 == 6) machine_damage(&machine, "index/MANIFEST", 0, 200, &fuzz);
    if (kind & 128) machine_cut_power(&machine, kind);
    open_and_use(&machine, must_be_known);
    open_and_use(&machine, NULL);
    machine_end(&machine);
    return 0;
}
