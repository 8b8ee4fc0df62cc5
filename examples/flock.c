/* SPDX-License-Identifier: MIT
 * flock.c: four agents that work together through Roost, on one libuv loop.
 *
 *     flock ROOT [TASKS]        makes ROOT if there is none; TASKS: 1 to 1000 multiplications to be done, default 20
 *
 *     planner   gives a task to a worker whose state says "idle":   stream flock/tasks/NAME
 *     ada, bob  work, and hand in what they found:                  stream flock/results
 *     reviewer  approves it, or sends it back:                      stream flock/verdicts
 *     planner   gives what was sent back to somebody again; when all is approved, its state says "done", and everybody stops
 *
 * No agent calls another one, and each has a handle of its own: they are in one process only to be started together, and would go on
 * the same way as four programs. What is approved is also kept as a memory: `roost search 7` finds what was ever found out about 7. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <roost/uv.h>

enum { TASK_MAX = 1000, TEXT_SIZE = 64, WORKER_COUNT = 2, THINKING_MS = 2 };

static const char results_stream[] = "flock/results", verdicts_stream[] = "flock/verdicts", planner_name[] = "planner";

/* A mistake of ours or of the machine: an example has nothing better to do than to say so and to end. */
static void die(const char *who, const char *what, const char *detail)
{
    fprintf(stderr, "flock: %s: %s: %s\n", who, what, detail);
    exit(1);
}

/* ---- an agent ---- */

/* What somebody does: `read` is called with each new entry of the stream that it follows, one at a time; it calls agent_next when it is
 * ready for another. `noticed` is called when the state of another agent has changed. */
struct agent {
    const char *name;
    void (*read)(struct agent *agent, const char *entry);
    void (*noticed)(struct agent *agent, const struct roost_state *state);
    roost_uv bridge;
    /* the stream it follows */
    char stream[32];
    roost_uv_watch watch;
    roost_uv_req read_req;
    uint64_t next; /* the entry to be read next */
    bool reading;  /* it is being read */
    bool working;  /* one was read, and agent_next has not been called yet */
    bool again;    /* something came while one was being read */
    /* its state */
    roost_uv_req state_req;
    struct roost_state state;
    bool publishing;
    const char *status;
    uint64_t done_count;
    bool dirty; /* one of them changed since they were given to Roost */
    bool leaving;
};

static void must(const struct agent *agent, int err, const char *what)
{
    if (err < 0) die(agent->name, what, roost_error_detail());
}

/* Leaves when what is at hand is finished. Closing the bridge closes its watch, and the handle. */
static void agent_leave(struct agent *agent)
{
    agent->leaving = true;
    if (agent->working || agent->publishing || roost_uv_is_closing(&agent->bridge)) return;
    roost_uv_close(&agent->bridge, NULL);
}

/* A name's next state is published after the callback of the one before. States are what is so now: those in between need not be. */
static void publish_latest(struct agent *agent);

static void on_published(roost_uv_req *req, int status)
{
    struct agent *agent = req->data;
    if (status < 0) die(agent->name, "publishing the state", req->detail);
    agent->publishing = false;
    if (agent->dirty) publish_latest(agent);
    if (agent->leaving) agent_leave(agent);
}

static void publish_latest(struct agent *agent)
{
    agent->dirty = false;
    agent->publishing = true;
    agent->state.status = roost_text(agent->status);
    agent->state.active_memory_count = agent->done_count;
    must(agent, roost_uv_state_publish(&agent->bridge, &agent->state_req, &agent->state, NULL, on_published),
         "publishing the state");
}

static void agent_publish(struct agent *agent, const char *status)
{
    agent->status = status;
    agent->dirty = true;
    if (!agent->publishing) publish_latest(agent);
}

static void agent_look(struct agent *agent);

static void on_entry(roost_uv_req *req, int status, const struct roost_item *item)
{
    struct agent *agent = req->data;
    char entry[TEXT_SIZE];
    if (status == ROOST_ECANCELED || agent->leaving) return;
    if (status < 0 && status != ROOST_ENOENT) die(agent->name, "reading an entry", req->detail);
    agent->reading = false;
    if (status == ROOST_ENOENT) { /* the stream's end: unless something came just then, the next event goes on */
        if (agent->again) agent_look(agent);
        return;
    }
    agent->next++;
    agent->working = true;
    /* A copy: the item is gone after this call. */
    snprintf(entry, sizeof entry, "%.*s", (int)item->value.size, (const char *)item->value.data);
    agent->read(agent, entry);
}

/* A watch says that there is something new, not what: reading on to the stream's end works however the news comes, also if several
 * entries are told of while one is read, or ROOST_CHANGE_SKIPPED says that more happened than was kept. */
