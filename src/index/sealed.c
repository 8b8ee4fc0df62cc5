/* SPDX-License-Identifier: MIT
 * index/sealed.c: asking a sealed segment, which is a mapped file (layer 5).
 *
 * The header and its table of sections are checked once, when the segment is opened; where the sections lie is then kept in
 * this process's memory. A section's checksum is computed the first time somebody needs it. Yet no byte is trusted: every
 * offset is held against its section before it is followed, so that even a file made to deceive ends in ROOST_ECORRUPT.
 *
 * Left out: making the file (seal.c), mapping it (the engine), skipping inside postings (they are read from end to end). */
#include "index/sealed.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/error.h"
#include "base/hash.h"
#include "index/analysis.h"
#include "index/sealed_layout.h"

/* What the private words of struct rst_sealed hold. */
enum { WORD_VERIFIED = 0, WORD_OFFSETS = 1, WORD_SIZES = 8 };

static const uint32_t entry_sizes[RST_SEALED_SECTION_COUNT] = {
    sizeof(struct rst_sealed_memory),
    sizeof(struct rst_sealed_tombstone),
    sizeof(struct rst_sealed_term),
    1,
    1,
    sizeof(struct rst_sealed_map),
    1,
};
static const char *const section_names[RST_SEALED_SECTION_COUNT] = {
    "memories", "tombstones", "terms", "term bytes", "postings", "map", "map keys",
};

static const struct rst_sealed *sealed_of(const struct rst_segment *segment)
{
    return (const struct rst_sealed *)(const void *)segment;
}

static int corrupt(const struct rst_sealed *sealed, uint64_t offset, const char *what)
{
    return rst_fail(ROOST_ECORRUPT, "%s: offset %" PRIu64 ": %s; `roost rebuild` makes the index anew", sealed->name, offset,
                    what);
}

/* ---- Sections ---------------------------------------------------------------------------------------------------- */

struct section {
    const uint8_t *data;
    uint64_t size, count; /* bytes; entries */
    uint64_t offset;      /* in the file, for messages */
};

static void locate(const struct rst_sealed *sealed, uint32_t index, struct section *ret_section)
{
    ret_section->offset = sealed->word[WORD_OFFSETS + index];
    ret_section->size = sealed->word[WORD_SIZES + index];
    ret_section->count = ret_section->size / entry_sizes[index];
    ret_section->data = sealed->data + ret_section->offset;
}

static bool section_hash_fits(const struct rst_sealed *sealed, uint32_t index, const struct section *section)
{
    struct rst_sealed_section stored;
    memcpy(&stored, sealed->data + offsetof(struct rst_sealed_header, sections) + index * sizeof stored, sizeof stored);
    return rst_hash(section->data, section->size, index + 1) == stored.hash;
}

/* A section that is fit for use. Several threads may verify the same one at once: they find the same. */
static int use_section(const struct rst_sealed *sealed, uint32_t index, struct section *ret_section)
{
    locate(sealed, index, ret_section);
    uint64_t *verified = (uint64_t *)(uintptr_t)&sealed->word[WORD_VERIFIED]; /* the one word that changes after opening */
    uint64_t bit = UINT64_C(1) << index;
    if (rst_load_u64(verified) & bit) return 0; /* pairs with the compare-and-set below */
    if (!section_hash_fits(sealed, index, ret_section)) {
        char what[80];
        snprintf(what, sizeof what, "the section of %s (%" PRIu64 " bytes) fails its checksum", section_names[index],
                 ret_section->size);
        return corrupt(sealed, ret_section->offset, what);
    }
    for (;;) {
        uint64_t before = rst_load_u64(verified);
        if (rst_cas_u64(verified, before, before | bit)) return 0;
    }
}

/* ---- Memories and tombstones ------------------------------------------------------------------------------------- */

static struct rst_sealed_memory memory_at(const struct section *memories, uint64_t index)
{
    struct rst_sealed_memory memory;
    memcpy(&memory, memories->data + index * sizeof memory, sizeof memory);
    return memory;
}

