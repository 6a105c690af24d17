/*
 * test_spmm_fetch.c - the model of bytes that caches must fetch: patterns with figures counted by
 * hand, and what passes the L2 against a cache simulated the slow way.
 */
#include <stdlib.h>
#include <unistd.h>

#include "../suites/ops/spmm_fetched.h"
#include "test.h"

static unsigned state = 1;

static int below(int n)
{
    state = state * 1664525u + 1013904223u;
    return (int)((state >> 8) % (unsigned)n);
}

struct pattern {
    struct spmm_problem p;
    struct spmm_matrix host;
    int *row_ptr, *col;
};

/* Row i has `each` ascending columns from column(i) on, `apart` apart, all modulo k. */
static struct pattern pattern_of(int m, int k, int each, int apart, int (*column)(int i, int k))
{
    struct pattern a = { .row_ptr = malloc(((size_t)m + 1) * sizeof(int)),
                         .col = malloc((size_t)m * (size_t)each * sizeof(int)) };
    a.row_ptr[0] = 0;
    for (int i = 0; i < m; i++) {
        for (int e = 0; e < each; e++)
            a.col[i * each + e] = (column(i, k) + e * apart) % k;
        a.row_ptr[i + 1] = (i + 1) * each;
    }
    a.host = (struct spmm_matrix){ a.row_ptr, a.col, NULL, NULL };
    spmm_describe(m, k, a.row_ptr, &a.p);
    return a;
}

static void pattern_free(struct pattern *a)
{
    free(a->row_ptr);
    free(a->col);
}

static int diagonal(int i, int k) { return i % k; }
static int first(int i, int k) { (void)i, (void)k; return 0; }
static int random_column(int i, int k) { state = (unsigned)i * 2654435761u; return below(k); }

static struct spmm_fetch fetch(struct pattern *a, int n, double l2, double l1, int sms)
{
    const struct spmm_caches caches = { l2, l1, sms };
    struct spmm_fetch f = { 0 };
    a->p.n = n;
    CHECK(spmm_fetch_of(&a->p, &a->host, &caches, &f) == OP_OK);
    return f;
}

static double matrix_bytes(const struct pattern *a)
{
    return 8.0 * (double)a->p.nnz + 4.0 * (a->p.m + 1);
}

/* ---- by hand ---- */

static void test_by_hand(void)
{
    struct pattern diag = pattern_of(4096, 4096, 1, 1, diagonal);
    struct pattern same = pattern_of(4096, 4096, 1, 1, first);
    const double rows = 4096, a = matrix_bytes(&diag);
    /* every row of B once, whatever the caches */
    for (double cache = 0; cache < 1e9; cache = 1e6 + cache * 40) {
        struct spmm_fetch f = fetch(&diag, 32, cache, cache, 4);
        CHECK(f.l2 == a + 2 * rows * 128 && f.dram == a + 2 * rows * 128);
        /* eight floats share a sector, and with it a row of C counts as it is */
        f = fetch(&diag, 1, cache, cache, 4);
        CHECK(f.dram == (cache > 0 ? a + rows / 8 * 32 + rows * 4 : a + rows * 32 + rows * 4));
    }
    /* two tiles of 128 columns: A twice to the SMs; 256 columns at a time through memory */
    struct spmm_fetch f = fetch(&diag, 256, 1e9, 1e6, 4);
    CHECK(f.l2 == 2 * a + 2 * rows * 1024 && f.dram == a + 2 * rows * 1024);
    /* one row of B: to each SM once, to each block of 32 rows without a cache */
    f = fetch(&same, 32, 1e9, 1e6, 4);
    CHECK(f.l2 == a + 4 * 128 + rows * 128 && f.dram == a + 128 + rows * 128);
    f = fetch(&same, 32, 1e9, 0, 4);
    CHECK(f.l2 == a + rows / 32 * 128 + rows * 128);
    /* half: two bytes an element */
    same.p.dtype = SPMM_F16;
    f = fetch(&same, 32, 1e9, 1e6, 4);
    CHECK(f.dram == 6.0 * rows + 4 * (rows + 1) + 64 + rows * 64);
    pattern_free(&diag);
    pattern_free(&same);
}

/* The same column again after a whole round of k: kept or not, by the size of the cache. */
static void test_rounds(void)
{
    struct pattern a = pattern_of(4000, 1000, 1, 1, diagonal);
    const double fixed = matrix_bytes(&a) + 4000.0 * 128, round = 1000 * (8 + 128 + 4 + 128);
    CHECK(fetch(&a, 32, 2.5 * round, 0, 1).dram == fixed + 1000 * 128.0);
    CHECK(fetch(&a, 32, 0.5 * round, 0, 1).dram == fixed + 4000 * 128.0);
    /* wider: in tiles of 32 B stays, at the cost of A again */
    CHECK(fetch(&a, 64, 2.2 * round, 0, 1).dram ==
          2 * matrix_bytes(&a) + 4000.0 * 256 + 1000 * 256.0);
    pattern_free(&a);
}

