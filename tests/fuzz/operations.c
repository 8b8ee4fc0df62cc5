/* SPDX-License-Identifier: MIT
 * fuzz/operations.c: a sequence of calls through two handles, with deaths, power cuts, checkpoints and rebuilds between them, against a
 * model of what a root means: after each the root must hold what the model says. What is of level "process" may go in a power cut, the
 * last first: then the root must be as the model was at some moment since the last durable write. */
#include "machine.h"

#include <stdio.h>

enum {
    STEP_MAX = 64,
    WORD_COUNT = 8,
    KEY_COUNT = 4,
    STREAM_COUNT = 2,
    STATE_COUNT = 2,
    SIZE_MAX_LARGE = 6000, /* beyond what travels inline in a log as small as this one's */
};
#define HOUR_NS (3600 * INT64_C(1000000000))
static const char *const names[] = {"alpha", "beta", "gamma", "delta"};
static const char *const words[WORD_COUNT] = {"heron", "marsh", "plume", "reed", "dusk", "otter", "willow", "fog"};

/* ---- the model ---- */

struct model {
    struct {
        uint64_t id;
        uint32_t serial, size;
        uint8_t key; /* 0: none, else index + 1 */
        bool there;
    } memories[STEP_MAX];
    struct {
        uint64_t version;
        uint32_t serial, size;
        int64_t expires_ns;
        bool there;
    } keys[KEY_COUNT];
    struct {
        uint32_t serial[STEP_MAX], size[STEP_MAX], count;
    } streams[STREAM_COUNT];
    uint32_t memory_count;
};
/* history[last] is now; those from 0 on are what a power cut may bring back. States have a promise of their own: never one that is older
 * than the last durable one. */
static struct {
    struct machine machine;
    struct model history[STEP_MAX + 1];
    uint32_t last, serial;
    uint32_t state[STATE_COUNT], state_durable[STATE_COUNT]; /* serial; 0: none */
    int64_t now_ns; /* of the last advance; expiries are half an hour from where time goes */
} run;

static struct model *now(void) { return &run.history[run.last]; }

/* Before a change; what was is kept unless the change makes all of it durable. */
static void begin_change(void)
{
    run.history[run.last + 1] = run.history[run.last];
    run.last++;
}
static void all_durable(void)
{
    run.history[0] = run.history[run.last];
    run.last = 0;
}
static void end_change(const struct roost_write *write)
{
    if (write->level == ROOST_DURABLE) all_durable();
}

/* The bytes of a serial: some of the words, chosen by its bits, then signs. */
static struct roost_bytes content(uint32_t serial, uint32_t size)
{
    static char bytes[SIZE_MAX_LARGE + 1];
    size_t used = (size_t)snprintf(bytes, sizeof bytes, "s%u", serial);
    for (unsigned i = 0; i < WORD_COUNT; i++)
        if (serial * 2654435761u >> (24 + i) & 1) used += (size_t)snprintf(bytes + used, sizeof bytes - used, " %s", words[i]);
    if (used > size) size = (uint32_t)used;
    memset(bytes + used, '.', size - used);
    return rst_bytes(bytes, size);
}
static bool has_word(uint32_t serial, unsigned word) { return serial * 2654435761u >> (24 + word) & 1; }

/* ---- comparing ---- */