static uint64_t memory_id_at(const struct section *memories, uint64_t index)
{
    return rst_get_u64(memories->data + index * sizeof(struct rst_sealed_memory));
}

/* The first index whose id is >= id. Ids ascend, so the place of an id is known up to the number of missing ones: the k-th
 * memory has at least id_first + k, and at most id_last - (count - 1 - k). */
static uint64_t memory_lower_bound(const struct rst_sealed *sealed, const struct section *memories, uint64_t id)
{
    uint64_t count = memories->count;
    if (!count || id <= sealed->id_first) return 0;
    if (id > sealed->id_last) return count;
    uint64_t low = 0, high = count;
    if (id - sealed->id_first < high) high = id - sealed->id_first + 1;
    if (sealed->id_last - id < count) low = count - 1 - (sealed->id_last - id);
    if (low >= high) return high - 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (memory_id_at(memories, middle) < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void fill_entry(const struct rst_sealed_memory *memory, struct rst_memory_entry *ret_entry)
{
    struct rst_memory_entry entry = {memory->id,      memory->lsn,         {memory->offset, memory->size, memory->chunk},
                                     memory->time_ns, memory->token_count, 0};
    *ret_entry = entry;
}

static int sealed_memory(const struct rst_segment *segment, uint64_t id, uint64_t visible, struct rst_memory_entry *ret_entry)
{
    const struct rst_sealed *sealed = sealed_of(segment);
    if (id < sealed->id_first || id > sealed->id_last || !sealed->memory_count) return 0;
    struct section memories;
    int err = use_section(sealed, RST_SEALED_MEMORIES, &memories);
    if (err < 0) return err;
    uint64_t index = memory_lower_bound(sealed, &memories, id);
    if (index >= memories.count) return 0;
    struct rst_sealed_memory memory = memory_at(&memories, index);
    if (memory.id != id || memory.lsn > visible) return 0;
    fill_entry(&memory, ret_entry);
    return 1;
}

static int sealed_memory_near(const struct rst_segment *segment, uint64_t id, bool forward, uint64_t visible,
                              struct rst_memory_entry *ret_entry)
{
    const struct rst_sealed *sealed = sealed_of(segment);
    struct section memories;
    int err = use_section(sealed, RST_SEALED_MEMORIES, &memories);
    if (err < 0) return err;
    uint64_t index = memory_lower_bound(sealed, &memories, id);
    if (!forward) index += index < memories.count && memory_id_at(&memories, index) == id; /* now one past the answer */
    /* LSNs ascend with ids: forward, one that is too new ends it; backward the older ones come next. */
    while (forward ? index < memories.count : index > 0) {
        struct rst_sealed_memory memory = memory_at(&memories, forward ? index : index - 1);
        if (memory.lsn <= visible) {
            fill_entry(&memory, ret_entry);
            return 1;
        }
        if (forward) return 0;
        index--;
    }
    return 0;
}

static struct rst_sealed_tombstone tombstone_at(const struct section *tombstones, uint64_t index)
{
    struct rst_sealed_tombstone tombstone;
    memcpy(&tombstone, tombstones->data + index * sizeof tombstone, sizeof tombstone);
    return tombstone;
}

static int sealed_tombstone_near(const struct rst_segment *segment, uint64_t id, uint64_t visible, uint64_t *ret_id,
                                 uint64_t *ret_lsn)
{
    const struct rst_sealed *sealed = sealed_of(segment);
    struct section tombstones;
    int err = use_section(sealed, RST_SEALED_TOMBSTONES, &tombstones);
    if (err < 0) return err;
    uint64_t low = 0, high = tombstones.count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (tombstone_at(&tombstones, middle).id < id)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < tombstones.count; low++) {
        struct rst_sealed_tombstone tombstone = tombstone_at(&tombstones, low);
        if (tombstone.lsn > visible) continue;
        *ret_id = tombstone.id;
        *ret_lsn = tombstone.lsn;
        return 1;
    }
    return 0;
}

static int sealed_tombstone(const struct rst_segment *segment, uint64_t id, uint64_t visible, uint64_t *ret_lsn)
{
    uint64_t found, lsn;
    int result = sealed_tombstone_near(segment, id, visible, &found, &lsn);
    if (result <= 0 || found != id) return result < 0 ? result : 0;
    *ret_lsn = lsn;
    return 1;
}

/* ---- Terms and postings ------------------------------------------------------------------------------------------ */

struct dictionary {
    struct section terms, bytes;
};

static int use_dictionary(const struct rst_sealed *sealed, struct dictionary *ret_dictionary)
{
    int err = use_section(sealed, RST_SEALED_TERMS, &ret_dictionary->terms);
    return err < 0 ? err : use_section(sealed, RST_SEALED_TERM_BYTES, &ret_dictionary->bytes);
}

static int term_at(const struct rst_sealed *sealed, const struct dictionary *dictionary, uint64_t index,
                   struct rst_sealed_term *ret_term, struct roost_bytes *ret_bytes)
{
    uint64_t at = index * sizeof *ret_term;
    memcpy(ret_term, dictionary->terms.data + at, sizeof *ret_term);
    uint64_t offset = ret_term->bytes_offset, size = ret_term->bytes_size;
    if (!size || size > RST_TERM_SIZE_MAX || offset > dictionary->bytes.size || size > dictionary->bytes.size - offset)
        return corrupt(sealed, dictionary->terms.offset + at, "a term's bytes lie outside their section");
    *ret_bytes = rst_bytes(dictionary->bytes.data + offset, size);
    return 0;
}

/* The first term >= bytes; or, when `after_prefix`, the first one beyond all that begin with bytes. */
static int term_lower_bound(const struct rst_sealed *sealed, const struct dictionary *dictionary, struct roost_bytes bytes,
                            bool after_prefix, uint64_t *ret_index)
{
    uint64_t low = 0, high = dictionary->terms.count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct rst_sealed_term term;
        struct roost_bytes found;
        int err = term_at(sealed, dictionary, middle, &term, &found);
        if (err < 0) return err;
        bool before = rst_bytes_compare(found, bytes) < 0 || (after_prefix && rst_bytes_has_prefix(found, bytes));
        if (before)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_index = low;
    return 0;
}

enum { POSTINGS_AT = 0, POSTINGS_END, POSTINGS_ID, POSTINGS_LEFT };

static int sealed_postings(const struct rst_segment *segment, struct roost_bytes wanted, struct rst_postings_cursor *ret_cursor)
{
    const struct rst_sealed *sealed = sealed_of(segment);
    memset(ret_cursor, 0, sizeof *ret_cursor);
    ret_cursor->segment = segment;
    struct dictionary dictionary;
    struct section postings;
    uint64_t index;
    int err = use_dictionary(sealed, &dictionary);
    if (!err) err = term_lower_bound(sealed, &dictionary, wanted, false, &index);
    if (err < 0) return err;
    if (index == dictionary.terms.count) return 0;
    struct rst_sealed_term term;
    struct roost_bytes found;
    err = term_at(sealed, &dictionary, index, &term, &found);
    if (err < 0) return err;
    if (!rst_bytes_equal(found, wanted)) return 0;
    err = use_section(sealed, RST_SEALED_POSTINGS, &postings);
    if (err < 0) return err;
    if (term.postings_offset > postings.size || term.postings_size > postings.size - term.postings_offset)
        return corrupt(sealed, dictionary.terms.offset + index * sizeof term, "a term's postings lie outside their section");
    ret_cursor->word[POSTINGS_AT] = postings.offset + term.postings_offset;
    ret_cursor->word[POSTINGS_END] = postings.offset + term.postings_offset + term.postings_size;
    ret_cursor->word[POSTINGS_ID] = sealed->id_first - 1;
    ret_cursor->word[POSTINGS_LEFT] = term.posting_count;
    return 1;
}

/* One posting: a varint of twice the step from the id before, plus 1 if the frequency is 1; else the frequency follows. */
static bool decode_posting(const uint8_t *data, uint64_t *at, uint64_t end, uint64_t *ret_step, uint64_t *ret_frequency)
{
    uint64_t head;
    if (*at < end && data[*at] < 0x80) {
        head = data[(*at)++];
    } else {
        size_t size = rst_varint_decode(data + *at, end - *at, &head);
        if (!size) return false;
        *at += size;
    }
    *ret_step = head >> 1;
    *ret_frequency = 1;
    if (head & 1) return true;
    size_t size = rst_varint_decode(data + *at, end - *at, ret_frequency);
    *at += size;
    return size && *ret_frequency > 1 && *ret_frequency <= UINT32_MAX;
}

static int sealed_postings_next(struct rst_postings_cursor *cursor, uint64_t visible, struct rst_posting *ret_posting)
{
    const struct rst_sealed *sealed = sealed_of(cursor->segment);
    uint64_t *word = cursor->word;
    while (word[POSTINGS_LEFT]) {
        uint64_t begin = word[POSTINGS_AT], step, frequency;
        bool fits = decode_posting(sealed->data, &word[POSTINGS_AT], word[POSTINGS_END], &step, &frequency);
        uint64_t room = sealed->id_last - word[POSTINGS_ID]; /* id_first - 1 may wrap to UINT64_MAX: then room is id_last + 1 */
        if (!fits || !step || step > room) {
            word[POSTINGS_LEFT] = 0;
            return corrupt(sealed, begin, "a posting is malformed");
        }
        word[POSTINGS_ID] += step;
        word[POSTINGS_LEFT]--;
        if (visible < sealed->segment.lsn_last) {
            struct rst_memory_entry entry;
            int found = sealed_memory(&sealed->segment, word[POSTINGS_ID], visible, &entry);
            if (found < 0) return found;
            if (!found) continue;
        }
        ret_posting->id = word[POSTINGS_ID];
        ret_posting->frequency = (uint32_t)frequency;
        return 1;
    }
    return 0;
}

enum { TERMS_NEXT = 0, TERMS_END };

static int sealed_terms(const struct rst_segment *segment, struct roost_bytes prefix, struct rst_terms_cursor *ret_cursor)
{
    const struct rst_sealed *sealed = sealed_of(segment);
    memset(ret_cursor, 0, sizeof *ret_cursor);
    ret_cursor->segment = segment;
    struct dictionary dictionary;
    int err = use_dictionary(sealed, &dictionary);
    if (!err) err = term_lower_bound(sealed, &dictionary, prefix, false, &ret_cursor->word[TERMS_NEXT]);
    if (!err) err = term_lower_bound(sealed, &dictionary, prefix, true, &ret_cursor->word[TERMS_END]);
    if (err < 0) return err;
    return ret_cursor->word[TERMS_NEXT] < ret_cursor->word[TERMS_END];
}

static int sealed_terms_next(struct rst_terms_cursor *cursor, struct roost_bytes *ret_term)
{
    const struct rst_sealed *sealed = sealed_of(cursor->segment);
    struct dictionary dictionary;
    int err = use_dictionary(sealed, &dictionary);
    if (err < 0) return err;
    if (cursor->word[TERMS_NEXT] >= cursor->word[TERMS_END] || cursor->word[TERMS_NEXT] >= dictionary.terms.count) return 0;
    struct rst_sealed_term term;
    err = term_at(sealed, &dictionary, cursor->word[TERMS_NEXT], &term, ret_term);
    if (err < 0) return err;
    cursor->word[TERMS_NEXT]++;
    return 1;
}

/* ---- The ordered map --------------------------------------------------------------------------------------------- */

struct ordered_map {
    struct section entries, keys;
};

static int use_map(const struct rst_sealed *sealed, struct ordered_map *ret_map)
{
    int err = use_section(sealed, RST_SEALED_MAP, &ret_map->entries);
    return err < 0 ? err : use_section(sealed, RST_SEALED_MAP_KEYS, &ret_map->keys);
}

static int map_at(const struct rst_sealed *sealed, const struct ordered_map *map, uint64_t index, struct roost_bytes *ret_key,
                  struct rst_map_entry *ret_entry)
{
    struct rst_sealed_map stored;
    memcpy(&stored, map->entries.data + index * sizeof stored, sizeof stored);
    uint64_t at = map->entries.offset + index * sizeof stored;
    if (stored.key_size > RST_MAP_KEY_SIZE_MAX || stored.key_offset > map->keys.size ||
        stored.key_size > map->keys.size - stored.key_offset)
        return corrupt(sealed, at, "a key lies outside its section");
    if (stored.kind != RST_MAP_SET && stored.kind != RST_MAP_DELETED)
        return corrupt(sealed, at, "a map entry is of no known kind");
    *ret_key = rst_bytes(map->keys.data + stored.key_offset, stored.key_size);
    struct rst_map_entry entry = {stored.lsn,     {stored.offset, stored.size, stored.chunk},
                                  stored.number,  stored.bytes,
                                  stored.time_ns, stored.expires_ns,
                                  stored.kind,    0};
    *ret_entry = entry;
    return 0;
}

/* The first index whose key is >= key; > key when `beyond`. */
static int map_lower_bound(const struct rst_sealed *sealed, const struct ordered_map *map, struct roost_bytes key, bool beyond,
                           uint64_t *ret_index)
{
    uint64_t low = 0, high = map->entries.count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct roost_bytes found;
        struct rst_map_entry entry;
        int err = map_at(sealed, map, middle, &found, &entry);
        if (err < 0) return err;
        int order = rst_bytes_compare(found, key);
        if (order < 0 || (beyond && !order))
            low = middle + 1;
        else
            high = middle;
    }
    *ret_index = low;
    return 0;
}

