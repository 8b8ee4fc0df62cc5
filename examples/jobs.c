/* SPDX-License-Identifier: MIT
 * jobs.c: jobs that any number of processes share out among themselves, and that are done although some of these die.
 *
 *     jobs ROOT add TEXT...              puts jobs in; makes ROOT if there is none
 *     jobs ROOT run [WORK_MS [LEASE_MS]] does jobs until all are done: start as many as you like, kill any. A job takes WORK_MS (default
 *                                        100); a lease holds for LEASE_MS (default 2000) after its last renewal
 *     jobs ROOT list                     prints each job's result
 *
 *     stream jobs       entry N is job N
 *     key jobs/claim/N  somebody is at it. The key expires: it is a lease
 *     key jobs/done/N   its result
 *
 * Who wants a job sets its claim on condition that there is none (compare-and-set with version 0), so only one of many gets it. While it
 * works it renews the claim, on condition that the version is still the one it set. At the end the result and the release of the claim
 * are one batch, on the same condition: either this process held the lease all the time, and both happen, or it did not (it was stopped
 * for too long, say), nothing happens, and the job is somebody else's. So each job has exactly one result. Its work may be begun twice:
 * what it does to the world outside of the root has to bear that.
 *
 * `run` prints "claimed N", and "done N" when the result is stored, or "lost N". */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <roost/uv.h>

enum { KEY_SIZE = 64, NAME_SIZE = 64 };

static const char jobs_stream[] = "jobs", claim_prefix[] = "jobs/claim/", done_prefix[] = "jobs/done/";

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "jobs: %s: %s\n", what, detail);
    exit(1);
}
static void must(int err, const char *what)
{
    if (err < 0) die(what, roost_error_detail());
}

static void key_of(char key[KEY_SIZE], const char *prefix, uint64_t job) { snprintf(key, KEY_SIZE, "%s%" PRIu64, prefix, job); }

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now); /* leases end by this clock, in every process */
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- the runner ---- */

static struct {
    uv_loop_t loop;
    roost_uv bridge;
    roost_uv_watch watch;
    uv_timer_t look_timer, renew_timer, work_timer;
    char name[NAME_SIZE];
    uint64_t work_ms, lease_ms;
    uint64_t done_count;
    /* looking for a job; this part belongs to libuv's pool while `looking` */
    roost_uv_req look_req;
    bool looking, look_again;
    uint64_t first_open; /* all jobs before this one are done */
    bool found, all_done;
    uint64_t found_job;
    int64_t retry_ns; /* when the first of the leases that others hold ends; 0: there is none */
    /* the job at hand */
    bool at_work, worked, renewing;
    uint64_t job;
    roost_lsn version; /* of our claim */
    roost_uv_req job_req;
    roost_batch *batch;
    char claim_key[KEY_SIZE], done_key[KEY_SIZE], result[NAME_SIZE + 64];
} runner;

static void look(void);
static void finish(void);

static void stop(void)
{
    roost_uv_close(&runner.bridge, NULL);
    uv_close((uv_handle_t *)&runner.look_timer, NULL);
    uv_close((uv_handle_t *)&runner.renew_timer, NULL);
    uv_close((uv_handle_t *)&runner.work_timer, NULL);
}

/* The job at hand is ours no more, or finished. */
static void let_go(void)
{
    runner.at_work = false;
    uv_timer_stop(&runner.renew_timer);
    uv_timer_stop(&runner.work_timer);
    look();
}

/* What became of a conditional write on our claim: true if it was done. */
static bool held(const roost_uv_req *req, int status)
{
    if (status == 0) return true;
    /* Somebody else has the claim, or it expired. Or it is not known in time whether we have it: then it is as good as lost. If we have it
     * after all, it expires; if the job was done after all, its result tells. */
    if (status == ROOST_EMISMATCH || status == ROOST_ENOENT || status == ROOST_ETIMEDOUT) return false;
    die("the claim", req->detail);
    return false;
}

static struct roost_write on_condition(roost_lsn version)
{
    struct roost_write write = ROOST_WRITE_INIT;
    write.flags = ROOST_WRITE_IF_VERSION;
    write.expected = version;
    return write;
}

static void set_claim(roost_lsn version, roost_uv_cb cb)
{
    struct roost_write write = on_condition(version);
    write.expires_ns = now_ns() + (int64_t)runner.lease_ms * 1000000;
    /* Faster, and enough: that it is found after a loss of power nobody needs. A process's death it survives. */
    write.level = ROOST_PROCESS;
    must(roost_uv_kv_set(&runner.bridge, &runner.job_req, roost_text(runner.claim_key), roost_text(runner.name), &write, cb),
         "the claim");
}

