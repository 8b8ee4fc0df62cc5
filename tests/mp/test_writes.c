/* SPDX-License-Identifier: MIT
 * mp/test_writes.c: several processes write, and each sees what the others did. */
#include "mp/mp.h"

/* ---- eight write at once ---- */

enum { EIGHT = 8, EACH = 1000 };
static roost_id (*eight_ids)[EACH];
static struct mp_pipe eight_go;

static int append_thousand(void *argument)
{
    int own = (int)(intptr_t)argument;
    roost_root *root = mp_open();
    char text[64];
    mp_await(eight_go, 'g');
    for (int i = 0; i < EACH; i++) {
        snprintf(text, sizeof text, "w%dx%dq from writer %d", own, i, own);
        eight_ids[own][i] = mp_append(root, text);
    }
    mp_close(root);
    return 0;
}

static int see_eight(void *argument)
{
    (void)argument;
    static uint8_t seen[EIGHT][EACH];
    roost_root *root = mp_open();
    roost_iter *iter;
    struct roost_memory memory = ROOST_MEMORY_INIT;
    CHECK(mp_stats(root).memory_count == EIGHT * EACH);
    GIVES(0, roost_scan(root, 0, 0, &iter));
    int more;
    while ((more = roost_iter_memory(iter, &memory)) == 1) {
        int writer, number;
        CHECK(sscanf(memory.text.data, "w%dx%dq", &writer, &number) == 2 && writer < EIGHT && number < EACH);
        CHECK(seen[writer][number]++ == 0);
        CHECK(eight_ids[writer][number] == memory.id);
    }
    CHECK(more == 0);
    roost_iter_close(iter);
    for (int w = 0; w < EIGHT; w++)
        for (int i = 0; i < EACH; i++) CHECK(seen[w][i] == 1);
    CHECK(mp_find(root, "w7x999q", NULL) == 1);
    mp_close(root);
    return 0;
}

static void eight_append_thousand_each(void)
{
    pid_t pids[EIGHT];
    eight_ids = mmap(NULL, sizeof(roost_id) * EIGHT * EACH, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    eight_go = mp_pipe();
    for (int i = 0; i < EIGHT; i++) pids[i] = mp_start(append_thousand, (void *)(intptr_t)i);
    for (int i = 0; i < EIGHT; i++) mp_tell(eight_go, 'g');
    for (int i = 0; i < EIGHT; i++) mp_finish(pids[i]);
    for (int i = 0; i < EIGHT; i++) {
        for (int k = 1; k < EACH; k++) CHECK(eight_ids[i][k] > eight_ids[i][k - 1]);
        pids[i] = mp_start(see_eight, NULL);
    }
    for (int i = 0; i < EIGHT; i++) mp_finish(pids[i]);
    mp_check_root();
}

/* ---- found by the first search after the append returned ---- */

enum { ROUNDS = 1000 };
static struct mp_pipe written, looked;

static int append_and_tell(void *argument)
{
    (void)argument;
    roost_root *root = mp_open();
    char text[64];
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(text, sizeof text, "the word z%dz stands here", i);
        roost_id id = mp_append(root, text);
        mp_give(written, &id, sizeof id);
        mp_await(looked, 'l');
    }
    mp_close(root);
    return 0;
}

static int look_at_once(void *argument)
{
    (void)argument;
    roost_root *root = mp_open();
    for (int i = 0; i < ROUNDS; i++) {
        roost_id id, first = 0;
        char word[32];
        struct roost_memory memory = ROOST_MEMORY_INIT;
        mp_take(written, &id, sizeof id);
        snprintf(word, sizeof word, "z%dz", i);
        CHECK(mp_find(root, word, &first) == 1 && first == id);
        GIVES(0, roost_get(root, id, &memory));
        roost_unpin(root, &memory.pin);
        mp_tell(looked, 'l');
    }
    mp_close(root);
    return 0;
}

