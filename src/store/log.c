/* SPDX-License-Identifier: MIT
 * store/log.c: state.wal, the log (layer 4). */
#include "store/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "os/os.h"

static int disk_error(int err, const char *doing, uint64_t offset)
{
    return rst_fail(err, "%s state.wal at offset %llu: %s", doing, (unsigned long long)offset, strerror(-err));
}

/* ---- creation ---- */

/* Pre-writes the ring with zeroes: then one commit is one fdatasync of data alone, with no size or extent to journal. */
static int fill_ring(int file, uint64_t size)
{
    enum { STEP = 1 << 20 };
    uint8_t *zeros = calloc(1, STEP);
    if (!zeros) return rst_fail(ROOST_ENOMEM, "no memory to make state.wal");
    int err = rst_os->allocate(file, 0, RST_LOG_RING_OFFSET + size);
    for (uint64_t offset = 0; !err && offset < size; offset += STEP)
        err = rst_write_all(file, zeros, (size_t)(size - offset < STEP ? size - offset : STEP), RST_LOG_RING_OFFSET + offset);
    free(zeros);
    return err ? rst_fail(err, "state.wal of %llu bytes cannot be made: %s", (unsigned long long)(RST_LOG_RING_OFFSET + size),
                          strerror(-err))
               : 0;
}

/* The header of a file that is not linked yet. */
static int fill_header(int file, struct rst_log_header *header)
{
    struct rst_stat stat;
    int err = rst_os->stat(file, &stat);
    if (err) return disk_error(err, "looking at", 0);
    header->magic = RST_LOG_MAGIC;
    header->format_version = RST_FORMAT_VERSION;
    header->header_size = RST_LOG_HEADER_SIZE;
    header->sequence = 1;
    header->device = stat.device;
    header->inode = stat.inode;
    rst_log_header_seal(header);
    return rst_write_all(file, header, sizeof *header, 0);
}

static int fill_new(int file, struct rst_log_header *header)
{
    int err = fill_ring(file, header->log_size);
    if (!err) err = fill_header(file, header);
    if (!err) err = rst_os->fsync(file);
    return err;
}

static int link_log(int file, int directory)
{
    int err = rst_os->link(file, directory, "state.wal");
    if (err == -EEXIST) return rst_fail(err, "there is a root already");
    return err ? rst_fail(err, "state.wal cannot be linked into the root: %s", strerror(-err)) : 0;
}

int rst_log_create(int directory, struct rst_log_header *header)
{
    /* crash: 1 a nameless file: gone with its last descriptor
     *        2 linked, directory not synced: there, whole, or not there
     *        so an existing state.wal without a valid header is damage, never a half-made one (R10). */
    int file = rst_os->open(directory, ".", RST_OPEN_WRITE | RST_OPEN_TEMPORARY, 0600);
    if (file < 0) return rst_fail(file, "a file cannot be made in the root: %s", strerror(-file));
    int err = fill_new(file, header);
    if (!err) err = link_log(file, directory);
    rst_os->close(file);
    return err;
}

int rst_log_draft(int directory, struct rst_log_header *header, int ring_from, int *ret_file)
{
    int file = rst_os->open(directory, ".", RST_OPEN_WRITE | RST_OPEN_TEMPORARY, 0600);
    if (file < 0) return rst_fail(file, "a file cannot be made in the root: %s", strerror(-file));
    int err = rst_own_like(file, directory);
    if (!err && ring_from < 0) err = fill_ring(file, header->log_size);
    if (!err && ring_from >= 0) err = rst_os->allocate(file, 0, RST_LOG_RING_OFFSET + header->log_size);
    int64_t copied = err || ring_from < 0 ? 0 : rst_copy_all(ring_from, file, header->log_size, RST_LOG_RING_OFFSET);
    if (copied < 0) err = (int)copied;
    if (!err) err = fill_header(file, header);
    if (!err) err = rst_os->fsync(file);
    if (err) {
        rst_os->close(file);
        return rst_fail(err, "state.wal of %llu bytes cannot be made: %s", (unsigned long long)header->log_size, strerror(-err));
    }
    *ret_file = file;
    return 0;
}