static void on_renewed(roost_uv_req *req, int status)
{
    runner.renewing = false;
    if (!held(req, status)) {
        printf("lost %" PRIu64 "\n", runner.job);
        let_go();
        return;
    }
    runner.version = req->receipt.lsn; /* each change of a key is a new version */
    if (runner.worked) finish();
}

static void on_renew_timer(uv_timer_t *timer)
{
    (void)timer;
    if (runner.renewing || runner.worked) return;
    runner.renewing = true;
    set_claim(runner.version, on_renewed);
}

static void on_finished(roost_uv_req *req, int status)
{
    bool done = held(req, status);
    if (done) runner.done_count++;
    printf("%s %" PRIu64 "\n", done ? "done" : "lost", runner.job);
    let_go();
}

/* The result and the release, together or not at all. */
static void finish(void)
{
    struct roost_write no_result = on_condition(0), our_claim = on_condition(runner.version);
    snprintf(runner.result, sizeof runner.result, "done by %s", runner.name);
    roost_batch_clear(runner.batch);
    must(roost_batch_kv_set(runner.batch, roost_text(runner.done_key), roost_text(runner.result), &no_result), "the result");
    must(roost_batch_kv_delete(runner.batch, roost_text(runner.claim_key), &our_claim), "the release");
    must(roost_uv_commit(&runner.bridge, &runner.job_req, runner.batch, NULL, on_finished), "the result");
}

static void on_worked(uv_timer_t *timer)
{
    (void)timer;
    runner.worked = true;
    uv_timer_stop(&runner.renew_timer);
    if (!runner.renewing) finish(); /* else when it is known which version the claim has */
}

static void on_done_key(roost_uv_req *req, int status, const struct roost_item *item)
{
    (void)item;
    if (status == ROOST_ENOENT) { /* as it should be: to work. Here a timer stands for it */
        printf("claimed %" PRIu64 "\n", runner.job);
        runner.worked = runner.renewing = false;
        uv_timer_start(&runner.work_timer, on_worked, runner.work_ms, 0);
        uv_timer_start(&runner.renew_timer, on_renew_timer, runner.lease_ms / 3, runner.lease_ms / 3);
        return;
    }
    if (status < 0) die("looking whether it is done", req->detail);
    /* Somebody finished it between our look and our claim. That claim expires by itself: nobody looks at a finished job's. */
    let_go();
}

static void on_claimed(roost_uv_req *req, int status)
{
    if (!held(req, status)) { /* another one was faster */
        let_go();
        return;
    }
    runner.version = req->receipt.lsn;
    must(roost_uv_kv_get(&runner.bridge, req, roost_text(runner.done_key), on_done_key), "looking whether it is done");
}

/* ---- looking for a job ---- */

/* On libuv's pool, where it may block: the first job that is neither done nor claimed. */
static int look_through(roost_root *root, roost_uv_req *req)
{
    struct roost_stream_info info = ROOST_STREAM_INFO_INIT;
    char key[KEY_SIZE];
    bool before_all_done = true;
    (void)req;
    int err = roost_stream_info(root, roost_text(jobs_stream), &info);
    if (err < 0 && err != ROOST_ENOENT) return err;
    runner.found = false;
    runner.retry_ns = 0;
    for (uint64_t job = runner.first_open; job < info.entry_count && !runner.found; job++) {
        struct roost_item item = ROOST_ITEM_INIT;
        key_of(key, done_prefix, job);
        err = roost_kv_get(root, roost_text(key), &item);
        if (!err) {
            roost_unpin(root, &item.pin);
            if (before_all_done) runner.first_open = job + 1;
            continue;
        }
        before_all_done = false;
        if (err != ROOST_ENOENT) return err;
        key_of(key, claim_prefix, job);
        err = roost_kv_get(root, roost_text(key), &item);
        if (!err) {
            if (!runner.retry_ns || item.expires_ns < runner.retry_ns) runner.retry_ns = item.expires_ns;
            roost_unpin(root, &item.pin);
            continue;
        }
        if (err != ROOST_ENOENT) return err;
        runner.found = true;
        runner.found_job = job;
    }
    runner.all_done = runner.first_open == info.entry_count;
    return 0;
}

static void on_look_timer(uv_timer_t *timer)
{
    (void)timer;
    look();
}

static void on_looked(roost_uv_req *req, int status)
{
    runner.looking = false;
    if (status < 0) die("looking for a job", req->detail);
    if (runner.found) {
        runner.at_work = true;
        runner.job = runner.found_job;
        key_of(runner.claim_key, claim_prefix, runner.job);
        key_of(runner.done_key, done_prefix, runner.job);
        set_claim(0, on_claimed);
    } else if (runner.all_done) {
        stop();
    } else if (runner.look_again) {
        look();
    } else if (runner.retry_ns) {
        /* Others are at all that is left. What they finish, the watch tells. That a lease expires is no change, and tells nobody. */
        int64_t rest_ns = runner.retry_ns - now_ns();
        uv_timer_start(&runner.look_timer, on_look_timer, rest_ns > 0 ? (uint64_t)rest_ns / 1000000 + 1 : 1, 0);
    }
}

