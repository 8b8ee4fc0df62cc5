/* SPDX-License-Identifier: MIT
 * quickstart.c: remember something, find it again. */
#include <roost/roost.h>
#include <stdio.h>
static int failed(void) { return fprintf(stderr, "%s\n", roost_error_detail()), 1; }

int main(int argc, char **argv)
{
    struct roost_options options = ROOST_OPTIONS_INIT;
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_query query = ROOST_QUERY_INIT;
    struct roost_hit hit = ROOST_HIT_INIT;
    roost_root *root;
    roost_hits *hits;
    options.flags = ROOST_OPEN_CREATE;
    memory.text = roost_text("The tests need ninja 1.10 or newer.");
    query.text = roost_text("testing +ninja");
    if (roost_open(argc > 1 ? argv[1] : ".roost", &options, &root) < 0) return failed();
    if (roost_append(root, &memory, NULL, &memory.id, NULL) < 0) return failed();
    if (roost_search(root, &query, &hits) < 0) return failed();
    while (roost_hits_next(hits, &hit) > 0)
        printf("%d %.2f %.*s\n", (int)hit.id, hit.score, (int)hit.text.size, (const char *)hit.text.data);
    roost_hits_close(hits);
    return roost_close(root) < 0 ? failed() : 0;
}
