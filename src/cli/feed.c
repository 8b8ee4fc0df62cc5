/* SPDX-License-Identifier: MIT
 * feed.c: JSON lines into a root, for `add --json` and `import`.
 *
 * Lines are gathered while more of them wait, then committed as one batch; so a slow producer gets each line
 * acknowledged at once, and a fast one pays one commit for many lines. A bad line stops the reading (or is skipped),
 * but what came before it is committed first: bad input loses nothing. */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool bytes_equal(struct roost_bytes a, struct roost_bytes b)
{
    return a.size == b.size && (!a.size || memcmp(a.data, b.data, a.size) == 0);
}

size_t cli_drop_repeated(struct roost_bytes *list, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bool repeated = false;
        for (size_t k = 0; k < kept && !repeated; k++) repeated = bytes_equal(list[k], list[i]);
        if (!repeated) list[kept++] = list[i];
    }
    return kept;
}

bool json_read_memory(struct rst_json_reader *reader, struct roost_memory *ret_memory)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_bytes *tags = NULL;
    bool there = false;
    if (!rst_json_read_bytes(reader, "text", &memory.text, &there) || !rst_json_read_bytes(reader, "key", &memory.key, NULL) ||
        !rst_json_read_bytes_list(reader, "tags", &tags, &memory.tag_count) ||
        !rst_json_read_signed(reader, "time_ns", &memory.time_ns) || !rst_json_read_bytes(reader, "agent", &memory.agent, NULL) ||
        !rst_json_read_bytes(reader, "session", &memory.session, NULL) ||
        !rst_json_read_bytes(reader, "metadata_text", &memory.metadata, NULL) ||
        !rst_json_read_bytes(reader, "process", &memory.process, NULL) ||
        !rst_json_read_bytes(reader, "tool", &memory.tool, NULL))
        return false;
    const struct rst_json_value *metadata = rst_json_member(reader->object, "metadata");
    if (metadata && metadata->kind != RST_JSON_OBJECT && metadata->kind != RST_JSON_NULL)
        return rst_json_wrong(reader->document, "\"metadata\" must be an object");
    if (metadata && metadata->kind == RST_JSON_OBJECT) memory.metadata = metadata->raw;
    if (!there) return rst_json_wrong(reader->document, "the field \"text\" is missing");
    if (memory.text.size == 0) return rst_json_wrong(reader->document, "\"text\" is empty; a memory needs text");
    memory.tags = tags;
    memory.tag_count = cli_drop_repeated(tags, memory.tag_count);
    *ret_memory = memory;
    return true;
}

/* Large enough that the commit's cost vanishes beside the lines', small enough for any root's live segment. */
enum { BATCH_COUNT_MAX = 1000, BATCH_SIZE_MAX = 128 * 1024 };

/* No error and no change either: a key that would be gone at once. */
enum { ALREADY_EXPIRED = INT_MAX };

/* What a line in the batch is, for the answers after the commit. */
enum line_kind { LINE_MEMORY, LINE_KEY, LINE_STREAM, LINE_STATE /* never waits */ };
struct waiting_line {
    enum line_kind kind;
    uint64_t number;
    char *text; /* kept for the case that the batch must be split */
    size_t size;
};

struct feed {
    struct cli *cli;
    const struct feed_options *options;
    struct feed_result *result;
    roost_batch *batch;
    struct waiting_line lines[BATCH_COUNT_MAX];
    uint64_t ids[BATCH_COUNT_MAX];
    size_t line_count, size;
    int code; /* of the first failure */
    bool warned;
};

static int refuse(struct feed *feed, uint64_t number, int code)
{
    if (!feed->code) feed->code = code;
    feed->result->refused_count++;
    /* Full disks, time-outs and damage do not go away with the next line; only the line's own faults can be skipped. */
    bool own_fault = code == CLI_USAGE || code == CLI_CONFLICT || code == CLI_NOT_FOUND;
    if (feed->options->continue_on_error && own_fault) return CLI_OK;
    feed->result->stopped_at_line = number;
    return code;
}

static int refuse_text(struct feed *feed, uint64_t number, const char *what)
{
    cli_say("line %" PRIu64 ": %s", number, what);
    return refuse(feed, number, CLI_USAGE);
}

