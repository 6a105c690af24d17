/* test_generate.c - the generators: presets meet their targets, threads do not
 * matter, bad specs are refused. */
#include <stdlib.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "../harness/error.h"
#include "../suites/data/alloc.h"
#include "../suites/data/generate.h"
#include "test.h"

/* What each preset has to look like (rows exact, entries and mean to 2 %, deviation
 * and maximum to 15 %; a deviation of at most 1 also to 0.05). */
static const struct target {
    const char *name;
    int rows, cols;
    double nnz, mean_low, mean_high, sd, max;
} targets[] = {
    { "uni_16k_d10", 16384, 16384, 164167, 10.0, 10.0, 2.0, 13 },
    { "uni_256k_d16", 262144, 262144, 4.19e6, 16.0, 16.0, 4.9, 24 },
    { "uni_1M_d2", 1000000, 1000000, 2.0e6, 2.0, 2.0, 1.4, 4 },
    { "uni_2M_d16", 2000000, 2000000, 32.0e6, 16.0, 16.0, 2.6, 20 },
    { "dl_16k_6pct", 16384, 16384, 16.3e6, 992.7, 992.7, 35.5, 1065 },
    { "rmat14_e16", 16384, 16384, 229e3, 14, 15, 55, 2400 },
    { "rmat17_e16", 131072, 131072, 1.94e6, 14, 15, 90, 9900 },
    { "rmat20_e16", 1048576, 1048576, 16.1e6, 14, 15.5, 140, 39000 },
    { "rmat17x_e32", 131072, 131072, 3.0e6, 22.9, 22.9, 157.8, 15000 },
    { "rmat18m_e8", 262144, 262144, 2.1e6, 8.0, 8.0, 19.9, 1552 },
    { "powerlaw_a2.1_500k", 500000, 500000, 7.2e6, 14.4, 14.4, 297.6, 48900 },
    { "powerlaw_a1.8_100k", 100000, 100000, 9.9e6, 99.0, 99.0, 920, 22200 },
    { "arrow_200k", 200000, 200000, 1.9e6, 9.7, 9.7, 457, 57000 },
    { "hub_100k", 100000, 100000, 2.7e6, 27.4, 27.4, 564, 22000 },
    { "st2d5_2000", 4000000, 4000000, 20.0e6, 5.0, 5.0, 0.04, 5 },
    { "st2d9_1024", 1048576, 1048576, 9.4e6, 9.0, 9.0, 0.2, 9 },
    { "st3d7_100", 1000000, 1000000, 6.9e6, 6.9, 6.9, 0.2, 7 },
    { "st3d27_64", 262144, 262144, 6.9e6, 26.2, 26.2, 2.7, 27 },
    { "fem3_150k_d48", 150000, 150000, 7.0e6, 46.5, 46.5, 2.0, 48 },
    { "band_64k_d100", 65536, 65536, 6.5e6, 98.5, 98.5, 1.6, 101 },
    { "road_2M", 2000000, 2000000, 4.3e6, 2.2, 2.2, 0.9, 4 },
    { "bdiag64_64k", 65536, 65536, 4.2e6, 64, 64, 0, 64 },
    { "blockrand16_128k", 131072, 131072, 16.8e6, 128, 128, 1, 128 },
    { "sbm_233k_d100", 232960, 232960, 21.2e6, 91, 91, 59, 232 },
    { "bip_500kx20k_d3", 500000, 20000, 1.5e6, 3.0, 3.0, 1.4, 5 },
    { "longrow_10kx1M_d500", 10240, 1000000, 5.1e6, 498, 498, 145, 750 },
    { "cora_size", 2708, 2708, 13264, 4.9, 4.9, 5.2, 64 },
    { "citeseer_size", 3327, 3327, 9228, 2.8, 2.8, 3.4, 48 },
    { "pubmed_size", 19717, 19717, 88651, 4.5, 4.5, 7.4, 181 },
    { "reddit_size", 232965, 232965, 114615892, 492, 492, 800, 21657 },
    { "reddit_hundredth", 2330, 2330, 722350, 310, 310, 292, 1892 },
    { "products_size", 2449029, 2449029, 123718280, 50.5, 50.5, 95.9, 9216 },
};
enum { TARGETS = sizeof targets / sizeof *targets };

static int within(double got, double low, double high, double share)
{
    return got >= low * (1 - share) && got <= high * (1 + share);
}