static int sealed_map(const struct rst_segment *segment, struct roost_bytes key, uint64_t visible,
                      struct rst_map_entry *ret_entry)
{
    const struct rst_sealed *sealed = sealed_of(segment);
    struct ordered_map map;
    uint64_t index;
    int err = use_map(sealed, &map);
    if (!err) err = map_lower_bound(sealed, &map, key, false, &index);
    if (err < 0) return err;
    if (index == map.entries.count) return 0;
    struct roost_bytes found;
    struct rst_map_entry entry;
    err = map_at(sealed, &map, index, &found, &entry);
    if (err < 0) return err;
    if (!rst_bytes_equal(found, key) || entry.lsn > visible) return 0;
    *ret_entry = entry;
    return 1;
}

/* A cursor counts: forward, the index of the next entry; backward, one more than it, so that 0 is the end. */
enum { MAP_NEXT = 0, MAP_BACKWARD };

static int place_cursor(const struct rst_segment *segment, struct roost_bytes key, bool beyond, bool backward,
                        struct rst_map_cursor *ret_cursor)
{
    const struct rst_sealed *sealed = sealed_of(segment);
    memset(ret_cursor, 0, sizeof *ret_cursor);
    ret_cursor->segment = segment;
    ret_cursor->word[MAP_BACKWARD] = backward;
    struct ordered_map map;
    int err = use_map(sealed, &map);
    if (!err) err = map_lower_bound(sealed, &map, key, beyond, &ret_cursor->word[MAP_NEXT]);
    if (err < 0) return err;
    return backward ? ret_cursor->word[MAP_NEXT] > 0 : ret_cursor->word[MAP_NEXT] < map.entries.count;
}

