/* SPDX-License-Identifier: MIT
 *
 * roost.h: shared memory for a flock of agents. This header is the manual.
 *
 * A *root* is a directory that several processes open at once. In it they keep memories (text that can be searched),
 * keys, streams and each agent's live state. Any process writes; every process sees it when the write returns; any
 * process may be killed at any instant. There is no server: the first process that has something to write becomes the
 * *writer* for as long as it has work, the others hand it their writes through shared memory and read the same bytes
 * through their own mappings.
 *
 *     roost_root *root;
 *     if (roost_open("/path/to/.roost", NULL, &root) < 0) ... roost_error_detail() says what, where and what to do
 *     roost_append(root, &memory, NULL, &id, NULL);
 *     roost_search(root, &query, &hits);
 *     roost_close(root);
 *
 * Results     int functions return 0 or a count when they succeed and a negative ROOST_E... number when they fail.
 *             Then roost_error_detail() has this thread's sentence about it. What is named ret_... is untouched on failure,
 *             except receipts: a write that timed out has one.
 * Threads     A roost_root may be used by any thread at any time. Iterators, hits, batches and watches belong to one
 *             thread at a time. Closing a root while another thread is inside a call on it is the caller's error.
 * Fork        A child must not use a root it inherited: every call answers ROOST_EFORK. It may open the root anew.
 * Signals     No function is async-signal-safe. Roost installs no handlers; SIGXFSZ and SIGPIPE never come from it.
 * Ownership   Bytes given to a call are borrowed until it returns. Bytes that come back are valid as long as each
 *             function says; nothing is freed by the caller except through the matching close, free or unpin.
 * Blocking    Reads never wait for other processes. Writes wait at most wait_ms (struct roost_write or the root's
 *             options). Opening waits at most the same for whoever is repairing the root at that moment.
 * Growth      Every options and result struct starts with `size`, set by its INIT macro: fields are only ever added at
 *             the end, and both sides look at no field beyond the smaller size. ROOST_EINVAL: a size that none can have, as 0:
 *             the macro was left out.
 * C++         The header compiles as C++ too. Where a function has the name of a struct, write the keyword: struct roost_stats,
 *             struct roost_stream_info. ROOST_TEXT and the INIT macros are C initialisers: they begin variables, they are no expressions,
 *             and ROOST_STATS_INIT names a member, which pedantic compilers mention before C++20.
 *
 * Levels      How safe a write is when it returns.
 *   ROOST_DURABLE  on the disk (fdatasync returned). Survives the loss of power. The default.
 *   ROOST_PROCESS  in the kernel's page cache. Survives kill -9 of any process, this one included; synced at most a second
 *                  later. After a loss of power a prefix of such writes is there, never one with a hole in it.
 */
#ifndef ROOST_ROOST_H
#define ROOST_ROOST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ROOST_API __attribute__((visibility("default")))
#define ROOST_MUST __attribute__((warn_unused_result))

#define ROOST_VERSION_MAJOR 0
#define ROOST_VERSION_MINOR 1
#define ROOST_VERSION_PATCH 0
/* major << 16 | minor << 8 | patch of the library that is running (not of this header). */
ROOST_API uint32_t roost_version_number(void);
/* "0.1.0", static. */
ROOST_API const char *roost_version(void);

/* ---- Words ------------------------------------------------------------------------------------------------------- */

typedef struct roost_root roost_root;   /* an attached directory */
typedef struct roost_batch roost_batch; /* several changes that become one atomic commit */
typedef struct roost_hits roost_hits;   /* the ranked answer to one query */
typedef struct roost_iter roost_iter;   /* one ordered pass */
typedef struct roost_watch roost_watch; /* one subscription */

typedef uint64_t roost_id;  /* names a memory: from 1, ascending, never given twice, with gaps (after a crash, say); 0 is none */
typedef uint64_t roost_lsn; /* log sequence number: the place of a change in the root's one order of changes; from 1 */

/* Bytes that belong to somebody else. data may be NULL when size is 0. */
struct roost_bytes {
    const void *data;
    size_t size;
};
/* Bytes of a string literal, as an initialiser or (in C) as an expression with a cast: without its final NUL. */
#define ROOST_TEXT(literal) \
    { \
        "" literal, sizeof(literal) - 1 \
    }
/* Bytes of a C string, without its final NUL; NULL gives none. */
ROOST_API struct roost_bytes roost_text(const char *string);

/* Keeps bytes that were returned by get valid until roost_unpin. Opaque; may be copied, unpinned once. */
struct roost_pin {
    void *word[2];
};

/* ---- Limits ------------------------------------------------------------------------------------------------------ */

#define ROOST_RECORD_SIZE_MAX (1u << 30)  /* bytes of a memory's text, a key's value, a stream's entry */
#define ROOST_KEY_SIZE_MAX 1024u          /* bytes of a key, a stream's name, a memory's key; no NUL inside */
#define ROOST_NAME_SIZE_MAX 255u          /* bytes of an agent's or a session's name, a tag, a status; no NUL inside */
#define ROOST_TAG_COUNT_MAX 256u          /* tags of one memory */
#define ROOST_METADATA_SIZE_MAX 16384u    /* bytes of a memory's metadata */
#define ROOST_STATE_SIZE_MAX 4096u        /* bytes of one agent state as stored: texts, plus 4 for each, plus 64 */
#define ROOST_STATE_COUNT_MAX 256u        /* named states that live processes hold at one time */
#define ROOST_INDEXED_SIZE_MAX (1u << 20) /* bytes at the beginning of a memory's text that search looks at */
#define ROOST_BATCH_COUNT_MAX 65536u      /* changes in one batch */

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

