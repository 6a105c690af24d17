/*
 * gpu_spmm_mma.c - own_mma_f16 and own_mma_tf32 on a GPU, own_scan and own_stage: whatever the rule
 * would say, with panels of 8 and of 16 rows, on shapes that panels, steps and tiles do not fit; on
 * small integers to the bit, on random values within the bound, C poisoned, twice, with the guard
 * zones looked at; and whether a wrong value of A is found.
 *
 * cuSPARSE's block formats are checked in the same way, and that they take every size of block
 * that is offered.
 *
 * `gpu_spmm_mma quick` takes every third width; `gpu_spmm_mma stage` is own_stage alone;
 * `gpu_spmm_mma times` measures instead, matrices with blocks and bands among them: set-up, time,
 * the fastest of cuSPARSE's row-major rows with the same dtype, its block formats by themselves, and
 * after how many uses set-up has paid.
 */
#include <stdlib.h>
#include <time.h>

#include "../baselines/spmm_blocks.h"
#include "../harness/device.h"
#include "../harness/error.h"
#include "../kernels/spmm/vectors.h"
#include "../suites/data/matrix.h"
#include "../suites/ops/bind.h"
#include "test.h"
#include "tiny.h"

/* ---- small matrices ---- */

static const char *const specs[] = {
    "gen:uniform,m=1,k=1,mean=1,empty=0", "gen:uniform,m=9,k=400,mean=30,width=29",
    "gen:uniform,m=333,mean=20,width=19,empty=.3", "gen:blockdiag,m=512,block=8",
    "gen:blockrand,m=1024,mean=64,block=16", "gen:blockrand,m=1000,mean=20,block=4",
    "gen:band,m=1500,mean=40,window=60", "gen:stencil,dims=2,points=9,side=37",
    "gen:fem,m=1200,mean=48,dof=3,window=40",
    "gen:hub,m=901,mean=4,width=2,hubs=3,share=.9,spill=.2",
    "gen:longrow,m=70,k=9000,mean=1200,width=1000", "gen:powerlaw,m=701,mean=9,empty=.1",
};

#ifdef WITH_CUDA
static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- operands ---- */

struct operands {
    struct cb_device *d;
    struct matrix m;
    struct spmm_problem p;
    struct spmm_matrix host;
    struct spmm_args args;
    double *want;
    float *bound;
    int *row;
    void *val;
};

static enum cb_dtype type_of(const struct operands *o)
{
    return o->p.dtype == SPMM_F16 ? CB_F16 : CB_F32;
}

static void *uploaded(struct cb_device *d, const void *from, size_t bytes)
{
    void *to = NULL;
    CHECK(!cb_alloc(d, bytes ? bytes : 4, &to) && !cb_upload(d, to, from, bytes));
    return to;
}

/* All but B and C. */
static int open_matrix(struct cb_device *d, const char *spec, struct operands *o)
{
    *o = (struct operands){ .d = d };
    if (matrix_load(spec, &o->m))
        return -1;
    const size_t nnz = (size_t)o->m.nnz;
    o->row = malloc((nnz + 1) * sizeof *o->row);
    for (int i = 0; i < o->m.rows; i++)
        for (int e = o->m.row_ptr[i]; e < o->m.row_ptr[i + 1]; e++)
            o->row[e] = i;
    o->host = (struct spmm_matrix){ o->m.row_ptr, o->m.col, o->row, NULL };
    o->args.a.row_ptr = uploaded(d, o->m.row_ptr, ((size_t)o->m.rows + 1) * sizeof(int));
    o->args.a.col = uploaded(d, o->m.col, nnz * sizeof(int));
    o->args.a.row = uploaded(d, o->row, nnz * sizeof(int));
    spmm_describe(o->m.rows, o->m.cols, o->m.row_ptr, &o->p);
    vectors_count(o->m.row_ptr, o->m.col, &o->p);
    return spmm_blocks_count(o->m.row_ptr, o->m.col, &o->p) ? -1 : 0;
}

