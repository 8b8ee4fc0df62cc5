/* SPDX-License-Identifier: MIT
 * mcp/hook_events.c: roost hook session-start, user-prompt, post-tool, stop. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mcp/hook.h"

#define SUMMARY_TAG "session-summary"
enum {
    SUMMARY_COUNT = 3,
    RECENT_COUNT = 15,
    HIT_COUNT = 8,
    WORD_COUNT_MAX = 24,
    QUERY_SIZE = 1024,
    STEP_COUNT_MAX = 500,
    STEP_SIZE = 200
};
extern const struct cli_option hook_options[];

/* ---- session-start: what is going on, what the last sessions did, what is new ---- */

static void put_states(struct hook *hook)
{
    struct roost_state state = ROOST_STATE_INIT;
    roost_iter *iter = NULL;
    int got = roost_state_scan(hook->cli->root, &iter);
    while (got >= 0 && (got = roost_iter_state(iter, &state)) > 0) {
        char line[ROOST_NAME_SIZE_MAX * 2 + 64];
        if (!state.name.size || state.alive != ROOST_ALIVE_YES) continue;
        int size = snprintf(line, sizeof line, "- now: %.*s is \"%.*s\"\n", (int)state.name.size, (const char *)state.name.data,
                            (int)state.status.size, (const char *)state.status.data);
        for (int i = 0; i < size - 1; i++)
            if ((unsigned char)line[i] < 0x20 || (line[i] == '<' && line[i + 1] == '/')) line[i] = ' ';
        if (size < 0 || (size_t)size >= sizeof line || !hook_put(hook, line, (size_t)size)) break;
    }
    roost_iter_close(iter);
}

/* So that what the model remembers and what the hooks note have one session. */
static void put_session(struct hook *hook)
{
    char line[ROOST_NAME_SIZE_MAX + 128];
    int size = snprintf(line, sizeof line, "- this session is \"%.*s\": give that as \"session\" when you remember something\n",
                        (int)hook->session.size, (const char *)hook->session.data);
    bool plain = size > 0 && (size_t)size < sizeof line;
    for (size_t i = 0; i < hook->session.size; i++) plain = plain && ((const unsigned char *)hook->session.data)[i] > 0x20;
    if (plain) (void)hook_put(hook, line, (size_t)size);
}

/* False: there is no room for more. */
static bool put_summaries(struct hook *hook)
{
    struct roost_query query = ROOST_QUERY_INIT;
    struct roost_hit hit = ROOST_HIT_INIT;
    roost_hits *hits = NULL;
    bool room = true;
    query.text = roost_text("+tag:" SUMMARY_TAG); /* equal scores: the newest first */
    query.limit = SUMMARY_COUNT;
    int got = roost_search(hook->cli->root, &query, &hits);
    while (room && got >= 0 && (got = roost_hits_next(hits, &hit)) > 0) {
        struct roost_memory memory = cli_hit_memory(&hit);
        room = hook_put_memory(hook, &memory);
    }
    roost_hits_close(hits);
    return room;
}

static bool has_tag(const struct roost_memory *memory, const char *tag)
{
    for (size_t i = 0; i < memory->tag_count; i++)
        if (bytes_equal(memory->tags[i], roost_text(tag))) return true;
    return false;
}