static int sealed_map_seek(const struct rst_segment *segment, struct roost_bytes key, bool after,
                           struct rst_map_cursor *ret_cursor)
{
    return place_cursor(segment, key, after, false, ret_cursor);
}

static int sealed_map_before(const struct rst_segment *segment, struct roost_bytes key, bool inclusive,
                             struct rst_map_cursor *ret_cursor)
{
    return place_cursor(segment, key, inclusive, true, ret_cursor);
}

static int sealed_map_next(struct rst_map_cursor *cursor, uint64_t visible, struct roost_bytes *ret_key,
                           struct rst_map_entry *ret_entry)
{
    const struct rst_sealed *sealed = sealed_of(cursor->segment);
    struct ordered_map map;
    int err = use_map(sealed, &map);
    if (err < 0) return err;
    bool backward = cursor->word[MAP_BACKWARD] != 0;
    while (backward ? cursor->word[MAP_NEXT] > 0 : cursor->word[MAP_NEXT] < map.entries.count) {
        uint64_t index = backward ? --cursor->word[MAP_NEXT] : cursor->word[MAP_NEXT]++;
        struct roost_bytes key;
        struct rst_map_entry entry;
        if (index >= map.entries.count) return 0;
        err = map_at(sealed, &map, index, &key, &entry);
        if (err < 0) return err;
        if (entry.lsn > visible) continue;
        *ret_key = key;
        *ret_entry = entry;
        return 1;
    }
    return 0;
}

