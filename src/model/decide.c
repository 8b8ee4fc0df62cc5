/* SPDX-License-Identifier: MIT
 * model/decide.c: operations become records, once (layer 6). */
#include "model/decide.h"

#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "model/names.h"

void rst_decide_begin(struct rst_decide *decide)
{
    rst_overlay_clear(&decide->overlay);
    rst_buffer_clear(&decide->entries);
    rst_buffer_clear(&decide->drafts);
    rst_buffer_clear(&decide->results);
}

void rst_decide_free(struct rst_decide *decide)
{
    rst_overlay_free(&decide->overlay);
    rst_buffer_free(&decide->entries);
    rst_buffer_free(&decide->drafts);
    rst_buffer_free(&decide->results);
}

void rst_decide_mark(const struct rst_decide *decide, struct rst_decide_mark *ret_mark)
{
    *ret_mark = (struct rst_decide_mark){rst_overlay_mark(&decide->overlay),
                                         decide->entries.size,
                                         decide->drafts.size,
                                         decide->results.size,
                                         decide->lsn_next,
                                         decide->id_next,
                                         decide->chunk_tail,
                                         decide->chunk};
}

void rst_decide_undo(struct rst_decide *decide, const struct rst_decide_mark *mark)
{
    rst_overlay_undo(&decide->overlay, mark->overlay);
    decide->entries.size = mark->entries;
    decide->drafts.size = mark->drafts;
    decide->results.size = mark->results;
    decide->entries.failed = decide->drafts.failed = decide->results.failed = false;
    decide->lsn_next = mark->lsn_next;
    decide->id_next = mark->id_next;
    decide->chunk_tail = mark->chunk_tail;
    decide->chunk = mark->chunk;
}

const struct rst_change_draft *rst_decide_draft(const struct rst_decide *decide, size_t index)
{
    return (const struct rst_change_draft *)(const void *)decide->drafts.data + index;
}

const uint8_t *rst_decide_bytes(const struct rst_decide *decide, const struct rst_change_draft *draft)
{
    return decide->entries.data + draft->offset + sizeof(struct rst_frame_entry);
}

/* Gives the record its LSN and place, seals it and adds it as a frame entry. place_size 0: the place is chosen here. */
static int add_record(struct rst_decide *decide, struct rst_record record, struct roost_bytes fields, struct roost_bytes payload,
                      const struct rst_place *granted)
{
    uint64_t size = rst_record_size((uint32_t)fields.size, (uint32_t)payload.size);
    struct rst_place place =
        granted ? *granted : rst_blocks_next(decide->blocks->chunk_size, decide->chunk, decide->chunk_tail, (uint32_t)size);
    if (!granted) {
        decide->chunk = place.chunk;
        decide->chunk_tail = place.offset + size;
    }
    record.lsn = decide->lsn_next++;
    record.epoch = decide->epoch;
    record.fields_size = (uint32_t)fields.size;
    record.payload_size = (uint32_t)payload.size;
    rst_record_seal(&record, fields.data, place.chunk, place.offset);
    size_t inline_payload = payload.data ? payload.size : 0;
    struct rst_frame_entry entry = {
        .offset = place.offset,
        .chunk = place.chunk,
        .record_size = (uint32_t)size,
        .inline_size = (uint32_t)(sizeof record + fields.size + inline_payload),
        .flags = granted ? RST_ENTRY_EXTERNAL : 0,
    };
    struct rst_change_draft draft = {place, decide->entries.size, entry.inline_size, record.kind};
    rst_buffer_add(&decide->entries, &entry, sizeof entry);
    rst_buffer_add(&decide->entries, &record, sizeof record);
    rst_buffer_add(&decide->entries, fields.data, fields.size);
    rst_buffer_add(&decide->entries, payload.data, inline_payload);
    rst_buffer_add_zeros(&decide->entries, rst_align_up(entry.inline_size, 8) - entry.inline_size);
    rst_buffer_add(&decide->drafts, &draft, sizeof draft);
    return decide->entries.failed || decide->drafts.failed ? rst_fail(ROOST_ENOMEM, "no memory for a commit") : 0;
}

int rst_decide_record(struct rst_decide *decide, const struct rst_record *record, struct roost_bytes fields,
                      struct roost_bytes payload)
{
    return add_record(decide, *record, fields, payload, NULL);
}

/* The newest entry of a name, this commit's own included. 1 found (maybe deleted), 0 not, negative error. */
static int look_up(struct rst_decide *decide, const struct rst_map_name *name, struct rst_map_entry *ret_entry)
{
    if (rst_overlay_get(&decide->overlay, rst_name_bytes(name), ret_entry)) return 1;
    return rst_view_map(decide->view, rst_name_bytes(name), ret_entry);
}

static int remember(struct rst_decide *decide, const struct rst_map_name *name, struct rst_map_entry entry)
{
    entry.lsn = decide->lsn_next; /* add_record gives it right after */
    return rst_overlay_set(&decide->overlay, rst_name_bytes(name), &entry) ? 0 : rst_fail(ROOST_ENOMEM, "no memory for a commit");
}