static void agent_look(struct agent *agent)
{
    agent->again = agent->reading;
    if (agent->reading || agent->working || agent->leaving) return;
    agent->reading = true;
    must(agent, roost_uv_stream_get(&agent->bridge, &agent->read_req, roost_text(agent->stream), agent->next, on_entry),
         "reading");
}

static void agent_next(struct agent *agent)
{
    agent->working = false;
    if (agent->leaving) agent_leave(agent);
    agent_look(agent);
}

static void on_state(roost_uv_req *req, int status, const struct roost_state *state)
{
    struct agent *agent = req->data;
    if (status < 0 && status != ROOST_ECANCELED) die(agent->name, "reading a state", req->detail);
    if (status == 0 && !agent->leaving) agent->noticed(agent, state);
    free(req);
}

/* Reads the state that an event tells of. Each has a request of its own, as several may be under way. The name is copied behind it:
 * the event's is valid in its callback only, the request's must be until its own. */
static void look_at_state(struct agent *agent, struct roost_bytes name)
{
    roost_uv_req *req = malloc(sizeof *req + name.size);
    if (!req) die(agent->name, "reading a state", "no memory");
    struct roost_bytes copy = {memcpy(req + 1, name.data, name.size), name.size};
    req->data = agent;
    must(agent, roost_uv_state_get(&agent->bridge, req, copy, on_state), "reading a state");
}

static void on_event(roost_uv_watch *watch, int status, const struct roost_event *event)
{
    struct agent *agent = watch->data;
    if (status < 0) die(agent->name, "watching", roost_error_detail());
    if (agent->leaving) return;
    if (event->kind == ROOST_CHANGE_STATE)
        look_at_state(agent, event->name);
    else
        agent_look(agent);
}

/* Before the loop runs nothing has to go on meanwhile: here the calls that wait are the simple ones. */
static void agent_begin(struct agent *agent, uv_loop_t *loop, const char *path, const struct roost_topic *topics, size_t count)
{
    struct roost_options options = ROOST_OPTIONS_INIT;
    struct roost_stream_info info = ROOST_STREAM_INFO_INIT;
    roost_root *root;
    options.flags = ROOST_OPEN_CREATE;
    must(agent, roost_open(path, &options, &root), "opening the root");
    /* What an earlier run left in the stream is not ours. */
    int err = roost_stream_info(root, roost_text(agent->stream), &info);
    if (err != ROOST_ENOENT) must(agent, err, "looking at the stream");
    agent->next = info.entry_count;
    /* The same for states; and from here on the name is ours, or there is another flock at work (ROOST_EBUSY). */
    agent->state = (struct roost_state)ROOST_STATE_INIT;
    agent->state.name = roost_text(agent->name);
    agent->state.status = roost_text(agent->status);
    must(agent, roost_state_publish(root, &agent->state, NULL), "publishing the state");
    must(agent, roost_uv_init(loop, &agent->bridge, root), "joining the loop");
    /* The bridge owns the root too: it is closed with it. */
    if (roost_close(root) < 0) die(agent->name, "closing the handle", roost_error_detail());
    agent->watch.data = agent->read_req.data = agent->state_req.data = agent;
    must(agent, roost_uv_watch_start(&agent->bridge, &agent->watch, topics, count, on_event), "watching");
}

/* The planner's "done" ends everybody's work. */
static void leave_when_done(struct agent *agent, const struct roost_state *state)
{
    if (state->status.size == 4 && memcmp(state->status.data, "done", 4) == 0) agent_leave(agent);
}

/* ---- the planner ---- */

struct task {
    int left, right, tries;
};
static struct {
    struct agent agent;
    struct task tasks[TASK_MAX];
    int waiting[TASK_MAX]; /* numbers of tasks that nobody has, a ring */
    int first_waiting, waiting_count;
    int count, approved_count, refused_count;
    uint64_t given[WORKER_COUNT];
} planner;

struct worker {
    struct agent agent;
    uv_timer_t thinking;
    roost_uv_req result_req;
    char result[TEXT_SIZE];
    int number, tries, left, right;
};
static struct worker workers[WORKER_COUNT];

static void put_waiting(int number)
{
    planner.waiting[(planner.first_waiting + planner.waiting_count++) % planner.count] = number;
}

/* A request, and the bytes that have to stay as they are until its callback. */
struct giving {
    roost_uv_req req;
    char text[TEXT_SIZE]; /* "NUMBER TRY LEFT RIGHT" */
};

static void on_given(roost_uv_req *req, int status)
{
    if (status < 0) die(planner_name, "giving a task", req->detail);
    free(req->data);
}

