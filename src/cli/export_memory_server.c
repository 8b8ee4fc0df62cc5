/* SPDX-License-Identifier: MIT
 * export_memory_server.c: a root as the file of the reference MCP memory server, byte for byte what JSON.stringify would write.
 *
 * Entities, their observations and relations are found by their keys (import_memory_server.c), so an observation that an agent has
 * replaced under its key is the observation. Every other memory becomes an entity "memory-ID" with its text as the one observation. */
#include "foreign.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct observation {
    uint64_t entity; /* index in `entities` */
    uint64_t place;
    roost_id id;
};

struct writer {
    struct cli *cli;
    FILE *file;
    struct cli_pass *pass;
    struct key_map keys; /* of entities: index in `entities` and 1 */
    roost_id *entities;  /* 0: it has observations only */
    roost_id *plain, *relations;
    struct observation *observations;
    size_t entity_count, entity_capacity, plain_count, plain_capacity, relation_count, relation_capacity;
    size_t observation_count, observation_capacity;
    uint64_t line_count, memory_count;
};

/* ---- As JSON.stringify writes ------------------------------------------------------------------------------------ */

static void put_string(FILE *file, struct roost_bytes bytes)
{
    static const char from[] = "\b\t\n\f\r\"\\", to[] = "btnfr\"\\";
    const char *text = bytes.data;
    size_t plain = 0;
    fputc('"', file);
    for (size_t i = 0; i < bytes.size; i++) {
        const char *found = text[i] ? strchr(from, text[i]) : NULL;
        if (!found && (unsigned char)text[i] >= 0x20) continue;
        if (i > plain) fwrite(text + plain, 1, i - plain, file);
        if (found)
            fprintf(file, "\\%c", to[found - from]);
        else
            fprintf(file, "\\u%04x", (unsigned)text[i]);
        plain = i + 1;
    }
    if (bytes.size > plain) fwrite(text + plain, 1, bytes.size - plain, file);
    fputc('"', file);
}

static void put_word(FILE *file, const char *word) { put_string(file, roost_text(word)); }

/* ---- What the metadata says about a text ------------------------------------------------------------------------- */

/* Cuts "NAME (TYPE)" or "FROM TYPE TO" again; false: the text is not what was imported. */
static bool cut_text(const struct roost_memory *memory, struct rst_json_document *document, const struct rst_json_value *object,
                     bool entity, struct roost_bytes ret_parts[3])
{
    static const char *const entity_names[] = {"name_size", "type_size"}, *const entity_between[] = {" (", ")"};
    static const char *const relation_names[] = {"from_size", "type_size", "to_size"}, *const relation_between[] = {" ", " ", ""};
    const char *const *names = entity ? entity_names : relation_names, *const *between =
                                                                           entity ? entity_between : relation_between;
    struct rst_json_reader reader = {document, object};
    size_t left = memory->text.size;
    const char *at = memory->text.data;
    for (int i = 0; i < (entity ? 2 : 3); i++) {
        uint64_t size = UINT64_MAX;
        size_t gap = strlen(between[i]);
        if (!object || !rst_json_read_unsigned(&reader, names[i], &size) || size > left || left - size < gap) return false;
        if (memcmp(at + size, between[i], gap) != 0) return false;
        ret_parts[i] = (struct roost_bytes){at, (size_t)size};
        if (!rst_utf8_valid(at, (size_t)size, NULL)) return false;
        at += size + gap;
        left -= size + gap;
    }
    return !left;
}

static bool can_be_cut(const struct roost_memory *memory, bool entity)
{
    struct rst_json_document document;
    struct roost_bytes parts[3];
    const struct rst_json_value *object = foreign_metadata(memory, "memory_server", &document);
    bool good = cut_text(memory, &document, object, entity, parts);
    rst_json_free(&document);
    return good;
}

static bool has_mark(const struct roost_memory *memory, const char *mark)
{
    struct rst_json_document document;
    const struct rst_json_value *object = foreign_metadata(memory, "memory_server", &document);
    const struct rst_json_value *value = rst_json_member(object, mark);
    bool answer = value && value->kind == RST_JSON_TRUE;
    rst_json_free(&document);
    return answer;
}

