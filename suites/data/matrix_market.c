/* matrix_market.c - the Matrix Market coordinate format (matrix.h says what is taken). */
#include <limits.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"
#include "text.h"

enum field { REAL, INTEGER, PATTERN };
enum symmetry { GENERAL, SYMMETRIC, SKEW };

struct header {
    enum field field;
    enum symmetry symmetry;
    int rows, cols;
    long stored; /* entries in the file */
};

/* The next word of a line as one of names, ended by NULL; -1: none of them. */
static int word_among(struct text *t, const char *const *names)
{
    const char *word;
    size_t n = text_word(t, &word);
    for (int i = 0; names[i]; i++)
        if (n == strlen(names[i]) && !strncasecmp(word, names[i], n))
            return i;
    t->at = word; /* for the message */
    return -1;
}

static int read_banner(struct text *t, struct header *h)
{
    static const char *const banner[] = { "%%MatrixMarket", NULL };
    static const char *const object[] = { "matrix", NULL };
    static const char *const format[] = { "coordinate", NULL };
    static const char *const fields[] = { "real", "integer", "pattern", NULL };
    static const char *const symmetries[] = { "general", "symmetric", "skew-symmetric", NULL };
    char quote[40];
    if (!text_line(t)) {
        t->line = 1;
        return text_error(t, "empty file");
    }
    if (word_among(t, banner))
        return text_error(t, "does not start with %%%%MatrixMarket");
    if (word_among(t, object))
        return text_error(t, "%s is not read, only 'matrix'", text_quote(t, quote));
    if (word_among(t, format))
        return text_error(t, "%s is not read, only 'coordinate'", text_quote(t, quote));
    int field = word_among(t, fields);
    if (field < 0)
        return text_error(t, "%s is not read, only real, integer and pattern",
                          text_quote(t, quote));
    int symmetry = word_among(t, symmetries);
    if (symmetry < 0)
        return text_error(t, "%s is not read, only general, symmetric and skew-symmetric",
                          text_quote(t, quote));
    if (!text_at_end(t))
        return text_error(t, "%s after the banner", text_quote(t, quote));
    h->field = (enum field)field;
    h->symmetry = (enum symmetry)symmetry;
    if (h->field == PATTERN && h->symmetry == SKEW)
        return text_error(t, "a pattern cannot be skew-symmetric");
    return 0;
}

static int read_sizes(struct text *t, struct header *h)
{
    long rows, cols, stored;
    char quote[40];
    if (!text_line_of_data(t))
        return text_error(t, "no line with sizes");
    if (!text_long(t, &rows) || !text_long(t, &cols) || !text_long(t, &stored))
        return text_error(t, "%s where rows, columns and entries are expected",
                          text_quote(t, quote));
    if (!text_at_end(t))
        return text_error(t, "%s after the sizes", text_quote(t, quote));
    if (rows < 1 || cols < 1 || stored < 0)
        return text_error(t, "sizes out of range");
    if (rows >= INT_MAX || cols >= INT_MAX || stored > INT_MAX)
        return text_error(t, "too large: rows, columns and entries must be below 2^31");
    if (h->symmetry != GENERAL && rows != cols)
        return text_error(t, "a symmetric matrix must be square");
    /* the shortest line is "1 1\n", "1 1 0\n" with a value; the last newline may be missing */
    long line = h->field == PATTERN ? 4 : 6;
    if (stored > (t->end - t->next + 1) / line)
        return text_error(t, "%ld entries are promised, the file is too short for them", stored);
    if (rows > (1L << 20) + 1024 * stored)
        return text_error(t, "%ld rows for %ld entries", rows, stored);
    h->rows = (int)rows;
    h->cols = (int)cols;
    h->stored = stored;
    return 0;
}

