/* SPDX-License-Identifier: MIT
 * import_memory_server.c: the file of the reference MCP memory server into a root: JSON lines, each an entity or a relation.
 *
 *     {"type":"entity","name":"Ann","entityType":"person","observations":["likes tea"]}
 *     {"type":"relation","from":"Ann","to":"Bob","relationType":"knows"}
 *
 * An entity becomes a memory "Ann (person)" and one for each observation, a relation the memory "Ann knows Bob". Their keys, by which
 * export_memory_server.c finds them again, are memory-server/ and
 *
 *     eN/NAME       the Nth entity of this name in the file, from 1
 *     oN.P/NAME     its observation at place P, from 0
 *     rN/NAMES      a relation
 *     lN:HASH       a line of another shape, kept whole
 *
 * where ":" and a hash stand for "/" and names that do not fit a key. The metadata has what the text does not tell: where the names end,
 * and what other members the line had, in their order. */
#include "foreign.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A name that is longer is hashed: the key has 1,024 bytes, and what stands before the name some of them. */
enum { KEY_NAME_SIZE_MAX = 900, KEY_SIZE = ROOST_KEY_SIZE_MAX + 1 };

struct reader {
    struct intake intake;
    struct key_map counts; /* keys of number 1 that this file has used: how often */
    struct key_map places; /* keys of entities in the root: one more than the greatest place of an observation */
};

struct key {
    char bytes[KEY_SIZE];
    size_t size;
};
static struct roost_bytes key_bytes(const struct key *key) { return (struct roost_bytes){key->bytes, key->size}; }

/* ---- Keys -------------------------------------------------------------------------------------------------------- */

/* place < 0: none. */
static void make_key(struct key *ret_key, char kind, uint64_t number, int64_t place, bool hash, struct roost_bytes name)
{
    char digits[33];
    int size = snprintf(ret_key->bytes, KEY_SIZE, "%s%c%" PRIu64, MEMORY_SERVER_PREFIX, kind, number);
    if (place >= 0) size += snprintf(ret_key->bytes + size, KEY_SIZE - (size_t)size, ".%" PRId64, place);
    ret_key->size = (size_t)size;
    if (!hash && name.size <= KEY_NAME_SIZE_MAX && (!name.size || !memchr(name.data, 0, name.size))) {
        ret_key->bytes[ret_key->size++] = '/';
        if (name.size) memcpy(ret_key->bytes + ret_key->size, name.data, name.size);
        ret_key->size += name.size;
        return;
    }
    key_hash(name.data, name.size, digits);
    ret_key->size += (size_t)snprintf(ret_key->bytes + ret_key->size, KEY_SIZE - ret_key->size, ":%s", digits);
}

/* How many of this kind and name came in the file, with this one. 0: out of memory. */
static uint64_t count_key(struct reader *reader, char kind, bool hash, struct roost_bytes name)
{
    struct key key;
    make_key(&key, kind, 1, -1, hash, name);
    uint64_t *count = key_map_add(&reader->counts, key_bytes(&key));
    return count ? ++*count : 0;
}

static size_t digits_end(struct roost_bytes key, size_t at)
{
    while (at < key.size && ((const char *)key.data)[at] >= '0' && ((const char *)key.data)[at] <= '9') at++;
    return at;
}

/* Of an observation's key, the key of its entity, and its place (may be NULL). */
static bool entity_key(struct roost_bytes key, struct key *ret_entity, uint64_t *ret_place)
{
    const char *text = key.data;
    size_t kind = strlen(MEMORY_SERVER_PREFIX), point = digits_end(key, kind + 1), end = digits_end(key, point + 1);
    uint64_t place;
    if (key.size > ROOST_KEY_SIZE_MAX || end >= key.size || text[kind] != 'o' || text[point] != '.') return false;
    if (!rst_parse_number(text + point + 1, end - point - 1, &place)) return false;
    memcpy(ret_entity->bytes, text, point);
    ret_entity->bytes[kind] = 'e';
    memcpy(ret_entity->bytes + point, text + end, key.size - end);
    ret_entity->size = point + key.size - end;
    if (ret_place) *ret_place = place;
    return true;
}

