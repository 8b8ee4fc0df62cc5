/* SPDX-License-Identifier: MIT
 * base/error_table.c: names and sentences of the error numbers, from protocol/errors.json (layer 0). */
#include <stddef.h>

#include <roost/roost.h>

#include "base/check.h"

static const struct {
    int value;
    const char *name, *text;
} table[] = {
#define X(name, value, text) {name, #name, text},
#include "error_table.inc" /* made by protocol/generate.py */
#undef X
};

const char *roost_error_name(int error)
{
    for (size_t i = 0; i < RST_COUNT_OF(table); i++)
        if (table[i].value == error) return table[i].name;
    return "ROOST_E?";
}

const char *roost_error_text(int error)
{
    for (size_t i = 0; i < RST_COUNT_OF(table); i++)
        if (table[i].value == error) return table[i].text;
    return "unknown error";
}
