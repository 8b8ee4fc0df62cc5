/* SPDX-License-Identifier: MIT
 * mcp/show.c: memories and states as tools and resources show them. */
#include <string.h>
#include <time.h>

#include "mcp/mcp.h"

void mcp_put_time(struct json_writer *writer, const char *name, int64_t time_ns)
{
    char text[64];
    struct tm parts;
    int64_t seconds = time_ns / 1000000000 - (time_ns % 1000000000 < 0);
    time_t time = (time_t)seconds;
    if (!gmtime_r(&time, &parts)) return;
    size_t used = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + used, sizeof text - used, ".%03dZ", (int)((time_ns - seconds * 1000000000) / 1000000));
    json_text(writer, name, text);
}

/* As much of a text as the budget has left. */
static void put_text(struct json_writer *writer, struct roost_bytes text, struct mcp_budget *budget)
{
    size_t size = rst_utf8_cut(text.data, text.size, budget->left);
    json_bytes(writer, "text", (struct roost_bytes){text.data, size});
    budget->left -= size;
    if (size == text.size) return;
    budget->cut = true;
    json_bool(writer, "truncated", true);
    json_unsigned(writer, "text_size", text.size);
}

void mcp_put_memory(struct json_writer *writer, const struct roost_memory *memory, struct mcp_budget *budget)
{
    json_id(writer, "id", memory->id);
    put_text(writer, memory->text, budget);
    if (memory->key.size) json_bytes(writer, "key", memory->key);
    if (memory->tag_count) json_bytes_list(writer, "tags", memory->tags, memory->tag_count);
    mcp_put_time(writer, "time", memory->time_ns);
    json_origin_fields(writer, memory);
}

void mcp_put_hit(struct json_writer *writer, const struct roost_hit *hit, struct mcp_budget *budget)
{
    struct roost_memory memory = cli_hit_memory(hit);
    mcp_put_memory(writer, &memory, budget);
    json_double(writer, "score", hit->score);
}

void mcp_put_state(struct json_writer *writer, const struct roost_state *state)
{
    static const char *const alive[] = {"no", "yes", "unowned"};
    json_bytes(writer, "name", state->name);
    json_bytes(writer, "status", state->status);
    json_text(writer, "alive", alive[state->alive <= ROOST_ALIVE_NONE ? state->alive : ROOST_ALIVE_NONE]);
    mcp_put_time(writer, "time", state->time_ns);
    json_id(writer, "version", state->version);
    if (state->owner_pid) json_signed(writer, "pid", state->owner_pid);
    if (state->active_memory_count) json_unsigned(writer, "active_memory_count", state->active_memory_count);
    if (state->last_updated_id) json_id(writer, "last_updated_id", state->last_updated_id);
    if (!state->extra_count) return;
    json_open(writer, "extra", '{');
    for (size_t i = 0; i < state->extra_count; i++) {
        char name[ROOST_NAME_SIZE_MAX + 1];
        if (state->extra[i].name.size >= sizeof name) continue;
        memcpy(name, state->extra[i].name.data, state->extra[i].name.size);
        name[state->extra[i].name.size] = '\0';
        json_named(writer, name, state->extra[i].value);
    }
    json_close(writer, '}');
}
