/* SPDX-License-Identifier: MIT
 * export_markdown.c: memories as Markdown files in a folder, a file a memory: what import_markdown.c took at its old path, byte for byte,
 * others as memories/ID.md.
 *
 * Paths come from stored memories, which anybody may have written: only those that an import takes are used, every folder on the way is
 * opened without following links, and a file is replaced only by a whole new one. */
#include "foreign.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct exporter {
    struct cli *cli;
    const struct foreign_options *options;
    int folder;           /* -1: a dry run, and it is not there */
    struct key_map paths; /* of imported files: the memory's id */
    struct cli_pass pass;
    uint64_t memory_count, written_count, kept_count, refused_count;
    int code;
};

/* ---- Which file -------------------------------------------------------------------------------------------------- */

/* The path of a memory that was imported, from its metadata or, if an agent has replaced it, its key. False: it was not. */
static bool imported_path(const struct roost_memory *memory, struct rst_json_document *document,
                          const struct rst_json_value *object, struct roost_bytes *ret_path)
{
    struct rst_json_reader reader = {document, object};
    struct roost_bytes path = {NULL, 0};
    size_t prefix = strlen(MARKDOWN_PREFIX);
    if (object && !rst_json_read_bytes(&reader, "path", &path, NULL)) return false;
    if (!object && bytes_begin(memory->key, MARKDOWN_PREFIX))
        path = (struct roost_bytes){(const char *)memory->key.data + prefix, memory->key.size - prefix};
    *ret_path = path;
    return markdown_path_good(path);
}

static int note_path(struct exporter *exporter, const struct roost_memory *memory)
{
    struct rst_json_document document;
    struct roost_bytes path;
    const struct rst_json_value *object = foreign_metadata(memory, "markdown", &document);
    int error = 0;
    if (imported_path(memory, &document, object, &path)) {
        uint64_t *id = key_map_add(&exporter->paths, path);
        if (!id) error = ROOST_ENOMEM;
        if (id && !*id) *id = memory->id;
    }
    rst_json_free(&document);
    return error;
}

/* ---- What is in it ----------------------------------------------------------------------------------------------- */

static void put_time(FILE *file, int64_t time_ns)
{
    int64_t seconds = time_ns / 1000000000, ns = time_ns % 1000000000;
    if (ns < 0) {
        ns += 1000000000;
        seconds--;
    }
    time_t time = (time_t)seconds;
    struct tm parts;
    if (!gmtime_r(&time, &parts)) return;
    fprintf(file, "time: %04d-%02d-%02dT%02d:%02d:%02d.%09dZ\n", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
            parts.tm_hour, parts.tm_min, parts.tm_sec, (int)ns);
}

/* name: "text", which YAML and JSON write alike. */
static void put_field(FILE *file, const char *name, struct roost_bytes text)
{
    struct json_writer writer = json_writer(file);
    if (!text.size || !rst_utf8_valid(text.data, text.size, NULL)) return;
    fprintf(file, "%s: ", name);
    json_bytes(&writer, NULL, text);
    fputc('\n', file);
}

static void put_own(FILE *file, const struct roost_memory *memory)
{
    fprintf(file, "---\nid: %" PRIu64 "\n", memory->id);
    put_time(file, memory->time_ns);
    put_field(file, "key", memory->key);
    if (memory->tag_count) {
        struct json_writer writer = json_writer(file);
        fputs("tags: ", file);
        json_bytes_list(&writer, NULL, memory->tags, memory->tag_count);
        fputc('\n', file);
    }
    put_field(file, "agent", memory->agent);
    put_field(file, "session", memory->session);
    fputs("---\n\n", file);
    fwrite(memory->text.data, 1, memory->text.size, file);
}

static void put_imported(FILE *file, const struct roost_memory *memory, struct rst_json_document *document,
                         const struct rst_json_value *object)
{
    struct rst_json_reader reader = {document, object};
    struct roost_bytes front_matter = {NULL, 0};
    const struct rst_json_value *empty = rst_json_member(object, "empty");
    if (object && rst_json_read_bytes(&reader, "front_matter", &front_matter, NULL) && front_matter.size)
        fwrite(front_matter.data, 1, front_matter.size, file);
    if (!empty || empty->kind != RST_JSON_TRUE) fwrite(memory->text.data, 1, memory->text.size, file);
}

/* ---- Files ------------------------------------------------------------------------------------------------------- */

static void refuse(struct exporter *exporter, int code)
{
    exporter->refused_count++;
    if (!exporter->code) exporter->code = code;
}

