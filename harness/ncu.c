/* ncu.c - see ncu.h. */
#include "ncu.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "tool.h"

#define BY_OPCODE "sass__inst_executed_per_opcode"
#define COUNTER "smsp__inst_executed.sum"

const char ncu_metrics[] = BY_OPCODE "," COUNTER;

int ncu_tool(char *path, int size)
{
    return cb_tool_find("NCU", "ncu", path, size);
}

/* ---- comma-separated values ---- */

/* A page of raw metrics has 286 columns with attributes of the device (2025.3, 2 metrics asked). */
enum { FIELDS = 1024 };

/* A record, its fields in place: quotes off, "" made one quote.  Returns where the next starts. */
struct record {
    char *field[FIELDS];
    int count;
};

static char *read_record(char *at, struct record *r)
{
    r->count = 0;
    for (;;) {
        char *to = at, *start = at;
        bool quoted = *at == '"';
        if (quoted)
            at++;
        for (; *at; at++) {
            if (quoted && *at == '"') {
                if (at[1] != '"') {
                    at++;
                    break;
                }
                at++;
            } else if (!quoted && (*at == ',' || *at == '\n' || *at == '\r')) {
                break;
            }
            *to++ = *at;
        }
        char end = *at;
        if (r->count < FIELDS)
            r->field[r->count++] = start;
        if (end)
            at++;
        *to = 0;
        if (end != ',')
            return end == '\r' && *at == '\n' ? at + 1 : at;
    }
}

static int field_of(const struct record *head, const char *name)
{
    for (int i = 0; i < head->count; i++)
        if (!strcmp(head->field[i], name))
            return i;
    return -1;
}

/* ---- values ---- */

/* "1,234,567" with commas between thousands only; the end of what was read in *end. */
static double number(const char *text, const char **end)
{
    char digits[64];
    int n = 0;
    while (n < 63 && (isdigit((unsigned char)*text) || *text == '.' || *text == '-' ||
                      (*text == ',' && isdigit((unsigned char)text[1]) && n)))
        if (*text++ != ',')
            digits[n++] = text[-1];
    digits[n] = 0;
    *end = text;
    return strtod(digits, NULL);
}

/* "1,234 (FFMA: 1,000; LDG: 234)": adds each opcode to its pipe. */
static int add_opcodes(const char *value, const struct sass_table *t, struct ncu_counts *c)
{
    const char *at = strchr(value, '(');
    int found = 0;
    while (at && *at) {
        char opcode[32];
        int n = 0;
        while (*at && !isupper((unsigned char)*at))
            at++;
        while (n < 31 && (isalnum((unsigned char)*at) || *at == '.' || *at == '_'))
            opcode[n++] = *at++;
        opcode[n] = 0;
        while (*at == ' ')
            at++;
        if (!n || *at != ':')
            continue;
        for (at++; *at == ' '; at++)
            ;
        if (!isdigit((unsigned char)*at))
            return cb_error(BY_OPCODE ": no count of %s", opcode);
        opcode[strcspn(opcode, ".")] = 0;
        double warps = number(at, &at);
        c->pipe[sass_pipe_of(t, opcode)] += warps;
        c->all += warps;
        found++;
    }
    return found ? 0 : cb_error(BY_OPCODE ": no opcodes in '%.40s'", value);
}

/* ---- launches ---- */

struct reading {
    const struct sass_table *table;
    struct ncu_counts *out;
    int count, mark; /* marks that were met */
    char launch[32]; /* ID of the launch that the last line was of */
    bool counted;    /* that launch has its opcodes */
};

static int finish(const struct reading *r)
{
    if (*r->launch && r->mark && !r->counted)
        return cb_error("launch %s has no " BY_OPCODE, r->launch);
    return 0;
}

/* A line of a new launch: 1 if it is a mark, else 0, or -1. */
static int begin(struct reading *r, const char *id, const char *kernel, const char *grid)
{
    if (finish(r))
        return -1;
    snprintf(r->launch, sizeof r->launch, "%.31s", id);
    r->counted = false;
    if (!strstr(kernel, "mark_kernel")) {
        if (r->mark)
            r->out[r->mark - 1].launches++;
        return 0;
    }
    const char *end;
    const double mark = number(grid + strcspn(grid, "0123456789"), &end);
    if (mark < 1 || mark > r->count)
        return cb_error("launch %s: mark %.40s of %d", id, grid, r->count);
    r->mark = (int)mark;
    r->counted = true; /* of a mark nothing is wanted */
    return 1;
}

static int take(struct reading *r, const char *metric, const char *value)
{
    const char *end;
    struct ncu_counts *c = &r->out[r->mark - 1];
    if (!strcmp(metric, COUNTER)) {
        c->counter += number(value, &end);
        return 0;
    }
    if (strcmp(metric, BY_OPCODE))
        return 0;
    r->counted = true;
    return add_opcodes(value, r->table, c);
}

/* Columns of the head; -1 where a column is not there. */
struct columns {
    int id, kernel, grid, metric, value; /* a line a metric */
    int by_opcode, counter;              /* or a line a launch */
};

static int read_columns(const struct record *head, struct columns *c)
{
    *c = (struct columns){ field_of(head, "ID"), field_of(head, "Kernel Name"),
                           field_of(head, "Grid Size"), field_of(head, "Metric Name"),
                           field_of(head, "Metric Value"), field_of(head, BY_OPCODE),
                           field_of(head, COUNTER) };
    if (c->id < 0 || c->kernel < 0 || c->grid < 0)
        return cb_error("no column ID, Kernel Name or Grid Size");
    if (c->by_opcode < 0 && (c->metric < 0 || c->value < 0))
        return cb_error("no column " BY_OPCODE);
    return 0;
}

static int take_line(struct reading *r, const struct columns *c, const struct record *line)
{
    const char *id = line->field[c->id];
    if (!isdigit((unsigned char)*id)) /* the line of units */
        return 0;
    if (strcmp(id, r->launch) && begin(r, id, line->field[c->kernel], line->field[c->grid]) < 0)
        return -1;
    if (!r->mark || strstr(line->field[c->kernel], "mark_kernel"))
        return 0;
    if (c->by_opcode < 0)
        return take(r, line->field[c->metric], line->field[c->value]);
    return take(r, BY_OPCODE, line->field[c->by_opcode]) ||
           (c->counter >= 0 && take(r, COUNTER, line->field[c->counter])) ? -1 : 0;
}

int ncu_parse(const char *csv, const struct sass_table *t, struct ncu_counts *out, int count)
{
    char *text = strdup(csv), *at = text;
    struct reading r = { .table = t, .out = out, .count = count };
    struct record head = { .count = 0 }, line;
    struct columns columns = { .id = -1 };
    int status = text ? 0 : cb_error("no memory for the profiler's text");
    memset(out, 0, (size_t)count * sizeof *out);
    while (!status && *at) {
        if (*at != '"') { /* what the profiler says beside its table */
            at += strcspn(at, "\n");
            at += *at == '\n';
            continue;
        }
        at = read_record(at, head.count ? &line : &head);
        if (columns.id < 0)
            status = read_columns(&head, &columns);
        else if (line.count != head.count)
            status = cb_error("a line of %d fields under a head of %d", line.count, head.count);
        else
            status = take_line(&r, &columns, &line);
    }
    if (!status)
        status = !head.count ? cb_error("the profiler printed no table") : finish(&r);
    free(text);
    return status ? -1 : 0;
}