/* One entry, 0-based. */
static int read_entry(struct text *t, const struct header *h, int *row, int *col, float *val)
{
    long i, j;
    double v = 1;
    char quote[40];
    if (!text_long(t, &i) || !text_long(t, &j))
        return text_error(t, "%s where an index is expected", text_quote(t, quote));
    if (i < 1 || i > h->rows)
        return text_error(t, "row %ld is outside 1 .. %d", i, h->rows);
    if (j < 1 || j > h->cols)
        return text_error(t, "column %ld is outside 1 .. %d", j, h->cols);
    if (h->symmetry == SKEW && i == j)
        return text_error(t, "a skew-symmetric matrix has no diagonal entries");
    if (h->field == INTEGER) {
        long whole;
        if (!text_long(t, &whole))
            return text_error(t, "%s where an integer is expected", text_quote(t, quote));
        v = (double)whole;
    } else if (h->field == REAL && !text_real(t, &v)) {
        return text_error(t, "%s where a number is expected", text_quote(t, quote));
    }
    if (!text_at_end(t))
        return text_error(t, "%s after an entry", text_quote(t, quote));
    if (!isfinite((float)v))
        return text_error(t, "the value does not fit a float");
    *row = (int)i - 1;
    *col = (int)j - 1;
    *val = (float)v;
    return 0;
}

/* Says on which line an entry of `again` (a copy of the reader at the first
 * entry) is given for the second time. */
static int report_twice(struct text *again, const struct header *h, struct data_twice twice)
{
    int row, col, times = 0;
    float val;
    while (text_line_of_data(again) && !read_entry(again, h, &row, &col, &val))
        if ((row == twice.row && col == twice.col) ||
            (h->symmetry != GENERAL && col == twice.row && row == twice.col)) {
            if (++times == 2)
                return text_error(again, "entry %d %d is given twice", row + 1, col + 1);
        }
    return -1; /* cannot be; the text of data_csr stands */
}

int matrix_market_parse(const char *name, const char *text, size_t size, struct matrix *out)
{
    struct text t, first;
    struct header h = { 0 };
    int *row = NULL, *col = NULL;
    float *val = NULL;
    int status = -1;
    char quote[40];
    *out = (struct matrix){ 0 };
    if (text_open(&t, name, text, size) || read_banner(&t, &h) || read_sizes(&t, &h))
        return -1;
    first = t;

    /* mirrored entries go behind their originals */
    size_t room = (size_t)h.stored * (h.symmetry == GENERAL ? 1 : 2);
    row = data_malloc(room, sizeof *row);
    col = data_malloc(room, sizeof *col);
    if (h.field != PATTERN)
        val = data_malloc(room, sizeof *val);
    if (!row || !col || (h.field != PATTERN && !val)) {
        cb_error("%s: no memory for %ld entries", name, h.stored);
        goto done;
    }
    long n = 0;
    for (long e = 0; e < h.stored; e++) {
        float v;
        if (!text_line_of_data(&t)) {
            text_error(&t, "the file ends after %ld of %ld entries", e, h.stored);
            goto done;
        }
        if (read_entry(&t, &h, &row[n], &col[n], &v))
            goto done;
        if (val)
            val[n] = v;
        n++;
        if (h.symmetry != GENERAL && row[n - 1] != col[n - 1]) {
            row[n] = col[n - 1];
            col[n] = row[n - 1];
            if (val)
                val[n] = h.symmetry == SKEW ? -v : v;
            n++;
        }
    }
    if (text_line_of_data(&t)) {
        text_error(&t, "%s after the last of %ld entries", text_quote(&t, quote), h.stored);
        goto done;
    }
    if (n > INT_MAX) {
        cb_error("%s: %ld entries after expansion, more than %d", name, n, INT_MAX);
        goto done;
    }
    struct data_twice twice = { 0 };
    status = data_csr_triples(name, h.rows, h.cols, n, row, col, val, false, &twice, out);
    if (status && twice.found)
        report_twice(&first, &h, twice);
done:
    data_free(row);
    data_free(col);
    data_free(val);
    return status;
}