/* A key of the root: of an observation its place is noted under the key of its entity. */
static int note_place(void *user, struct roost_bytes key)
{
    struct reader *reader = user;
    struct key entity;
    uint64_t place;
    if (!entity_key(key, &entity, &place) || place >= UINT32_MAX) return CLI_OK;
    uint64_t *end = key_map_add(&reader->places, key_bytes(&entity));
    if (!end) {
        cli_say("import: out of memory");
        return CLI_FAILED;
    }
    if (*end <= place) *end = place + 1;
    return CLI_OK;
}

/* ---- The shape of a line ----------------------------------------------------------------------------------------- */

static const char *const entity_members[] = {"type", "name", "entityType", "observations"};
static const char *const relation_members[] = {"type", "from", "to", "relationType"};
enum { MEMBER_COUNT = 4 };

static bool named(const struct rst_json_value *value, const char *name)
{
    return bytes_equal(value->name, (struct roost_bytes){name, strlen(name)});
}

static bool is_type(const struct rst_json_value *object, const char *name)
{
    const struct rst_json_value *type = rst_json_member(object, "type");
    return type && type->kind == RST_JSON_STRING && bytes_equal(type->text, (struct roost_bytes){name, strlen(name)});
}

/* The known members in any order, among any others. False: it is of another shape. */
static bool find_members(const struct rst_json_value *object, const char *const *names, const struct rst_json_value **ret_members)
{
    for (int i = 0; i < MEMBER_COUNT; i++) {
        ret_members[i] = rst_json_member(object, names[i]);
        if (!ret_members[i]) return false;
        bool list = strcmp(names[i], "observations") == 0;
        if (ret_members[i]->kind != (list ? RST_JSON_ARRAY : RST_JSON_STRING)) return false;
        if (!list) continue;
        for (const struct rst_json_value *child = ret_members[i]->first; child; child = child->next)
            if (child->kind != RST_JSON_STRING) return false;
    }
    return true;
}

static bool in_order(const struct rst_json_value *object, const char *const *names)
{
    const struct rst_json_value *member = object->first;
    for (int i = 0; i < MEMBER_COUNT; i++, member = member->next)
        if (!member || !named(member, names[i])) return false;
    return !member;
}

/* ["type",["unknown",VALUE],"name",...]: only if it is not just the known ones in their order. */
static void put_members(struct json_writer *writer, const struct rst_json_value *object, const char *const *names)
{
    if (in_order(object, names)) return;
    json_open(writer, "members", '[');
    for (const struct rst_json_value *member = object->first; member; member = member->next) {
        bool known = false;
        for (int i = 0; i < MEMBER_COUNT; i++) known = known || named(member, names[i]);
        if (!known) json_open(writer, NULL, '[');
        json_bytes(writer, NULL, member->name);
        if (!known) json_raw(writer, NULL, member->raw);
        if (!known) json_close(writer, ']');
    }
    json_close(writer, ']');
}

/* {"memory_server":{...}} with these sizes and the members of the line; false: it is more than metadata can be, or out of memory. */
static bool make_metadata(struct json_text *text, const struct rst_json_value *object, const char *const *names,
                          const char *const *size_names, const size_t *sizes, size_t size_count)
{
    struct rst_json_document document = {0};
    if (!json_text_open(text)) return false;
    json_open(&text->writer, NULL, '{');
    json_open(&text->writer, "memory_server", '{');
    for (size_t i = 0; i < size_count; i++) json_unsigned(&text->writer, size_names[i], sizes[i]);
    put_members(&text->writer, object, names);
    json_close(&text->writer, '}');
    json_close(&text->writer, '}');
    bool good = json_text_close(text) && text->size <= ROOST_METADATA_SIZE_MAX;
    /* What is nested as deeply as a line may be is too deep inside of something else. */
    good = good && rst_json_parse(text->data, text->size, &document);
    rst_json_free(&document);
    return good;
}

