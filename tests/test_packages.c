/* test_packages.c - matrices from packages: small made-up ones whose result is
 * known, and the real ones where they are installed. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../suites/data/alloc.h"
#include "../suites/data/packages.h"
#include "test.h"

static char root[] = "/tmp/claimbench_packages_XXXXXX";

/* Writes root/path, making its folders. */
static void put(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = 0;
        mkdir(full, 0777);
    }
    FILE *f = fopen(full, "w");
    CHECK(f && fputs(text, f) >= 0);
    if (f)
        fclose(f);
}

/* The pattern of a matrix as text; or the end of the message, for one that cannot be read. */
static void check_pattern(const char *spec, const char *want)
{
    char got[1024];
    struct matrix m;
    if (matrix_load(spec, &m)) {
        size_t all = strlen(cb_error_text()), end = strlen(want);
        CHECK(!m.row_ptr);
        CHECK_STR(cb_error_text() + (all > end ? all - end : 0), want);
        return;
    }
    size_t n = (size_t)snprintf(got, sizeof got, "%dx%d", m.rows, m.cols);
    for (int i = 0; i < m.rows; i++) {
        n += (size_t)snprintf(got + n, sizeof got - n, " |");
        for (int p = m.row_ptr[i]; p < m.row_ptr[i + 1]; p++)
            n += (size_t)snprintf(got + n, sizeof got - n, " %d", m.col[p]);
    }
    CHECK_STR(got, want);
    CHECK_STR(m.source, "package");
    CHECK_STR(m.name, spec + 8);
    for (long p = 0; p < m.nnz; p++)
        CHECK(m.val[p] >= -1 && m.val[p] < 1);
    matrix_free(&m);
}

static void check_made_up(void)
{
    /* the second stands in a folder of its package, as dpkg-deb unpacks it */
    put("usr/share/wordnet/data.noun",
        "  1 licence | no synset\n"
        "00000010 03 n 01 cat 0 002 @ 00000020 n 0000 ! 00000050 s 0101 | A cat's cat-like TAIL\n"
        "00000020 03 n 0a a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 001 ~ 00000010 n 0000 | like\n");
    put("usr/share/wordnet/data.verb",
        "00000010 29 v 01 purr 0 002 @ 00000010 v 0000 + 00000010 n 0101 01 + 02 00 | tail 12\n");
    put("usr/share/wordnet/data.adj", "00000050 00 s 01 feline 0 000 | \n");
    put("usr/share/wordnet/data.adv", "00000050 02 r 01 so 0 000 | cat");
    check_pattern("package:wordnet_gloss", "5x3 | 0 1 2 | 1 | 2 | | 0");
    check_pattern("package:wordnet_gloss_t", "3x5 | 0 4 | 0 1 | 0 2");
    check_pattern("package:wordnet_relations", "5x5 | 1 3 | 0 | 0 2 | |");

    put("dict-gcide/usr/share/dictd/gcide.dict.dz", "about a database.Ab ab cd.ef\xc3\xa9gh AB");
    put("dict-gcide/usr/share/dictd/gcide.index", "00-info\tA\tR\nef\ta\tJ\nab\tR\tJ\nAb\tR\tJ\n");
    check_pattern("package:gcide", "2x4 | 0 1 | 0 2 3");
    check_pattern("package:gcide_t", "4x2 | 0 1 | 0 | 1 | 1");

    put("usr/share/metamath/databases/set.mm",
        "$( a comment $p ( no $) $c wff $. va $f wff a $. $( $= $) ax1 $a |- a $.\n"
        "${ h1 $e |- a $. th1 $p |- a $= ( ax1 va ) ABC $. $}\n"
        "th2 $p |- a $= ( th1\nax1 th1 ) A $.\n");
    check_pattern("package:setmm_uses", "5x5 | | | | 0 1 | 1 3");
    check_pattern("package:setmm_usedby", "5x5 | 3 | 3 4 | | 4 |");

    put("apt/dumpavail",
        "Package: a\nSource: s\nDepends: b (>= 1) | c:any, d\nTag: x::y,\n x::z\n\n"
        "Package: b\nRecommends: a\nDepends: d\nSection: a\n");
    check_pattern("package:debian_deps_rev", "8x8 | | | 0 | 0 | 0 2 | | |");
}

static void check_bad(void)
{
    put("usr/share/wordnet/data.adv", "0000");
    check_pattern("package:wordnet_relations", "data.noun: a synset without its offset");
    put("usr/share/wordnet/data.adv", "00000050 02 r 01 so 0 001 @ 00000077 r 0000 | cat");
    check_pattern("package:wordnet_relations",
                  "data.noun: a pointer to r00000077, which is not there");
    put("usr/share/wordnet/data.adv", "00000050 02 r 01 so 0 003 @ 00000050 r 0000 | cat");
    check_pattern("package:wordnet_relations", "data.noun: synset 00000050 cannot be read");
    put("dict-gcide/usr/share/dictd/gcide.index", "ab\tA\t////\n");
    check_pattern("package:gcide", "gcide.index: line ab\tA\t////\n cannot be read");
    put("usr/share/metamath/databases/set.mm", "th1 $p |- a $= ( nosuch ) A $.");
    check_pattern("package:setmm_uses", "set.mm: a proof uses nosuch, which is not there");
    put("usr/share/metamath/databases/set.mm", "\n");
    check_pattern("package:setmm_uses", "package:setmm_uses: no entries found, the file is not "
                                        "what was expected");
}

