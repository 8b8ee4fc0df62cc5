/* SPDX-License-Identifier: MIT
 * fuzz/live.c: a live segment that a neighbour scribbles over between one question and the next, also while cursors are open, and that a
 * writer goes on with. Any answer is right, but each ends, and none leaves the arena. */
#include "index/sealed.h"
#include "segment.h"

enum { ARENA_SIZE = 64 << 10 };
static uint8_t *sound;
static uint64_t sound_used;
static struct rst_analyzer *analyzer;

static void make_sound(void)
{
    struct rst_live live;
    sound = calloc(1, ARENA_SIZE);
    RST_CHECK(sound && rst_analyzer_create("english", &analyzer) == 0);
    segment_fill(&live, sound, ARENA_SIZE);
    RST_CHECK(rst_live_verify(&live) == 0);
    sound_used = rst_live_used(&live);
}

/* A word of the arena becomes another link into it, one of its other words, or anything. */
static void scribble(struct rst_live *live, struct fuzz *fuzz)
{
    uint64_t base = fuzz_one_in(fuzz, 3) ? 0 : live->data_offset;
    uint64_t at = (base + fuzz_unsigned(fuzz, 2) % (sound_used - base)) / 4 * 4;
    uint64_t from = fuzz_unsigned(fuzz, 2) % sound_used / 4 * 4;
    switch (fuzz_u8(fuzz) % 4) {
    case 0:
        rst_put_u32(live->base + at, (uint32_t)((live->data_offset + from % (sound_used - live->data_offset)) / 8));
        break;
    case 1:
        rst_put_u32(live->base + at, rst_get_u32(live->base + from));
        break;
    case 2:
        live->base[at] = fuzz_u8(fuzz);
        break;
    default:
        rst_put_u64(live->base + at / 8 * 8, fuzz_number(fuzz));
    }
}

static void apply(struct rst_live *live, struct fuzz *fuzz)
{
    struct rst_terms terms = {0};
    struct script_change change = {fuzz_u8(fuzz) % 4, fuzz_number(fuzz) >> 8, fuzz_number(fuzz) >> 8, "wapple wnew"};
    script_terms(&terms, change.text, 1);
    if (rst_live_used(live) + script_need(&change, &terms) <= rst_live_limit(live)) (void)script_apply(live, &change, &terms);
    script_terms_free(&terms);
}

static void seal(const struct rst_live *live, bool oldest)
{
    const struct rst_segment *segment = &live->segment;
    struct rst_seal plan = {&segment, 1, 1, 200, oldest, "english"};
    struct rst_buffer file = {0};
    (void)rst_seal_build(&plan, &file);
    rst_buffer_free(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!sound) make_sound();
    struct fuzz fuzz = {data, size};
    uint8_t *arena = fuzz_copy(sound, ARENA_SIZE);
    struct rst_live live;
    rst_live_attach(&live, arena, ARENA_SIZE);
    struct segment_asker asker = {.segment = &live.segment, .analyzer = analyzer};
    for (unsigned i = 0; i < 100 && fuzz.left; i++) {
        uint8_t kind = fuzz_u8(&fuzz);
        if (kind % 8 < 4)
            segment_ask(&asker, &fuzz);
        else if (kind % 8 < 7)
            scribble(&live, &fuzz);
        else
            apply(&live, &fuzz);
    }
    segment_ask_all(&asker, UINT64_MAX);
    (void)rst_live_verify(&live);
    (void)rst_live_change_count(&live);
    seal(&live, size % 2);
    free(arena);
    return 0;
}