static int session_start(struct cli *cli)
{
    struct hook hook;
    struct roost_memory memory = ROOST_MEMORY_INIT;
    roost_iter *iter = NULL;
    int code = hook_begin(&hook, cli, "SessionStart", HOOK_READS, 800);
    if (code) return hook_end(&hook, code);
    put_session(&hook);
    put_states(&hook);
    bool room = put_summaries(&hook);
    int got = room ? roost_scan(cli->root, 0, ROOST_SCAN_REVERSE, &iter) : 0;
    for (size_t left = RECENT_COUNT; iter && left && room && (got = roost_iter_memory(iter, &memory)) > 0; left--)
        if (!has_tag(&memory, SUMMARY_TAG)) room = hook_put_memory(&hook, &memory);
    roost_iter_close(iter);
    return hook_end(&hook, CLI_OK);
}
const struct cli_command command_hook_session_start = {
    "hook session-start",
    "",
    "For coding agents: what is going on and what is new, when a session begins",
    "Reads the client's JSON from stdin and prints, within the budget (default 800 tokens): what agents are doing now, what the "
    "last\n"
    "sessions did, the newest memories; all as quotations. Prints nothing where there is no root. With --json: the object that "
    "Claude\n"
    "Code expects, {\"hookSpecificOutput\":{\"hookEventName\",\"additionalContext\"}}.",
    hook_options,
    session_start};

/* ---- user-prompt: what is known about it ---- */

/* The prompt's words, without what the query language would take for signs. The later ones of a long prompt say more about what is wanted
 * than the first (people paste first and ask last), so the last are taken. */
static size_t make_query(struct roost_bytes prompt, char ret_query[QUERY_SIZE])
{
    const unsigned char *text = prompt.data;
    size_t used = QUERY_SIZE, end = prompt.size;
    for (size_t words = 0; words < WORD_COUNT_MAX && end;) {
        while (end && (text[end - 1] < 0x30 || strchr(":;<=>?@[\\]^_`{|}~", text[end - 1]))) end--;
        size_t begin = end;
        while (begin && !(text[begin - 1] < 0x30 || strchr(":;<=>?@[\\]^_`{|}~", text[begin - 1]))) begin--;
        size_t size = end - begin;
        end = begin;
        if (size < 2 || size > 64) continue;
        if (used < size + 1) break;
        used -= size;
        memcpy(ret_query + used, text + begin, size);
        ret_query[--used] = ' ';
        words++;
    }
    memmove(ret_query, ret_query + used, QUERY_SIZE - used);
    return QUERY_SIZE - used;
}

static int user_prompt(struct cli *cli)
{
    struct hook hook;
    struct roost_query query = ROOST_QUERY_INIT;
    struct roost_hit hit = ROOST_HIT_INIT;
    roost_hits *hits = NULL;
    char words[QUERY_SIZE];
    int code = hook_begin(&hook, cli, "UserPromptSubmit", HOOK_READS, 400);
    if (code) return hook_end(&hook, code);
    query.text = (struct roost_bytes){words, make_query(hook_text(&hook, "prompt"), words)};
    query.limit = HIT_COUNT;
    int got = query.text.size ? roost_search(cli->root, &query, &hits) : 0;
    if (got < 0) code = cli_fail(got, "hook");
    double best = 0;
    while (hits && (got = roost_hits_next(hits, &hit)) > 0) {
        struct roost_memory memory = cli_hit_memory(&hit);
        if (best == 0) best = hit.score;
        if (hit.score < best / 2) break;
        /* What this session itself remembered is in the model's context already. */
        if (!bytes_equal(hit.session, hook.session) && !hook_put_memory(&hook, &memory)) break;
    }
    roost_hits_close(hits);
    return hook_end(&hook, code);
}
const struct cli_command command_hook_user_prompt = {
    "hook user-prompt",
    "",
    "For coding agents: the memories that fit a prompt",
    "Reads the client's JSON ({\"prompt\",\"session_id\",...}) from stdin and prints the memories that fit the prompt best, as "
    "quotations\n"
    "within the budget (default 400 tokens); none of this session's own. Nothing where nothing fits.",
    hook_options,
    user_prompt};

/* ---- post-tool: one step more ---- */

static struct roost_bytes short_of(struct roost_bytes text, size_t most)
{
    return (struct roost_bytes){text.data, text.size ? rst_utf8_cut(text.data, text.size, most) : 0};
}