static void give(int worker)
{
    struct agent *to = &workers[worker].agent; /* its name and its stream's, nothing else of it */
    int number = planner.waiting[planner.first_waiting];
    struct task *task = &planner.tasks[number];
    struct giving *giving = malloc(sizeof *giving);
    if (!giving) die(planner_name, "giving a task", "no memory");
    giving->req.data = giving;
    planner.first_waiting = (planner.first_waiting + 1) % planner.count;
    planner.waiting_count--;
    planner.given[worker]++;
    snprintf(giving->text, sizeof giving->text, "%d %d %d %d", number, ++task->tries, task->left, task->right);
    printf("planner gives task %d to %s\n", number, to->name);
    must(&planner.agent,
         roost_uv_stream_append(&planner.agent.bridge, &giving->req, roost_text(to->stream), roost_text(giving->text), NULL,
                                on_given),
         "giving a task");
}

/* A worker is free if it says so and has done all that it was given: its "idle" may be from before the last task came to it. */
static bool idle[WORKER_COUNT];
static uint64_t done_by[WORKER_COUNT], newest_version[WORKER_COUNT];

static void give_to_idle(void)
{
    for (int i = 0; i < WORKER_COUNT; i++)
        if (planner.waiting_count && idle[i] && done_by[i] == planner.given[i]) give(i);
}

static void planner_noticed(struct agent *agent, const struct roost_state *state)
{
    (void)agent;
    for (int i = 0; i < WORKER_COUNT; i++) {
        const char *name = workers[i].agent.name;
        if (state->name.size != strlen(name) || memcmp(state->name.data, name, state->name.size) != 0) continue;
        if (state->version < newest_version[i]) continue; /* of two reads under way at once the older may come in last */
        newest_version[i] = state->version;
        idle[i] = state->alive == ROOST_ALIVE_YES && state->status.size == 4 && memcmp(state->status.data, "idle", 4) == 0;
        done_by[i] = state->active_memory_count;
    }
    give_to_idle();
}

static void planner_read(struct agent *agent, const char *verdict)
{
    int number, approved;
    if (sscanf(verdict, "%d %d", &number, &approved) != 2 || number < 0 || number >= planner.count)
        die(agent->name, "a verdict that makes no sense", verdict);
    if (approved) {
        planner.approved_count++;
    } else {
        planner.refused_count++;
        put_waiting(number);
        give_to_idle();
    }
    if (planner.approved_count == planner.count) {
        agent_publish(agent, "done");
        agent->leaving = true;
    }
    agent_next(agent);
}

static void planner_begin(uv_loop_t *loop, const char *path)
{
    const struct roost_topic topics[] = {{ROOST_TOPIC_STREAM, 0, roost_text(verdicts_stream)},
                                         {ROOST_TOPIC_STATES, 0, {NULL, 0}}};
    for (int i = 0; i < planner.count; i++) {
        planner.tasks[i].left = 2 + i % 17;
        planner.tasks[i].right = 3 + i % 11;
        put_waiting(i);
    }
    planner.agent.name = planner_name;
    planner.agent.status = "planning";
    planner.agent.read = planner_read;
    planner.agent.noticed = planner_noticed;
    snprintf(planner.agent.stream, sizeof planner.agent.stream, "%s", verdicts_stream);
    agent_begin(&planner.agent, loop, path, topics, 2);
}

/* ---- a worker ---- */

static void on_result(roost_uv_req *req, int status)
{
    struct worker *worker = req->data;
    if (status < 0) die(worker->agent.name, "handing in", req->detail);
    worker->agent.done_count++;
    agent_publish(&worker->agent, "idle");
    agent_next(&worker->agent);
}

static void on_thought(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    /* Nobody is perfect: the first answer to every fifth task is wrong, so that there is something to review. */
    int product = worker->left * worker->right + (worker->tries == 1 && worker->number % 5 == 0 ? 1 : 0);
    snprintf(worker->result, sizeof worker->result, "%d %d %d %d %s", worker->number, worker->left, worker->right, product,
             worker->agent.name);
    must(&worker->agent,
         roost_uv_stream_append(&worker->agent.bridge, &worker->result_req, roost_text(results_stream),
                                roost_text(worker->result), NULL, on_result),
         "handing in");
}

static void worker_read(struct agent *agent, const char *entry)
{
    struct worker *worker = (struct worker *)(void *)agent; /* its first member */
    if (sscanf(entry, "%d %d %d %d", &worker->number, &worker->tries, &worker->left, &worker->right) != 4)
        die(agent->name, "a task that makes no sense", entry);
    agent_publish(agent, "working");
    uv_timer_start(&worker->thinking, on_thought, THINKING_MS, 0); /* here a model would be asked */
}

