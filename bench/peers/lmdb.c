/* SPDX-License-Identifier: MIT
 * peers/lmdb.c: LMDB on the workload of cases.c: id -> text, integer keys.
 *
 * Durable appends are one transaction each with LMDB's default flags (fdatasync and a synchronous meta page). A get renews its read
 * transaction, so that it always sees the newest commit; LONGTXN=1 keeps one transaction for all: faster, and blind to commits. */
#include <stdlib.h>
#include <string.h>

#include <lmdb.h>

#include "cases.h"

enum { BULK_BLOCK = 10000 };
#define MAP_SIZE ((size_t)8 << 30)
#define CHECK(call) check((call), #call, __LINE__)

static MDB_env *environment;
static MDB_dbi table;
static MDB_txn *reading;
static bool bulk, long_transaction;

static void check(int result, const char *call, int line)
{
    if (result) bench_die("line %d: %s: %s", line, call, mdb_strerror(result));
}

static void open_store(const char *folder, enum bench_mode mode)
{
    MDB_txn *transaction;
    unsigned read_only = mode == BENCH_READER ? MDB_RDONLY : 0;
    bulk = mode == BENCH_BULK;
    long_transaction = getenv("LONGTXN") != NULL;
    CHECK(mdb_env_create(&environment));
    CHECK(mdb_env_set_mapsize(environment, MAP_SIZE));
    CHECK(mdb_env_open(environment, folder, read_only | (bulk ? MDB_NOSYNC : 0), 0600));
    CHECK(mdb_txn_begin(environment, NULL, read_only, &transaction));
    CHECK(mdb_dbi_open(transaction, NULL, MDB_INTEGERKEY | (read_only ? 0 : MDB_CREATE), &table));
    CHECK(mdb_txn_commit(transaction));
    CHECK(mdb_txn_begin(environment, NULL, MDB_RDONLY, &reading));
    if (!long_transaction) mdb_txn_reset(reading);
}

static void close_store(void)
{
    mdb_txn_abort(reading);
    mdb_env_close(environment);
}

static void put(MDB_txn *transaction, uint64_t id, struct bench_text text)
{
    MDB_val key = {sizeof id, &id}, value = {text.size, (void *)(uintptr_t)text.data};
    CHECK(mdb_put(transaction, table, &key, &value, bulk ? MDB_APPEND : 0));
}

static void append_block(uint64_t first, const struct bench_text *texts, size_t count)
{
    MDB_txn *transaction;
    CHECK(mdb_txn_begin(environment, NULL, 0, &transaction));
    for (size_t i = 0; i < count; i++) put(transaction, first + i, texts[i]);
    CHECK(mdb_txn_commit(transaction));
}

static uint64_t append(uint64_t id, struct bench_text text)
{
    append_block(id, &text, 1);
    return id;
}

static void finish(void) { CHECK(mdb_env_sync(environment, 1)); }

static struct bench_text get(uint64_t id)
{
    MDB_val key = {sizeof id, &id}, value;
    if (!long_transaction) {
        mdb_txn_reset(reading);
        CHECK(mdb_txn_renew(reading));
    }
    int result = mdb_get(reading, table, &key, &value);
    if (result == MDB_NOTFOUND) return (struct bench_text){NULL, 0};
    CHECK(result);
    return (struct bench_text){value.mv_data, value.mv_size};
}

static const struct bench_store store = {
    .name = "lmdb",
    .append_note = "on the disk and readable by id on return; no search",
    .no_search = "a key-value store: no text search",
    .no_notify = "no way to wake a waiter in another process",
    .bulk_block = BULK_BLOCK,
    .open = open_store,
    .close = close_store,
    .append = append,
    .append_block = append_block,
    .finish = finish,
    .get = get,
};

int main(int argument_count, char **arguments) { return bench_run(store, argument_count, arguments); }