static bool names_secret(const char *word, size_t size)
{
    static const char *const parts[] = {"key", "token", "secret", "password", "passwd", "credential"};
    char lower[64];
    if (size > sizeof lower) size = sizeof lower;
    for (size_t i = 0; i < size; i++) lower[i] = (char)(word[i] >= 'A' && word[i] <= 'Z' ? word[i] + 32 : word[i]);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (memmem(lower, size, parts[i], strlen(parts[i]))) return true;
    return false;
}

/* How much of a word may be shown, for the rest of it looks like a secret: NAME_KEY=..., --token=..., sk-... . */
static size_t plain_part(const char *word, size_t size)
{
    const char *equals = memchr(word, '=', size);
    size_t name = equals ? (size_t)(equals - word) : 0;
    if (equals && names_secret(word, name)) return name + 1;
    return size > 8 && (memcmp(word, "sk-", 3) == 0 || memcmp(word, "ghp_", 4) == 0) ? 0 : size;
}

/* A command, word by word, without what looks like a secret. A help, and no promise. */
static void put_command(FILE *file, struct roost_bytes command)
{
    const char *text = command.data;
    bool hide = false; /* the word before was --token */
    for (size_t at = 0; at < command.size;) {
        size_t size = 0;
        while (at + size < command.size && !strchr(" \t\n;|&", text[at + size])) size++;
        size_t plain = hide ? 0 : plain_part(text + at, size);
        fwrite(text + at, 1, plain, file);
        if (plain < size) fputs("***", file);
        if (size) hide = !hide && size > 2 && text[at] == '-' && plain == size && names_secret(text + at, size);
        at += size;
        for (; at < command.size && strchr(" \t\n;|&", text[at]); at++) fputc(text[at], file);
    }
}

/* What the tool worked on: the first of these that its input has. */
static void put_target(struct json_writer *writer, const struct rst_json_value *input)
{
    static const char *const names[] = {"file_path", "path",  "notebook_path", "command",
                                        "url",       "query", "pattern",       "description"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct rst_json_value *value = rst_json_member(input, names[i]);
        if (!value || value->kind != RST_JSON_STRING) continue;
        char *shown = NULL;
        size_t size = 0;
        struct roost_bytes text = short_of(value->text, STEP_SIZE);
        FILE *file = open_memstream(&shown, &size);
        if (file && strcmp(names[i], "command") == 0)
            put_command(file, text);
        else if (file)
            fwrite(text.data, 1, text.size, file);
        if (file && fclose(file) == 0) json_bytes(writer, names[i], (struct roost_bytes){shown, size});
        free(shown);
        return;
    }
}

static void stream_name(const struct hook *hook, char ret_name[ROOST_NAME_SIZE_MAX + 16])
{
    snprintf(ret_name, ROOST_NAME_SIZE_MAX + 16, "session/%.*s", (int)hook->session.size, (const char *)hook->session.data);
}

static int post_tool(struct cli *cli)
{
    struct hook hook;
    char name[ROOST_NAME_SIZE_MAX + 16], *step = NULL;
    size_t size = 0;
    int code = hook_begin(&hook, cli, "PostToolUse", HOOK_WRITES, 0);
    struct roost_bytes tool = code ? (struct roost_bytes){NULL, 0} : hook_text(&hook, "tool_name");
    if (code || !tool.size) return hook_end(&hook, code);
    struct json_writer writer = json_writer(open_memstream(&step, &size));
    if (writer.file) {
        json_open(&writer, NULL, '{');
        json_bytes(&writer, "tool", short_of(tool, STEP_SIZE));
        put_target(&writer, rst_json_member(hook.document.root, "tool_input"));
        json_bytes(&writer, "agent", hook.agent);
        json_close(&writer, '}');
    }
    stream_name(&hook, name);
    if (!writer.file || fclose(writer.file) != 0) {
        cli_say("hook: out of memory");
        code = CLI_FAILED;
    } else {
        int error = roost_stream_append(cli->root, roost_text(name), (struct roost_bytes){step, size}, NULL, NULL, NULL);
        if (error < 0) code = cli_fail(error, "hook");
    }
    free(step);
    return hook_end(&hook, code);
}
const struct cli_command command_hook_post_tool = {
    "hook post-tool",
    "",
    "For coding agents: note one step of a session",
    "Reads the client's JSON ({\"tool_name\",\"tool_input\",\"session_id\",...}) from stdin and adds one entry, which tool on "
    "what, to the\n"
    "stream session/SESSION_ID; `roost hook stop` makes a summary of it. Prints nothing.",
    hook_options,
    post_tool};