/* ---- Lines ------------------------------------------------------------------------------------------------------- */

static char *join(const struct roost_bytes *parts, const char *const *between, size_t count, size_t *ret_size)
{
    size_t size = 1;
    for (size_t i = 0; i < count; i++) size += parts[i].size + strlen(between[i]);
    char *text = malloc(size), *at = text;
    for (size_t i = 0; text && i < count; i++) {
        if (parts[i].size) memcpy(at, parts[i].data, parts[i].size);
        at = stpcpy(at + parts[i].size, between[i]);
    }
    *ret_size = text ? (size_t)(at - text) : 0;
    return text;
}

static size_t add_tag(struct roost_bytes *tags, size_t count, struct roost_bytes tag)
{
    if (!foreign_name_fits(tag)) return count;
    tags[count] = tag;
    return cli_drop_repeated(tags, count + 1);
}

static int add_observation(struct reader *reader, uint64_t number, int64_t place, struct roost_bytes name,
                           struct roost_bytes text)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_bytes tags[2];
    struct json_text metadata;
    struct key key;
    if (!json_text_open(&metadata)) return ROOST_ENOMEM;
    json_open(&metadata.writer, NULL, '{');
    json_open(&metadata.writer, "memory_server", '{');
    if (name.size <= KEY_NAME_SIZE_MAX) json_bytes(&metadata.writer, "entity", name);
    json_unsigned(&metadata.writer, "place", (uint64_t)place);
    if (!text.size) json_bool(&metadata.writer, "empty", true);
    json_close(&metadata.writer, '}');
    json_close(&metadata.writer, '}');
    make_key(&key, 'o', number, place, false, name);
    memory.key = key_bytes(&key);
    memory.text = text.size ? text : roost_text(FOREIGN_EMPTY_TEXT);
    memory.tags = tags;
    memory.tag_count = add_tag(tags, add_tag(tags, 0, name), roost_text("observation"));
    int error = json_text_close(&metadata) ? 0 : ROOST_ENOMEM;
    memory.metadata = (struct roost_bytes){metadata.data, metadata.size};
    if (!error) error = intake_memory(&reader->intake, &memory);
    free(metadata.data);
    return error;
}

/* What an older file, imported before, had behind the last observation. */
static int forget_rest(struct reader *reader, uint64_t number, int64_t place, struct roost_bytes name)
{
    struct key key;
    int error = 0;
    make_key(&key, 'e', number, -1, false, name);
    uint64_t *end = key_map_find(&reader->places, key_bytes(&key));
    for (; end && (uint64_t)place < *end && !error; place++) {
        make_key(&key, 'o', number, place, false, name);
        uint64_t *id = key_map_find(&reader->intake.existing, key_bytes(&key));
        if (id) error = intake_forget(&reader->intake, *id);
    }
    return error;
}

/* Would an export write it as a part of what the memory server has? */
static bool is_foreign(struct reader *reader, const struct roost_memory *memory)
{
    struct rst_json_document document;
    struct key entity;
    if (!bytes_begin(memory->key, MEMORY_SERVER_PREFIX)) return false;
    if (entity_key(memory->key, &entity, NULL)) return key_map_find(&reader->intake.existing, key_bytes(&entity)) != NULL;
    bool marked = foreign_metadata(memory, "memory_server", &document) != NULL;
    rst_json_free(&document);
    return marked;
}

