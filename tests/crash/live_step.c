/* SPDX-License-Identifier: MIT
 * tests/crash/live_step.c: the writer of a live segment killed after every machine instruction of an apply (R21).
 *
 * The linear way: instead of one run for each instruction, one child applies the changes under ptrace, one instruction at a
 * time, in an arena that it shares with us. Whenever the arena changed, what it holds is what a writer killed there would have
 * left. From a copy of it an heir goes on, and all its answers, as of every LSN, must be those of an undisturbed run. Heirs differ
 * in how far back they start: at the first change of the script, or at the one in flight. From some copies the heir itself is stepped
 * and killed, too. Nothing here depends on time or chance. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "index/live_parts.h"
#include "live_script.h"

enum {
    ARENA_SIZE = 65536, /* four times the least: every copy is compared whole, so small is quick */
    LSN_FIRST = 100,
    ASK_FIRST = 180,
    ASK_LAST = 228,   /* answers are asked as of each of these LSNs */
    AGAIN_EVERY = 40, /* from every 40th copy the heir is killed after each of its instructions */
    CHANGE_COUNT_MAX = 256,
};

#define M SCRIPT_MEMORY
#define T SCRIPT_TOMBSTONE
/* What is there before: enough postings of "wa" that its second block is full, 63 memories (so that the stepped ones open a new
 * directory block), a few keys. Made in main. */
/* What is stepped: memories with new terms, old ones, a full block, several blocks; new and known keys, deletions, tombstones. */
static const struct script_change stepped[] = {
    {M, 170, 200, "tred wa wb wnew"},
    {M, 171, 201, "tblue wa wb wc wnew wother"}, /* the 65th: a new block of memories */
    {T, 20, 202, NULL},
    {SCRIPT_SET, 0, 203, "kk-new"},
    {SCRIPT_SET, 0, 204, "kk-known"},
    {SCRIPT_DELETE, 0, 205, "kk-new"},
    {M, 90000, 206, "wa wnew"}, /* a jump of ids */
    {M, 90001, 206, ""},        /* without terms, in the same frame */
    {T, 170, 207, NULL},
    {SCRIPT_SET, 0, 208, "k"},
    {SCRIPT_SET, 0, 209, "kk-tall-9"}, /* see main: replaced by a key whose node is high */
};
static const struct script_change after[] = {
    {M, 90002, 220, "tred wa wc wother wyet"}, {T, 90000, 221, NULL},           {SCRIPT_SET, 0, 222, "kk-new"},
    {SCRIPT_SET, 0, 223, "kk-later"},          {M, 90003, 224, "wa wnew wyet"}, {T, 1, 225, NULL},
};

enum { STEPPED_COUNT = RST_COUNT_OF(stepped), AFTER_COUNT = RST_COUNT_OF(after) };

struct shared {
    uint64_t in_flight; /* index of the change that the child applies */
    uint8_t arena[ARENA_SIZE] __attribute__((aligned(64)));
};

/* What no answer shows: the three statistics, and how many nodes each level of both lists links. */
struct inner {
    uint32_t count[3], nodes[2][RST_LIVE_LEVEL_COUNT];
};

static struct {
    struct script_change change[STEPPED_COUNT + AFTER_COUNT];
    struct rst_terms terms[STEPPED_COUNT + AFTER_COUNT];
    struct rst_buffer stepped_answers, all_answers; /* of the undisturbed run, after the stepped ones and after all */
    struct inner stepped_inner;
    uint64_t stepped_used;
    unsigned kills; /* before this heir */
    uint64_t steps, copies, heirs, second_steps, second_copies, violations;
} test;

static void look_inside(const struct rst_live *live, struct inner *ret_inner)
{
    const struct rst_live_header *header = rst_live_header_of(live);
    const uint32_t *head[2] = {header->map_head, header->tombstone_head};
    *ret_inner = (struct inner){.count = {header->tombstone_count, header->map_key_count, header->map_version_count}};
    for (int list = 0; list < 2; list++)
        for (uint32_t level = 0; level < RST_LIVE_LEVEL_COUNT; level++) {
            struct rst_live_node_view view;
            for (uint32_t link = head[list][level]; link && !rst_live_node_at(live, link, &view); link = view.next[level])
                ret_inner->nodes[list][level]++;
        }
}

static void apply_range(struct rst_live *live, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) RST_CHECK(script_apply(live, &test.change[i], &test.terms[i]) == 0);
}

static void violation(const char *what, size_t step, size_t in_flight)
{
    test.violations++;
    if (test.violations <= 10)
        fprintf(stderr, "violation: %s (step %zu, change %zu): %s\n", what, step, in_flight, rst_fail_detail());
}

