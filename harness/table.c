/* table.c - tables as Markdown, CSV, LaTeX, TSV and aligned text. */
#include "table.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

static const char *const format_name[] = { "md", "csv", "tex", "tsv", "text" };

int cb_format_parse(const char *name, enum cb_format *out)
{
    for (int i = 0; i < 5; i++)
        if (!strcmp(name, format_name[i])) {
            *out = (enum cb_format)i;
            return 0;
        }
    return cb_error("format '%s' is not one of md, csv, tex, tsv, text", name);
}

const char *cb_format_extension(enum cb_format f)
{
    return f == CB_PLAIN ? "txt" : format_name[f];
}

const char *cb_number(double x, int digits, char text[CB_NUMBER_MAX])
{
    double size = fabs(x);
    if (!isfinite(x)) {
        strcpy(text, "-");
    } else if (size == 0) {
        strcpy(text, "0");
    } else if (size < 1e-5 || size >= 1e15) {
        snprintf(text, CB_NUMBER_MAX, "%.*e", digits - 1, x);
    } else {
        /* rounding may carry into a new digit (9.996 -> 10.0): look at the rounded number */
        char rounded[CB_NUMBER_MAX];
        snprintf(rounded, sizeof rounded, "%.*e", digits - 1, x);
        int exponent = atoi(strchr(rounded, 'e') + 1), decimals = digits - 1 - exponent;
        snprintf(text, CB_NUMBER_MAX, "%.*f", decimals > 0 ? decimals : 0, x);
    }
    return text;
}

const char *cb_bounded(double value, double low, double high, int digits, char *text, size_t size)
{
    char v[CB_NUMBER_MAX], l[CB_NUMBER_MAX], h[CB_NUMBER_MAX];
    if (low == high) {
        snprintf(text, size, "%s", cb_number(value, digits, v));
        return text;
    }
    if (!strcmp(cb_number(low, digits, l), cb_number(high, digits, h)))
        digits++;
    snprintf(text, size, "%s [%s, %s]", cb_number(value, digits, v), cb_number(low, digits, l),
             cb_number(high, digits, h));
    return text;
}

static int grow(struct cb_table *t)
{
    if (t->rows + 1 < t->capacity)
        return 0;
    int capacity = t->capacity ? 2 * t->capacity : 16;
    char **cell = realloc(t->cell, (size_t)capacity * t->columns * sizeof *cell);
    if (!cell)
        return cb_error("no memory for a table");
    memset(cell + (size_t)t->capacity * t->columns, 0,
           (size_t)(capacity - t->capacity) * t->columns * sizeof *cell);
    t->cell = cell;
    t->capacity = capacity;
    return 0;
}

static char **at(const struct cb_table *t, int row, int column)
{
    return &t->cell[(size_t)row * t->columns + column];
}

int cb_table_init(struct cb_table *t, const char *caption, int columns, const char *const *head)
{
    *t = (struct cb_table){ .columns = columns };
    if (caption && !(t->caption = strdup(caption)))
        return cb_error("no memory for a table");
    if (grow(t))
        goto fail;
    for (int c = 0; c < columns; c++)
        if (cb_table_set(t, 0, c, "%s", head[c]))
            goto fail;
    return 0;
fail:
    cb_table_free(t);
    return -1;
}

void cb_table_free(struct cb_table *t)
{
    if (t->cell)
        for (size_t i = 0; i < (size_t)t->capacity * t->columns; i++)
            free(t->cell[i]);
    free(t->cell);
    free(t->caption);
    *t = (struct cb_table){ 0 };
}

int cb_table_row(struct cb_table *t)
{
    if (grow(t))
        return -1;
    return ++t->rows;
}

