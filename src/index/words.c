/* SPDX-License-Identifier: MIT
 * index/words.c: folding and word boundaries (layer 5).
 *
 * Two paths. Words of ASCII letters and digits, which is most of what agents write, go through one table look-up a byte. A word
 * that meets any other byte starts again on the slow path: each character is decomposed and case-folded by utf8proc, accents
 * are dropped, and what is left is composed again, because Snowball's stemmers expect composed letters.
 *
 * Left out: dictionaries for scripts without spaces (each letter is a word there, a phrase finds whole words), and UAX #29's
 * finer rules (apostrophes, "3.14", and underscores separate words; queries are split in the same way). */
#include "index/words.h"

#include <string.h>
#include <utf8proc.h>

/* Longer than any word that is kept: 63 bytes, each character decomposed to at most 4. What comes after is dropped. */
enum { POINT_COUNT_MAX = 256, PIECE_COUNT_MAX = 32 };

static const uint8_t ascii_fold[256] = {
    ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5', ['6'] = '6', ['7'] = '7', ['8'] = '8',
    ['9'] = '9', ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd', ['e'] = 'e', ['f'] = 'f', ['g'] = 'g', ['h'] = 'h',
    ['i'] = 'i', ['j'] = 'j', ['k'] = 'k', ['l'] = 'l', ['m'] = 'm', ['n'] = 'n', ['o'] = 'o', ['p'] = 'p', ['q'] = 'q',
    ['r'] = 'r', ['s'] = 's', ['t'] = 't', ['u'] = 'u', ['v'] = 'v', ['w'] = 'w', ['x'] = 'x', ['y'] = 'y', ['z'] = 'z',
    ['A'] = 'a', ['B'] = 'b', ['C'] = 'c', ['D'] = 'd', ['E'] = 'e', ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i',
    ['J'] = 'j', ['K'] = 'k', ['L'] = 'l', ['M'] = 'm', ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r',
    ['S'] = 's', ['T'] = 't', ['U'] = 'u', ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z',
};

/* One character; 0: these bytes are none. */
static size_t decode(const uint8_t *at, const uint8_t *end, int32_t *ret_point)
{
    utf8proc_int32_t point;
    utf8proc_ssize_t size = utf8proc_iterate(at, end - at, &point);
    if (size <= 0 || point < 0) return 0;
    *ret_point = point;
    return (size_t)size;
}

static bool in(int32_t point, int32_t first, int32_t last) { return point >= first && point <= last; }

/* Accents and points that people leave out when they type, after the letter `base`. */
static bool is_dropped(int32_t point, int32_t base)
{
    if (point < 0x300) return false;
    if (in(point, 0x300, 0x36f)) {
        /* In Cyrillic a breve or two dots make another letter (й, ї, ў), but a stress accent does not, and ё is written е. */
        if (in(base, 0x400, 0x52f)) return point <= 0x301 || (point == 0x308 && base == 0x435);
        return true;
    }
    return in(point, 0x483, 0x487) || in(point, 0x591, 0x5bd) || point == 0x5bf || in(point, 0x5c1, 0x5c2) ||
           in(point, 0x5c4, 0x5c5) || point == 0x5c7 || in(point, 0x610, 0x61a) || point == 0x640 || in(point, 0x64b, 0x652) ||
           point == 0x670 || in(point, 0x6d6, 0x6dc) || in(point, 0x6df, 0x6e4) || in(point, 0x1ab0, 0x1aff) ||
           in(point, 0x1dc0, 0x1dff) || in(point, 0x20d0, 0x20ff) || in(point, 0xfe20, 0xfe2f);
}

/* Letters of scripts without spaces between words. */
static bool is_solo(int32_t point)
{
    if (point < 0x0e00) return false;
    return in(point, 0x0e00, 0x0eff) || in(point, 0x1000, 0x109f) || in(point, 0x1780, 0x17ff) || in(point, 0x3005, 0x3007) ||
           in(point, 0x3021, 0x3029) || in(point, 0x3041, 0x30ff) || in(point, 0x31f0, 0x31ff) || in(point, 0x3400, 0x4dbf) ||
           in(point, 0x4e00, 0x9fff) || in(point, 0xf900, 0xfaff) || in(point, 0x1b000, 0x1b16f) || in(point, 0x20000, 0x3ffff);
}

