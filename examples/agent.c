/* SPDX-License-Identifier: MIT
 * agent.c: an agent that remembers a list of texts, and that may be killed at any instant.
 *
 *     agent ROOT NAME FILE [COUNT]        FILE: texts, each "TAG\nTEXT" ended by a NUL byte
 *
 * It stores COUNT texts a commit (default 64) and, in the same commit, the key progress/NAME: how many of FILE's texts are stored.
 * Both or neither is there, so an agent that is started anew under the same NAME goes on exactly where the last one stopped.
 * What it does shows in its state: before it waits for a batch, it publishes the batch's receipt. Its successor asks with
 * that what became of the batch (roost_settle) before it takes over.
 *
 * It prints, for those who want to check it: "settled RECEIPT applied|never|unknown" if there was a predecessor; "from N" when
 * it has looked how far the work is; for each commit, when it is acknowledged, "ack FIRST COUNT ID SUBMITTED_NS ACKNOWLEDGED_NS". */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <roost/roost.h>

enum { COUNT_DEFAULT = 64, PATIENCE_MS = 15000 };

struct agent {
    roost_root *root;
    const char *name;
    char key[ROOST_NAME_SIZE_MAX + 16];
    char *file;         /* the texts */
    const char **texts; /* each begins with its tag's line */
    uint64_t text_count;
    uint64_t done;     /* texts stored */
    roost_lsn version; /* of the key progress/NAME: nobody else may have changed it */
    roost_id last_id;
};

static int complain(const char *what)
{
    fprintf(stderr, "agent: %s: %s\n", what, roost_error_detail());
    return -1;
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- the texts ---- */

static int read_texts(struct agent *agent, const char *path)
{
    FILE *file = fopen(path, "rb");
    long size = -1;
    if (file && fseek(file, 0, SEEK_END) == 0) size = ftell(file);
    if (size < 0 || fseek(file, 0, SEEK_SET) < 0) return perror(path), -1;
    agent->file = malloc((size_t)size + 1);
    agent->texts = malloc(((size_t)size + 1) * sizeof *agent->texts / 2);
    if (!agent->file || !agent->texts || fread(agent->file, 1, (size_t)size, file) != (size_t)size) return perror(path), -1;
    fclose(file);
    agent->file[size] = '\0';
    for (const char *at = agent->file; at < agent->file + size; at += strlen(at) + 1)
        if (strchr(at, '\n')) agent->texts[agent->text_count++] = at;
    return 0;
}

/* ---- taking over ---- */

/* The last batch that who had this name before told of: applied, or never, or unknown because it submitted a later one and
 * died before it could tell. The key decides in every case: a batch that comes after its successor's is refused. */
static int settle_predecessor(struct agent *agent)
{
    struct roost_state state = ROOST_STATE_INIT;
    struct roost_receipt receipt = {0, 0, 0, 0};
    char text[64] = "";
    int err = roost_state_get(agent->root, roost_text(agent->name), &state);
    if (err == ROOST_ENOENT) return 0;
    if (err < 0) return complain("the predecessor's state");
    for (size_t i = 0; i < state.extra_count; i++)
        if (state.extra[i].name.size == 7 && memcmp(state.extra[i].name.data, "receipt", 7) == 0)
            snprintf(text, sizeof text, "%.*s", (int)state.extra[i].value.size, (const char *)state.extra[i].value.data);
    roost_unpin(agent->root, &state.pin);
    if (sscanf(text, "%" SCNu64 ":%" SCNu64, &receipt.client, &receipt.sequence) != 2) return 0;
    err = roost_settle(agent->root, &receipt, PATIENCE_MS);
    if (err < 0 && err != ROOST_ECANCELED && err != ROOST_EUNKNOWN) return complain("settling the predecessor's last batch");
    printf("settled %s %s\n", text, err == ROOST_ECANCELED ? "never" : err ? "unknown" : "applied");
    return 0;
}

static int read_progress(struct agent *agent)
{
    struct roost_item item = ROOST_ITEM_INIT;
    int err = roost_kv_get(agent->root, roost_text(agent->key), &item);
    agent->done = agent->version = 0;
    if (err < 0 && err != ROOST_ENOENT) return complain("how far the work is");
    if (!err) {
        char digits[24];
        snprintf(digits, sizeof digits, "%.*s", (int)item.value.size, (const char *)item.value.data);
        agent->done = strtoull(digits, NULL, 10);
        agent->version = item.version;
        roost_unpin(agent->root, &item.pin);
    }
    printf("from %" PRIu64 "\n", agent->done);
    return 0;
}

/* ---- work ---- */

static int publish(struct agent *agent, const char *status, const struct roost_receipt *receipt)
{
    char text[64];
    snprintf(text, sizeof text, "%" PRIu64 ":%" PRIu64, receipt->client, receipt->sequence);
    struct roost_extra extra = {ROOST_TEXT("receipt"), roost_text(text)};
    struct roost_state state = ROOST_STATE_INIT;
    state.name = roost_text(agent->name);
    state.status = roost_text(status);
    state.active_memory_count = agent->done;
    state.last_updated_id = agent->last_id;
    state.extra = &extra;
    state.extra_count = receipt->client ? 1 : 0;
    return roost_state_publish(agent->root, &state, NULL) < 0 ? complain("publishing the state") : 0;
}

/* The next texts and the new progress, as one change. */
static int fill(const struct agent *agent, roost_batch *batch, uint64_t count)
{
    roost_batch_clear(batch);
    for (uint64_t i = 0; i < count; i++) {
        const char *text = agent->texts[agent->done + i], *end = strchr(text, '\n');
        struct roost_bytes tag = {text, (size_t)(end - text)};
        struct roost_memory memory = ROOST_MEMORY_INIT;
        memory.text = roost_text(end + 1);
        memory.tags = &tag;
        memory.tag_count = tag.size ? 1 : 0;
        if (roost_batch_append(batch, &memory) < 0) return complain("a text");
    }
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRIu64, agent->done + count);
    struct roost_write only_if = ROOST_WRITE_INIT;
    only_if.flags = ROOST_WRITE_IF_VERSION;
    only_if.expected = agent->version;
    return roost_batch_kv_set(batch, roost_text(agent->key), roost_text(digits), &only_if) < 0 ? complain("the progress") : 0;
}