/* Values, B and C for a width; want and bound where asked. */
static int open_dense(struct operands *o, int n, enum spmm_dtype dtype, bool exact, bool reference)
{
    const enum cb_dist dist = exact ? CB_EXACT : CB_UNIFORM;
    const size_t bytes = dtype == SPMM_F16 ? 2 : 4, out = (size_t)o->p.m * (size_t)n;
    void *b = NULL;
    o->p.n = n;
    o->p.dtype = dtype;
    if (cb_alloc(o->d, (size_t)o->p.nnz * bytes + 4, &o->val) ||
        cb_random(o->d, o->val, type_of(o), dist, 3, 1, 0, 1, o->p.nnz, false) ||
        cb_alloc(o->d, (size_t)o->p.k * (size_t)n * bytes, &b) ||
        cb_random(o->d, b, type_of(o), dist, 3, 2, 0, o->p.k, n, false) ||
        cb_alloc(o->d, out * bytes, &o->args.c))
        return -1;
    o->args.a.val = o->val;
    o->args.b = b;
    if (!reference)
        return 0;
    if (cb_alloc(o->d, out * sizeof(double), (void **)&o->want) ||
        cb_alloc(o->d, out * sizeof(float), (void **)&o->bound) ||
        spmm_ref_cuda(&o->p, &o->args.a, b, o->want, o->bound, cb_device_stream(o->d)))
        return -1;
    return cb_sync(o->d);
}

static void close_dense(struct operands *o)
{
    cb_free(o->d, o->val);
    cb_free(o->d, (void *)o->args.b);
    cb_free(o->d, o->args.c);
    cb_free(o->d, o->want);
    cb_free(o->d, o->bound);
    o->want = NULL;
    o->bound = NULL;
}

static void close_matrix(struct operands *o)
{
    cb_free(o->d, (void *)o->args.a.row_ptr);
    cb_free(o->d, (void *)o->args.a.col);
    cb_free(o->d, (void *)o->args.a.row);
    free(o->row);
    matrix_free(&o->m);
}

/* ---- correctness ---- */

static int tried, wrong;

/* The rule's figures of p, changed so that it chooses panels of that many groups of rows. */
static struct spmm_problem forced(const struct spmm_problem *p, int groups)
{
    struct spmm_problem q = *p;
    if (groups) {
        q.nnz = 1L << 40;
        q.vectors[groups - 1] = 1;
        q.steps[groups - 1] = 0;
        q.vectors[2 - groups] = 0;
    }
    return q;
}

/* The same for square blocks of one size. */
static struct spmm_problem forced_blocks(const struct spmm_problem *p, int index)
{
    struct spmm_problem q = *p;
    for (int i = 0; i < SPMM_SQUARES; i++)
        if (i != index)
            q.blocks[i] = 0;
    return q;
}

enum { REFUSED = -2 };

/* Elements of C that are not as they should be; -1: a call failed, REFUSED: set-up was. */
static long elements_off(struct operands *o, const struct spmm_impl *i,
                         const struct spmm_problem *shape, bool exact, int *rows)
{
    const size_t bytes = (size_t)o->p.m * (size_t)o->p.n * (o->p.dtype == SPMM_F16 ? 2 : 4);
    struct op_pool pool = { .device = o->d };
    struct op_memory memory = op_pool_memory(&pool);
    struct cb_view view = { o->args.c, type_of(o), o->p.m, o->p.n, false };
    struct spmm_format format = { 0 };
    void *state = NULL;
    long off = 0;
    const enum op_status set_up =
        i->setup(shape, &o->host, &o->args, &memory, cb_device_stream(o->d), &state);
    if (set_up)
        off = set_up == OP_EUNSUPPORTED ? REFUSED : -1;
    for (int twice = 0; off >= 0 && twice < 2; twice++) {
        struct cb_accuracy accuracy = { 0 };
        if (cb_fill(o->d, o->args.c, 0xff, bytes) ||
            i->run(&o->p, &o->args, state, cb_device_stream(o->d)) || cb_sync(o->d) ||
            cb_compare(o->d, &view, o->want, exact ? NULL : o->bound, &accuracy))
            off = -1;
        else
            off += (long)(accuracy.bad + accuracy.nonfinite);
    }
    if (state && i->format)
        i->format(state, &format);
    *rows = format.rows;
    if (cb_guards_check(o->d)) {
        printf("%s: %s\n", i->base.name, cb_error_text());
        cb_guards_mend(o->d);
        off = -1;
    }
    if (i->teardown)
        i->teardown(state);
    op_pool_free(&pool);
    return off;
}

