/* SPDX-License-Identifier: MIT
 * engine/handles.c: all handles of this process, for fork (layer 7). */
#include "engine/engine.h"
#include "engine/notify.h"
#include "os/os.h"

static pthread_mutex_t handles_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rst_engine *handles;
static pthread_once_t handles_once = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
    rst_notify_before_fork();
    pthread_mutex_lock(&handles_lock);
}

static void after_fork_parent(void)
{
    pthread_mutex_unlock(&handles_lock);
    rst_notify_after_fork(false);
}

/* A lock lives as long as the last copy of its descriptor: the child closes them all at once, and unlocks nothing. Its
 * mappings were not inherited (MADV_DONTFORK). */
static void after_fork_child(void)
{
    for (struct rst_engine *engine = handles; engine; engine = engine->next) {
        engine->forked = true;
        rst_os->close(engine->log.file);
        rst_os->close(engine->root_directory);
        rst_os->close(engine->index_directory);
        for (struct rst_mapping *mapping = engine->mapping; mapping; mapping = mapping->older)
            if (mapping->region.file >= 0) rst_os->close(mapping->region.file);
        rst_blocks_close_files(&engine->blocks);
        engine->service_running = false;
    }
    handles = NULL;
    pthread_mutex_unlock(&handles_lock);
    rst_notify_after_fork(true);
}

static void watch_forks(void) { pthread_atfork(before_fork, after_fork_parent, after_fork_child); }

void rst_handle_enter(struct rst_engine *engine)
{
    pthread_once(&handles_once, watch_forks);
    pthread_mutex_lock(&handles_lock);
    engine->next = handles;
    handles = engine;
    pthread_mutex_unlock(&handles_lock);
}

void rst_handle_leave(struct rst_engine *engine)
{
    pthread_mutex_lock(&handles_lock);
    for (struct rst_engine **at = &handles; *at; at = &(*at)->next) {
        if (*at != engine) continue;
        *at = engine->next;
        break;
    }
    pthread_mutex_unlock(&handles_lock);
}
