/* SPDX-License-Identifier: MIT
 * fuzz/analysis.c: any bytes as a memory's text and tags, in every language: terms are distinct, in order, and within bounds. */
#include <libstemmer.h>

#include "fuzz.h"
#include "index/analysis.h"
#include "index/segment.h"

enum { LANGUAGE_COUNT_MAX = 64 };

static int count_word(void *user, const struct rst_analyzed_word *word)
{
    RST_CHECK(word->word.size && word->word.size < RST_TERM_SIZE_MAX && word->stem.size < RST_TERM_SIZE_MAX);
    fuzz_touch(word->word);
    fuzz_touch(word->stem);
    ++*(uint64_t *)user;
    return 0;
}

static void check_terms(const struct rst_terms *terms)
{
    const struct rst_term *term = (const struct rst_term *)(const void *)terms->terms.data;
    struct roost_bytes last = {NULL, 0};
    for (uint32_t i = 0; i < terms->term_count; i++) {
        RST_CHECK(term[i].size >= 2 && term[i].size <= RST_TERM_SIZE_MAX && term[i].frequency);
        RST_CHECK(term[i].offset <= terms->bytes.size && term[i].size <= terms->bytes.size - term[i].offset);
        struct roost_bytes bytes = rst_bytes(terms->bytes.data + term[i].offset, term[i].size);
        RST_CHECK(!i || rst_bytes_compare(last, bytes) < 0);
        RST_CHECK(strchr("wtfgi", *(const char *)bytes.data));
        last = bytes;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rst_analyzer *analyzers[LANGUAGE_COUNT_MAX];
    static struct rst_terms terms;
    struct fuzz fuzz = {data, size};
    const char **languages = sb_stemmer_list();
    uint32_t count = 0, language = fuzz_u8(&fuzz);
    while (languages[count]) count++;
    RST_CHECK(count < LANGUAGE_COUNT_MAX);
    language %= count + 1;
    struct rst_analyzer **analyzer = &analyzers[language];
    if (!*analyzer) RST_CHECK(rst_analyzer_create(language < count ? languages[language] : "none", analyzer) == 0);
    struct roost_bytes tags[3];
    size_t tag_count = fuzz_u8(&fuzz) % (RST_COUNT_OF(tags) + 1);
    for (size_t i = 0; i < tag_count; i++) tags[i] = fuzz_take(&fuzz, 1 + fuzz_u8(&fuzz) % 100);
    uint8_t *copy = fuzz_copy(fuzz.at, fuzz.left);
    struct roost_bytes text = rst_bytes(copy, fuzz.left);
    RST_CHECK(
        rst_analyze_memory(*analyzer, &(struct rst_searchable){.text = text, .tags = tags, .tag_count = tag_count}, &terms) == 0);
    check_terms(&terms);
    uint64_t words = 0;
    RST_CHECK(rst_analyze_words(*analyzer, text, count_word, &words) == 0);
    RST_CHECK(words <= terms.token_count);
    for (size_t i = 0; i < tag_count; i++) {
        uint8_t term[RST_TERM_SIZE_MAX];
        size_t term_size;
        RST_CHECK(rst_analyzer_tag_term(*analyzer, tags[i], term, &term_size) == 0 && term_size <= sizeof term);
    }
    (void)rst_check_utf8(text, "the text");
    free(copy);
    return 0;
}
