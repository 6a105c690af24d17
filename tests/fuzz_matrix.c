/*
 * fuzz_matrix.c - libFuzzer target for the readers of matrices.
 * `make fuzz` builds it with the sanitizers and runs it.
 * Every reader gets the whole input; those it is not meant for refuse it in the first
 * line.  What is taken must be a matrix: row_ptr ascending, columns ascending and in range.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "../suites/data/alloc.h"
#include "../suites/data/matrix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition)
{
    if (!condition)
        abort();
}

static int parse_csrb(const char *name, const char *text, size_t size, struct matrix *out)
{
    return matrix_csrb_parse(name, text, size, out);
}

static void check(const struct matrix *m)
{
    must(m->rows > 0 && m->cols > 0 && m->row_ptr[0] == 0 && m->row_ptr[m->rows] == m->nnz);
    for (int i = 0; i < m->rows; i++) {
        must(m->row_ptr[i] <= m->row_ptr[i + 1]);
        for (long p = m->row_ptr[i]; p < m->row_ptr[i + 1]; p++)
            must(m->col[p] >= 0 && m->col[p] < m->cols && isfinite(m->val[p]) &&
                 (p == m->row_ptr[i] || m->col[p] > m->col[p - 1]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int (*const readers[])(const char *, const char *, size_t, struct matrix *) = {
        matrix_market_parse, matrix_metis_parse, parse_csrb
    };
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        struct matrix m;
        int status = readers[i]("text", (const char *)data, size, &m);
        must(!status || (status == -1 && !m.row_ptr && !m.col && !m.val));
        if (!status)
            check(&m);
        matrix_free(&m);
        must(data_alloc_live() == 0);
    }
    return 0;
}
