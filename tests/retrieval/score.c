/* SPDX-License-Identifier: MIT
 * tests/retrieval/score.c: runs the queries of a test collection and prints the ranked answers, for score.py.
 *
 *     score_run DIR > RUN       DIR holds docs.tsv (id, text) and queries.tsv (id, text); RUN: lines of query id, document id
 *
 * Documents are memories of a live segment with the default analysis. Where document ids have a group ("26/D1:1"), each group is
 * a root of its own, asked by the queries of that group ("26-1"): a conversation's questions are about that conversation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "index/live.h"
#include "index/search.h"

enum { LIMIT = 100, ARENA_SIZE = 64 << 20 };

struct line {
    char *id, *text;
};
struct lines {
    struct line *all;
    size_t count;
};

static void die(const char *what)
{
    fprintf(stderr, "score: %s: %s\n", what, rst_fail_detail());
    exit(1);
}

static struct lines read_lines(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    if (!file) die(path);
    struct lines lines = {NULL, 0};
    char *line = NULL;
    size_t room = 0;
    for (ssize_t size; (size = getline(&line, &room, file)) > 0;) {
        if (line[size - 1] == '\n') line[size - 1] = '\0';
        char *tab = strchr(line, '\t');
        if (!tab) continue;
        *tab = '\0';
        if (!(lines.count & (lines.count - 1)))
            lines.all = realloc(lines.all, (lines.count ? 2 * lines.count : 1) * sizeof *lines.all);
        if (!lines.all) die("out of memory");
        struct line kept = {strdup(line), strdup(tab + 1)};
        lines.all[lines.count++] = kept;
    }
    free(line);
    fclose(file);
    return lines;
}

static void free_lines(struct lines *lines)
{
    for (size_t i = 0; i < lines->count; i++) {
        free(lines->all[i].id);
        free(lines->all[i].text);
    }
    free(lines->all);
}

static struct roost_bytes bytes_of(const char *string) { return rst_bytes(string, strlen(string)); }

static size_t group_size(const char *id)
{
    const char *slash = strchr(id, '/');
    return slash ? (size_t)(slash - id) : 0;
}

static bool same_group(const char *a, const char *b)
{
    return group_size(a) == group_size(b) && strncmp(a, b, group_size(a)) == 0;
}

struct index {
    struct rst_live live;
    struct rst_view view;
    const struct rst_segment *segments[1];
    const struct line *docs; /* memory i + 1 */
};

/* Indexes the documents of one group; returns how many. */
static size_t index_group(struct index *index, struct rst_analyzer *analyzer, void *arena, const struct line *docs, size_t count)
{
    struct rst_terms terms = {0};
    size_t taken = 0;
    memset(index, 0, sizeof *index);
    rst_live_attach(&index->live, arena, ARENA_SIZE);
    if (rst_live_format(&index->live, ARENA_SIZE, 1) < 0) die("format");
    for (; taken < count && same_group(docs[taken].id, docs[0].id); taken++) {
        if (rst_analyze_memory(analyzer, &(struct rst_searchable){.text = bytes_of(docs[taken].text)}, &terms) < 0)
            die(docs[taken].id);
        struct rst_memory_entry entry = {taken + 1, taken + 1, {0, 0, 0}, 0, terms.token_count, 0};
        if (rst_live_used(&index->live) + rst_live_need_memory(&terms) > ARENA_SIZE) die("the arena is full");
        if (rst_live_add_memory(&index->live, &entry, &terms) < 0) die(docs[taken].id);
        index->view.token_count += terms.token_count;
    }
    rst_terms_free(&terms);
    index->segments[0] = &index->live.segment;
    index->view.segments = index->segments;
    index->view.segment_count = 1;
    index->view.visible = index->view.last_id = index->view.memory_count = taken;
    index->docs = docs;
    return taken;
}

static int read_memory(void *user, const struct rst_memory_entry *entry, struct roost_bytes *ret_text,
                       const struct roost_bytes **ret_tags, size_t *ret_tag_count)
{
    const struct index *index = user;
    *ret_text = bytes_of(index->docs[entry->id - 1].text);
    *ret_tags = NULL;
    *ret_tag_count = 0;
    return 1;
}

static void ask(struct index *index, struct rst_analyzer *analyzer, const struct line *question)
{
    struct rst_query *query;
    struct rst_scored hits[LIMIT];
    if (rst_query_parse(analyzer, bytes_of(question->text), &query) < 0) die(question->id);
    int count = rst_search(&index->view, analyzer, query, LIMIT, read_memory, index, hits);
    if (count < 0) die(question->id);
    for (int i = 0; i < count; i++) printf("%s\t%s\n", question->id, index->docs[hits[i].id - 1].id);
    rst_query_free(query);
}

int main(int argument_count, char **arguments)
{
    if (argument_count != 2) {
        fprintf(stderr, "usage: score_run DIR\n");
        return 2;
    }
    struct rst_analyzer *analyzer;
    if (rst_analyzer_create("english", &analyzer) < 0) die("analyzer");
    struct lines docs = read_lines(arguments[1], "docs.tsv"), queries = read_lines(arguments[1], "queries.tsv");
    void *arena = aligned_alloc(4096, ARENA_SIZE);
    if (!arena) die("out of memory");
    for (size_t at = 0; at < docs.count;) {
        struct index index;
        size_t taken = index_group(&index, analyzer, arena, docs.all + at, docs.count - at);
        size_t group = group_size(docs.all[at].id);
        for (size_t q = 0; q < queries.count; q++) {
            const char *id = queries.all[q].id;
            if (!group || (strncmp(id, docs.all[at].id, group) == 0 && id[group] == '-')) ask(&index, analyzer, &queries.all[q]);
        }
        at += taken;
    }
    free(arena);
    free_lines(&docs);
    free_lines(&queries);
    rst_analyzer_free(analyzer);
    return 0;
}