/* An heir goes on from what was left: from the change `from` on. */
static void inherit(const uint8_t *left, size_t from, size_t step, size_t in_flight)
{
    static uint8_t arena[ARENA_SIZE] __attribute__((aligned(64)));
    static struct rst_buffer answers;
    struct rst_live live;
    test.heirs++;
    memcpy(arena, left, sizeof arena);
    rst_live_attach(&live, arena, sizeof arena);
    if (rst_live_verify(&live)) return violation("what was left does not verify", step, in_flight);
    for (size_t i = from; i < STEPPED_COUNT; i++)
        if (script_apply(&live, &test.change[i], &test.terms[i])) return violation("applying again fails", step, in_flight);
    if (rst_live_verify(&live)) return violation("the heir's arena does not verify", step, in_flight);
    if (script_ask_all(&live, ASK_FIRST, ASK_LAST, &answers) || answers.size != test.stepped_answers.size ||
        memcmp(answers.data, test.stepped_answers.data, answers.size))
        return violation("other answers after applying again", step, in_flight);
    if (rst_live_used(&live) > test.stepped_used + test.kills * RST_LIVE_LEAK_MAX)
        return violation("more bytes lost than promised", step, in_flight);
    struct inner inner;
    look_inside(&live, &inner);
    if (memcmp(&inner, &test.stepped_inner, sizeof inner))
        return violation("half-linked nodes or wrong counts stay", step, in_flight);
    for (size_t i = STEPPED_COUNT; i < STEPPED_COUNT + AFTER_COUNT; i++)
        if (script_apply(&live, &test.change[i], &test.terms[i])) return violation("applying more fails", step, in_flight);
    if (script_ask_all(&live, ASK_FIRST, ASK_LAST, &answers) || answers.size != test.all_answers.size ||
        memcmp(answers.data, test.all_answers.data, answers.size))
        return violation("other answers after applying more", step, in_flight);
    if (rst_live_verify(&live)) violation("the arena does not verify at last", step, in_flight);
}

/* Steps a child through the changes from..STEPPED_COUNT on `start`; calls seen with what each changed instant left. */
static uint64_t step_child(const uint8_t *start, size_t from, void (*seen)(const struct shared *, size_t step))
{
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    RST_CHECK(shared != MAP_FAILED);
    uint8_t *last = malloc(ARENA_SIZE);
    RST_CHECK(last);
    memcpy(shared->arena, start, ARENA_SIZE);
    memcpy(last, start, ARENA_SIZE);
    pid_t child = fork();
    RST_CHECK(child >= 0);
    if (child == 0) {
        struct rst_live live;
        rst_live_attach(&live, shared->arena, ARENA_SIZE);
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) _exit(77);
        raise(SIGSTOP);
        for (size_t i = from; i < STEPPED_COUNT; i++) {
            __atomic_store_n(&shared->in_flight, i, __ATOMIC_SEQ_CST);
            if (script_apply(&live, &test.change[i], &test.terms[i])) _exit(1);
        }
        _exit(0);
    }
    int status;
    uint64_t steps = 0;
    RST_CHECK(waitpid(child, &status, 0) == child);
    while (WIFSTOPPED(status)) {
        int signal = WSTOPSIG(status);
        if (signal != SIGTRAP && signal != SIGSTOP) break;
        RST_CHECK(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0);
        RST_CHECK(waitpid(child, &status, 0) == child);
        steps++;
        if (memcmp(last, shared->arena, ARENA_SIZE)) {
            memcpy(last, shared->arena, ARENA_SIZE);
            seen(shared, steps);
        }
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        printf("live_step: skipped, ptrace is not allowed here\n");
        exit(77);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status)) violation("the stepped child failed", steps, from);
    RST_CHECK(munmap(shared, sizeof *shared) == 0);
    free(last);
    return steps;
}

static void seen_second(const struct shared *shared, size_t step)
{
    test.second_copies++;
    test.kills = 2;
    inherit(shared->arena, (size_t)shared->in_flight, step, (size_t)shared->in_flight);
}

static void seen_first(const struct shared *shared, size_t step)
{
    size_t in_flight = (size_t)shared->in_flight;
    test.copies++;
    test.kills = 1;
    inherit(shared->arena, in_flight, step, in_flight);
    if (in_flight) inherit(shared->arena, 0, step, in_flight);
    if (test.copies % AGAIN_EVERY == 0)
        test.second_steps += step_child(shared->arena, in_flight ? in_flight - 1 : 0, seen_second);
}