/* Where POSIX has a number it is the negative errno; Roost's own begin at -4001. errors.json (in protocol/, or where
 * it is installed: share/doc/roost) lists them with causes and remedies. */
enum roost_error {
    ROOST_OK = 0,
    ROOST_ENOENT = -2,         /* no such memory, key, stream entry, state (or it was forgotten, deleted, has expired) */
    ROOST_EIO = -5,            /* the disk failed */
    ROOST_E2BIG = -7,          /* larger than a limit; the detail names both sizes */
    ROOST_EAGAIN = -11,        /* too many submissions in flight: poll some first */
    ROOST_ENOMEM = -12,        /* this process could not allocate memory */
    ROOST_EACCES = -13,        /* permission denied */
    ROOST_EBUSY = -16,         /* a live process owns this state; the detail names it */
    ROOST_EEXIST = -17,        /* there is a root already */
    ROOST_ENOTDIR = -20,       /* the path given as root is not a directory, or a symbolic link to one */
    ROOST_EINVAL = -22,        /* an argument is wrong; the detail says which */
    ROOST_EMFILE = -24,        /* this process has too many files open */
    ROOST_EFBIG = -27,         /* this process's file size limit (RLIMIT_FSIZE) */
    ROOST_ENOSPC = -28,        /* the disk, or /dev/shm, is full */
    ROOST_EROFS = -30,         /* the root is read-only: opened as an observer, or writing stopped after a disk failure */
    ROOST_ELOOP = -40,         /* a file or folder in the root is a symbolic link, which is not followed */
    ROOST_EILSEQ = -84,        /* text is not valid UTF-8; the detail gives the offset */
    ROOST_EOVERFLOW = -75,     /* a number no longer fits */
    ROOST_ETIMEDOUT = -110,    /* not done within wait_ms. A write may still happen: its receipt tells (roost_settle) */
    ROOST_EDQUOT = -122,       /* this user's disk quota is used up */
    ROOST_ECANCELED = -125,    /* the write was cancelled, or its process ended before it was submitted: not applied */
    ROOST_ECORRUPT = -4001,    /* stored bytes fail their check; the detail gives file and offset */
    ROOST_EVERSION = -4002,    /* the root has another format version; the detail names both */
    ROOST_ENOROOT = -4003,     /* there is no root here; `roost init` or ROOST_OPEN_CREATE makes one */
    ROOST_EFOREIGN = -4004,    /* the directory belongs to another program (memmap_fs); nothing was touched */
    ROOST_EFILESYSTEM = -4005, /* a network or FUSE file system, where locks or mappings cannot be trusted */
    ROOST_ESPLIT = -4006,      /* another process has the root open but its shared memory cannot be seen from here */
    ROOST_EFORK = -4007,       /* this handle was opened before a fork; open the root anew */
    ROOST_EUNKNOWN = -4008,    /* the outcome of this receipt's write is no longer known */
    ROOST_EMISMATCH = -4009,   /* compare-and-set: the key has another version */
    ROOST_EMOVED = -4010,  /* state.wal was removed from its folder or replaced while open (a renamed folder goes on working) */
    ROOST_EDAMAGED = -4011 /* acknowledged data in the log is damaged: reading works, writing is refused; see roost_check */
};
/* "ROOST_ECORRUPT"; "ROOST_E?" for a number that is none. Static. */
ROOST_API const char *roost_error_name(int error);
/* One sentence for the number alone. Static. */
ROOST_API const char *roost_error_text(int error);
/* What happened in this thread's last failing call: what, where, which values, what to do. "" if none failed. Valid
 * until this thread's next call into Roost. */
ROOST_API const char *roost_error_detail(void);
/* For libraries on top of this one: makes a copy of `detail` this thread's (NULL: ""; 1023 bytes at most are kept). Returns error, so that
 * it reads `return roost_error_set(ROOST_EINVAL, "what is wrong")`. */
ROOST_API int roost_error_set(int error, const char *detail);

/* ---- Life -------------------------------------------------------------------------------------------------------- */

enum roost_region_kind {
    ROOST_REGION_SHM = 1, /* POSIX shared memory (/dev/shm). The default */
    ROOST_REGION_FILE = 2 /* a file inside the root: where /dev/shm is small, private, or wiped at logout */
};
/* What all processes of a root share; fixed when it is made. 0 or NULL means the default. */
struct roost_settings {
    size_t size;
    uint64_t log_size;   /* bytes of the log's ring: 64 KiB to 1 GiB, a multiple of 4 KiB; default 16 MiB */
    uint64_t chunk_size; /* bytes of a chunk file: 64 KiB to 1 GiB, a multiple of 4 KiB; default 64 MiB */
    uint64_t
        arena_size; /* bytes of each of the two live segments: 256 KiB to 1 GiB; default 24 MiB, less where /dev/shm is small */
    const char *language; /* a Snowball stemmer ("english", "german", ...) or "none"; default "english" */
    uint32_t region;      /* enum roost_region_kind; default ROOST_REGION_SHM */
};
#define ROOST_SETTINGS_INIT \
    { \
        sizeof(struct roost_settings), 0, 0, 0, NULL, 0 \
    }

/* Makes a root in `path` (the directory is made if absent, mode 0700; its parent must exist). Durable on return. Several
 * processes may try at once: one makes it, the others get ROOST_EEXIST. settings may be NULL. */
ROOST_API ROOST_MUST int roost_create(const char *path, const struct roost_settings *settings);