static const struct rst_segment_ops sealed_ops = {
    .memory = sealed_memory,
    .memory_near = sealed_memory_near,
    .tombstone = sealed_tombstone,
    .tombstone_near = sealed_tombstone_near,
    .postings = sealed_postings,
    .postings_next = sealed_postings_next,
    .terms = sealed_terms,
    .terms_next = sealed_terms_next,
    .map = sealed_map,
    .map_seek = sealed_map_seek,
    .map_before = sealed_map_before,
    .map_next = sealed_map_next,
};

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

static int check_versions(const struct rst_sealed *sealed, const struct rst_sealed_header *header, const char *language)
{
    if (header->version != RST_SEGMENT_VERSION)
        return rst_fail(ROOST_EVERSION, "%s: segment format %" PRIu32 ", this library reads %d", sealed->name, header->version,
                        RST_SEGMENT_VERSION);
    if (header->analysis_version != RST_ANALYSIS_VERSION)
        return rst_fail(ROOST_EVERSION, "%s: text analysis %" PRIu32 ", this library has %d", sealed->name,
                        header->analysis_version, RST_ANALYSIS_VERSION);
    if (language && strncmp((const char *)header->language, language, sizeof header->language) != 0)
        return rst_fail(ROOST_EVERSION, "%s: analysed as %.15s, the root's language is %s", sealed->name,
                        (const char *)header->language, language);
    return 0;
}

