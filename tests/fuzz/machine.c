/* SPDX-License-Identifier: MIT
 * fuzz/machine.c: a root on a simulated machine. */
#include "machine.h"

#include <stdio.h>

#include "api/internal.h"
#include "base/hash.h"

enum {
    RESERVE = 48 << 20, /* of address space for the largest file, the region */
    PASS_MAX = 4096,    /* garbage may promise more than can be read in a lifetime */
};

static struct roost_bytes text(const char *string) { return roost_text(string); }

/* ---- machines ---- */

/* Garbage may make somebody ask again and again until his time is up: it passes faster here than the code runs. */
static int64_t hasty_time(void)
{
    sim_advance(sim_current(), 50000);
    return rst_os_sim.monotonic_time();
}

/* While one handle waits, the others do what their processes' service threads would. */
static void serve(void *user)
{
    struct machine *machine = user;
    int waiting = sim_process_current(machine->sim);
    for (unsigned i = 0; i < MACHINE_HANDLE_MAX; i++)
        if (machine->handles[i].root && machine->handles[i].process != waiting) fuzz_any(roost_sync(machine_use(machine, i)));
    sim_process_use(machine->sim, waiting);
}

static void use(struct machine *machine, struct sim *sim)
{
    static struct rst_os hasty;
    memset(machine, 0, sizeof *machine);
    machine->sim = sim;
    sim_use(sim);
    hasty = rst_os_sim;
    hasty.monotonic_time = hasty_time;
    rst_os = &hasty;
    sim_set_idle(sim, serve, machine);
}

static void fill(struct machine *machine)
{
    RST_CHECK(machine_open(machine, 0) == 0);
    roost_root *root = machine_use(machine, 0);
    for (int i = 0; i < 3; i++) machine_write(root);
    RST_CHECK(roost_checkpoint(root) == 0);
    for (int i = 0; i < 2; i++) machine_write(root);
}

static struct sim *prototype(enum machine_kind kind)
{
    static struct sim *prototypes[MACHINE_KIND_COUNT];
    if (prototypes[kind]) return prototypes[kind];
    struct machine machine;
    struct roost_settings settings = ROOST_SETTINGS_INIT;
    settings.log_size = MACHINE_LOG_SIZE;
    settings.chunk_size = MACHINE_CHUNK_SIZE;
    settings.arena_size = 256 << 10;
    settings.region = ROOST_REGION_FILE;
    use(&machine, sim_create_sized(1 + kind, RESERVE));
    RST_CHECK(rst_root_create(MACHINE_ROOT, &settings) == 0);
    if (kind != MACHINE_EMPTY) fill(&machine);
    if (kind == MACHINE_CLOSED) RST_CHECK(machine_close(&machine, 0) == 0);
    if (kind == MACHINE_KILLED) machine_kill(&machine);
    sim_sync_all(machine.sim);
    return prototypes[kind] = machine.sim;
}

void machine_start(struct machine *machine, enum machine_kind kind)
{
    struct sim *sim = prototype(kind);
    use(machine, sim_process_loss(sim));
}

void machine_end(struct machine *machine)
{
    for (unsigned i = 0; i < MACHINE_HANDLE_MAX; i++) (void)machine_close(machine, i);
    sim_use(NULL);
    sim_destroy(machine->sim);
    machine->sim = NULL;
}

int machine_open(struct machine *machine, unsigned handle)
{
    struct roost_options options = ROOST_OPTIONS_INIT;
    options.wait_ms = 500;
    roost_root *root = calloc(1, sizeof *root);
    RST_CHECK(root && !machine->handles[handle].root);
    machine->handles[handle].process = sim_process_create(machine->sim);
    sim_process_use(machine->sim, machine->handles[handle].process);
    int err = rst_engine_open(MACHINE_ROOT, &options, true, &root->engine);
    if (err)
        free(root);
    else
        machine->handles[handle].root = root;
    return err;
}

roost_root *machine_use(struct machine *machine, unsigned handle)
{
    if (machine->handles[handle].root) sim_process_use(machine->sim, machine->handles[handle].process);
    return machine->handles[handle].root;
}

int machine_close(struct machine *machine, unsigned handle)
{
    roost_root *root = machine_use(machine, handle);
    machine->handles[handle].root = NULL;
    return root ? roost_close(root) : 0;
}

/* The dead processes' handles are closed on the machine that was, so that their memory is given back. */
static void go_on(struct machine *machine, struct sim *sim)
{
    unsigned boots = machine->boots;
    machine_end(machine);
    use(machine, sim);
    machine->boots = boots;
}