/* ---- stop: what this session did ---- */

struct summary {
    FILE *file;
    size_t steps, listed;
    char seen[32][STEP_SIZE + 8];
};

/* Each file or command once, in the order of their first time. */
static void list_step(struct summary *summary, struct roost_bytes entry)
{
    static const char *const names[] = {"file_path", "path", "notebook_path", "command", "url"};
    struct rst_json_document document;
    summary->steps++;
    if (rst_json_parse(entry.data, entry.size, &document))
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            const struct rst_json_value *value = rst_json_member(document.root, names[i]);
            if (!value || value->kind != RST_JSON_STRING || !value->text.size) continue;
            char text[STEP_SIZE + 8];
            snprintf(text, sizeof text, "%.*s", (int)rst_utf8_cut(value->text.data, value->text.size, STEP_SIZE),
                     (const char *)value->text.data);
            bool known = summary->listed == sizeof summary->seen / sizeof summary->seen[0];
            for (size_t k = 0; k < summary->listed && !known; k++) known = strcmp(summary->seen[k], text) == 0;
            if (known) continue;
            memcpy(summary->seen[summary->listed], text, sizeof text);
            fprintf(summary->file, "%s%s", summary->listed++ ? "; " : " Worked on: ", text);
        }
    rst_json_free(&document);
}

static int list_steps(struct hook *hook, struct summary *summary)
{
    char name[ROOST_NAME_SIZE_MAX + 16];
    struct roost_stream_info info = ROOST_STREAM_INFO_INIT;
    struct roost_item item = ROOST_ITEM_INIT;
    roost_iter *iter = NULL;
    stream_name(hook, name);
    int got = roost_stream_info(hook->cli->root, roost_text(name), &info);
    if (got == ROOST_ENOENT) return 0;
    uint64_t first = info.entry_count > STEP_COUNT_MAX ? info.entry_count - STEP_COUNT_MAX : 0;
    if (got >= 0) got = roost_stream_scan(hook->cli->root, roost_text(name), first, &iter);
    while (got >= 0 && (got = roost_iter_item(iter, &item)) > 0) list_step(summary, item.value);
    roost_iter_close(iter);
    return got;
}

/* The model's last words: in the input, or the last text in the transcript. */
static struct roost_bytes last_words(const struct hook *hook, struct rst_json_document *document, char **ret_buffer)
{
    enum { TAIL_SIZE = 256 << 10 };
    struct roost_bytes words = hook_text(hook, "last_assistant_message"), path = hook_text(hook, "transcript_path");
    char name[4096];
    struct stat status;
    if (words.size || !path.size || path.size >= sizeof name) return words;
    memcpy(name, path.data, path.size);
    name[path.size] = '\0';
    int file = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (file < 0) return words;
    *ret_buffer = fstat(file, &status) == 0 && S_ISREG(status.st_mode) ? malloc(TAIL_SIZE) : NULL;
    off_t from = *ret_buffer && status.st_size > TAIL_SIZE ? status.st_size - TAIL_SIZE : 0;
    ssize_t got = *ret_buffer ? pread(file, *ret_buffer, TAIL_SIZE, from) : 0;
    close(file);
    for (size_t end = got > 0 ? (size_t)got : 0; end && !words.size;) {
        while (end && (*ret_buffer)[end - 1] == '\n') end--;
        size_t begin = end;
        while (begin && (*ret_buffer)[begin - 1] != '\n') begin--;
        rst_json_free(document);
        if (rst_json_parse(*ret_buffer + begin, end - begin, document)) {
            const struct rst_json_value *message = rst_json_member(document->root, "message"),
                                        *role = rst_json_member(message, "role");
            const struct rst_json_value *content = rst_json_member(message, "content");
            bool theirs = role && role->kind == RST_JSON_STRING && bytes_equal(role->text, roost_text("assistant"));
            if (theirs && content && content->kind == RST_JSON_STRING) words = content->text;
            for (const struct rst_json_value *part = theirs && content ? content->first : NULL; part; part = part->next) {
                const struct rst_json_value *text = rst_json_member(part, "text");
                if (text && text->kind == RST_JSON_STRING) words = text->text;
            }
        }
        end = begin;
    }
    return words;
}

