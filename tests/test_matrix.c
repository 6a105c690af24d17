/* test_matrix.c - readers of matrices: good files, bad files, memory that runs out. */
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "../harness/error.h"
#include "../suites/data/alloc.h"
#include "../suites/data/matrix.h"
#include "../suites/data/shared.h"
#include "test.h"

typedef int parse_fn(const char *name, const char *text, size_t size, struct matrix *out);

/* Parses text and says whether the result is exactly this, row by row. */
static int gives(parse_fn *parse, const char *text, const char *want)
{
    struct matrix m;
    char got[1024];
    size_t n = 0;
    if (parse("text", text, strlen(text), &m)) {
        printf("%s\n", cb_error_text());
        return 0;
    }
    n += (size_t)snprintf(got, sizeof got, "%dx%d", m.rows, m.cols);
    for (int i = 0; i < m.rows; i++) {
        n += (size_t)snprintf(got + n, sizeof got - n, " |");
        for (int p = m.row_ptr[i]; p < m.row_ptr[i + 1]; p++)
            n += (size_t)snprintf(got + n, sizeof got - n, " %d:%.9g", m.col[p], (double)m.val[p]);
    }
    int same = m.row_ptr[m.rows] == m.nnz && !strcmp(got, want);
    if (!same)
        printf("got %s\n", got);
    matrix_free(&m);
    return same;
}

#define BANNER "%%MatrixMarket matrix coordinate "

static void check_market(void)
{
    parse_fn *mm = matrix_market_parse;
    CHECK(gives(mm, BANNER "real general\n2 3 3\n2 3 -1.5\n1 2 2e1\n1 1 .25\n",
                "2x3 | 0:0.25 1:20 | 2:-1.5"));
    CHECK(gives(mm, BANNER "integer general\n2 2 2\n1 1 0\n2 2 -7\n", "2x2 | 0:0 | 1:-7"));
    CHECK(gives(mm, BANNER "pattern general\n3 3 2\n3 1\n1 3\n", "3x3 | 2:1 | | 0:1"));
    CHECK(gives(mm, BANNER "real symmetric\n3 3 3\n2 1 5\n3 3 6\n3 1 7\n",
                "3x3 | 1:5 2:7 | 0:5 | 0:7 2:6"));
    CHECK(gives(mm, BANNER "real symmetric\n2 2 1\n1 2 5\n", "2x2 | 1:5 | 0:5")); /* upper half */
    CHECK(gives(mm, BANNER "real skew-symmetric\n2 2 1\n2 1 5\n", "2x2 | 1:-5 | 0:5"));
    CHECK(gives(mm, BANNER "pattern symmetric\n2 2 2\n1 1\n2 1\n", "2x2 | 0:1 1:1 | 0:1"));
    CHECK(gives(mm, "%%matrixmarket MATRIX Coordinate Real General\r\n"
                    "%c\r\n\r\n1 1 1\r\n1\t1 3\r\n",
                "1x1 | 0:3"));
    CHECK(gives(mm, BANNER "real general\n1 2 2\n% between\n1 2 1\n\n  1 1 +2", "1x2 | 0:2 1:1"));
    CHECK(gives(mm, BANNER "real general\n2 2 0\n", "2x2 | |"));
    /* numbers: many digits, both ends of float, halfway cases of the slow path */
    CHECK(gives(mm,
                BANNER "real general\n1 6 6\n1 1 0.1000000000000000055511151231257827\n1 2 3.4e38\n"
                       "1 3 1e-50\n1 4 123456789012345678901234567890e-20\n"
                       "1 5 -0.000000000000000000000000000000000000000000000012e46\n1 6 1.e0\n",
                "1x6 | 0:0.100000001 1:3.39999995e+38 2:0 3:1.23456794e+09 4:-0.119999997 5:1"));
}