/* ---- a cache that replaces the oldest, the slow way ---- */

static double slowly(const struct pattern *a, int n, double cache)
{
    const size_t most = 2 * (size_t)a->p.nnz + (size_t)a->p.m;
    int *what = malloc(most * sizeof *what);  /* came: a row of B, or -1 */
    double *size = malloc(most * sizeof *size), fetched = 0;
    size_t count = 0;
    for (int i = 0; i < a->p.m; i++) {
        for (int e = a->row_ptr[i]; e < a->row_ptr[i + 1]; e++) {
            what[count] = -1;
            size[count++] = 8;
            double since = 0;
            size_t at = count;
            while (at > 0 && since < cache && what[at - 1] != a->col[e])
                since += size[--at];
            if (at > 0 && since < cache)
                continue;
            what[count] = a->col[e];
            size[count++] = 4.0 * n;
            fetched++;
        }
        what[count] = -1;
        size[count++] = 4 + 4.0 * n;
    }
    free(what);
    free(size);
    return matrix_bytes(a) + fetched * 4 * n + 4.0 * a->p.m * n;
}

static void test_slowly(void)
{
    struct pattern a = pattern_of(500, 300, 5, 37, random_column);
    struct pattern b = pattern_of(700, 200, 3, 11, diagonal);
    for (double cache = 1000; cache < 200000; cache *= 1.7) {
        CHECK(fetch(&a, 32, cache, 0, 1).dram == slowly(&a, 32, cache));
        CHECK(fetch(&b, 8, cache, 0, 1).dram == slowly(&b, 8, cache));
    }
    /* less memory, never fewer bytes; a random pattern is fetched again */
    CHECK(fetch(&a, 128, 1e4, 1e5, 4).dram > fetch(&a, 128, 1e7, 1e5, 4).dram);
    CHECK(fetch(&a, 128, 1e7, 1e4, 4).l2 >= fetch(&a, 128, 1e7, 1e6, 4).l2);
    pattern_free(&a);
    pattern_free(&b);
}

/* ---- kept from one process to the next ---- */

static void test_kept(void)
{
    char folder[] = "/tmp/claimbench_fetch_XXXXXX", path[64], name[65];
    struct pattern a = pattern_of(500, 300, 5, 37, random_column), b = a;
    const struct spmm_caches caches = { 6e7, 2e5, 132 }, smaller = { 3e7, 2e5, 132 };
    struct spmm_fetch right, got;
    CHECK(mkdtemp(folder) != NULL);
    setenv("CLAIMBENCH_CACHE", folder, 1);
    for (int i = 0; i < 64; i++)
        name[i] = "0123456789abcdef"[i % 16];
    name[64] = 0;
    a.p.n = b.p.n = 32;
    CHECK(spmm_fetch_of(&a.p, &a.host, &caches, &right) == OP_OK);
    CHECK(spmm_fetched(name, &a.p, &a.host, &caches, &got));
    CHECK(got.l2 == right.l2 && got.dram == right.dram);
    /* from the file, not from the pattern: a matrix of the same name without entries */
    b.p.nnz = 0;
    b.host.row_ptr = calloc((size_t)b.p.m + 1, sizeof(int));
    CHECK(spmm_fetched(name, &b.p, &b.host, &caches, &got));
    CHECK(got.l2 == right.l2 && got.dram == right.dram);
    /* another n, dtype, cache or name: computed */
    CHECK(spmm_fetched(name, &b.p, &b.host, &smaller, &got) && got.l2 < right.l2);
    b.p.n = 64;
    CHECK(spmm_fetched(name, &b.p, &b.host, &caches, &got) && got.l2 != right.l2);
    b.p.n = 32;
    b.p.dtype = SPMM_F16;
    CHECK(spmm_fetched(name, &b.p, &b.host, &caches, &got) && got.l2 < right.l2);
    name[63] = '0';
    b.p.dtype = SPMM_F32;
    CHECK(spmm_fetched(name, &b.p, &b.host, &caches, &got) && got.l2 < right.l2);
    /* a line that is cut short is no line */
    snprintf(path, sizeof path, "%s/spmm/fetch-1.tsv", folder);
    CHECK(!truncate(path, 100));
    CHECK(spmm_fetched(name, &a.p, &a.host, &caches, &got) && got.l2 == right.l2);
    CHECK(!remove(path));
    snprintf(path, sizeof path, "%s/spmm", folder);
    CHECK(!rmdir(path) && !rmdir(folder));
    /* nowhere to keep it */
    setenv("CLAIMBENCH_CACHE", "/dev/null", 1);
    CHECK(spmm_fetched(name, &a.p, &a.host, &caches, &got) && got.l2 == right.l2);
    free((void *)b.host.row_ptr);
    pattern_free(&a);
}

int main(void)
{
    test_kept();
    test_by_hand();
    test_rounds();
    test_slowly();
    return TEST_END();
}
