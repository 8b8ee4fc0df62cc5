/* SPDX-License-Identifier: MIT
 * fuzz/front_matter.c: any bytes as a Markdown file with front matter, and as a date (src/cli/front_matter.c). */
#include "cli/foreign.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct front_matter front;
    uint8_t *copy = fuzz_copy(data, size);
    struct roost_bytes file = {copy, size};
    int64_t time_ns;
    RST_CHECK(front_matter_read(file, &front));
    RST_CHECK(front.size <= size && front.tag_count < ROOST_TAG_COUNT_MAX && front.texts_used <= front.size);
    fuzz_touch(front.title);
    fuzz_touch(front.type);
    fuzz_touch(front.agent);
    fuzz_touch(front.session);
    for (size_t i = 0; i < front.tag_count; i++) {
        RST_CHECK(foreign_name_fits(front.tags[i]));
        fuzz_touch(front.tags[i]);
    }
    free(front.texts);
    (void)front_matter_time(file, &time_ns);
    (void)markdown_path_good(file);
    (void)markdown_own_id(file);
    free(copy);
    return 0;
}