static bool is_mark(int32_t point)
{
    utf8proc_category_t category = utf8proc_category(point);
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC || category == UTF8PROC_CATEGORY_ME;
}

static bool is_word_point(int32_t point)
{
    utf8proc_category_t category = utf8proc_category(point);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NO;
}

/* The folded spelling of one character, at most PIECE_COUNT_MAX code points; 0: it is invisible. */
static size_t fold_point(int32_t point, bool turkic, int32_t *pieces)
{
    if (turkic && point == 'I') point = 0x131;
    if (point < 0x80) {
        pieces[0] = point >= 'A' && point <= 'Z' ? point + 32 : point;
        return 1;
    }
    int last_boundary = 0;
    utf8proc_option_t options = UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE;
    utf8proc_ssize_t count = utf8proc_decompose_char(point, pieces, PIECE_COUNT_MAX, options, &last_boundary);
    if (count >= 0 && count <= PIECE_COUNT_MAX) return (size_t)count;
    pieces[0] = point; /* no character has so long a spelling */
    return 1;
}

/* Puts marks in canonical order and composes. Returns the new count. */
static size_t compose(int32_t *points, size_t count)
{
    bool any_mark = false;
    for (size_t i = 1; i < count; i++) {
        if (points[i] < 0x300) continue;
        any_mark = true;
        utf8proc_propval_t class = utf8proc_get_property(points[i])->combining_class;
        if (!class) continue;
        int32_t moved = points[i];
        size_t to = i;
        while (to > 0 && utf8proc_get_property(points[to - 1])->combining_class > class) {
            points[to] = points[to - 1];
            to--;
        }
        points[to] = moved;
    }
    if (!any_mark) return count;
    utf8proc_ssize_t composed = utf8proc_normalize_utf32(points, (utf8proc_ssize_t)count, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    return composed > 0 ? (size_t)composed : count;
}

static uint32_t hash_add(uint32_t hash, uint8_t byte) { return (hash ^ byte) * 0x01000193u; }
enum { HASH_START = 0x811c9dc5 };

static void encode_word(int32_t *points, size_t count, struct rst_word *ret_word)
{
    count = compose(points, count);
    uint32_t hash = (uint32_t)HASH_START;
    ret_word->size = 0;
    for (size_t i = 0; i < count; i++) {
        uint8_t bytes[4];
        utf8proc_ssize_t size = utf8proc_encode_char(points[i], bytes);
        if (size <= 0) continue;
        if (ret_word->size + (size_t)size > RST_WORD_SIZE_MAX) break;
        for (utf8proc_ssize_t k = 0; k < size; k++) {
            ret_word->bytes[ret_word->size++] = bytes[k];
            hash = hash_add(hash, bytes[k]);
        }
    }
    ret_word->hash = hash;
}

/* A word under construction on the slow path. */
struct spelling {
    int32_t points[POINT_COUNT_MAX];
    size_t count;
    int32_t base; /* the last letter: it decides which marks are accents */
    bool solo;
};

/* Takes one character's pieces. false: the word ends before it. */
static bool add_pieces(struct spelling *spelling, const int32_t *pieces, size_t piece_count)
{
    size_t useful = 0;
    for (size_t i = 0; i < piece_count; i++) useful += is_word_point(pieces[i]);
    if (!useful && piece_count) return false;
    for (size_t i = 0; i < piece_count; i++) {
        int32_t piece = pieces[i];
        if (!is_word_point(piece)) continue;
        bool mark = is_mark(piece);
        if (mark || piece == 0x640) {
            if (!spelling->count || is_dropped(piece, spelling->base)) continue;
        } else {
            bool solo = is_solo(piece);
            if (spelling->count && i == 0 && (solo || spelling->solo)) return false;
            spelling->base = piece;
            spelling->solo = solo;
        }
        if (spelling->count < POINT_COUNT_MAX) spelling->points[spelling->count++] = piece;
    }
    return true;
}

/* The word that begins at words->at, or nothing if only signs and marks come before the next ASCII byte that separates. */
static bool slow_word(struct rst_words *words, struct rst_word *ret_word)
{
    struct spelling spelling;
    spelling.count = 0;
    spelling.base = 0;
    spelling.solo = false;
    while (words->at < words->end) {
        int32_t point, pieces[PIECE_COUNT_MAX];
        size_t size = decode(words->at, words->end, &point);
        size_t piece_count = size && point != 0x200b ? fold_point(point, words->turkic, pieces) : 0;
        bool separates = !size || point == 0x200b; /* the zero-width space is there to separate */
        if (separates || !add_pieces(&spelling, pieces, piece_count)) {
            if (spelling.count) break;
            words->at += size ? size : 1;
            if (words->at < words->end && *words->at < 0x80) return false;
            continue;
        }
        words->at += size;
    }
    if (!spelling.count) return false;
    encode_word(spelling.points, spelling.count, ret_word);
    return ret_word->size > 0;
}

/* Dashes, curly quotes, bullets, ellipses (U+2010 to U+2027) and the no-break space: what ends English words beside ASCII signs. */
static bool is_punctuation(const uint8_t *at, const uint8_t *end)
{
    if (at[0] == 0xc2) return end - at >= 2 && at[1] == 0xa0;
    return at[0] == 0xe2 && end - at >= 3 && at[1] == 0x80 && at[2] >= 0x90 && at[2] <= 0xa7;
}

void rst_words_begin(struct rst_words *words, struct roost_bytes text, bool turkic)
{
    words->at = text.data;
    words->end = text.size ? words->at + text.size : words->at;
    words->turkic = turkic;
}

bool rst_words_next(struct rst_words *words, struct rst_word *ret_word)
{
    const uint8_t *end = words->end;
    while (words->at < end) {
        const uint8_t *at = words->at;
        while (at < end && *at < 0x80 && !ascii_fold[*at]) at++;
        words->at = at;
        uint32_t size = 0, hash = (uint32_t)HASH_START;
        bool slow = false;
        for (uint8_t folded; at < end && (folded = ascii_fold[*at]) != 0; at++) {
            if (words->turkic && *at == 'I') {
                slow = true;
                break;
            }
            if (size == RST_WORD_SIZE_MAX) continue;
            ret_word->bytes[size++] = folded;
            hash = hash_add(hash, folded);
        }
        if (slow || (at < end && *at >= 0x80 && !(size && is_punctuation(at, end)))) {
            if (slow_word(words, ret_word)) return true;
            continue;
        }
        words->at = at;
        if (!size) continue;
        ret_word->size = size;
        ret_word->hash = hash;
        return true;
    }
    return false;
}

void rst_fold(struct roost_bytes text, bool turkic, struct rst_buffer *to)
{
    const uint8_t *at = text.data, *end = text.size ? at + text.size : at;
    struct rst_buffer points = {0};
    int32_t base = 0;
    while (at < end) {
        int32_t point, pieces[PIECE_COUNT_MAX];
        size_t size = decode(at, end, &point);
        at += size ? size : 1;
        if (!size) continue;
        size_t count = fold_point(point, turkic, pieces);
        for (size_t i = 0; i < count; i++) {
            if (base && is_dropped(pieces[i], base)) continue;
            if (pieces[i] < 0x80 || !is_mark(pieces[i])) base = pieces[i];
            rst_buffer_add(&points, &pieces[i], sizeof pieces[i]);
        }
    }
    size_t count = points.data ? compose((int32_t *)(void *)points.data, points.size / sizeof(int32_t)) : 0;
    for (size_t i = 0; i < count; i++) {
        int32_t point;
        memcpy(&point, points.data + i * sizeof point, sizeof point);
        uint8_t bytes[4];
        utf8proc_ssize_t size = utf8proc_encode_char(point, bytes);
        if (size > 0) rst_buffer_add(to, bytes, (size_t)size);
    }
    if (points.failed) to->failed = true;
    rst_buffer_free(&points);
}
