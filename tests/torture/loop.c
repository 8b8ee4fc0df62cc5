/* SPDX-License-Identifier: MIT
 * torture/loop.c: a writer that works through libuv alone (roost/uv.h): many requests under way, some cancelled, some out of time and
 * settled by their receipts, watches opened and closed, bridges closed with everything in flight and opened again.
 *
 * Besides what the oracle judges: exactly one callback for each request, all of them before the bridge's; what was cancelled is not done;
 * what was acknowledged can be read; a watch goes forwards and misses nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <roost/uv.h>

#include "torture/torture.h"

enum {
    WORK_MAX = 160,       /* more than the lane has room for */
    LARGE = 50000,        /* might not go through the lane, and then in no order with others: these go alone */
    SETTLE_TRIES = 60,    /* of SETTLE_MS */
    SETTLE_MS = 500,      /* a bridge that closes waits for it */
    ANSWER_SECONDS = 100, /* a request without an answer */
    KNOWN_MAX = 32,
};
/* What is known to be there and never goes. */
struct known {
    uint32_t tag;
    uint64_t id; /* or index */
};
/* One operation on its way, until its outcome is known. */
struct work {
    roost_uv_req req;
    struct client *client;
    uint32_t tag, kind; /* kind 0: a read */
    bool busy, flying, cancelled, unsettled;
    int tries;
    int64_t since_ns;
    struct roost_receipt receipt;
    uint64_t number; /* a state's, a counter's, what is expected */
    roost_batch *batch;
    char *text;
    char name[32], entry[ENTRY_MAX], words[STATE_WORDS_MAX];
    struct roost_extra extra;
};
struct client {
    struct writer *w;
    uv_loop_t loop;
    uv_timer_t tick;
    roost_uv bridge;
    roost_uv_watch commits, stream;
    int commits_open, stream_open; /* 1: open, -1: closing */
    uint64_t lsn, index;           /* what the watches saw last */
    bool index_known;
    struct work works[WORK_MAX];
    uint32_t count, flying, depth; /* busy works; requests without their callback; how many are wanted */
    bool joined, closing, alone, counting, publishing, ending;
    struct known memories[KNOWN_MAX], entries[KNOWN_MAX];
    uint32_t memory_count, entry_count;
    uint64_t published;
};

static void more(struct client *c);
static void settle(struct work *work);

static uint64_t roll(struct client *c, uint64_t n) { return below(&c->w->random, n); }

static void remember_known(struct client *c, struct known *list, uint32_t *count, struct known one)
{
    if (*count < KNOWN_MAX)
        list[(*count)++] = one;
    else
        list[roll(c, KNOWN_MAX)] = one;
}

/* ---- one operation's life ---- */

static struct work *take(struct client *c, uint32_t kind)
{
    struct work *work = c->works;
    while (work < c->works + WORK_MAX && work->busy) work++;
    if (work == c->works + WORK_MAX) return NULL;
    work->busy = true;
    work->client = c;
    work->kind = kind;
    work->flying = work->cancelled = work->unsettled = false;
    work->tries = 0;
    work->since_ns = now_ns();
    work->req.data = work;
    c->count++;
    return work;
}

static void drop(struct work *work)
{
    struct client *c = work->client;
    if (work->kind == OP_COUNT) c->counting = false;
    if (work->kind == OP_STATE) c->publishing = false;
    work->busy = false;
    if (--c->count == 0) c->alone = false;
}

static void tell(struct work *work, uint32_t kind, int err)
{
    const struct roost_receipt *receipt = &work->receipt;
    say((struct note){.kind = kind,
                      .tag = work->tag,
                      .op = work->kind,
                      .result = err,
                      .id = work->kind == OP_FORGET ? 0 : receipt->id,
                      .lsn = receipt->lsn,
                      .target = work->number,
                      .late = work->tries != 0},
        NULL);
}

/* After the call: err is its result. */
static void sent(struct work *work, int err)
{
    if (!err) {
        work->flying = true;
        work->client->flying++;
        return;
    }
    wrong("a request of kind %u (tag %08x) was refused: %s: %s", work->kind, work->tag, roost_error_name(err),
          roost_error_detail());
    if (work->kind) tell(work, NOTE_CANCELED, err);
    drop(work);
}

