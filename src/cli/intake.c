/* SPDX-License-Identifier: MIT
 * intake.c: memories of other programs into a root: what is there already, batches, counts, progress. */
#include "foreign.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* As in feed.c: large enough that the commit's cost vanishes, small enough for any root's live segment. */
enum { BATCH_COUNT_MAX = 1000, BATCH_SIZE_MAX = 128 * 1024 };
enum { SHOW_AFTER_MS = 1000, SHOW_EVERY_MS = 500, SAY_EVERY_MS = 30000 };

enum change_kind { CHANGE_MEMORY, CHANGE_FORGET, CHANGE_KEY, CHANGE_ENTRY };
struct change {
    enum change_kind kind;
    bool replaces;
    bool first;                 /* of its group */
    char *place;                /* of the group; only in its first change */
    roost_id id;                /* CHANGE_FORGET */
    char *bytes;                /* owns what `memory` points to: key or stream's name, text or value, ... */
    struct roost_memory memory; /* keys and entries: key and text */
};

/* ---- Small things ------------------------------------------------------------------------------------------------ */

bool bytes_begin(struct roost_bytes bytes, const char *prefix)
{
    size_t size = strlen(prefix);
    return bytes.size >= size && memcmp(bytes.data, prefix, size) == 0;
}

bool foreign_name_fits(struct roost_bytes name)
{
    return name.size && name.size <= ROOST_NAME_SIZE_MAX && !memchr(name.data, 0, name.size) &&
           rst_utf8_valid(name.data, name.size, NULL);
}

bool array_grow(void **array, size_t count, size_t *capacity, size_t element_size)
{
    if (count < *capacity) return true;
    size_t larger = *capacity ? *capacity * 2 : 64;
    void *moved = larger > SIZE_MAX / element_size ? NULL : realloc(*array, larger * element_size);
    if (!moved) return false;
    *array = moved;
    *capacity = larger;
    return true;
}

bool json_text_open(struct json_text *text)
{
    *text = (struct json_text){.data = NULL};
    FILE *file = open_memstream(&text->data, &text->size);
    text->writer = json_writer(file);
    return file != NULL;
}

bool json_text_close(struct json_text *text)
{
    bool good = !ferror(text->writer.file);
    return fclose(text->writer.file) == 0 && good;
}

const struct rst_json_value *foreign_metadata(const struct roost_memory *memory, const char *name,
                                              struct rst_json_document *ret_document)
{
    *ret_document = (struct rst_json_document){0};
    if (!memory->metadata.size || !rst_json_parse(memory->metadata.data, memory->metadata.size, ret_document)) return NULL;
    const struct rst_json_value *value = rst_json_member(ret_document->root, name);
    return value && value->kind == RST_JSON_OBJECT ? value : NULL;
}

static int out_of_memory(void)
{
    cli_say("import: out of memory");
    return CLI_FAILED;
}

/* ---- Progress ---------------------------------------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* One line that is written over and over on a terminal; elsewhere a line now and then, for who waits long. */
void intake_step(struct intake *intake)
{
    intake->count.item_count++;
    uint64_t now = now_ms();
    bool terminal = isatty(STDERR_FILENO) == 1;
    if (now - intake->begun_ms < (terminal ? SHOW_AFTER_MS : SAY_EVERY_MS)) return;
    if (now - intake->shown_ms < (terminal ? SHOW_EVERY_MS : SAY_EVERY_MS)) return;
    intake->shown_ms = now;
    char text[120];
    snprintf(text, sizeof text, "import: %" PRIu64 " %s, %" PRIu64 " memories so far", intake->count.item_count, intake->noun,
             intake->count.memory_count);
    if (terminal)
        cli_progress(text);
    else
        cli_say("%s", text);
}

/* ---- Changes that wait ------------------------------------------------------------------------------------------- */

static void free_change(struct change *change)
{
    free(change->place);
    free(change->bytes);
}

static void drop_from(struct intake *intake, size_t first)
{
    for (size_t i = first; i < intake->change_count; i++) {
        intake->size -= intake->changes[i].memory.text.size;
        free_change(&intake->changes[i]);
    }
    intake->change_count = first;
}

static struct roost_bytes put(char **at, struct roost_bytes bytes)
{
    struct roost_bytes copy = {*at, bytes.size};
    if (bytes.size) memcpy(*at, bytes.data, bytes.size);
    *at += bytes.size;
    return copy;
}

