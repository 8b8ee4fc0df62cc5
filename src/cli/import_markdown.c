/* SPDX-License-Identifier: MIT
 * import_markdown.c: a folder of Markdown files into a root, a memory a file: its text is the file's body, its key markdown/PATH. The
 * metadata has the path and the front matter as it is, so that export_markdown.c writes the file back byte for byte. */
#include "foreign.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };

struct walk {
    struct intake intake;
    char path[PATH_SIZE]; /* below the folder */
    uint64_t link_count, large_count;
};

/* ---- Paths ------------------------------------------------------------------------------------------------------- */

static bool markdown_name(const char *name, size_t size)
{
    return (size > 3 && strncasecmp(name + size - 3, ".md", 3) == 0) ||
           (size > 9 && strncasecmp(name + size - 9, ".markdown", 9) == 0);
}

bool markdown_path_good(struct roost_bytes path)
{
    const char *text = path.data;
    if (!path.size || path.size >= PATH_SIZE || memchr(text, 0, path.size) || !markdown_name(text, path.size)) return false;
    for (size_t first = 0, at = 0; at <= path.size; at++) {
        if (at < path.size && text[at] != '/') continue;
        if (at == first || text[first] == '.' || at - first > NAME_MAX) return false;
        first = at + 1;
    }
    return true;
}

uint64_t markdown_own_id(struct roost_bytes path)
{
    const char *text = path.data;
    size_t first = strlen(MARKDOWN_OWN_FOLDER) + 1;
    uint64_t id = 0;
    if (!bytes_begin(path, MARKDOWN_OWN_FOLDER "/") || path.size < first + 4 || memcmp(text + path.size - 3, ".md", 3) != 0)
        return 0;
    return rst_parse_number(text + first, path.size - first - 3, &id) ? id : 0;
}

/* ---- A file's memory --------------------------------------------------------------------------------------------- */

/* {"markdown":{"path":...,"front_matter":...}}; whole: the text is all of the file. */
static bool make_metadata(struct json_text *text, struct roost_bytes path, struct roost_bytes title,
                          struct roost_bytes front_matter, bool empty, bool whole)
{
    if (!json_text_open(text)) return false;
    json_open(&text->writer, NULL, '{');
    json_open(&text->writer, "markdown", '{');
    json_bytes(&text->writer, "path", path);
    if (title.size && !whole) json_bytes(&text->writer, "title", title);
    if (front_matter.size && !whole) json_bytes(&text->writer, "front_matter", front_matter);
    if (empty) json_bool(&text->writer, "empty", true);
    json_close(&text->writer, '}');
    json_close(&text->writer, '}');
    return json_text_close(text);
}

/* An export writes memories of Roost's own as memories/ID.md. Coming back to their root they are there. */
static bool is_own(struct walk *walk, uint64_t id, struct roost_bytes body)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    if (!id || roost_get(walk->intake.cli->root, id, &memory) < 0) return false;
    bool own = bytes_equal(memory.text, body) && !bytes_begin(memory.key, MARKDOWN_PREFIX);
    roost_unpin(walk->intake.cli->root, &memory.pin);
    return own;
}

static struct roost_bytes stem(struct roost_bytes path)
{
    const char *text = path.data, *slash = memrchr(text, '/', path.size), *first = slash ? slash + 1 : text;
    const char *point = memrchr(text, '.', path.size);
    return (struct roost_bytes){first, (size_t)(point - first)};
}

static void make_key(struct roost_bytes path, char ret_key[ROOST_KEY_SIZE_MAX + 1], struct roost_memory *memory)
{
    char digits[33];
    if (path.size <= ROOST_KEY_SIZE_MAX - strlen(MARKDOWN_PREFIX)) {
        snprintf(ret_key, ROOST_KEY_SIZE_MAX + 1, "%s%s", MARKDOWN_PREFIX, (const char *)path.data);
    } else {
        key_hash(path.data, path.size, digits);
        snprintf(ret_key, ROOST_KEY_SIZE_MAX + 1, "%s:%s", MARKDOWN_PREFIX, digits);
    }
    memory->key = roost_text(ret_key);
}

