/* SPDX-License-Identifier: MIT
 * json_write.c: a tiny JSON writer. cJSON would build a tree and round 64-bit numbers; this one writes what it is
 * given, exactly. */
#include "cli.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

struct json_writer json_writer(FILE *file) { return (struct json_writer){file, false}; }

static void write_string(FILE *file, const void *data, size_t size)
{
    const unsigned char *text = data;
    size_t plain = 0; /* where the run that needs no escape began */
    fputc('"', file);
    for (size_t i = 0; i < size; i++) {
        /* C1 controls (U+0080..9F) are legal in JSON, but they steer terminals. */
        bool steers = text[i] == 0xc2 && i + 1 < size && text[i + 1] < 0xa0;
        if (text[i] >= 0x20 && text[i] != '"' && text[i] != '\\' && text[i] != 0x7f && !steers) continue;
        if (i > plain) fwrite(text + plain, 1, i - plain, file);
        if (steers)
            fprintf(file, "\\u%04x", text[++i]);
        else if (text[i] == '"' || text[i] == '\\')
            fprintf(file, "\\%c", text[i]);
        else if (text[i] == '\n')
            fputs("\\n", file);
        else
            fprintf(file, "\\u%04x", text[i]);
        plain = i + 1;
    }
    if (size > plain) fwrite(text + plain, 1, size - plain, file);
    fputc('"', file);
}

static void write_base64(FILE *file, const void *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *bytes = data;
    fputc('"', file);
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        unsigned group = (unsigned)bytes[i] << 16;
        group |= left > 1 ? (unsigned)bytes[i + 1] << 8 : 0;
        group |= left > 2 ? (unsigned)bytes[i + 2] : 0;
        char out[4] = {digits[group >> 18], digits[group >> 12 & 63], left > 1 ? digits[group >> 6 & 63] : '=',
                       left > 2 ? digits[group & 63] : '='};
        fwrite(out, 1, sizeof out, file);
    }
    fputc('"', file);
}

static void begin(struct json_writer *writer, const char *name, const char *suffix)
{
    if (writer->comma) fputc(',', writer->file);
    writer->comma = true;
    if (name) fprintf(writer->file, "\"%s%s\":", name, suffix);
}

void json_open(struct json_writer *writer, const char *name, char bracket)
{
    begin(writer, name, "");
    fputc(bracket, writer->file);
    writer->comma = false;
}

void json_close(struct json_writer *writer, char bracket)
{
    fputc(bracket, writer->file);
    writer->comma = true;
}

void json_bytes(struct json_writer *writer, const char *name, struct roost_bytes bytes)
{
    bool text = rst_utf8_valid(bytes.data, bytes.size, NULL);
    begin(writer, name, text ? "" : "_base64");
    if (text)
        write_string(writer->file, bytes.data, bytes.size);
    else
        write_base64(writer->file, bytes.data, bytes.size);
}

void json_named(struct json_writer *writer, const char *name, struct roost_bytes bytes)
{
    if (writer->comma) fputc(',', writer->file);
    writer->comma = true;
    write_string(writer->file, name, strlen(name));
    fputc(':', writer->file);
    if (rst_utf8_valid(bytes.data, bytes.size, NULL))
        write_string(writer->file, bytes.data, bytes.size);
    else
        write_base64(writer->file, bytes.data, bytes.size);
}

void json_text(struct json_writer *writer, const char *name, const char *text)
{
    json_bytes(writer, name, (struct roost_bytes){text, strlen(text)});
}

void json_id(struct json_writer *writer, const char *name, uint64_t id)
{
    begin(writer, name, "");
    fprintf(writer->file, "\"%" PRIu64 "\"", id);
}

void json_unsigned(struct json_writer *writer, const char *name, uint64_t number)
{
    begin(writer, name, "");
    fprintf(writer->file, "%" PRIu64, number);
}

void json_signed(struct json_writer *writer, const char *name, int64_t number)
{
    begin(writer, name, "");
    fprintf(writer->file, "%" PRId64, number);
}

void json_double(struct json_writer *writer, const char *name, double number)
{
    begin(writer, name, "");
    if (isfinite(number))
        fprintf(writer->file, "%.9g", number);
    else
        fputs("null", writer->file);
}