enum roost_open_flag {
    ROOST_OPEN_CREATE = 1 << 0,  /* make the root if there is none */
    ROOST_OPEN_OBSERVE = 1 << 1, /* read and watch only: takes no slot, writes nothing, needs only read permission (see below) */
    ROOST_OPEN_HOLD = 1 << 2,    /* keep the writer's role until close, once taken, instead of letting it rest when idle */
    ROOST_OPEN_REBUILD = 1 << 3  /* if index/ is damaged or gone: make it anew (see roost_rebuild). Ignored for observers */
};
enum roost_level { ROOST_DEFAULT = 0, ROOST_DURABLE = 1, ROOST_PROCESS = 2 };

enum roost_log_level { ROOST_LOG_ERROR = 1, ROOST_LOG_WARNING, ROOST_LOG_INFO, ROOST_LOG_DEBUG };
/* Called by any thread of this process that is inside Roost, one call at a time a root. Must not call Roost. */
typedef void (*roost_log_fn)(void *user, enum roost_log_level level, const char *message);

struct roost_options {
    size_t size;
    uint32_t flags;                        /* enum roost_open_flag */
    uint32_t level;                        /* enum roost_level of every write that names none; default ROOST_DURABLE */
    uint32_t wait_ms;                      /* bound of every write and of the attach; default 5000 */
    uint32_t idle_ms;                      /* the role rests after this long without work; default 10 */
    const struct roost_settings *settings; /* for ROOST_OPEN_CREATE; NULL: defaults */
    roost_log_fn log;                      /* NULL: silent */
    void *log_user;
};
#define ROOST_OPTIONS_INIT \
    { \
        sizeof(struct roost_options), 0, 0, 0, 0, NULL, NULL, NULL \
    }

/* Attaches to the root in directory `path`. options may be NULL. The same root may be opened several times in one
 * process. The path's last part must not be a symbolic link (ROOST_ENOTDIR), those before may be. ROOST_OPEN_CREATE makes the
 * last folder only: its parent must exist (ROOST_ENOENT).
 * Errors: ROOST_ENOROOT, EVERSION, EFOREIGN, EFILESYSTEM, ESPLIT, ECORRUPT, EACCES, ENOTDIR, ETIMEDOUT, ...
 * With ROOST_OPEN_OBSERVE nobody else needs to have it open: the handle then shows the root as it was left, and within a tenth of a second
 * (looked at when it is used) what those write who open it. ROOST_EROFS: after a power cut it must first be opened by who may write. */
ROOST_API ROOST_MUST int roost_open(const char *path, const struct roost_options *options, roost_root **ret_root);
/* Detaches and frees the handle, whatever the result. The last process to close leaves everything on disk and nothing
 * running. NULL is allowed. Returns 0, or the error of a write at ROOST_PROCESS that could not be synced after it had
 * been acknowledged. Iterators, hits, watches and pins of this root must be closed before. */
ROOST_API int roost_close(roost_root *root);

/* One more owner: each closes the root once, and the last roost_close detaches. For code that is given a root and outlives its giver. */
ROOST_API roost_root *roost_ref(roost_root *root);

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

enum roost_write_flag {
    ROOST_WRITE_IF_VERSION = 1 << 0 /* keys: only if the key's version is `expected`; 0: only if there is no such key */
};
/* How to write: every write takes one; NULL means the root's defaults. */
struct roost_write {
    size_t size;
    uint32_t flags;   /* enum roost_write_flag */
    uint32_t level;   /* enum roost_level; 0: the root's */
    uint32_t wait_ms; /* 0: the root's */
    uint32_t reserved;
    roost_lsn expected; /* with ROOST_WRITE_IF_VERSION */
    int64_t expires_ns; /* keys: ns since 1970 after which the key is gone; 0: never. That it expires wakes no watcher */
};
#define ROOST_WRITE_INIT \
    { \
        sizeof(struct roost_write), 0, 0, 0, 0, 0, 0 \
    }

/* Proof of one submission. After ROOST_ETIMEDOUT (or a crash of the program that had stored it) roost_settle tells what
 * became of the write. Plain data: may be copied, stored, sent to another process. */
struct roost_receipt {
    uint64_t client;   /* who submitted it: a random number a handle */
    uint64_t sequence; /* its how-manieth submission, from 1 */
    roost_lsn lsn;     /* of its last change, once committed; the version of a key that was set; 0 before */
    uint64_t id;       /* of its first memory or, for a lone stream entry, its index; 0 if none */
};

struct roost_memory {
    size_t size;
    struct roost_bytes text;        /* UTF-8, not empty */
    struct roost_bytes key;         /* names the memory: a later one with the same key replaces it, and the older id is gone (one
                                     * change: watches tell of the new memory only). Size 0: none */
    const struct roost_bytes *tags; /* searchable as tag:NAME and as words */
    size_t tag_count;
    int64_t time_ns; /* ns since 1970, negative before. Given: 0 means now, by the clock of the process that commits it */
    /* filled in by reading calls, ignored by writing ones: */
    roost_id id;
    roost_lsn lsn;
    struct roost_pin pin;
    /* Where it comes from, given by who stores it; each may be empty. Exact bytes, UTF-8, ROOST_NAME_SIZE_MAX at most: */
    struct roost_bytes agent, session; /* who remembered it, in which of its sessions: a search can be limited to them */
    struct roost_bytes process, tool;  /* by which program and which of its tools: shown, not searched */
    struct roost_bytes metadata;       /* what else belongs to it: a JSON object, kept as it is written. Not searched */
};
#define ROOST_MEMORY_INIT \
    { \
        sizeof(struct roost_memory), {NULL, 0}, {NULL, 0}, NULL, 0, 0, 0, 0, {{NULL, NULL}}, {NULL, 0}, {NULL, 0}, {NULL, 0}, \
            {NULL, 0}, \
        { \
            NULL, 0 \
        } \
    }

