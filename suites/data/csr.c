/*
 * csr.c - unordered entries to CSR.
 *
 * Rows are independent: each is sorted and checked by one thread, so that the
 * result does not depend on how many there are.
 */
#include <limits.h>
#include <openssl/evp.h>
#include <string.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"

/* ---- sorting one row ---- */

enum { RUN = 16 }; /* below this, insertion beats merging */

static void insertion_sort(uint64_t *key, long n)
{
    for (long i = 1; i < n; i++) {
        uint64_t x = key[i];
        long j = i;
        for (; j > 0 && key[j - 1] > x; j--)
            key[j] = key[j - 1];
        key[j] = x;
    }
}

/* Ascending; spare has room for n. */
static void sort_keys(uint64_t *key, long n, uint64_t *spare)
{
    long sorted = 1;
    while (sorted < n && key[sorted - 1] <= key[sorted])
        sorted++;
    if (sorted >= n)
        return; /* files are mostly in order already */
    for (long i = 0; i < n; i += RUN)
        insertion_sort(key + i, n - i < RUN ? n - i : RUN);
    uint64_t *from = key, *to = spare;
    for (long width = RUN; width < n; width *= 2) {
        for (long i = 0; i < n; i += 2 * width) {
            long a = i, b = i + width < n ? i + width : n, end_a = b;
            long end_b = i + 2 * width < n ? i + 2 * width : n;
            for (long o = i; o < end_b; o++)
                to[o] = b >= end_b || (a < end_a && from[a] <= from[b]) ? from[a++] : from[b++];
        }
        uint64_t *t = from;
        from = to;
        to = t;
    }
    if (from != key)
        memcpy(key, from, (size_t)n * sizeof *key);
}

static int column(uint64_t key)
{
    return (int)(key >> 32);
}

static float value(uint64_t key)
{
    union { uint32_t u; float f; } bits = { .u = (uint32_t)key };
    return bits.f;
}

/* ---- rows to CSR ---- */

int data_csr(const char *name, int rows, int cols, const long *start, const int *count,
             uint64_t *key, bool merge, struct data_twice *twice, struct matrix *out)
{
    int status = -1;
    long longest = 0, total = 0;
    bool short_of_memory = false;
    struct data_twice seen = { 0 };
    int *row_ptr = data_malloc((size_t)rows + 1, sizeof *row_ptr);
    int *col = NULL;
    float *val = NULL;
    if (!row_ptr) {
        cb_error("%s: no memory for %d rows", name, rows);
        goto done;
    }
    for (int i = 0; i < rows; i++) {
        long n = count ? count[i] : start[i + 1] - start[i];
        longest = n > longest ? n : longest;
    }

    row_ptr[0] = 0;
#pragma omp parallel
    {
        uint64_t *spare = data_malloc((size_t)longest, sizeof *spare);
        if (!spare) {
#pragma omp critical(data_csr)
            short_of_memory = true;
        }
#pragma omp barrier
        if (!short_of_memory) {
#pragma omp for schedule(dynamic, 256)
            for (int i = 0; i < rows; i++) {
                uint64_t *k = key + start[i];
                long n = count ? count[i] : start[i + 1] - start[i], kept = n > 0;
                sort_keys(k, n, spare);
                for (long j = 1; j < n; j++)
                    if (column(k[j]) != column(k[kept - 1])) {
                        k[kept++] = k[j];
                    } else if (!merge) {
#pragma omp critical(data_csr)
                        if (!seen.found || i < seen.row)
                            seen = (struct data_twice){ true, i, column(k[j]) };
                    }
                row_ptr[i + 1] = (int)kept; /* of the row; summed up below */
            }
        }
        data_free(spare);
    }
    if (short_of_memory) {
        cb_error("%s: no memory to sort a row of %ld entries", name, longest);
        goto done;
    }
    if (seen.found) {
        if (twice)
            *twice = seen;
        cb_error("%s: row %d holds column %d twice", name, seen.row + 1, seen.col + 1);
        goto done;
    }
    for (int i = 0; i < rows; i++) {
        total += row_ptr[i + 1];
        if (total > INT_MAX) {
            cb_error("%s: more than %d entries", name, INT_MAX);
            goto done;
        }
        row_ptr[i + 1] = (int)total;
    }

    col = data_malloc((size_t)total, sizeof *col);
    val = data_malloc((size_t)total, sizeof *val);
    if (!col || !val) {
        cb_error("%s: no memory for %ld entries", name, total);
        goto done;
    }
#pragma omp parallel for schedule(static, 1024)
    for (int i = 0; i < rows; i++)
        for (long o = row_ptr[i], p = start[i]; o < row_ptr[i + 1]; o++, p++) {
            col[o] = column(key[p]);
            val[o] = value(key[p]);
        }
    out->rows = rows;
    out->cols = cols;
    out->nnz = total;
    out->row_ptr = row_ptr;
    out->col = col;
    out->val = val;
    return 0;
done:
    data_free(row_ptr);
    data_free(col);
    data_free(val);
    return status;
}