static void first_search_after_an_append_finds_it(void)
{
    written = mp_pipe();
    looked = mp_pipe();
    pid_t a = mp_start(append_and_tell, NULL), b = mp_start(look_at_once, NULL);
    mp_finish(a);
    mp_finish(b);
}

/* ---- more handles than slots ---- */

enum { CROWD = 300 };
static struct mp_pipe crowd_in, crowd_go;

static int one_of_many(void *argument)
{
    int own = (int)(intptr_t)argument;
    roost_root *root = mp_open();
    char text[64];
    mp_tell(crowd_in, 'i');
    mp_await(crowd_go, 'g');
    for (int i = 0; i < 5; i++) {
        snprintf(text, sizeof text, "c%dx%dq", own, i);
        roost_id id = mp_append(root, text);
        CHECK(mp_find(root, text, NULL) == 1 && id);
    }
    if (own % 50 == 0) {
        /* A large payload: the extent and what names it must come from the same client, also with a borrowed slot. */
        size_t size = 100000;
        char *large = malloc(size + 1);
        memset(large, 'l', size);
        large[size] = '\0';
        snprintf(text, sizeof text, "large/%d", own);
        GIVES(0, roost_kv_set(root, roost_text(text), roost_text(large), NULL, NULL));
        free(large);
    }
    mp_close(root);
    return 0;
}

static void three_hundred_participants_at_once(void)
{
    static pid_t pids[CROWD];
    crowd_in = mp_pipe();
    crowd_go = mp_pipe();
    for (int i = 0; i < CROWD; i++) pids[i] = mp_start(one_of_many, (void *)(intptr_t)i);
    for (int i = 0; i < CROWD; i++) mp_await(crowd_in, 'i');
    for (int i = 0; i < CROWD; i++) mp_tell(crowd_go, 'g');
    for (int i = 0; i < CROWD; i++) mp_finish(pids[i]);
    roost_root *root = mp_open();
    CHECK(mp_stats(root).memory_count == CROWD * 5);
    mp_close(root);
    mp_check_root();
}

/* ---- submit, poll, cancel ---- */

static struct mp_pipe held, let_go;

static int hold_role(void *argument)
{
    (void)argument;
    roost_root *root = mp_open_with(ROOST_OPEN_HOLD, 0, 0);
    mp_append(root, "the holder");
    CHECK(mp_stats(root).own_role);
    mp_tell(held, 'h');
    mp_await(let_go, 'e');
    mp_close(root);
    return 0;
}

static void fill(roost_batch *batch, int number)
{
    char text[64];
    struct roost_memory memory = ROOST_MEMORY_INIT;
    snprintf(text, sizeof text, "async a%da", number);
    memory.text = roost_text(text);
    roost_batch_clear(batch);
    GIVES(0, roost_batch_append(batch, &memory));
}

