/* SPDX-License-Identifier: MIT
 * fuzz/sealed.c: a sealed segment with damage under right checksums: every question, the whole check, and merging end without a crash. */
#include "index/sealed.h"
#include "base/hash.h"
#include "index/sealed_layout.h"
#include "segment.h"

enum { ARENA_SIZE = 64 << 10 };
static struct rst_buffer sound;
static struct rst_analyzer *analyzer;

static void make_sound(void)
{
    void *arena = calloc(1, ARENA_SIZE);
    struct rst_live live;
    RST_CHECK(arena && rst_analyzer_create("english", &analyzer) == 0);
    segment_fill(&live, arena, ARENA_SIZE);
    const struct rst_segment *segment = &live.segment;
    struct rst_seal seal = {&segment, 1, 1, 150, false, "english"};
    RST_CHECK(rst_seal_build(&seal, &sound) == 0);
    free(arena);
}

static void fix_checksums(uint8_t *bytes, size_t size)
{
    struct rst_sealed_header header;
    memcpy(&header, bytes, sizeof header);
    header.magic = RST_SEALED_MAGIC;
    header.file_size = size;
    for (uint32_t i = 0; i < RST_SEALED_SECTION_COUNT; i++) {
        struct rst_sealed_section *section = &header.sections[i];
        if (section->offset > size || section->size > size - section->offset) continue;
        section->hash = rst_hash(bytes + section->offset, section->size, i + 1);
    }
    header.hash = rst_hash(&header, offsetof(struct rst_sealed_header, hash), 0);
    memcpy(bytes, &header, sizeof header);
}

static void merge(const struct rst_sealed *sealed, uint64_t lsn_last, bool oldest)
{
    const struct rst_segment *segments[2] = {&sealed->segment, &sealed->segment};
    struct rst_buffer file = {0};
    struct rst_seal seal = {segments, 1 + oldest, 1, lsn_last, oldest, "english"};
    (void)rst_seal_build(&seal, &file);
    rst_buffer_free(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!analyzer) make_sound();
    struct fuzz fuzz = {data, size};
    uint8_t kind = fuzz_u8(&fuzz);
    struct rst_sealed sealed;
    size_t file_size = sound.size;
    if (kind % 8 == 7) file_size = (size_t)fuzz_unsigned(&fuzz, 2) % (sound.size + 1);
    uint8_t *bytes = fuzz_copy(sound.data, file_size);
    fuzz_damage(&fuzz, bytes, file_size, fuzz_u8(&fuzz) % 16);
    fuzz_damage(&fuzz, bytes, file_size < sizeof(struct rst_sealed_header) ? file_size : sizeof(struct rst_sealed_header),
                fuzz_u8(&fuzz) % 3);
    if (file_size >= sizeof(struct rst_sealed_header) && kind % 8 != 6) fix_checksums(bytes, file_size);
    if (rst_sealed_open(&sealed, "segment", bytes, file_size, kind % 2 ? "english" : NULL) == 0) {
        struct segment_asker asker = {.segment = &sealed.segment, .analyzer = analyzer};
        for (unsigned i = 0; i < 40 && fuzz.left; i++) segment_ask(&asker, &fuzz);
        segment_ask_all(&asker, kind & 16 ? UINT64_MAX : kind);
        (void)rst_sealed_verify(&sealed, NULL, NULL);
        merge(&sealed, 100 + kind, kind & 32);
    }
    free(bytes);
    return 0;
}