/* Takes the table of sections over: each 8-aligned, whole, behind the one before, of as many entries as the header counts. */
static int check_sections(struct rst_sealed *sealed, const struct rst_sealed_header *header)
{
    const uint64_t counts[RST_SEALED_SECTION_COUNT] = {
        [RST_SEALED_MEMORIES] = header->memory_count,
        [RST_SEALED_TOMBSTONES] = header->tombstone_count,
        [RST_SEALED_TERMS] = header->term_count,
        [RST_SEALED_MAP] = header->map_count,
    };
    uint64_t end = sizeof *header;
    for (uint32_t i = 0; i < RST_SEALED_SECTION_COUNT; i++) {
        const struct rst_sealed_section *section = &header->sections[i];
        uint64_t at = offsetof(struct rst_sealed_header, sections) + i * sizeof *section;
        if (section->offset % 8 || section->offset < end || section->offset > sealed->size ||
            section->size > sealed->size - section->offset || section->size % entry_sizes[i])
            return corrupt(sealed, at, "the table of sections is wrong");
        if (entry_sizes[i] > 1 && section->size / entry_sizes[i] != counts[i])
            return corrupt(sealed, at, "a section's size does not fit its count");
        end = section->offset + section->size;
        sealed->word[WORD_OFFSETS + i] = section->offset;
        sealed->word[WORD_SIZES + i] = section->size;
    }
    return 0;
}

