/* SPDX-License-Identifier: MIT
 * options.c: a small table-driven option parser. The same tables make --help, so that the two cannot disagree.
 *
 * Options and operands may be mixed; `--` ends the options. `--name value`, `--name=value`, `-n value` and `-nvalue`
 * all work. Bad usage ends the program here with exit code 2: no root is open while options are read. */
#include "cli.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const struct cli_option cli_common_options[] = {
    {CLI_ID_DIRECTORY, 'C', "root", "DIR",
     "the root is DIR (else $ROOST_ROOT, else the nearest .roost upwards from "
     "here)"},
    {CLI_ID_JSON, 0, "json", NULL, "answer in JSON (ids are strings)"},
    {CLI_ID_WAIT, 0, "wait", "SECONDS", "wait at most this long to open the root and for each write (default 5)"},
    {CLI_ID_OBSERVE, 0, "observe", NULL, "only look: open the root without taking part in it, needing and changing nothing"},
    {CLI_ID_HELP, 'h', "help", NULL, "show this help"},
    CLI_OPTION_END,
};

void cli_usage(const struct cli *cli, const char *format, ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *name = cli->command ? cli->command->name : NULL;
    if (name)
        cli_say("%s: %s; see `roost %s --help`", name, text, name);
    else
        cli_say("%s; see `roost --help`", text);
    exit(CLI_USAGE);
}

/* Edit distance, bounded by short words: both under 32 letters. */
static size_t distance(const char *a, const char *b)
{
    size_t size_b = strlen(b), row[33];
    if (strlen(a) > 32 || size_b > 32) return 99;
    for (size_t k = 0; k <= size_b; k++) row[k] = k;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t k = 0; k < size_b; k++) {
            size_t best = diagonal + (a[i] != b[k]);
            diagonal = row[k + 1];
            if (diagonal + 1 < best) best = diagonal + 1;
            if (row[k] + 1 < best) best = row[k] + 1;
            row[k + 1] = best;
        }
    }
    return row[size_b];
}

const char *cli_nearest(const char *word, const char *const *candidates, size_t count)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) < 4 ? 2 : 3; /* a guess further off than this is noise */
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(word, candidates[i]);
        if (d < best_distance) {
            best_distance = d;
            best = candidates[i];
        }
    }
    return best;
}

static const struct cli_option *find_in(const struct cli_option *options, const char *name, size_t size, char letter)
{
    for (; options && options->id; options++) {
        if (letter && options->letter == letter) return options;
        if (name && strlen(options->name) == size && memcmp(options->name, name, size) == 0) return options;
    }
    return NULL;
}

static const struct cli_option *find_option(const struct cli *cli, const char *name, size_t size, char letter)
{
    const struct cli_option *own = cli->command ? cli->command->options : NULL;
    const struct cli_option *option = find_in(own, name, size, letter);
    return option ? option : find_in(cli_common_options, name, size, letter);
}

static _Noreturn void unknown_option(const struct cli *cli, const char *argument, const char *name, size_t size)
{
    const char *names[64], *near = NULL;
    size_t count = 0;
    char word[64];
    for (int table = 0; table < 2; table++) {
        const struct cli_option *option = table ? cli_common_options : cli->command ? cli->command->options : NULL;
        for (; option && option->id && count < 64; option++) names[count++] = option->name;
    }
    snprintf(word, sizeof word, "%.*s", (int)(size < 60 ? size : 60), name);
    near = cli_nearest(word, names, count);
    if (near) cli_usage(cli, "unknown option %s: did you mean --%s?", argument, near);
    cli_usage(cli, "unknown option %s: if it is text, put -- before it", argument);
}

static void common_option(struct cli *cli, int id)
{
    switch (id) {
    case CLI_ID_DIRECTORY:
        if (!*cli->value) cli_usage(cli, "-C needs the name of a directory");
        cli->directory = cli->value;
        cli_name_directory(cli->value);
        break;
    case CLI_ID_JSON:
        cli->json = true;
        break;
    case CLI_ID_WAIT: {
        uint64_t ms = cli_milliseconds_max(cli, "--wait", cli->value, UINT32_MAX / 1000 - 1);
        /* 0 would mean "the default" to the library; the shortest wait is 1 ms. */
        cli->wait_ms = ms ? (uint32_t)ms : 1;
        break;
    }
    case CLI_ID_OBSERVE:
        cli->observe = true;
        break;
    case CLI_ID_LEVEL:
        if (strcmp(cli->value, "durable") == 0)
            cli->level = ROOST_DURABLE;
        else if (strcmp(cli->value, "process") == 0)
            cli->level = ROOST_PROCESS;
        else
            cli_usage(cli, "--level is durable or process, not \"%s\"", cli->value);
        break;
    case CLI_ID_HELP:
        if (!cli->command) break; /* main shows the whole help */
        cli_command_help(cli->command);
        exit(cli_output_flush() ? CLI_OK : CLI_FAILED);
    default:
        break;
    }
}