/* One allocation holds the copies, the array of tags first. */
static bool copy_memory(const struct roost_memory *memory, struct change *change)
{
    const struct roost_bytes *parts[] = {&memory->text,    &memory->key,  &memory->agent,   &memory->session,
                                         &memory->process, &memory->tool, &memory->metadata};
    size_t size = memory->tag_count * sizeof(struct roost_bytes) + 1;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) size += parts[i]->size;
    for (size_t i = 0; i < memory->tag_count; i++) size += memory->tags[i].size;
    change->bytes = malloc(size);
    if (!change->bytes) return false;
    struct roost_bytes *tags = (struct roost_bytes *)(void *)change->bytes;
    char *at = change->bytes + memory->tag_count * sizeof *tags;
    struct roost_memory *copy = &change->memory;
    *copy = *memory;
    for (size_t i = 0; i < memory->tag_count; i++) tags[i] = put(&at, memory->tags[i]);
    copy->tags = tags;
    copy->text = put(&at, memory->text);
    copy->key = put(&at, memory->key);
    copy->agent = put(&at, memory->agent);
    copy->session = put(&at, memory->session);
    copy->process = put(&at, memory->process);
    copy->tool = put(&at, memory->tool);
    copy->metadata = put(&at, memory->metadata);
    return true;
}

static int add_to_batch(struct intake *intake, const struct change *change)
{
    switch (change->kind) {
    case CHANGE_MEMORY:
        return roost_batch_append(intake->batch, &change->memory);
    case CHANGE_FORGET:
        return roost_batch_forget(intake->batch, change->id);
    case CHANGE_KEY:
        return roost_batch_kv_set(intake->batch, change->memory.key, change->memory.text, NULL);
    default:
        return roost_batch_stream_append(intake->batch, change->memory.key, change->memory.text);
    }
}

/* Checks it, alone in the batch, and keeps a copy. */
static int keep(struct intake *intake, struct change change)
{
    roost_batch_clear(intake->batch);
    int error = add_to_batch(intake, &change);
    roost_batch_clear(intake->batch);
    if (error < 0) return error;
    const struct roost_memory given = change.memory;
    if (!array_grow((void **)&intake->changes, intake->change_count, &intake->change_capacity, sizeof change) ||
        !copy_memory(&given, &change))
        return ROOST_ENOMEM;
    change.first = intake->change_count == intake->group_first;
    intake->changes[intake->change_count++] = change;
    intake->size += given.text.size;
    return 0;
}

/* What is compared is what comes from the source; who imported it only if that was said. */
static bool same(const struct intake *intake, const struct roost_memory *old, const struct roost_memory *new)
{
    bool equal = bytes_equal(old->text, new->text) && bytes_equal(old->metadata, new->metadata) &&
                 old->tag_count == new->tag_count && (!intake->options->agent.size || bytes_equal(old->agent, new->agent)) &&
                 (!intake->options->session.size || bytes_equal(old->session, new->session));
    for (size_t i = 0; equal && i < old->tag_count; i++) equal = bytes_equal(old->tags[i], new->tags[i]);
    return equal;
}

int intake_memory(struct intake *intake, const struct roost_memory *given)
{
    struct change change = {.kind = CHANGE_MEMORY, .memory = *given};
    struct roost_memory *memory = &change.memory, old = ROOST_MEMORY_INIT;
    if (intake->options->agent.size) memory->agent = intake->options->agent;
    if (intake->options->session.size) memory->session = intake->options->session;
    memory->process = roost_text("roost");
    memory->tool = roost_text(intake->tool);
    uint64_t *id = key_map_find(&intake->existing, memory->key);
    if (id && *id) {
        int error = roost_get(intake->cli->root, *id, &old);
        bool unchanged = error >= 0 && same(intake, &old, memory);
        if (error >= 0) roost_unpin(intake->cli->root, &old.pin);
        if (unchanged) {
            intake->count.unchanged_count++;
            return 0;
        }
        change.replaces = error >= 0 || error == ROOST_ECORRUPT;
    }
    return keep(intake, change);
}

int intake_forget(struct intake *intake, roost_id id)
{
    return keep(intake, (struct change){.kind = CHANGE_FORGET, .id = id, .memory = ROOST_MEMORY_INIT});
}