/* Stores one memory. *ret_id (may be NULL) is its id. When it returns 0, every process's next get and search finds it.
 * Errors: EINVAL (empty text, bad key or tag), EILSEQ, E2BIG, ENOSPC, ETIMEDOUT (with a receipt), EROFS, EDAMAGED. */
ROOST_API ROOST_MUST int roost_append(roost_root *root, const struct roost_memory *memory, const struct roost_write *write,
                                      roost_id *ret_id, struct roost_receipt *ret_receipt);
/* The same for many in one atomic commit: all or none. ret_ids (may be NULL) has room for count ids. */
ROOST_API ROOST_MUST int roost_append_many(roost_root *root, const struct roost_memory *memories, size_t count,
                                           const struct roost_write *write, roost_id *ret_ids, struct roost_receipt *ret_receipt);
/* Removes a memory from reads, search and counts. ROOST_ENOENT if there is none such. */
ROOST_API ROOST_MUST int roost_forget(roost_root *root, roost_id id, const struct roost_write *write,
                                      struct roost_receipt *ret_receipt);

/* Batches: any mix of changes, committed together or not at all. The batch copies what it is given. A change that is
 * refused by roost_batch_... leaves the batch as it was. */
ROOST_API ROOST_MUST int roost_batch_open(roost_batch **ret_batch);
ROOST_API void roost_batch_free(roost_batch *batch); /* NULL is allowed */
ROOST_API void roost_batch_clear(roost_batch *batch);
ROOST_API size_t roost_batch_count(const roost_batch *batch);
ROOST_API ROOST_MUST int roost_batch_append(roost_batch *batch, const struct roost_memory *memory);
ROOST_API ROOST_MUST int roost_batch_forget(roost_batch *batch, roost_id id);
/* Of `write` only flags, expected and expires_ns are looked at here; it may be NULL. */
ROOST_API ROOST_MUST int roost_batch_kv_set(roost_batch *batch, struct roost_bytes key, struct roost_bytes value,
                                            const struct roost_write *write);
ROOST_API ROOST_MUST int roost_batch_kv_delete(roost_batch *batch, struct roost_bytes key, const struct roost_write *write);
ROOST_API ROOST_MUST int roost_batch_stream_append(roost_batch *batch, struct roost_bytes name, struct roost_bytes entry);
/* Commits it. ret_ids (may be NULL) has room for one number a change: a memory's id, a stream entry's index, 0 for others.
 * When one change fails (ENOENT, EMISMATCH) nothing is applied and the detail says which. The batch is unchanged. */
ROOST_API ROOST_MUST int roost_batch_commit(roost_root *root, const roost_batch *batch, const struct roost_write *write,
                                            uint64_t *ret_ids, struct roost_receipt *ret_receipt);

/* Submitting without waiting. A submitted batch is copied; up to ROOST_SUBMIT_COUNT_MAX may be in flight a handle, until
 * roost_poll has taken their completions. */
#define ROOST_SUBMIT_COUNT_MAX 120u
struct roost_completion {
    size_t size;
    int result;            /* 0 or a negative error */
    uint32_t failed_index; /* ENOENT, EMISMATCH: which change of the batch was refused */
    void *user;            /* as given to roost_submit */
    struct roost_receipt receipt;
    roost_lsn version; /* EMISMATCH: the version that the key has; 0: there is no such key */
};
#define ROOST_COMPLETION_INIT \
    { \
        sizeof(struct roost_completion), 0, 0, NULL, {0, 0, 0, 0}, 0 \
    }
/* Never blocks. ROOST_EAGAIN: too many in flight, or the shared memory was lost and is being replaced. Take completions with roost_poll,
 * then try again: what was in flight in the lost memory must be taken first, so that no later write overtakes it. ROOST_E2BIG: a
 * text, value or entry in the batch is larger than 64 KiB (less in a batch of many, or in a root with a small log): roost_batch_commit
 * takes it. After 0 exactly one completion with `user` comes from roost_poll.
 * ROOST_ECANCELED in it, though nobody cancelled: the shared memory was replaced before the write was taken up, it was not applied; submit
 * it again. */
ROOST_API ROOST_MUST int roost_submit(roost_root *root, const roost_batch *batch, const struct roost_write *write, void *user,
                                      struct roost_receipt *ret_receipt);
/* Waits at most wait_ms (0: not at all) for completions of this handle's submissions and gives at most `count` of them, in
 * the order of submission. Returns how many; 0 after the time, or when nothing is in flight. ret_completions is an array
 * whose elements were set by ROOST_COMPLETION_INIT. */
ROOST_API ROOST_MUST int roost_poll(roost_root *root, struct roost_completion *ret_completions, size_t count, uint32_t wait_ms);
/* Withdraws a submission that no writer has taken up: 0 (again too), and its one completion says ROOST_ECANCELED. ROOST_EBUSY: too late. */
ROOST_API ROOST_MUST int roost_cancel(roost_root *root, const struct roost_receipt *receipt);

/* What became of a write: waits at most wait_ms. 0: applied (the receipt's lsn and id are filled in); another error than
 * these: the write's own failure, nothing was applied; ROOST_ECANCELED: it was never applied and never will be; ROOST_ETIMEDOUT:
 * still under way; ROOST_EUNKNOWN: too long ago to say. Any handle of the root may ask. */
