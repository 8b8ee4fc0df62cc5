/* SPDX-License-Identifier: MIT
 * store/scan.c: everything that lies in a chunk, one thing after the other (layer 4). */
#include "store/scan.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

void rst_scan_begin(struct rst_scan *scan, const void *data, uint64_t size, uint32_t chunk)
{
    *scan = (struct rst_scan){.data = data, .size = size, .chunk = chunk};
}

/* Does a whole header begin here? */
static bool whole_at(const struct rst_scan *scan, uint64_t offset, struct rst_record_view *ret_record)
{
    if (offset > scan->size || scan->size - offset < sizeof(struct rst_record)) return false;
    if (rst_get_u32(scan->data + offset) != RST_RECORD_MAGIC) return false;
    return rst_record_decode(scan->data + offset, scan->size - offset, scan->chunk, offset, ret_record) == 0;
}

static bool zeros(const uint8_t *data, uint64_t size)
{
    return !size || (!data[0] && memcmp(data, data + 1, (size_t)size - 1) == 0);
}

/* Is this where a record may end: at another one, at the end, or before bytes that nobody wrote? */
static bool ends_well(const struct rst_scan *scan, uint64_t offset)
{
    struct rst_record_view next;
    if (offset == scan->size || (offset < scan->size && whole_at(scan, offset, &next))) return true;
    return offset < scan->size && scan->size - offset >= sizeof next.header && zeros(scan->data + offset, sizeof next.header);
}

static void take_record(struct rst_scan *scan, struct rst_scan_item *item)
{
    const struct rst_record *header = &item->record.header;
    uint64_t rest = scan->size - item->offset, size = rst_record_size(header->fields_size, header->payload_size);
    item->kind = RST_SCAN_RECORD;
    item->size = size < rest ? size : rest;
    /* The chunk may end within the padding. */
    bool there = sizeof *header + header->fields_size + (uint64_t)header->payload_size <= rest;
    item->payload_right = there && (scan->heads || !header->payload_size || rst_record_payload_right(&item->record));
    scan->offset = item->offset + item->size;
    if (item->payload_right || size > rest || ends_well(scan, scan->offset)) return;
    /* Its size leads nowhere: what lies inside is looked at too, as it may be bytes of a life that ended, written over since. */
    scan->inside = scan->offset;
    scan->offset = item->offset + sizeof *header + header->fields_size;
}

/* The bytes of a header that fails its checksum, if they are like one: then most of it is probably right. */
static bool guess(const struct rst_scan *scan, uint64_t offset, struct rst_record *ret_header, uint64_t *ret_end)
{
    if (scan->size - offset < sizeof *ret_header) return false;
    memcpy(ret_header, scan->data + offset, sizeof *ret_header);
    if (!ret_header->kind || ret_header->kind >= RST_RECORD_KIND_COUNT || ret_header->flags ||
        ret_header->fields_size % RST_RECORD_ALIGNMENT)
        return false;
    uint64_t size = rst_record_size(ret_header->fields_size, ret_header->payload_size);
    bool fits = size <= scan->size - offset && ret_header->lsn && ends_well(scan, offset + size);
    *ret_end = fits ? offset + size : 0;
    return fits || ret_header->magic == RST_RECORD_MAGIC;
}

static void take_gap(struct rst_scan *scan, struct rst_scan_item *item)
{
    struct rst_record_view next;
    uint64_t end = 0, offset = item->offset;
    item->kind = RST_SCAN_GAP;
    item->guess = guess(scan, offset, &item->record.header, &end);
    if (end)
        offset = end;
    else
        do offset += RST_RECORD_ALIGNMENT;
        while (offset < scan->size && !whole_at(scan, offset, &next));
    if (offset > scan->size) offset = scan->size;
    item->size = offset - item->offset;
    item->zero = zeros(scan->data + item->offset, item->size);
    scan->offset = offset;
}

bool rst_scan_next(struct rst_scan *scan, struct rst_scan_item *ret_item)
{
    while (scan->offset < scan->size) {
        struct rst_scan_item item;
        memset(&item, 0, sizeof item);
        item.offset = scan->offset;
        bool whole = whole_at(scan, item.offset, &item.record);
        uint64_t rest = scan->size - item.offset, number = item.record.header.number;
        if (whole && item.record.header.kind == RST_RECORD_VOID && number >= sizeof(struct rst_record) &&
            number % RST_RECORD_ALIGNMENT == 0) {
            /* What lies in a void is nobody's; but its length is only believed when it stays inside the chunk. */
            item.kind = RST_SCAN_VOID;
            item.size = number <= rest ? number : sizeof(struct rst_record);
            scan->offset += item.size;
        } else if (whole) {
            take_record(scan, &item);
        } else {
            take_gap(scan, &item);
            if (scan->offset <= scan->inside) continue;
        }
        *ret_item = item;
        return true;
    }
    return false;
}

/* ---- epochs ---- */

void rst_epochs_add(struct rst_epochs *epochs, const struct rst_record *record)
{
    struct rst_epoch_end end = {record->epoch, record->extra};
    if (record->kind == RST_RECORD_EPOCH) rst_buffer_add(&epochs->ends, &end, sizeof end);
}

static int by_epoch(const void *a, const void *b)
{
    const struct rst_epoch_end *x = a, *y = b;
    return (x->epoch > y->epoch) - (x->epoch < y->epoch);
}

/* By epoch, each with the least LSN that it or a later one kept. */
void rst_epochs_sort(struct rst_epochs *epochs)
{
    struct rst_epoch_end *ends = (struct rst_epoch_end *)(void *)epochs->ends.data;
    size_t count = epochs->ends.size / sizeof *ends;
    if (count) qsort(ends, count, sizeof *ends, by_epoch);
    for (size_t i = count; i-- > 1;)
        if (ends[i].lsn < ends[i - 1].lsn) ends[i - 1].lsn = ends[i].lsn;
}

bool rst_epochs_kept(const struct rst_epochs *epochs, uint64_t epoch, uint64_t lsn)
{
    const struct rst_epoch_end *ends = (const struct rst_epoch_end *)(const void *)epochs->ends.data;
    size_t low = 0, high = epochs->ends.size / sizeof *ends, count = high;
    while (low < high) { /* the first later epoch */
        size_t middle = low + (high - low) / 2;
        if (ends[middle].epoch <= epoch)
            low = middle + 1;
        else
            high = middle;
    }
    return low == count || lsn <= ends[low].lsn;
}

void rst_epochs_free(struct rst_epochs *epochs) { rst_buffer_free(&epochs->ends); }
