/* SPDX-License-Identifier: MIT
 * import_memmap.c: a root of memmap_fs into a root of ours: the last word of its log on each memory and key, and all entries of its
 * streams. Its files are only read.
 *
 * A memory's key is memmap_fs/ID/HASH, the hash that of its text and tags, so that two such roots, which both count from 1, do not
 * replace each other's. Entries of streams have no keys: one that our stream of this name holds already is not appended again. */
#include "foreign.h"
#include "memmap_wal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEMMAP_PREFIX "memmap_fs/"
enum { GAPS_SAID_MAX = 10 };

struct segment {
    size_t stream, order;
    uint32_t chunk;
    uint64_t offset, length;
};

struct source {
    struct intake intake;
    const char *path;
    int folder, blocks, chunk; /* descriptors; -1: not open */
    uint32_t chunk_id;
    uint64_t chunk_size;
    struct roost_bytes log;
    int64_t time_ns; /* the log's: memmap_fs keeps none */
    struct memmap_wal wal;
    struct key_map last;    /* "m" ID or "k" KEY: which command was the last about it, from 1 */
    struct key_map streams; /* name: its number, from 1 */
    struct roost_bytes *names;
    struct segment *segments;
    size_t name_count, name_capacity, segment_count, segment_capacity;
};

/* ---- Files ------------------------------------------------------------------------------------------------------- */

