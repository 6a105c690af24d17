/*
 * sweep_kept.h - what a sweep that ended early has left: a gzipped file of a head and of lines,
 * several for each matrix, which begin with its spec and a tab.
 */
#ifndef TOOLS_SWEEP_KEPT_H
#define TOOLS_SWEEP_KEPT_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "../harness/error.h"

/* Whole matrices of an earlier sweep. */
struct kept {
    char *lines;
    size_t length, room;
    int matrices;
};

static int keep_text(struct kept *k, const char *text, size_t length)
{
    if (k->length + length + 1 > k->room) {
        char *more = realloc(k->lines, k->room = 2 * (k->length + length) + 4096);
        if (!more)
            return cb_error("no memory for earlier times");
        k->lines = more;
    }
    memcpy(k->lines + k->length, text, length);
    k->lines[k->length += length] = 0;
    return 0;
}

/* `lines` of a matrix follow each other; the last ones may have been cut short. */
static int keep_lines(gzFile f, int lines, struct kept *k)
{
    char line[4096], spec[128] = "";
    size_t whole = 0;
    int count = 0;
    while (gzgets(f, line, sizeof line)) {
        const size_t length = strlen(line), name = strcspn(line, "\t");
        if (!length || line[length - 1] != '\n' || name >= sizeof spec)
            break;
        if (strncmp(spec, line, name) || spec[name]) {
            k->length = whole;
            count = 0;
            snprintf(spec, sizeof spec, "%.*s", (int)name, line);
        }
        if (keep_text(k, line, length))
            return -1;
        if (++count == lines) {
            whole = k->length;
            k->matrices++;
        }
    }
    k->length = whole;
    if (k->lines)
        k->lines[whole] = 0;
    return 0;
}

/* Of a file that begins with `head`; none where there is no file.  k is { 0 } before; its lines are
 * the caller's to free.  0 or -1 after cb_error. */
static int keep_file(const char *path, const char *head, int lines, struct kept *k)
{
    gzFile f = gzopen(path, "rb");
    const size_t length = strlen(head);
    char *begin = calloc(1, length + 1);
    int status = 0;
    if (f && begin && gzread(f, begin, (unsigned)length) > 0)
        status = strcmp(begin, head) ? cb_error("%s: of another GPU, seed or program", path)
                                     : keep_lines(f, lines, k);
    free(begin);
    if (f)
        gzclose(f);
    return status;
}

static bool is_kept(const struct kept *k, const char *spec)
{
    const size_t length = strlen(spec);
    for (const char *at = k->lines; at && *at; at = strchr(at, '\n') + 1)
        if (!strncmp(at, spec, length) && at[length] == '\t')
            return true;
    return false;
}

#endif
