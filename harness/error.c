/* error.c - one error text per thread. */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char text[1024];

int cb_error(const char *format, ...)
{
    char fresh[sizeof text]; /* an argument may be the old text */
    va_list list;
    va_start(list, format);
    vsnprintf(fresh, sizeof fresh, format, list);
    va_end(list);
    memcpy(text, fresh, sizeof text);
    return -1;
}

int cb_error_in(const char *format, ...)
{
    char prefix[256], old[sizeof text];
    va_list list;
    va_start(list, format);
    vsnprintf(prefix, sizeof prefix, format, list);
    va_end(list);
    memcpy(old, text, sizeof old);
    return cb_error("%s: %s", prefix, old);
}

const char *cb_error_text(void)
{
    return text;
}

void cb_error_clear(void)
{
    text[0] = 0;
}