/* A line that was kept whole. */
static bool is_line(const struct roost_memory *memory)
{
    return has_mark(memory, "line") && !memchr(memory->text.data, '\n', memory->text.size);
}

/* ---- Looking at all ---------------------------------------------------------------------------------------------- */

static bool add_id(roost_id **list, size_t *count, size_t *capacity, roost_id id)
{
    if (!array_grow((void **)list, *count, capacity, sizeof **list)) return false;
    (*list)[(*count)++] = id;
    return true;
}

/* The index of an entity by its key, made if it is new; -1: out of memory. */
static int64_t entity_at(struct writer *writer, struct roost_bytes key)
{
    uint64_t *index = key_map_add(&writer->keys, key);
    if (!index) return -1;
    if (!*index) {
        if (!add_id(&writer->entities, &writer->entity_count, &writer->entity_capacity, 0)) return -1;
        *index = writer->entity_count;
    }
    return (int64_t)*index - 1;
}

/* memory-server/oN.P/NAME: the key of its entity and P. False: it is none. */
static bool split_key(struct roost_bytes key, char *ret_entity, size_t *ret_size, uint64_t *ret_place)
{
    const char *text = key.data;
    size_t prefix = strlen(MEMORY_SERVER_PREFIX), point = prefix + 1, end;
    while (point < key.size && text[point] >= '0' && text[point] <= '9') point++;
    if (point >= key.size || text[point] != '.' || text[prefix] != 'o') return false;
    for (end = point + 1; end < key.size && text[end] >= '0' && text[end] <= '9'; end++)
        ;
    if (end >= key.size || (text[end] != '/' && text[end] != ':')) return false;
    if (!rst_parse_number(text + point + 1, end - point - 1, ret_place)) return false;
    memcpy(ret_entity, text, point);
    ret_entity[prefix] = 'e';
    memcpy(ret_entity + point, text + end, key.size - end);
    *ret_size = point + key.size - end;
    return true;
}

static bool sort_in(struct writer *writer, const struct roost_memory *memory)
{
    size_t prefix = strlen(MEMORY_SERVER_PREFIX);
    bool ours = bytes_begin(memory->key, MEMORY_SERVER_PREFIX) && memory->key.size > prefix;
    char kind = ours ? ((const char *)memory->key.data)[prefix] : 0, entity_key[ROOST_KEY_SIZE_MAX];
    size_t size;
    uint64_t place;
    int64_t entity;
    if (kind == 'e' && can_be_cut(memory, true)) {
        if ((entity = entity_at(writer, memory->key)) < 0) return false;
        writer->entities[entity] = memory->id;
        return true;
    }
    if (kind == 'o' && memory->key.size <= sizeof entity_key && split_key(memory->key, entity_key, &size, &place)) {
        if ((entity = entity_at(writer, (struct roost_bytes){entity_key, size})) < 0) return false;
        if (!array_grow((void **)&writer->observations, writer->observation_count, &writer->observation_capacity,
                        sizeof *writer->observations))
            return false;
        writer->observations[writer->observation_count++] = (struct observation){(uint64_t)entity, place, memory->id};
        return true;
    }
    if ((kind == 'r' && can_be_cut(memory, false)) || (kind == 'l' && is_line(memory)))
        return add_id(&writer->relations, &writer->relation_count, &writer->relation_capacity, memory->id);
    return add_id(&writer->plain, &writer->plain_count, &writer->plain_capacity, memory->id);
}

static int look_at_all(struct writer *writer)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    roost_iter *iter = NULL;
    int got = roost_scan(writer->cli->root, 0, 0, &iter);
    while (got >= 0 && (got = cli_pass_memory(writer->pass, iter, &memory)) > 0)
        if (!sort_in(writer, &memory)) got = ROOST_ENOMEM;
    roost_iter_close(iter);
    return got;
}

/* ---- Lines ------------------------------------------------------------------------------------------------------- */