/* ---- the real ones ---- */

static const struct {
    const char *name;
    int rows, cols;
    long nnz;
    double mean, sd;
    int max, empty;
} real[] = {
    { "package:mdual", 258569, 258569, 1026264, 3.97, 0.17, 4, 0 },
    { "package:copter2", 55476, 55476, 704476, 12.70, 4.19, 44, 0 },
    { "package:4elt", 7434, 7434, 86062, 11.58, 1.90, 17, 0 },
    { "package:wordnet_gloss", 117659, 53920, 1261328, 10.72, 5.87, 59, 0 },
    { "package:wordnet_gloss_t", 53920, 117659, 1261328, 23.39, 447.9, 56752, 0 },
    { "package:wordnet_relations", 117659, 117659, 361647, 3.07, 7.48, 673, 1009 },
    { "package:gcide", 126236, 216897, 3459097, 27.40, 32.63, 1204, 0 },
    { "package:gcide_t", 216897, 126236, 3459097, 15.95, 430.8, 113183, 0 },
    { "package:setmm_uses", 91278, 91278, 1241898, 13.61, 27.68, 508, 53533 },
    { "package:setmm_usedby", 91278, 91278, 1241898, 13.61, 242.2, 28554, 56854 },
    { "package:debian_deps_rev", 129359, 129359, 282167, 2.18, 73.56, 21815, 93844 },
};
enum { REAL = sizeof real / sizeof *real };

static void check_real(int i)
{
    char why[256];
    struct matrix m;
    CHECK_STR(matrix_name("package", i, NULL), real[i].name);
    if (!matrix_available(real[i].name, why, sizeof why)) {
        printf("SKIP packages %s: %s\n", real[i].name + 8, why);
        test_skipped++;
        return;
    }
    CHECK(!matrix_load(real[i].name, &m));
    struct matrix_rows r = matrix_rows(&m);
    if (!strcmp(real[i].name, "package:debian_deps_rev")) { /* moves with the archive */
        CHECK(m.rows > 10000 && m.nnz > m.rows && r.max > 5000);
    } else {
        CHECK(m.rows == real[i].rows && m.cols == real[i].cols && m.nnz == real[i].nnz);
        CHECK_NEAR(r.mean, real[i].mean, 0.006);
        CHECK_NEAR(r.sd, real[i].sd, 0.06);
        CHECK(r.max == real[i].max && r.empty == real[i].empty);
    }
    matrix_free(&m);
}

/* Packed, every matrix is the same as from its package, transposes included. */
static void check_packing(void)
{
    static char before[REAL][65];
    char folder[512], path[600];
    struct matrix m;
    for (int i = 0; i < REAL; i++)
        if (matrix_available(real[i].name, path, sizeof path)) {
            CHECK(!matrix_load(real[i].name, &m));
            memcpy(before[i], m.sha256, sizeof before[i]);
            matrix_free(&m);
        }
    snprintf(folder, sizeof folder, "%s/packed", root);
    mkdir(folder, 0777);
    int written = package_pack(folder);
    CHECK(written >= 0);
    setenv("CLAIMBENCH_DATA", root, 1);
    double bytes = 0;
    for (int i = 0; i < REAL; i++) {
        struct stat s;
        snprintf(path, sizeof path, "%s/%s.csrb", folder, real[i].name + 8);
        if (!stat(path, &s))
            bytes += (double)s.st_size;
        if (!*before[i])
            continue;
        CHECK(!matrix_load(real[i].name, &m));
        CHECK_STR(m.sha256, before[i]);
        CHECK_STR(m.source, "package");
        CHECK_STR(m.name, real[i].name + 8);
        matrix_free(&m);
        if (!stat(path, &s))
            remove(path);
    }
    unsetenv("CLAIMBENCH_DATA");
    printf("%d package matrices packed into %.1f MB\n", written, bytes / 1e6);
    CHECK(bytes < 25e6);
    rmdir(folder);
}

int main(void)
{
    CHECK(mkdtemp(root));
    unsetenv("CLAIMBENCH_DATA");
    char *packages = getenv("CLAIMBENCH_PACKAGES"), *kept = packages ? strdup(packages) : NULL;
    setenv("CLAIMBENCH_PACKAGES", root, 1);
    check_made_up();
    check_bad();
    if (kept)
        setenv("CLAIMBENCH_PACKAGES", kept, 1);
    else
        unsetenv("CLAIMBENCH_PACKAGES");
    free(kept);
    for (int i = 0; i < REAL; i++)
        check_real(i);
    CHECK(!matrix_name("package", REAL, NULL));
    check_packing();
    CHECK(data_alloc_live() == 0);
    static const char *const made[] = {
        "usr/share/wordnet/data.noun", "usr/share/wordnet/data.verb", "usr/share/wordnet/data.adj",
        "usr/share/wordnet/data.adv", "usr/share/wordnet", "usr/share/metamath/databases/set.mm",
        "usr/share/metamath/databases", "usr/share/metamath", "usr/share", "usr", "apt/dumpavail",
        "apt", "dict-gcide/usr/share/dictd/gcide.dict.dz", "dict-gcide/usr/share/dictd/gcide.index",
        "dict-gcide/usr/share/dictd", "dict-gcide/usr/share", "dict-gcide/usr", "dict-gcide", "",
    };
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", root, made[i]);
        CHECK(!remove(path));
    }
    return TEST_END();
}