static void try_row(struct operands *o, const char *name, const char *spec, int groups, bool exact)
{
    int rows = 0;
    const struct spmm_problem shape = forced(&o->p, groups);
    const long off = elements_off(o, spmm_find(name), &shape, exact, &rows);
    tried++;
    wrong += off != 0;
    CHECK(off == 0);
    if (groups) /* the format is the one that was forced */
        CHECK(rows == 8 * groups);
    if (off)
        printf("%s n %d: %s, panels of %d rows%s: %ld elements off: %s\n", spec, o->p.n, name, rows,
               exact ? ", exact" : "", off, off < 0 ? cb_error_text() : "");
}

/* A block format with each size of block that is offered; the library may refuse one. */
static void try_blocks(struct operands *o, const char *name, const char *spec, bool exact)
{
    const struct spmm_impl *i = spmm_find(name);
    for (int index = 0; index < SPMM_SQUARES; index++) {
        const struct spmm_problem shape = forced_blocks(&o->p, index);
        const char *why;
        int rows = 0;
        if (i->supports(&shape, &why))
            continue;
        const long off = elements_off(o, i, &shape, exact, &rows);
        tried++;
        wrong += off != 0 && off != REFUSED;
        CHECK(off == 0 || off == REFUSED);
        if (off)
            printf("%s n %d: %s, dtype %d, blocks of %d%s: %ld elements off%s\n", spec, o->p.n, name,
                   (int)o->p.dtype, spmm_block_size(index), exact ? ", exact" : "", off,
                   off == REFUSED ? ": refused" : "");
        else
            CHECK(rows == spmm_block_size(index));
    }
}

/* One value of A, changed after the reference was made, must be seen. */
static void try_fault(struct operands *o, const char *name)
{
    static const unsigned char other[4] = { 0x00, 0x48, 0x00, 0x42 }; /* 8 as half; 32 as float */
    const size_t bytes = o->p.dtype == SPMM_F16 ? 2 : 4;
    char *at = (char *)o->val + (size_t)(o->p.nnz / 2) * bytes;
    int rows;
    CHECK(!cb_upload(o->d, at, other, bytes));
    for (int groups = 1; groups <= 2; groups++) {
        const struct spmm_problem shape = forced(&o->p, groups);
        CHECK(elements_off(o, spmm_find(name), &shape, true, &rows) > 0);
    }
}