int rst_log_publish(int file, int directory)
{
    int err = link_log(file, directory);
    return err ? err : rst_os->fsync(directory);
}

/* ---- headers ---- */

int rst_log_read_header(struct rst_log *log)
{
    struct rst_log_header slots[2];
    memset(slots, 0, sizeof slots);
    int64_t size = rst_read_all(log->file, slots, sizeof slots, 0);
    if (size < 0) return disk_error((int)size, "reading", 0);
    int results[2] = {rst_log_header_check(&slots[0]), rst_log_header_check(&slots[1])};
    int best = -1;
    for (int i = 0; i < 2; i++)
        if (!results[i] && (best < 0 || slots[i].sequence > slots[best].sequence)) best = i;
    if (best < 0) {
        if (results[0] == ROOST_EVERSION || results[1] == ROOST_EVERSION)
            return rst_log_header_check(&slots[results[0] == ROOST_EVERSION ? 0 : 1]);
        if (results[0] == ROOST_ENOENT && results[1] == ROOST_ENOENT)
            return rst_fail(ROOST_EFOREIGN, "state.wal has no Roost header");
        return rst_fail(ROOST_ECORRUPT, "state.wal: both headers are damaged (offsets 0 and %d)", RST_LOG_HEADER_SIZE);
    }
    const struct rst_log_header *header = &slots[best];
    if (header->log_size < UINT64_C(16) * RST_LOG_HEADER_SIZE || header->log_size > UINT64_C(1) << 31 ||
        header->log_size % RST_LOG_HEADER_SIZE || header->chunk_size < UINT64_C(16) * RST_LOG_HEADER_SIZE ||
        header->chunk_size > UINT64_C(1) << 31)
        return rst_fail(ROOST_ECORRUPT, "state.wal: the header's sizes make no sense (offset %d)", best * RST_LOG_HEADER_SIZE);
    if (!log->size) {
        log->size = header->log_size;
        log->chunk_size = header->chunk_size;
        memcpy(log->language, header->language, sizeof log->language);
    } else if (log->size != header->log_size || log->chunk_size != header->chunk_size ||
               memcmp(log->language, header->language, sizeof log->language) != 0) {
        return rst_fail(ROOST_ECORRUPT, "state.wal: the header's sizes or language changed while it was open (offset %d)",
                        best * RST_LOG_HEADER_SIZE);
    }
    log->header = *header;
    return 0;
}

int rst_log_write_header(struct rst_log *log)
{
    /* crash: the slot with the older sequence is overwritten and synced before the next change: one whole header is always there. */
    struct rst_log_header header = log->header;
    header.sequence++;
    rst_log_header_seal(&header);
    uint64_t offset = (header.sequence & 1) ? 0 : RST_LOG_HEADER_SIZE;
    int err = rst_write_all(log->file, &header, sizeof header, offset);
    if (!err) err = rst_os->fdatasync(log->file);
    if (err) return disk_error(err, "writing the header of", offset);
    log->header = header;
    return 0;
}

/* ---- the ring ---- */

static int transfer(const struct rst_log *log, uint64_t position, uint8_t *to, const uint8_t *from, size_t size)
{
    while (size) {
        uint64_t offset = position % log->size, room = log->size - offset;
        size_t part = size < room ? size : (size_t)room;
        if (to) {
            int64_t got = rst_read_all(log->file, to, part, RST_LOG_RING_OFFSET + offset);
            if (got < 0) return disk_error((int)got, "reading", RST_LOG_RING_OFFSET + offset);
            if ((size_t)got < part) memset(to + got, 0, part - (size_t)got); /* cut short by somebody: no frame there */
            to += part;
        } else {
            int err = rst_write_all(log->file, from, part, RST_LOG_RING_OFFSET + offset);
            if (err) return disk_error(err, "writing", RST_LOG_RING_OFFSET + offset);
            from += part;
        }
        position += part;
        size -= part;
    }
    return 0;
}

