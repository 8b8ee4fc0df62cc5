/* SPDX-License-Identifier: MIT
 * care/damage.c: one random damage to a copy of a known root, again and again, and what the tools say of it.
 *
 * A cleanly closed root with memories, keys, streams and states is made once. Each round copies it, and flips a bit, zeroes a sector
 * or cuts a file off at random. Then:
 *   check    reports whatever touches live data, with file and offset
 *   reading  gives the right bytes, or an error: never wrong ones, never something that was forgotten; a pass goes on behind damage
 *   rescue   brings over everything whose bytes are undamaged, and names what is missing; its root passes check
 *   rebuild  loses nothing that is undamaged; what is damaged is said to be, and check names it
 *
 *     damage [--count N] [--seed S] [--memories N] [--from ROUND] [-v]
 * A failure names seed and round; --from runs that round first. */
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <roost/roost.h>

#include "store/scan.h"

enum {
    KEY_COUNT = 400,
    STREAM_COUNT = 4,
    ENTRY_COUNT = 150,
    STATE_COUNT = 12,
    FILE_MAX = 256,
    TEXT_MAX = 1200,
    FINDING_MAX = 1 << 15
};

/* A thing that must be found, and where its bytes lie. */
enum thing_kind { MEMORY, KEY, ENTRY, STATE };
struct thing {
    enum thing_kind kind;
    uint32_t number, version; /* memory's id, key, stream * ENTRY_COUNT + entry, state; its version decides its bytes */
    bool live, damaged;
    uint32_t chunk;
    uint64_t offset, size; /* without padding */
    uint64_t lsn;
    char *text; /* made once */
    size_t text_size;
    uint32_t text_version;
};
static struct {
    uint64_t seed, round, random;
    uint32_t memories;
    bool verbose;
    char folder[256], good[300], bad[300], opened[300], saved[300];
    struct thing *things;
    uint32_t count;
    struct {
        char name[64];
        uint64_t size;
    } files[FILE_MAX];
    int file_count;
    /* this round's damage */
    int file;
    uint64_t from, end; /* bytes that changed */
    bool hurt_log;      /* of the root that is read */
    char what[200];
    /* what check said */
    int finding_count;
    bool in_file;
    struct {
        char file[64];
        uint64_t offset;
    } findings[FINDING_MAX];
} world;

static _Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
static _Noreturn void fail(const char *format, ...)
{
    va_list arguments;
    fprintf(stderr, "damage: --seed %llu --from %llu: %s: ", (unsigned long long)world.seed, (unsigned long long)world.round,
            world.what);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, " [%s]\n", roost_error_detail());
    if (!getenv("DAMAGE_KEEP")) {
        char command[400];
        snprintf(command, sizeof command, "rm -rf '%s'", world.folder);
        if (system(command)) fprintf(stderr, "damage: %s stays\n", world.folder);
    }
    exit(1);
}

static void on_signal(int number)
{
    fprintf(stderr, "damage: signal %d at --seed %llu --from %llu: %s\n", number, (unsigned long long)world.seed,
            (unsigned long long)world.round, world.what);
    signal(number, SIG_DFL);
    raise(number);
}