/* Reads one argument that begins with a dash. Returns its id; common ones are done already. */
static int take_option(struct cli *cli, const char *argument)
{
    bool is_long = argument[1] == '-';
    const char *name = argument + (is_long ? 2 : 1);
    const char *equals = is_long ? strchr(name, '=') : NULL;
    size_t size = equals ? (size_t)(equals - name) : strlen(name);
    const struct cli_option *option = is_long ? find_option(cli, name, size, 0) : find_option(cli, NULL, 0, argument[1]);
    if (!option) unknown_option(cli, argument, name, size);
    const char *attached = is_long ? (equals ? equals + 1 : NULL) : (name[1] ? name + 1 : NULL);
    cli->value = "";
    if (!option->argument) {
        if (attached)
            cli_usage(cli, is_long ? "--%s takes no value" : "unknown option %s: letters are given one by one",
                      is_long ? option->name : argument);
        return option->id;
    }
    if (attached)
        cli->value = attached;
    else if (cli->argument_at < cli->argument_count)
        cli->value = cli->arguments[cli->argument_at++];
    else
        cli_usage(cli, "--%s needs a value: %s", option->name, option->argument);
    return option->id;
}

int cli_next(struct cli *cli)
{
    while (cli->argument_at < cli->argument_count) {
        char *argument = cli->arguments[cli->argument_at++];
        if (cli->operands_only || argument[0] != '-' || argument[1] == '\0') {
            cli->operands[cli->operand_count++] = argument;
            /* Before the command's name is known, the first operand ends the global options. */
            if (!cli->command) return 0;
            continue;
        }
        if (strcmp(argument, "--") == 0) {
            cli->operands_only = true;
            continue;
        }
        int id = take_option(cli, argument);
        if (id > CLI_OPTION_COMMON) common_option(cli, id);
        if (id < CLI_OPTION_COMMON || !cli->command) return id;
    }
    return 0;
}

void cli_operand_count(struct cli *cli, int operand_min, int operand_max)
{
    if (cli->operand_count < operand_min) cli_usage(cli, "something is missing: it takes %s", cli->command->operands);
    if (operand_max >= 0 && cli->operand_count > operand_max)
        cli_usage(cli, "\"%s\" is one argument too many", cli->operands[operand_max]);
}

void cli_no_options(struct cli *cli, int operand_min, int operand_max)
{
    while (cli_next(cli))
        ;
    cli_operand_count(cli, operand_min, operand_max);
}

/* ---- Numbers ----------------------------------------------------------------------------------------------------- */

static bool all_digits(const char *text, size_t size)
{
    size_t digits = 0;
    while (digits < size && text[digits] >= '0' && text[digits] <= '9') digits++;
    return size > 0 && digits == size;
}

uint64_t cli_number_max(const struct cli *cli, const char *what, const char *text, uint64_t max)
{
    uint64_t number = 0;
    if (!all_digits(text, strlen(text))) cli_usage(cli, "%s takes a whole number from 0, not \"%s\"", what, text);
    if (!rst_parse_number(text, strlen(text), &number) || number > max)
        cli_usage(cli, "%s is too large: %s; at most %" PRIu64, what, text, max);
    return number;
}

uint64_t cli_number(const struct cli *cli, const char *what, const char *text)
{
    return cli_number_max(cli, what, text, UINT64_MAX);
}

int64_t cli_signed(const struct cli *cli, const char *what, const char *text)
{
    bool negative = *text == '-';
    const char *digits = text + negative;
    uint64_t number = 0;
    if (!all_digits(digits, strlen(digits))) cli_usage(cli, "%s takes a whole number, not \"%s\"", what, text);
    if (!rst_parse_number(digits, strlen(digits), &number) || number > INT64_MAX)
        cli_usage(cli, "%s is too %s: %s; at %s %s%" PRId64, what, negative ? "small" : "large", text,
                  negative ? "least" : "most", negative ? "-" : "", INT64_MAX);
    return negative ? -(int64_t)number : (int64_t)number;
}

roost_id cli_memory_id(const struct cli *cli, const char *text)
{
    uint64_t id = 0;
    if (!rst_parse_number(text, strlen(text), &id) || id == 0)
        cli_usage(cli, "\"%s\" is not an id: ids are numbers from 1, as `roost add` and `roost list` show them", text);
    return id;
}

