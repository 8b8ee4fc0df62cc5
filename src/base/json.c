/* SPDX-License-Identifier: MIT
 * base/json.c: reading JSON (RFC 8259), strictly (layer 0). */
#include "base/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* Deep enough for any real input, shallow enough for the stack. */
enum { DEPTH_MAX = 64 };

struct parser {
    const char *text;
    size_t size, at;
    struct rst_json_document *document;
};

void *rst_json_allocate(struct rst_json_document *document, size_t size)
{
    void *memory = rst_pool_take(&document->pool, size);
    if (!memory) snprintf(document->error, sizeof document->error, "out of memory");
    return memory;
}

void rst_json_free(struct rst_json_document *document)
{
    rst_pool_free(&document->pool);
    document->root = NULL;
}

bool rst_json_wrong(struct rst_json_document *document, const char *format, ...)
{
    va_list arguments;
    if (document->error[0]) return false;
    va_start(arguments, format);
    vsnprintf(document->error, sizeof document->error, format, arguments);
    va_end(arguments);
    return false;
}

static bool malformed(struct parser *parser, const char *what)
{
    if (parser->at >= parser->size) return rst_json_wrong(parser->document, "not valid JSON: %s, but the line ends", what);
    return rst_json_wrong(parser->document, "not valid JSON at byte %zu: %s", parser->at + 1, what);
}

static void skip_blanks(struct parser *parser)
{
    while (parser->at < parser->size && strchr(" \t\r\n", parser->text[parser->at]) && parser->text[parser->at]) parser->at++;
}

static int peek(const struct parser *parser) { return parser->at < parser->size ? (unsigned char)parser->text[parser->at] : -1; }

static bool hex4(struct parser *parser, unsigned *ret_unit)
{
    unsigned unit = 0;
    for (int i = 0; i < 4; i++) {
        int c = peek(parser);
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return malformed(parser, "\\u takes four hexadecimal digits");
        unit = unit << 4 | (unsigned)digit;
        parser->at++;
    }
    *ret_unit = unit;
    return true;
}

static size_t put_utf8(unsigned code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 63));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 63));
        out[2] = (char)(0x80 | (code & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 63));
    out[2] = (char)(0x80 | (code >> 6 & 63));
    out[3] = (char)(0x80 | (code & 63));
    return 4;
}

/* After "\u": one unit, or a pair of surrogates. */
static bool unicode_escape(struct parser *parser, char *out, size_t *used)
{
    unsigned code, low;
    if (!hex4(parser, &code)) return false;
    if (code >= 0xd800 && code < 0xe000) {
        if (code >= 0xdc00 || parser->size - parser->at < 6 || memcmp(parser->text + parser->at, "\\u", 2) != 0)
            return malformed(parser, "half a surrogate pair");
        parser->at += 2;
        if (!hex4(parser, &low)) return false;
        if (low < 0xdc00 || low > 0xdfff) return malformed(parser, "half a surrogate pair");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    *used += put_utf8(code, out + *used);
    return true;
}

static bool escape(struct parser *parser, char *out, size_t *used)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    int c = peek(parser);
    if (c == 'u') {
        parser->at++;
        return unicode_escape(parser, out, used);
    }
    const char *found = c > 0 ? strchr(from, c) : NULL;
    if (!found) return malformed(parser, "unknown escape after \\");
    parser->at++;
    out[(*used)++] = to[found - from];
    return true;
}

static bool parse_string(struct parser *parser, struct roost_bytes *ret_text)
{
    parser->at++; /* the quote */
    size_t end = parser->at;
    while (end < parser->size && parser->text[end] != '"') end += parser->text[end] == '\\' ? 2 : 1;
    if (end >= parser->size) {
        parser->at = parser->size;
        return malformed(parser, "a string is not closed");
    }
    char *out = rst_json_allocate(parser->document, end - parser->at + 1); /* escapes only shrink */
    size_t used = 0;
    if (!out) return false;
    while (parser->text[parser->at] != '"') {
        unsigned char c = (unsigned char)parser->text[parser->at];
        if (c < 0x20) return malformed(parser, "a control character inside a string; write it as \\u00XX");
        parser->at++;
        if (c != '\\')
            out[used++] = (char)c;
        else if (!escape(parser, out, &used))
            return false;
    }
    parser->at++;
    *ret_text = (struct roost_bytes){out, used};
    return true;
}