static int store(struct agent *agent, roost_batch *batch, uint64_t count)
{
    struct roost_completion completion = ROOST_COMPLETION_INIT;
    struct roost_receipt receipt = {0, 0, 0, 0};
    if (fill(agent, batch, count) < 0) return -1;
    int64_t submitted = now_ns();
    int err = roost_submit(agent->root, batch, NULL, NULL, &receipt);
    if (err == ROOST_E2BIG) { /* a large text: its bytes are put in place first, by a call that waits */
        completion.result = roost_batch_commit(agent->root, batch, NULL, NULL, &completion.receipt);
    } else {
        if (err < 0) return complain("submitting");
        if (publish(agent, "writing", &receipt) < 0) return -1;
        int got = roost_poll(agent->root, &completion, 1, PATIENCE_MS);
        if (got < 0) return complain("waiting");
        if (got == 0) return fprintf(stderr, "agent: no answer within %d ms\n", PATIENCE_MS), -1;
    }
    if (completion.result == ROOST_EMISMATCH) return read_progress(agent); /* the predecessor's batch came first */
    if (completion.result < 0) return fprintf(stderr, "agent: %s\n", roost_error_text(completion.result)), -1;
    printf("ack %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 "\n", agent->done, count, completion.receipt.id,
           submitted, now_ns());
    agent->done += count;
    agent->version = completion.receipt.lsn; /* the key was the last change of the batch */
    agent->last_id = completion.receipt.id + count - 1;
    return 0;
}

int main(int argc, char **argv)
{
    struct agent agent = {.name = argc > 2 ? argv[2] : ""};
    struct roost_receipt none = {0, 0, 0, 0};
    roost_batch *batch = NULL;
    long each = argc == 5 ? atol(argv[4]) : COUNT_DEFAULT;
    if (argc < 4 || argc > 5 || each < 1 || each >= (long)ROOST_BATCH_COUNT_MAX || strlen(agent.name) > ROOST_NAME_SIZE_MAX)
        return fprintf(stderr, "usage: agent ROOT NAME FILE [COUNT]\n"), 2;
    setvbuf(stdout, NULL, _IOLBF, 0); /* each line leaves at once: this process may be killed */
    snprintf(agent.key, sizeof agent.key, "progress/%s", agent.name);
    if (read_texts(&agent, argv[3]) < 0) return 1;
    if (roost_open(argv[1], NULL, &agent.root) < 0 || roost_batch_open(&batch) < 0) return complain("opening"), 1;
    int err = settle_predecessor(&agent);
    if (!err) err = read_progress(&agent);
    while (!err && agent.done < agent.text_count) {
        uint64_t left = agent.text_count - agent.done;
        err = store(&agent, batch, left < (uint64_t)each ? left : (uint64_t)each);
    }
    if (!err) err = publish(&agent, "done", &none);
    roost_batch_free(batch);
    if (roost_close(agent.root) < 0) err = complain("closing");
    free(agent.texts);
    free(agent.file);
    return err ? 1 : 0;
}
