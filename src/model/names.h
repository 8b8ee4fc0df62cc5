/* SPDX-License-Identifier: MIT
 * model/names.h: what lies in the ordered map, by first byte (layer 6). */
#ifndef RST_MODEL_NAMES_H
#define RST_MODEL_NAMES_H

#include <stdint.h>

#include "index/segment.h"
#include <roost/roost.h>

enum rst_map_family {
    RST_MAP_AGENT = 'a',  /* agent's name -> its state's record; number: version */
    RST_MAP_HEAD = 'h',   /* stream's name -> number: entries in it, bytes: bytes in it */
    RST_MAP_KEY = 'k',    /* key -> its value's record; lsn: version */
    RST_MAP_MEMORY = 'm', /* memory's key -> number: its id */
    RST_MAP_STREAM = 's', /* stream's name, 0, index (big-endian) -> its entry's record; bytes: bytes before it */
    /* only while a commit is being decided (overlay.h): */
    RST_MAP_FORGOTTEN = 'F', /* id -> forgotten by an earlier change of this commit */
    RST_MAP_NEW = 'N',       /* id -> number: where in the frame its record is */
};

struct rst_map_name {
    uint8_t data[RST_MAP_KEY_SIZE_MAX];
    size_t size;
};
/* name is at most ROOST_KEY_SIZE_MAX bytes without NUL (checked where it entered). */
void rst_name_set(struct rst_map_name *ret_name, enum rst_map_family family, struct roost_bytes name);
void rst_name_set_stream(struct rst_map_name *ret_name, struct roost_bytes name, uint64_t index);
void rst_name_set_id(struct rst_map_name *ret_name, enum rst_map_family family, uint64_t id);
struct roost_bytes rst_name_bytes(const struct rst_map_name *name);

#endif