static bool digits(struct parser *parser)
{
    size_t start = parser->at;
    while (peek(parser) >= '0' && peek(parser) <= '9') parser->at++;
    return parser->at > start || malformed(parser, "a digit is missing in a number");
}

static bool parse_number(struct parser *parser, struct roost_bytes *ret_text)
{
    size_t start = parser->at;
    if (peek(parser) == '-') parser->at++;
    bool zero = peek(parser) == '0';
    size_t first = parser->at;
    if (!digits(parser)) return false;
    if (zero && parser->at - first > 1) return malformed(parser, "a number begins with 0");
    if (peek(parser) == '.') {
        parser->at++;
        if (!digits(parser)) return false;
    }
    if (peek(parser) == 'e' || peek(parser) == 'E') {
        parser->at++;
        if (peek(parser) == '+' || peek(parser) == '-') parser->at++;
        if (!digits(parser)) return false;
    }
    *ret_text = (struct roost_bytes){parser->text + start, parser->at - start};
    return true;
}

static bool parse_value(struct parser *parser, struct rst_json_value *value, int depth);

static struct rst_json_value *new_value(struct parser *parser, struct rst_json_value ***tail)
{
    struct rst_json_value *value = rst_json_allocate(parser->document, sizeof *value);
    if (!value) return NULL;
    memset(value, 0, sizeof *value);
    **tail = value;
    *tail = &value->next;
    return value;
}

static bool parse_member_name(struct parser *parser, const struct rst_json_value *object, struct rst_json_value *member)
{
    if (peek(parser) != '"') return malformed(parser, "a field's name in quotes is missing");
    if (!parse_string(parser, &member->name)) return false;
    for (const struct rst_json_value *other = object->first; other && other != member; other = other->next)
        if (other->name.size == member->name.size && memcmp(other->name.data, member->name.data, member->name.size) == 0)
            return rst_json_wrong(parser->document, "the field \"%.*s\" is there twice",
                                  (int)(member->name.size < 60 ? member->name.size : 60), (const char *)member->name.data);
    skip_blanks(parser);
    if (peek(parser) != ':') return malformed(parser, "a : is missing after a field's name");
    parser->at++;
    skip_blanks(parser);
    return true;
}

/* An array or an object, from its opening bracket on. */
static bool parse_children(struct parser *parser, struct rst_json_value *value, int depth)
{
    bool object = peek(parser) == '{';
    char close = object ? '}' : ']';
    struct rst_json_value **tail = &value->first;
    value->kind = object ? RST_JSON_OBJECT : RST_JSON_ARRAY;
    if (depth >= DEPTH_MAX) return malformed(parser, "too many levels of brackets");
    parser->at++;
    skip_blanks(parser);
    if (peek(parser) == close) {
        parser->at++;
        return true;
    }
    for (;;) {
        struct rst_json_value *child = new_value(parser, &tail);
        if (!child || (object && !parse_member_name(parser, value, child)) || !parse_value(parser, child, depth + 1))
            return false;
        skip_blanks(parser);
        int c = peek(parser);
        if (c != close && c != ',') return malformed(parser, object ? "a , or } is missing" : "a , or ] is missing");
        parser->at++;
        if (c == close) return true;
        skip_blanks(parser);
    }
}

static bool parse_word(struct parser *parser, const char *word)
{
    size_t size = strlen(word);
    if (parser->size - parser->at < size || memcmp(parser->text + parser->at, word, size) != 0)
        return malformed(parser, "this is no JSON value");
    parser->at += size;
    return true;
}

