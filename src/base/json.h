/* SPDX-License-Identifier: MIT
 * base/json.h: reading JSON (RFC 8259), strictly (layer 0).
 *
 * cJSON is not used for three reasons: it turns numbers into doubles (a time in nanoseconds, or somebody's id, loses its last digits),
 * it ends strings at \u0000, and it lets bytes pass that are not UTF-8. */
#ifndef RST_BASE_JSON_H
#define RST_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include <roost/roost.h>

enum rst_json_kind {
    RST_JSON_NULL,
    RST_JSON_FALSE,
    RST_JSON_TRUE,
    RST_JSON_NUMBER,
    RST_JSON_STRING,
    RST_JSON_ARRAY,
    RST_JSON_OBJECT
};
struct rst_json_value {
    enum rst_json_kind kind;
    struct roost_bytes name;             /* in an object */
    struct roost_bytes text;             /* string: decoded; number: as written */
    struct roost_bytes raw;              /* the whole value as it is written, in the text that was read */
    struct rst_json_value *first, *next; /* children; the next sibling */
};
struct rst_json_document {
    struct rst_json_value *root;
    char error[160]; /* what is wrong, with the byte; "" if nothing */
    struct rst_pool pool;
};
/* Reads one JSON value that fills the text, which must stay as long as the document. The document owns what it decoded; rst_json_free in
 * any case. A name that is there twice in an object is an error; so are more than 64 levels. */
bool rst_json_parse(const char *text, size_t size, struct rst_json_document *ret_document);
void rst_json_free(struct rst_json_document *document);
const struct rst_json_value *rst_json_member(const struct rst_json_value *object, const char *name);

/* Fields of an object that may be absent (then nothing is set). They return false with a sentence in error if the
 * type is wrong. */
struct rst_json_reader {
    struct rst_json_document *document;
    const struct rst_json_value *object;
};
/* A string under NAME, or bytes under NAME_base64. */
bool rst_json_read_bytes(struct rst_json_reader *reader, const char *name, struct roost_bytes *ret_bytes, bool *ret_there);
bool rst_json_read_unsigned(struct rst_json_reader *reader, const char *name, uint64_t *ret_number);
bool rst_json_read_signed(struct rst_json_reader *reader, const char *name, int64_t *ret_number);
bool rst_json_read_bytes_list(struct rst_json_reader *reader, const char *name, struct roost_bytes **ret_list, size_t *ret_count);
/* Memory that lives as long as the document; NULL sets the error. */
void *rst_json_allocate(struct rst_json_document *document, size_t size);
__attribute__((format(printf, 2, 3))) bool rst_json_wrong(struct rst_json_document *document, const char *format, ...);

/* A whole number in decimal digits. */
bool rst_parse_number(const char *text, size_t size, uint64_t *ret_number);

#endif
