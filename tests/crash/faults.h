/* SPDX-License-Identifier: MIT
 * crash/faults.h: what fails in fail_nth.c. One of faults_system.c (operations of the system) and faults_memory.c (the library's
 * allocations) is linked with it. */
#ifndef RST_TESTS_CRASH_FAULTS_H
#define RST_TESTS_CRASH_FAULTS_H

#include "sim/sim.h"

extern const char *const faults_what;
/* The errors that are tried, a 0 behind the last. */
extern const int faults_errors[];
/* From now on: the at-th fails (0: none does), persistent: all later ones too. */
void faults_begin(struct sim *sim, uint64_t at, int error, bool persistent);
/* How many there were since. */
uint64_t faults_count(const struct sim *sim);
void faults_end(struct sim *sim);
/* What the library has allocated and not freed; 0 where that is not counted. */
uint64_t faults_outstanding(void);

#endif