int rst_sealed_open(struct rst_sealed *ret_sealed, const char *name, const void *data, uint64_t size, const char *language)
{
    struct rst_sealed sealed;
    memset(&sealed, 0, sizeof sealed);
    snprintf(sealed.name, sizeof sealed.name, "%s", name);
    sealed.data = data;
    sealed.size = size;
    struct rst_sealed_header header;
    if (size < sizeof header) return corrupt(&sealed, size, "the file is shorter than its header");
    memcpy(&header, data, sizeof header);
    if (header.magic != RST_SEALED_MAGIC) return corrupt(&sealed, 0, "this is no segment file");
    if (rst_hash(&header, offsetof(struct rst_sealed_header, hash), 0) != header.hash)
        return corrupt(&sealed, 0, "the header fails its checksum");
    int err = check_versions(&sealed, &header, language);
    if (err < 0) return err;
    if (header.file_size != size) return corrupt(&sealed, size, "the file's size is not the one in its header");
    if (header.lsn_first > header.lsn_last || header.id_first > header.id_last ||
        (header.memory_count > 0) != (header.id_first > 0) || header.memory_count > header.id_last - header.id_first + 1)
        return corrupt(&sealed, 0, "the header's ranges are wrong");
    err = check_sections(&sealed, &header);
    if (err < 0) return err;
    sealed.memory_count = header.memory_count;
    sealed.id_first = header.id_first;
    sealed.id_last = header.id_last;
    sealed.segment.ops = &sealed_ops;
    sealed.segment.lsn_first = header.lsn_first;
    sealed.segment.lsn_last = header.lsn_last;
    *ret_sealed = sealed;
    ret_sealed->segment.name = ret_sealed->name;
    return 0;
}

/* ---- Verifying --------------------------------------------------------------------------------------------------- */

struct verifier {
    const struct rst_sealed *sealed;
    void (*found)(void *user, uint64_t offset, const char *what);
    void *user;
    int fault_count;
};

static void fault(struct verifier *verifier, uint64_t offset, const char *what)
{
    if (verifier->fault_count < INT32_MAX) verifier->fault_count++;
    if (verifier->found) verifier->found(verifier->user, offset, what);
}

static void verify_sums(struct verifier *verifier)
{
    const struct rst_sealed *sealed = verifier->sealed;
    uint64_t end = sizeof(struct rst_sealed_header);
    for (uint32_t i = 0; i <= RST_SEALED_SECTION_COUNT; i++) {
        struct section section = {NULL, 0, 0, sealed->size};
        if (i < RST_SEALED_SECTION_COUNT) locate(sealed, i, &section);
        for (; end < section.offset; end++)
            if (sealed->data[end]) fault(verifier, end, "a byte between sections is not zero");
        if (i == RST_SEALED_SECTION_COUNT) break;
        if (!section_hash_fits(sealed, i, &section)) fault(verifier, section.offset, "a section fails its checksum");
        end = section.offset + section.size;
    }
}

static void verify_memories(struct verifier *verifier)
{
    const struct rst_sealed *sealed = verifier->sealed;
    struct section memories, tombstones;
    locate(sealed, RST_SEALED_MEMORIES, &memories);
    locate(sealed, RST_SEALED_TOMBSTONES, &tombstones);
    struct rst_sealed_memory last = {0};
    for (uint64_t i = 0; i < memories.count; i++) {
        struct rst_sealed_memory memory = memory_at(&memories, i);
        uint64_t at = memories.offset + i * sizeof memory;
        if (i ? memory.id <= last.id || memory.lsn < last.lsn : memory.id != sealed->id_first)
            fault(verifier, at, "memories are out of order");
        if (memory.lsn < sealed->segment.lsn_first || memory.lsn > sealed->segment.lsn_last)
            fault(verifier, at, "a memory's LSN is outside the segment's range");
        last = memory;
    }
    if (memories.count && last.id != sealed->id_last) fault(verifier, memories.offset, "the last id is not the header's");
    struct rst_sealed_tombstone before = {0, 0};
    for (uint64_t i = 0; i < tombstones.count; i++) {
        struct rst_sealed_tombstone tombstone = tombstone_at(&tombstones, i);
        uint64_t at = tombstones.offset + i * sizeof tombstone;
        if (tombstone.id <= before.id) fault(verifier, at, "tombstones are out of order");
        if (tombstone.lsn < sealed->segment.lsn_first || tombstone.lsn > sealed->segment.lsn_last)
            fault(verifier, at, "a tombstone's LSN is outside the segment's range");
        before = tombstone;
    }
}