void json_bool(struct json_writer *writer, const char *name, bool value)
{
    begin(writer, name, "");
    fputs(value ? "true" : "false", writer->file);
}

void json_line_end(struct json_writer *writer)
{
    fputc('\n', writer->file);
    writer->comma = false;
}

void json_bytes_list(struct json_writer *writer, const char *name, const struct roost_bytes *list, size_t count)
{
    bool text = true;
    for (size_t i = 0; i < count; i++) text = text && rst_utf8_valid(list[i].data, list[i].size, NULL);
    begin(writer, name, text ? "" : "_base64");
    fputc('[', writer->file);
    for (size_t i = 0; i < count; i++) {
        if (i) fputc(',', writer->file);
        if (text)
            write_string(writer->file, list[i].data, list[i].size);
        else
            write_base64(writer->file, list[i].data, list[i].size);
    }
    fputc(']', writer->file);
}

struct roost_memory cli_hit_memory(const struct roost_hit *hit)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    memory.id = hit->id;
    memory.text = hit->text;
    memory.key = hit->key;
    memory.tags = hit->tags;
    memory.tag_count = hit->tag_count;
    memory.time_ns = hit->time_ns;
    memory.agent = hit->agent;
    memory.session = hit->session;
    memory.process = hit->process;
    memory.tool = hit->tool;
    memory.metadata = hit->metadata;
    return memory;
}

void json_memory_fields(struct json_writer *writer, const struct roost_memory *memory)
{
    json_id(writer, "id", memory->id);
    json_id(writer, "lsn", memory->lsn);
    json_signed(writer, "time_ns", memory->time_ns);
    json_bytes(writer, "key", memory->key);
    json_bytes_list(writer, "tags", memory->tags, memory->tag_count);
    json_origin_fields(writer, memory);
    json_bytes(writer, "text", memory->text);
}

void json_members(struct json_writer *writer, const char *members)
{
    begin(writer, NULL, "");
    fputs(members, writer->file);
}

void json_raw(struct json_writer *writer, const char *name, struct roost_bytes json)
{
    begin(writer, name, "");
    fwrite(json.data, 1, json.size, writer->file);
}

void json_origin_fields(struct json_writer *writer, const struct roost_memory *memory)
{
    if (memory->agent.size) json_bytes(writer, "agent", memory->agent);
    if (memory->session.size) json_bytes(writer, "session", memory->session);
    if (memory->process.size) json_bytes(writer, "process", memory->process);
    if (memory->tool.size) json_bytes(writer, "tool", memory->tool);
    const void *metadata = memory->metadata.data;
    size_t size = memory->metadata.size;
    /* What takes more than one line cannot stand in a line of JSON. */
    if (size && (memchr(metadata, '\n', size) || memchr(metadata, '\r', size)))
        json_bytes(writer, "metadata_text", memory->metadata);
    else if (size)
        json_raw(writer, "metadata", memory->metadata);
}

void json_item_fields(struct json_writer *writer, const struct roost_item *item, const char *value_name)
{
    json_bytes(writer, value_name, item->value);
    json_id(writer, "version", item->version);
    json_signed(writer, "time_ns", item->time_ns);
    if (item->expires_ns) json_signed(writer, "expires_ns", item->expires_ns);
}

void json_state_fields(struct json_writer *writer, const struct roost_state *state)
{
    static const char *const alive[] = {"no", "yes", "unowned"};
    json_bytes(writer, "name", state->name);
    json_bytes(writer, "status", state->status);
    json_unsigned(writer, "active_memory_count", state->active_memory_count);
    json_id(writer, "last_updated_id", state->last_updated_id);
    json_open(writer, "extra", '[');
    for (size_t i = 0; i < state->extra_count; i++) {
        json_open(writer, NULL, '{');
        json_bytes(writer, "name", state->extra[i].name);
        json_bytes(writer, "value", state->extra[i].value);
        json_close(writer, '}');
    }
    json_close(writer, ']');
    json_text(writer, "alive", alive[state->alive <= ROOST_ALIVE_NONE ? state->alive : ROOST_ALIVE_NONE]);
    json_id(writer, "version", state->version);
    json_signed(writer, "time_ns", state->time_ns);
    if (state->owner_pid) json_signed(writer, "owner_pid", state->owner_pid);
}
