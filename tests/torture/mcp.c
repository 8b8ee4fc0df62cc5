/* SPDX-License-Identifier: MIT
 * torture/mcp.c: a writer that is a client of `roost mcp`. The process that the oracle kills and stops is the server; the client is its
 * child, which tells the oracle what it asks for and what it is answered, and ends when the server does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cJSON.h>

#include "torture/torture.h"

struct client {
    struct writer *w;
    FILE *in, *out;
    char *line;
    size_t room;
    unsigned number;
    struct {
        uint32_t tag;
        char id[24];
    } last; /* that was remembered and acknowledged */
};

#define META \
    "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\"io.modelcontextprotocol/clientCapabilities\":{}}"

/* One call of a tool. Its structured result, or NULL with *ret_text (the tool's sentence, to be freed; NULL: the server is gone). */
static cJSON *call(struct client *client, const char *tool, cJSON *arguments, char **ret_text)
{
    char *text = cJSON_PrintUnformatted(arguments);
    cJSON_Delete(arguments);
    *ret_text = NULL;
    fprintf(client->out,
            "{\"jsonrpc\":\"2.0\",\"id\":\"q%u\",\"method\":\"tools/call\",\"params\":{" META
            ",\"name\":\"%s\",\"arguments\":%s}}\n",
            ++client->number, tool, text);
    free(text);
    if (fflush(client->out) != 0 || getline(&client->line, &client->room, client->in) <= 0) return NULL;
    cJSON *reply = cJSON_Parse(client->line);
    cJSON *result = cJSON_GetObjectItem(reply, "result"), *structured = cJSON_DetachItemFromObject(result, "structuredContent");
    const cJSON *content = cJSON_GetArrayItem(cJSON_GetObjectItem(result, "content"), 0);
    const char *said = cJSON_GetStringValue(cJSON_GetObjectItem(content, "text"));
    if (!reply || !result) wrong("the server answered %.200s", client->line);
    if (!structured) *ret_text = strdup(said ? said : client->line);
    cJSON_Delete(reply);
    return structured;
}

/* A tool that failed: what became of the write is not known if it says so; anything else is wrong. */
static void failed(uint32_t tag, uint32_t kind, char *text)
{
    if (text && strstr(text, "not confirmed"))
        say((struct note){.kind = NOTE_UNKNOWN, .tag = tag, .op = kind}, NULL);
    else if (text)
        wrong("operation %u (tag %08x) through the server: %s", kind, tag, text);
    free(text);
}

static const char *text_in(const cJSON *result, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(result, name));
    if (!text) wrong("the server's result has no \"%s\"", name);
    return text ? text : "0";
}

static void remember_one(struct client *client)
{
    struct writer *w = client->w;
    uint32_t tag = begin(w, OP_APPEND, 0);
    cJSON *arguments = cJSON_CreateObject(), *result;
    char *problem;
    w->text[text_of(tag, w->text)] = '\0';
    cJSON_AddStringToObject(arguments, "text", w->text);
    result = call(client, "remember", arguments, &problem);
    if (result) {
        const char *id = text_in(result, "id");
        say((struct note){.kind = NOTE_ACK, .tag = tag, .op = OP_APPEND, .id = strtoull(id, NULL, 10)}, NULL);
        client->last.tag = tag;
        snprintf(client->last.id, sizeof client->last.id, "%s", id);
    } else {
        failed(tag, OP_APPEND, problem);
    }
    cJSON_Delete(result);
}

/* What was acknowledged is found, by its word that nobody else has. */
static void recall_last(struct client *client)
{
    char word[16], *problem;
    if (!client->last.id[0]) return;
    cJSON *arguments = cJSON_CreateObject();
    snprintf(word, sizeof word, "u%08xq", client->last.tag);
    cJSON_AddStringToObject(arguments, "query", word);
    cJSON *result = call(client, "recall", arguments, &problem);
    if (result) {
        const cJSON *hits = cJSON_GetObjectItem(result, "hits");
        if (cJSON_GetArraySize(hits) != 1 || strcmp(text_in(cJSON_GetArrayItem(hits, 0), "id"), client->last.id) != 0)
            wrong("memory %s (tag %08x) was acknowledged, but recall found %d", client->last.id, client->last.tag,
                  cJSON_GetArraySize(hits));
    } else {
        failed(client->last.tag, OP_APPEND, problem);
    }
    cJSON_Delete(result);
}

static void change_key(struct client *client, bool set)
{
    struct writer *w = client->w;
    uint32_t kind = set ? OP_SET : OP_DELETE, tag = begin(w, kind, 0);
    char name[32], value[ENTRY_MAX], *problem;
    cJSON *arguments = cJSON_CreateObject();
    key_name(w->life, key_slot(tag), name);
    value[entry_of(tag, value)] = '\0';
    cJSON_AddStringToObject(arguments, "key", name);
    if (set) cJSON_AddStringToObject(arguments, "value", value);
    cJSON *result = call(client, set ? "key_set" : "key_delete", arguments, &problem);
    if (!result)
        failed(tag, kind, problem);
    else if (set)
        say((struct note){.kind = NOTE_ACK, .tag = tag, .op = kind, .lsn = strtoull(text_in(result, "version"), NULL, 10)}, NULL);
    else
        say((struct note){.kind = cJSON_IsTrue(cJSON_GetObjectItem(result, "deleted")) ? NOTE_ACK : NOTE_REFUSED,
                          .tag = tag,
                          .op = kind},
            NULL);
    cJSON_Delete(result);
}

static void append_entry(struct client *client)
{
    uint32_t tag = begin(client->w, OP_STREAM, 0);
    char entry[ENTRY_MAX], *problem;
    cJSON *arguments = cJSON_CreateObject();
    entry[entry_of(tag, entry)] = '\0';
    cJSON_AddStringToObject(arguments, "stream", "all");
    cJSON_AddStringToObject(arguments, "entry", entry);
    cJSON *result = call(client, "stream_append", arguments, &problem);
    if (result)
        say((struct note){.kind = NOTE_ACK,
                          .tag = tag,
                          .op = OP_STREAM,
                          .id = (uint64_t)cJSON_GetNumberValue(cJSON_GetObjectItem(result, "index"))},
            NULL);
    else
        failed(tag, OP_STREAM, problem);
    cJSON_Delete(result);
}

static void run_client(struct client *client)
{
    while (!time_to_stop(client->w) && !feof(client->in) && !ferror(client->in)) {
        uint64_t dice = below(&client->w->random, 100);
        if (dice < 45)
            remember_one(client);
        else if (dice < 55)
            recall_last(client);
        else if (dice < 80)
            change_key(client, dice < 75);
        else
            append_entry(client);
    }
}

int run_as_mcp(struct writer *w)
{
    int ends[2], both;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) return 2;
    pid_t pid = fork();
    if (pid < 0) return 2;
    if (pid) {
        if (dup2(ends[1], STDIN_FILENO) < 0 || dup2(ends[1], STDOUT_FILENO) < 0 || !freopen("/dev/null", "w", stderr)) return 2;
        execl(opt.command, opt.command, "-C", opt.root, "mcp", "--tools", "all", (char *)NULL);
        return 2;
    }
    close(ends[1]);
    both = dup(ends[0]);
    struct client client = {.w = w, .in = fdopen(ends[0], "r"), .out = both < 0 ? NULL : fdopen(both, "w")};
    if (!client.in || !client.out) _exit(2);
    say((struct note){.kind = NOTE_OPEN}, NULL);
    run_client(&client);
    _exit(0);
}