static int add_file(struct walk *walk, struct roost_bytes file, int64_t modified_ns, const struct front_matter *front)
{
    struct roost_bytes path = {walk->path, strlen(walk->path)}, tags[ROOST_TAG_COUNT_MAX];
    struct roost_bytes body = {(const char *)file.data + front->size, file.size - front->size};
    struct roost_bytes title = front->title.size ? front->title : stem(path), raw = {file.data, front->size};
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct json_text metadata;
    char key[ROOST_KEY_SIZE_MAX + 1];
    uint64_t own_id = markdown_own_id(path);
    bool own = own_id && own_id == front->id;
    if (own && is_own(walk, own_id, body)) {
        walk->intake.count.unchanged_count++;
        return 0;
    }
    memcpy(tags, front->tags, front->tag_count * sizeof tags[0]);
    memory.tags = tags;
    memory.tag_count = front->tag_count;
    if (foreign_name_fits(front->type)) tags[memory.tag_count++] = front->type;
    if (foreign_name_fits(title) && !own) tags[memory.tag_count++] = title;
    memory.tag_count = cli_drop_repeated(tags, memory.tag_count);
    memory.time_ns = front->has_time ? front->time_ns : modified_ns;
    if (!memory.time_ns) memory.time_ns = 1; /* 0 would be now */
    if (own && foreign_name_fits(front->agent)) memory.agent = front->agent;
    if (own && foreign_name_fits(front->session)) memory.session = front->session;
    memory.text = body.size ? body : title.size ? title : roost_text(FOREIGN_EMPTY_TEXT);
    bool good = make_metadata(&metadata, path, title, raw, !body.size, false);
    if (good && metadata.size > ROOST_METADATA_SIZE_MAX) { /* so much front matter stays in the text */
        free(metadata.data);
        good = make_metadata(&metadata, path, title, raw, false, true);
        memory.text = file;
    }
    memory.metadata = (struct roost_bytes){metadata.data, metadata.size};
    make_key(path, key, &memory);
    int error = good ? intake_memory(&walk->intake, &memory) : ROOST_ENOMEM;
    free(metadata.data);
    return error;
}

/* ---- The folder -------------------------------------------------------------------------------------------------- */

static int refuse_system(struct walk *walk, int error_number, const char *what)
{
    return intake_refuse(&walk->intake, cli_fail_system(error_number, what, walk->path));
}

static int read_whole(int descriptor, size_t size, char **ret_text, size_t *ret_size)
{
    size_t used = 0;
    char *text = malloc(size + 1);
    if (!text) return ENOMEM;
    while (used < size) {
        ssize_t got = read(descriptor, text + used, size - used);
        if (got < 0 && errno == EINTR && !cli_interrupted()) continue;
        if (got < 0) {
            int error_number = errno;
            free(text);
            return error_number;
        }
        if (got == 0) break;
        used += (size_t)got;
    }
    *ret_text = text;
    *ret_size = used;
    return 0;
}

static int take_text(struct walk *walk, struct roost_bytes file, int64_t modified_ns)
{
    struct front_matter front;
    size_t offset;
    if (!rst_utf8_valid(file.data, file.size, &offset)) {
        cli_say("%s: not UTF-8: byte %zu begins no character; passed over", walk->path, offset + 1);
        return intake_refuse(&walk->intake, CLI_USAGE);
    }
    int error = front_matter_read(file, &front) ? add_file(walk, file, modified_ns, &front) : ROOST_ENOMEM;
    free(front.texts);
    walk->large_count += file.size > ROOST_INDEXED_SIZE_MAX;
    int code = error < 0 ? intake_refuse(&walk->intake, cli_fail(error, "%s", walk->path)) : CLI_OK;
    int ended = intake_end_group(&walk->intake, walk->path);
    return code ? code : ended;
}