static int refuse_error(struct feed *feed, uint64_t number, int error)
{
    return refuse(feed, number, cli_fail(error, "line %" PRIu64, number));
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- One line into the batch ------------------------------------------------------------------------------------- */

/* Fields that are in our own output and need no storing, and those we store. Anything else is the caller's mistake
 * or belongs to a later version; one word about it is better than silence. */
static void warn_unknown(struct feed *feed, uint64_t number, const struct rst_json_value *object)
{
    static const char *const known[] = {"text",    "key",  "key_base64", "tags",         "tags_base64", "time_ns",
                                        "id",      "lsn",  "score",      "text_base64",  "agent",       "session",
                                        "process", "tool", "metadata",   "metadata_text"};
    for (const struct rst_json_value *field = object->first; field && !feed->warned; field = field->next) {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            found = found || (strlen(known[i]) == field->name.size && memcmp(known[i], field->name.data, field->name.size) == 0);
        if (found) continue;
        feed->warned = true;
        cli_say("line %" PRIu64 ": the field \"%.*s\" is not stored by this version (said once)", number,
                (int)(field->name.size < 60 ? field->name.size : 60), (const char *)field->name.data);
    }
}

static int add_memory(struct feed *feed, struct rst_json_reader *reader, uint64_t number, bool *ret_good)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    if (!json_read_memory(reader, &memory)) return ROOST_OK;
    warn_unknown(feed, number, reader->object);
    *ret_good = true;
    return roost_batch_append(feed->batch, &memory);
}

static int add_key(struct feed *feed, struct rst_json_reader *reader, bool *ret_good)
{
    struct roost_bytes key = {NULL, 0}, value = {NULL, 0};
    struct roost_write write = ROOST_WRITE_INIT;
    if (!rst_json_read_bytes(reader, "key", &key, NULL) || !rst_json_read_bytes(reader, "value", &value, NULL) ||
        !rst_json_read_signed(reader, "expires_ns", &write.expires_ns))
        return ROOST_OK;
    *ret_good = true;
    if (write.expires_ns && write.expires_ns <= now_ns()) {
        feed->result->expired_count++;
        return ALREADY_EXPIRED;
    }
    return roost_batch_kv_set(feed->batch, key, value, &write);
}

static int add_stream(struct feed *feed, struct rst_json_reader *reader, bool *ret_good)
{
    struct roost_bytes name = {NULL, 0}, entry = {NULL, 0};
    if (!rst_json_read_bytes(reader, "name", &name, NULL) || !rst_json_read_bytes(reader, "entry", &entry, NULL)) return ROOST_OK;
    *ret_good = true;
    return roost_batch_stream_append(feed->batch, name, entry);
}

/* ret_good stays false when the line itself is wrong: then the document has the words, else roost_error_detail(). */
static int add_change(struct feed *feed, enum line_kind kind, struct rst_json_reader *reader, uint64_t number, bool *ret_good)
{
    switch (kind) {
    case LINE_MEMORY:
        return add_memory(feed, reader, number, ret_good);
    case LINE_KEY:
        return add_key(feed, reader, ret_good);
    default:
        return add_stream(feed, reader, ret_good);
    }
}

static bool read_extra(struct rst_json_reader *reader, struct roost_state *state)
{
    const struct rst_json_value *list = rst_json_member(reader->object, "extra");
    size_t count = 0;
    if (!list || list->kind == RST_JSON_NULL) return true;
    for (const struct rst_json_value *child = list->first; child; child = child->next) count++;
    struct roost_extra *extra = rst_json_allocate(reader->document, (count + 1) * sizeof *extra);
    if (!extra) return false;
    memset(extra, 0, (count + 1) * sizeof *extra);
    count = 0;
    for (const struct rst_json_value *child = list->first; child; child = child->next, count++) {
        struct rst_json_reader inner = {reader->document, child};
        if (!rst_json_read_bytes(&inner, "name", &extra[count].name, NULL) ||
            !rst_json_read_bytes(&inner, "value", &extra[count].value, NULL))
            return false;
    }
    state->extra = extra;
    state->extra_count = count;
    return true;
}

static int publish_state(struct feed *feed, struct rst_json_reader *reader, bool *ret_good)
{
    struct roost_state state = ROOST_STATE_INIT;
    struct roost_write write = cli_write_options(feed->cli);
    state.flags = ROOST_STATE_UNOWNED;
    if (!rst_json_read_bytes(reader, "name", &state.name, NULL) || !rst_json_read_bytes(reader, "status", &state.status, NULL) ||
        !rst_json_read_unsigned(reader, "active_memory_count", &state.active_memory_count) ||
        !rst_json_read_unsigned(reader, "last_updated_id", &state.last_updated_id) || !read_extra(reader, &state))
        return ROOST_OK;
    *ret_good = true;
    return roost_state_publish(feed->cli->root, &state, &write);
}

