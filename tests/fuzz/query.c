/* SPDX-License-Identifier: MIT
 * fuzz/query.c: any text as a query, parsed and asked of a small index: hits are memories, best first, each once. */
#include "fuzz.h"
#include "index/live.h"
#include "index/search.h"

enum { ARENA_SIZE = 256 << 10, LIMIT = 8 };

static const char *const texts[] = {
    "the quick brown fox jumps over the lazy dog",
    "to be or not to be",
    "running dogs run happily",
    "e-mail: someone@example.org, https://example.org/a?b=c",
    "\xe6\x9d\xb1\xe4\xba\xac \xe6\x97\xa5\xe6\x9c\xac",
    "Stra\xc3\x9fwe \xc3\x89t\xc3\xa9 r\xc3\xa9sum\xc3\xa9",
    "a b c d e f",
    "dog dog dog fox",
};
static struct {
    struct rst_analyzer *analyzer;
    struct rst_live live;
    uint64_t token_count;
} world;

static struct roost_bytes text_of(uint64_t id) { return rst_bytes(texts[id - 1], strlen(texts[id - 1])); }

static void make_world(void)
{
    static _Alignas(8) uint8_t arena[ARENA_SIZE];
    static const struct roost_bytes tag = ROOST_TEXT("Red");
    RST_CHECK(rst_analyzer_create("english", &world.analyzer) == 0);
    rst_live_attach(&world.live, arena, sizeof arena);
    RST_CHECK(rst_live_format(&world.live, sizeof arena, 1) == 0);
    struct rst_terms terms = {0};
    for (uint64_t id = 1; id <= RST_COUNT_OF(texts); id++) {
        RST_CHECK(rst_analyze_memory(world.analyzer,
                                     &(struct rst_searchable){.text = text_of(id), .tags = &tag, .tag_count = id % 2},
                                     &terms) == 0);
        struct rst_memory_entry entry = {.id = id, .lsn = id, .token_count = terms.token_count};
        RST_CHECK(rst_live_add_memory(&world.live, &entry, &terms) == 0);
        world.token_count += terms.token_count;
    }
    rst_terms_free(&terms);
}

static int read_memory(void *user, const struct rst_memory_entry *entry, struct roost_bytes *ret_text,
                       const struct roost_bytes **ret_tags, size_t *ret_tag_count)
{
    (void)user;
    *ret_text = text_of(entry->id);
    *ret_tags = NULL;
    *ret_tag_count = 0;
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!world.analyzer) make_world();
    uint8_t *text = fuzz_copy(data, size);
    struct rst_query *query;
    if (rst_query_parse(world.analyzer, rst_bytes(text, size), &query) == 0) {
        const struct rst_segment *segment = &world.live.segment;
        struct rst_view view = {&segment, 1, UINT64_MAX, RST_COUNT_OF(texts), RST_COUNT_OF(texts), world.token_count};
        struct rst_scored hits[LIMIT];
        int count = rst_search(&view, world.analyzer, query, LIMIT, read_memory, NULL, hits);
        RST_CHECK(count >= 0 && count <= LIMIT);
        for (int i = 0; i < count; i++) {
            RST_CHECK(hits[i].id >= 1 && hits[i].id <= RST_COUNT_OF(texts) && hits[i].score >= 0);
            if (!i) continue;
            RST_CHECK(hits[i].score < hits[i - 1].score || (hits[i].score <= hits[i - 1].score && hits[i].id < hits[i - 1].id));
        }
        rst_query_free(query);
    }
    free(text);
    return 0;
}
