/* SPDX-License-Identifier: MIT
 * mcp/mcp.h: what the files of the MCP server share.
 *
 * `roost mcp` speaks the Model Context Protocol over stdin and stdout, one JSON-RPC message a line, in two eras at once: 2026-07-28, in
 * which every request says in params._meta what it speaks, and the older ones, which begin with `initialize`.
 *
 * One line becomes one struct mcp_call, which lives until its reply is handed over. What needs the root runs on libuv's pool
 * (roost_uv_work) and writes its result into the call's own memory; everything else, and all of the protocol, runs on the loop. A client
 * that sends several requests may get their replies in another order. */
#ifndef ROOST_MCP_MCP_H
#define ROOST_MCP_MCP_H

#include <roost/uv.h>

#include <stdarg.h>

#include "cli/cli.h"

enum {
    MCP_LINE_SIZE_MAX = 16 << 20,  /* bytes of a message from the client */
    MCP_QUEUE_SIZE_MAX = 16 << 20, /* bytes for the client that it has not read; beyond that we read nothing more from it */
    MCP_CALL_COUNT_MAX = 256,      /* calls under way; beyond that we read nothing more */
    MCP_RUNNING_COUNT_MAX = 8,     /* of them on the pool; each may answer with twice MCP_TEXT_SIZE_MAX */
    MCP_TEXT_SIZE = 20000,         /* bytes of memories in one reply, unless the caller asks for another number */
    MCP_TEXT_SIZE_MAX = 1 << 20,
    MCP_URI_SIZE_MAX = 1024,
};

#define MCP_MODERN "2026-07-28"
#define MCP_LEGACY "2025-11-25"

/* JSON-RPC's and MCP's error codes. */
enum mcp_error {
    MCP_PARSE_ERROR = -32700,
    MCP_INVALID_REQUEST = -32600,
    MCP_METHOD_NOT_FOUND = -32601,
    MCP_INVALID_PARAMS = -32602,
    MCP_INTERNAL_ERROR = -32603,
    MCP_NO_SUCH_RESOURCE = -32002, /* the older eras */
    MCP_UNSUPPORTED_VERSION = -32022,
};

struct mcp;
struct mcp_call;

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

/* How a request is answered. Both write the members of `result`, or fail with mcp_fail. */
struct mcp_method {
    const char *name;
    void (*now)(struct mcp_call *call);  /* on the loop, at once. NULL: */
    void (*work)(struct mcp_call *call); /* on the pool, with call->root */
    bool cacheable;                      /* 2026-07-28: the result has ttlMs and cacheScope */
    bool legacy, modern;                 /* the eras that have it */
    bool stays;                          /* `now` sees to it that the call is finished, at once or later */
};
struct mcp_tool;

struct mcp_call {
    roost_uv_req req;
    struct mcp *mcp;
    struct mcp_call *next;
    char *line;
    struct rst_json_document document;
    struct roost_bytes id; /* as the client wrote it */
    bool modern;
    const struct mcp_method *method;
    const struct rst_json_value *params; /* an object, or NULL */
    const struct rst_json_value *progress_token;
    /* What a tool may want to know of the server, as it was when the call came: the pool does not look at the server. */
    char client[128];
    char state_name[160];
    uint64_t remembered_count;
    roost_id remembered_last;
    roost_id remembered_id; /* what this call remembered */
    /* While it works: */
    roost_root *root;
    struct mcp_call *behind;               /* in the queue for the root, or then for the watch */
    bool waiting;                          /* stands there */
    bool writing;                          /* others wait until it is done */
    uint32_t cancelled;                    /* read by the pool, too */
    uint64_t progress_done, progress_told; /* stored by the pool; told by the loop */
    uint64_t progress_ms;
    void (*then)(struct mcp_call *call); /* waits for the root */
    const struct mcp_tool *tool;
    struct rst_json_reader arguments; /* tools/call */
    bool tool_failed;
    char tool_error[1024];
    /* The reply: */
    struct json_writer writer;
    char *text;
    size_t text_size;
    int error; /* enum mcp_error; 0: none */
    char error_text[512];
    char *error_data; /* JSON, or NULL */
};

/* A failure in words: it may quote the client, and be cut in the middle of a character, which is left out. */
void mcp_put_words(char *ret_words, size_t size, const char *format, va_list arguments);
/* Makes the call fail. The first one counts. */
void mcp_fail(struct mcp_call *call, enum mcp_error code, const char *format, ...) CLI_PRINTF(3, 4);
/* With data {"uri": uri}. */
void mcp_fail_uri(struct mcp_call *call, enum mcp_error code, struct roost_bytes uri, const char *what);
/* A string of params; NULL with a failure if it is not there (and `required`), or no string. */
const struct rst_json_value *mcp_param_text(struct mcp_call *call, const char *name, bool required);
/* Lists that have one page: a cursor is refused. */
bool mcp_no_cursor(struct mcp_call *call);

