/* SPDX-License-Identifier: MIT
 * index/words.h: text to folded words (layer 5).
 * Folding makes one spelling of many: compatibility forms, case and the accents of Latin, Greek, Hebrew and Arabic letters are
 * taken away, so that "Résumé", "RESUME" and "ｒｅｓｕｍｅ" are the same word. Marks that make another letter stay (Cyrillic й,
 * kana が, the vowel signs of Indic scripts). A word is a run of letters, numbers and marks; in scripts that are written without
 * spaces (Han, kana, Thai, Lao, Khmer, Myanmar) each letter is a word. Stems are no matter of this file (analysis.c). */
#ifndef RST_INDEX_WORDS_H
#define RST_INDEX_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "index/segment.h"
#include <roost/roost.h>

/* A term is a kind byte and a word. */
enum { RST_WORD_SIZE_MAX = RST_TERM_SIZE_MAX - 1 };

struct rst_word {
    uint32_t size;
    uint32_t hash; /* of the bytes; for tables in memory only, never stored */
    uint8_t bytes[RST_TERM_SIZE_MAX];
};

/* A pass over the words of one text. Bytes that are not UTF-8 separate words (texts are checked when they come in). */
struct rst_words {
    const uint8_t *at, *end;
    bool turkic; /* Turkish and Azeri: I folds to dotless i */
};
void rst_words_begin(struct rst_words *words, struct roost_bytes text, bool turkic);
/* false: no more. Longer words are cut after at most RST_WORD_SIZE_MAX bytes, between characters. */
bool rst_words_next(struct rst_words *words, struct rst_word *ret_word);

/* Folds all of the text, spaces and signs too, onto the end of `to`. */
void rst_fold(struct roost_bytes text, bool turkic, struct rst_buffer *to);

#endif