/* Begins every callback. */
static struct work *landed(roost_uv_req *req, int status)
{
    struct work *work = req->data;
    struct client *c = work->client;
    if (!work->busy || !work->flying)
        wrong("a second callback for tag %08x, kind %u: %s", work->tag, work->kind, roost_error_name(status));
    if (!c->joined) wrong("a callback after the bridge's");
    if (status < 0 && !req->detail[0]) wrong("no words for %s", roost_error_name(status));
    if (work->cancelled && status != ROOST_ECANCELED)
        wrong("kind %u (tag %08x) was cancelled and ends with %s", work->kind, work->tag, roost_error_name(status));
    if (!work->cancelled && !c->closing && status == ROOST_ECANCELED && !work->tries)
        wrong("kind %u (tag %08x) ends as cancelled, and nobody cancelled it: %s", work->kind, work->tag, req->detail);
    work->flying = false;
    c->flying--;
    return work;
}

static void acknowledged(struct work *work)
{
    struct client *c = work->client;
    tell(work, NOTE_ACK, 0);
    if (work->kind == OP_APPEND)
        remember_known(c, c->memories, &c->memory_count, (struct known){work->tag, work->receipt.id});
    else if (work->kind == OP_STREAM)
        remember_known(c, c->entries, &c->entry_count, (struct known){work->tag, work->receipt.id});
    else if (work->kind == OP_BATCH)
        remember(c->w, work->receipt.id);
    else if (work->kind == OP_STATE && work->number > c->published)
        c->published = work->number;
}

/* The outcome of a write, from its own callback or of settling it. */
static void known(struct work *work, int status, const char *detail)
{
    bool may_refuse = work->kind == OP_DELETE || work->kind == OP_COUNT;
    if (!status)
        acknowledged(work);
    else if (status == ROOST_ECANCELED)
        tell(work, NOTE_CANCELED, status);
    else if (may_refuse && (status == ROOST_ENOENT || status == ROOST_EMISMATCH))
        tell(work, NOTE_REFUSED, status);
    else
        wrong("operation %u (tag %08x): %s: %s", work->kind, work->tag, roost_error_name(status), detail);
    drop(work);
}

static void on_settled(roost_uv_req *req, int status)
{
    struct work *work = landed(req, status);
    struct client *c = work->client;
    if (status == ROOST_ETIMEDOUT && work->tries < SETTLE_TRIES) {
        settle(work);
        return;
    }
    /* A bridge that closes may have cancelled the question, not the write: the next one asks again. */
    if (status == ROOST_ECANCELED && c->closing) {
        work->unsettled = true;
        return;
    }
    tell(work, NOTE_SETTLED, status);
    work->receipt = req->receipt;
    if (status == ROOST_EUNKNOWN) {
        tell(work, NOTE_UNKNOWN, status);
        drop(work);
    } else {
        known(work, status, req->detail);
    }
    more(c);
}

static void settle(struct work *work)
{
    struct client *c = work->client;
    work->unsettled = c->closing;
    if (c->closing) return;
    work->tries++;
    int err = roost_uv_settle(&c->bridge, &work->req, &work->receipt, SETTLE_MS, on_settled);
    if (err) wrong("settling: %s: %s", roost_error_name(err), roost_error_detail());
    work->flying = true;
    c->flying++;
}

static void on_written(roost_uv_req *req, int status)
{
    struct work *work = landed(req, status);
    struct client *c = work->client;
    work->receipt = req->receipt;
    if (status == ROOST_ETIMEDOUT || status == ROOST_EUNKNOWN) {
        if (work->kind == OP_STATE) {
            wrong("a state was published too slowly: %s", req->detail);
            drop(work);
        } else if (work->receipt.sequence) {
            settle(work);
        } else {
            known(work, ROOST_ECANCELED, ""); /* never handed over */
        }
        return;
    }
    known(work, status, req->detail);
    more(c);
}

static struct roost_write choose_write(struct client *c)
{
    struct roost_write write = choose_level(c->w);
    write.wait_ms = roll(c, 12) ? 60000 : 1 + (uint32_t)roll(c, 15);
    return write;
}

/* ---- writes ---- */

static void send_append(struct client *c)
{
    struct work *work = take(c, OP_APPEND);
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_write write = choose_write(c);
    work->tag = begin(c->w, OP_APPEND, 0);
    size_t size = text_of(work->tag, c->w->text);
    work->text = realloc(work->text, size);
    memcpy(work->text, c->w->text, size);
    memory.text = (struct roost_bytes){work->text, size};
    sent(work, roost_uv_append(&c->bridge, &work->req, &memory, &write, on_written));
}

