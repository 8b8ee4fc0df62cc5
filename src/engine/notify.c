/* SPDX-License-Identifier: MIT
 * engine/notify.c: futexes into descriptors, for event loops (layer 7).
 *
 * The thread and whoever looks agree without a lock: he arms, then looks once more; a change is stored, then wakes the thread, which looks
 * whether it is armed (seq_cst all). One of the two sees the other. A descriptor that nobody empties costs nothing: after one change
 * that nobody wanted to know of, its words are left out until it is armed again. */
#include "engine/notify.h"

#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/error.h"
#include "os/os.h"

enum {
    WORD_COUNT = 4,         /* of one descriptor at most */
    WAIT_COUNT_MAX = 128,   /* what futex_waitv takes */
    CROWDED_MS = 10,        /* with more words than that, how long a change of the others may go unseen */
    LOOK_MS = 1000,         /* a region that was lost wakes nobody */
    LOOK_STATES_MS = 250,   /* nor does the death of a state's owner */
    LOOK_OBSERVER_MS = 100, /* nor that everybody left */
};

struct rst_notify {
    struct rst_notify *next;
    struct rst_engine *engine;
    uint32_t on; /* enum rst_notify_on */
    int file;
    uint32_t armed, listening;
    /* The thread's own: */
    const struct rst_region *region; /* whose words were seen */
    uint32_t seen[WORD_COUNT];
    int64_t due_ns; /* when it is looked at though nothing changed */
};

static struct {
    pthread_mutex_t life; /* the thread's beginning and end; before `lock` */
    pthread_mutex_t lock; /* the list; held by the thread but while it sleeps */
    struct rst_notify *list;
    pthread_t thread;
    bool running;
    uint32_t version;  /* of the list */
    uint32_t attended; /* futex: the version that the thread's next, or present, sleep knows */
    uint32_t word;     /* futex: the list changed, a descriptor wants to be listened for */
    uint32_t stop;
} notifier = {.life = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER};

static void ring(void)
{
    rst_add_u32(&notifier.word, 1);
    rst_wake_all(&notifier.word);
}

/* ---- the thread ---- */

/* The words of one descriptor. Returns how many there are. */
static size_t words_of(const struct rst_notify *notify, const struct rst_region *region, const uint32_t *ret_words[WORD_COUNT])
{
    struct rst_region_header *header = region->header;
    int slot = rst_engine_slot(notify->engine);
    size_t count = 0;
    if (notify->on & RST_NOTIFY_COMMITS) ret_words[count++] = &header->commit.word;
    if (notify->on & RST_NOTIFY_STATES) ret_words[count++] = &header->state.word;
    if (notify->on & RST_NOTIFY_GENERATION) ret_words[count++] = &header->generation.word;
    if (notify->on & RST_NOTIFY_COMPLETIONS && slot >= 0)
        ret_words[count++] = &rst_lane_of(region, (uint32_t)slot)->completed.word;
    return count;
}

struct waits {
    struct rst_futex_wait list[WAIT_COUNT_MAX];
    size_t count;
    bool crowded;
    int64_t until_ns;
};

static void add_wait(struct waits *waits, const uint32_t *word, uint32_t expected)
{
    /* Where two descriptors saw the same word one after the other the older value stays: a change in between ends the wait. */
    for (size_t i = 0; i < waits->count; i++)
        if (waits->list[i].word == word) return;
    if (waits->count == WAIT_COUNT_MAX)
        waits->crowded = true;
    else
        waits->list[waits->count++] = (struct rst_futex_wait){word, expected};
}

static int64_t period_ns(const struct rst_notify *notify)
{
    int64_t ms = notify->engine->observer ? LOOK_OBSERVER_MS : notify->on & RST_NOTIFY_STATES ? LOOK_STATES_MS : LOOK_MS;
    return ms * 1000000;
}

/* What changed since it was looked at last? Adds what to wait for. */
static void attend(struct rst_notify *notify, int64_t now, struct waits *waits)
{
    bool due = now >= notify->due_ns;
    if (due) notify->due_ns = now + period_ns(notify);
    if (due && notify->engine->observer) rst_engine_glance(notify->engine);
    const struct rst_region *region = rst_engine_region(notify->engine);
    const uint32_t *words[WORD_COUNT];
    size_t count = words_of(notify, region, words);
    bool changed = region != notify->region;
    if (changed) memset(notify->seen, 0, sizeof notify->seen);
    notify->region = region;
    for (size_t i = 0; i < count; i++) {
        uint32_t value = rst_load_seq_u32(words[i]);
        changed |= value != notify->seen[i];
        notify->seen[i] = value;
    }
    if (rst_load_seq_u32(&notify->armed)) {
        if (changed || (due && notify->on & RST_NOTIFY_STATES)) rst_notify_signal(notify);
    } else if (changed) {
        rst_store_seq_u32(&notify->listening, 0);
        if (rst_load_seq_u32(&notify->armed)) {
            rst_store_seq_u32(&notify->listening, 1);
            rst_notify_signal(notify);
        }
    }
    if (!rst_load_seq_u32(&notify->listening)) return;
    for (size_t i = 0; i < count; i++) add_wait(waits, words[i], notify->seen[i]);
    if (waits->until_ns > notify->due_ns) waits->until_ns = notify->due_ns;
}

