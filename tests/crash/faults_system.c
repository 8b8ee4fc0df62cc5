/* SPDX-License-Identifier: MIT
 * crash/faults_system.c: operations of the simulated system fail. */
#include <errno.h>

#include "faults.h"

const char *const faults_what = "operations";
const int faults_errors[] = {EIO, ENOSPC, ENOMEM, 0};

void faults_begin(struct sim *sim, uint64_t at, int error, bool persistent)
{
    sim_reset_operation_count(sim);
    if (at) sim_fail_at(sim, at, error, persistent);
}

uint64_t faults_count(const struct sim *sim) { return sim_operation_count(sim); }
void faults_end(struct sim *sim) { sim_fail_at(sim, 0, 0, false); }
uint64_t faults_outstanding(void) { return 0; }