static void send_key(struct client *c, bool set)
{
    struct work *work = take(c, set ? OP_SET : OP_DELETE);
    struct roost_write write = choose_write(c);
    work->tag = begin(c->w, work->kind, 0);
    key_name(c->w->life, key_slot(work->tag), work->name);
    struct roost_bytes value = {work->entry, entry_of(work->tag, work->entry)};
    sent(work, set ? roost_uv_kv_set(&c->bridge, &work->req, roost_text(work->name), value, &write, on_written)
                   : roost_uv_kv_delete(&c->bridge, &work->req, roost_text(work->name), &write, on_written));
}

static void send_stream(struct client *c)
{
    struct work *work = take(c, OP_STREAM);
    struct roost_write write = choose_write(c);
    work->tag = begin(c->w, OP_STREAM, 0);
    struct roost_bytes entry = {work->entry, entry_of(work->tag, work->entry)};
    sent(work, roost_uv_stream_append(&c->bridge, &work->req, roost_text("all"), entry, &write, on_written));
}

static void send_batch(struct client *c)
{
    struct work *work = take(c, OP_BATCH);
    struct roost_write write = choose_write(c);
    if (!work->batch && roost_batch_open(&work->batch)) abort();
    roost_batch_clear(work->batch);
    work->tag = begin(c->w, OP_BATCH, 0);
    fill_batch(c->w, work->tag, work->batch);
    sent(work, roost_uv_commit(&c->bridge, &work->req, work->batch, &write, on_written));
}

static void send_forget(struct client *c)
{
    struct writer *w = c->w;
    if (!w->own_count) return;
    struct work *work = take(c, OP_FORGET);
    struct roost_write write = choose_write(c);
    uint32_t at = (uint32_t)roll(c, w->own_count);
    work->number = w->own_ids[at];
    w->own_ids[at] = w->own_ids[--w->own_count];
    work->tag = begin(w, OP_FORGET, work->number);
    sent(work, roost_uv_forget(&c->bridge, &work->req, work->number, &write, on_written));
}

/* A counter that everybody raises by compare-and-set: read, then written if it is still the same. */
static void on_counter(roost_uv_req *req, int status, const struct roost_item *item)
{
    struct work *work = landed(req, status);
    struct client *c = work->client;
    struct roost_write write = choose_write(c);
    work->number = 0;
    if (status && status != ROOST_ENOENT && status != ROOST_ECANCELED)
        wrong("get counter: %s: %s", roost_error_name(status), req->detail);
    if (!status && item->value.size == sizeof work->number) {
        memcpy(&work->number, item->value.data, sizeof work->number);
        write.expected = item->version;
    } else if (!status) {
        wrong("the counter has %zu bytes", item->value.size);
    }
    if (c->closing || (status && status != ROOST_ENOENT)) {
        drop(work);
        return;
    }
    write.flags = ROOST_WRITE_IF_VERSION;
    work->number++;
    work->tag = begin(c->w, OP_COUNT, 0);
    sent(work, roost_uv_kv_set(&c->bridge, &work->req, roost_text("counter"),
                               (struct roost_bytes){&work->number, sizeof work->number}, &write, on_written));
}

static void send_count(struct client *c)
{
    if (c->counting) return;
    struct work *work = take(c, OP_COUNT);
    c->counting = true;
    sent(work, roost_uv_kv_get(&c->bridge, &work->req, roost_text("counter"), on_counter));
}

static void send_state(struct client *c)
{
    if (c->publishing) return;
    struct work *work = take(c, OP_STATE);
    struct roost_state state = ROOST_STATE_INIT;
    struct roost_write write = ROOST_WRITE_INIT;
    c->publishing = true;
    work->number = (uint64_t)c->w->life << 32 | ++c->w->state_number;
    size_t size = state_words(work->number, work->words);
    work->extra = (struct roost_extra){ROOST_TEXT("words"), {work->words, size}};
    snprintf(work->name, sizeof work->name, "agent%u", c->w->index);
    state.name = roost_text(work->name);
    state.status = roost_text("working");
    state.active_memory_count = work->number;
    state.extra = &work->extra;
    state.extra_count = 1;
    write.level = roll(c, 20) ? ROOST_PROCESS : ROOST_DURABLE;
    write.wait_ms = 60000;
    work->tag = begin(c->w, OP_STATE, work->number);
    work->receipt = (struct roost_receipt){0, 0, 0, 0};
    sent(work, roost_uv_state_publish(&c->bridge, &work->req, &state, &write, on_written));
}