void machine_kill(struct machine *machine) { go_on(machine, sim_process_loss(machine->sim)); }

void machine_cut_power(struct machine *machine, uint8_t seed)
{
    machine->boots++; /* no two boots are the same */
    go_on(machine, sim_power_loss(machine->sim, machine->boots * 256u + seed));
}

void machine_damage(struct machine *machine, const char *file, uint64_t offset, uint64_t size, struct fuzz *fuzz)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s", MACHINE_ROOT, file);
    uint8_t bytes[64];
    uint64_t at = offset + (size ? fuzz_unsigned(fuzz, 4) % size : 0);
    size_t count = 8;
    if (fuzz_one_in(fuzz, 3)) {
        struct roost_bytes taken = fuzz_take(fuzz, fuzz_u8(fuzz) % (sizeof bytes + 1));
        memcpy(bytes, taken.data ? taken.data : "", taken.size);
        count = taken.size;
    } else {
        at &= ~UINT64_C(7);
        rst_put_u64(bytes, fuzz_number(fuzz));
    }
    int64_t end = sim_file_size(machine->sim, path);
    if (end >= 0 && at + count <= (uint64_t)end) RST_CHECK(sim_corrupt(machine->sim, path, at, bytes, count) == 0);
}

/* ---- records ---- */

static const char *const names[] = {"a", "ab", "name", "key/1", "b"};

struct rst_record machine_record(struct fuzz *fuzz, uint64_t lsn, uint64_t epoch, uint64_t number, uint32_t chunk,
                                 uint64_t offset, struct rst_buffer *ret_bytes)
{
    struct rst_buffer fields = {0};
    struct rst_record record = {.kind = 1 + fuzz_u8(fuzz) % 8, .lsn = lsn, .epoch = epoch, .number = number};
    bool named = record.kind == RST_RECORD_STREAM || record.kind == RST_RECORD_STATE;
    uint8_t shape = fuzz_u8(fuzz);
    if (shape & 1) rst_fields_add(&fields, named ? RST_FIELD_NAME : RST_FIELD_KEY, text(names[shape / 8 % RST_COUNT_OF(names)]));
    if (shape & 2) rst_fields_add(&fields, RST_FIELD_TAG, text("tag"));
    if ((shape & 12) == 12) { /* any bytes as fields */
        struct roost_bytes any = fuzz_take(fuzz, fuzz_u8(fuzz));
        rst_buffer_add(&fields, any.data, any.size);
    }
    rst_fields_end(&fields);
    struct roost_bytes payload = fuzz_take(fuzz, fuzz_u8(fuzz) % 64);
    record.fields_size = (uint32_t)fields.size;
    record.payload_size = (uint32_t)payload.size;
    record.payload_hash = rst_hash(payload.data, payload.size, 0);
    record.time_ns = (int64_t)number;
    if (fuzz_one_in(fuzz, 4)) record.number = fuzz_number(fuzz);
    if (fuzz_one_in(fuzz, 4)) record.extra = fuzz_number(fuzz);
    if (fuzz_one_in(fuzz, 8)) record.lsn = fuzz_number(fuzz);
    if (fuzz_one_in(fuzz, 8)) record.epoch = fuzz_number(fuzz);
    if (fuzz_one_in(fuzz, 16)) record.payload_size = (uint32_t)fuzz_number(fuzz);
    rst_record_seal(&record, fields.data, chunk, offset);
    rst_buffer_add(ret_bytes, &record, sizeof record);
    rst_buffer_add(ret_bytes, fields.data, fields.size);
    rst_buffer_add(ret_bytes, payload.data, payload.size);
    RST_CHECK(!ret_bytes->failed);
    rst_buffer_free(&fields);
    return record;
}

/* ---- everything ---- */

typedef void (*seen_fn)(void *user, const struct roost_memory *memory);

static void touch_memory(const struct roost_memory *memory)
{
    fuzz_touch(memory->text);
    fuzz_touch(memory->key);
    for (size_t i = 0; i < memory->tag_count; i++) fuzz_touch(memory->tags[i]);
}

static void read_memories(roost_root *root, uint32_t flags, seen_fn seen, void *user)
{
    roost_iter *iter;
    struct roost_memory memory = ROOST_MEMORY_INIT, same = ROOST_MEMORY_INIT;
    if (roost_scan(root, 0, flags, &iter) < 0) return;
    for (int i = 0; i < PASS_MAX && roost_iter_memory(iter, &memory) == 1; i++) {
        touch_memory(&memory);
        if (seen) seen(user, &memory);
        if (roost_get(root, memory.id, &same) < 0) continue;
        touch_memory(&same);
        roost_unpin(root, &same.pin);
    }
    roost_iter_close(iter);
}

