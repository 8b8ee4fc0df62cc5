/* SPDX-License-Identifier: MIT
 * peers/sqlite.c: SQLite on the workload of cases.c: a table, and an FTS5 index over it (external content, bm25).
 *
 * WAL. Durable appends: synchronous=FULL, row and index in one transaction. STEM=1: the porter tokenizer. LONGTXN=1: a reader keeps
 * one transaction for all its gets and searches (faster, and blind to commits); otherwise each statement is one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "cases.h"

enum { BULK_BLOCK = 10000, BUSY_MS = 60000 };
#define WORDS_TABLE "CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(text, content='memory', content_rowid='id'"
#define CHECK(call) check((call), #call, __LINE__)

static sqlite3 *database;
static sqlite3_stmt *insert_row, *insert_words, *select_row, *select_words, *begin, *commit;
static bool bulk;

static int check(int result, const char *call, int line)
{
    if (result != SQLITE_OK && result != SQLITE_ROW && result != SQLITE_DONE)
        bench_die("line %d: %s: %s", line, call, sqlite3_errmsg(database));
    return result;
}

static void execute(const char *statements) { CHECK(sqlite3_exec(database, statements, NULL, NULL, NULL)); }

static sqlite3_stmt *prepare(const char *statement)
{
    sqlite3_stmt *prepared;
    CHECK(sqlite3_prepare_v3(database, statement, -1, SQLITE_PREPARE_PERSISTENT, &prepared, NULL));
    return prepared;
}

static void run(sqlite3_stmt *statement)
{
    CHECK(sqlite3_step(statement));
    CHECK(sqlite3_reset(statement));
}

static void open_store(const char *folder, enum bench_mode mode)
{
    char path[4096];
    bulk = mode == BENCH_BULK;
    snprintf(path, sizeof path, "%s/db", folder);
    CHECK(sqlite3_open_v2(path, &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL));
    CHECK(sqlite3_busy_timeout(database, BUSY_MS));
    execute("PRAGMA mmap_size=1073741824; PRAGMA cache_size=-65536");
    if (mode != BENCH_READER) {
        execute("PRAGMA journal_mode=WAL");
        execute(bulk ? "PRAGMA synchronous=OFF" : "PRAGMA synchronous=FULL");
        execute("CREATE TABLE IF NOT EXISTS memory(id INTEGER PRIMARY KEY, text TEXT)");
        execute(getenv("STEM") && !strcmp(getenv("STEM"), "1") ? WORDS_TABLE ", tokenize='porter unicode61')" : WORDS_TABLE ")");
        insert_row = prepare("INSERT INTO memory(id, text) VALUES(?, ?)");
        insert_words = prepare("INSERT INTO words(rowid, text) VALUES(?, ?)");
        begin = prepare("BEGIN IMMEDIATE");
        commit = prepare("COMMIT");
    }
    select_row = prepare("SELECT text FROM memory WHERE id = ?");
    select_words = prepare("SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank LIMIT 10");
    if (mode == BENCH_READER && getenv("LONGTXN")) execute("BEGIN");
}

static void close_store(void)
{
    sqlite3_stmt **statements[] = {&insert_row, &insert_words, &select_row, &select_words, &begin, &commit};
    if (!sqlite3_get_autocommit(database)) execute("COMMIT");
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        sqlite3_finalize(*statements[i]);
        *statements[i] = NULL;
    }
    CHECK(sqlite3_close(database));
}

static void append_block(uint64_t first, const struct bench_text *texts, size_t count)
{
    run(begin);
    for (size_t i = 0; i < count; i++) {
        sqlite3_stmt *both[] = {insert_row, insert_words};
        for (size_t j = 0; j < 2; j++) {
            CHECK(sqlite3_bind_int64(both[j], 1, (sqlite3_int64)(first + i)));
            CHECK(sqlite3_bind_text(both[j], 2, texts[i].data, (int)texts[i].size, SQLITE_STATIC));
            run(both[j]);
        }
    }
    run(commit);
}

static uint64_t append(uint64_t id, struct bench_text text)
{
    append_block(id, &text, 1);
    return id;
}

static void finish(void) { execute("PRAGMA synchronous=FULL; PRAGMA wal_checkpoint(TRUNCATE)"); }

static void tidy(void)
{
    execute("INSERT INTO words(words) VALUES('optimize')");
    finish();
}

/* Copied, so that no read transaction stays open between two gets. */
static struct bench_text get(uint64_t id)
{
    static char *copy;
    static size_t capacity;
    CHECK(sqlite3_bind_int64(select_row, 1, (sqlite3_int64)id));
    if (CHECK(sqlite3_step(select_row)) != SQLITE_ROW) {
        sqlite3_reset(select_row);
        return (struct bench_text){NULL, 0};
    }
    const unsigned char *text = sqlite3_column_text(select_row, 0);
    size_t size = (size_t)sqlite3_column_bytes(select_row, 0);
    if (size + 1 > capacity) {
        capacity = 2 * size + 64;
        copy = realloc(copy, capacity);
        if (!copy) bench_die("no memory");
    }
    memcpy(copy, text, size);
    sqlite3_reset(select_row);
    return (struct bench_text){copy, size};
}

static unsigned search(enum bench_search kind, char *const *words, unsigned count, uint64_t ret_ids[BENCH_HITS])
{
    char text[512];
    int size = 0;
    unsigned found = 0;
    for (unsigned i = 0; i < count; i++)
        size += snprintf(text + size, sizeof text - (size_t)size, "%s\"%s\"",
                         !i                 ? ""
                         : kind == BENCH_OR ? " OR "
                                            : " AND ",
                         words[i]);
    CHECK(sqlite3_bind_text(select_words, 1, text, size, SQLITE_STATIC));
    while (CHECK(sqlite3_step(select_words)) == SQLITE_ROW && found < BENCH_HITS)
        ret_ids[found++] = (uint64_t)sqlite3_column_int64(select_words, 0);
    sqlite3_reset(select_words);
    return found;
}

int main(int argument_count, char **arguments)
{
    const char *stem = getenv("STEM");
    struct bench_store store = {
        .name = "sqlite",
        .append_note = "WAL, synchronous=FULL: on the disk, readable by id and searchable (FTS5) on return",
        .no_notify = "no way to wake a waiter in another process",
        .stems = stem && !strcmp(stem, "1"),
        .bulk_block = BULK_BLOCK,
        .open = open_store,
        .close = close_store,
        .append = append,
        .append_block = append_block,
        .finish = finish,
        .tidy = tidy,
        .get = get,
        .search = search,
    };
    return bench_run(store, argument_count, arguments);
}