static int store_summary(struct hook *hook, struct roost_bytes text)
{
    char key[ROOST_NAME_SIZE_MAX + 16];
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_bytes tag = roost_text(SUMMARY_TAG);
    stream_name(hook, key);
    memory.text = text;
    memory.key = roost_text(key); /* the session's next summary replaces it */
    memory.tags = &tag;
    memory.tag_count = 1;
    memory.agent = hook->agent;
    memory.session = hook->session;
    memory.process = roost_text(hook->process);
    memory.tool = roost_text("hook stop");
    int error = roost_append(hook->cli->root, &memory, NULL, NULL, NULL);
    return error < 0 ? cli_fail(error, "hook") : CLI_OK;
}

static int stop(struct cli *cli)
{
    enum { WORDS_SIZE = 800 };
    struct hook hook;
    struct summary summary = {NULL, 0, 0, {{0}}};
    struct rst_json_document document = {0};
    char *text = NULL, *buffer = NULL;
    size_t size = 0;
    int code = hook_begin(&hook, cli, "Stop", HOOK_WRITES, 0);
    if (code) return hook_end(&hook, code);
    struct roost_bytes directory = hook_text(&hook, "cwd"), words = last_words(&hook, &document, &buffer);
    summary.file = open_memstream(&text, &size);
    if (summary.file) {
        fprintf(summary.file, "Session of %.*s", (int)hook.agent.size, (const char *)hook.agent.data);
        if (directory.size)
            fprintf(summary.file, " in %.*s", (int)(directory.size < 1000 ? directory.size : 1000), (const char *)directory.data);
        fputc('.', summary.file);
        if (list_steps(&hook, &summary) < 0) cli_say("hook: %s", roost_error_detail());
        if (summary.steps) fprintf(summary.file, " (%zu step%s).", summary.steps, summary.steps == 1 ? "" : "s");
        words = short_of(words, WORDS_SIZE);
        if (words.size) fputs(" Its last words: ", summary.file);
        fwrite(words.data ? words.data : "", 1, words.size, summary.file);
    }
    if (!summary.file || fclose(summary.file) != 0) {
        cli_say("hook: out of memory");
        code = CLI_FAILED;
    } else if (summary.steps || words.size) {
        code = store_summary(&hook, (struct roost_bytes){text, size});
    }
    free(text);
    free(buffer);
    rst_json_free(&document);
    return hook_end(&hook, code);
}
const struct cli_command command_hook_stop = {
    "hook stop",
    "",
    "For coding agents: remember what a session did, when it stops",
    "Reads the client's JSON ({\"session_id\",\"cwd\",\"last_assistant_message\" or \"transcript_path\",...}) from stdin and "
    "stores one memory:\n"
    "the files and commands that `roost hook post-tool` noted and the model's last words, with the tag " SUMMARY_TAG
    ". The session's\n"
    "next one replaces it. Prints nothing.",
    hook_options,
    stop};