static bool parse_any(struct parser *parser, struct rst_json_value *value, int depth)
{
    int c = peek(parser);
    switch (c) {
    case '{':
    case '[':
        return parse_children(parser, value, depth);
    case '"':
        value->kind = RST_JSON_STRING;
        return parse_string(parser, &value->text);
    case 't':
        value->kind = RST_JSON_TRUE;
        return parse_word(parser, "true");
    case 'f':
        value->kind = RST_JSON_FALSE;
        return parse_word(parser, "false");
    case 'n':
        value->kind = RST_JSON_NULL;
        return parse_word(parser, "null");
    default:
        if (c != '-' && (c < '0' || c > '9')) return malformed(parser, "a value is missing");
        value->kind = RST_JSON_NUMBER;
        return parse_number(parser, &value->text);
    }
}

static bool parse_value(struct parser *parser, struct rst_json_value *value, int depth)
{
    size_t start = parser->at;
    bool good = parse_any(parser, value, depth);
    value->raw = (struct roost_bytes){parser->text + start, parser->at - start};
    return good;
}

bool rst_json_parse(const char *text, size_t size, struct rst_json_document *ret_document)
{
    struct parser parser = {text, size, 0, ret_document};
    size_t offset = 0;
    memset(ret_document, 0, sizeof *ret_document);
    if (!rst_utf8_valid(text, size, &offset)) return rst_json_wrong(ret_document, "not valid UTF-8 at byte %zu", offset + 1);
    struct rst_json_value *root = NULL, **tail = &root;
    if (!new_value(&parser, &tail)) return false;
    skip_blanks(&parser);
    if (!parse_value(&parser, root, 0)) return false;
    skip_blanks(&parser);
    if (parser.at < size) return malformed(&parser, "more text after the value; one JSON object a line");
    ret_document->root = root;
    return true;
}

const struct rst_json_value *rst_json_member(const struct rst_json_value *object, const char *name)
{
    if (!object || object->kind != RST_JSON_OBJECT) return NULL;
    size_t size = strlen(name);
    for (const struct rst_json_value *value = object->first; value; value = value->next)
        if (value->name.size == size && memcmp(value->name.data, name, size) == 0) return value;
    return NULL;
}

/* ---- Fields ------------------------------------------------------------------------------------------------------ */