static void look(void)
{
    if (runner.at_work || roost_uv_is_closing(&runner.bridge)) return;
    runner.look_again = runner.looking;
    if (runner.looking) return;
    runner.looking = true;
    uv_timer_stop(&runner.look_timer);
    must(roost_uv_work(&runner.bridge, &runner.look_req, look_through, on_looked), "looking for a job");
}

static void on_event(roost_uv_watch *watch, int status, const struct roost_event *event)
{
    (void)watch;
    (void)event; /* whatever it is: look() looks at everything */
    if (status < 0) die("watching", roost_error_detail());
    look();
}

static int run(roost_root *root)
{
    /* Claims that are taken or renewed are of no interest, so only results and new jobs are watched. */
    const struct roost_topic topics[] = {{ROOST_TOPIC_STREAM, 0, roost_text(jobs_stream)},
                                         {ROOST_TOPIC_KEYS, 0, roost_text(done_prefix)}};
    snprintf(runner.name, sizeof runner.name, "process %ld", (long)getpid());
    setvbuf(stdout, NULL, _IOLBF, 0); /* each line leaves at once: this process may be killed */
    must(roost_batch_open(&runner.batch), "a batch");
    if (uv_loop_init(&runner.loop)) die("uv_loop_init", "no loop");
    uv_timer_init(&runner.loop, &runner.look_timer);
    uv_timer_init(&runner.loop, &runner.renew_timer);
    uv_timer_init(&runner.loop, &runner.work_timer);
    must(roost_uv_init(&runner.loop, &runner.bridge, root), "joining the loop");
    must(roost_uv_watch_start(&runner.bridge, &runner.watch, topics, 2, on_event), "watching");
    look();
    uv_run(&runner.loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&runner.loop)) die("uv_loop_close", "something is left on the loop");
    roost_batch_free(runner.batch);
    printf("all done, %" PRIu64 " here\n", runner.done_count);
    return 0;
}

/* ---- add and list: calls that wait, without a loop ---- */

static int add(roost_root *root, char **texts, int count)
{
    roost_batch *batch; /* all of them, or none */
    must(roost_batch_open(&batch), "a batch");
    for (int i = 0; i < count; i++)
        must(roost_batch_stream_append(batch, roost_text(jobs_stream), roost_text(texts[i])), "a job");
    must(roost_batch_commit(root, batch, NULL, NULL, NULL), "adding jobs");
    roost_batch_free(batch);
    return 0;
}

static int list(roost_root *root)
{
    struct roost_item job = ROOST_ITEM_INIT;
    roost_iter *jobs;
    int more;
    must(roost_stream_scan(root, roost_text(jobs_stream), 0, &jobs), "reading jobs");
    while ((more = roost_iter_item(jobs, &job)) == 1) {
        struct roost_item done = ROOST_ITEM_INIT;
        char key[KEY_SIZE];
        key_of(key, done_prefix, job.index);
        int err = roost_kv_get(root, roost_text(key), &done);
        if (err != ROOST_ENOENT) must(err, "reading a result");
        printf("%" PRIu64 " %.*s: %.*s\n", job.index, (int)job.value.size, (const char *)job.value.data,
               err ? 4 : (int)done.value.size, err ? "open" : (const char *)done.value.data);
        roost_unpin(root, &done.pin);
    }
    must(more, "reading jobs");
    roost_iter_close(jobs);
    return 0;
}

int main(int argc, char **argv)
{
    struct roost_options options = ROOST_OPTIONS_INIT;
    roost_root *root;
    const char *command = argc > 2 ? argv[2] : "";
    runner.work_ms = argc > 3 ? strtoull(argv[3], NULL, 10) : 100;
    runner.lease_ms = argc > 4 ? strtoull(argv[4], NULL, 10) : 2000;
    bool adds = strcmp(command, "add") == 0 && argc > 3, lists = strcmp(command, "list") == 0 && argc == 3;
    bool runs = strcmp(command, "run") == 0 && argc <= 5 && runner.lease_ms >= 30;
    if (!adds && !lists && !runs) return fprintf(stderr, "usage: jobs ROOT add TEXT... | run [WORK_MS [LEASE_MS]] | list\n"), 2;
    options.flags = ROOST_OPEN_CREATE;
    must(roost_open(argv[1], &options, &root), "opening the root");
    int result = adds ? add(root, argv + 3, argc - 3) : lists ? list(root) : run(root);
    must(roost_close(root), "closing the root");
    return result;
}
