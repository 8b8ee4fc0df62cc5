/* SPDX-License-Identifier: MIT
 * crash/faults_memory.h: put before every source of a copy of the library, so that its allocations can fail (faults_memory.c). Those of the
 * tests and of the simulated system do not. */
#ifndef RST_TESTS_CRASH_FAULTS_MEMORY_H
#define RST_TESTS_CRASH_FAULTS_MEMORY_H

#include <stdlib.h>
#include <string.h>

void *failing_malloc(size_t size);
void *failing_calloc(size_t count, size_t size);
void *failing_realloc(void *memory, size_t size);
char *failing_strdup(const char *text);
void failing_free(void *memory);

#ifndef FAULTS_MEMORY_ITSELF
#define malloc failing_malloc
#define calloc failing_calloc
#define realloc failing_realloc
#undef strdup
#define strdup failing_strdup
#define free failing_free
#endif

#endif