/* Opens the folder of a path below ours, and makes what is missing on the way. -1: errno; ENOENT in a dry run is no failure. */
static int open_parent(const struct exporter *exporter, const char *path, const char **ret_name)
{
    int folder = fcntl(exporter->folder, F_DUPFD_CLOEXEC, 0);
    for (const char *slash; folder >= 0 && (slash = strchr(path, '/')) != NULL; path = slash + 1) {
        char part[NAME_MAX + 1];
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        int made = exporter->options->dry_run ? 0 : mkdirat(folder, part, 0700);
        int inner = made < 0 && errno != EEXIST ? -1 : openat(folder, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int error_number = errno;
        close(folder);
        errno = error_number;
        folder = inner;
    }
    *ret_name = path;
    return folder;
}

enum there { NOTHING, SAME, DIFFERENT, NO_FILE /* a link, a folder, ... */ };

static enum there look_at(int folder, const char *name, struct roost_bytes content, mode_t *ret_mode)
{
    struct stat status;
    char buffer[65536];
    size_t at = 0;
    if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) < 0) return errno == ENOENT ? NOTHING : NO_FILE;
    if (!S_ISREG(status.st_mode)) return NO_FILE;
    *ret_mode = status.st_mode & 0777;
    if ((uint64_t)status.st_size != content.size) return DIFFERENT;
    int descriptor = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool same = descriptor >= 0;
    while (same && at < content.size) {
        ssize_t got = read(descriptor, buffer, sizeof buffer);
        same = got > 0 && (size_t)got <= content.size - at && memcmp(buffer, (const char *)content.data + at, (size_t)got) == 0;
        if (same) at += (size_t)got;
    }
    if (descriptor >= 0) close(descriptor);
    return same ? SAME : DIFFERENT;
}

static bool write_all(int descriptor, struct roost_bytes content)
{
    for (size_t at = 0; at < content.size;) {
        ssize_t put = write(descriptor, (const char *)content.data + at, content.size - at);
        if (put < 0 && errno != EINTR) return false;
        if (put > 0) at += (size_t)put;
    }
    return true;
}

/* A new file under a hidden name that takes its own when it is complete. 0, or an errno. */
static int write_file(int folder, const char *name, struct roost_bytes content, mode_t mode, int64_t time_ns, bool replace)
{
    char temporary[40];
    snprintf(temporary, sizeof temporary, ".roost-%ld", (long)getpid());
    int descriptor = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (descriptor < 0 && errno == EEXIST && unlinkat(folder, temporary, 0) == 0) /* of a process that was killed */
        descriptor = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (descriptor < 0) return errno;
    int64_t ns = time_ns % 1000000000;
    time_t seconds = (time_t)(time_ns / 1000000000 - (ns < 0));
    const struct timespec times[2] = {{0, UTIME_NOW}, {seconds, (long)(ns < 0 ? ns + 1000000000 : ns)}};
    bool good = write_all(descriptor, content) && fchmod(descriptor, mode) == 0;
    if (good && !replace) (void)futimens(descriptor, times); /* a file that says nothing of its time has that of its memory */
    int error_number = good ? 0 : errno;
    if (close(descriptor) < 0 && !error_number) error_number = errno;
    if (!error_number && renameat(folder, temporary, folder, name) < 0) error_number = errno;
    if (error_number) (void)unlinkat(folder, temporary, 0);
    return error_number;
}

static void put_content(struct exporter *exporter, const char *path, struct roost_bytes content, int64_t time_ns)
{
    const char *name = path;
    mode_t mode = 0600;
    bool dry_run = exporter->options->dry_run;
    int folder = exporter->folder < 0 ? -1 : open_parent(exporter, path, &name), error_number = errno;
    if (folder < 0 && dry_run && (exporter->folder < 0 || error_number == ENOENT)) {
        exporter->written_count++;
        return;
    }
    if (folder < 0) {
        refuse(exporter, cli_fail_system(error_number, "could not open the folder of", path));
        return;
    }
    enum there there = look_at(folder, name, content, &mode);
    if (there == SAME) {
        exporter->kept_count++;
    } else if (there == NO_FILE) {
        cli_say("%s: what is there is no plain file; it stays as it is", path);
        refuse(exporter, CLI_CONFLICT);
    } else if (there == DIFFERENT && !exporter->options->force) {
        cli_say("%s: the file is there and differs; it stays as it is (--force replaces it)", path);
        refuse(exporter, CLI_CONFLICT);
    } else {
        error_number = dry_run ? 0 : write_file(folder, name, content, mode, time_ns, there == DIFFERENT);
        if (error_number)
            refuse(exporter, cli_fail_system(error_number, "could not write", path));
        else
            exporter->written_count++;
    }
    close(folder);
}

/* ---- All memories ------------------------------------------------------------------------------------------------ */