static int open_log(struct source *source)
{
    struct stat status;
    source->folder = open(source->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (source->folder < 0) return cli_fail_system(errno, "could not open the folder", source->path);
    int descriptor = openat(source->folder, "state.wal", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0 || fstat(descriptor, &status) < 0 || !S_ISREG(status.st_mode)) {
        int error_number = descriptor < 0 ? errno : EINVAL;
        if (descriptor >= 0) close(descriptor);
        cli_say("%s: this is no root of memmap_fs: its state.wal: %s", source->path, strerror(error_number));
        return error_number == EACCES ? CLI_NOT_ALLOWED : CLI_USAGE;
    }
    source->time_ns = status.st_mtim.tv_sec * INT64_C(1000000000) + status.st_mtim.tv_nsec;
    source->log.size = (size_t)status.st_size;
    void *map = status.st_size ? mmap(NULL, source->log.size, PROT_READ, MAP_PRIVATE, descriptor, 0) : NULL;
    int error_number = errno;
    close(descriptor);
    if (map == MAP_FAILED) {
        source->log.size = 0;
        return cli_fail_system(error_number, "could not map the state.wal of", source->path);
    }
    source->log.data = map;
    if (!bytes_begin(source->log, "ROOSTLOG")) return CLI_OK;
    cli_say("%s: this is a root of Roost, not of memmap_fs: `roost -C DIR export` and `roost import` bring its memories here",
            source->path);
    return CLI_USAGE;
}

/* Bytes of a chunk file; free them. NULL, with a reason: they are not there. */
static char *read_block(struct source *source, uint32_t chunk, uint64_t offset, uint64_t length, const char **ret_why)
{
    char name[32];
    struct stat status;
    *ret_why = "the chunk file is missing";
    if (source->blocks < 0) source->blocks = openat(source->folder, "blocks", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (source->chunk < 0 || source->chunk_id != chunk) {
        if (source->chunk >= 0) close(source->chunk);
        snprintf(name, sizeof name, "chunk_%04" PRIu32 ".bin", chunk);
        source->chunk = source->blocks < 0 ? -1 : openat(source->blocks, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        source->chunk_id = chunk;
        if (source->chunk < 0 || fstat(source->chunk, &status) < 0) return NULL;
        source->chunk_size = S_ISREG(status.st_mode) ? (uint64_t)status.st_size : 0;
    }
    *ret_why = "the chunk file ends before them";
    if (offset > source->chunk_size || length > source->chunk_size - offset) return NULL;
    *ret_why = "one record of Roost holds at most 1 GiB";
    char *bytes = length > ROOST_RECORD_SIZE_MAX ? NULL : malloc((size_t)length + 1);
    for (uint64_t at = 0; bytes && at < length;) {
        ssize_t got = pread(source->chunk, bytes + at, (size_t)(length - at), (off_t)(offset + at));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            *ret_why = got ? strerror(errno) : "the chunk file ends before them";
            free(bytes);
            return NULL;
        }
        at += (uint64_t)got;
    }
    return bytes;
}

/* ---- The log ----------------------------------------------------------------------------------------------------- */

static bool command_at(const struct source *source, size_t at, struct memmap_command *ret_command)
{
    const struct memmap_piece *frame = &source->wal.frames[at];
    return memmap_decode((struct roost_bytes){(const char *)source->log.data + frame->offset, (size_t)frame->size}, ret_command);
}

/* What the commands after it may take back: a memory's id, or a key. */
static uint64_t *last_of(struct source *source, const struct memmap_command *command, bool add)
{
    char id[32];
    struct roost_bytes name = {id, 0};
    uint64_t *found = NULL;
    char *copy = NULL;
    if (command->kind == MEMMAP_MEMORY) {
        name.size = (size_t)snprintf(id, sizeof id, "m%" PRIu64, command->id);
    } else {
        copy = malloc(command->key.size + 1);
        if (!copy) return NULL;
        copy[0] = 'k';
        memcpy(copy + 1, command->key.data, command->key.size);
        name = (struct roost_bytes){copy, command->key.size + 1};
    }
    found = add ? key_map_add(&source->last, name) : key_map_find(&source->last, name);
    free(copy);
    return found;
}

static bool note_segment(struct source *source, const struct memmap_command *command)
{
    uint64_t *number = key_map_add(&source->streams, command->key);
    if (!number) return false;
    if (!*number) {
        if (!array_grow((void **)&source->names, source->name_count, &source->name_capacity, sizeof *source->names)) return false;
        source->names[source->name_count] = command->key;
        *number = ++source->name_count;
    }
    if (!array_grow((void **)&source->segments, source->segment_count, &source->segment_capacity, sizeof *source->segments))
        return false;
    source->segments[source->segment_count] =
        (struct segment){(size_t)*number - 1, source->segment_count, command->chunk, command->offset, command->length};
    source->segment_count++;
    return true;
}

/* Which commands count in the end. */
static bool note_commands(struct source *source)
{
    struct memmap_command command;
    for (size_t i = 0; i < source->wal.frame_count; i++) {
        if (!command_at(source, i, &command)) continue;
        if (command.kind == MEMMAP_STREAM) {
            if (!note_segment(source, &command)) return false;
            continue;
        }
        uint64_t *last = last_of(source, &command, true);
        if (!last) return false;
        *last = i + 1;
    }
    return true;
}

/* Half a command at the end is what a crash leaves, and nothing that was acknowledged. In the middle it is more than that. */
static int say_gaps(struct source *source)
{
    int code = CLI_OK;
    for (size_t i = 0; i < source->wal.gap_count && !code; i++) {
        const struct memmap_piece *gap = &source->wal.gaps[i];
        if (gap->offset + gap->size == source->log.size) {
            cli_say("%s: state.wal ends in half a command, from byte %" PRIu64 " on (%" PRIu64
                    " bytes), as after a crash: it is cut off, all before it is imported",
                    source->path, gap->offset, gap->size);
            continue;
        }
        if (i < GAPS_SAID_MAX)
            cli_say("%s: state.wal: %" PRIu64 " bytes from byte %" PRIu64
                    " on are no whole command: they are cut out, what follows is imported",
                    source->path, gap->size, gap->offset);
        code = intake_refuse(&source->intake, CLI_CORRUPT);
    }
    return code;
}

/* ---- Memories and keys ------------------------------------------------------------------------------------------- */

static int refuse_error(struct source *source, int error, const char *place)
{
    int code = cli_fail(error, "%s", place);
    return intake_refuse(&source->intake, error == ROOST_EILSEQ ? CLI_CORRUPT : code); /* memmap_fs writes UTF-8 only */
}

/* Tags that a memory of ours can have; *ret_all: these are all. */
static size_t fitting_tags(struct roost_bytes encoded, struct roost_bytes *ret_tags, bool *ret_all)
{
    struct roost_bytes tag;
    size_t count = 0;
    *ret_all = true;
    while (memmap_next_tag(&encoded, &tag)) {
        bool fits = foreign_name_fits(tag) && count < ROOST_TAG_COUNT_MAX;
        if (fits) ret_tags[count] = tag;
        if (fits) count = cli_drop_repeated(ret_tags, count + 1);
        *ret_all = *ret_all && fits;
    }
    return count;
}

static bool make_metadata(struct json_text *text, const struct memmap_command *command, bool all_tags)
{
    struct roost_bytes rest = command->tags, tag;
    if (!json_text_open(text)) return false;
    json_open(&text->writer, NULL, '{');
    json_open(&text->writer, "memmap_fs", '{');
    json_id(&text->writer, "id", command->id);
    if (!all_tags) {
        json_open(&text->writer, "tags", '[');
        while (memmap_next_tag(&rest, &tag)) json_bytes(&text->writer, NULL, tag);
        json_close(&text->writer, ']');
    }
    if (!command->length) json_bool(&text->writer, "empty", true);
    json_close(&text->writer, '}');
    json_close(&text->writer, '}');
    return json_text_close(text);
}

/* memmap_fs/ID/HASH, of the text's hash and the tags. */
static bool make_key(const struct memmap_command *command, struct roost_bytes text, char ret_key[96])
{
    char digits[33];
    char *all = malloc(command->tags.size + sizeof digits);
    if (!all) return false;
    key_hash(text.data, text.size, all);
    if (command->tags.size) memcpy(all + 32, command->tags.data, command->tags.size);
    key_hash(all, 32 + command->tags.size, digits);
    free(all);
    snprintf(ret_key, 96, "%s%" PRIu64 "/%s", MEMMAP_PREFIX, command->id, digits);
    return true;
}

static int store_memory(struct source *source, const struct memmap_command *command, struct roost_bytes text, const char *place)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_bytes tags[ROOST_TAG_COUNT_MAX + 1];
    struct json_text metadata = {.data = NULL};
    char key[96];
    bool all, good;
    memory.tags = tags;
    memory.tag_count = fitting_tags(command->tags, tags, &all);
    good = make_key(command, text, key) && make_metadata(&metadata, command, all);
    if (good && metadata.size > ROOST_METADATA_SIZE_MAX) {
        cli_say("%s: tags that are too long, too many or empty are left out: a tag has 1 to %u bytes, a memory %u tags", place,
                ROOST_NAME_SIZE_MAX, ROOST_TAG_COUNT_MAX);
        free(metadata.data);
        good = make_metadata(&metadata, command, true);
    }
    memory.key = roost_text(key);
    memory.text = text.size ? text : roost_text(FOREIGN_EMPTY_TEXT);
    memory.time_ns = source->time_ns ? source->time_ns : 1;
    memory.metadata = (struct roost_bytes){metadata.data, metadata.size};
    int error = good ? intake_memory(&source->intake, &memory) : ROOST_ENOMEM;
    free(metadata.data);
    return error;
}

static int take_memory(struct source *source, const struct memmap_command *command)
{
    char place[48];
    const char *why;
    snprintf(place, sizeof place, "memory %" PRIu64, command->id);
    char *text = read_block(source, command->chunk, command->offset, command->length, &why);
    if (!text) {
        cli_say("%s: its %" PRIu64 " bytes at byte %" PRIu64 " of blocks/chunk_%04" PRIu32 ".bin cannot be read: %s", place,
                command->length, command->offset, command->chunk, why);
        return intake_refuse(&source->intake, CLI_CORRUPT);
    }
    int error = store_memory(source, command, (struct roost_bytes){text, (size_t)command->length}, place);
    free(text);
    int code = error < 0 ? refuse_error(source, error, place) : CLI_OK, ended = intake_end_group(&source->intake, place);
    return code ? code : ended;
}

static void name_place(char *ret_place, size_t size, const char *what, struct roost_bytes name)
{
    snprintf(ret_place, size, "%s \"%.*s\"%s", what, (int)(name.size < 200 ? name.size : 200), (const char *)name.data,
             name.size < 200 ? "" : "...");
}

static int take_key(struct source *source, const struct memmap_command *command)
{
    struct roost_item item = ROOST_ITEM_INIT;
    char place[240];
    name_place(place, sizeof place, "key", command->key);
    if (roost_kv_get(source->intake.cli->root, command->key, &item) >= 0) {
        bool same = bytes_equal(item.value, command->value) && !item.expires_ns;
        roost_unpin(source->intake.cli->root, &item.pin);
        source->intake.count.unchanged_count += same;
        if (same) return CLI_OK;
    }
    int error = intake_key(&source->intake, command->key, command->value);
    int code = error < 0 ? refuse_error(source, error, place) : CLI_OK, ended = intake_end_group(&source->intake, place);
    return code ? code : ended;
}

static int take_commands(struct source *source)
{
    struct memmap_command command;
    int code = CLI_OK;
    for (size_t i = 0; i < source->wal.frame_count && !code && !cli_interrupted(); i++) {
        intake_step(&source->intake);
        if (!command_at(source, i, &command) || command.kind == MEMMAP_STREAM || command.kind == MEMMAP_DELETE) continue;
        uint64_t *last = last_of(source, &command, false);
        if (!last || *last != i + 1) continue;
        code = command.kind == MEMMAP_MEMORY ? take_memory(source, &command) : take_key(source, &command);
    }
    return code;
}

/* ---- Streams ----------------------------------------------------------------------------------------------------- */

static int by_stream(const void *a, const void *b)
{
    const struct segment *one = a, *other = b;
    if (one->stream != other->stream) return one->stream < other->stream ? -1 : 1;
    return one->order < other->order ? -1 : one->order > other->order;
}

/* How often each entry is in a stream of ours, by its hash. Damaged ones are passed over: `roost check` names them. */
static int count_entries(struct source *source, struct roost_bytes name, struct key_map *ret_counts)
{
    struct roost_stream_info info = ROOST_STREAM_INFO_INIT;
    struct roost_item item = ROOST_ITEM_INIT;
    roost_iter *iter = NULL;
    char digits[33];
    int error = name.size <= ROOST_KEY_SIZE_MAX ? roost_stream_info(source->intake.cli->root, name, &info) : ROOST_ENOENT;
    if (error < 0) return error == ROOST_ENOENT || error == ROOST_EINVAL ? 0 : error;
    error = roost_stream_scan(source->intake.cli->root, name, 0, &iter);
    /* Only what is there now: the pass would also show what this import appends meanwhile. */
    for (uint64_t i = 0; i < info.entry_count && error >= 0; i++) {
        item = (struct roost_item)ROOST_ITEM_INIT;
        int got = roost_iter_item(iter, &item);
        if (got == 0) break;
        if (got < 0) {
            if (got != ROOST_ECORRUPT) error = got;
            continue;
        }
        key_hash(item.value.data, item.value.size, digits);
        uint64_t *count = key_map_add(ret_counts, roost_text(digits));
        if (count)
            ++*count;
        else
            error = ROOST_ENOMEM;
    }
    roost_iter_close(iter);
    return error;
}

static bool is_there(struct key_map *counts, struct roost_bytes entry)
{
    char digits[33];
    key_hash(entry.data, entry.size, digits);
    uint64_t *count = key_map_find(counts, roost_text(digits));
    if (!count || !*count) return false;
    --*count;
    return true;
}

static int take_segment(struct source *source, const struct segment *segment, struct key_map *counts)
{
    struct roost_bytes name = source->names[segment->stream];
    char place[260];
    const char *why;
    name_place(place, sizeof place, "stream", name);
    if (!segment->length) return CLI_OK; /* nothing was appended to the stream's bytes */
    char *bytes = read_block(source, segment->chunk, segment->offset, segment->length, &why);
    if (!bytes) {
        cli_say("%s: %" PRIu64 " bytes at byte %" PRIu64 " of blocks/chunk_%04" PRIu32 ".bin cannot be read: %s", place,
                segment->length, segment->offset, segment->chunk, why);
        return intake_refuse(&source->intake, CLI_CORRUPT);
    }
    struct roost_bytes entry = {bytes, (size_t)segment->length};
    int error = 0;
    if (is_there(counts, entry))
        source->intake.count.unchanged_count++;
    else
        error = intake_entry(&source->intake, name, entry);
    free(bytes);
    int code = error < 0 ? refuse_error(source, error, place) : CLI_OK, ended = intake_end_group(&source->intake, place);
    return code ? code : ended;
}

static int take_streams(struct source *source)
{
    struct key_map counts = {0};
    int code = CLI_OK;
    if (source->segment_count) qsort(source->segments, source->segment_count, sizeof *source->segments, by_stream);
    for (size_t i = 0; i < source->segment_count && !code && !cli_interrupted(); i++) {
        const struct segment *segment = &source->segments[i];
        if (!i || segment->stream != segment[-1].stream) {
            key_map_free(&counts);
            int error = count_entries(source, source->names[segment->stream], &counts);
            if (error < 0) code = cli_fail(error, "import");
        }
        if (!code) code = take_segment(source, segment, &counts);
    }
    key_map_free(&counts);
    return code;
}

/* ---- All --------------------------------------------------------------------------------------------------------- */

static int take_all(struct source *source)
{
    if (!memmap_wal_read(source->log, &source->wal) || !note_commands(source))
        return cli_fail_system(ENOMEM, "could not read", source->path);
    int code = say_gaps(source);
    if (!code) code = take_commands(source);
    if (!code) code = take_streams(source);
    return code ? code : intake_flush(&source->intake);
}

static void close_source(struct source *source)
{
    if (source->log.size) munmap((void *)(uintptr_t)source->log.data, source->log.size);
    if (source->chunk >= 0) close(source->chunk);
    if (source->blocks >= 0) close(source->blocks);
    if (source->folder >= 0) close(source->folder);
    memmap_wal_free(&source->wal);
    key_map_free(&source->last);
    key_map_free(&source->streams);
    free(source->names);
    free(source->segments);
}

int import_memmap(struct cli *cli, const char *path, const struct foreign_options *options)
{
    struct source source = {.path = path, .folder = -1, .blocks = -1, .chunk = -1};
    int code = open_log(&source);
    if (!code) {
        code = intake_open(&source.intake, cli, options, "commands", MEMMAP_PREFIX, NULL, NULL);
        if (!code) code = take_all(&source);
        code = intake_end(&source.intake, code);
    }
    close_source(&source);
    return code;
}