int intake_key(struct intake *intake, struct roost_bytes key, struct roost_bytes value)
{
    struct change change = {.kind = CHANGE_KEY, .memory = ROOST_MEMORY_INIT};
    change.memory.key = key;
    change.memory.text = value;
    return keep(intake, change);
}

int intake_entry(struct intake *intake, struct roost_bytes stream, struct roost_bytes entry)
{
    struct change change = {.kind = CHANGE_ENTRY, .memory = ROOST_MEMORY_INIT};
    change.memory.key = stream;
    change.memory.text = entry;
    return keep(intake, change);
}

void intake_drop_group(struct intake *intake) { drop_from(intake, intake->group_first); }

int intake_end_group(struct intake *intake, const char *place)
{
    if (intake->group_first < intake->change_count) {
        char *copy = strdup(place);
        if (!copy) return out_of_memory();
        intake->changes[intake->group_first].place = copy;
        intake->group_first = intake->change_count;
    }
    return intake->change_count >= BATCH_COUNT_MAX || intake->size >= BATCH_SIZE_MAX ? intake_flush(intake) : CLI_OK;
}

/* ---- Committing -------------------------------------------------------------------------------------------------- */

static void acknowledge(struct intake *intake, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        const struct change *change = &intake->changes[i];
        intake->count.memory_count += change->kind == CHANGE_MEMORY;
        intake->count.replaced_count += change->kind == CHANGE_MEMORY && change->replaces;
        intake->count.removed_count += change->kind == CHANGE_FORGET;
        intake->count.key_count += change->kind == CHANGE_KEY;
        intake->count.stream_entry_count += change->kind == CHANGE_ENTRY;
    }
}

/* Of the group that a change belongs to. */
static const char *place_of(const struct intake *intake, size_t at)
{
    while (at && !intake->changes[at].first) at--;
    return intake->changes[at].place ? intake->changes[at].place : "?";
}

/* Where to cut a run of changes in two: between groups if it has several. */
static size_t cut(const struct intake *intake, size_t first, size_t count)
{
    size_t middle = first + count / 2;
    for (size_t i = middle; i > first; i--)
        if (intake->changes[i].first) return i;
    for (size_t i = middle; i < first + count; i++)
        if (intake->changes[i].first && i > first) return i;
    return middle;
}

/* Faults of the change itself, which others beside it need not suffer for. */
static bool divisible(int error)
{
    return error == ROOST_E2BIG || error == ROOST_EINVAL || error == ROOST_EILSEQ || error == ROOST_ENOENT;
}

static int commit(struct intake *intake, size_t first, size_t count)
{
    struct roost_write write = cli_write_options(intake->cli);
    struct roost_receipt receipt = {0, 0, 0, 0};
    int error = 0;
    roost_batch_clear(intake->batch);
    for (size_t i = first; i < first + count && error >= 0; i++) error = add_to_batch(intake, &intake->changes[i]);
    if (error >= 0) error = roost_batch_commit(intake->cli->root, intake->batch, &write, NULL, &receipt);
    if (error >= 0) {
        acknowledge(intake, first, count);
        return CLI_OK;
    }
    if (count > 1 && divisible(error)) {
        size_t middle = cut(intake, first, count);
        int code = commit(intake, first, middle - first);
        return code ? code : commit(intake, middle, first + count - middle);
    }
    /* Somebody else has forgotten it meanwhile. */
    if (error == ROOST_ENOENT && intake->changes[first].kind == CHANGE_FORGET) return CLI_OK;
    int code = cli_fail_write(error, &receipt, "%s", place_of(intake, first));
    return divisible(error) ? intake_refuse(intake, code) : code;
}

int intake_flush(struct intake *intake)
{
    int code = CLI_OK;
    if (intake->change_count && intake->options->dry_run)
        acknowledge(intake, 0, intake->change_count);
    else if (intake->change_count)
        code = commit(intake, 0, intake->change_count);
    drop_from(intake, 0);
    intake->group_first = 0;
    return code;
}

int intake_refuse(struct intake *intake, int code)
{
    intake->count.refused_count++;
    if (!intake->code) intake->code = code;
    return intake->options->error == FOREIGN_STOP ? code : CLI_OK;
}

/* ---- Beginning and end ------------------------------------------------------------------------------------------- */

