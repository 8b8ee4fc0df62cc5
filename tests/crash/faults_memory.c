/* SPDX-License-Identifier: MIT
 * crash/faults_memory.c: the library's allocations fail, and are counted. */
#define FAULTS_MEMORY_ITSELF
#include "faults_memory.h"

#include <errno.h>

#include "faults.h"

const char *const faults_what = "allocations";
const int faults_errors[] = {ENOMEM, 0};

static struct {
    uint64_t count, at, outstanding;
    bool on, persistent;
} memory_faults;

static bool fails(void)
{
    if (!memory_faults.on) return false;
    memory_faults.count++;
    return memory_faults.at &&
           (memory_faults.persistent ? memory_faults.count >= memory_faults.at : memory_faults.count == memory_faults.at);
}

static void *counted(void *memory)
{
    if (memory) memory_faults.outstanding++;
    return memory;
}

void *failing_malloc(size_t size) { return fails() ? NULL : counted(malloc(size)); }
void *failing_calloc(size_t count, size_t size) { return fails() ? NULL : counted(calloc(count, size)); }
char *failing_strdup(const char *text) { return fails() ? NULL : counted(strdup(text)); }

void *failing_realloc(void *memory, size_t size)
{
    if (fails()) return NULL;
    void *grown = realloc(memory, size);
    return memory ? grown : counted(grown);
}

void failing_free(void *memory)
{
    if (memory) memory_faults.outstanding--;
    free(memory);
}

void faults_begin(struct sim *sim, uint64_t at, int error, bool persistent)
{
    (void)sim;
    (void)error;
    memory_faults.count = 0;
    memory_faults.at = at;
    memory_faults.persistent = persistent;
    memory_faults.on = true;
}

uint64_t faults_count(const struct sim *sim)
{
    (void)sim;
    return memory_faults.count;
}

void faults_end(struct sim *sim)
{
    (void)sim;
    memory_faults.on = false;
}

uint64_t faults_outstanding(void) { return memory_faults.outstanding; }