int cb_table_set(struct cb_table *t, int row, int column, const char *format, ...)
{
    if (row < 0 || row > t->rows || column < 0 || column >= t->columns)
        return cb_error("table has no cell %d, %d", row, column);
    va_list list, again;
    va_start(list, format);
    va_copy(again, list);
    int length = vsnprintf(NULL, 0, format, list);
    char *text = length < 0 ? NULL : malloc((size_t)length + 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    va_end(list);
    if (!text)
        return cb_error("no memory for a table");
    free(*at(t, row, column));
    *at(t, row, column) = text;
    return 0;
}

static const char *text_at(const struct cb_table *t, int row, int column)
{
    const char *s = *at(t, row, column);
    return s ? s : "";
}

static void write_csv(const char *s, FILE *out)
{
    if (!strpbrk(s, ",\"\n\r")) {
        fputs(s, out);
        return;
    }
    fputc('"', out);
    for (; *s; s++) {
        if (*s == '"')
            fputc('"', out);
        fputc(*s, out);
    }
    fputc('"', out);
}

void cb_write_latex(const char *s, FILE *out)
{
    for (; *s; s++)
        switch (*s) {
        case '\\':
            fputs("\\textbackslash{}", out);
            break;
        case '~':
            fputs("\\textasciitilde{}", out);
            break;
        case '^':
            fputs("\\textasciicircum{}", out);
            break;
        case '<':
            fputs("\\textless{}", out);
            break;
        case '>':
            fputs("\\textgreater{}", out);
            break;
        case '|':
            fputs("\\textbar{}", out);
            break;
        case '&':
        case '%':
        case '$':
        case '#':
        case '_':
        case '{':
        case '}':
            fputc('\\', out);
            fputc(*s, out);
            break;
        default:
            fputc(*s, out);
        }
}

static void write_cell(const char *s, enum cb_format f, FILE *out)
{
    switch (f) {
    case CB_CSV:
        write_csv(s, out);
        return;
    case CB_LATEX:
        cb_write_latex(s, out);
        return;
    case CB_MARKDOWN:
        for (; *s; s++)
            if (*s == '|')
                fputs("\\|", out);
            else
                fputc(*s == '\n' ? ' ' : *s, out);
        return;
    default:
        if (!*s)
            fputc('-', out);
        for (; *s; s++)
            fputc(*s == '\t' || *s == '\n' || *s == '\r' ? ' ' : *s, out);
    }
}

/* A column of numbers is set to the right: its first filled cell begins like one. */
static int is_number(const struct cb_table *t, int column)
{
    for (int r = 1; r <= t->rows; r++) {
        const char *s = text_at(t, r, column);
        if (!*s || !strcmp(s, "-"))
            continue;
        return (*s >= '0' && *s <= '9') || (*s == '-' && s[1] >= '0' && s[1] <= '9');
    }
    return 0;
}

static void write_delimited(const struct cb_table *t, enum cb_format f, const char *between,
                            FILE *out)
{
    for (int r = 0; r <= t->rows; r++)
        for (int c = 0; c < t->columns; c++) {
            write_cell(text_at(t, r, c), f, out);
            fputs(c + 1 < t->columns ? between : "\n", out);
        }
}

static void write_markdown(const struct cb_table *t, FILE *out)
{
    if (t->caption)
        fprintf(out, "**%s**\n\n", t->caption);
    for (int r = 0; r <= t->rows; r++) {
        for (int c = 0; c < t->columns; c++) {
            fputs(c ? " | " : "| ", out);
            write_cell(text_at(t, r, c), CB_MARKDOWN, out);
        }
        fputs(" |\n", out);
        if (!r)
            for (int c = 0; c < t->columns; c++)
                fprintf(out, "|%s%s", is_number(t, c) ? " ---: " : " --- ",
                        c + 1 < t->columns ? "" : "|\n");
    }
}

static void write_tex(const struct cb_table *t, FILE *out)
{
    fputs("\\begin{table}\n\\centering\n", out);
    if (t->caption) {
        fputs("\\caption{", out);
        cb_write_latex(t->caption, out);
        fputs("}\n", out);
    }
    fputs("\\begin{tabular}{", out);
    for (int c = 0; c < t->columns; c++)
        fputc(is_number(t, c) ? 'r' : 'l', out);
    fputs("}\n\\hline\n", out);
    for (int r = 0; r <= t->rows; r++) {
        for (int c = 0; c < t->columns; c++) {
            fputs(c ? " & " : "", out);
            cb_write_latex(text_at(t, r, c), out);
        }
        fputs(r ? " \\\\\n" : " \\\\\n\\hline\n", out);
    }
    fputs("\\hline\n\\end{tabular}\n\\end{table}\n", out);
}

/* Width on a terminal: bytes that start a character. */
static int width(const char *s)
{
    int n = 0;
    for (; *s; s++)
        n += (*s & 0xc0) != 0x80;
    return n;
}

static int write_plain(const struct cb_table *t, FILE *out)
{
    int *widest = calloc(t->columns, sizeof *widest);
    if (!widest)
        return cb_error("no memory for a table");
    for (int r = 0; r <= t->rows; r++)
        for (int c = 0; c < t->columns; c++)
            if (width(text_at(t, r, c)) > widest[c])
                widest[c] = width(text_at(t, r, c));
    if (t->caption)
        fprintf(out, "%s\n", t->caption);
    for (int r = 0; r <= t->rows; r++) {
        for (int c = 0; c < t->columns; c++) {
            const char *s = text_at(t, r, c);
            int gap = widest[c] - width(s), right = is_number(t, c), last = c + 1 == t->columns;
            fprintf(out, "%s%*s%s%*s", c ? "  " : "", right ? gap : 0, "", s,
                    right || last ? 0 : gap, "");
        }
        fputc('\n', out);
    }
    free(widest);
    return 0;
}

int cb_table_write(const struct cb_table *t, enum cb_format f, FILE *out)
{
    int status = 0;
    switch (f) {
    case CB_MARKDOWN:
        write_markdown(t, out);
        break;
    case CB_CSV:
        write_delimited(t, CB_CSV, ",", out);
        break;
    case CB_TSV:
        write_delimited(t, CB_TSV, "\t", out);
        break;
    case CB_LATEX:
        write_tex(t, out);
        break;
    case CB_PLAIN:
        status = write_plain(t, out);
        break;
    }
    if (!status && ferror(out))
        status = cb_error("a table was not written whole");
    return status;
}

int cb_table_save(const struct cb_table *t, enum cb_format f, const char *path)
{
    FILE *out = fopen(path, "w");
    if (!out)
        return cb_error("%s: cannot be written", path);
    int status = cb_table_write(t, f, out);
    if (fclose(out) && !status)
        status = cb_error("%s: not written whole", path);
    return status;
}