/* memories/ID.md, or a name beside it if an imported file has this one. */
static void own_path(const struct exporter *exporter, roost_id id, char *ret_path, size_t size)
{
    snprintf(ret_path, size, MARKDOWN_OWN_FOLDER "/%" PRIu64 ".md", id);
    for (unsigned i = 1; key_map_find(&exporter->paths, roost_text(ret_path)); i++)
        snprintf(ret_path, size, MARKDOWN_OWN_FOLDER "/%" PRIu64 "-roost-%u.md", id, i);
}

static int put_memory(struct exporter *exporter, const struct roost_memory *memory)
{
    struct rst_json_document document;
    struct roost_bytes path;
    struct json_text content;
    char *owned = NULL, own[96];
    const struct rst_json_value *object = foreign_metadata(memory, "markdown", &document);
    bool imported = imported_path(memory, &document, object, &path);
    uint64_t *id = imported ? key_map_find(&exporter->paths, path) : NULL;
    imported = id && *id == memory->id;
    bool good = json_text_open(&content);
    if (good && imported)
        put_imported(content.writer.file, memory, &document, object);
    else if (good)
        put_own(content.writer.file, memory);
    good = good && json_text_close(&content);
    if (imported)
        owned = strndup(path.data, path.size);
    else
        own_path(exporter, memory->id, own, sizeof own);
    good = good && (owned || !imported);
    if (good) put_content(exporter, imported ? owned : own, (struct roost_bytes){content.data, content.size}, memory->time_ns);
    exporter->memory_count++;
    free(owned);
    free(content.data);
    rst_json_free(&document);
    return good ? 0 : ROOST_ENOMEM;
}

static int pass_over(struct exporter *exporter, int (*each)(struct exporter *exporter, const struct roost_memory *memory),
                     struct cli_pass *pass)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    roost_iter *iter = NULL;
    int got = roost_scan(exporter->cli->root, 0, 0, &iter);
    while (got >= 0 && !cli_interrupted() && (got = cli_pass_memory(pass, iter, &memory)) > 0) {
        int error = each(exporter, &memory);
        if (error < 0) got = error;
    }
    roost_iter_close(iter);
    return got < 0 ? got : 0;
}

static void put_counts(const struct exporter *exporter)
{
    bool dry_run = exporter->options->dry_run;
    if (!exporter->cli->json) {
        printf("%s %" PRIu64 " memor%s: %" PRIu64 " file%s written, %" PRIu64 " there already",
               dry_run ? "would export" : "exported", exporter->memory_count, exporter->memory_count == 1 ? "y" : "ies",
               exporter->written_count, exporter->written_count == 1 ? "" : "s", exporter->kept_count);
        if (exporter->refused_count) printf(", %" PRIu64 " refused", exporter->refused_count);
        putchar('\n');
        return;
    }
    struct json_writer writer = json_writer(stdout);
    json_open(&writer, NULL, '{');
    json_text(&writer, "form", exporter->options->form);
    json_unsigned(&writer, "memories", exporter->memory_count);
    json_unsigned(&writer, "written", exporter->written_count);
    json_unsigned(&writer, "unchanged", exporter->kept_count);
    json_unsigned(&writer, "refused", exporter->refused_count);
    json_bool(&writer, "dry_run", dry_run);
    json_close(&writer, '}');
    json_line_end(&writer);
}

int export_markdown(struct cli *cli, const char *path, const struct foreign_options *options)
{
    struct exporter exporter = {.cli = cli, .options = options, .folder = -1, .pass = {"export", 0}};
    struct cli_pass first = {"export", 0};
    if (!options->dry_run && mkdir(path, 0700) < 0 && errno != EEXIST)
        return cli_fail_system(errno, "could not make the folder", path);
    exporter.folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (exporter.folder < 0 && !(options->dry_run && errno == ENOENT))
        return cli_fail_system(errno, "could not open the folder", path);
    cli_catch_interrupts();
    int error = pass_over(&exporter, note_path, &first);
    if (!error) error = pass_over(&exporter, put_memory, &exporter.pass);
    /* One sync for all: a file's content may else come to the disk after its name. */
    if (!options->dry_run && syncfs(exporter.folder) < 0 && !error)
        exporter.code = cli_fail_system(errno, "could not sync", path);
    int code = cli_pass_end(&exporter.pass, error);
    if (!error) put_counts(&exporter);
    if (!error) export_say_left_behind(cli);
    if (exporter.folder >= 0) close(exporter.folder);
    key_map_free(&exporter.paths);
    if (!code && cli_interrupted()) {
        cli_say("export: interrupted; run it again to go on");
        code = CLI_FAILED;
    }
    return code ? code : exporter.code;
}