ROOST_API ROOST_MUST int roost_settle(roost_root *root, struct roost_receipt *receipt, uint32_t wait_ms);
/* Returns when everything that was visible at the call is durable. */
ROOST_API ROOST_MUST int roost_sync(roost_root *root);

/* ---- Reading memories -------------------------------------------------------------------------------------------- */

/* The memory, with its text in the shared mapping (no copy) and checked against its checksum. Valid until roost_unpin of
 * ret_memory->pin. ret_memory must have been set by ROOST_MEMORY_INIT. ROOST_ENOENT: never given, or forgotten. */
ROOST_API ROOST_MUST int roost_get(roost_root *root, roost_id id, struct roost_memory *ret_memory);
ROOST_API void roost_unpin(roost_root *root, struct roost_pin *pin); /* an already empty pin is allowed */

/* Where a memory's record lies. */
struct roost_location {
    size_t size;
    roost_id id;
    roost_lsn lsn;
    uint32_t chunk; /* blocks/chunk_NNNN.bin */
    uint32_t reserved;
    uint64_t offset;      /* of the record in that file, bytes */
    uint64_t record_size; /* bytes, header and fields included */
    uint64_t text_offset; /* of the text in that file, bytes */
    uint64_t text_size;
    int64_t time_ns;
};
#define ROOST_LOCATION_INIT \
    { \
        sizeof(struct roost_location), 0, 0, 0, 0, 0, 0, 0, 0, 0 \
    }
ROOST_API ROOST_MUST int roost_locate(roost_root *root, roost_id id, struct roost_location *ret_location);

/* ---- Search ------------------------------------------------------------------------------------------------------ */

/* The query language: words, any of which may match; +word must match; -word must not; "a phrase"; prefix*; tag:name; and agent:name
 * and session:name, which leave out what others (after a -: what they) remembered and add nothing to a score; names with blanks in quotes.
 * A query of nothing but such filters finds all that they let through, the newest first. A memory's score is BM25 (k1 1.2, b 0.75;
 * Robertson and Zaragoza, 2009) over text and tags, with the statistics of the whole root at the moment of the search. */
struct roost_query {
    size_t size;
    uint32_t limit; /* hits at most; 0: 20 */
    uint32_t reserved;
    struct roost_bytes text; /* UTF-8 */
    /* Only what this agent, in this session, remembered (exactly these bytes); size 0: anybody. */
    struct roost_bytes agent, session;
};
#define ROOST_QUERY_INIT \
    { \
        sizeof(struct roost_query), 0, 0, {NULL, 0}, {NULL, 0}, { NULL, 0 } \
    }
struct roost_hit {
    size_t size;
    roost_id id;
    double score;
    struct roost_bytes key, text; /* valid until the next roost_hits_next or roost_hits_close */
    const struct roost_bytes *tags;
    size_t tag_count;
    int64_t time_ns;
    struct roost_bytes agent, session, process, tool, metadata; /* as in struct roost_memory; valid as text is */
};
#define ROOST_HIT_INIT \
    { \
        sizeof(struct roost_hit), 0, 0, {NULL, 0}, {NULL, 0}, NULL, 0, 0, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}, \
        { \
            NULL, 0 \
        } \
    }
ROOST_API ROOST_MUST int roost_search(roost_root *root, const struct roost_query *query, roost_hits **ret_hits);
/* The best first; equal scores by descending id. 1: ret_hit is filled; 0: there are no more. ROOST_ECORRUPT: that memory is damaged. Its id
 * and score are filled in, the rest is empty, and the next call goes on behind it. */
ROOST_API ROOST_MUST int roost_hits_next(roost_hits *hits, struct roost_hit *ret_hit);
/* How many hits there are in all in this answer (at most the limit). */
ROOST_API size_t roost_hits_count(const roost_hits *hits);
ROOST_API void roost_hits_close(roost_hits *hits); /* NULL is allowed */

/* ---- Keys -------------------------------------------------------------------------------------------------------- */

/* A key that expires is gone from reads and scans at its time, by each reader's own clock. That is no change: it has no LSN and
 * wakes no watcher, so whoever waits for a lock that may expire looks again now and then, besides watching it. A lock: set it with
 * ROOST_WRITE_IF_VERSION, expected 0 and expires_ns; renew it with the version of the last receipt (its lsn) as expected; release it by
 * deleting it with that version. */
ROOST_API ROOST_MUST int roost_kv_set(roost_root *root, struct roost_bytes key, struct roost_bytes value,
                                      const struct roost_write *write, struct roost_receipt *ret_receipt);
/* ROOST_ENOENT if there is no such key. */
ROOST_API ROOST_MUST int roost_kv_delete(roost_root *root, struct roost_bytes key, const struct roost_write *write,
                                         struct roost_receipt *ret_receipt);
struct roost_item {
    size_t size;
    struct roost_bytes key;   /* the key, or the stream's name */
    struct roost_bytes value; /* the value, or the stream's entry */
    roost_lsn version;        /* LSN of its last change: the version for compare-and-set */
    int64_t time_ns;          /* of that change: when it was committed, by the clock of the process that committed it */
    int64_t expires_ns;       /* 0: never */
    uint64_t index;           /* streams: the entry's place, from 0 */
    uint64_t byte_offset;     /* streams: how many bytes of entries come before it */
    struct roost_pin pin;
};
#define ROOST_ITEM_INIT \
    { \
        sizeof(struct roost_item), {NULL, 0}, {NULL, 0}, 0, 0, 0, 0, 0, \
        { \
            { \
                NULL, NULL \
            } \
        } \
    }
