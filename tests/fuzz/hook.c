/* SPDX-License-Identifier: MIT
 * fuzz/hook.c: what a client gives a hook on stdin (src/mcp/hook*.c): any bytes, and objects with fields that the input chooses, one hook
 * after the other on one root of a simulated machine. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/cli.h"
#include "machine.h"

static void put_field(struct fuzz *fuzz, struct rst_buffer *text, const char *name)
{
    static const char *const known[] = {"s1", "run ninja with flags", "/a/b.c", "Edit", "assistant", "/proc/self/status"};
    uint8_t choice = fuzz_u8(fuzz);
    struct roost_bytes value = roost_text(known[choice % RST_COUNT_OF(known)]);
    if (choice % 8 == 0) return;
    if (choice > 128) value = fuzz_take(fuzz, choice % 64);
    rst_buffer_add(text, ",\"", 2);
    rst_buffer_add(text, name, strlen(name));
    rst_buffer_add(text, "\":\"", 3);
    rst_buffer_add(text, value.data, value.size);
    rst_buffer_add_u8(text, '"');
}

static void put_input(struct fuzz *fuzz, struct rst_buffer *text)
{
    static const char *const fields[] = {"session_id", "prompt", "tool_name", "cwd", "last_assistant_message", "transcript_path"};
    if (fuzz_one_in(fuzz, 8)) {
        struct roost_bytes bytes = fuzz_take(fuzz, fuzz_u8(fuzz));
        rst_buffer_add(text, bytes.data, bytes.size);
        return;
    }
    rst_buffer_add(text, "{\"a\":1", 6);
    for (size_t i = 0; i < RST_COUNT_OF(fields); i++) put_field(fuzz, text, fields[i]);
    rst_buffer_add(text, ",\"tool_input\":{\"b\":[2]", 22);
    put_field(fuzz, text, "file_path");
    put_field(fuzz, text, "command");
    rst_buffer_add(text, "}}", 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct cli_command *const hooks[] = {&command_hook_session_start, &command_hook_user_prompt,
                                                      &command_hook_post_tool, &command_hook_stop};
    struct fuzz fuzz = {data, size};
    struct machine machine;
    machine_start(&machine, MACHINE_EMPTY);
    int own_stdin = dup(STDIN_FILENO);
    for (unsigned count = 0; fuzz.left && count < 12; count++) {
        struct rst_buffer text = {0};
        const struct cli_command *hook = hooks[fuzz_u8(&fuzz) % RST_COUNT_OF(hooks)];
        put_input(&fuzz, &text);
        int file = memfd_create("input", MFD_CLOEXEC);
        RST_CHECK(file >= 0 && write(file, text.data, text.size) == (ssize_t)text.size && lseek(file, 0, SEEK_SET) == 0);
        RST_CHECK(dup2(file, STDIN_FILENO) == STDIN_FILENO);
        close(file);
        struct cli cli = {.directory = MACHINE_ROOT, .command = hook, .json = fuzz_one_in(&fuzz, 2)};
        char *operands[4] = {NULL};
        cli.operands = operands;
        int code = hook->run(&cli);
        RST_CHECK(code == CLI_OK || code == CLI_FAILED); /* never 2, which stops an agent */
        if (cli.root) RST_CHECK(roost_close(cli.root) == 0);
        free(cli.root_path);
        rst_buffer_free(&text);
    }
    if (own_stdin >= 0) {
        dup2(own_stdin, STDIN_FILENO);
        close(own_stdin);
    }
    RST_CHECK(machine_open(&machine, 0) == 0);
    RST_CHECK(roost_check(machine_use(&machine, 0), NULL, NULL) == 0);
    machine_end(&machine);
    return 0;
}