static void submissions_in_flight_are_answered_in_order(void)
{
    held = mp_pipe();
    let_go = mp_pipe();
    pid_t holder = mp_start(hold_role, NULL);
    mp_await(held, 'h');
    mp_stop(holder);
    roost_root *root = mp_open();
    roost_batch *batch;
    GIVES(0, roost_batch_open(&batch));
    struct roost_receipt receipts[ROOST_SUBMIT_COUNT_MAX], more;
    for (uint32_t i = 0; i < ROOST_SUBMIT_COUNT_MAX; i++) {
        fill(batch, (int)i);
        GIVES(0, roost_submit(root, batch, NULL, &receipts[i], &receipts[i]));
    }
    GIVES(ROOST_EAGAIN, roost_submit(root, batch, NULL, NULL, &more));
    for (int times = 0; times < 2; times++) GIVES(0, roost_cancel(root, &receipts[77])); /* stays cancelled */
    static struct roost_completion landed[ROOST_SUBMIT_COUNT_MAX];
    for (uint32_t i = 0; i < ROOST_SUBMIT_COUNT_MAX; i++) landed[i] = (struct roost_completion)ROOST_COMPLETION_INIT;
    GIVES(0, roost_poll(root, landed, 1, 0));
    kill(holder, SIGCONT);
    for (uint32_t got = 0; got < ROOST_SUBMIT_COUNT_MAX;) {
        int n = roost_poll(root, landed, 16, MP_PATIENCE_MS);
        CHECK(n > 0);
        for (int k = 0; k < n; k++, got++) {
            CHECK(landed[k].user == &receipts[got]);
            CHECK(landed[k].result == (got == 77 ? ROOST_ECANCELED : 0));
            CHECK(landed[k].receipt.sequence == receipts[got].sequence);
            if (got == 0) GIVES(ROOST_EBUSY, roost_cancel(root, &receipts[0]));
        }
    }
    GIVES(0, roost_poll(root, landed, 16, 1000)); /* nothing is in flight: at once */
    CHECK(mp_find(root, "a77a", NULL) == 0 && mp_find(root, "a119a", NULL) == 1);
    CHECK(mp_stats(root).memory_count == ROOST_SUBMIT_COUNT_MAX);
    /* And when this process is alone and does nothing else. */
    mp_tell(let_go, 'e');
    mp_finish(holder);
    for (int i = 0; i < 20; i++) {
        fill(batch, 1000 + i);
        GIVES(0, roost_submit(root, batch, NULL, NULL, NULL));
    }
    int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
    while (mp_stats(root).memory_count < ROOST_SUBMIT_COUNT_MAX + 20 && mp_now_ns() < deadline) poll(NULL, 0, 1);
    CHECK(mp_stats(root).memory_count == ROOST_SUBMIT_COUNT_MAX + 20);
    roost_batch_free(batch);
    mp_close(root);
    mp_check_root();
}

/* Close with submissions that nobody polled: they are applied, once. */
static int submit_and_close(void *argument)
{
    if (argument) mp_await(held, 's');
    roost_root *root = mp_open();
    roost_batch *batch;
    GIVES(0, roost_batch_open(&batch));
    for (int i = 0; i < 50; i++) {
        fill(batch, i);
        GIVES(0, roost_submit(root, batch, NULL, NULL, NULL));
    }
    roost_batch_free(batch);
    mp_close(root);
    return 0;
}

static void close_finishes_what_was_submitted(void)
{
    held = mp_pipe();
    mp_finish(mp_start(submit_and_close, NULL));
    pid_t second = mp_start(submit_and_close, "when told");
    roost_root *root = mp_open();
    CHECK(mp_stats(root).memory_count == 50);
    mp_tell(held, 's');
    mp_finish(second);
    int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
    mp_append(root, "whoever writes next finishes them");
    while (mp_stats(root).memory_count < 101 && mp_now_ns() < deadline) poll(NULL, 0, 1);
    CHECK(mp_stats(root).memory_count == 101);
    mp_close(root);
    mp_check_root();
}

/* ---- settling for the dead ---- */

static struct mp_pipe receipt_pipe;

static int write_and_time_out(void *argument)
{
    (void)argument;
    roost_root *root = mp_open();
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_write write = ROOST_WRITE_INIT;
    struct roost_receipt receipt;
    memory.text = roost_text("said while the holder was stopped");
    write.wait_ms = 50;
    GIVES(ROOST_ETIMEDOUT, roost_append(root, &memory, &write, NULL, &receipt));
    CHECK(strstr(roost_error_detail(), "process "));
    mp_give(receipt_pipe, &receipt, sizeof receipt);
    mp_await(let_go, 'w');
    return 1;
}