/* The value in the shared mapping, valid until roost_unpin of ret_item->pin. */
ROOST_API ROOST_MUST int roost_kv_get(roost_root *root, struct roost_bytes key, struct roost_item *ret_item);

/* ---- Streams ----------------------------------------------------------------------------------------------------- */

/* Appends an entry (any bytes, not empty) to the stream, which begins to exist with its first entry. */
ROOST_API ROOST_MUST int roost_stream_append(roost_root *root, struct roost_bytes name, struct roost_bytes entry,
                                             const struct roost_write *write, uint64_t *ret_index,
                                             struct roost_receipt *ret_receipt);
struct roost_stream_info {
    size_t size;
    uint64_t entry_count, byte_count;
    roost_lsn lsn; /* of the last entry */
};
#define ROOST_STREAM_INFO_INIT \
    { \
        sizeof(struct roost_stream_info), 0, 0, 0 \
    }
ROOST_API ROOST_MUST int roost_stream_info(roost_root *root, struct roost_bytes name, struct roost_stream_info *ret_info);
/* Random access: by entry, or the entry that holds the byte at byte_offset. Valid until roost_unpin. */
ROOST_API ROOST_MUST int roost_stream_get(roost_root *root, struct roost_bytes name, uint64_t index, struct roost_item *ret_item);
ROOST_API ROOST_MUST int roost_stream_at(roost_root *root, struct roost_bytes name, uint64_t byte_offset,
                                         struct roost_item *ret_item);

/* ---- Ordered passes ---------------------------------------------------------------------------------------------- */

enum roost_scan_flag { ROOST_SCAN_REVERSE = 1 << 0 };
/* Memories by id, from `first` on (0: from the beginning, or with ROOST_SCAN_REVERSE from the end). */
ROOST_API ROOST_MUST int roost_scan(roost_root *root, roost_id first, uint32_t flags, roost_iter **ret_iter);
/* Keys that begin with prefix, in byte order. Expired keys are left out. */
ROOST_API ROOST_MUST int roost_kv_scan(roost_root *root, struct roost_bytes prefix, roost_iter **ret_iter);
/* The entries of one stream from `first` on. A pass that ended goes on when entries were added: call next again. */
ROOST_API ROOST_MUST int roost_stream_scan(roost_root *root, struct roost_bytes name, uint64_t first, roost_iter **ret_iter);
/* The names of the streams: items with key, index (number of entries) and byte_offset (number of bytes). */
ROOST_API ROOST_MUST int roost_streams(roost_root *root, roost_iter **ret_iter);
/* The next: 1, or 0 at the end. A pass is no snapshot: it sees what is there when it gets there, each thing at most once, in order.
 * What it gave stays valid until its next call; the pin is empty. Which of the two fits depends on what is scanned.
 * ROOST_ECORRUPT: one entry is damaged. Its id and lsn (items: key, version, index; states: name) are filled in, the rest is empty, and
 * the next call goes on behind it. Where nothing is filled in the index itself cannot be read, and the next call returns 0. */
ROOST_API ROOST_MUST int roost_iter_memory(roost_iter *iter, struct roost_memory *ret_memory);
ROOST_API ROOST_MUST int roost_iter_item(roost_iter *iter, struct roost_item *ret_item);
ROOST_API void roost_iter_close(roost_iter *iter); /* NULL is allowed */

/* ---- Agents' states ---------------------------------------------------------------------------------------------- */

/* Each named agent has one state. The first publish under a name makes this handle its owner until it closes or releases
 * it; while the owner lives nobody else may publish it (ROOST_EBUSY names the owner). When the owner's process ends the last value
 * stays and shows alive = ROOST_ALIVE_NO, until a new owner has published. A handle may own many names. Each state read was
 * published whole, and it never goes back; alive is said of the one who published what was read, owner_pid. */
enum roost_alive { ROOST_ALIVE_NO = 0, ROOST_ALIVE_YES = 1, ROOST_ALIVE_NONE = 2 /* set without an owner */ };
enum roost_state_flag { ROOST_STATE_UNOWNED = 1 << 0 /* publish once, stay nobody's */ };
struct roost_extra {
    struct roost_bytes name, value;
};
struct roost_state {
    size_t size;
    uint32_t flags;            /* publish: enum roost_state_flag */
    uint32_t alive;            /* read: enum roost_alive */
    struct roost_bytes name;   /* the agent; empty: the root's own state, which the writer keeps: read only */
    struct roost_bytes status; /* a word or two: "idle", "thinking" */
    uint64_t active_memory_count;
    roost_id last_updated_id;
    const struct roost_extra *extra; /* any further names and values */
    size_t extra_count;
    /* filled in by reading calls: */
    uint64_t version;  /* grows with every publish of this name */
    int64_t time_ns;   /* when it was published, by the clock of the process that published it */
    int32_t owner_pid; /* for display; 0: none */
    uint32_t reserved;
    struct roost_pin pin;
};
#define ROOST_STATE_INIT \
    { \
        sizeof(struct roost_state), 0, 0, {NULL, 0}, {NULL, 0}, 0, 0, NULL, 0, 0, 0, 0, 0, \
        { \
            { \
                NULL, NULL \
            } \
        } \
    }
/* Visible to every process and their watchers at once, whatever the level. Level ROOST_DURABLE: returns when it is on disk.
 * ROOST_PROCESS (here the default): returns at once; stored within about a second. After a loss of power an older state may
 * be found, never a torn one. */