/* An export writes memories of Roost's own as entities "memory-ID". Coming back to their root they are there. */
static bool is_own(struct reader *reader, const struct rst_json_value *const *members)
{
    static const char prefix[] = "memory-";
    const struct rst_json_value *only = members[3]->first;
    struct roost_bytes name = members[1]->text;
    struct roost_memory memory = ROOST_MEMORY_INIT;
    uint64_t id;
    if (!bytes_begin(name, prefix) || !only || only->next || !bytes_equal(members[2]->text, roost_text("memory"))) return false;
    if (!rst_parse_number((const char *)name.data + strlen(prefix), name.size - strlen(prefix), &id) || !id) return false;
    if (roost_get(reader->intake.cli->root, id, &memory) < 0) return false;
    bool own = !is_foreign(reader, &memory) && bytes_equal(memory.text, only->text);
    roost_unpin(reader->intake.cli->root, &memory.pin);
    return own;
}

/* A memory under the key of `letter`, number. */
static int add_keyed(struct reader *reader, char letter, uint64_t number, struct roost_bytes name, struct roost_memory *memory)
{
    struct key key;
    make_key(&key, letter, number, -1, false, name);
    memory->key = key_bytes(&key);
    return intake_memory(&reader->intake, memory);
}

static int add_entity(struct reader *reader, const struct rst_json_value *const *members, struct roost_bytes metadata)
{
    static const char *const between[] = {" (", ")"};
    struct roost_bytes name = members[1]->text, type = members[2]->text, tags[3];
    const struct roost_bytes parts[] = {name, type};
    struct roost_memory memory = ROOST_MEMORY_INIT;
    uint64_t number = count_key(reader, 'e', false, name);
    char *text = number ? join(parts, between, 2, &memory.text.size) : NULL;
    if (!text) return ROOST_ENOMEM;
    memory.text.data = text;
    memory.tags = tags;
    memory.tag_count = add_tag(tags, add_tag(tags, add_tag(tags, 0, name), type), roost_text("entity"));
    memory.metadata = metadata;
    int error = add_keyed(reader, 'e', number, name, &memory);
    int64_t place = 0;
    for (const struct rst_json_value *child = members[3]->first; child && !error; child = child->next)
        error = add_observation(reader, number, place++, name, child->text);
    if (!error) error = forget_rest(reader, number, place, name);
    free(text);
    return error;
}

static int add_relation(struct reader *reader, const struct rst_json_value *const *members, struct roost_bytes metadata)
{
    static const char *const between[] = {" ", " ", ""}, *const together[] = {"", "", "", ""};
    struct roost_bytes from = members[1]->text, to = members[2]->text, type = members[3]->text, tags[3];
    const struct roost_bytes parts[] = {from, type, to};
    struct roost_memory memory = ROOST_MEMORY_INIT;
    char sizes[48]; /* so that other names never make the same key */
    snprintf(sizes, sizeof sizes, "%zu.%zu/", from.size, type.size);
    const struct roost_bytes name_parts[] = {roost_text(sizes), from, type, to};
    struct roost_bytes name = {NULL, 0};
    char *names = join(name_parts, together, 4, &name.size), *text = join(parts, between, 3, &memory.text.size);
    name.data = names;
    uint64_t number = names && text ? count_key(reader, 'r', false, name) : 0;
    int error = number ? 0 : ROOST_ENOMEM;
    if (!error) {
        memory.text.data = text;
        memory.tags = tags;
        memory.tag_count = add_tag(tags, add_tag(tags, add_tag(tags, 0, from), to), roost_text("relation"));
        memory.metadata = metadata;
        error = add_keyed(reader, 'r', number, name, &memory);
    }
    free(names);
    free(text);
    return error;
}

/* Of a shape that nobody expects: kept as it is. */
static int add_line(struct reader *reader, struct roost_bytes line)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct key key;
    uint64_t number = count_key(reader, 'l', true, line);
    if (!number) return ROOST_ENOMEM;
    make_key(&key, 'l', number, -1, true, line);
    memory.key = key_bytes(&key);
    memory.text = line;
    memory.metadata = roost_text("{\"memory_server\":{\"line\":true}}");
    return intake_memory(&reader->intake, &memory);
}