static bool field_or_none(const struct rst_op_view *op, enum rst_field_tag tag, struct roost_bytes *ret_value)
{
    return rst_fields_find(op->fields, tag, ret_value) == 1 && ret_value->size > 0 && ret_value->size <= ROOST_KEY_SIZE_MAX &&
           !memchr(ret_value->data, 0, ret_value->size);
}

/* Is there a memory of this id, this commit's own included? 1, 0 or negative. *ret_offset: of its entry in the frame; SIZE_MAX: it is of
 * an earlier commit, and ret_entry is filled in. */
static int find_memory(struct rst_decide *decide, uint64_t id, size_t *ret_offset, struct rst_memory_entry *ret_entry)
{
    struct rst_map_name name;
    struct rst_map_entry pending;
    *ret_offset = SIZE_MAX;
    rst_name_set_id(&name, RST_MAP_FORGOTTEN, id);
    if (rst_overlay_get(&decide->overlay, rst_name_bytes(&name), &pending)) return 0;
    rst_name_set_id(&name, RST_MAP_NEW, id);
    if (!rst_overlay_get(&decide->overlay, rst_name_bytes(&name), &pending)) return rst_view_memory(decide->view, id, ret_entry);
    *ret_offset = (size_t)pending.number;
    return 1;
}

static int decide_memory(struct rst_decide *decide, const struct rst_op_view *op, struct rst_record *record)
{
    record->number = decide->id_next++;
    if (!record->time_ns) record->time_ns = decide->now_ns;
    struct roost_bytes key;
    struct rst_map_name name;
    if (rst_fields_find(op->fields, RST_FIELD_KEY, &key) == 1) {
        if (!field_or_none(op, RST_FIELD_KEY, &key)) return rst_fail(ROOST_EINVAL, "a memory's key is damaged");
        struct rst_map_entry old;
        rst_name_set(&name, RST_MAP_MEMORY, key);
        int found = look_up(decide, &name, &old);
        if (found < 0) return found;
        struct rst_memory_entry entry;
        size_t offset;
        if (found && old.kind == RST_MAP_SET)
            found = find_memory(decide, old.number, &offset, &entry); /* its record may have been damaged */
        if (found < 0) return found;
        if (found && old.kind == RST_MAP_SET) {
            record->extra = old.number;
            struct rst_map_name forgotten;
            rst_name_set_id(&forgotten, RST_MAP_FORGOTTEN, old.number);
            int err = remember(decide, &forgotten, (struct rst_map_entry){.kind = RST_MAP_SET});
            if (err) return err;
        }
        int err = remember(decide, &name, (struct rst_map_entry){.kind = RST_MAP_SET, .number = record->number});
        if (err) return err;
    }
    rst_name_set_id(&name, RST_MAP_NEW, record->number);
    return remember(decide, &name, (struct rst_map_entry){.kind = RST_MAP_SET, .number = decide->entries.size});
}

/* The fields of a memory that is there. 1, 0 or negative. */
static int memory_fields(struct rst_decide *decide, uint64_t id, struct roost_bytes *ret_fields)
{
    struct rst_memory_entry entry;
    size_t offset;
    int found = find_memory(decide, id, &offset, &entry);
    if (found != 1) return found;
    if (offset != SIZE_MAX) {
        struct rst_record record;
        const uint8_t *bytes = decide->entries.data + offset + sizeof(struct rst_frame_entry);
        memcpy(&record, bytes, sizeof record);
        *ret_fields = rst_bytes(bytes + sizeof record, record.fields_size);
        return 1;
    }
    struct rst_record_view view;
    int err = rst_blocks_read(decide->blocks, &entry.place, &view);
    if (err && err != ROOST_ECORRUPT) return err;
    /* A damaged record can still be forgotten; its key then stays behind it, which is found to lead nowhere. */
    *ret_fields = err ? rst_bytes(NULL, 0) : view.fields;
    return 1;
}

static int decide_forget(struct rst_decide *decide, const struct rst_op_view *op, struct rst_record *record,
                         struct rst_buffer *fields)
{
    struct roost_bytes old_fields, key;
    int found = memory_fields(decide, op->op.number, &old_fields);
    if (found < 0) return found;
    if (!found) return rst_fail(ROOST_ENOENT, "there is no memory %llu", (unsigned long long)op->op.number);
    record->number = op->op.number;
    struct rst_map_name name;
    if (rst_fields_find(old_fields, RST_FIELD_KEY, &key) == 1 && key.size <= ROOST_KEY_SIZE_MAX) {
        struct rst_map_entry current;
        rst_name_set(&name, RST_MAP_MEMORY, key);
        found = look_up(decide, &name, &current);
        if (found < 0) return found;
        if (found && current.kind == RST_MAP_SET && current.number == op->op.number) {
            rst_fields_add(fields, RST_FIELD_KEY, key);
            rst_fields_end(fields);
            int err = remember(decide, &name, (struct rst_map_entry){.kind = RST_MAP_DELETED});
            if (err) return err;
        }
    }
    rst_name_set_id(&name, RST_MAP_FORGOTTEN, op->op.number);
    return remember(decide, &name, (struct rst_map_entry){.kind = RST_MAP_SET});
}