static void check_metis(void)
{
    parse_fn *graph = matrix_metis_parse;
    CHECK(gives(graph, "%c\n3 2\n2 3\n1\n%c\n1\n", "3x3 | 1:1 2:1 | 0:1 | 0:1"));
    CHECK(gives(graph, "3 1\n2\n1\n\n", "3x3 | 1:1 | 0:1 |"));
    CHECK(gives(graph, "3 1 000\n\n3\n2", "3x3 | | 2:1 | 1:1"));
    CHECK(gives(graph, "2 1 1\n2 9\n1 9\n", "2x2 | 1:9 | 0:9"));
    CHECK(gives(graph, "2 1 10\n5 2\n6 1\n", "2x2 | 1:1 | 0:1"));
    CHECK(gives(graph, "2 1 011 2\n5 5 2 3\n6 6 1 3\n", "2x2 | 1:3 | 0:3"));
    CHECK(gives(graph, "1 0\n\n", "1x1 |"));
}

/* A folder per case: the input, and the message it must give. */
static void check_bad_files(void)
{
    static const char *const inputs[] = { "input.mtx", "input.mtx.gz", "input.graph",
                                          "input.csrb" };
    const char *folder = "tests/data/bad_matrices";
    DIR *d = opendir(folder);
    int cases = 0;
    CHECK(d);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[512], want[512] = "";
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%.200s/error.txt", folder, e->d_name);
        FILE *f = fopen(path, "r");
        CHECK(f && fgets(want, sizeof want, f));
        if (f)
            fclose(f);
        want[strcspn(want, "\n")] = 0;
        for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
            snprintf(path, sizeof path, "%s/%.200s/%s", folder, e->d_name, inputs[i]);
            if (access(path, R_OK))
                continue;
            struct matrix m;
            int status = matrix_load(path, &m);
            const char *text = strstr(cb_error_text(), "input.");
            if (status != -1 || !text || strcmp(text, want))
                printf("%s:\n", e->d_name);
            CHECK(status == -1);
            CHECK_STR(text, want);
            CHECK(!m.row_ptr && !m.col && !m.val && !m.rows);
            if (!status)
                matrix_free(&m);
            cases++;
        }
    }
    if (d)
        closedir(d);
    CHECK(cases >= 70);
}

static const char small[] =
    BANNER "real symmetric\n5 5 6\n2 1 0.5\n3 3 6\n3 1 7\n5 4 1\n5 1 2\n5 5 1\n";

/* Every allocation of a reader fails once: an error, nothing kept. */
static void check_no_memory(parse_fn *parse, const char *text, size_t size)
{
    struct matrix m;
    long before = data_alloc_count(), live = data_alloc_live();
    CHECK(!parse("text", text, size, &m));
    matrix_free(&m);
    long n = data_alloc_count() - before;
    CHECK(n >= 5);
    for (long i = 1; i <= n; i++) {
        cb_error_clear();
        data_alloc_fail_at(i);
        CHECK(parse("text", text, size, &m) == -1);
        CHECK(strstr(cb_error_text(), "text: no memory"));
        CHECK(!m.row_ptr && data_alloc_live() == live);
    }
    data_alloc_fail_at(0);
    CHECK(!parse("text", text, size, &m));
    matrix_free(&m);
}

static int same(const struct matrix *a, const struct matrix *b)
{
    return a->rows == b->rows && a->cols == b->cols && a->nnz == b->nnz &&
           !memcmp(a->row_ptr, b->row_ptr, ((size_t)a->rows + 1) * sizeof *a->row_ptr) &&
           !memcmp(a->col, b->col, (size_t)a->nnz * sizeof *a->col) &&
           !memcmp(a->val, b->val, (size_t)a->nnz * sizeof *a->val);
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(data, 1, size, f) == size);
    if (f)
        fclose(f);
}

static size_t read_back(const char *path, unsigned char *to, size_t room)
{
    FILE *f = fopen(path, "rb");
    CHECK(f);
    size_t n = f ? fread(to, 1, room, f) : 0;
    if (f)
        fclose(f);
    CHECK(n < room);
    return n;
}