static int look(struct intake *intake, const char *prefix, int (*found)(void *user, struct roost_bytes key), void *user)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct cli_pass pass = {"import", 0};
    roost_iter *iter = NULL;
    int code = CLI_OK, got = roost_scan(intake->cli->root, 0, 0, &iter);
    while (!code && got >= 0 && (got = cli_pass_memory(&pass, iter, &memory)) > 0) {
        if (!bytes_begin(memory.key, prefix)) continue;
        uint64_t *id = key_map_add(&intake->existing, memory.key);
        if (!id) {
            code = out_of_memory();
            break;
        }
        *id = memory.id;
        if (found) code = found(user, memory.key);
    }
    roost_iter_close(iter);
    return got < 0 ? cli_fail(got, "import") : code;
}

int intake_open(struct intake *intake, struct cli *cli, const struct foreign_options *options, const char *noun,
                const char *prefix, int (*found)(void *user, struct roost_bytes key), void *user)
{
    *intake = (struct intake){.cli = cli, .options = options, .noun = noun, .begun_ms = now_ms()};
    snprintf(intake->tool, sizeof intake->tool, "import %s", options->form);
    int code = cli->root ? CLI_OK : cli_open(cli, options->dry_run ? CLI_READING : CLI_WRITING);
    if (code) return code;
    int error = roost_batch_open(&intake->batch);
    if (error < 0) return cli_fail(error, NULL);
    cli_catch_interrupts();
    return look(intake, prefix, found, user);
}

static const char *plural(uint64_t count) { return count == 1 ? "" : "s"; }

static void put_counts(const struct intake *intake)
{
    const struct foreign_count *count = &intake->count;
    printf("%s %" PRIu64 " memor%s", intake->options->dry_run ? "would import" : "imported", count->memory_count,
           count->memory_count == 1 ? "y" : "ies");
    if (count->replaced_count) printf(" (%" PRIu64 " in place of older ones)", count->replaced_count);
    if (count->key_count) printf(", %" PRIu64 " key%s", count->key_count, plural(count->key_count));
    if (count->stream_entry_count)
        printf(", %" PRIu64 " stream entr%s", count->stream_entry_count, count->stream_entry_count == 1 ? "y" : "ies");
    if (count->removed_count) printf(", %" PRIu64 " removed", count->removed_count);
    if (count->unchanged_count) printf(", %" PRIu64 " there already", count->unchanged_count);
    putchar('\n');
}

static void put_counts_json(const struct intake *intake)
{
    const struct foreign_count *count = &intake->count;
    struct json_writer writer = json_writer(stdout);
    json_open(&writer, NULL, '{');
    json_text(&writer, "form", intake->options->form);
    json_unsigned(&writer, intake->noun, count->item_count);
    json_unsigned(&writer, "memories", count->memory_count);
    json_unsigned(&writer, "replaced", count->replaced_count);
    json_unsigned(&writer, "unchanged", count->unchanged_count);
    json_unsigned(&writer, "removed", count->removed_count);
    json_unsigned(&writer, "keys", count->key_count);
    json_unsigned(&writer, "stream_entries", count->stream_entry_count);
    json_unsigned(&writer, "refused", count->refused_count);
    json_bool(&writer, "dry_run", intake->options->dry_run);
    json_close(&writer, '}');
    json_line_end(&writer);
}

int intake_end(struct intake *intake, int code)
{
    bool begun = intake->batch != NULL;
    cli_progress(NULL);
    drop_from(intake, intake->group_first);
    if (begun && code && intake->change_count) { /* what came before the bad one is good */
        int flushed = intake_flush(intake);
        if (flushed) code = flushed;
    }
    if (begun && intake->cli->json)
        put_counts_json(intake);
    else if (begun)
        put_counts(intake);
    if (begun && cli_interrupted() && !code) {
        cli_say("import: interrupted; what is counted is stored; run it again to go on");
        code = CLI_FAILED;
    } else if (begun && code) {
        cli_say("import stopped; what is counted is stored; run it again to go on: what is there already is left alone");
    } else if (begun && intake->count.refused_count) {
        cli_say("import: %" PRIu64 " thing%s could not be taken, see above; all others %s", intake->count.refused_count,
                plural(intake->count.refused_count), intake->options->dry_run ? "can be" : "are stored");
    }
    drop_from(intake, 0);
    free(intake->changes);
    key_map_free(&intake->existing);
    roost_batch_free(intake->batch);
    return code ? code : intake->code;
}
