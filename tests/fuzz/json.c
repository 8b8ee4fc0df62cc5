/* SPDX-License-Identifier: MIT
 * fuzz/json.c: one line of JSON, as `roost import` and `roost add --json` read it (src/base/json.c). */
#include "cli/cli.h"
#include "fuzz.h"

/* Everything reachable; nothing deeper than the parser's own bound. */
static void walk(const struct rst_json_value *value, unsigned depth)
{
    RST_CHECK(depth < 100);
    for (; value; value = value->next) {
        fuzz_touch(value->name);
        fuzz_touch(value->text);
        walk(value->first, depth + 1);
    }
}

static void read_fields(struct rst_json_document *document, const struct rst_json_value *object)
{
    struct rst_json_reader reader = {document, object};
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_bytes bytes = {NULL, 0}, *list = NULL;
    size_t count = 0;
    bool there;
    uint64_t number;
    int64_t time_ns;
    if (json_read_memory(&reader, &memory)) {
        fuzz_touch(memory.text);
        fuzz_touch(memory.key);
        for (size_t i = 0; i < memory.tag_count; i++) fuzz_touch(memory.tags[i]);
    }
    if (rst_json_read_bytes(&reader, "value", &bytes, &there) && there) fuzz_touch(bytes);
    if (rst_json_read_bytes_list(&reader, "list", &list, &count))
        for (size_t i = 0; i < count; i++) fuzz_touch(list[i]);
    (void)rst_json_read_unsigned(&reader, "id", &number);
    (void)rst_json_read_signed(&reader, "time_ns", &time_ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = (char *)fuzz_copy(data, size);
    struct rst_json_document document;
    if (rst_json_parse(text, size, &document)) {
        RST_CHECK(document.root && !document.error[0]);
        walk(document.root, 0);
        read_fields(&document, document.root);
        for (const struct rst_json_value *child = document.root->first; child; child = child->next) read_fields(&document, child);
    } else {
        RST_CHECK(document.error[0]);
    }
    rst_json_free(&document);
    uint64_t number;
    (void)rst_parse_number(text, size, &number);
    free(text);
    return 0;
}