static int parse_csrb(const char *name, const char *text, size_t size, struct matrix *out)
{
    return matrix_csrb_parse(name, text, size, out);
}

/* Packed and read again, damaged at every byte and cut at every length: what
 * is not refused is the matrix that was packed. */
static void check_packed(const char *folder, const char *spec)
{
    char path[512];
    struct matrix m, n;
    static unsigned char bytes[1 << 16], damaged[sizeof bytes];
    snprintf(path, sizeof path, "%s/a.csrb", folder);
    CHECK(!matrix_load(spec, &m));
    CHECK(!matrix_save_csrb(&m, path));
    CHECK(!matrix_load(path, &n));
    CHECK(same(&m, &n));
    CHECK_STR(n.name, m.name);
    CHECK_STR(n.source, m.source);
    CHECK_STR(n.gen, m.gen);
    CHECK_STR(n.sha256, m.sha256);
    matrix_free(&n);
    size_t size = read_back(path, bytes, sizeof bytes), refused = 0;
    for (size_t i = 0; i < size; i++)
        for (int bit = 0; bit < 8; bit += 3) {
            memcpy(damaged, bytes, size);
            damaged[i] ^= (unsigned char)(1 << bit);
            if (matrix_csrb_parse("text", damaged, size, &n)) {
                refused++;
            } else {
                if (!same(&m, &n))
                    CHECK(!"a damaged file gives another matrix");
                matrix_free(&n);
            }
        }
    CHECK(refused > 2 * (size - 256)); /* texts of the header may change */
    for (size_t i = 0; i < size; i++)
        if (!matrix_csrb_parse("text", bytes, i, &n))
            CHECK(!"a short file is read");
    check_no_memory(parse_csrb, (const char *)bytes, size);
    matrix_free(&m);
    remove(path);
}

/* A file of several gzip members, and memory running out anywhere in a load. */
static void check_files(const char *folder)
{
    char path[512];
    struct matrix m, n;
    snprintf(path, sizeof path, "%s/two.mtx.gz", folder);
    for (int part = 0; part < 2; part++) {
        gzFile z = gzopen(path, part ? "ab" : "wb");
        CHECK(z && gzwrite(z, small + 50 * part, part ? (unsigned)strlen(small) - 50 : 50) > 0);
        if (z)
            gzclose(z);
    }
    CHECK(!matrix_load(path, &m));
    CHECK_STR(m.name, "two");
    CHECK_STR(m.gen, "two.mtx.gz");
    CHECK_STR(m.source, "user");
    CHECK(strlen(m.sha256) == 64);
    CHECK(!matrix_market_parse("text", small, strlen(small), &n));
    CHECK(same(&m, &n));
    matrix_free(&n);
    matrix_free(&m);
    long before = data_alloc_count();
    CHECK(!matrix_load(path, &m));
    matrix_free(&m);
    long made = data_alloc_count() - before;
    for (long i = 1; i <= made; i++) {
        data_alloc_fail_at(i);
        CHECK(matrix_load(path, &m) == -1);
        CHECK(strstr(cb_error_text(), "no memory"));
        CHECK(data_alloc_live() == 0);
    }
    data_alloc_fail_at(0);
    CHECK(matrix_available(path, NULL, 0));
    remove(path);
    char why[256];
    CHECK(!matrix_available(path, why, sizeof why));
    CHECK(strstr(why, "two.mtx.gz: No such file"));
    CHECK(matrix_load(path, &m) == -1);
    snprintf(path, sizeof path, "%s/plain.graph", folder);
    write_file(path, "2 1\n2\n1\n", 8);
    CHECK(!matrix_load(path, &m));
    CHECK(m.nnz == 2);
    CHECK_STR(m.name, "plain");
    matrix_free(&m);
    remove(path);
}

