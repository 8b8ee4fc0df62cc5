/* SPDX-License-Identifier: MIT
 * foreign.h: what the files share that read and write other programs' memories: `import --from`, `export --to`.
 *
 * An importer gives each thing that it read to an *intake* as it is to be stored, with a key that says where it comes from. The intake
 * looks whether that very memory is there already, gathers what is new into batches, and counts. So importing again changes nothing, and
 * importing a newer file changes what is new in it. */
#ifndef ROOST_CLI_FOREIGN_H
#define ROOST_CLI_FOREIGN_H

#include "cli.h"

/* ---- A map from bytes to numbers --------------------------------------------------------------------------------- */

struct key_map {
    struct key_slot *slots;
    char *bytes; /* the keys, one behind the other */
    size_t slot_count, used, bytes_size, bytes_capacity;
};
/* Where the number of this key is, to be read or changed until the next call; NULL: there is none. */
uint64_t *key_map_find(const struct key_map *map, struct roost_bytes key);
/* The same; a key that is not there is added with the number 0. NULL: out of memory. */
uint64_t *key_map_add(struct key_map *map, struct roost_bytes key);
void key_map_free(struct key_map *map);
/* 128 bits as 32 hexadecimal digits: names what is too long for a key. */
void key_hash(const void *data, size_t size, char ret_digits[33]);

/* ---- Options and counts ------------------------------------------------------------------------------------------ */

enum foreign_policy { FOREIGN_DEFAULT, FOREIGN_STOP, FOREIGN_CONTINUE };
struct foreign_options {
    const char *form;          /* "markdown" */
    enum foreign_policy error; /* what a bad line or file does */
    bool dry_run;              /* count, write nothing */
    bool force;                /* export: replace files that differ */
    struct roost_bytes agent, session;
};
struct foreign_count {
    uint64_t item_count; /* lines, files, commands of the source */
    uint64_t memory_count, replaced_count, unchanged_count, removed_count;
    uint64_t key_count, stream_entry_count, refused_count;
    uint64_t file_count, kept_count; /* export: written, already right */
};

/* ---- Intake ------------------------------------------------------------------------------------------------------ */

struct intake {
    struct cli *cli;
    const struct foreign_options *options;
    struct foreign_count count;
    char tool[40];           /* "import markdown" */
    const char *noun;        /* what item_count counts: "lines" */
    struct key_map existing; /* of the memories in the root whose keys begin with the prefix: key to id */
    struct change *changes;  /* that wait for a commit */
    size_t change_count, change_capacity, size, group_first;
    roost_batch *batch;
    int code;                    /* of the first refusal */
    uint64_t begun_ms, shown_ms; /* progress */
};
/* Opens the root and looks at what is there under keys with this prefix; `found` (may be NULL) is told of each. 0, or an exit code. */
int intake_open(struct intake *intake, struct cli *cli, const struct foreign_options *options, const char *noun,
                const char *prefix, int (*found)(void *user, struct roost_bytes key), void *user);
/* Commits what waits. */
int intake_flush(struct intake *intake);
/* Says what was not done if it ended early, shows the counts, frees everything. Returns the exit code. */
int intake_end(struct intake *intake, int code);

/* Changes come in groups; a group is one commit where the root takes it. What is wrong with a change is found when it is given: a negative
 * error with its words in roost_error_detail(); then take the group back or go on without that change. Each is copied. A memory without
 * agent, session, process, tool gets those of this import. */
int intake_memory(struct intake *intake, const struct roost_memory *memory);
int intake_forget(struct intake *intake, roost_id id);
int intake_key(struct intake *intake, struct roost_bytes key, struct roost_bytes value);
int intake_entry(struct intake *intake, struct roost_bytes stream, struct roost_bytes entry);
void intake_drop_group(struct intake *intake);
/* The group is complete; `place` names it in messages: "line 3". 0, or the exit code with which to stop. */
int intake_end_group(struct intake *intake, const char *place);
/* One more line or file was looked at: shows progress. */
void intake_step(struct intake *intake);
/* Something of the source is bad, and why was said. 0: go on; else the exit code with which to stop. */
int intake_refuse(struct intake *intake, int code);

/* What `roost add` would not take: texts are not empty. Lossless with a mark in the metadata. */
#define FOREIGN_EMPTY_TEXT "(empty)"

/* ---- Text in memory ---------------------------------------------------------------------------------------------- */

/* JSON that is built in memory. */
struct json_text {
    struct json_writer writer;
    char *data;
    size_t size;
};
bool json_text_open(struct json_text *text);
/* False: out of memory. Free text->data in any case. */
bool json_text_close(struct json_text *text);
/* The object under `name` in a memory's metadata; NULL: none. Free the document in any case. */
const struct rst_json_value *foreign_metadata(const struct roost_memory *memory, const char *name,
                                              struct rst_json_document *ret_document);
bool bytes_begin(struct roost_bytes bytes, const char *prefix);
/* May it be a tag, an agent's or a session's name? */
bool foreign_name_fits(struct roost_bytes name);
/* Makes room for one more element; false: out of memory. */
bool array_grow(void **array, size_t count, size_t *capacity, size_t element_size);

/* ---- The forms --------------------------------------------------------------------------------------------------- */

int import_memory_server(struct cli *cli, const char *path, const struct foreign_options *options);
int import_markdown(struct cli *cli, const char *path, const struct foreign_options *options);
int import_memmap(struct cli *cli, const char *path, const struct foreign_options *options);
/* The lines go to `file`. 0, or a negative error that ended it. */
int export_memory_server(struct cli *cli, FILE *file, struct cli_pass *pass, uint64_t *ret_line_count,
                         uint64_t *ret_memory_count);
int export_markdown(struct cli *cli, const char *path, const struct foreign_options *options);
/* Says it if the root holds what such a form has no place for. */
void export_say_left_behind(struct cli *cli);

/* What import and export of a form must agree on. */
#define MEMORY_SERVER_PREFIX "memory-server/"
#define MARKDOWN_PREFIX "markdown/"
#define MARKDOWN_OWN_FOLDER "memories"
/* A path below a folder that both take: relative, without "..", hidden or empty parts, a Markdown file's name. */
bool markdown_path_good(struct roost_bytes path);
/* memories/ID.md: the ID; 0: another path. */
uint64_t markdown_own_id(struct roost_bytes path);

/* ---- Front matter ------------------------------------------------------------------------------------------------ */

/* What is understood of the YAML between the --- at the beginning of a Markdown file. Texts are empty when they are not there. */
struct front_matter {
    size_t size; /* bytes before the body: both ---, and one empty line behind; 0: there is none */
    struct roost_bytes title, type, agent, session;
    uint64_t id;
    int64_t time_ns;
    bool has_time;
    struct roost_bytes tags[ROOST_TAG_COUNT_MAX - 8]; /* room for the tags that an import adds */
    size_t tag_count;
    char *texts; /* owns all of them */
    size_t texts_used;
};
/* False: out of memory. Free front_matter->texts in any case. */
bool front_matter_read(struct roost_bytes file, struct front_matter *ret_front_matter);
/* 2024-05-01, 2024-05-01T10:00, 2024-05-01 10:00:00.5+02:00: ns since 1970; without a zone in UTC. */
bool front_matter_time(struct roost_bytes text, int64_t *ret_time_ns);

#endif
