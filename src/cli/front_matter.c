/* SPDX-License-Identifier: MIT
 * front_matter.c: what notes say about themselves, in the YAML at the beginning of a Markdown file.
 *
 * This is no YAML parser: it looks for the few names that mean something here, at the left margin (and type under metadata), and passes
 * over everything else. Nothing is lost by that, for the bytes are kept as they are. */
#include "foreign.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct scan {
    const char *text; /* of the lines between the --- */
    size_t size, at;
    struct front_matter *front;
    char parent[24]; /* the last name at the left margin */
};

/* ---- Bytes ------------------------------------------------------------------------------------------------------- */

static bool blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static struct roost_bytes trim(struct roost_bytes bytes)
{
    const char *text = bytes.data;
    while (bytes.size && blank(text[0])) text++, bytes.size--;
    while (bytes.size && blank(text[bytes.size - 1])) bytes.size--;
    bytes.data = text;
    return bytes;
}

static struct roost_bytes slice(struct roost_bytes bytes, size_t from, size_t to)
{
    return (struct roost_bytes){(const char *)bytes.data + from, to - from};
}

/* The line at `at`, without its end; *ret_next is where the next one begins. */
static struct roost_bytes line_at(const char *text, size_t size, size_t at, size_t *ret_next)
{
    const char *end = memchr(text + at, '\n', size - at);
    size_t length = end ? (size_t)(end - text) - at : size - at;
    *ret_next = at + length + (end != NULL);
    if (length && text[at + length - 1] == '\r') length--;
    return (struct roost_bytes){text + at, length};
}