uint64_t cli_size(const struct cli *cli, const char *what, const char *text)
{
    size_t size = strlen(text);
    unsigned shift = 0;
    switch (size ? text[size - 1] : 0) {
    case 'k':
    case 'K':
        shift = 10;
        break;
    case 'm':
    case 'M':
        shift = 20;
        break;
    case 'g':
    case 'G':
        shift = 30;
        break;
    default:
        break;
    }
    uint64_t number = 0;
    size_t digits = shift ? size - 1 : size;
    if (!all_digits(text, digits)) cli_usage(cli, "%s takes a size like 65536, 64K, 16M or 1G, not \"%s\"", what, text);
    if (!rst_parse_number(text, digits, &number) || number > UINT64_MAX >> shift)
        cli_usage(cli, "%s is too large: %s; at most 1G", what, text); /* of all sizes that are asked for */
    return number << shift;
}

uint64_t cli_milliseconds_max(const struct cli *cli, const char *what, const char *text, uint64_t seconds_max)
{
    const char *point = strchr(text, '.');
    uint64_t seconds = 0, thousandths = 0;
    size_t whole = point ? (size_t)(point - text) : strlen(text);
    bool good = (whole == 0 && point && point[1]) || all_digits(text, whole);
    bool fits = !good || whole == 0 || rst_parse_number(text, whole, &seconds);
    if (good && point && point[1]) {
        uint64_t scale = 100;
        for (const char *digit = point + 1; *digit; digit++) {
            good = good && *digit >= '0' && *digit <= '9';
            thousandths += (uint64_t)(*digit - '0') * scale;
            scale /= 10;
        }
    }
    if (!good) cli_usage(cli, "%s takes seconds, like 10 or 0.5, not \"%s\"", what, text);
    if (!fits || seconds > seconds_max)
        cli_usage(cli, "%s is too large: %s; at most %" PRIu64 " seconds", what, text, seconds_max);
    return seconds * 1000 + thousandths;
}

uint64_t cli_milliseconds(const struct cli *cli, const char *what, const char *text)
{
    return cli_milliseconds_max(cli, what, text, UINT32_MAX); /* 136 years: beyond it is a mistake, and the sums stay in range */
}

/* ---- Help -------------------------------------------------------------------------------------------------------- */

/* A text in lines of at most 80 columns from `indent` on; one line end counts as a blank, two begin a paragraph. The
 * cursor is at `indent` already. */
static void put_wrapped(const char *text, int indent)
{
    int column = indent;
    for (bool first = true; *text; first = false) {
        size_t blanks = strspn(text, " \n");
        bool paragraph = strncmp(text, "\n\n", 2) == 0;
        size_t size = strcspn(text + blanks, " \n");
        if (paragraph || (!first && column + 1 + (int)size > 80)) {
            printf("%s\n%*s", paragraph ? "\n" : "", indent, "");
            column = indent;
        } else if (!first && size) {
            putchar(' ');
            column++;
        }
        fwrite(text + blanks, 1, size, stdout);
        column += (int)size;
        text += blanks + size;
    }
    putchar('\n');
}

void cli_exit_codes_line(void)
{
    printf("\nExit codes: ");
    put_wrapped("0 done, 1 failed, 2 bad usage or input, 3 not found, 4 conflict, 5 corrupt, 6 timed out, "
                "7 no usable root, 8 no space, 9 not permitted, 10 not applied; more: `roost help exit-codes`",
                12);
}

void cli_option_help(const struct cli_option *options)
{
    for (; options && options->id; options++) {
        char left[64];
        if (options->letter)
            snprintf(left, sizeof left, "-%c%s%s, --%s%s%s", options->letter, options->argument ? " " : "",
                     options->argument ? options->argument : "", options->name, options->argument ? " " : "",
                     options->argument ? options->argument : "");
        else
            snprintf(left, sizeof left, "    --%s%s%s", options->name, options->argument ? " " : "",
                     options->argument ? options->argument : "");
        if (strlen(left) > 26)
            printf("  %s\n%30s", left, "");
        else
            printf("  %-28s", left);
        put_wrapped(options->help, 30);
    }
}

void cli_command_help(const struct cli_command *command)
{
    printf("Usage: roost %s [OPTION]...%s%s\n\n%s.\n", command->name, *command->operands ? " " : "", command->operands,
           command->summary);
    if (command->details) {
        putchar('\n');
        put_wrapped(command->details, 0);
    }
    if (command->options && command->options->id) {
        printf("\nOptions:\n");
        cli_option_help(command->options);
    }
    printf("\nCommon options:\n");
    cli_option_help(cli_common_options);
    cli_exit_codes_line();
}