static int take_file(struct walk *walk, int folder, const char *name)
{
    struct stat status;
    char *text = NULL;
    size_t size = 0;
    intake_step(&walk->intake);
    /* What became a pipe meanwhile must not hold us up. */
    int descriptor = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor < 0) return refuse_system(walk, errno, "could not open");
    int error_number = fstat(descriptor, &status) < 0 ? errno : 0;
    if (!error_number && (!S_ISREG(status.st_mode) || status.st_size > (off_t)ROOST_RECORD_SIZE_MAX)) error_number = EFBIG;
    if (!error_number) error_number = read_whole(descriptor, (size_t)status.st_size, &text, &size);
    close(descriptor);
    if (error_number) return refuse_system(walk, error_number, "could not read");
    int code =
        take_text(walk, (struct roost_bytes){text, size}, status.st_mtim.tv_sec * INT64_C(1000000000) + status.st_mtim.tv_nsec);
    free(text);
    return code;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The names in a folder, in order, without the hidden ones. */
static int list_folder(int folder, char ***ret_names, size_t *ret_count)
{
    char **names = NULL;
    size_t count = 0, capacity = 0;
    int copy = dup(folder), error_number = 0;
    DIR *stream = copy < 0 ? NULL : fdopendir(copy);
    if (!stream) {
        error_number = errno;
        if (copy >= 0) close(copy);
        return error_number;
    }
    for (struct dirent *entry; !error_number && (errno = 0, entry = readdir(stream)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        char *name = strdup(entry->d_name);
        if (name && array_grow((void **)&names, count, &capacity, sizeof *names)) {
            names[count++] = name;
        } else {
            free(name);
            error_number = ENOMEM;
        }
    }
    if (!error_number) error_number = errno;
    closedir(stream);
    if (count) qsort(names, count, sizeof *names, by_name);
    *ret_names = names;
    *ret_count = count;
    return error_number;
}

static int take_folder(struct walk *walk, int folder);

static int take_entry(struct walk *walk, int folder, const char *name)
{
    struct stat status;
    size_t size = strlen(name);
    if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) < 0) return refuse_system(walk, errno, "could not look at");
    if (S_ISREG(status.st_mode) && markdown_name(name, size)) return take_file(walk, folder, name);
    walk->link_count += S_ISLNK(status.st_mode) != 0;
    if (!S_ISDIR(status.st_mode)) return CLI_OK;
    int inner = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (inner < 0) return refuse_system(walk, errno, "could not open");
    int code = take_folder(walk, inner);
    close(inner);
    return code;
}

static int take_folder(struct walk *walk, int folder)
{
    char **names = NULL;
    size_t count = 0, used = strlen(walk->path);
    int code = CLI_OK, error_number = list_folder(folder, &names, &count);
    if (error_number) code = refuse_system(walk, error_number, "could not list");
    for (size_t i = 0; i < count; i++) {
        if (!code && !cli_interrupted()) {
            int size = snprintf(walk->path + used, PATH_SIZE - used, "%s%s", used ? "/" : "", names[i]);
            if ((size_t)size >= PATH_SIZE - used)
                code = refuse_system(walk, ENAMETOOLONG, "could not take");
            else
                code = take_entry(walk, folder, names[i]);
            walk->path[used] = '\0';
        }
        free(names[i]);
    }
    free(names);
    return code;
}

static const char *plural(uint64_t count) { return count == 1 ? "" : "s"; }

int import_markdown(struct cli *cli, const char *path, const struct foreign_options *options)
{
    struct walk *walk = calloc(1, sizeof *walk);
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = folder < 0 ? cli_fail_system(errno, "could not open the folder", path) : CLI_OK;
    if (!code && !walk) code = cli_fail_system(ENOMEM, "could not read", path);
    if (!code) {
        code = intake_open(&walk->intake, cli, options, "files", MARKDOWN_PREFIX, NULL, NULL);
        if (!code) code = take_folder(walk, folder);
        if (!code) code = intake_flush(&walk->intake);
        code = intake_end(&walk->intake, code);
        if (walk->link_count)
            cli_say("import: %" PRIu64 " symbolic link%s passed over", walk->link_count, plural(walk->link_count));
        if (walk->large_count)
            cli_say("import: %" PRIu64 " file%s of more than 1 MiB: all is kept, search looks at the first 1 MiB",
                    walk->large_count, plural(walk->large_count));
    }
    if (folder >= 0) close(folder);
    free(walk);
    return code;
}