static void *notifier_main(void *argument)
{
    (void)argument;
    while (!rst_load_u32(&notifier.stop)) {
        int64_t now = rst_os->monotonic_time();
        struct waits waits = {.until_ns = now + INT64_C(1000000) * LOOK_MS};
        add_wait(&waits, &notifier.word, rst_load_seq_u32(&notifier.word));
        pthread_mutex_lock(&notifier.lock);
        for (struct rst_notify *notify = notifier.list; notify; notify = notify->next) attend(notify, now, &waits);
        bool news = notifier.attended != notifier.version;
        rst_store_u32(&notifier.attended, notifier.version);
        pthread_mutex_unlock(&notifier.lock);
        if (news) rst_wake_all(&notifier.attended);
        int64_t rest = waits.crowded ? CROWDED_MS * INT64_C(1000000) : waits.until_ns - now;
        rst_os->futex_wait_any(waits.list, waits.count, rest > 0 ? rest : 0);
    }
    return NULL;
}

/* Under `life`. */
static int start(void)
{
    if (notifier.running) return 0;
    rst_store_u32(&notifier.stop, 0);
    int err = rst_thread_start(&notifier.thread, notifier_main, NULL);
    notifier.running = !err;
    return err ? rst_fail(err, "a thread cannot be started: %s", strerror(-err)) : 0;
}

/* ---- descriptors ---- */

int rst_notify_open(struct rst_engine *engine, uint32_t on, struct rst_notify **ret_notify)
{
    struct rst_notify *notify = calloc(1, sizeof *notify);
    if (!notify) return rst_fail(ROOST_ENOMEM, "no memory for a descriptor");
    *notify = (struct rst_notify){.engine = engine, .on = on, .armed = 1, .listening = 1, .file = rst_os->event_open()};
    if (notify->file < 0) {
        int err = notify->file;
        free(notify);
        return rst_fail(err, "making an eventfd: %s", strerror(-err));
    }
    pthread_mutex_lock(&notifier.life);
    pthread_mutex_lock(&notifier.lock);
    notify->next = notifier.list;
    notifier.list = notify;
    notifier.version++;
    pthread_mutex_unlock(&notifier.lock);
    int err = start();
    pthread_mutex_unlock(&notifier.life);
    /* Finds out when the region is lost, and attaches anew: whoever is on a loop must not wait for that. */
    if (!err && !engine->observer) err = rst_service_start(engine);
    if (err) {
        rst_notify_close(notify);
        return err;
    }
    rst_notify_signal(notify); /* to begin with: look */
    ring();
    *ret_notify = notify;
    return 0;
}

/* Under `life`. Until this returns the thread may be asleep on words that are about to be unmapped. */
static void leave_thread(bool last)
{
    if (!notifier.running) return;
    if (last) rst_store_u32(&notifier.stop, 1);
    ring();
    if (last) {
        pthread_join(notifier.thread, NULL);
        notifier.running = false;
        return;
    }
    for (uint32_t attended; (attended = rst_load_u32(&notifier.attended)) != notifier.version;)
        rst_wait_word(&notifier.attended, attended, -1);
}

void rst_notify_close(struct rst_notify *notify)
{
    if (!notify) return;
    pthread_mutex_lock(&notifier.life);
    pthread_mutex_lock(&notifier.lock);
    for (struct rst_notify **at = &notifier.list; *at; at = &(*at)->next) {
        if (*at != notify) continue;
        *at = notify->next;
        notifier.version++;
        break;
    }
    bool last = !notifier.list;
    pthread_mutex_unlock(&notifier.lock);
    leave_thread(last);
    pthread_mutex_unlock(&notifier.life);
    rst_os->close(notify->file);
    free(notify);
}

int rst_notify_file(const struct rst_notify *notify) { return notify->file; }

void rst_notify_arm(struct rst_notify *notify)
{
    rst_os->event_clear(notify->file);
    rst_store_seq_u32(&notify->armed, 1);
    if (rst_load_seq_u32(&notify->listening)) return;
    rst_store_seq_u32(&notify->listening, 1);
    ring();
}

void rst_notify_signal(struct rst_notify *notify)
{
    /* One write for each time that it was armed: whoever empties the descriptor has armed it before, or will. */
    if (rst_cas_u32(&notify->armed, 1, 0)) rst_os->event_signal(notify->file);
}

/* ---- fork ---- */

void rst_notify_before_fork(void)
{
    pthread_mutex_lock(&notifier.life);
    pthread_mutex_lock(&notifier.lock);
}

void rst_notify_after_fork(bool child)
{
    if (child) {
        notifier.list = NULL; /* of handles that are no longer usable; each is closed by its owner */
        notifier.running = false;
    }
    pthread_mutex_unlock(&notifier.lock);
    pthread_mutex_unlock(&notifier.life);
}