/* A key whose node has at least four levels, so that the steps between its links are seen. */
static const char *tall_key(void)
{
    static char key[32];
    for (unsigned i = 0;; i++) {
        snprintf(key, sizeof key, "kk-tall-%u", i);
        /* The rule of live_list.c is not repeated here: a node of n levels takes 4 n bytes more. */
        static uint8_t arena[ARENA_SIZE] __attribute__((aligned(64)));
        struct rst_live live;
        struct rst_map_entry entry = script_entry(LSN_FIRST, false);
        rst_live_attach(&live, arena, sizeof arena);
        RST_CHECK(rst_live_format(&live, ARENA_SIZE, LSN_FIRST) == 0);
        uint64_t before = rst_live_used(&live);
        RST_CHECK(rst_live_set_map(&live, rst_bytes(key, strlen(key)), &entry) == 0);
        if (rst_live_used(&live) - before >= rst_live_need_map(strlen(key)) - 7 * sizeof(uint32_t)) return key;
    }
}

static void fill_before(struct rst_live *live)
{
    struct rst_terms terms = {0};
    uint64_t lsn = LSN_FIRST;
    for (uint64_t id = 1; id <= 63; id++) {
        script_terms(&terms, id > 52 ? "wa wb" : id > 50 ? "wb wc" : "wc", 1); /* wa: 11 postings fill its blocks 1 + 3 + 7 */
        struct rst_memory_entry entry = script_memory(id, lsn++, terms.token_count);
        RST_CHECK(rst_live_add_memory(live, &entry, &terms) == 0);
    }
    for (int i = 0; i < 20; i++) {
        char key[32];
        struct rst_map_entry entry = script_entry(lsn++, false);
        int size = snprintf(key, sizeof key, "kk-%d", i * 7 % 20);
        RST_CHECK(rst_live_set_map(live, rst_bytes(key, (size_t)size), &entry) == 0);
        RST_CHECK(i % 4 || rst_live_add_tombstone(live, (uint64_t)i * 3 + 1, lsn - 1) == 0);
    }
    struct rst_map_entry entry = script_entry(lsn, false);
    RST_CHECK(lsn < stepped[0].lsn && rst_live_set_map(live, rst_bytes("kk-known", 8), &entry) == 0);
    script_terms_free(&terms);
}

int main(void)
{
    static uint8_t start[ARENA_SIZE] __attribute__((aligned(64))), undisturbed[ARENA_SIZE] __attribute__((aligned(64)));
    struct rst_live live;
    memset(start, 0xa5, sizeof start); /* a recycled arena holds anything */
    rst_live_attach(&live, start, sizeof start);
    RST_CHECK(rst_live_format(&live, ARENA_SIZE, LSN_FIRST) == 0);
    fill_before(&live);
    memcpy(test.change, stepped, sizeof stepped);
    memcpy(test.change + STEPPED_COUNT, after, sizeof after);
    test.change[STEPPED_COUNT - 1].text = tall_key();
    for (size_t i = 0; i < STEPPED_COUNT + AFTER_COUNT; i++)
        if (test.change[i].kind == SCRIPT_MEMORY) script_terms(&test.terms[i], test.change[i].text, 1);

    memcpy(undisturbed, start, sizeof start);
    rst_live_attach(&live, undisturbed, sizeof undisturbed);
    apply_range(&live, 0, STEPPED_COUNT);
    RST_CHECK(rst_live_verify(&live) == 0 && script_ask_all(&live, ASK_FIRST, ASK_LAST, &test.stepped_answers) == 0);
    look_inside(&live, &test.stepped_inner);
    test.stepped_used = rst_live_used(&live);
    apply_range(&live, STEPPED_COUNT, STEPPED_COUNT + AFTER_COUNT);
    RST_CHECK(rst_live_verify(&live) == 0 && script_ask_all(&live, ASK_FIRST, ASK_LAST, &test.all_answers) == 0);

    test.steps = step_child(start, 0, seen_first);
    printf("live_step: %" PRIu64 " steps, %" PRIu64 " distinct copies, %" PRIu64 " heirs; killed twice: %" PRIu64
           " steps, %" PRIu64 " copies; %" PRIu64 " violations\n",
           test.steps, test.copies, test.heirs, test.second_steps, test.second_copies, test.violations);
    for (size_t i = 0; i < STEPPED_COUNT + AFTER_COUNT; i++) script_terms_free(&test.terms[i]);
    rst_buffer_free(&test.stepped_answers);
    rst_buffer_free(&test.all_answers);
    return test.violations != 0 || test.copies < 50;
}