/* ---- reads: of what was acknowledged ---- */

static bool read_well(struct work *work, int status, const char *what)
{
    if (status && status != ROOST_ECANCELED)
        wrong("%s (tag %08x) was acknowledged as %llu: %s: %s", what, work->tag, (unsigned long long)work->number,
              roost_error_name(status), work->req.detail);
    return !status;
}

static void on_memory(roost_uv_req *req, int status, const struct roost_memory *memory)
{
    struct work *work = landed(req, status);
    struct client *c = work->client;
    if (read_well(work, status, "a memory") &&
        (memory->text.size != text_of(work->tag, c->w->text) || memcmp(memory->text.data, c->w->text, memory->text.size)))
        wrong("memory %llu (tag %08x) has other bytes", (unsigned long long)work->number, work->tag);
    drop(work);
    more(c);
}

static void on_hits(roost_uv_req *req, int status, roost_hits *hits)
{
    struct work *work = landed(req, status);
    struct roost_hit hit = ROOST_HIT_INIT;
    if (read_well(work, status, "a search") &&
        (roost_hits_count(hits) != 1 || roost_hits_next(hits, &hit) != 1 || hit.id != work->number))
        wrong("tag %08x was acknowledged as %llu, but a search found %zu (the first: %llu)", work->tag,
              (unsigned long long)work->number, roost_hits_count(hits), (unsigned long long)hit.id);
    roost_hits_close(hits);
    drop(work);
    more(work->client);
}

static void on_entry(roost_uv_req *req, int status, const struct roost_item *item)
{
    struct work *work = landed(req, status);
    char entry[ENTRY_MAX];
    if (read_well(work, status, "a stream entry") &&
        (item->value.size != entry_of(work->tag, entry) || memcmp(item->value.data, entry, item->value.size) != 0))
        wrong("stream entry %llu (tag %08x) has other bytes", (unsigned long long)work->number, work->tag);
    drop(work);
    more(work->client);
}

static void on_state(roost_uv_req *req, int status, const struct roost_state *state)
{
    struct work *work = landed(req, status);
    char words[STATE_WORDS_MAX];
    if (read_well(work, status, "a state")) {
        size_t size = state_words(state->active_memory_count, words);
        if (state->active_memory_count < work->number)
            wrong("a state went back from %llx to %llx", (unsigned long long)work->number,
                  (unsigned long long)state->active_memory_count);
        if (state->extra_count != 1 || state->extra[0].value.size != size || memcmp(state->extra[0].value.data, words, size) != 0)
            wrong("a state is torn");
    }
    drop(work);
    more(work->client);
}

static int look(roost_root *root, roost_uv_req *req)
{
    struct roost_stats stats = ROOST_STATS_INIT;
    struct work *work = req->data;
    return work->number ? roost_stats(root, &stats) : roost_checkpoint(root);
}

static void on_look(roost_uv_req *req, int status)
{
    struct work *work = landed(req, status);
    /* A checkpoint is asked of a holder that may be stopped just then. */
    if (status && status != ROOST_ECANCELED && status != ROOST_ETIMEDOUT)
        wrong("looking: %s: %s", roost_error_name(status), req->detail);
    drop(work);
    more(work->client);
}

static void send_read(struct client *c)
{
    uint64_t dice = roll(c, 100);
    if (dice < 50 ? !c->memory_count : dice < 75 ? !c->entry_count : dice < 90 && !c->published) return;
    struct work *work = take(c, 0);
    const struct known *one = dice < 50   ? &c->memories[roll(c, c->memory_count)]
                              : dice < 75 ? &c->entries[roll(c, c->entry_count)]
                                          : &(struct known){0, 0};
    work->tag = one->tag;
    work->number = one->id;
    if (dice < 40) {
        sent(work, roost_uv_get(&c->bridge, &work->req, work->number, on_memory));
    } else if (dice < 50) {
        struct roost_query query = ROOST_QUERY_INIT;
        snprintf(work->name, sizeof work->name, "u%08xq", work->tag);
        query.text = roost_text(work->name);
        sent(work, roost_uv_search(&c->bridge, &work->req, &query, on_hits));
    } else if (dice < 75) {
        sent(work, roost_uv_stream_get(&c->bridge, &work->req, roost_text("all"), work->number, on_entry));
    } else if (dice < 90) {
        work->number = c->published;
        snprintf(work->name, sizeof work->name, "agent%u", c->w->index);
        sent(work, roost_uv_state_get(&c->bridge, &work->req, roost_text(work->name), on_state));
    } else {
        work->number = roll(c, 20); /* 0: a checkpoint */
        sent(work, roost_uv_work(&c->bridge, &work->req, look, on_look));
    }
}