static void read_items(roost_iter *iter, struct rst_buffer *names_of)
{
    struct roost_item item = ROOST_ITEM_INIT;
    for (int i = 0; i < PASS_MAX && roost_iter_item(iter, &item) == 1; i++) {
        fuzz_touch(item.key);
        fuzz_touch(item.value);
        if (!names_of || item.key.size > 255) continue;
        rst_buffer_add_u8(names_of, (uint8_t)item.key.size);
        rst_buffer_add(names_of, item.key.data, item.key.size);
    }
    roost_iter_close(iter);
}

static void read_stream(roost_root *root, struct roost_bytes name)
{
    roost_iter *iter;
    struct roost_stream_info info = ROOST_STREAM_INFO_INIT;
    struct roost_item item = ROOST_ITEM_INIT;
    if (roost_stream_info(root, name, &info) == 0 && roost_stream_at(root, name, info.byte_count / 2, &item) == 0) {
        fuzz_touch(item.value);
        roost_unpin(root, &item.pin);
    }
    if (roost_stream_scan(root, name, 0, &iter) == 0) read_items(iter, NULL);
}

static void read_keys_and_streams(roost_root *root)
{
    roost_iter *iter;
    struct rst_buffer streams = {0};
    if (roost_kv_scan(root, text(""), &iter) == 0) read_items(iter, NULL);
    if (roost_streams(root, &iter) == 0) read_items(iter, &streams);
    for (size_t at = 0; at < streams.size && !streams.failed; at += 1u + streams.data[at])
        read_stream(root, rst_bytes(streams.data + at + 1, streams.data[at]));
    rst_buffer_free(&streams);
}

static void read_states(roost_root *root)
{
    roost_iter *iter;
    struct roost_state state = ROOST_STATE_INIT;
    if (roost_state_scan(root, &iter) < 0) return;
    for (int i = 0; i < PASS_MAX && roost_iter_state(iter, &state) == 1; i++) {
        fuzz_touch(state.name);
        fuzz_touch(state.status);
        for (size_t j = 0; j < state.extra_count; j++) fuzz_touch(state.extra[j].value);
    }
    roost_iter_close(iter);
}

static void search(roost_root *root, const char *words)
{
    roost_hits *hits;
    struct roost_hit hit = ROOST_HIT_INIT;
    struct roost_query query = ROOST_QUERY_INIT;
    query.text = text(words);
    if (roost_search(root, &query, &hits) < 0) return;
    while (roost_hits_next(hits, &hit) == 1) fuzz_touch(hit.text);
    roost_hits_close(hits);
}

void machine_read(roost_root *root, seen_fn seen, void *user)
{
    struct roost_stats stats = ROOST_STATS_INIT;
    fuzz_any(roost_stats(root, &stats));
    read_memories(root, 0, seen, user);
    read_memories(root, ROOST_SCAN_REVERSE, seen, user);
    read_keys_and_streams(root);
    read_states(root);
    search(root, "apple pea*");
    search(root, "\"apple pear\" tag:tag");
    fuzz_any(roost_check(root, NULL, NULL));
}

void machine_write(roost_root *root)
{
    static const struct roost_bytes tag = ROOST_TEXT("tag");
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_state state = ROOST_STATE_INIT;
    roost_id id = 0;
    memory.text = text(MACHINE_TEXT);
    memory.key = text("key/1");
    memory.tags = &tag;
    memory.tag_count = 1;
    fuzz_any(roost_append(root, &memory, NULL, &id, NULL));
    memory.key = text("");
    fuzz_any(roost_append(root, &memory, NULL, &id, NULL));
    if (id % 4 == 0) fuzz_any(roost_forget(root, id, NULL, NULL));
    fuzz_any(roost_kv_set(root, text("a"), text("value"), NULL, NULL));
    fuzz_any(roost_kv_set(root, text("ab"), text("value"), NULL, NULL));
    fuzz_any(roost_kv_delete(root, text("ab"), NULL, NULL));
    fuzz_any(roost_stream_append(root, text("name"), text("entry"), NULL, NULL, NULL));
    state.name = text("b");
    state.status = text("idle");
    fuzz_any(roost_state_publish(root, &state, NULL));
}