int rst_log_write(const struct rst_log *log, uint64_t position, const void *bytes, size_t size)
{
    return transfer(log, position, NULL, bytes, size);
}

int rst_log_read(const struct rst_log *log, uint64_t position, void *ret_bytes, size_t size)
{
    return transfer(log, position, ret_bytes, NULL, size);
}

int rst_log_sync(const struct rst_log *log)
{
    int err = rst_os->fdatasync(log->file);
    return err ? disk_error(err, "syncing", 0) : 0;
}

uint64_t rst_frame_end(const struct rst_frame_header *header)
{
    return header->position + rst_align_up(header->size, RST_FRAME_ALIGNMENT);
}

int rst_log_read_frame(const struct rst_log *log, uint64_t position, struct rst_buffer *bytes, struct rst_buffer *scratch,
                       struct rst_frame *ret_frame)
{
    rst_buffer_clear(bytes);
    uint8_t *first = rst_buffer_extend(bytes, RST_FRAME_ALIGNMENT);
    if (!first) return rst_fail(ROOST_ENOMEM, "no memory to read a frame");
    int err = rst_log_read(log, position, first, RST_FRAME_ALIGNMENT);
    if (err) return err;
    struct rst_frame_header header;
    memcpy(&header, first, sizeof header);
    if (!rst_frame_plausible(&header, position, log->size)) return 0;
    if (header.size > RST_FRAME_ALIGNMENT) {
        size_t rest = header.size - RST_FRAME_ALIGNMENT;
        uint8_t *more = rst_buffer_extend(bytes, rest);
        if (!more) return rst_fail(ROOST_ENOMEM, "no memory to read a frame of %u bytes", header.size);
        err = rst_log_read(log, position + RST_FRAME_ALIGNMENT, more, rest);
        if (err) return err;
    }
    err = rst_frame_decode(bytes->data, header.size, position, scratch, ret_frame);
    return err == ROOST_ECORRUPT ? 0 : err < 0 ? err : 1;
}

int rst_log_look_ahead(const struct rst_log *log, uint64_t position, uint64_t *ret_durable_lsn, uint64_t *ret_epoch,
                       uint64_t *ret_found_position)
{
    enum { WINDOW = 256 << 10 }; /* less than the whole: a process that opens a root for one question should not touch 16 MiB */
    struct rst_buffer bytes = {0}, scratch = {0};
    uint8_t *window = calloc(1, WINDOW);
    if (!window) return rst_fail(ROOST_ENOMEM, "no memory to read the log");
    int err = 0;
    *ret_durable_lsn = *ret_epoch = *ret_found_position = 0;
    for (uint64_t offset = 0; !err && offset < log->size; offset += RST_FRAME_ALIGNMENT) {
        uint64_t left = log->size - offset;
        if (offset % WINDOW == 0) err = rst_log_read(log, position + offset, window, left < WINDOW ? (size_t)left : WINDOW);
        if (err) break;
        struct rst_frame_header header;
        memcpy(&header, window + offset % WINDOW, sizeof header);
        if (!rst_frame_plausible(&header, position + offset, log->size)) continue;
        struct rst_frame frame;
        int found = rst_log_read_frame(log, position + offset, &bytes, &scratch, &frame);
        if (found < 0) err = found;
        if (found != 1) continue;
        if (frame.header.epoch > *ret_epoch) *ret_epoch = frame.header.epoch;
        if (frame.header.durable_lsn > *ret_durable_lsn) {
            *ret_durable_lsn = frame.header.durable_lsn;
            *ret_found_position = position + offset;
        }
    }
    free(window);
    rst_buffer_free(&bytes);
    rst_buffer_free(&scratch);
    return err;
}