static int add_object(struct reader *reader, const struct rst_json_value *object, struct roost_bytes line)
{
    static const char *const entity_sizes[] = {"name_size", "type_size"};
    static const char *const relation_sizes[] = {"from_size", "type_size", "to_size"};
    const struct rst_json_value *members[MEMBER_COUNT];
    struct json_text text = {.data = NULL};
    bool entity = is_type(object, "entity"), good = find_members(object, entity ? entity_members : relation_members, members);
    int error;
    if (good && entity && is_own(reader, members)) {
        reader->intake.count.unchanged_count++;
        return 0;
    }
    if (good) {
        const size_t sizes[] = {members[1]->text.size, entity ? members[2]->text.size : members[3]->text.size,
                                entity ? 0 : members[2]->text.size};
        good = make_metadata(&text, object, entity ? entity_members : relation_members, entity ? entity_sizes : relation_sizes,
                             sizes, entity ? 2 : 3);
    }
    struct roost_bytes metadata = {text.data, text.size};
    if (!good)
        error = add_line(reader, line);
    else
        error = entity ? add_entity(reader, members, metadata) : add_relation(reader, members, metadata);
    free(text.data);
    return error;
}

static int take_line(struct reader *reader, uint64_t number, const char *text, size_t size)
{
    struct intake *intake = &reader->intake;
    struct rst_json_document document;
    char place[40];
    size_t blank = 0;
    int code = CLI_OK;
    while (blank < size && (text[blank] == ' ' || text[blank] == '\t')) blank++;
    if (blank == size) return CLI_OK;
    snprintf(place, sizeof place, "line %" PRIu64, number);
    intake_step(intake);
    bool good = rst_json_parse(text, size, &document);
    if (good && !is_type(document.root, "entity") && !is_type(document.root, "relation")) {
        snprintf(document.error, sizeof document.error,
                 "this is no line of a memory server: {\"type\":\"entity\",...} or {\"type\":\"relation\",...} is expected");
        good = false;
    }
    if (!good) {
        cli_say("%s: %s", place, document.error);
        code = intake_refuse(intake, CLI_USAGE);
    } else {
        int error = add_object(reader, document.root, (struct roost_bytes){text, size});
        if (error < 0) {
            code = intake_refuse(intake, cli_fail(error, "%s", place));
            intake_drop_group(intake);
        }
        int ended = intake_end_group(intake, place);
        if (!code) code = ended;
    }
    rst_json_free(&document);
    return code;
}

static int take_lines(struct reader *reader, int descriptor, const char *path)
{
    struct line_reader lines;
    char *line;
    size_t size;
    int code = CLI_OK, got = 0;
    line_reader_start(&lines, descriptor);
    while (!code && !cli_interrupted() && (got = line_next(&lines, &line, &size)) > 0)
        code = take_line(reader, lines.line_number, line, size);
    if (got < 0 && !cli_interrupted()) code = cli_fail_system(lines.error_number, "could not read", path);
    line_reader_free(&lines);
    return code ? code : intake_flush(&reader->intake);
}

int import_memory_server(struct cli *cli, const char *path, const struct foreign_options *options)
{
    struct reader *reader = calloc(1, sizeof *reader);
    int descriptor = path ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    int code = descriptor < 0 ? cli_fail_system(errno, "could not open", path) : CLI_OK;
    if (!reader) code = cli_fail_system(ENOMEM, "could not read", path ? path : "stdin");
    if (!code) {
        code = intake_open(&reader->intake, cli, options, "lines", MEMORY_SERVER_PREFIX, note_place, reader);
        if (!code) code = take_lines(reader, descriptor, path ? path : "stdin");
        code = intake_end(&reader->intake, code);
        key_map_free(&reader->counts);
        key_map_free(&reader->places);
    }
    if (path && descriptor >= 0) close(descriptor);
    free(reader);
    return code;
}
