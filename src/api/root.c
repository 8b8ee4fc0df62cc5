/* SPDX-License-Identifier: MIT
 * api/root.c: life, errors, care (layer 8). */
#include <ctype.h>
#include <limits.h>
#include <stdlib.h>

#include "api/internal.h"

#define TEXT_OF(number) #number
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

uint32_t roost_version_number(void) { return ROOST_VERSION_MAJOR << 16 | ROOST_VERSION_MINOR << 8 | ROOST_VERSION_PATCH; }

const char *roost_version(void) { return VERSION_TEXT(ROOST_VERSION_MAJOR, ROOST_VERSION_MINOR, ROOST_VERSION_PATCH); }

struct roost_bytes roost_text(const char *string) { return rst_bytes(string, string ? strlen(string) : 0); }

const char *roost_error_detail(void) { return rst_fail_detail(); }

int roost_error_set(int error, const char *detail)
{
    rst_fail_set_detail(detail ? detail : "");
    return error;
}

int rst_api_enter_loop(const roost_root *root)
{
    rst_fail_clear();
    return root ? rst_engine_check(root->engine) : rst_fail(ROOST_EINVAL, "no root was given");
}

int rst_api_enter(const roost_root *root)
{
    int err = rst_api_enter_loop(root);
    if (!err) rst_engine_glance(root->engine);
    return err;
}

int rst_check_sized(const void *sized, const char *type)
{
    /* The size and one field at least; and no version will be as large as what lies in memory that nobody set. */
    enum { SIZE_MIN = sizeof(size_t) + 4, SIZE_MAX_EVER = 4096 };
    char init[32];
    size_t size = sized ? *(const size_t *)sized : SIZE_MIN, i = 0;
    if (size >= SIZE_MIN && size <= SIZE_MAX_EVER) return 0;
    for (; type[i] && i < sizeof init - 1; i++) init[i] = (char)toupper((unsigned char)type[i]);
    init[i] = '\0';
    return rst_fail(ROOST_EINVAL, "struct %s has size %zu: begin it with %s_INIT", type, size, init);
}

int rst_copy_sized(void *to, size_t to_size, const void *from, const char *type)
{
    int err = rst_check_sized(from, type);
    if (err || !from) return err;
    size_t size = *(const size_t *)from;
    memcpy(to, from, size < to_size ? size : to_size);
    return 0;
}

int roost_create(const char *path, const struct roost_settings *settings)
{
    rst_fail_clear();
    if (!path || !path[0]) return rst_fail(ROOST_EINVAL, "no path was given");
    int err = RST_API_SIZED(roost_settings, settings);
    return err ? err : rst_root_create(path, settings);
}

int roost_open(const char *path, const struct roost_options *options, roost_root **ret_root)
{
    rst_fail_clear();
    if (!path || !path[0] || !ret_root) return rst_fail(ROOST_EINVAL, "no path, or no place for the root, was given");
    struct roost_options all = ROOST_OPTIONS_INIT;
    int err = RST_API_COPY(roost_options, &all, options);
    if (!err) err = RST_API_SIZED(roost_settings, all.settings);
    if (err) return err;
    if (all.level > ROOST_PROCESS) return rst_fail(ROOST_EINVAL, "there is no level %u", all.level);
    roost_root *root = calloc(1, sizeof *root);
    if (!root) return rst_fail(ROOST_ENOMEM, "no memory to open %s", path);
    if (all.flags & ROOST_OPEN_CREATE) {
        err = rst_root_create(path, all.settings);
        if (err == ROOST_EEXIST) err = 0;
    }
    if (!err) rst_fail_clear();
    if (!err) err = rst_engine_open(path, options, false, &root->engine);
    if (err) {
        free(root);
        return err;
    }
    *ret_root = root;
    return 0;
}

roost_root *roost_ref(roost_root *root)
{
    rst_add_u32(&root->other_owner_count, 1);
    return root;
}

int roost_close(roost_root *root)
{
    rst_fail_clear();
    if (!root || rst_add_u32(&root->other_owner_count, (uint32_t)-1) != UINT32_MAX) return 0;
    int err = rst_engine_close(root->engine);
    free(root);
    return err;
}

static int request(roost_root *root, uint16_t kind)
{
    int err = rst_api_enter(root);
    return err ? err : rst_request_care(root->engine, kind, NULL);
}

int roost_sync(roost_root *root) { return request(root, RST_OP_SYNC); }
int roost_rest(roost_root *root) { return request(root, RST_OP_REST); }
int roost_checkpoint(roost_root *root) { return request(root, RST_OP_CHECKPOINT); }

int roost_rebuild(roost_root *root)
{
    uint64_t missing = 0;
    int err = rst_api_enter(root);
    if (err) return err;
    if (root->engine->rebuilt) {
        root->engine->rebuilt = false; /* done while it was opened */
        missing = root->engine->rebuild_missing;
    } else {
        err = rst_request_care(root->engine, RST_OP_REBUILD, &missing);
    }
    return err ? err : missing < INT_MAX ? (int)missing : INT_MAX;
}

int roost_health(roost_root *root)
{
    int err = rst_api_enter(root);
    return err ? err : rst_refused(root->engine, rst_engine_region(root->engine));
}

typedef int (*copy_fn)(const char *source, const char *path, roost_found_fn found, void *user, struct roost_copy *ret_copy);
static int copy_root(copy_fn work, const char *source, const char *path, roost_found_fn found, void *user,
                     struct roost_copy *ret_copy)
{
    struct roost_copy copy = ROOST_COPY_INIT;
    rst_fail_clear();
    if (!source || !source[0] || !path || !path[0]) return rst_fail(ROOST_EINVAL, "no path was given");
    int result = RST_API_SIZED(roost_copy, ret_copy);
    if (!result) result = work(source, path, found, user, &copy);
    if (result >= 0 && ret_copy) RST_API_GIVE(ret_copy, copy);
    return result;
}

int roost_restore(const char *source, const char *path, roost_found_fn found, void *user, struct roost_copy *ret_copy)
{
    return copy_root(rst_restore, source, path, found, user, ret_copy);
}

int roost_rescue(const char *source, const char *path, roost_found_fn found, void *user, struct roost_copy *ret_copy)
{
    return copy_root(rst_rescue, source, path, found, user, ret_copy);
}

int roost_backup(roost_root *root, const char *path, roost_found_fn found, void *user, struct roost_copy *ret_copy)
{
    struct roost_copy copy = ROOST_COPY_INIT;
    int err = rst_api_enter(root);
    if (err) return err;
    if (!path || !path[0]) return rst_fail(ROOST_EINVAL, "no path was given");
    err = RST_API_SIZED(roost_copy, ret_copy);
    if (!err) err = rst_backup(root->engine, path, found, user, &copy);
    if (!err && ret_copy) RST_API_GIVE(ret_copy, copy);
    return err;
}

int roost_check(roost_root *root, roost_found_fn found, void *user)
{
    int err = rst_api_enter(root);
    return err ? err : rst_verify(root->engine, found, user);
}

int roost_stats(roost_root *root, struct roost_stats *ret_stats)
{
    int err = rst_api_enter(root);
    if (err) return err;
    if (!ret_stats) return rst_fail(ROOST_EINVAL, "no place for the figures was given");
    struct roost_stats stats;
    memset(&stats, 0, sizeof stats);
    err = RST_API_SIZED(roost_stats, ret_stats);
    if (!err) err = rst_stats(root->engine, &stats);
    if (!err) RST_API_GIVE(ret_stats, stats);
    return err;
}