/* What an import line holds; NULL with a sentence in the document if it is none. */
static const struct rst_json_value *import_object(struct rst_json_document *document, enum line_kind *ret_kind)
{
    static const char *const names[] = {"memory", "key", "stream", "state"};
    static const enum line_kind kinds[] = {LINE_MEMORY, LINE_KEY, LINE_STREAM, LINE_STATE};
    if (rst_json_member(document->root, "text")) { /* a memory as `add --json` takes it */
        *ret_kind = LINE_MEMORY;
        return document->root;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct rst_json_value *object = rst_json_member(document->root, names[i]);
        if (object && object->kind == RST_JSON_OBJECT && !document->root->first->next) {
            *ret_kind = kinds[i];
            return object;
        }
    }
    snprintf(document->error, sizeof document->error,
             "this is none of {\"memory\":{...}}, {\"key\":{...}}, {\"stream\":{...}}, {\"state\":{...}}");
    return NULL;
}

/* ---- Committing -------------------------------------------------------------------------------------------------- */

/* Puts a line that was good before into the (empty) batch again. */
static int repeat_line(struct feed *feed, const struct waiting_line *line)
{
    struct rst_json_document document;
    struct rst_json_reader reader;
    bool good = false;
    int error = ROOST_EINVAL;
    if (rst_json_parse(line->text, line->size, &document)) {
        enum line_kind kind = line->kind;
        const struct rst_json_value *object = document.root;
        if (feed->options->kind == FEED_IMPORT) object = import_object(&document, &kind);
        reader = (struct rst_json_reader){&document, object};
        error = add_change(feed, line->kind, &reader, line->number, &good);
    }
    rst_json_free(&document);
    return error;
}

static void acknowledge(struct feed *feed, size_t first, size_t count, const uint64_t *ids)
{
    struct json_writer writer = json_writer(stdout);
    for (size_t i = 0; i < count; i++) {
        enum line_kind kind = feed->lines[first + i].kind;
        if (kind == LINE_KEY)
            feed->result->key_count++;
        else if (kind == LINE_STREAM)
            feed->result->stream_entry_count++;
        else
            feed->result->memory_count++;
        if (feed->options->kind != FEED_ADD) continue;
        json_open(&writer, NULL, '{');
        json_id(&writer, "id", ids[i]);
        json_close(&writer, '}');
        json_line_end(&writer);
    }
}

static int commit(struct feed *feed, struct roost_receipt *receipt)
{
    struct roost_write write = cli_write_options(feed->cli);
    return roost_batch_commit(feed->cli->root, feed->batch, &write, feed->ids, receipt);
}

/* The batch was refused as a whole though each change was taken: commit line by line, so that only the guilty ones
 * are lost. */
static int flush_singly(struct feed *feed)
{
    int code = CLI_OK;
    for (size_t i = 0; i < feed->line_count && !code; i++) {
        struct roost_receipt receipt = {0, 0, 0, 0};
        roost_batch_clear(feed->batch);
        int error = repeat_line(feed, &feed->lines[i]);
        if (error == ALREADY_EXPIRED) continue;
        if (error >= 0) error = commit(feed, &receipt);
        if (error >= 0)
            acknowledge(feed, i, 1, feed->ids);
        else
            code = refuse(feed, feed->lines[i].number, cli_fail_write(error, &receipt, "line %" PRIu64, feed->lines[i].number));
    }
    return code;
}

static void forget_lines(struct feed *feed)
{
    for (size_t i = 0; i < feed->line_count; i++) free(feed->lines[i].text);
    feed->line_count = 0;
    feed->size = 0;
    roost_batch_clear(feed->batch);
}

/* Commits what was gathered. 0, or the exit code with which to stop. */
static int flush(struct feed *feed)
{
    struct roost_receipt receipt = {0, 0, 0, 0};
    int code = CLI_OK;
    if (!feed->line_count) return CLI_OK;
    int error = commit(feed, &receipt);
    if (error >= 0) {
        acknowledge(feed, 0, feed->line_count, feed->ids);
    } else if (feed->line_count > 1 && (error == ROOST_E2BIG || error == ROOST_EINVAL || error == ROOST_EILSEQ)) {
        code = flush_singly(feed);
    } else {
        uint64_t first = feed->lines[0].number, last = feed->lines[feed->line_count - 1].number;
        if (first == last)
            code = cli_fail_write(error, &receipt, "line %" PRIu64, first);
        else
            code = cli_fail_write(error, &receipt, "lines %" PRIu64 " to %" PRIu64, first, last);
        /* Not the fault of one line, so there is none to skip. */
        feed->result->refused_count += feed->line_count;
        feed->result->stopped_at_line = first;
    }
    forget_lines(feed);
    if (!cli_output_flush() && !code) code = CLI_FAILED;
    return code;
}

/* ---- Lines ------------------------------------------------------------------------------------------------------- */

