/* SPDX-License-Identifier: MIT
 * model/names.c: names in the ordered map (layer 6). */
#include "model/names.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

void rst_name_set(struct rst_map_name *ret_name, enum rst_map_family family, struct roost_bytes name)
{
    RST_CHECK(name.size <= ROOST_KEY_SIZE_MAX);
    ret_name->data[0] = (uint8_t)family;
    if (name.size) memcpy(ret_name->data + 1, name.data, name.size);
    ret_name->size = 1 + name.size;
}

void rst_name_set_stream(struct rst_map_name *ret_name, struct roost_bytes name, uint64_t index)
{
    rst_name_set(ret_name, RST_MAP_STREAM, name);
    ret_name->data[ret_name->size] = 0;
    rst_put_be64(ret_name->data + ret_name->size + 1, index);
    ret_name->size += 9;
}

void rst_name_set_id(struct rst_map_name *ret_name, enum rst_map_family family, uint64_t id)
{
    ret_name->data[0] = (uint8_t)family;
    rst_put_be64(ret_name->data + 1, id);
    ret_name->size = 9;
}

struct roost_bytes rst_name_bytes(const struct rst_map_name *name) { return rst_bytes(name->data, name->size); }