static void check_structure(const struct matrix *m)
{
    int good = m->row_ptr[0] == 0 && m->row_ptr[m->rows] == m->nnz;
    for (int i = 0; i < m->rows; i++) {
        good &= m->row_ptr[i] <= m->row_ptr[i + 1];
        for (long p = m->row_ptr[i]; p < m->row_ptr[i + 1]; p++) {
            good &= m->col[p] >= 0 && m->col[p] < m->cols && m->val[p] >= -1 && m->val[p] < 1;
            good &= p == m->row_ptr[i] || m->col[p] > m->col[p - 1];
        }
    }
    CHECK(good);
}

static void check_target(const struct target *t)
{
    struct matrix m;
    if (matrix_load(t->name, &m)) {
        printf("%s\n", cb_error_text());
        CHECK(!"loads");
        return;
    }
    struct matrix_rows r = matrix_rows(&m);
    printf("%-20s %8d x %-8d %9ld (%9.0f) %7.2f (%6.1f) %7.2f (%6.1f) %6d (%6.0f) %7d empty\n",
           t->name, m.rows, m.cols, m.nnz, t->nnz, r.mean, t->mean_high, r.sd, t->sd, r.max,
           t->max, r.empty);
    fflush(stdout);
    CHECK(m.rows == t->rows && m.cols == t->cols);
    CHECK(within((double)m.nnz, t->nnz, t->nnz, 0.02));
    CHECK(within(r.mean, t->mean_low, t->mean_high, 0.02));
    CHECK(within(r.sd, t->sd, t->sd, 0.15) || (t->sd <= 1 && fabs(r.sd - t->sd) <= 0.05));
    CHECK(within(r.max, t->max, t->max, 0.15));
    CHECK_STR(m.source, "generated");
    CHECK_STR(m.name, t->name);
    check_structure(&m);
    matrix_free(&m);
}

/* The same matrix with 1, 2 and 3 threads. */
static void check_threads(const char *spec)
{
#ifdef _OPENMP
    char first[65] = "";
    int before = omp_get_max_threads();
    for (int threads = 1; threads <= 3; threads++) {
        struct matrix m;
        omp_set_num_threads(threads);
        CHECK(!matrix_load(spec, &m));
        if (threads == 1)
            memcpy(first, m.sha256, sizeof first);
        CHECK_STR(m.sha256, first);
        matrix_free(&m);
    }
    omp_set_num_threads(before);
#else
    (void)spec;
    SKIP("generate threads: built without OpenMP");
#endif
}

static void check_refused(const char *spec, const char *text)
{
    struct matrix m;
    char why[256];
    CHECK(matrix_load(spec, &m) == -1);
    CHECK_STR(cb_error_text(), text);
    CHECK(!m.row_ptr && !m.rows);
    CHECK(!matrix_available(spec, why, sizeof why));
    CHECK_STR(why, text);
}

/* Every family with its defaults, and pinned checksums: a change of a
 * generator must be seen, because recorded results name its matrices. */
static const struct {
    const char *spec, *sha256;
} pinned[] = {
    { "uni_16k_d10",
      "da8c577e0ccdcde5eaa9d8901b1e47e282729c19e47ce6741699b5200711a111" },
    { "rmat14_e16",
      "3e0e5be2f31c3da8c35e403924927d64728ae619ba21b9c92b914399a85db3f0" },
    { "gen:uniform,m=300,mean=2.5,empty=.25",
      "27bf4b93d7a9b157f9d8ff66d2b496648968838512e179a0a901e1f04f3f2ec5" },
    { "gen:bipartite,m=3000",
      "9e39b2cb476778dd0cf7cc815298860116fd272a03a615f80683741c06ad31c8" },
    { "gen:powerlaw,m=3000,skew=1",
      "05ed9bd815ffcb4e4eefef4d727ad26e4e3a880aadbcb0ddc6e5081f8ecf6bc5" },
    { "gen:hub,m=3000,spill=.2",
      "bc4c371ff06cb67d0d5d24a13c32af7f3241d6f57c34ccde65a3243f07cccb04" },
    { "gen:stencil,side=30",
      "4aa76f6ec6d27f55813b8a1f142787cefb649ea6f1047bf1f8f5b14c0bd1beb1" },
    { "gen:stencil,dims=3,points=27,side=9",
      "6d80fba98596bd9c12de2e0f853acd52c81ffdcdefa791d171b6d6a081ec16fa" },
    { "gen:band,m=3000",
      "24b41ce52acedb842c6b92a17581cedb59084af03d0f5a9278a7953411e92e93" },
    { "gen:blockrand,m=4096",
      "7fbc9f6c2c15492a2ee5ccd88104c8653ff757845b0cf252a696232f8b1b7c87" },
    { "gen:sbm,m=3000",
      "3f332548651831454abfa7a4f35264bad52934a5ae83bdf36c88c5b29f692caf" },
    { "gen:road,m=3000",
      "32f21f661eb821c1842c4f3d3a1c4c7f32915eaaf5aa39097eb2dc90ca58a4f0" },
    { "gen:fem,m=3000",
      "9024139338bf8bed9d7aa1785abd1e224e135e2c81700a3e43e3d647f8c3a1d2" },
    { "gen:social,m=3000",
      "f22fd54e7b1c5ac9da406a06d005a538234d76238cd57a511029a699e980727e" },
};