ROOST_API ROOST_MUST int roost_state_publish(roost_root *root, const struct roost_state *state, const struct roost_write *write);
/* Gives up ownership; the value stays, with alive = ROOST_ALIVE_NO. */
ROOST_API ROOST_MUST int roost_state_release(roost_root *root, struct roost_bytes name);
/* A copy, valid until roost_unpin of ret_state->pin. ROOST_ENOENT: no such agent. */
ROOST_API ROOST_MUST int roost_state_get(roost_root *root, struct roost_bytes name, struct roost_state *ret_state);
/* All named states, by name, for roost_iter_state. */
ROOST_API ROOST_MUST int roost_state_scan(roost_root *root, roost_iter **ret_iter);
ROOST_API ROOST_MUST int roost_iter_state(roost_iter *iter, struct roost_state *ret_state);

/* ---- Watching ---------------------------------------------------------------------------------------------------- */

enum roost_topic_kind {
    ROOST_TOPIC_COMMITS = 1,    /* every change: memories, forgets, keys, streams */
    ROOST_TOPIC_STATE = 2,      /* one agent's state; the current value comes first. An owner's death is a change too */
    ROOST_TOPIC_STATES = 3,     /* all agents' states, in the same way */
    ROOST_TOPIC_GENERATION = 4, /* the set of index files changed */
    ROOST_TOPIC_STREAM = 5,     /* entries of one stream */
    ROOST_TOPIC_KEYS = 6        /* keys that begin with name (empty: all) */
};
/* It has no `size`; zero what you do not set: {.kind = ROOST_TOPIC_STREAM, .name = ROOST_TEXT("talk")}. */
struct roost_topic {
    uint32_t kind; /* enum roost_topic_kind */
    uint32_t reserved;
    struct roost_bytes name;
};
enum roost_change {
    ROOST_CHANGE_MEMORY = 1,
    ROOST_CHANGE_FORGET,
    ROOST_CHANGE_KEY_SET,
    ROOST_CHANGE_KEY_DELETE,
    ROOST_CHANGE_STREAM,
    ROOST_CHANGE_STATE,
    ROOST_CHANGE_GENERATION,
    ROOST_CHANGE_SKIPPED /* more happened than was kept: look at everything */
};
struct roost_event {
    size_t size;
    uint32_t kind;           /* enum roost_change */
    uint32_t topic;          /* index of the first topic that it belongs to */
    roost_lsn lsn;           /* of the change; 0 for states */
    uint64_t id;             /* the memory; the stream entry's index; the state's version; the generation */
    struct roost_bytes name; /* the key, stream or agent; a memory's key. Valid until the next wait */
    /* ROOST_CHANGE_SKIPPED: how many changes, if known. States: versions passed over since this watch told of that agent last; 0 in
     * its first event, however many there were before. */
    uint64_t skipped_count;
};
#define ROOST_EVENT_INIT \
    { \
        sizeof(struct roost_event), 0, 0, 0, 0, {NULL, 0}, 0 \
    }
/* Several topics in one watch. Changes after this call are reported in order of commit; nothing is missed but what ROOST_CHANGE_SKIPPED
 * says; a state's values in between may be, its last one never is. An owner's death or release gives an event with the same version
 * as before, and the state then shows ROOST_ALIVE_NO; a new owner gives none before his first value, whose version is the next.
 * Takeovers and restarts of the writer wake nobody. */
ROOST_API ROOST_MUST int roost_watch_open(roost_root *root, const struct roost_topic *topics, size_t count,
                                          roost_watch **ret_watch);
/* Sleeps until something happened. 1: ret_event is filled; 0: wait_ms passed (0: only looks). Works in observers too. */
ROOST_API ROOST_MUST int roost_watch_wait(roost_watch *watch, uint32_t wait_ms, struct roost_event *ret_event);
ROOST_API void roost_watch_close(roost_watch *watch); /* NULL is allowed */

/* ---- On an event loop of your own -------------------------------------------------------------------------------- */

/* A descriptor for poll, epoll, asyncio and their like: readable (POLLIN) when roost_watch_wait(watch, 0, ...) may find something. Call
 * that until it returns 0; then the descriptor is not readable until something happens. It may be readable for nothing. Do not read, write
 * or close it: it is the watch's, and closed with it. The same one each time. From then on nothing in roost_watch_wait(watch, 0, ...) waits
 * for another process: one helper thread of this process, shared by all such descriptors, sleeps on the shared memory, and follows when
 * that is replaced. It ends with the last descriptor. */
ROOST_API ROOST_MUST int roost_watch_fd(roost_watch *watch, int *ret_fd);
/* The same for the completions of what this handle submitted: readable when roost_poll(root, ..., 0) may have some. It is the
 * root's, and closed by roost_close. */
ROOST_API ROOST_MUST int roost_poll_fd(roost_root *root, int *ret_fd);

/* ---- Care -------------------------------------------------------------------------------------------------------- */