static bool is_fence(struct roost_bytes line, bool closing)
{
    if (line.size < 3) return false;
    bool dashes = memcmp(line.data, "---", 3) == 0, dots = closing && memcmp(line.data, "...", 3) == 0;
    return (dashes || dots) && !trim(slice(line, 3, line.size)).size;
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

/* All that is kept is part of the front matter and no longer than there, so there is room. */
static struct roost_bytes keep(struct front_matter *front, struct roost_bytes text)
{
    struct roost_bytes kept = {front->texts + front->texts_used, text.size};
    if (text.size) memcpy(front->texts + front->texts_used, text.data, text.size);
    front->texts_used += text.size;
    return kept;
}

/* Where the quoted text that begins at 0 ends, its quote included; its size if it never does. */
static size_t quoted_end(struct roost_bytes value)
{
    const char *text = value.data;
    for (size_t i = 1; i < value.size; i++) {
        if ((text[i] == '\\' && text[0] == '"') ||
            (text[0] == '\'' && text[i] == '\'' && i + 1 < value.size && text[i + 1] == '\''))
            i++;
        else if (text[i] == text[0])
            return i + 1;
    }
    return value.size;
}

/* Within single quotes a quote is written twice. */
static struct roost_bytes undouble(struct front_matter *front, struct roost_bytes kept)
{
    char *text = front->texts + ((const char *)kept.data - front->texts);
    size_t used = 0;
    for (size_t i = 0; i < kept.size; i++) {
        text[used++] = text[i];
        if (text[i] == '\'' && i + 1 < kept.size && text[i + 1] == '\'') i++;
    }
    return (struct roost_bytes){text, used};
}

/* A plain or quoted value, without quotes and comment. */
static struct roost_bytes scalar(struct front_matter *front, struct roost_bytes value)
{
    value = trim(value);
    const char *text = value.data;
    if (value.size >= 2 && (text[0] == '"' || text[0] == '\'')) {
        size_t end = quoted_end(value);
        struct roost_bytes inner = slice(value, 1, end > 1 && text[end - 1] == text[0] ? end - 1 : end);
        struct rst_json_document document = {0};
        if (text[0] == '"' && rst_json_parse(text, end, &document)) inner = document.root->text;
        struct roost_bytes kept = keep(front, inner);
        rst_json_free(&document);
        return text[0] == '"' ? kept : undouble(front, kept);
    }
    for (size_t i = 0; i < value.size; i++)
        if (text[i] == '#' && i && blank(text[i - 1])) value.size = i;
    return keep(front, trim(value));
}

static void add_tag(struct front_matter *front, struct roost_bytes value)
{
    struct roost_bytes tag = scalar(front, value);
    while (tag.size && *(const char *)tag.data == '#') tag = slice(tag, 1, tag.size);
    if (foreign_name_fits(tag) && front->tag_count < sizeof front->tags / sizeof front->tags[0])
        front->tags[front->tag_count++] = tag;
}

/* a, "b, c", d: up to the bracket if there is one; returns where it ended. */
static size_t add_tags(struct front_matter *front, struct roost_bytes list, bool bracket)
{
    const char *text = list.data;
    size_t first = 0, at = 0;
    for (; at < list.size && !(bracket && text[at] == ']'); at++) {
        if ((text[at] == '"' || text[at] == '\'') && !trim(slice(list, first, at)).size)
            at += quoted_end(slice(list, at, list.size)) - 1;
        if (at >= list.size || (text[at] != ',' && text[at] != '\n')) continue;
        add_tag(front, slice(list, first, at));
        first = at + 1;
    }
    if (at > list.size) at = list.size;
    add_tag(front, slice(list, first, at));
    return at;
}

/* ---- Time -------------------------------------------------------------------------------------------------------- */

static bool digits(const char **at, const char *end, int count, int64_t *ret_number)
{
    int64_t number = 0;
    for (int i = 0; i < count; i++, (*at)++) {
        if (*at >= end || **at < '0' || **at > '9') return false;
        number = number * 10 + (**at - '0');
    }
    *ret_number = number;
    return true;
}

static bool one_of(const char **at, const char *end, const char *wanted)
{
    if (*at >= end || !**at || !strchr(wanted, **at)) return false;
    (*at)++;
    return true;
}

/* Days since 1970 of the civil calendar (the year begins in March, so that the leap day is its last). */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = year / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int64_t fraction_ns(const char **at, const char *end)
{
    int64_t ns = 0, scale = 100000000, digit;
    if (!one_of(at, end, ".,")) return 0;
    for (; digits(at, end, 1, &digit); scale /= 10) ns += digit * scale;
    return ns;
}

/* Seconds east of Greenwich. */
static bool zone(const char **at, const char *end, int64_t *ret_seconds)
{
    int64_t hours = 0, minutes = 0;
    while (one_of(at, end, " "))
        ;
    *ret_seconds = 0;
    if (*at == end || one_of(at, end, "Zz")) return *at == end;
    bool west = **at == '-';
    if (!one_of(at, end, "+-") || !digits(at, end, 2, &hours)) return false;
    (void)one_of(at, end, ":");
    if (*at < end && !digits(at, end, 2, &minutes)) return false;
    *ret_seconds = (west ? -1 : 1) * (hours * 3600 + minutes * 60);
    return *at == end && hours < 24 && minutes < 60;
}

bool front_matter_time(struct roost_bytes text, int64_t *ret_time_ns)
{
    const char *at = text.data, *end = at + text.size;
    int64_t year, month, day, hour = 0, minute = 0, second = 0, ns = 0, east = 0;
    if (!text.size || !digits(&at, end, 4, &year) || !one_of(&at, end, "-") || !digits(&at, end, 2, &month) ||
        !one_of(&at, end, "-") || !digits(&at, end, 2, &day))
        return false;
    if (at < end) {
        if (!one_of(&at, end, "Tt ") || !digits(&at, end, 2, &hour) || !one_of(&at, end, ":") || !digits(&at, end, 2, &minute))
            return false;
        if (one_of(&at, end, ":")) {
            if (!digits(&at, end, 2, &second)) return false;
            ns = fraction_ns(&at, end);
        }
        if (!zone(&at, end, &east)) return false;
    }
    /* Years that fit into 64 bits of nanoseconds, with a margin. */
    if (year < 1700 || year > 2250 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 24 || minute > 59 || second > 60)
        return false;
    *ret_time_ns = (days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - east) * 1000000000 + ns;
    return true;
}

/* ---- Lines ------------------------------------------------------------------------------------------------------- */

static bool is_name(struct roost_bytes name, const char *wanted)
{
    return name.size == strlen(wanted) && strncasecmp(name.data, wanted, name.size) == 0;
}

static void take_time(struct front_matter *front, struct roost_bytes value)
{
    if (!front->has_time) front->has_time = front_matter_time(scalar(front, value), &front->time_ns);
}

/* a, b or [a, b], which may go on over several lines. */
static void take_tags(struct scan *scan, struct roost_bytes value, size_t value_at)
{
    bool bracket = *(const char *)value.data == '[';
    if (bracket && memchr(value.data, ']', scan->size - value_at)) {
        size_t first = value_at + 1;
        size_t end = first + add_tags(scan->front, (struct roost_bytes){scan->text + first, scan->size - first}, true);
        if (end > scan->at) (void)line_at(scan->text, scan->size, end, &scan->at);
    } else {
        (void)add_tags(scan->front, bracket ? slice(value, 1, value.size) : value, false);
    }
}

/* name: value, at the left margin. */
static void take_value(struct scan *scan, struct roost_bytes name, struct roost_bytes value, size_t value_at)
{
    struct front_matter *front = scan->front;
    if (!value.size) return;
    if (is_name(name, "title") || (is_name(name, "name") && !front->title.size))
        front->title = scalar(front, value);
    else if (is_name(name, "type"))
        front->type = scalar(front, value);
    else if (is_name(name, "agent"))
        front->agent = scalar(front, value);
    else if (is_name(name, "session"))
        front->session = scalar(front, value);
    else if (is_name(name, "date") || is_name(name, "created") || is_name(name, "created_at") || is_name(name, "time"))
        take_time(front, value);
    else if (is_name(name, "id")) {
        struct roost_bytes number = scalar(front, value);
        if (!rst_parse_number(number.data, number.size, &front->id)) front->id = 0;
    } else if (is_name(name, "tags") || is_name(name, "tag"))
        take_tags(scan, value, value_at);
}

/* Where the colon after a name is; the size if the line has no such. */
static size_t colon_in(struct roost_bytes line)
{
    const char *text = line.data;
    for (size_t i = 0; i < line.size; i++)
        if (text[i] == ':' && (i + 1 == line.size || blank(text[i + 1]))) return i;
    return line.size;
}

static void take_line(struct scan *scan, struct roost_bytes line)
{
    const char *text = line.data;
    struct roost_bytes all = trim(line), parent = {scan->parent, strlen(scan->parent)};
    if (!all.size || *(const char *)all.data == '#') return;
    bool item = *(const char *)all.data == '-' && (all.size == 1 || blank(((const char *)all.data)[1]));
    if (item) {
        if (is_name(parent, "tags") || is_name(parent, "tag")) add_tag(scan->front, slice(all, 1, all.size));
        return;
    }
    size_t colon = colon_in(line);
    if (colon == line.size) return;
    struct roost_bytes name = trim(slice(line, 0, colon)), value = trim(slice(line, colon + 1, line.size));
    if (blank(text[0])) {
        bool type = is_name(parent, "metadata") && is_name(name, "type") && !scan->front->type.size;
        if (type) scan->front->type = scalar(scan->front, value);
        return;
    }
    snprintf(scan->parent, sizeof scan->parent, "%.*s", (int)(name.size < 23 ? name.size : 23), (const char *)name.data);
    take_value(scan, name, value, value.size ? (size_t)((const char *)value.data - scan->text) : 0);
}

/* The lines between the --- and what is before the body; false: there is no front matter. */
static bool find_lines(struct roost_bytes file, size_t *ret_first, size_t *ret_end, size_t *ret_size)
{
    const char *text = file.data;
    size_t first = file.size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0, next = 0, after;
    if (first == file.size || !is_fence(line_at(text, file.size, first, &next), false)) return false;
    *ret_first = next;
    for (size_t at = next; at < file.size; at = next) {
        if (!is_fence(line_at(text, file.size, at, &next), true)) continue;
        *ret_end = at;
        *ret_size = next;
        if (next < file.size && !line_at(text, file.size, next, &after).size) *ret_size = after;
        return true;
    }
    return false;
}

bool front_matter_read(struct roost_bytes file, struct front_matter *ret_front_matter)
{
    struct scan scan = {.front = ret_front_matter};
    size_t first, end;
    memset(ret_front_matter, 0, sizeof *ret_front_matter);
    if (!find_lines(file, &first, &end, &ret_front_matter->size)) return true;
    scan.text = (const char *)file.data + first;
    scan.size = end - first;
    ret_front_matter->texts = malloc(scan.size + 1);
    if (!ret_front_matter->texts) return false;
    while (scan.at < scan.size) {
        size_t next;
        struct roost_bytes line = line_at(scan.text, scan.size, scan.at, &next);
        scan.at = next;
        take_line(&scan, line);
    }
    return true;
}