/* ---- watches ---- */

static void on_commit(roost_uv_watch *watch, int status, const struct roost_event *event)
{
    struct client *c = watch->data;
    if (c->commits_open != 1) wrong("an event of a closed watch");
    if (status < 0) {
        wrong("watch: %s: %s", roost_error_name(status), roost_error_detail());
        return;
    }
    if (event->kind == ROOST_CHANGE_STATE) return;
    if (event->lsn <= c->lsn)
        wrong("a watch went from LSN %llu to %llu", (unsigned long long)c->lsn, (unsigned long long)event->lsn);
    c->lsn = event->lsn;
}

static void on_stream(roost_uv_watch *watch, int status, const struct roost_event *event)
{
    struct client *c = watch->data;
    if (c->stream_open != 1) wrong("an event of a closed watch");
    if (status < 0) {
        wrong("watch: %s: %s", roost_error_name(status), roost_error_detail());
        return;
    }
    if (event->kind == ROOST_CHANGE_STREAM && c->index_known && event->id != c->index + 1)
        wrong("a watch went from stream entry %llu to %llu", (unsigned long long)c->index, (unsigned long long)event->id);
    c->index_known = event->kind == ROOST_CHANGE_STREAM;
    c->index = event->id;
}

static void on_commits_closed(roost_uv_watch *watch) { ((struct client *)watch->data)->commits_open = 0; }
static void on_stream_closed(roost_uv_watch *watch) { ((struct client *)watch->data)->stream_open = 0; }

static void open_watches(struct client *c)
{
    const struct roost_topic topics[3] = {
        {ROOST_TOPIC_COMMITS, 0, {NULL, 0}}, {ROOST_TOPIC_STATES, 0, {NULL, 0}}, {ROOST_TOPIC_STREAM, 0, ROOST_TEXT("all")}};
    int err = 0;
    c->commits.data = c->stream.data = c;
    if (!c->commits_open) {
        err = roost_uv_watch_start(&c->bridge, &c->commits, topics, 2, on_commit);
        c->commits_open = 1;
    }
    if (!err && !c->stream_open) {
        c->index_known = false;
        err = roost_uv_watch_start(&c->bridge, &c->stream, topics + 2, 1, on_stream);
        c->stream_open = 1;
    }
    if (err) wrong("watch: %s: %s", roost_error_name(err), roost_error_detail());
}

static void close_watch(struct client *c)
{
    bool first = roll(c, 2) != 0;
    int *open = first ? &c->commits_open : &c->stream_open;
    if (*open != 1) return;
    *open = -1;
    roost_uv_watch_close(first ? &c->commits : &c->stream, first ? on_commits_closed : on_stream_closed);
}

/* ---- bridges ---- */

static void on_closed(roost_uv *bridge)
{
    struct client *c = bridge->data;
    if (c->flying) wrong("a bridge is closed, and %u of its requests have had no callback", c->flying);
    if (c->commits_open < 0 || c->stream_open < 0) wrong("a bridge is closed, and a watch of it is not");
    c->commits_open = c->stream_open = 0;
    c->joined = false;
}

static void close_bridge(struct client *c)
{
    if (c->closing || !c->joined) return;
    if (roll(c, 3) == 0) close_watch(c);
    c->closing = true;
    roost_uv_close(&c->bridge, on_closed);
    if (c->commits_open == 1) c->commits_open = 2; /* no event any more */
    if (c->stream_open == 1) c->stream_open = 2;
}

static void join(struct client *c)
{
    c->bridge.data = c;
    int err = roost_uv_init(&c->loop, &c->bridge, c->w->root);
    if (err) {
        wrong("a bridge: %s: %s", roost_error_name(err), roost_error_detail());
        exit(3);
    }
    c->joined = true;
    c->closing = false;
    if (!c->ending) open_watches(c);
    for (uint32_t i = 0; i < WORK_MAX; i++)
        if (c->works[i].busy && c->works[i].unsettled) settle(&c->works[i]);
}

