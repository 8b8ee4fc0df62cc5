/* SPDX-License-Identifier: MIT
 * fuzz/region.c: garbage in the region. Its last process is dead; whoever comes finds a header, participants, lanes, latches, states and
 * arenas with damage, inherits or makes a new region, reads and writes. With a second handle: garbage appears while both are attached
 * (not in the header: what a process checked when it attached is not looked at again). */
#include "machine.h"
#include "region/layout.h"

static struct rst_region_header layout;

/* The parts of a region, by what lies in them. */
static void damage(struct machine *machine, struct fuzz *fuzz, bool attached)
{
    const struct {
        uint64_t offset, size;
    } parts[] = {
        {0, offsetof(struct rst_region_header, moved)},
        {offsetof(struct rst_region_header, moved), sizeof layout - offsetof(struct rst_region_header, moved)},
        {layout.participants_offset, 4 * sizeof(struct rst_participant)},
        {layout.clients_offset, 16 * sizeof(struct rst_client_line)},
        {layout.changes_offset, 64 * sizeof(struct rst_change)},
        {layout.states_offset, 2 * sizeof(struct rst_state_slot)},
        {layout.lanes_offset, 2 * RST_LANE_SIZE},
        {layout.arena_offset[0], 16384},
        {layout.arena_offset[1], 16384},
    };
    unsigned part = fuzz_u8(fuzz) % RST_COUNT_OF(parts);
    if (attached && part == 0) part++;
    machine_damage(machine, "region", parts[part].offset, parts[part].size, fuzz);
}

static void look_around(struct machine *machine, struct fuzz *fuzz)
{
    for (unsigned step = 0; step < 4 && fuzz->left; step++) {
        unsigned handle = fuzz_u8(fuzz) % 2;
        if (!machine_use(machine, handle)) continue;
        damage(machine, fuzz, true);
        if (fuzz_one_in(fuzz, 2))
            machine_read(machine_use(machine, handle), NULL, NULL);
        else
            machine_write(machine_use(machine, handle));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {data, size};
    struct machine machine;
    uint8_t kind = fuzz_u8(&fuzz);
    machine_start(&machine, MACHINE_KILLED);
    RST_CHECK(sim_read_file(machine.sim, MACHINE_ROOT "/region", &layout, sizeof layout, 0) == (int64_t)sizeof layout);
    for (unsigned count = kind % 8; count > 0; count--) damage(&machine, &fuzz, false);
    if (kind & 8) (void)sim_truncate(machine.sim, MACHINE_ROOT "/region", fuzz_number(&fuzz));
    int opened = machine_open(&machine, 0);
    if (kind & 16) (void)machine_open(&machine, 1);
    if (!opened) machine_read(machine_use(&machine, 0), NULL, NULL);
    look_around(&machine, &fuzz);
    (void)machine_close(&machine, 1);
    (void)machine_close(&machine, 0);
    if (!machine_open(&machine, 0)) machine_write(machine_use(&machine, 0));
    machine_end(&machine);
    return 0;
}