static int decide_key(struct rst_decide *decide, const struct rst_op_view *op, struct rst_record *record)
{
    struct roost_bytes key;
    struct rst_map_name name;
    struct rst_map_entry current;
    if (!field_or_none(op, RST_FIELD_KEY, &key)) return rst_fail(ROOST_EINVAL, "a key is missing or damaged");
    rst_name_set(&name, RST_MAP_KEY, key);
    int found = look_up(decide, &name, &current);
    if (found < 0) return found;
    bool there = found && current.kind == RST_MAP_SET && !(current.expires_ns && current.expires_ns <= decide->now_ns);
    if (op->op.flags & RST_OP_IF_VERSION) {
        decide->actual = there ? current.lsn : 0;
        if (decide->actual != op->op.number) return ROOST_EMISMATCH;
    }
    bool set = op->op.kind == RST_OP_KEY_SET;
    if (!set && !there) return rst_fail(ROOST_ENOENT, "there is no key \"%.*s\"", (int)key.size, (const char *)key.data);
    record->time_ns = decide->now_ns;
    record->extra = set ? op->op.argument : 0;
    return remember(decide, &name,
                    (struct rst_map_entry){.kind = set ? RST_MAP_SET : RST_MAP_DELETED, .expires_ns = (int64_t)record->extra});
}

static int decide_stream(struct rst_decide *decide, const struct rst_op_view *op, struct rst_record *record)
{
    struct roost_bytes stream;
    struct rst_map_name name;
    struct rst_map_entry head = {0};
    if (!field_or_none(op, RST_FIELD_NAME, &stream)) return rst_fail(ROOST_EINVAL, "a stream's name is missing or damaged");
    rst_name_set(&name, RST_MAP_HEAD, stream);
    int found = look_up(decide, &name, &head);
    if (found < 0) return found;
    record->time_ns = decide->now_ns;
    record->number = found ? head.number : 0;
    record->extra = found ? head.bytes : 0;
    return remember(
        decide, &name,
        (struct rst_map_entry){.kind = RST_MAP_SET, .number = record->number + 1, .bytes = record->extra + op->op.payload_size});
}

/* The extent of an external payload was granted to its client: it must lie where records may lie. */
static int external_place(const struct rst_op_view *op, struct rst_place *ret_place)
{
    uint64_t size = rst_record_size(op->op.fields_size, op->op.payload_size);
    if (op->op.offset % RST_RECORD_ALIGNMENT || op->op.offset + size > UINT32_MAX || size > UINT32_MAX)
        return rst_fail(ROOST_EINVAL, "a submission names a place in the blocks that cannot be");
    *ret_place = (struct rst_place){op->op.offset, (uint32_t)size, op->op.chunk};
    return 0;
}

static int decide_op(struct rst_decide *decide, const struct rst_op_view *op)
{
    struct rst_record record = {.kind = op->op.kind, .time_ns = op->op.time_ns, .payload_hash = op->op.payload_hash};
    struct rst_buffer fields = {0};
    struct rst_place place;
    bool external = op->op.flags & RST_OP_EXTERNAL;
    int err = external ? external_place(op, &place) : 0;
    if (err) return err;
    switch (op->op.kind) {
    case RST_OP_MEMORY:
        err = decide_memory(decide, op, &record);
        break;
    case RST_OP_FORGET:
        err = decide_forget(decide, op, &record, &fields);
        break;
    case RST_OP_KEY_SET:
    case RST_OP_KEY_DELETE:
        err = decide_key(decide, op, &record);
        break;
    case RST_OP_STREAM:
        err = decide_stream(decide, op, &record);
        break;
    default:
        err = rst_fail(ROOST_EINVAL, "an unknown operation (%u)", op->op.kind);
    }
    if (op->op.kind == RST_OP_FORGET) record.time_ns = decide->now_ns;
    uint64_t result = op->op.kind == RST_OP_MEMORY || op->op.kind == RST_OP_STREAM ? record.number : 0;
    if (!err && fields.failed) err = rst_fail(ROOST_ENOMEM, "no memory for a commit");
    struct roost_bytes all = op->op.kind == RST_OP_FORGET ? rst_bytes(fields.data, fields.size) : op->fields;
    if (!err) err = add_record(decide, record, all, op->payload, external ? &place : NULL);
    rst_buffer_add_u64(&decide->results, result);
    rst_buffer_free(&fields);
    return err ? err : decide->results.failed ? rst_fail(ROOST_ENOMEM, "no memory for a commit") : 0;
}

int rst_decide_submission(struct rst_decide *decide, const uint8_t *bytes)
{
    struct rst_decide_mark mark;
    rst_decide_mark(decide, &mark);
    struct rst_op_view op;
    size_t offset = sizeof(struct rst_submission_header);
    for (decide->failed_index = 0; rst_submission_next(bytes, &offset, &op) == 1; decide->failed_index++) {
        int err = decide_op(decide, &op);
        if (!err) continue;
        rst_decide_undo(decide, &mark);
        return err;
    }
    return 0;
}