int data_csr_triples(const char *name, int rows, int cols, long n, const int *row, const int *col,
                     const float *val, bool merge, struct data_twice *twice, struct matrix *out)
{
    long *start = data_calloc((size_t)rows + 2, sizeof *start);
    uint64_t *key = data_malloc((size_t)n, sizeof *key);
    int status = -1;
    if (!start || !key) {
        cb_error("%s: no memory for %d rows, %ld entries", name, rows, n);
        goto done;
    }
    /* start is kept one place ahead, so that the scatter leaves it where it belongs */
    for (long p = 0; p < n; p++)
        start[row[p] + 2]++;
    for (int i = 0; i < rows; i++)
        start[i + 2] += start[i + 1];
    for (long p = 0; p < n; p++)
        key[start[row[p] + 1]++] = data_key(col[p], val ? val[p] : 1.0f);
    status = data_csr(name, rows, cols, start, NULL, key, merge, twice, out);
done:
    data_free(start);
    data_free(key);
    return status;
}

int matrix_transpose(const struct matrix *m, struct matrix *out)
{
    long *start = data_calloc((size_t)m->cols + 2, sizeof *start);
    struct matrix t = *m;
    t.rows = m->cols;
    t.cols = m->rows;
    t.row_ptr = data_malloc((size_t)t.rows + 1, sizeof *t.row_ptr);
    t.col = data_malloc((size_t)t.nnz, sizeof *t.col);
    t.val = data_malloc((size_t)t.nnz, sizeof *t.val);
    *out = (struct matrix){ 0 };
    if (!start || !t.row_ptr || !t.col || !t.val) {
        cb_error("%s: no memory for the transpose of %ld entries", m->name, m->nnz);
        goto failed;
    }
    for (long p = 0; p < m->nnz; p++)
        start[m->col[p] + 2]++;
    for (int j = 0; j < t.rows; j++)
        start[j + 2] += start[j + 1];
    for (int i = 0; i < m->rows; i++) /* row after row: columns come out ascending */
        for (long p = m->row_ptr[i]; p < m->row_ptr[i + 1]; p++) {
            long o = start[m->col[p] + 1]++;
            t.col[o] = i;
            t.val[o] = m->val[p];
        }
    for (int j = 0; j <= t.rows; j++)
        t.row_ptr[j] = (int)start[j];
    data_free(start);
    start = NULL;
    if (data_seal(&t))
        goto failed;
    *out = t;
    return 0;
failed:
    data_free(start);
    matrix_free(&t);
    return -1;
}

/* ---- values, checksum ---- */

void data_hash_values(struct matrix *m, uint64_t seed)
{
#pragma omp parallel for schedule(static, 1024)
    for (int i = 0; i < m->rows; i++)
        for (long p = m->row_ptr[i]; p < m->row_ptr[i + 1]; p++)
            m->val[p] = data_value(seed, i, m->col[p]);
}

int data_seal(struct matrix *m)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    const int32_t size[2] = { m->rows, m->cols };
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool good = c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) &&
                EVP_DigestUpdate(c, size, sizeof size) &&
                EVP_DigestUpdate(c, m->row_ptr, ((size_t)m->rows + 1) * sizeof *m->row_ptr) &&
                EVP_DigestUpdate(c, m->col, (size_t)m->nnz * sizeof *m->col) &&
                EVP_DigestUpdate(c, m->val, (size_t)m->nnz * sizeof *m->val) &&
                EVP_DigestFinal_ex(c, digest, &length) && length == 32;
    EVP_MD_CTX_free(c);
    if (!good)
        return cb_error("%s: SHA-256 could not be computed", m->name);
    for (unsigned i = 0; i < length; i++) {
        m->sha256[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        m->sha256[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    m->sha256[64] = 0;
    return 0;
}