/* 1: here it is, to be unpinned; 0: it was forgotten meanwhile, or is damaged, which is said and counted; or an error. */
static int get(struct writer *writer, roost_id id, struct roost_memory *ret_memory)
{
    *ret_memory = (struct roost_memory)ROOST_MEMORY_INIT;
    int error = roost_get(writer->cli->root, id, ret_memory);
    if (error >= 0) return 1;
    if (error == ROOST_ECORRUPT) {
        cli_say("%s: left out: memory %" PRIu64 ": %s", writer->pass->context, id, cli_detail(error));
        writer->pass->damaged_count++;
    }
    return error == ROOST_ENOENT || error == ROOST_ECORRUPT ? 0 : error;
}

static void end_line(struct writer *writer)
{
    fputs("}\n", writer->file);
    writer->line_count++;
}

/* An observation that had no text. */
static bool was_empty(const struct roost_memory *memory)
{
    return bytes_equal(memory->text, roost_text(FOREIGN_EMPTY_TEXT)) && has_mark(memory, "empty");
}

static int put_observations(struct writer *writer, const struct observation *first, size_t count)
{
    bool comma = false;
    int got = 0;
    fputc('[', writer->file);
    for (size_t i = 0; i < count && got >= 0; i++) {
        struct roost_memory memory;
        if ((got = get(writer, first[i].id, &memory)) <= 0) continue;
        if (comma) fputc(',', writer->file);
        comma = true;
        put_string(writer->file, was_empty(&memory) ? (struct roost_bytes){NULL, 0} : memory.text);
        roost_unpin(writer->cli->root, &memory.pin);
        writer->memory_count++;
    }
    fputc(']', writer->file);
    return got < 0 ? got : 0;
}

/* The values of the four known members, in the order of their names. */
struct line {
    const char *type;
    const char *const *names;
    struct roost_bytes texts[3];
    const struct observation *observations; /* in place of the last text, if it is an entity */
    size_t observation_count;
};
static const char *const entity_members[] = {"type", "name", "entityType", "observations"};
static const char *const relation_members[] = {"type", "from", "to", "relationType"};

static int put_known(struct writer *writer, const struct line *line, int which)
{
    put_word(writer->file, line->names[which]);
    fputc(':', writer->file);
    if (which == 3 && line->names == entity_members) return put_observations(writer, line->observations, line->observation_count);
    put_string(writer->file, which ? line->texts[which - 1] : roost_text(line->type));
    return 0;
}

/* In the order that the line had, with what else it had. */
static int put_line(struct writer *writer, const struct line *line, const struct rst_json_value *members)
{
    const struct rst_json_value *member = members && members->kind == RST_JSON_ARRAY ? members->first : NULL;
    int error = 0;
    char before = '{';
    if (!member) {
        for (int i = 0; i < 4 && !error; i++) {
            fputc(i ? ',' : '{', writer->file);
            error = put_known(writer, line, i);
        }
    }
    for (; member && !error; member = member->next, before = ',') {
        fputc(before, writer->file);
        if (member->kind == RST_JSON_ARRAY && member->first && member->first->next) {
            put_string(writer->file, member->first->text);
            fputc(':', writer->file);
            fwrite(member->first->next->raw.data, 1, member->first->next->raw.size, writer->file);
            continue;
        }
        for (int i = 0; i < 4; i++)
            if (bytes_equal(member->text, roost_text(line->names[i]))) error = put_known(writer, line, i);
    }
    end_line(writer);
    return error;
}

static int put_entity(struct writer *writer, roost_id id, const struct observation *observations, size_t count)
{
    struct line line = {.type = "entity", .names = entity_members, .observations = observations, .observation_count = count};
    struct rst_json_document document;
    struct roost_memory memory;
    int error = get(writer, id, &memory);
    if (error <= 0) return error;
    const struct rst_json_value *object = foreign_metadata(&memory, "memory_server", &document);
    error = 0;
    if (cut_text(&memory, &document, object, true, line.texts)) {
        error = put_line(writer, &line, rst_json_member(object, "members"));
        writer->memory_count++;
    }
    rst_json_free(&document);
    roost_unpin(writer->cli->root, &memory.pin);
    return error;
}