static void try_matrix(struct cb_device *d, const char *spec, size_t step)
{
    static const int widths[] = { 1, 2, 3, 4, 8, 16, 20, 31, 32, 40, 48, 64, 72, 100, 128, 192, 256, 512 };
    static const char *const names[] = { "own_scan", "own_mma_f16", "own_mma_tf32" };
    const double start = seconds();
    const int before = wrong;
    struct operands o;
    const int opened = !open_matrix(d, spec, &o);
    CHECK(opened);
    if (!opened) {
        printf("%s: %s\n", spec, cb_error_text());
        return;
    }
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w += step)
        for (int dtype = SPMM_F32; dtype <= SPMM_TF32; dtype++)
            for (int exact = 0; exact < 2; exact++) {
                if (dtype == SPMM_F32 && widths[w] > 4)
                    continue;
                const int made = !open_dense(&o, widths[w], (enum spmm_dtype)dtype, exact, true);
                CHECK(made);
                if (!made)
                    exit(1);
                for (int g = dtype != SPMM_F32; g <= (dtype == SPMM_F32 ? 0 : 2); g++)
                    try_row(&o, names[dtype], spec, g, exact);
                if (!test_tiny()) {
                    try_blocks(&o, "cusparse_bsr_rm", spec, exact);
                    try_blocks(&o, "cusparse_bell_rm", spec, exact);
                }
                if (!test_tiny() && exact && dtype != SPMM_F32 && o.p.nnz && widths[w] == 8)
                    try_fault(&o, names[dtype]);
                close_dense(&o);
            }
    printf("%-44s %6.1f s, %d wrong\n", spec, seconds() - start, wrong - before);
    close_matrix(&o);
}

/* own_stage for each number of warps of a block, windows that move along and that do not, panels of
 * columns, rows that are cut and empty; and what it refuses. */
static void try_stage(struct cb_device *d)
{
    static const struct {
        const char *spec;
        bool large, refused;
    } cases[] = {
        { "gen:uniform,m=3000,k=2003,mean=30,width=29,empty=.3", false, false },
        { "gen:uniform,m=3000,k=20001,mean=30,width=29", false, false },
        { "gen:uniform,m=3000,k=45003,mean=30,width=29", false, false },
        { "gen:uniform,m=1500,k=90000,mean=40,width=29,empty=.2", false, false },
        { "gen:longrow,m=20,k=110000,mean=9000,width=900", false, false },
        { "gen:uniform,m=1500,k=900000,mean=40,width=29", false, true },
        { "gen:longrow,m=40,k=40000,mean=9000,width=900", false, false },
        { "gen:stencil,dims=2,points=5,side=150", false, false },
        { "gen:powerlaw,m=20000,mean=9,empty=.1", false, false },
        { "road_2M", true, false },
        { "st2d5_2000", true, false },
        { "st3d7_100", true, false },
        { "band_64k_d100", true, false },
        { "dl_16k_6pct", true, false },
        { "bip_500kx20k_d3", true, false },
        { "uni_256k_d16", true, false },
        { "powerlaw_a1.8_100k", true, false },
        { "arrow_200k", true, false },
        { "uni_1M_d2", true, true },
    };
    const struct spmm_impl *i = spmm_find("own_stage");
    for (size_t s = 0; s < sizeof cases / sizeof *cases; s++)
        for (int exact = 0; exact < 2; exact++) {
            struct operands o;
            int rows = 0;
            if (cases[s].large && test_tiny())
                continue;
            const bool made = !open_matrix(d, cases[s].spec, &o) &&
                              !open_dense(&o, 1, SPMM_F32, exact, true);
            CHECK(made);
            if (!made)
                exit(1);
            const long off = elements_off(&o, i, &o.p, exact, &rows);
            tried++;
            wrong += off != (cases[s].refused ? REFUSED : 0);
            CHECK(off == (cases[s].refused ? REFUSED : 0));
            if (off && !(off == REFUSED && cases[s].refused))
                printf("%s: own_stage%s: %ld elements off%s\n", cases[s].spec,
                       exact ? ", exact" : "", off, off == REFUSED ? ": refused" : "");
            if (exact && !off && !test_tiny()) {
                const float other = 32;
                CHECK(!cb_upload(d, (char *)o.val + (size_t)(o.p.nnz / 2) * 4, &other, 4));
                CHECK(elements_off(&o, i, &o.p, true, &rows) > 0);
            }
            close_dense(&o);
            close_matrix(&o);
        }
}

/* The rows; every form of own_row and own_merge that their rules choose for some matrix and width;
 * panels that the rule would not take. */