static void another_process_settles_for_a_dead_author(void)
{
    held = mp_pipe();
    let_go = mp_pipe();
    receipt_pipe = mp_pipe();
    pid_t holder = mp_start(hold_role, NULL);
    mp_await(held, 'h');
    mp_stop(holder);
    pid_t author = mp_start(write_and_time_out, NULL);
    struct roost_receipt receipt;
    mp_take(receipt_pipe, &receipt, sizeof receipt);
    CHECK(receipt.client && receipt.sequence);
    mp_kill(author);
    roost_root *root = mp_open();
    struct roost_receipt asked = receipt;
    GIVES(ROOST_ETIMEDOUT, roost_settle(root, &asked, 50));
    kill(holder, SIGCONT);
    GIVES(0, roost_settle(root, &asked, MP_PATIENCE_MS));
    CHECK(asked.id && asked.lsn);
    CHECK(mp_find(root, "stopped", NULL) == 1);
    /* Asking again, and later, is answered the same. */
    struct roost_receipt again = receipt;
    GIVES(0, roost_settle(root, &again, 1000));
    CHECK(again.id == asked.id && again.lsn == asked.lsn);
    /* The next one of that client was never submitted. */
    again = receipt;
    again.sequence++;
    GIVES(ROOST_ECANCELED, roost_settle(root, &again, 1000));
    /* Of somebody who lives nothing is promised about numbers that he has not come to. */
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_receipt own;
    memory.text = roost_text("the survivor's");
    GIVES(0, roost_append(root, &memory, NULL, NULL, &own));
    roost_root *second = mp_open();
    own.sequence++;
    GIVES(ROOST_EUNKNOWN, roost_settle(second, &own, 1000));
    mp_close(second);
    mp_tell(let_go, 'e');
    mp_finish(holder);
    mp_close(root);
    root = mp_open(); /* from the disk */
    again = receipt;
    GIVES(0, roost_settle(root, &again, 1000));
    CHECK(again.id == asked.id);
    CHECK(mp_stats(root).memory_count == 3);
    mp_close(root);
}

/* ---- streams and keys across processes ---- */

enum { ENTRIES = 500 };

static int feed_stream(void *argument)
{
    (void)argument;
    roost_root *root = mp_open();
    char entry[32];
    for (int i = 0; i < ENTRIES; i++) {
        uint64_t index;
        snprintf(entry, sizeof entry, "entry %d", i);
        GIVES(0, roost_stream_append(root, roost_text("log"), roost_text(entry), NULL, &index, NULL));
        CHECK(index == (uint64_t)i);
        snprintf(entry, sizeof entry, "a/%d", i);
        if (i % 5 == 0) GIVES(0, roost_kv_set(root, roost_text(entry), roost_text("v"), NULL, NULL));
        if (i % 5 == 1) GIVES(0, roost_kv_set(root, roost_text("b/other"), roost_text("v"), NULL, NULL));
    }
    mp_close(root);
    return 0;
}

static int follow_stream(void *argument)
{
    roost_root *root = mp_open_with((uint32_t)(uintptr_t)argument, 20000, 0);
    const struct roost_topic topic = {ROOST_TOPIC_STREAM, 0, ROOST_TEXT("log")};
    roost_watch *watch;
    roost_iter *iter = NULL;
    GIVES(0, roost_watch_open(root, &topic, 1, &watch));
    mp_tell(held, 'r');
    uint64_t next = 0;
    while (next < ENTRIES) {
        struct roost_event event = ROOST_EVENT_INIT;
        struct roost_item item = ROOST_ITEM_INIT;
        CHECK(roost_watch_wait(watch, MP_PATIENCE_MS, &event) == 1);
        if (!iter) GIVES(0, roost_stream_scan(root, roost_text("log"), 0, &iter));
        int more;
        while ((more = roost_iter_item(iter, &item)) == 1) {
            char entry[32];
            snprintf(entry, sizeof entry, "entry %d", (int)next);
            CHECK(item.index == next && item.value.size == strlen(entry) && !memcmp(item.value.data, entry, item.value.size));
            next++;
        }
        CHECK(more == 0);
    }
    roost_iter_close(iter);
    roost_watch_close(watch);
    mp_close(root);
    return 0;
}