static int keep_line(struct feed *feed, enum line_kind kind, uint64_t number, const char *text, size_t size)
{
    char *copy = malloc(size + 1);
    if (!copy) {
        cli_say("line %" PRIu64 ": out of memory", number);
        return CLI_FAILED;
    }
    memcpy(copy, text, size);
    feed->lines[feed->line_count++] = (struct waiting_line){kind, number, copy, size};
    feed->size += size;
    return CLI_OK;
}

/* A state does not go into a batch; what came before it goes first, so that the order stays. */
static int take_state(struct feed *feed, struct rst_json_reader *reader, uint64_t number)
{
    bool good = false;
    int code = flush(feed);
    if (code) return code;
    int error = publish_state(feed, reader, &good);
    if (!good) return refuse_text(feed, number, reader->document->error);
    if (error < 0) return refuse_error(feed, number, error);
    feed->result->state_count++;
    return CLI_OK;
}

static int take_object(struct feed *feed, struct rst_json_reader *reader, enum line_kind kind, uint64_t number, const char *text,
                       size_t size)
{
    bool good = false;
    int error;
    if (kind == LINE_STATE) return take_state(feed, reader, number);
    error = add_change(feed, kind, reader, number, &good);
    if (good && error == ALREADY_EXPIRED) return CLI_OK;
    if (good && error >= 0) return keep_line(feed, kind, number, text, size);
    /* What came before is committed first. The message is made before that, because the commit replaces the error's
     * words. */
    char what[1200];
    snprintf(what, sizeof what, "%s", good ? roost_error_detail() : reader->document->error);
    int code = flush(feed);
    if (code) return code;
    cli_say("line %" PRIu64 ": %s", number, *what ? what : roost_error_text(error));
    return refuse(feed, number, good ? cli_exit_code(error) : CLI_USAGE);
}

static int take_line(struct feed *feed, uint64_t number, const char *text, size_t size)
{
    struct rst_json_document document;
    enum line_kind kind = LINE_MEMORY;
    const struct rst_json_value *object = NULL;
    int code;
    size_t blank = 0;
    while (blank < size && (text[blank] == ' ' || text[blank] == '\t')) blank++;
    if (blank == size) return CLI_OK;
    if (rst_json_parse(text, size, &document)) {
        if (feed->options->kind == FEED_IMPORT)
            object = import_object(&document, &kind);
        else if (document.root->kind == RST_JSON_OBJECT)
            object = document.root;
        else
            snprintf(document.error, sizeof document.error, "a JSON object is expected, like {\"text\":\"...\"}");
    }
    if (object) {
        struct rst_json_reader reader = {&document, object};
        code = take_object(feed, &reader, kind, number, text, size);
    } else {
        code = flush(feed);
        if (!code) code = refuse_text(feed, number, document.error);
    }
    rst_json_free(&document);
    return code;
}

static int feed_all(struct feed *feed, struct line_reader *reader)
{
    char *line;
    size_t size;
    int code = CLI_OK, got;
    while (!code && !cli_interrupted() && (got = line_next(reader, &line, &size)) != 0) {
        if (got < 0) {
            code = flush(feed);
            if (!(code || (cli_interrupted() && reader->error_number == EINTR)))
                code = cli_fail_system(reader->error_number, "could not read line", "stdin or file");
            return code;
        }
        if (reader->line_number < feed->options->first_line) continue;
        feed->result->line_count++;
        code = take_line(feed, reader->line_number, line, size);
        if (!code && (feed->line_count == BATCH_COUNT_MAX || feed->size >= BATCH_SIZE_MAX || !line_waiting(reader)))
            code = flush(feed);
        const struct feed_options *options = feed->options;
        if (!code && !feed->line_count && options->go_on && !options->go_on(options->user, feed->result->line_count)) break;
    }
    return code ? code : flush(feed);
}

int feed_lines(struct cli *cli, int descriptor, const struct feed_options *options, struct feed_result *ret_result)
{
    struct feed *feed = calloc(1, sizeof *feed);
    struct line_reader reader;
    *ret_result = (struct feed_result){0};
    if (!feed) return cli_fail_system(ENOMEM, "could not read", "the lines");
    feed->cli = cli;
    feed->options = options;
    feed->result = ret_result;
    int error = roost_batch_open(&feed->batch);
    if (error < 0) {
        free(feed);
        return cli_fail(error, NULL);
    }
    line_reader_start(&reader, descriptor);
    int code = feed_all(feed, &reader);
    if (!code) code = feed->code; /* lines were skipped: the others are in, but this was no full success */
    line_reader_free(&reader);
    forget_lines(feed);
    roost_batch_free(feed->batch);
    free(feed);
    return code;
}