static void try_tiny(struct cb_device *d)
{
    static const struct {
        const char *matrix;
        int n[16]; /* ended by 0 */
    } forms[] = {
        { "gen:powerlaw,m=701,mean=9,empty=.1",
          { 1, 2, 3, 4, 5, 6, 8, 10, 12, 20, 31, 34, 48, 96 } },
        { "gen:longrow,m=70,k=9000,mean=1200,width=1000",
          { 1, 2, 3, 4, 5, 6, 8, 10, 12, 48, 64, 96, 128 } },
        { "gen:hub,m=901,mean=4,width=2,hubs=3,share=.9,spill=.2", { 8 } },
        { "gen:blockdiag,m=512,block=8", { 1, 2, 4, 256 } },
        { "gen:blockdiag,m=512,block=64", { 1, 2, 8, 12, 20 } },
        { "gen:uniform,m=150,k=2000,mean=3,width=2", { 1, 2, 4 } },
        { "gen:uniform,m=150,k=2000,mean=10,width=9", { 1, 2, 4 } },
        { "gen:uniform,m=150,k=2000,mean=90,width=89", { 20 } },
        { "gen:uniform,m=150,k=9000,mean=90,width=89", { 8 } },
    };
    int turns[2 * TINY_ROWS] = { 0 };
    char params[200];
    tiny_op(d, "spmm");
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++)
        for (const int *n = forms[f].n; *n; n++) {
            snprintf(params, sizeof params, "{'matrix': '%s', 'n': %d}", forms[f].matrix, *n);
            tiny_run(d, &(struct tiny_case){ "spmm", "own_", params }, "", turns);
        }
    try_matrix(d, "gen:blockrand,m=256,mean=20,block=4", 2);
    try_stage(d);
}

static void try_all(struct cb_device *d, size_t step)
{
    for (size_t s = 0; s < sizeof specs / sizeof *specs; s++)
        try_matrix(d, specs[s], step);
    try_stage(d);
    if (step == 1) /* more items than a GPU holds at a time */
        try_matrix(d, "blockrand16_128k", 6);
}

/* ---- times ---- */

struct launch {
    const struct operands *o;
    const struct spmm_impl *impl;
    void *state;
};

static int enqueue(void *arg, int step)
{
    struct launch *l = arg;
    (void)step;
    return op_result(l->impl->run(&l->o->p, &l->o->args, l->state, cb_device_stream(l->o->d)),
                     l->impl->base.name, "launch");
}

/* Median of five windows of ten; 0: the row cannot. */
static double time_row(struct operands *o, const struct spmm_impl *i, double *setup_us,
                       struct spmm_format *format)
{
    struct op_pool pool = { .device = o->d };
    struct op_memory memory = op_pool_memory(&pool);
    struct launch l = { o, i, NULL };
    struct cb_window w = { 0 };
    double t[5] = { 0 };
    const char *why;
    if (i->supports && i->supports(&o->p, &why) != OP_OK)
        return 0;
    const double start = seconds();
    int status = i->setup && i->setup(&o->p, &o->host, &o->args, &memory, cb_device_stream(o->d),
                                      &l.state);
    status = status || cb_sync(o->d);
    *setup_us = 1e6 * (seconds() - start);
    status = status || enqueue(&l, 0) || cb_sync(o->d);
    for (int r = 0; !status && r < 5; r++) {
        status = cb_window(o->d, enqueue, &l, 0, 10, !(i->base.flags & OP_SYNCS), &w);
        t[r] = w.us / 10;
        for (int k = r; k && t[k] < t[k - 1]; k--) {
            const double swap = t[k];
            t[k] = t[k - 1];
            t[k - 1] = swap;
        }
    }
    if (!status && i->format && format)
        i->format(l.state, format);
    if (i->teardown)
        i->teardown(l.state);
    op_pool_free(&pool);
    return status ? 0 : t[2];
}