/* ---- Messages ---------------------------------------------------------------------------------------------------- */

/* A line from the client. Owns `line` (malloc). */
void mcp_take_line(struct mcp *mcp, char *line, size_t size);
/* An error that belongs to no call: id null. */
void mcp_reply_error(struct mcp *mcp, enum mcp_error code, const char *text);
/* For a line that is too long, of which this is the beginning: with its id, if that stands there. */
void mcp_refuse_line(struct mcp *mcp, const char *begin, size_t size);
/* Writes the reply and frees the call. */
void mcp_finish(struct mcp_call *call);
void mcp_free_call(struct mcp_call *call);
/* A notification: begins {"jsonrpc","method","params":{ ; the caller adds members and ends it. */
struct mcp_note {
    struct json_writer writer;
    char *text;
    size_t size;
};
bool mcp_note_begin(struct mcp_note *note, const char *method);
void mcp_note_end(struct mcp *mcp, struct mcp_note *note);
/* `members` of an object of JSON text, without its braces. */
extern const struct mcp_method mcp_methods[];
const struct mcp_method *mcp_method_named(struct roost_bytes name);

/* ---- The server -------------------------------------------------------------------------------------------------- */

enum mcp_root_state { MCP_ROOT_CLOSED, MCP_ROOT_OPENING, MCP_ROOT_OPEN, MCP_ROOT_ENDING };
struct mcp_subscriptions;

struct mcp {
    struct cli *cli;
    uv_loop_t loop;
    roost_uv bridge;
    roost_root *root;
    enum mcp_root_state root_state;
    uv_work_t open_work;
    int open_error;
    char open_detail[2048];
    bool complained; /* about it */
    uv_signal_t signals[3];
    struct mcp_call *calls; /* all that have no reply yet */
    size_t call_count;
    /* Calls that need the root, in the client's order. A write holds up those behind it: who pipelines reads what he wrote. */
    struct mcp_call *queue, *queue_last;
    bool writing, pumping;
    size_t running_count;
    bool ending;    /* no more from stdin; ends with the last call */
    bool signalled; /* and soon, though the client may not read */
    uv_timer_t grace;
    bool grace_over;
    int exit_code;
    /* options */
    bool all_tools, read_only;
    const char *agent, *session; /* NULL: none was named */
    char own_session[64];
    /* what the client says of itself: for display only */
    char client[128];
    bool initialized; /* an older client said `initialize` */
    char version[16]; /* and this version was agreed on */
    uv_async_t progress;
    uint64_t remembered_count; /* by this process */
    roost_id remembered_last;
    struct mcp_subscriptions *subscriptions;
    struct mcp_stdio *stdio;
};

/* The method's work, or `then` on the loop, as soon as the root is open. If it cannot be opened the call fails and is finished. */
void mcp_start_work(struct mcp_call *call);
void mcp_when_open(struct mcp_call *call, void (*then)(struct mcp_call *call));
/* A call is over that others may have waited for. */
void mcp_work_done(struct mcp *mcp, const struct mcp_call *call);
/* The client has read: calls may go on. */
void mcp_run_on(struct mcp *mcp);
/* Frees the loop from the client: no more lines, calls under way end. */
void mcp_end(struct mcp *mcp, int exit_code);
void mcp_end_if_done(struct mcp *mcp);
/* On the pool: so much of the call is done. The client hears of it if it wants to, ten times a second at most. False: it was cancelled. */
bool mcp_progress(struct mcp_call *call, uint64_t done);
/* Who remembers: for memories that are written for this client. `agent` and `session` stay if they are given. */
struct mcp_origin {
    struct roost_bytes agent, session, process, tool;
    char process_text[192];
};
void mcp_origin(const struct mcp_call *call, struct mcp_origin *ret_origin);

/* ---- stdin and stdout -------------------------------------------------------------------------------------------- */

int mcp_stdio_start(struct mcp *mcp);
/* A whole line without its end; text is given away (malloc, or from open_memstream). */
void mcp_send(struct mcp *mcp, char *text, size_t size);
/* Is the client behind with reading? */
bool mcp_stdio_full(const struct mcp *mcp);
/* Has it read everything? */
bool mcp_stdio_drained(const struct mcp *mcp);
/* Reads on if it had stopped and may go on now. */
void mcp_stdio_resume(struct mcp *mcp);
void mcp_stdio_stop_reading(struct mcp *mcp);
void mcp_stdio_close(struct mcp *mcp);
void mcp_stdio_free(struct mcp *mcp);

/* ---- Tools ------------------------------------------------------------------------------------------------------- */