static void check_transpose(void)
{
    struct matrix m, t, u;
    CHECK(!matrix_load("gen:bipartite,m=700,k=90,mean=3,width=3", &m));
    CHECK(!matrix_transpose(&m, &t));
    CHECK(t.rows == 90 && t.cols == 700);
    CHECK(!matrix_transpose(&t, &u));
    CHECK(same(&m, &u));
    CHECK_STR(u.sha256, m.sha256);
    CHECK(strcmp(t.sha256, m.sha256));
    matrix_free(&t);
    matrix_free(&u);
    long live = data_alloc_live();
    for (int i = 1; i <= 4; i++) {
        data_alloc_fail_at(i);
        CHECK(matrix_transpose(&m, &t) == -1);
        CHECK(data_alloc_live() == live);
    }
    data_alloc_fail_at(0);
    matrix_free(&m);
    matrix_free(&m);
    matrix_free(NULL);
}

/* Real files, where a developer has them. */
static const struct {
    const char *name;
    int rows, cols;
    long nnz;
    double mean, sd;
    int max, empty;
} real[] = {
    { "cora", 2708, 2708, 13264, 4.90, 5.23, 169, 0 },
    { "citeseer", 3327, 3327, 9228, 2.77, 3.38, 99, 0 },
    { "pubmed", 19717, 19717, 88651, 4.50, 7.43, 171, 0 },
    { "ca-CondMat", 23133, 23133, 186936, 8.08, 10.64, 280, 0 },
    { "p2p-Gnutella31", 62586, 62586, 147892, 2.36, 4.39, 78, 46199 },
    { "bcsstk17", 10974, 10974, 428650, 39.06, 15.41, 150, 0 },
    { "bips98_606", 7135, 7135, 34738, 4.87, 3.29, 30, 0 },
    { "bayer10", 13436, 13436, 94926, 7.07, 7.45, 27, 0 },
    { "rajat01", 6833, 6833, 43250, 6.33, 27.31, 1442, 0 },
    { "Groebner_id2003_aug", 4967, 2456, 173670, 34.96, 97.04, 829, 0 },
    { "arrow", 46500, 46500, 139498, 3.00, 215.63, 46500, 0 },
};

static void check_real(void)
{
    char file[64], path[DATA_PATH];
    for (size_t i = 0; i < sizeof real / sizeof *real; i++) {
        struct matrix m;
        snprintf(file, sizeof file, "%s.mtx.gz", real[i].name);
        if (!data_find("sparse", file, path)) {
            printf("SKIP matrix %s: the file is not here\n", real[i].name);
            test_skipped++;
            continue;
        }
        CHECK(!matrix_load(path, &m));
        struct matrix_rows r = matrix_rows(&m);
        CHECK(m.rows == real[i].rows && m.cols == real[i].cols && m.nnz == real[i].nnz);
        CHECK_NEAR(r.mean, real[i].mean, 0.006);
        CHECK_NEAR(r.sd, real[i].sd, 0.006);
        CHECK(r.max == real[i].max && r.empty == real[i].empty);
        matrix_free(&m);
    }
}

int main(void)
{
    char folder[] = "/tmp/claimbench_matrix_XXXXXX";
    check_market();
    check_metis();
    check_bad_files();
    check_no_memory(matrix_market_parse, small, strlen(small));
    check_no_memory(matrix_metis_parse, "2 1 1\n2 9\n1 9\n", 14);
    CHECK(mkdtemp(folder));
    check_files(folder);
    check_packed(folder, "gen:uniform,m=60,mean=3,width=3"); /* values stored: another seed's */
    check_packed(folder, "gen:blockdiag,m=64,block=8");
    char path[512];
    snprintf(path, sizeof path, "%s/ones.mtx", folder);
    write_file(path, BANNER "pattern general\n3 3 2\n3 1\n1 3\n",
               strlen(BANNER "pattern general\n3 3 2\n3 1\n1 3\n"));
    check_packed(folder, path);
    remove(path);
    rmdir(folder);
    check_transpose();
    check_real();
    CHECK(data_alloc_live() == 0);
    return TEST_END();
}