static void show(const char *what)
{
    if (getenv("ROOST_FUZZ_VERBOSE")) fprintf(stderr, "differs: %s (%s)\n", what, roost_error_detail());
}
#define SAME(condition) \
    do { \
        if (!(condition)) { \
            show(#condition); \
            return false; \
        } \
    } while (0)

static bool same_bytes(struct roost_bytes bytes, uint32_t serial, uint32_t size)
{
    return rst_bytes_equal(bytes, content(serial, size));
}

static bool compare_memories(roost_root *root, const struct model *model)
{
    roost_iter *iter;
    struct roost_memory memory = ROOST_MEMORY_INIT;
    uint64_t count = 0;
    SAME(roost_scan(root, 0, 0, &iter) == 0);
    bool same = true;
    for (uint32_t i = 0; same && i < model->memory_count; i++) {
        if (!model->memories[i].there) continue;
        count++;
        same = roost_iter_memory(iter, &memory) == 1 && memory.id == model->memories[i].id &&
               same_bytes(memory.text, model->memories[i].serial, model->memories[i].size) &&
               rst_bytes_equal(memory.key, roost_text(model->memories[i].key ? names[model->memories[i].key - 1] : NULL));
    }
    same = same && roost_iter_memory(iter, &memory) == 0;
    roost_iter_close(iter);
    SAME(same);
    struct roost_stats stats = ROOST_STATS_INIT;
    SAME(roost_stats(root, &stats) == 0 && stats.memory_count == count);
    for (uint32_t i = 0; i < model->memory_count; i++) {
        if (model->memories[i].there) continue;
        SAME(roost_get(root, model->memories[i].id, &memory) == ROOST_ENOENT);
    }
    return true;
}

static bool compare_search(roost_root *root, const struct model *model)
{
    for (unsigned word = 0; word < WORD_COUNT; word += 3) {
        roost_hits *hits;
        struct roost_query query = ROOST_QUERY_INIT;
        struct roost_hit hit = ROOST_HIT_INIT;
        query.text = roost_text(words[word]);
        query.limit = STEP_MAX;
        size_t want = 0, got = 0;
        for (uint32_t i = 0; i < model->memory_count; i++)
            want += model->memories[i].there && has_word(model->memories[i].serial, word);
        SAME(roost_search(root, &query, &hits) == 0);
        bool right = true;
        for (; roost_hits_next(hits, &hit) == 1; got++) {
            uint32_t serial = (uint32_t)strtoul((const char *)hit.text.data + 1, NULL, 10);
            right = right && has_word(serial, word);
        }
        roost_hits_close(hits);
        SAME(right && got == want);
    }
    return true;
}

static bool compare_keys(roost_root *root, const struct model *model)
{
    for (unsigned key = 0; key < KEY_COUNT; key++) {
        struct roost_item item = ROOST_ITEM_INIT;
        bool there = model->keys[key].there && (!model->keys[key].expires_ns || model->keys[key].expires_ns > run.now_ns);
        int err = roost_kv_get(root, roost_text(names[key]), &item);
        SAME(err == (there ? 0 : ROOST_ENOENT));
        if (!there) continue;
        bool same = item.version == model->keys[key].version && item.expires_ns == model->keys[key].expires_ns &&
                    same_bytes(item.value, model->keys[key].serial, model->keys[key].size);
        roost_unpin(root, &item.pin);
        SAME(same);
    }
    return true;
}

static bool compare_streams(roost_root *root, const struct model *model)
{
    for (unsigned stream = 0; stream < STREAM_COUNT; stream++) {
        struct roost_bytes name = roost_text(names[stream]);
        struct roost_stream_info info = ROOST_STREAM_INFO_INIT;
        uint32_t count = model->streams[stream].count;
        uint64_t bytes = 0;
        int err = roost_stream_info(root, name, &info);
        SAME(err == (count ? 0 : ROOST_ENOENT));
        for (uint32_t i = 0; i < count; i++) {
            struct roost_item item = ROOST_ITEM_INIT;
            SAME(roost_stream_get(root, name, i, &item) == 0);
            bool same = item.index == i && item.byte_offset == bytes &&
                        same_bytes(item.value, model->streams[stream].serial[i], model->streams[stream].size[i]);
            bytes += item.value.size;
            roost_unpin(root, &item.pin);
            SAME(same);
        }
        SAME(!count || (info.entry_count == count && info.byte_count == bytes));
    }
    return true;
}

static bool compare_all(roost_root *root, const struct model *model)
{
    return compare_memories(root, model) && compare_keys(root, model) && compare_streams(root, model) &&
           compare_search(root, model);
}

static void compare_states(roost_root *root, bool power)
{
    for (unsigned i = 0; i < STATE_COUNT; i++) {
        struct roost_state state = ROOST_STATE_INIT;
        int err = roost_state_get(root, roost_text(names[i]), &state);
        uint64_t found = err ? 0 : state.last_updated_id;
        RST_CHECK(!err || err == ROOST_ENOENT);
        RST_CHECK(found == run.state[i] || (power && found >= run.state_durable[i] && found < run.state[i]));
        if (!err) RST_CHECK(rst_bytes_equal(state.status, content((uint32_t)found, 0)));
        if (!err) roost_unpin(root, &state.pin);
        run.state[i] = (uint32_t)found;
    }
}

static void on_finding(void *user, int error, const char *file, uint64_t offset, const char *detail)
{
    (void)user, (void)error;
    fprintf(stderr, "roost_check: %s at %llu: %s\n", file, (unsigned long long)offset, detail);
}

static void compare(bool power)
{
    roost_root *root = machine_use(&run.machine, 0);
    while (!compare_all(root, now())) {
        RST_CHECK(power && run.last > 0); /* the root holds what no moment since the last durable write held */
        run.last--;
    }
    compare_states(root, power);
    RST_CHECK(roost_check(root, on_finding, NULL) == 0);
}

/* ---- the calls ---- */

static uint32_t choose_size(struct fuzz *fuzz) { return fuzz_one_in(fuzz, 8) ? fuzz_below(fuzz, SIZE_MAX_LARGE) : fuzz_u8(fuzz); }

static struct roost_write choose_write(struct fuzz *fuzz)
{
    struct roost_write write = ROOST_WRITE_INIT;
    write.level = fuzz_one_in(fuzz, 2) ? ROOST_PROCESS : ROOST_DURABLE;
    return write;
}

static void append(roost_root *root, struct fuzz *fuzz)
{
    struct model *model = now();
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_write write = choose_write(fuzz);
    uint32_t at = model->memory_count++;
    uint8_t key = fuzz_u8(fuzz) % (KEY_COUNT + 1);
    model->memories[at].serial = ++run.serial;
    model->memories[at].key = key;
    memory.text = content(run.serial, choose_size(fuzz));
    model->memories[at].size = (uint32_t)memory.text.size;
    if (key) memory.key = roost_text(names[key - 1]);
    RST_CHECK(roost_append(root, &memory, &write, &model->memories[at].id, NULL) == 0);
    for (uint32_t i = 0; key && i < at; i++)
        if (model->memories[i].key == key) model->memories[i].there = false;
    for (uint32_t i = 0; i < at; i++) RST_CHECK(model->memories[i].id < model->memories[at].id);
    model->memories[at].there = true;
    end_change(&write);
}

static void forget(roost_root *root, struct fuzz *fuzz)
{
    struct model *model = now();
    struct roost_write write = choose_write(fuzz);
    uint32_t at = fuzz_u8(fuzz) % (model->memory_count + 1);
    bool there = at < model->memory_count && model->memories[at].there;
    uint64_t id = at < model->memory_count ? model->memories[at].id : UINT64_C(1) << 40;
    RST_CHECK(roost_forget(root, id, &write, NULL) == (there ? 0 : ROOST_ENOENT));
    if (!there) return;
    model->memories[at].there = false;
    end_change(&write);
}

static void set(roost_root *root, struct fuzz *fuzz)
{
    struct model *model = now();
    struct roost_write write = choose_write(fuzz);
    struct roost_receipt receipt;
    unsigned key = fuzz_u8(fuzz) % KEY_COUNT;
    bool there = model->keys[key].there && (!model->keys[key].expires_ns || model->keys[key].expires_ns > run.now_ns),
         right = true;
    if (fuzz_one_in(fuzz, 2)) {
        write.flags = ROOST_WRITE_IF_VERSION;
        write.expected = fuzz_one_in(fuzz, 2) ? fuzz_u8(fuzz) : there ? model->keys[key].version : 0;
        right = write.expected == (there ? model->keys[key].version : 0);
    }
    if (fuzz_one_in(fuzz, 4)) write.expires_ns = run.now_ns + HOUR_NS / 2 + fuzz_u8(fuzz) % 2 * HOUR_NS;
    struct roost_bytes value = content(++run.serial, choose_size(fuzz));
    RST_CHECK(roost_kv_set(root, roost_text(names[key]), value, &write, &receipt) == (right ? 0 : ROOST_EMISMATCH));
    if (!right) return;
    model->keys[key].there = true;
    model->keys[key].version = receipt.lsn;
    model->keys[key].serial = run.serial;
    model->keys[key].size = (uint32_t)value.size;
    model->keys[key].expires_ns = write.expires_ns;
    end_change(&write);
}

static void delete (roost_root *root, struct fuzz *fuzz)
{
    struct model *model = now();
    struct roost_write write = choose_write(fuzz);
    unsigned key = fuzz_u8(fuzz) % KEY_COUNT;
    bool there = model->keys[key].there && (!model->keys[key].expires_ns || model->keys[key].expires_ns > run.now_ns);
    RST_CHECK(roost_kv_delete(root, roost_text(names[key]), &write, NULL) == (there ? 0 : ROOST_ENOENT));
    model->keys[key].there = false; /* or was, as it had expired */
    if (there) end_change(&write);
}

static void append_to_stream(roost_root *root, struct fuzz *fuzz)
{
    struct model *model = now();
    struct roost_write write = choose_write(fuzz);
    unsigned stream = fuzz_u8(fuzz) % STREAM_COUNT;
    uint64_t index;
    struct roost_bytes entry = content(++run.serial, choose_size(fuzz));
    RST_CHECK(roost_stream_append(root, roost_text(names[stream]), entry, &write, &index, NULL) == 0);
    uint32_t at = model->streams[stream].count++;
    RST_CHECK(index == at);
    model->streams[stream].serial[at] = run.serial;
    model->streams[stream].size[at] = (uint32_t)entry.size;
    end_change(&write);
}

/* Which handle owns a name is left out: one publishes the first name, the other the second. */
static void publish(struct fuzz *fuzz)
{
    struct roost_state state = ROOST_STATE_INIT;
    struct roost_write write = choose_write(fuzz);
    unsigned name = fuzz_u8(fuzz) % STATE_COUNT;
    roost_root *root = machine_use(&run.machine, name);
    if (!root) return;
    state.name = roost_text(names[name]);
    state.status = content(++run.serial, 0);
    state.last_updated_id = run.serial;
    RST_CHECK(roost_state_publish(root, &state, &write) == 0);
    run.state[name] = run.serial;
    if (write.level == ROOST_DURABLE) run.state_durable[name] = run.serial;
}

static void care(roost_root *root, uint8_t kind)
{
    switch (kind % 4) {
    case 0:
        RST_CHECK(roost_checkpoint(root) == 0);
        break;
    case 1:
        RST_CHECK(roost_rebuild(root) == 0);
        break;
    case 2:
        RST_CHECK(roost_sync(root) == 0);
        break;
    default:
        RST_CHECK(roost_rest(root) == 0);
        return;
    }
    all_durable();
}

static void pass_time(uint8_t hours)
{
    sim_advance(run.machine.sim, hours % 3 * HOUR_NS);
    run.now_ns = rst_os->real_time();
}

/* ---- disasters ---- */

static void open_again(bool power)
{
    RST_CHECK(machine_open(&run.machine, 0) == 0);
    compare(power);
    if (power) all_durable(); /* what was found and shown stays */
}

static void interrupt(uint8_t kind)
{
    switch (kind % 4) {
    case 0:
        machine_kill(&run.machine);
        open_again(false);
        break;
    case 1:
        machine_cut_power(&run.machine, kind);
        open_again(true);
        break;
    case 2: /* the last one out makes all of it durable */
        RST_CHECK(machine_close(&run.machine, 1) == 0 && machine_close(&run.machine, 0) == 0);
        all_durable();
        memcpy(run.state_durable, run.state, sizeof run.state);
        if (kind & 128) machine_cut_power(&run.machine, kind);
        open_again(false);
        break;
    default:
        if (machine_use(&run.machine, 1))
            RST_CHECK(machine_close(&run.machine, 1) == 0);
        else
            RST_CHECK(machine_open(&run.machine, 1) == 0);
    }
}

static void step(struct fuzz *fuzz)
{
    uint8_t kind = fuzz_u8(fuzz);
    roost_root *other = machine_use(&run.machine, kind >> 7), *root = other ? other : machine_use(&run.machine, 0);
    begin_change();
    switch (kind % 16) {
    case 0:
    case 1:
    case 2:
        append(root, fuzz);
        break;
    case 3:
        forget(root, fuzz);
        break;
    case 4:
    case 5:
        set(root, fuzz);
        break;
    case 6:
        delete (root, fuzz);
        break;
    case 7:
    case 8:
        append_to_stream(root, fuzz);
        break;
    case 9:
        publish(fuzz);
        break;
    case 10:
        care(root, fuzz_u8(fuzz));
        break;
    case 11:
        pass_time(fuzz_u8(fuzz));
        break;
    case 12:
        compare(false);
        break;
    default:
        interrupt(fuzz_u8(fuzz));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {data, size};
    memset(&run, 0, sizeof run);
    machine_start(&run.machine, MACHINE_EMPTY);
    RST_CHECK(machine_open(&run.machine, 0) == 0);
    pass_time(0);
    for (unsigned i = 0; i < STEP_MAX - 1 && fuzz.left; i++) step(&fuzz);
    compare(false);
    machine_end(&run.machine);
    return 0;
}
