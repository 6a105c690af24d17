/* metis.c - the METIS graph format (matrix.h says what is taken). */
#include <limits.h>
#include <string.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"
#include "text.h"

struct header {
    int nodes;
    long entries; /* every edge twice */
    bool edge_weights;
    int node_weights; /* numbers to skip at the start of a line */
};

static int read_header(struct text *t, struct header *h)
{
    long nodes, edges, weights = 1;
    char quote[40];
    const char *format = "0";
    size_t digits = 1;
    if (!text_line_of_data(t)) {
        t->line = t->line ? t->line : 1;
        return text_error(t, "no line with sizes");
    }
    if (!text_long(t, &nodes) || !text_long(t, &edges))
        return text_error(t, "%s where nodes and edges are expected", text_quote(t, quote));
    if (!text_at_end(t))
        digits = text_word(t, &format);
    for (; digits > 1 && *format == '0'; digits--)
        format++;
    bool known = digits <= 2;
    for (size_t i = 0; known && i < digits; i++)
        known = format[i] == '0' || format[i] == '1';
    if (!known) {
        t->at = format;
        return text_error(t, "format %s is not read, only 0, 1, 10 and 11", text_quote(t, quote));
    }
    bool has_node_weights = digits == 2;
    h->edge_weights = format[digits - 1] == '1';
    if (!text_at_end(t)) {
        if (!text_long(t, &weights) || weights < 1 || weights > 1000 || !has_node_weights)
            return text_error(t, "bad number of node weights");
        if (!text_at_end(t))
            return text_error(t, "%s after the sizes", text_quote(t, quote));
    }
    h->node_weights = has_node_weights ? (int)weights : 0;
    if (nodes < 1 || edges < 0)
        return text_error(t, "sizes out of range");
    if (nodes >= INT_MAX || edges > INT_MAX / 2)
        return text_error(t, "too large: nodes and twice the edges must be below 2^31");
    /* a node is a line, and an entry at least a digit and what parts it from the next */
    long rest = t->end - t->next + 1;
    if (nodes > rest || edges > rest / 4)
        return text_error(t, "%ld nodes and %ld edges are promised, the file is too short for them",
                          nodes, edges);
    h->nodes = (int)nodes;
    h->entries = 2 * edges;
    return 0;
}

/* The line of a node: its row of the matrix.  *n counts entries. */
static int read_node(struct text *t, const struct header *h, int i, long *n, int *row, int *col,
                     float *val)
{
    long j, weight;
    char quote[40];
    for (int w = 0; w < h->node_weights; w++)
        if (!text_long(t, &weight))
            return text_error(t, "%s where a node weight is expected", text_quote(t, quote));
    while (!text_at_end(t)) {
        if (!text_long(t, &j))
            return text_error(t, "%s where a neighbour is expected", text_quote(t, quote));
        if (j < 1 || j > h->nodes)
            return text_error(t, "neighbour %ld is outside 1 .. %d", j, h->nodes);
        if (j == i + 1)
            return text_error(t, "node %ld is its own neighbour", j);
        if (h->edge_weights && !text_long(t, &weight))
            return text_error(t, "%s where an edge weight is expected", text_quote(t, quote));
        if (*n == h->entries)
            return text_error(t, "more than the %ld edges that are promised", h->entries / 2);
        row[*n] = i;
        col[*n] = (int)j - 1;
        if (val)
            val[*n] = (float)weight;
        (*n)++;
    }
    return 0;
}

static bool has(const struct matrix *m, int row, int col)
{
    int low = m->row_ptr[row], high = m->row_ptr[row + 1];
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (m->col[middle] < col)
            low = middle + 1;
        else
            high = middle;
    }
    return low < m->row_ptr[row + 1] && m->col[low] == col;
}

static int check_both_ways(const char *name, const struct matrix *m)
{
    for (int i = 0; i < m->rows; i++)
        for (long p = m->row_ptr[i]; p < m->row_ptr[i + 1]; p++)
            if (!has(m, m->col[p], i))
                return cb_error("%s: edge %d %d stands on the line of node %d only", name, i + 1,
                                m->col[p] + 1, i + 1);
    return 0;
}

int matrix_metis_parse(const char *name, const char *text, size_t size, struct matrix *out)
{
    struct text t;
    struct header h = { 0 };
    int *row = NULL, *col = NULL;
    float *val = NULL;
    int status = -1;
    long n = 0;
    char quote[40];
    *out = (struct matrix){ 0 };
    if (text_open(&t, name, text, size) || read_header(&t, &h))
        return -1;
    row = data_malloc((size_t)h.entries, sizeof *row);
    col = data_malloc((size_t)h.entries, sizeof *col);
    if (h.edge_weights)
        val = data_malloc((size_t)h.entries, sizeof *val);
    if (!row || !col || (h.edge_weights && !val)) {
        cb_error("%s: no memory for %ld entries", name, h.entries);
        goto done;
    }
    for (int i = 0; i < h.nodes; i++) {
        do {
            if (!text_line(&t)) {
                text_error(&t, "the file ends after %d of %d nodes", i, h.nodes);
                goto done;
            }
        } while (!text_at_end(&t) && *t.at == '%');
        if (read_node(&t, &h, i, &n, row, col, val))
            goto done;
    }
    if (text_line_of_data(&t)) {
        text_error(&t, "%s after the last of %d nodes", text_quote(&t, quote), h.nodes);
        goto done;
    }
    if (n < h.entries) {
        text_error(&t, "%ld neighbours, twice the %ld edges promised would be %ld", n,
                   h.entries / 2, h.entries);
        goto done;
    }
    if (data_csr_triples(name, h.nodes, h.nodes, n, row, col, val, false, NULL, out))
        goto done;
    status = check_both_ways(name, out);
done:
    data_free(row);
    data_free(col);
    data_free(val);
    if (status)
        matrix_free(out);
    return status;
}