static double time_cusparse(struct operands *o, const char **name)
{
    double best = 0, setup;
    for (const struct spmm_impl *i = spmm_baselines; i->base.name; i++) {
        if (strncmp(i->base.name, "cusparse_", 9) ||
            !(i->base.layout ? !strcmp(i->base.layout, "row") : o->p.n == 1))
            continue;
        const double t = time_row(o, i, &setup, NULL);
        if (t > 0 && (best == 0 || t < best)) {
            best = t;
            *name = i->base.name;
        }
    }
    return best;
}

/* Appends time and block size of cuSPARSE's block formats to a line. */
static void time_blocks(struct operands *o)
{
    static const char *const names[] = { "cusparse_bsr_rm", "cusparse_bell_rm" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct spmm_format f = { 0 };
        double setup = 0;
        const double t = time_row(o, spmm_find(names[i]), &setup, &f);
        printf(" %9.2f %2d", t, t > 0 ? f.rows : 0);
    }
    printf("\n");
}

static void measure(struct cb_device *d)
{
    static const char *const presets[] = {
        "bdiag64_64k", "blockrand16_128k", "fem3_150k_d48", "band_64k_d100", "st3d27_64",
        "st2d9_1024", "st2d5_2000", "dl_16k_6pct", "sbm_233k_d100",
    };
    static const int widths[] = { 8, 16, 32, 64, 128, 256 };
    static const char *const names[] = { NULL, "own_mma_f16", "own_mma_tf32" };
    printf("matrix                 n  dtype   us       panel fill   setup_us  cusparse_us over     "
           "uses cusparse, BSR us and size, Blocked-ELL us and size\n");
    for (size_t s = 0; s < sizeof presets / sizeof *presets; s++) {
        struct operands o;
        if (open_matrix(d, presets[s], &o)) {
            printf("%s: %s\n", presets[s], cb_error_text());
            continue;
        }
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
            for (int dtype = SPMM_F16; dtype <= SPMM_TF32; dtype++) {
                struct spmm_format f = { 0 };
                const char *base = "-";
                double setup = 0;
                if (open_dense(&o, widths[w], (enum spmm_dtype)dtype, false, false))
                    exit(1);
                const double t = time_row(&o, spmm_find(names[dtype]), &setup, &f);
                const double c = time_cusparse(&o, &base);
                printf("%-20s %4d  %-5s %9.2f %3d  %6.2f %10.0f  %9.2f  %5.2f %8.0f %s", presets[s],
                       widths[w], dtype == SPMM_F16 ? "f16" : "tf32", t, f.rows,
                       (double)f.values / (double)o.p.nnz, setup, c, t > 0 ? c / t : 0,
                       t > 0 && c > t ? setup / (c - t) : 0, base);
                time_blocks(&o);
                close_dense(&o);
            }
        close_matrix(&o);
    }
}
#endif

/* Without a GPU: that the matrices are there. */
static void only_load(void)
{
    for (size_t s = 0; s < sizeof specs / sizeof *specs; s++) {
        struct matrix m = { 0 };
        const int status = matrix_load(specs[s], &m);
        CHECK(!status && m.nnz > 0);
        if (status)
            printf("%s: %s\n", specs[s], cb_error_text());
        matrix_free(&m);
    }
    SKIP("gpu_spmm_mma: no GPU");
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
#ifdef WITH_CUDA
    struct cb_device *d = NULL;
    const double start = seconds();
    if (cb_device_count() < 1) {
        only_load();
        return TEST_END();
    }
    CHECK(!cb_device_open("cuda", &d));
    if (d && argc > 1 && !strcmp(argv[1], "times"))
        measure(d);
    else if (d && argc > 1 && !strcmp(argv[1], "stage"))
        try_stage(d);
    else if (d && test_tiny())
        try_tiny(d);
    else if (d)
        try_all(d, argc > 1 && !strcmp(argv[1], "quick") ? 3 : 1);
    cb_device_close(d);
    printf("%d products, %d wrong, %.0f s\n", tried, wrong, seconds() - start);
#else
    (void)argc, (void)argv;
    only_load();
#endif
    return TEST_END();
}