static void check_pinned(void)
{
    for (size_t i = 0; i < sizeof pinned / sizeof *pinned; i++) {
        struct matrix m;
        CHECK(!matrix_load(pinned[i].spec, &m));
        CHECK_STR(m.sha256, pinned[i].sha256);
        matrix_free(&m);
    }
}

static void check_families(void)
{
    for (int i = 0; generate_family_name(i); i++) {
        char spec[64];
        struct matrix m;
        snprintf(spec, sizeof spec, "gen:%s", generate_family_name(i));
        CHECK(!matrix_load(spec, &m));
        CHECK(m.nnz > 0);
        CHECK_STR(m.gen, generate_family_name(i));
        check_structure(&m);
        matrix_free(&m);
        /* another seed, another matrix; stencils and block diagonals change values only */
        struct matrix n;
        snprintf(spec, sizeof spec, "gen:%s,%s", generate_family_name(i),
                 !strcmp(generate_family_name(i), "stencil") ? "side=16,seed=2" : "seed=2,m=4096");
        CHECK(!matrix_load(spec, &m));
        spec[strstr(spec, "seed=2") - spec + 5] = '3';
        CHECK(!matrix_load(spec, &n));
        CHECK(strcmp(m.sha256, n.sha256));
        matrix_free(&m);
        matrix_free(&n);
    }
}

static void check_symmetric(const char *spec, int nodes)
{
    struct matrix m, t;
    CHECK(!matrix_load(spec, &m) && !matrix_transpose(&m, &t));
    CHECK(m.rows == nodes && m.cols == nodes && m.nnz == t.nnz &&
          !memcmp(m.row_ptr, t.row_ptr, ((size_t)nodes + 1) * sizeof *m.row_ptr) &&
          !memcmp(m.col, t.col, (size_t)m.nnz * sizeof *m.col));
    matrix_free(&m);
    matrix_free(&t);
}

/* A few cases whose result can be said beforehand. */
static void check_shapes(void)
{
    struct matrix m;
    CHECK(!matrix_load("gen:uniform,m=1,mean=1", &m));
    CHECK(m.rows == 1 && m.cols == 1 && m.nnz == 1 && m.col[0] == 0);
    matrix_free(&m);
    CHECK(!matrix_load("gen:uniform,m=5,k=3,mean=0", &m));
    CHECK(m.rows == 5 && m.cols == 3 && m.nnz == 0 && m.val && m.col);
    matrix_free(&m);
    CHECK(!matrix_load("gen:uniform,m=20000,mean=4.25,empty=0.5", &m));
    CHECK_NEAR(matrix_rows(&m).mean, 2.125, 0.05);
    CHECK_NEAR(matrix_rows(&m).empty, 10000, 300);
    matrix_free(&m);
    CHECK(!matrix_load("gen:uniform,m=1000,mean=6,window=4", &m));
    for (int i = 0; i < m.rows; i++)
        for (long p = m.row_ptr[i]; p < m.row_ptr[i + 1]; p++)
            if (abs(m.col[p] - i) > 4)
                CHECK(!"outside the window");
    matrix_free(&m);
    CHECK(!matrix_load("gen:stencil,dims=3,points=7,side=3", &m));
    CHECK(m.rows == 27 && m.nnz == 7 * 27 - 6 * 9 && matrix_rows(&m).max == 7);
    matrix_free(&m);
    check_symmetric("gen:road,m=1000", 1000);
    check_symmetric("gen:social,m=50000,scale=.02,mean=12", 1000);
    check_symmetric("gen:social,m=2,mean=1", 2);
    CHECK(!matrix_load("gen:social,m=4000,mean=20,sigma=0,cap=20", &m)); /* all alike but for luck */
    CHECK_NEAR(matrix_rows(&m).mean, 20, 0.3);
    CHECK(matrix_rows(&m).sd < 4 && matrix_rows(&m).max < 40);
    for (int i = 0; i < m.rows; i++)
        for (long p = m.row_ptr[i]; p < m.row_ptr[i + 1]; p++)
            if (m.col[p] == i)
                CHECK(!"a loop");
    matrix_free(&m);
}