static void worker_begin(struct worker *worker, uv_loop_t *loop, const char *path, const char *name)
{
    struct agent *agent = &worker->agent;
    agent->name = name;
    agent->status = "idle";
    agent->read = worker_read;
    agent->noticed = leave_when_done;
    snprintf(agent->stream, sizeof agent->stream, "flock/tasks/%s", name);
    worker->result_req.data = worker->thinking.data = worker;
    uv_timer_init(loop, &worker->thinking);
    const struct roost_topic topics[] = {{ROOST_TOPIC_STREAM, 0, roost_text(agent->stream)},
                                         {ROOST_TOPIC_STATE, 0, roost_text(planner_name)}};
    agent_begin(agent, loop, path, topics, 2);
}

/* ---- the reviewer ---- */

static struct {
    struct agent agent;
    roost_uv_req req;
    roost_batch *batch;
} reviewer;

static void on_verdict(roost_uv_req *req, int status)
{
    if (status < 0) die(reviewer.agent.name, "the verdict", req->detail);
    reviewer.agent.done_count++;
    agent_publish(&reviewer.agent, "reviewing");
    agent_next(&reviewer.agent);
}

static void reviewer_read(struct agent *agent, const char *result)
{
    int number, left, right, product;
    char name[TEXT_SIZE], text[3 * TEXT_SIZE], verdict[TEXT_SIZE];
    if (sscanf(result, "%d %d %d %d %63s", &number, &left, &right, &product, name) != 5)
        die(agent->name, "a result that makes no sense", result);
    bool right_answer = left * right == product;
    snprintf(verdict, sizeof verdict, "%d %d", number, right_answer);
    /* The verdict and what is learnt from it are one change: both are there, or neither. */
    roost_batch_clear(reviewer.batch);
    must(agent, roost_batch_stream_append(reviewer.batch, roost_text(verdicts_stream), roost_text(verdict)), "the verdict");
    if (right_answer) {
        struct roost_memory memory = ROOST_MEMORY_INIT;
        struct roost_bytes tag = roost_text(name);
        snprintf(text, sizeof text, "%d times %d is %d.", left, right, product);
        memory.text = roost_text(text);
        memory.tags = &tag;
        memory.tag_count = 1;
        must(agent, roost_batch_append(reviewer.batch, &memory), "the memory");
    }
    printf("reviewer %s %s: task %d, %d times %d is %d\n", right_answer ? "approves" : "refuses", name, number, left, right,
           product);
    must(agent, roost_uv_commit(&agent->bridge, &reviewer.req, reviewer.batch, NULL, on_verdict), "the verdict");
}

static void reviewer_begin(uv_loop_t *loop, const char *path)
{
    const struct roost_topic topics[] = {{ROOST_TOPIC_STREAM, 0, roost_text(results_stream)},
                                         {ROOST_TOPIC_STATE, 0, roost_text(planner_name)}};
    struct agent *agent = &reviewer.agent;
    agent->name = "reviewer";
    agent->status = "reviewing";
    agent->read = reviewer_read;
    agent->noticed = leave_when_done;
    snprintf(agent->stream, sizeof agent->stream, "%s", results_stream);
    must(agent, roost_batch_open(&reviewer.batch), "a batch");
    agent_begin(agent, loop, path, topics, 2);
}

int main(int argc, char **argv)
{
    uv_loop_t loop;
    planner.count = argc > 2 ? atoi(argv[2]) : 20;
    if (argc < 2 || argc > 3 || planner.count < 1 || planner.count > TASK_MAX)
        return fprintf(stderr, "usage: flock ROOT [TASKS]    (1 to %d)\n", TASK_MAX), 2;
    if (uv_loop_init(&loop)) return fprintf(stderr, "flock: no loop\n"), 1;
    /* The planner first: that it says "planning" takes back the "done" of an earlier run. */
    planner_begin(&loop, argv[1]);
    worker_begin(&workers[0], &loop, argv[1], "ada");
    worker_begin(&workers[1], &loop, argv[1], "bob");
    reviewer_begin(&loop, argv[1]);
    uv_run(&loop, UV_RUN_DEFAULT); /* until the last bridge is closed */
    for (int i = 0; i < WORKER_COUNT; i++) uv_close((uv_handle_t *)&workers[i].thinking, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    int err = uv_loop_close(&loop);
    roost_batch_free(reviewer.batch);
    if (err) return fprintf(stderr, "flock: something is left on the loop\n"), 1;
    printf("%d tasks: %d approved, %d sent back; ada did %" PRIu64 ", bob did %" PRIu64 "\n", planner.count,
           planner.approved_count, planner.refused_count, workers[0].agent.done_count, workers[1].agent.done_count);
    return planner.approved_count == planner.count ? 0 : 1;
}
