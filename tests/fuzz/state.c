/* SPDX-License-Identifier: MIT
 * fuzz/state.c: an agent's state as bytes (format/state.h): what decodes is encoded to as many bytes, and decodes to the same again. */
#include "format/state.h"
#include "fuzz.h"

static void decode(const uint8_t *bytes, size_t size)
{
    struct roost_state state = ROOST_STATE_INIT, same = ROOST_STATE_INIT;
    struct roost_extra *extra, *same_extra;
    struct rst_buffer again = {0};
    if (rst_state_decode(rst_bytes(bytes, size), &state, &extra) < 0) return;
    fuzz_touch(state.status);
    RST_CHECK(rst_state_encode(&state, &again) == 0 && again.size == size);
    RST_CHECK(rst_state_decode(rst_bytes(again.data, again.size), &same, &same_extra) == 0);
    RST_CHECK(same.extra_count == state.extra_count && rst_bytes_equal(same.status, state.status));
    for (size_t i = 0; i < state.extra_count; i++) {
        RST_CHECK(rst_bytes_equal(extra[i].name, same_extra[i].name));
        RST_CHECK(rst_bytes_equal(extra[i].value, same_extra[i].value));
    }
    free(extra);
    free(same_extra);
    rst_buffer_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *bytes = fuzz_copy(data, size);
    decode(bytes, size);
    struct rst_state_header header;
    if (size >= sizeof header) {
        memcpy(&header, bytes, sizeof header);
        header.size = (uint32_t)size;
        header.status_size %= 256;
        header.extra_count %= 64;
        memcpy(bytes, &header, sizeof header);
        decode(bytes, size);
    }
    free(bytes);
    return 0;
}
