/* SPDX-License-Identifier: MIT
 * mp/test_threads.c: many threads on one handle, which writes for itself and for another process. Also under ThreadSanitizer. */
#include <pthread.h>

#include "mp/mp.h"

enum { THREADS = 8, WRITES = 150 };
static roost_root *shared_root;
static roost_id thread_ids[THREADS][WRITES];

static void publish_and_read(const char *name, uint64_t count)
{
    struct roost_state state = ROOST_STATE_INIT;
    state.name = roost_text(name);
    state.active_memory_count = count;
    GIVES(0, roost_state_publish(shared_root, &state, NULL));
    GIVES(0, roost_state_get(shared_root, roost_text(name), &state));
    CHECK(state.active_memory_count == count);
    roost_unpin(shared_root, &state.pin);
}

static void *work(void *argument)
{
    int own = (int)(intptr_t)argument;
    roost_batch *batch;
    char text[64], name[32];
    GIVES(0, roost_batch_open(&batch));
    snprintf(name, sizeof name, "thread%d", own);
    for (int i = 0; i < WRITES; i++) {
        struct roost_memory memory = ROOST_MEMORY_INIT, got = ROOST_MEMORY_INIT;
        snprintf(text, sizeof text, "h%dx%dq", own, i);
        thread_ids[own][i] = mp_append(shared_root, text);
        GIVES(0, roost_get(shared_root, thread_ids[own][i], &got));
        CHECK(got.text.size == strlen(text) && !memcmp(got.text.data, text, got.text.size));
        roost_unpin(shared_root, &got.pin);
        if (i % 10 == 0) {
            roost_id first;
            CHECK(mp_find(shared_root, text, &first) == 1 && first == thread_ids[own][i]);
            publish_and_read(name, (uint64_t)i);
        }
        if (i % 25 == 0) {
            struct roost_write write = ROOST_WRITE_INIT;
            write.level = ROOST_PROCESS;
            memory.text = roost_text("of a batch");
            roost_batch_clear(batch);
            GIVES(0, roost_batch_append(batch, &memory));
            GIVES(0, roost_batch_kv_set(batch, roost_text(name), roost_text(text), NULL));
            GIVES(0, roost_batch_commit(shared_root, batch, &write, NULL, NULL));
            struct roost_stats stats = ROOST_STATS_INIT;
            GIVES(0, roost_stats(shared_root, &stats));
            GIVES(0, roost_rest(shared_root));
        }
        if (i == WRITES / 2 && own == 0) GIVES(0, roost_checkpoint(shared_root));
    }
    roost_batch_free(batch);
    return NULL;
}

static struct mp_pipe go;
static int write_beside(void *argument)
{
    (void)argument;
    roost_root *root = mp_open();
    for (int i = 0; i < 200; i++) mp_append(root, "from the other process");
    mp_await(go, 'e');
    mp_close(root);
    return 0;
}

static void eight_threads_share_a_handle(void)
{
    pthread_t threads[THREADS];
    go = mp_pipe();
    pid_t other = mp_start(write_beside, NULL);
    shared_root = mp_open();
    for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i) == 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    mp_tell(go, 'e');
    mp_finish(other);
    for (int i = 0; i < THREADS; i++)
        for (int k = 1; k < WRITES; k++) CHECK(thread_ids[i][k] > thread_ids[i][k - 1]);
    CHECK(mp_stats(shared_root).memory_count == THREADS * (WRITES + WRITES / 25) + 200);
    mp_close(shared_root);
    mp_check_root();
}

/* ---- the region goes while several threads are inside the handle ---- */

static bool enough;

static void *write_and_read(void *argument)
{
    char text[64], name[32];
    snprintf(name, sizeof name, "thread%d", (int)(intptr_t)argument);
    for (int i = 0; !__atomic_load_n(&enough, __ATOMIC_ACQUIRE); i++) {
        struct roost_memory got = ROOST_MEMORY_INIT;
        snprintf(text, sizeof text, "r%dx%dq", (int)(intptr_t)argument, i);
        roost_id id = mp_append(shared_root, text), found = 0;
        GIVES(0, roost_get(shared_root, id, &got));
        CHECK(got.text.size == strlen(text) && !memcmp(got.text.data, text, got.text.size));
        roost_unpin(shared_root, &got.pin);
        CHECK(mp_find(shared_root, text, &found) == 1 && found == id);
        GIVES(0, roost_kv_set(shared_root, roost_text(name), roost_text(text), NULL, NULL));
        if (i % 8 == 0) publish_and_read(name, (uint64_t)i);
    }
    return NULL;
}

static void threads_outlive_their_region(void)
{
    pthread_t threads[4];
    shared_root = mp_open();
    enough = false;
    for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, write_and_read, (void *)(intptr_t)i) == 0);
    for (int round = 0; round < 6; round++) {
        char region[256];
        uint64_t count = mp_stats(shared_root).memory_count;
        int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
        while (mp_stats(shared_root).memory_count < count + 40 && mp_now_ns() < deadline) poll(NULL, 0, 1);
        CHECK(mp_stats(shared_root).memory_count >= count + 40);
        CHECK(mp_region_path(region, sizeof region));
        CHECK(unlink(region) == 0);
        while ((!mp_region_path(region, sizeof region) || access(region, F_OK) != 0) && mp_now_ns() < deadline) poll(NULL, 0, 1);
    }
    __atomic_store_n(&enough, true, __ATOMIC_RELEASE);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    mp_close(shared_root);
    mp_check_root();
}

/* ---- a handle that borrows its slot, used by several threads ---- */

enum { HANDLES = 241 };

static void *write_borrowed(void *argument)
{
    (void)argument;
    char *large = malloc(80001);
    memset(large, 'l', 80000);
    large[80000] = '\0';
    for (int i = 0; i < 60; i++) {
        mp_append(shared_root, "by a borrowed slot");
        if (i % 20 == 0) GIVES(0, roost_kv_set(shared_root, roost_text("large"), roost_text(large), NULL, NULL));
    }
    free(large);
    return NULL;
}

static void threads_share_a_borrowed_slot(void)
{
    static roost_root *roots[HANDLES];
    pthread_t threads[4];
    for (int i = 0; i < HANDLES; i++) roots[i] = mp_open();
    shared_root = roots[HANDLES - 1];
    CHECK(mp_stats(shared_root).participant_count == HANDLES - 1);
    for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, write_borrowed, NULL) == 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    CHECK(mp_stats(roots[0]).memory_count == 240);
    struct roost_state state = ROOST_STATE_INIT;
    state.name = roost_text("borrower");
    GIVES(ROOST_EAGAIN, roost_state_publish(shared_root, &state, NULL)); /* owning needs a slot of one's own */
    for (int i = 0; i < HANDLES; i++) mp_close(roots[i]);
    mp_check_root();
}

int main(int argc, char **argv)
{
    static const struct mp_case cases[] = {
        {"eight_threads_share_a_handle", eight_threads_share_a_handle},
        {"threads_outlive_their_region", threads_outlive_their_region},
        {"threads_share_a_borrowed_slot", threads_share_a_borrowed_slot},
    };
    return mp_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