/* Until the bridge is closed; then the next one, sometimes to another handle. */
static void part(struct client *c)
{
    bool leave = roll(c, 3) == 0;
    if (leave) { /* the bridge is an owner, too */
        int err = roost_close(c->w->root);
        if (err) wrong("close: %s: %s", roost_error_name(err), roost_error_detail());
    }
    while (c->joined) uv_run(&c->loop, UV_RUN_ONCE);
    if (leave) c->w->root = open_root(0);
}

/* ---- the loop ---- */

static void cancel_one(struct client *c)
{
    struct work *work = &c->works[roll(c, WORK_MAX)];
    if (!work->busy || !work->flying || work->tries || work->cancelled) return;
    int err = roost_uv_cancel(&work->req);
    if (err && err != ROOST_EBUSY) wrong("cancel: %s: %s", roost_error_name(err), roost_error_detail());
    work->cancelled = !err;
}

static void one(struct client *c)
{
    struct writer *w = c->w;
    if (opt.large && text_of(w->life << TAG_BITS | w->next, w->text) > LARGE) {
        c->alone = true;
        if (!c->count) send_append(c);
        return;
    }
    uint64_t dice = roll(c, 1000);
    if (dice < 300)
        send_append(c);
    else if (dice < 440)
        send_key(c, roll(c, 4) != 0);
    else if (dice < 540)
        send_stream(c);
    else if (dice < 640)
        send_batch(c);
    else if (dice < 690)
        send_forget(c);
    else if (dice < 770)
        send_count(c);
    else if (dice < 830)
        send_state(c);
    else if (dice < 930)
        send_read(c);
    else if (dice < 980)
        cancel_one(c);
    else if (dice < 990)
        close_watch(c);
    else if (dice < 994)
        c->depth = dice < 991 ? 1 : dice < 992 ? 8 : dice < 993 ? 40 : WORK_MAX - 1;
    else if (dice < 996)
        close_bridge(c);
}

static void more(struct client *c)
{
    if (c->closing || c->ending || !c->joined || c->alone) return;
    if (c->count < c->depth && c->w->next < OP_MAX) one(c);
}

static void on_tick(uv_timer_t *timer)
{
    struct client *c = timer->data;
    int64_t now = now_ns();
    for (uint32_t i = 0; i < WORK_MAX; i++) {
        struct work *work = &c->works[i];
        if (!work->busy || now - work->since_ns < ANSWER_SECONDS * INT64_C(1000000000)) continue;
        wrong("operation %u (tag %08x) has had no answer for %d seconds", work->kind, work->tag, ANSWER_SECONDS);
        work->since_ns = now;
    }
}

void run_on_a_loop(struct writer *w)
{
    enum { TICK_MS = 20, TURNS = 4 };
    struct client *c = calloc(1, sizeof *c);
    c->w = w;
    c->depth = 1 + (uint32_t)below(&w->random, 40);
    if (uv_loop_init(&c->loop) || uv_timer_init(&c->loop, &c->tick)) abort();
    c->tick.data = c;
    uv_timer_start(&c->tick, on_tick, TICK_MS, TICK_MS);
    while (!time_to_stop(w)) {
        if (!c->joined) join(c);
        for (uint32_t i = 0; i < c->depth * TURNS && c->count < c->depth; i++) more(c);
        if (!c->closing && roll(c, 20) == 0) open_watches(c);
        if (opt.fork && roll(c, 200) == 0) fork_away(w);
        uv_run(&c->loop, UV_RUN_ONCE);
        if (c->closing) part(c);
    }
    c->ending = true;
    if (!c->joined) join(c);
    close_bridge(c);
    for (part(c); c->count; part(c)) { /* what was not settled yet */
        join(c);
        while (c->count) uv_run(&c->loop, UV_RUN_ONCE);
        close_bridge(c);
    }
    uv_close((uv_handle_t *)&c->tick, NULL);
    uv_run(&c->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&c->loop)) wrong("something is left on the loop");
    for (uint32_t i = 0; i < WORK_MAX; i++) {
        roost_batch_free(c->works[i].batch);
        free(c->works[i].text);
    }
    free(c);
}