static void check_all_refused(void)
{
    check_refused("nosuch", "nosuch: no generated matrix of that name, and as a file its name "
                            "would have to end in .mtx, .mtx.gz, .graph, .graph.gz or .csrb");
    check_refused("gen:lattice,m=4", "lattice,m=4: no generator 'lattice'");
    check_refused("gen:uniform,alpha=2",
                  "uniform,alpha=2: no parameter 'alpha'; there are "
                  "seed=1,m=65536,k=0,mean=16,width=0,window=0,empty=0");
    check_refused("gen:uniform,m=", "uniform,m=: '' is not a number");
    check_refused("gen:uniform,m=1x", "uniform,m=1x: '1x' is not a number");
    check_refused("gen:uniform,m=nan", "uniform,m=nan: 'nan' is not a number");
    check_refused("gen:uniform,m", "uniform,m: 'm' is not name=value");
    check_refused("gen:uniform,,m=4", "uniform,,m=4: '' is not name=value");
    check_refused("gen:uniform,m=0", "uniform,m=0: m must be a whole number from 1 to 200000000");
    check_refused("gen:uniform,m=2.5",
                  "uniform,m=2.5: m must be a whole number from 1 to 200000000");
    check_refused("gen:uniform,m=1e99",
                  "uniform,m=1e99: m must be a whole number from 1 to 200000000");
    check_refused("gen:uniform,mean=4,width=5", "uniform,mean=4,width=5: width exceeds mean");
    check_refused("gen:rmat,m=1000", "rmat,m=1000: m must be a power of two");
    check_refused("gen:rmat,a=.5,b=.4,c=.3", "rmat,a=.5,b=.4,c=.3: a + b + c exceeds 1");
    check_refused("gen:stencil,dims=2,points=7",
                  "stencil,dims=2,points=7: points must be 5 or 9 in 2 dimensions, 7 or 27 in 3");
    check_refused("gen:stencil,dims=3,points=7,side=10000",
                  "stencil,dims=3,points=7,side=10000: more than 2e8 points");
    check_refused("gen:blockdiag,m=100,block=16",
                  "blockdiag,m=100,block=16: block does not divide the size");
    check_refused("gen:powerlaw,m=1000,cap=2000",
                  "powerlaw,m=1000,cap=2000: cap exceeds the number of columns");
    check_refused("gen:powerlaw,mean=50,cap=20", "powerlaw,mean=50,cap=20: mean exceeds cap");
    check_refused("gen:hub,m=10,hubs=11", "hub,m=10,hubs=11: more hubs than rows or columns");
    check_refused("gen:fem,m=1000,dof=3", "fem,m=1000,dof=3: dof does not divide m");
    check_refused("gen:social,m=10,scale=.1", "social,m=10,scale=.1: fewer than 2 nodes");
    check_refused("gen:social,m=1000,mean=30,cap=20",
                  "social,m=1000,mean=30,cap=20: mean exceeds cap or the number of nodes");
    check_refused("package:nosuch", "package:nosuch: no package matrix of that name");
}

int main(int argc, char **argv)
{
    int threads_only = argc > 1 && !strcmp(argv[1], "quick"); /* under valgrind */
    int large_too = argc > 1 && !strcmp(argv[1], "large");
    int names = 0;
    while (matrix_name("generated", names, NULL))
        names++;
    CHECK(names == TARGETS);
    for (int i = 0; i < TARGETS; i++) {
        const char *spec;
        CHECK_STR(matrix_name("generated", i, &spec), targets[i].name);
        CHECK(matrix_available(targets[i].name, NULL, 0));
    }
    CHECK(!matrix_name("nosuch", 0, NULL) && !matrix_name("generated", -1, NULL));
    check_all_refused();
    check_shapes();
    check_families();
    check_pinned();
    check_threads("uni_16k_d10");
    check_threads("rmat14_e16");
    check_threads("gen:powerlaw,m=20000,cap=5000,skew=1");
    check_threads("gen:sbm,m=8192");
    check_threads("gen:social,m=20000,mean=30");
    if (!threads_only) {
        printf("%-20s %19s %21s %16s %16s %15s\n", "name (target)", "rows x columns", "entries",
               "mean", "deviation", "maximum");
        for (int i = 0; i < TARGETS; i++)
            if (large_too || targets[i].nnz < 1e8) /* these take a minute */
                check_target(&targets[i]);
            else
                printf("%-20s only made by `test_generate large`\n", targets[i].name);
    }
    CHECK(data_alloc_live() == 0);
    return TEST_END();
}