struct mcp_tool {
    const char *name;
    const char *about; /* the other members of its entry in tools/list, as JSON */
    const char *arguments[8];
    void (*run)(struct mcp_call *call);
    bool basic;     /* there without --tools all */
    bool writes;    /* not there with --read-only; later calls wait for it */
    bool long_work; /* but not for this one */
};
extern const struct mcp_tool mcp_tools[];
extern const size_t mcp_tool_count;
/* Finds the tool of a call before it works. */
void mcp_tools_find(struct mcp_call *call);
bool mcp_tool_offered(const struct mcp *mcp, const struct mcp_tool *tool);
void mcp_tools_list(struct mcp_call *call);
void mcp_tools_call(struct mcp_call *call);
/* The tool's own failure: the model reads the text and may try again. */
void mcp_tool_fail(struct mcp_call *call, const char *format, ...) CLI_PRINTF(2, 3);
/* The same with the library's sentence. */
void mcp_tool_fail_error(struct mcp_call *call, int error, const char *what);
/* A whole tool result that says what is wrong, outside of a tool's run. */
void mcp_put_tool_error(struct mcp_call *call, const char *text);
/* Arguments. False: the tool failed, with a sentence. */
bool mcp_argument_text(struct mcp_call *call, const char *name, bool required, struct roost_bytes *ret_text);
bool mcp_argument_number(struct mcp_call *call, const char *name, uint64_t most, uint64_t *ret_number);
bool mcp_argument_list(struct mcp_call *call, const char *name, struct roost_bytes **ret_list, size_t *ret_count);
bool mcp_argument_id(struct mcp_call *call, struct roost_bytes text, roost_id *ret_id);

void mcp_tool_remember(struct mcp_call *call);
void mcp_tool_recall(struct mcp_call *call);
void mcp_tool_recent(struct mcp_call *call);
void mcp_tool_get(struct mcp_call *call);
void mcp_tool_forget(struct mcp_call *call);
void mcp_tool_supersede(struct mcp_call *call);
void mcp_tool_set_state(struct mcp_call *call);
void mcp_tool_list_states(struct mcp_call *call);
void mcp_tool_key_get(struct mcp_call *call);
void mcp_tool_key_set(struct mcp_call *call);
void mcp_tool_key_delete(struct mcp_call *call);
void mcp_tool_key_list(struct mcp_call *call);
void mcp_tool_stream_append(struct mcp_call *call);
void mcp_tool_stream_read(struct mcp_call *call);
void mcp_tool_import(struct mcp_call *call);

/* ---- What is shown ----------------------------------------------------------------------------------------------- */

/* A budget of bytes for texts; what does not fit is cut between characters and says so. */
struct mcp_budget {
    size_t left;
    bool cut;
};
/* Members of an object: text (and truncated), id, key, tags, time, agent, session, process, tool, metadata. */
void mcp_put_memory(struct json_writer *writer, const struct roost_memory *memory, struct mcp_budget *budget);
void mcp_put_hit(struct json_writer *writer, const struct roost_hit *hit, struct mcp_budget *budget);
void mcp_put_state(struct json_writer *writer, const struct roost_state *state);
void mcp_put_time(struct json_writer *writer, const char *name, int64_t time_ns);

/* ---- Resources, subscriptions, prompts --------------------------------------------------------------------------- */

enum mcp_uri_kind { MCP_URI_NONE, MCP_URI_MEMORY, MCP_URI_STATE, MCP_URI_MEMORIES, MCP_URI_STATES };
struct mcp_uri {
    enum mcp_uri_kind kind;
    roost_id id;
    char name[ROOST_NAME_SIZE_MAX + 1];
    size_t name_size;
};
/* roost://memory/ID, roost://state/NAME (percent-encoded), roost://memories, roost://states. */
enum mcp_uri_kind mcp_uri_parse(struct roost_bytes text, struct mcp_uri *ret_uri);
/* Room for MCP_URI_SIZE_MAX. */
void mcp_uri_state(struct roost_bytes name, char *ret_text);

void mcp_resources_list(struct mcp_call *call);
void mcp_resources_templates(struct mcp_call *call);
void mcp_resources_read(struct mcp_call *call);

int mcp_subscriptions_start(struct mcp *mcp);
void mcp_listen(struct mcp_call *call);
void mcp_subscribe(struct mcp_call *call);
void mcp_unsubscribe(struct mcp_call *call);
/* A listen call ends; the caller finishes it. False: this call is none. */
bool mcp_listen_end(struct mcp_call *call);
void mcp_listen_end_all(struct mcp *mcp);      /* each with its result */
void mcp_subscriptions_flush(struct mcp *mcp); /* the client reads again */
void mcp_subscriptions_close(struct mcp *mcp);
void mcp_subscriptions_free(struct mcp *mcp);

void mcp_prompts_list(struct mcp_call *call);
void mcp_prompts_get(struct mcp_call *call);
void mcp_complete(struct mcp_call *call);

#endif