/* One term's postings: well-formed, of memories that are here, and filling exactly their bytes. Returns how many. */
static void verify_postings(struct verifier *verifier, const struct rst_sealed_term *term, uint64_t at)
{
    const struct rst_sealed *sealed = verifier->sealed;
    struct section memories, postings;
    locate(sealed, RST_SEALED_MEMORIES, &memories);
    locate(sealed, RST_SEALED_POSTINGS, &postings);
    if (term->postings_offset > postings.size || term->postings_size > postings.size - term->postings_offset) {
        fault(verifier, at, "a term's postings lie outside their section");
        return;
    }
    uint64_t here = term->postings_offset, end = here + term->postings_size, id = sealed->id_first - 1;
    for (uint32_t i = 0; i < term->posting_count; i++) {
        uint64_t step, frequency, begin = here;
        if (!decode_posting(postings.data, &here, end, &step, &frequency) || !step || step > sealed->id_last - id) {
            fault(verifier, postings.offset + begin, "a posting is malformed");
            return;
        }
        id += step;
        uint64_t index = memory_lower_bound(sealed, &memories, id);
        if (index >= memories.count || memory_id_at(&memories, index) != id)
            fault(verifier, postings.offset + begin, "a posting is of a memory that is not in this segment");
    }
    if (here != end || !term->posting_count) fault(verifier, at, "a term's postings do not fill their bytes");
}

static void verify_terms(struct verifier *verifier, uint64_t posting_count)
{
    const struct rst_sealed *sealed = verifier->sealed;
    struct dictionary dictionary;
    locate(sealed, RST_SEALED_TERMS, &dictionary.terms);
    locate(sealed, RST_SEALED_TERM_BYTES, &dictionary.bytes);
    struct roost_bytes before = rst_bytes(NULL, 0);
    uint64_t counted = 0;
    for (uint64_t i = 0; i < dictionary.terms.count; i++) {
        struct rst_sealed_term term;
        struct roost_bytes bytes;
        uint64_t at = dictionary.terms.offset + i * sizeof term;
        if (term_at(sealed, &dictionary, i, &term, &bytes) < 0) {
            fault(verifier, at, "a term's bytes lie outside their section");
            continue;
        }
        if (i && rst_bytes_compare(before, bytes) >= 0) fault(verifier, at, "terms are out of order");
        before = bytes;
        verify_postings(verifier, &term, at);
        counted += term.posting_count;
    }
    if (counted != posting_count) fault(verifier, dictionary.terms.offset, "the number of postings is not the header's");
}

static void verify_map(struct verifier *verifier)
{
    const struct rst_sealed *sealed = verifier->sealed;
    struct ordered_map map;
    locate(sealed, RST_SEALED_MAP, &map.entries);
    locate(sealed, RST_SEALED_MAP_KEYS, &map.keys);
    struct roost_bytes before = rst_bytes(NULL, 0);
    for (uint64_t i = 0; i < map.entries.count; i++) {
        struct roost_bytes key;
        struct rst_map_entry entry;
        uint64_t at = map.entries.offset + i * sizeof(struct rst_sealed_map);
        if (map_at(sealed, &map, i, &key, &entry) < 0) {
            fault(verifier, at, "a map entry is malformed");
            continue;
        }
        if (i && rst_bytes_compare(before, key) >= 0) fault(verifier, at, "keys are out of order");
        if (entry.lsn < sealed->segment.lsn_first || entry.lsn > sealed->segment.lsn_last)
            fault(verifier, at, "a key's LSN is outside the segment's range");
        before = key;
    }
}

int rst_sealed_verify(const struct rst_sealed *sealed, void (*found)(void *user, uint64_t offset, const char *what), void *user)
{
    struct verifier verifier = {sealed, found, user, 0};
    struct rst_sealed_header header;
    memcpy(&header, sealed->data, sizeof header);
    if (rst_hash(&header, offsetof(struct rst_sealed_header, hash), 0) != header.hash)
        fault(&verifier, 0, "the header fails its checksum");
    verify_sums(&verifier);
    verify_memories(&verifier);
    verify_terms(&verifier, header.posting_count);
    verify_map(&verifier);
    return verifier.fault_count;
}