static uint64_t next_random(uint64_t bound)
{
    uint64_t x = (world.random += UINT64_C(0x9e3779b97f4a7c15));
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (x ^ x >> 31) % bound;
}

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *format, ...)
{
    char command[1000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    if (system(command) != 0) fail("%s", command);
}

#define GOOD(call) \
    do { \
        int good_result = (call); \
        if (good_result < 0) fail("%s: %s", #call, roost_error_name(good_result)); \
    } while (0)

/* ---- contents: all follow from kind, number and version ---- */

static struct roost_bytes text_of(const struct thing *thing, char room[TEXT_MAX])
{
    if (thing->text && thing->text_version == thing->version) return (struct roost_bytes){thing->text, thing->text_size};
    uint64_t state = (uint64_t)thing->kind << 48 ^ (uint64_t)thing->version << 32 ^ thing->number;
    size_t size = (size_t)snprintf(room, TEXT_MAX, "word%uk%uv%u ", thing->number, thing->kind, thing->version);
    size_t wanted = size + 20 + (state * 2654435761u) % (thing->number % 50 ? 200 : 900);
    while (size < wanted) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        size += (size_t)snprintf(room + size, TEXT_MAX - size, "%c%c%c%u ", 'a' + (int)(state >> 60),
                                 'e' + (int)(state >> 40 & 15), 'i' + (int)(state >> 50 & 15), (unsigned)(state >> 33 & 255));
    }
    return (struct roost_bytes){room, size};
}

static struct roost_bytes name_of(const char *kind, uint32_t number, char room[32])
{
    return (struct roost_bytes){room, (size_t)snprintf(room, 32, "%s-%u", kind, number)};
}

static struct thing *thing_of(enum thing_kind kind, uint32_t number)
{
    uint32_t before[] = {0, world.memories, world.memories + KEY_COUNT, world.memories + KEY_COUNT + STREAM_COUNT * ENTRY_COUNT};
    return &world.things[before[kind] + number];
}

static void lay_out_things(void)
{
    world.count = world.memories + KEY_COUNT + STREAM_COUNT * ENTRY_COUNT + STATE_COUNT;
    world.things = calloc(world.count, sizeof *world.things);
    if (!world.things) fail("out of memory");
    uint32_t sizes[] = {world.memories, KEY_COUNT, STREAM_COUNT * ENTRY_COUNT, STATE_COUNT};
    for (int kind = MEMORY; kind <= STATE; kind++)
        for (uint32_t i = 0; i < sizes[kind]; i++) {
            struct thing *thing = thing_of((enum thing_kind)kind, i);
            thing->kind = (enum thing_kind)kind;
            thing->number = kind == MEMORY ? i + 1 : i;
        }
}

/* ---- the root ---- */

static void store_memories(roost_root *root, uint32_t first, uint32_t count)
{
    static char rooms[128][TEXT_MAX];
    struct roost_memory memories[128];
    while (count) {
        uint32_t part = count < 128 ? count : 128;
        for (uint32_t i = 0; i < part; i++) {
            struct roost_memory memory = ROOST_MEMORY_INIT;
            struct thing *thing = thing_of(MEMORY, first + i);
            memory.text = text_of(thing, rooms[i]);
            thing->live = true;
            memories[i] = memory;
        }
        GOOD(roost_append_many(root, memories, part, NULL, NULL, NULL));
        first += part;
        count -= part;
    }
}

static void store_key(roost_root *root, uint32_t number)
{
    char name[32], room[TEXT_MAX];
    struct thing *thing = thing_of(KEY, number);
    thing->version++;
    thing->live = true;
    GOOD(roost_kv_set(root, name_of("key", number, name), text_of(thing, room), NULL, NULL));
}

static void store_state(roost_root *root, uint32_t number, struct roost_write *write)
{
    char name[32], room[TEXT_MAX];
    struct roost_state state = ROOST_STATE_INIT;
    struct thing *thing = thing_of(STATE, number);
    thing->version++;
    thing->live = true;
    state.flags = ROOST_STATE_UNOWNED;
    state.name = name_of("agent", number, name);
    struct roost_extra extra = {roost_text("text"), text_of(thing, room)};
    state.extra = &extra;
    state.extra_count = 1;
    GOOD(roost_state_publish(root, &state, write));
}

static void store_rest(roost_root *root, struct roost_write *write)
{
    char name[32], room[TEXT_MAX];
    for (uint32_t i = 0; i < KEY_COUNT; i++) store_key(root, i);
    for (uint32_t i = 0; i < KEY_COUNT; i += 3) store_key(root, i);
    for (uint32_t i = 0; i < STREAM_COUNT * ENTRY_COUNT; i++) {
        struct thing *thing = thing_of(ENTRY, i);
        thing->live = true;
        GOOD(roost_stream_append(root, name_of("stream", i / ENTRY_COUNT, name), text_of(thing, room), write, NULL, NULL));
    }
    for (uint32_t i = 0; i < STATE_COUNT; i++) store_state(root, i, write);
}

static void drop_some(roost_root *root, uint32_t first, uint32_t end, struct roost_write *write)
{
    char name[32];
    for (uint32_t i = first; i < end; i += 17) {
        GOOD(roost_forget(root, i + 1, write, NULL));
        thing_of(MEMORY, i)->live = false;
    }
    for (uint32_t i = first % 7; i < KEY_COUNT; i += 29) {
        if (!thing_of(KEY, i)->live) continue;
        GOOD(roost_kv_delete(root, name_of("key", i, name), write, NULL));
        thing_of(KEY, i)->live = false;
    }
}

static void make_root(void)
{
    struct roost_settings settings = ROOST_SETTINGS_INIT;
    struct roost_options options = ROOST_OPTIONS_INIT;
    struct roost_write write = ROOST_WRITE_INIT;
    roost_root *root;
    settings.log_size = 1 << 20;
    settings.chunk_size = 1 << 20;
    settings.arena_size = 1 << 20;
    settings.region = ROOST_REGION_FILE;
    options.flags = ROOST_OPEN_CREATE;
    options.level = write.level = ROOST_PROCESS;
    options.settings = &settings;
    uint32_t late = world.memories / 40; /* in the log alone */
    GOOD(roost_open(world.good, &options, &root));
    store_memories(root, 0, world.memories / 2);
    store_rest(root, &write);
    drop_some(root, 5, world.memories / 2, &write);
    store_memories(root, world.memories / 2, world.memories / 2 - late);
    GOOD(roost_checkpoint(root));
    store_memories(root, world.memories - late, late);
    drop_some(root, world.memories / 2 + 3, world.memories, &write);
    for (uint32_t i = 1; i < KEY_COUNT; i += 31)
        if (thing_of(KEY, i)->live) store_key(root, i);
    /* Rot in the very last frame cannot be told from a torn tail: it holds nothing that is looked for. */
    GOOD(roost_kv_set(root, roost_text("last"), roost_text("frame"), NULL, NULL));
    GOOD(roost_close(root));
}

/* ---- where everything lies ---- */

static struct thing *thing_of_record(const struct rst_record_view *record)
{
    struct roost_bytes name = {NULL, 0};
    char text[64];
    bool named = record->header.kind == RST_RECORD_STREAM || record->header.kind == RST_RECORD_STATE;
    rst_fields_find(record->fields, named ? RST_FIELD_NAME : RST_FIELD_KEY, &name);
    snprintf(text, sizeof text, "%.*s", (int)name.size, name.size ? (const char *)name.data : "");
    const char *dash = strchr(text, '-');
    uint32_t number = dash ? (uint32_t)strtoul(dash + 1, NULL, 10) : 0;
    if (record->header.kind != RST_RECORD_MEMORY && !dash) return NULL;
    switch (record->header.kind) {
    case RST_RECORD_MEMORY:
        return thing_of(MEMORY, (uint32_t)record->header.number - 1);
    case RST_RECORD_KEY_SET:
        return thing_of(KEY, number);
    case RST_RECORD_STREAM:
        return thing_of(ENTRY, number * ENTRY_COUNT + (uint32_t)record->header.number);
    case RST_RECORD_STATE:
        return strncmp(text, "agent-", 6) == 0 ? thing_of(STATE, number) : NULL;
    default:
        return NULL;
    }
}

static void find_things(const char *path, uint32_t chunk)
{
    FILE *file = fopen(path, "r");
    struct stat status;
    if (!file || fstat(fileno(file), &status)) fail("%s", path);
    uint8_t *bytes = malloc((size_t)status.st_size + 1);
    if (!bytes || fread(bytes, 1, (size_t)status.st_size, file) != (size_t)status.st_size) fail("%s", path);
    struct rst_scan scan;
    struct rst_scan_item item;
    rst_scan_begin(&scan, bytes, (uint64_t)status.st_size, chunk);
    while (rst_scan_next(&scan, &item)) {
        if (item.kind != RST_SCAN_RECORD) continue;
        struct thing *thing = thing_of_record(&item.record);
        const struct rst_record *header = &item.record.header;
        if (!thing || thing->lsn > header->lsn) continue;
        thing->lsn = header->lsn;
        thing->chunk = chunk;
        thing->offset = item.offset;
        thing->size = sizeof *header + header->fields_size + header->payload_size;
    }
    free(bytes);
    fclose(file);
}

static void list_files(void)
{
    char command[400], line[300];
    snprintf(command, sizeof command, "cd '%s' && find . -type f -printf '%%P %%s\\n' | sort", world.good);
    FILE *list = popen(command, "r");
    if (!list) fail("find");
    while (fgets(line, sizeof line, list) && world.file_count < FILE_MAX) {
        char *name = world.files[world.file_count].name;
        unsigned long long size;
        unsigned chunk;
        if (sscanf(line, "%63s %llu", name, &size) != 2 || !size || strcmp(name, "reserve") == 0) continue;
        world.files[world.file_count++].size = size;
        if (sscanf(name, "blocks/chunk_%u.bin", &chunk) != 1) continue;
        char path[600];
        snprintf(path, sizeof path, "%s/%s", world.good, name);
        find_things(path, chunk);
    }
    pclose(list);
    for (uint32_t i = 0; i < world.count; i++)
        if (world.things[i].live && !world.things[i].lsn) fail("thing %u has no record", i);
}

static void keep_texts(void)
{
    char room[TEXT_MAX];
    for (uint32_t i = 0; i < world.count; i++) {
        struct thing *thing = &world.things[i];
        struct roost_bytes text = text_of(thing, room);
        char *copy = malloc(text.size);
        if (!copy) fail("out of memory");
        memcpy(copy, text.data, text.size);
        thing->text_version = thing->version;
        thing->text_size = text.size;
        thing->text = copy;
    }
}

/* ---- a round's damage ---- */

static void note_damage(const char *path, uint64_t from, uint64_t end)
{
    unsigned chunk;
    world.from = from;
    world.end = end;
    bool blocks = sscanf(world.files[world.file].name, "blocks/chunk_%u.bin", &chunk) == 1;
    for (uint32_t i = 0; i < world.count; i++) {
        struct thing *thing = &world.things[i];
        thing->damaged = blocks && thing->chunk == chunk && thing->offset < end && thing->offset + thing->size > from;
    }
    (void)path;
}

static void choose_file(void)
{
    uint64_t all = 0, at;
    for (int i = 0; i < world.file_count; i++) all += world.files[i].size;
    if (next_random(3) == 0) { /* each file alike, else by size */
        world.file = (int)next_random((uint64_t)world.file_count);
        return;
    }
    at = next_random(all);
    for (world.file = 0; at >= world.files[world.file].size; world.file++) at -= world.files[world.file].size;
}

static void do_damage(void)
{
    char path[600];
    choose_file();
    snprintf(path, sizeof path, "%s/%s", world.bad, world.files[world.file].name);
    FILE *file = fopen(path, "r+");
    if (!file) fail("%s", path);
    uint64_t size = world.files[world.file].size, offset = next_random(size);
    uint8_t sector[512] = {0}, zeros[512] = {0};
    switch (next_random(5)) {
    case 0:
        snprintf(world.what, sizeof world.what, "%s cut at %llu", world.files[world.file].name, (unsigned long long)offset);
        if (ftruncate(fileno(file), (off_t)offset)) fail("ftruncate");
        note_damage(path, offset, size);
        break;
    case 1:
    case 2: {
        offset -= offset % 512;
        snprintf(world.what, sizeof world.what, "%s zeroed at %llu", world.files[world.file].name, (unsigned long long)offset);
        size_t got = fseek(file, (long)offset, SEEK_SET) ? 0 : fread(sector, 1, sizeof sector, file);
        if (fseek(file, (long)offset, SEEK_SET) || fwrite(zeros, 1, got, file) != got) fail("%s", path);
        size_t from = 0, end = got;
        while (from < end && !sector[from]) from++;
        while (end > from && !sector[end - 1]) end--;
        note_damage(path, offset + from, offset + end);
        break;
    }
    default: {
        unsigned bit = (unsigned)next_random(8);
        snprintf(world.what, sizeof world.what, "%s bit %u of %llu", world.files[world.file].name, bit,
                 (unsigned long long)offset);
        if (fseek(file, (long)offset, SEEK_SET) || fread(sector, 1, 1, file) != 1) fail("%s", path);
        sector[0] ^= (uint8_t)(1u << bit);
        if (fseek(file, (long)offset, SEEK_SET) || fwrite(sector, 1, 1, file) != 1) fail("%s", path);
        note_damage(path, offset, offset + 1);
    }
    }
    fclose(file);
    if (world.verbose) printf("%llu: %s\n", (unsigned long long)world.round, world.what);
}

/* ---- reading ---- */

static bool same(struct roost_bytes a, struct roost_bytes b) { return a.size == b.size && memcmp(a.data, b.data, a.size) == 0; }

/* A root whose log is damaged shows what was before the damage (and says so): an earlier version of a key or a state. */
static bool right(const struct thing *thing, struct roost_bytes got)
{
    char room[TEXT_MAX];
    struct thing earlier = *thing;
    if (same(got, text_of(thing, room))) return true;
    for (;; earlier.version--) {
        if (same(got, text_of(&earlier, room))) return true;
        if (!world.hurt_log || !earlier.version) return false;
    }
}

/* Reads one thing. 1: right; 0: it is not there; negative: an error. Wrong bytes end the test. */
static int read_thing(roost_root *root, const struct thing *thing)
{
    char name[32];
    struct roost_bytes got = {NULL, 0};
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_item item = ROOST_ITEM_INIT;
    struct roost_state state = ROOST_STATE_INIT;
    int err = 0;
    switch (thing->kind) {
    case MEMORY:
        err = roost_get(root, thing->number, &memory);
        got = memory.text;
        break;
    case KEY:
        err = roost_kv_get(root, name_of("key", thing->number, name), &item);
        got = item.value;
        break;
    case ENTRY:
        err = roost_stream_get(root, name_of("stream", thing->number / ENTRY_COUNT, name), thing->number % ENTRY_COUNT, &item);
        got = item.value;
        break;
    case STATE:
        err = roost_state_get(root, name_of("agent", thing->number, name), &state);
        if (!err && state.extra_count == 1) got = state.extra[0].value;
    }
    if (err == ROOST_ENOENT) return 0;
    if (err < 0) return err;
    if (!thing->live && !world.hurt_log) fail("kind %d, number %u: it was dropped and is back", thing->kind, thing->number);
    if (!right(thing, got)) fail("kind %d, number %u: wrong bytes", thing->kind, thing->number);
    roost_unpin(root, &memory.pin);
    roost_unpin(root, &item.pin);
    roost_unpin(root, &state.pin);
    return 1;
}

static void search_some(roost_root *root)
{
    char word[64], room[TEXT_MAX];
    for (int i = 0; i < 10; i++) {
        const struct thing *thing = thing_of(MEMORY, (uint32_t)next_random(world.memories));
        struct roost_query query = ROOST_QUERY_INIT;
        struct roost_hit hit = ROOST_HIT_INIT;
        roost_hits *hits;
        snprintf(word, sizeof word, "word%uk%uv%u", thing->number, thing->kind, thing->version);
        query.text = roost_text(word);
        if (roost_search(root, &query, &hits) < 0) continue;
        int got;
        while ((got = roost_hits_next(hits, &hit)) > 0 || got == ROOST_ECORRUPT) {
            if (got < 0) continue;
            if (hit.id != thing->number || (!thing->live && !world.hurt_log) || !same(hit.text, text_of(thing, room)))
                fail("search %s: a wrong hit", word);
        }
        roost_hits_close(hits);
    }
}

/* ---- the tools ---- */

static void found(void *user, int error, const char *file, uint64_t offset, const char *detail)
{
    (void)user;
    if (world.verbose)
        printf("    %s %s: %llu: %s\n", error ? roost_error_name(error) : "note", file, (unsigned long long)offset, detail);
    if (!error || world.finding_count == FINDING_MAX) return;
    snprintf(world.findings[world.finding_count].file, sizeof world.findings[0].file, "%s", file);
    world.findings[world.finding_count++].offset = offset;
}

/* Was a place in the file named? */
static bool reported(const char *file, uint64_t from, uint64_t end)
{
    for (int i = 0; i < world.finding_count; i++)
        if (world.findings[i].offset >= from && world.findings[i].offset < end && strcmp(world.findings[i].file, file) == 0)
            return true;
    return false;
}

static bool thing_reported(const struct thing *thing)
{
    char file[64];
    snprintf(file, sizeof file, "blocks/chunk_%04u.bin", thing->chunk);
    return reported(file, thing->offset, thing->offset + thing->size);
}

/* A pass over all memories gives each that is there, or its id with an error, once and in order. */
static void pass_over_memories(roost_root *root)
{
    roost_iter *iter;
    uint32_t next = 1;
    GOOD(roost_scan(root, 0, 0, &iter));
    for (;;) {
        struct roost_memory memory = ROOST_MEMORY_INIT;
        int got = roost_iter_memory(iter, &memory);
        if (got < 0 && got != ROOST_ECORRUPT) fail("roost_iter_memory: %s", roost_error_name(got));
        while (next <= world.memories && (!got || next < memory.id)) {
            const struct thing *thing = thing_of(MEMORY, next++ - 1);
            if (thing->live) fail("a pass leaves memory %u out", thing->number);
        }
        if (!got) break;
        if (memory.id != next) fail("a pass gives memory %llu, expected %u", (unsigned long long)memory.id, next);
        const struct thing *thing = thing_of(MEMORY, next++ - 1);
        if (!thing->live || (got < 0 && !thing->damaged)) fail("a pass: memory %u: %s", thing->number, roost_error_name(got));
    }
    roost_iter_close(iter);
}

/* What check must have said, and what reading may answer. */
static void look(roost_root *root)
{
    bool index = strncmp(world.files[world.file].name, "index/", 6) == 0;
    bool any = world.from < world.end;
    world.finding_count = 0;
    world.hurt_log = roost_health(root) == ROOST_EDAMAGED;
    int count = roost_check(root, found, NULL);
    if (count < 0) fail("check: %s", roost_error_name(count));
    if (!any && count) fail("check finds %d places though nothing was changed", count);
    if (index && any && !count) fail("check says nothing of a damaged index");
    if (world.hurt_log && !reported("state.wal", 0, UINT64_MAX)) fail("check says nothing of the damaged log");
    for (uint32_t i = 0; i < world.count; i++) {
        const struct thing *thing = &world.things[i];
        int got = read_thing(root, thing);
        if (!thing->live || got == 1) continue;
        if (got == 0 && !world.hurt_log) fail("kind %d, number %u: it is said not to be there", thing->kind, thing->number);
        if (got < 0 && !index && !world.hurt_log && !thing->damaged)
            fail("kind %d, number %u: %s", thing->kind, thing->number, roost_error_name(got));
        if (got < 0 && !index && !thing_reported(thing))
            fail("kind %d, number %u: damaged, and check does not say so", thing->kind, thing->number);
    }
    if (!index && !world.hurt_log) pass_over_memories(root);
    search_some(root);
    world.hurt_log = false;
}

static void open_and_look(void)
{
    struct roost_options options = ROOST_OPTIONS_INIT;
    roost_root *root;
    run("rm -rf '%s' && cp -r --reflink=auto '%s' '%s'", world.opened, world.bad, world.opened);
    int err = roost_open(world.opened, &options, &root);
    if (err < 0) {
        bool named = strstr(roost_error_detail(), "index/") || strstr(roost_error_detail(), "state.wal");
        if ((err != ROOST_ECORRUPT && err != ROOST_EDAMAGED && err != ROOST_EFOREIGN) || !named)
            fail("open: %s", roost_error_name(err));
        return;
    }
    look(root);
    GOOD(roost_close(root));
}

/* All that is undamaged is there; of the rest nothing is wrong, and what is missing was named. */
static void compare(roost_root *root, const char *tool, bool gone)
{
    for (uint32_t i = 0; i < world.count; i++) {
        const struct thing *thing = &world.things[i];
        int got = read_thing(root, thing);
        if (!thing->live || got == 1) continue;
        if (!thing->damaged)
            fail("%s: kind %d, number %u is undamaged and not there: %s", tool, thing->kind, thing->number,
                 roost_error_name(got));
        if (!gone && got == 0) fail("%s: kind %d, number %u is damaged, not absent", tool, thing->kind, thing->number);
        if (!thing_reported(thing)) fail("%s: kind %d, number %u is missing and not named", tool, thing->kind, thing->number);
    }
    search_some(root);
}

static void rescue(void)
{
    roost_root *root;
    struct roost_copy copy = ROOST_COPY_INIT;
    run("rm -rf '%s'", world.saved);
    world.finding_count = 0;
    int lost = roost_rescue(world.bad, world.saved, found, NULL, &copy);
    if (lost < 0) fail("rescue: %s", roost_error_name(lost));
    GOOD(roost_open(world.saved, NULL, &root));
    if (lost != world.finding_count) fail("rescue says %d, and tells of %d", lost, world.finding_count);
    compare(root, "rescue", true);
    if (roost_check(root, found, NULL) != 0) fail("rescue: its root does not pass check");
    GOOD(roost_close(root));
}

static void rebuild(void)
{
    struct roost_options options = ROOST_OPTIONS_INIT;
    roost_root *root;
    options.flags = ROOST_OPEN_REBUILD;
    run("rm -rf '%s' && cp -r --reflink=auto '%s' '%s'", world.opened, world.bad, world.opened);
    int err = roost_open(world.opened, &options, &root);
    if (err == ROOST_ECORRUPT || err == ROOST_EDAMAGED || err == ROOST_EFOREIGN) return; /* the log: rescue's */
    if (err < 0) fail("open to rebuild: %s", roost_error_name(err));
    err = roost_rebuild(root);
    if (err < 0 && err != ROOST_EDAMAGED) fail("rebuild: %s", roost_error_name(err));
    if (err >= 0) {
        world.finding_count = 0;
        GOOD(roost_check(root, found, NULL));
        compare(root, "rebuild", false);
    }
    GOOD(roost_close(root));
}

static void one_round(void)
{
    world.random = world.seed * UINT64_C(0x9e3779b97f4a7c15) ^ world.round * UINT64_C(0xd6e8feb86659fd93);
    run("rm -rf '%s' && cp -r --reflink=auto '%s' '%s'", world.bad, world.good, world.bad);
    do_damage();
    rescue();
    open_and_look();
    if (world.round % 3 == 0) rebuild();
}

int main(int argc, char **argv)
{
    enum { COUNT = 1, SEED, MEMORIES, FROM };
    static const struct option options[] = {
        {"count", 1, NULL, COUNT}, {"seed", 1, NULL, SEED}, {"memories", 1, NULL, MEMORIES}, {"from", 1, NULL, FROM}, {0}};
    uint64_t count = 60, from = 0;
    const char *parent = getenv("TMPDIR");
    world.seed = 1;
    world.memories = 10000;
    for (int option; (option = getopt_long(argc, argv, "v", options, NULL)) != -1;) {
        uint64_t number = option == 'v' || option == '?' ? 0 : strtoull(optarg, NULL, 0);
        if (option == COUNT) count = number;
        if (option == SEED) world.seed = number;
        if (option == MEMORIES) world.memories = (uint32_t)number;
        if (option == FROM) from = number;
        if (option == 'v') world.verbose = true;
        if (option == '?') return 2;
    }
    for (int i = 0; i < 4; i++) signal((int[]){SIGSEGV, SIGBUS, SIGABRT, SIGFPE}[i], on_signal);
    /* In memory where that is possible: what is tested here is not when it reaches the disk. */
    snprintf(world.folder, sizeof world.folder, "%s/roost-damage-XXXXXX",
             parent                          ? parent
             : access("/dev/shm", W_OK) == 0 ? "/dev/shm"
                                             : "/tmp");
    if (!mkdtemp(world.folder)) fail("mkdtemp");
    snprintf(world.good, sizeof world.good, "%s/good", world.folder);
    snprintf(world.bad, sizeof world.bad, "%s/bad", world.folder);
    snprintf(world.opened, sizeof world.opened, "%s/opened", world.folder);
    snprintf(world.saved, sizeof world.saved, "%s/saved", world.folder);
    snprintf(world.what, sizeof world.what, "nothing yet");
    lay_out_things();
    make_root();
    list_files();
    keep_texts();
    for (uint64_t i = 0; i < count; i++) {
        world.round = from + i;
        one_round();
    }
    printf("%llu rounds, seed %llu, %u memories: all that was damaged was told, nothing wrong was read\n",
           (unsigned long long)count, (unsigned long long)world.seed, world.memories);
    run("rm -rf '%s'", world.folder);
    for (uint32_t i = 0; i < world.count; i++) free(world.things[i].text);
    free(world.things);
    return 0;
}