static int watch_prefix(void *argument)
{
    roost_root *root = mp_open_with((uint32_t)(uintptr_t)argument, 20000, 0);
    const struct roost_topic topic = {ROOST_TOPIC_KEYS, 0, ROOST_TEXT("a/")};
    roost_watch *watch;
    GIVES(0, roost_watch_open(root, &topic, 1, &watch));
    mp_tell(held, 'r');
    for (int i = 0; i < ENTRIES; i += 5) {
        struct roost_event event = ROOST_EVENT_INIT;
        char name[32];
        CHECK(roost_watch_wait(watch, MP_PATIENCE_MS, &event) == 1);
        snprintf(name, sizeof name, "a/%d", i);
        CHECK(event.kind == ROOST_CHANGE_KEY_SET && event.name.size == strlen(name) &&
              !memcmp(event.name.data, name, event.name.size));
    }
    roost_watch_close(watch);
    mp_close(root);
    return 0;
}

static void followers_see_every_entry_and_key(void)
{
    held = mp_pipe();
    pid_t pids[4];
    pids[0] = mp_start(follow_stream, (void *)(uintptr_t)0);
    pids[1] = mp_start(follow_stream, (void *)(uintptr_t)ROOST_OPEN_OBSERVE);
    pids[2] = mp_start(watch_prefix, (void *)(uintptr_t)0);
    pids[3] = mp_start(watch_prefix, (void *)(uintptr_t)ROOST_OPEN_OBSERVE);
    for (int i = 0; i < 4; i++) mp_await(held, 'r');
    mp_finish(mp_start(feed_stream, NULL));
    for (int i = 0; i < 4; i++) mp_finish(pids[i]);
}

/* ---- opening and closing while others write ---- */

static int write_until_told(void *argument)
{
    (void)argument;
    roost_root *root = mp_open();
    uint32_t count = 0;
    for (; !mp_ready(let_go, 0); count++) mp_append(root, "somebody writes all the time");
    mp_close(root);
    mp_give(receipt_pipe, &count, sizeof count);
    return 0;
}

static int come_and_go(void *argument)
{
    (void)argument;
    for (int i = 0; i < 100; i++) {
        roost_root *root = mp_open();
        mp_append(root, "a short visit");
        mp_close(root);
    }
    return 0;
}

static void handles_close_while_others_write(void)
{
    let_go = mp_pipe();
    receipt_pipe = mp_pipe();
    pid_t pids[5];
    for (int i = 0; i < 2; i++) pids[i] = mp_start(write_until_told, NULL);
    for (int i = 2; i < 5; i++) pids[i] = mp_start(come_and_go, NULL);
    for (int i = 2; i < 5; i++) mp_finish(pids[i]);
    mp_tell(let_go, 'e');
    uint64_t total = 300;
    for (int i = 0; i < 2; i++) {
        uint32_t count;
        mp_finish(pids[i]);
        mp_take(receipt_pipe, &count, sizeof count);
        total += count;
    }
    roost_root *root = mp_open();
    CHECK(mp_stats(root).memory_count == total);
    mp_close(root);
    /* Only visitors: the root is made anew again and again. */
    for (int i = 0; i < 5; i++) pids[i] = mp_start(come_and_go, NULL);
    for (int i = 0; i < 5; i++) mp_finish(pids[i]);
    root = mp_open();
    CHECK(mp_stats(root).memory_count == total + 500);
    char region[256];
    CHECK(mp_region_path(region, sizeof region) && access(region, F_OK) == 0);
    mp_close(root);
    CHECK(access(region, F_OK) != 0);
    mp_check_root();
}

int main(int argc, char **argv)
{
    static const struct mp_case cases[] = {
        {"eight_append_thousand_each", eight_append_thousand_each},
        {"first_search_after_an_append_finds_it", first_search_after_an_append_finds_it},
        {"three_hundred_participants_at_once", three_hundred_participants_at_once},
        {"submissions_in_flight_are_answered_in_order", submissions_in_flight_are_answered_in_order},
        {"close_finishes_what_was_submitted", close_finishes_what_was_submitted},
        {"another_process_settles_for_a_dead_author", another_process_settles_for_a_dead_author},
        {"followers_see_every_entry_and_key", followers_see_every_entry_and_key},
        {"handles_close_while_others_write", handles_close_while_others_write},
    };
    return mp_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