struct roost_stats {
    size_t size;
    uint64_t memory_count; /* memories that can be read */
    uint64_t token_count;  /* indexed words in them */
    roost_id last_id;      /* greatest id given */
    roost_lsn visible_lsn, durable_lsn;
    uint64_t epoch;      /* grows when the first process opens the root, when a writer died, and when a commit failed half-way */
    uint64_t generation; /* grows when the set of index files changes */
    uint64_t segment_count, segment_bytes;
    uint64_t chunk_count, chunk_bytes;
    uint64_t log_size, log_used; /* bytes of the ring; bytes not yet behind a checkpoint */
    uint64_t arena_size, arena_used;
    uint64_t region_bytes;
    /* Handles that have the root open and may write, of all processes, this one included (a process may have several); observers are
     * not counted, nor are those beyond 240 while they are inside no call. */
    uint64_t participant_count;
    int32_t writer_pid;                                /* who holds the role; 0: it rests */
    int32_t own_role;                                  /* 1: this handle holds it */
    uint64_t commit_count, sync_count, takeover_count; /* since a process opened the root that nobody else had open */
    uint8_t root_uuid[16];
    uint32_t region_kind; /* enum roost_region_kind */
    uint32_t format_version;
    char language[16];
    uint64_t chunk_size;
};
#define ROOST_STATS_INIT \
    { \
        .size = sizeof(struct roost_stats) \
    }
ROOST_API ROOST_MUST int roost_stats(roost_root *root, struct roost_stats *ret_stats);

/* Lets a writer that holds the role give it up at its next safe point, so that another process can take it. */
ROOST_API ROOST_MUST int roost_rest(roost_root *root);
/* Turns the live segment into a file and frees the log behind it. Happens by itself; useful before a copy. Like roost_sync, roost_rest and
 * roost_rebuild it is done by whoever holds the writer's role: ROOST_ETIMEDOUT and nothing done if that process does not begin within the
 * handle's wait_ms; once begun it takes as long as it takes. */
ROOST_API ROOST_MUST int roost_checkpoint(roost_root *root);
/* Makes the whole index anew from blocks and log. A root whose index is too damaged to open it is opened with ROOST_OPEN_REBUILD.
 * Returns how many memories are missing: counted once, and known to nobody any more; 0 when all is there. What is damaged but known
 * stays listed: reading it says ROOST_ECORRUPT, roost_check names it. ROOST_EDAMAGED: the log is damaged, see roost_rescue. */
ROOST_API ROOST_MUST int roost_rebuild(roost_root *root);
/* 0: all is well; ROOST_EDAMAGED: acknowledged data in the log is damaged, so not all is shown, and nothing is written; ROOST_EROFS:
 * writing stopped after the disk failed. The detail says where. */
ROOST_API ROOST_MUST int roost_health(roost_root *root);

/* One finding: file is relative to the root, offset in bytes. error 0: a note about something that is odd and no damage (a forgotten
 * record that rotted); it is not counted. What lies in index/ is mended by roost_rebuild; of blocks/ and state.wal roost_rescue saves
 * what can be read. Called by the thread that asked; must not call Roost. */
typedef void (*roost_found_fn)(void *user, int error, const char *file, uint64_t offset, const char *detail);
/* Reads every byte that the root vouches for, also of what the index does not name, and compares index and blocks both ways.
 * Changes nothing. Returns the number of findings. May run while the root is in use. Memory: 32 MiB at most, whatever the root's size. */
ROOST_API ROOST_MUST int roost_check(roost_root *root, roost_found_fn found, void *user);

/* What a copy holds. */
struct roost_copy {
    size_t size;
    roost_lsn lsn;         /* the last change in it */
    uint64_t memory_count; /* memories that can be read */
    uint64_t byte_count;   /* bytes written */
    uint64_t lost_count;   /* rescue: things that were stored and could not be read */
    uint64_t unsure_count; /* rescue: changes in it of which nothing proves that they were ever acknowledged */
};
#define ROOST_COPY_INIT \
    { \
        .size = sizeof(struct roost_copy) \
    }
/* Copies the root as it is at one moment into the folder `path`, which is made, or is empty; its parent must exist. Others write on
 * meanwhile: they wait only for a checkpoint and a copy of the log. Every byte of the copy is read back and checked; only then it
 * becomes a root, durable: half a copy never looks like one. It is a root of its own (another uuid). found (may be NULL) is told what
 * fails its checks: then nothing is left in the folder, and the result is ROOST_ECORRUPT. ret_copy may be NULL. Blocks for as long as
 * copying takes. Errors: ROOST_EEXIST (something is in the folder), EROFS (observers), EDAMAGED, ECORRUPT, ENOSPC, ETIMEDOUT (the
 * writer's role could not be had within wait_ms), ... */
ROOST_API ROOST_MUST int roost_backup(roost_root *root, const char *path, roost_found_fn found, void *user,
                                      struct roost_copy *ret_copy);
/* The same from a root that nobody has open, a backup for one: it is checked first, and nothing is written to it (it may lie on a read-only
 * file system). ROOST_EBUSY: somebody has it open. ROOST_EROFS: a crash left it so that it must be opened once first. */
ROOST_API ROOST_MUST int roost_restore(const char *source, const char *path, roost_found_fn found, void *user,
                                       struct roost_copy *ret_copy);
/* Everything that can still be read of a damaged root that nobody has open, whatever is damaged (log, blocks, index, any of them
 * missing), into a new root in the folder `path` (made, or empty): ids, LSNs, keys, streams, states, times and bytes as they were.
 * Nothing is written to `source`. found (may be NULL) is told of each thing that could not be read: file, offset, what it was as far as
 * that can be known; error 0: a note. Where the newest value of a key cannot be read the key is gone, no older value comes back in its
 * place. Returns how many things were lost (0: nothing). Needs memory for 100 bytes a record, the log, one chunk and the old index. */
ROOST_API ROOST_MUST int roost_rescue(const char *source, const char *path, roost_found_fn found, void *user,
                                      struct roost_copy *ret_copy);

#ifdef __cplusplus
}
#endif
#endif
