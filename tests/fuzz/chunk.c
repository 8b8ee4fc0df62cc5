/* SPDX-License-Identifier: MIT
 * fuzz/chunk.c: the blocks, and the index made from them anew (R1). Records from the input, sealed for their places, are put between the
 * root's own ones, and bytes are damaged; then the root opens, is rebuilt, read, written, and opened again. */
#include "machine.h"

enum { RECORD_MAX = 24 };

static void add_records(struct machine *machine, struct fuzz *fuzz)
{
    struct rst_buffer bytes = {0};
    uint64_t offset = fuzz_one_in(fuzz, 2) ? 0 : 2048;
    for (unsigned count = fuzz_u8(fuzz) % RECORD_MAX; count > 0 && fuzz->left; count--) {
        uint32_t chunk = fuzz_one_in(fuzz, 8);
        rst_buffer_clear(&bytes);
        (void)machine_record(fuzz, fuzz_u8(fuzz) % 40, fuzz_u8(fuzz) % 3, fuzz_u8(fuzz) % 16, chunk, offset, &bytes);
        rst_buffer_add_zeros(&bytes, rst_align_up(bytes.size, 8) - bytes.size);
        if (offset + bytes.size > MACHINE_CHUNK_SIZE) break;
        const char *path = chunk ? MACHINE_ROOT "/blocks/chunk_0001.bin" : MACHINE_ROOT "/blocks/chunk_0000.bin";
        (void)sim_corrupt(machine->sim, path, offset, bytes.data, bytes.size);
        offset += bytes.size + fuzz_u8(fuzz) % 4 * 8;
    }
    rst_buffer_free(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {data, size};
    struct machine machine;
    uint8_t kind = fuzz_u8(&fuzz);
    machine_start(&machine, kind % 4 ? MACHINE_CLOSED : MACHINE_KILLED);
    add_records(&machine, &fuzz);
    for (unsigned count = kind / 4 % 4; count > 0; count--) machine_damage(&machine, "blocks/chunk_0000.bin", 0, 4096, &fuzz);
    for (unsigned life = 0; life < 2; life++) {
        if (machine_open(&machine, 0)) break;
        roost_root *root = machine_use(&machine, 0);
        if (kind & 16) machine_write(root);
        fuzz_any(roost_rebuild(root));
        machine_read(root, NULL, NULL);
        machine_write(root);
        if (kind & 32) machine_cut_power(&machine, kind);
        (void)machine_close(&machine, 0);
    }
    machine_end(&machine);
    return 0;
}