static int put_relation(struct writer *writer, roost_id id)
{
    struct line line = {.type = "relation", .names = relation_members};
    struct rst_json_document document;
    struct roost_bytes parts[3];
    struct roost_memory memory;
    int error = get(writer, id, &memory);
    if (error <= 0) return error;
    const struct rst_json_value *object = foreign_metadata(&memory, "memory_server", &document);
    error = 0;
    if (cut_text(&memory, &document, object, false, parts)) {
        line.texts[0] = parts[0];
        line.texts[1] = parts[2];
        line.texts[2] = parts[1];
        error = put_line(writer, &line, rst_json_member(object, "members"));
    } else {
        fwrite(memory.text.data, 1, memory.text.size, writer->file);
        fputc('\n', writer->file);
        writer->line_count++;
    }
    writer->memory_count++;
    rst_json_free(&document);
    roost_unpin(writer->cli->root, &memory.pin);
    return error;
}

/* A memory of Roost's own. */
static int put_plain(struct writer *writer, roost_id id)
{
    char name[64], key[96];
    struct roost_memory memory;
    int got = get(writer, id, &memory);
    if (got <= 0) return got;
    snprintf(name, sizeof name, "memory-%" PRIu64, id);
    snprintf(key, sizeof key, MEMORY_SERVER_PREFIX "e1/%s", name);
    /* Another root's memory of this number was imported from such a file: the name is taken. */
    if (key_map_find(&writer->keys, roost_text(key))) snprintf(name, sizeof name, "roost-memory-%" PRIu64, id);
    fputs("{\"type\":\"entity\",\"name\":", writer->file);
    put_word(writer->file, name);
    fputs(",\"entityType\":\"memory\",\"observations\":[", writer->file);
    put_string(writer->file, memory.text);
    fputc(']', writer->file);
    end_line(writer);
    writer->memory_count++;
    roost_unpin(writer->cli->root, &memory.pin);
    return 0;
}

static int by_entity_and_place(const void *a, const void *b)
{
    const struct observation *one = a, *other = b;
    if (one->entity != other->entity) return one->entity < other->entity ? -1 : 1;
    if (one->place != other->place) return one->place < other->place ? -1 : 1;
    return one->id < other->id ? -1 : one->id > other->id;
}

static int put_all(struct writer *writer)
{
    const struct observation *list = writer->observations;
    size_t at = 0;
    int error = 0;
    if (writer->observation_count) qsort(writer->observations, writer->observation_count, sizeof *list, by_entity_and_place);
    for (size_t i = 0; i < writer->entity_count && !error && !ferror(writer->file); i++) {
        size_t first = at;
        while (at < writer->observation_count && list[at].entity == i) at++;
        if (writer->entities[i]) {
            error = put_entity(writer, writer->entities[i], list + first, at - first);
            continue;
        }
        for (size_t k = first; k < at && !error; k++) error = put_plain(writer, list[k].id); /* its entity was forgotten */
    }
    for (size_t i = 0; i < writer->plain_count && !error && !ferror(writer->file); i++)
        error = put_plain(writer, writer->plain[i]);
    for (size_t i = 0; i < writer->relation_count && !error && !ferror(writer->file); i++)
        error = put_relation(writer, writer->relations[i]);
    return error;
}

int export_memory_server(struct cli *cli, FILE *file, struct cli_pass *pass, uint64_t *ret_line_count, uint64_t *ret_memory_count)
{
    struct writer writer = {.cli = cli, .file = file, .pass = pass};
    int error = look_at_all(&writer);
    if (error >= 0) error = put_all(&writer);
    *ret_line_count = writer.line_count;
    *ret_memory_count = writer.memory_count;
    key_map_free(&writer.keys);
    free(writer.entities);
    free(writer.plain);
    free(writer.relations);
    free(writer.observations);
    return error;
}

void export_say_left_behind(struct cli *cli)
{
    struct roost_item item = ROOST_ITEM_INIT;
    roost_iter *keys = NULL, *streams = NULL;
    bool key = roost_kv_scan(cli->root, roost_text(""), &keys) >= 0 && roost_iter_item(keys, &item) > 0;
    bool stream = roost_streams(cli->root, &streams) >= 0 && roost_iter_item(streams, &item) > 0;
    roost_iter_close(keys);
    roost_iter_close(streams);
    if (key || stream)
        cli_say("export: only memories were written: there is no place for keys, streams and states; `roost export` has all");
}