static int base64_digit(int c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool decode_base64(struct rst_json_document *document, const char *name, struct roost_bytes text,
                          struct roost_bytes *ret_bytes)
{
    const unsigned char *in = text.data;
    size_t size = text.size;
    while (size && in[size - 1] == '=' && text.size - size < 2) size--;
    unsigned char *out = rst_json_allocate(document, size / 4 * 3 + 3);
    size_t used = 0;
    unsigned bits = 0, count = 0;
    if (!out) return false;
    for (size_t i = 0; i < size; i++) {
        int digit = base64_digit(in[i]);
        if (digit < 0) return rst_json_wrong(document, "\"%s\" is not valid base64 at character %zu", name, i + 1);
        bits = bits << 6 | (unsigned)digit;
        count += 6;
        if (count >= 8) {
            count -= 8;
            out[used++] = (unsigned char)(bits >> count & 0xff);
        }
    }
    if (text.size % 4 || (bits & ((1u << count) - 1)))
        return rst_json_wrong(document, "\"%s\" is not valid base64: it is cut off", name);
    *ret_bytes = (struct roost_bytes){out, used};
    return true;
}

/* The value under NAME or NAME_base64; null counts as absent. */
static const struct rst_json_value *field(const struct rst_json_reader *reader, const char *name, char *base64_name,
                                          size_t name_size, bool *ret_base64)
{
    snprintf(base64_name, name_size, "%s_base64", name);
    const struct rst_json_value *value = rst_json_member(reader->object, name);
    *ret_base64 = !value;
    if (!value) value = rst_json_member(reader->object, base64_name);
    return value && value->kind != RST_JSON_NULL ? value : NULL;
}

bool rst_json_read_bytes(struct rst_json_reader *reader, const char *name, struct roost_bytes *ret_bytes, bool *ret_there)
{
    char long_name[64];
    bool base64;
    const struct rst_json_value *value = field(reader, name, long_name, sizeof long_name, &base64);
    if (ret_there) *ret_there = value != NULL;
    if (!value) return true;
    if (value->kind != RST_JSON_STRING)
        return rst_json_wrong(reader->document, "\"%s\" must be a string", base64 ? long_name : name);
    if (base64) return decode_base64(reader->document, long_name, value->text, ret_bytes);
    *ret_bytes = value->text;
    return true;
}

bool rst_json_read_bytes_list(struct rst_json_reader *reader, const char *name, struct roost_bytes **ret_list, size_t *ret_count)
{
    char long_name[64];
    bool base64;
    const struct rst_json_value *value = field(reader, name, long_name, sizeof long_name, &base64);
    size_t count = 0;
    if (!value) return true;
    if (value->kind != RST_JSON_ARRAY)
        return rst_json_wrong(reader->document, "\"%s\" must be an array of strings", base64 ? long_name : name);
    for (const struct rst_json_value *element = value->first; element; element = element->next) count++;
    struct roost_bytes *list = rst_json_allocate(reader->document, (count + 1) * sizeof *list);
    if (!list) return false;
    count = 0;
    for (const struct rst_json_value *element = value->first; element; element = element->next, count++) {
        if (element->kind != RST_JSON_STRING)
            return rst_json_wrong(reader->document, "\"%s\" must be an array of strings", base64 ? long_name : name);
        list[count] = element->text;
        if (base64 && !decode_base64(reader->document, long_name, element->text, &list[count])) return false;
    }
    *ret_list = list;
    *ret_count = count;
    return true;
}

/* Ids come as strings, counts as numbers; both are taken for both. */
static bool number_text(struct rst_json_reader *reader, const char *name, struct roost_bytes *ret_text)
{
    const struct rst_json_value *value = rst_json_member(reader->object, name);
    *ret_text = (struct roost_bytes){NULL, 0};
    if (!value || value->kind == RST_JSON_NULL) return true;
    if (value->kind != RST_JSON_NUMBER && value->kind != RST_JSON_STRING)
        return rst_json_wrong(reader->document, "\"%s\" must be a whole number", name);
    *ret_text = value->text.size ? value->text : (struct roost_bytes){"?", 1};
    return true;
}

bool rst_json_read_unsigned(struct rst_json_reader *reader, const char *name, uint64_t *ret_number)
{
    struct roost_bytes text;
    if (!number_text(reader, name, &text)) return false;
    if (text.size && !rst_parse_number(text.data, text.size, ret_number))
        return rst_json_wrong(reader->document, "\"%s\" must be a whole number from 0", name);
    return true;
}

bool rst_json_read_signed(struct rst_json_reader *reader, const char *name, int64_t *ret_number)
{
    struct roost_bytes text;
    uint64_t number = 0;
    if (!number_text(reader, name, &text)) return false;
    if (!text.size) return true;
    bool negative = *(const char *)text.data == '-';
    if (!rst_parse_number((const char *)text.data + negative, text.size - negative, &number) ||
        number > (uint64_t)INT64_MAX + negative)
        return rst_json_wrong(reader->document, "\"%s\" must be a whole number (nanoseconds since 1970 for a time)", name);
    *ret_number = negative ? (int64_t)(0 - number) : (int64_t)number;
    return true;
}

bool rst_parse_number(const char *text, size_t size, uint64_t *ret_number)
{
    uint64_t number = 0;
    if (size == 0) return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (number > (UINT64_MAX - digit) / 10) return false;
        number = number * 10 + digit;
    }
    *ret_number = number;
    return true;
}
