/*
 * gpu_exact.c - every implementation of spmm and gemm on inputs that no correct
 * one rounds, compared to the bit, on shapes that tiles do not fit.
 *
 * Runs on the first GPU, and on the host where there is none (then only the
 * host's rows are tried, which is said).  `gpu_exact quick` takes every third width
 * and half the shapes, `gpu_exact few` a handful: for tools that slow it down a
 * hundred and a thousand times.  A second word, spmm or gemm, leaves the other out.
 * TEST_TINY: gemm's smallest problems (tiny.h), spmm's are gpu_spmm_mma's.
 */
#include <stdlib.h>
#include <unistd.h>

#include "../harness/bench.h"
#include "../harness/error.h"
#include "../harness/params.h"
#include "../suites/suite.h"
#include "test.h"
#include "tiny.h"

/* Writes a pattern with rows of the given lengths; columns spread over cols. */
static void write_matrix(const char *path, int rows, int cols, int (*length)(int row))
{
    FILE *f = fopen(path, "w");
    long nnz = 0;
    for (int i = 0; i < rows; i++)
        nnz += length(i);
    fprintf(f, "%%%%MatrixMarket matrix coordinate pattern general\n%d %d %ld\n", rows, cols, nnz);
    for (int i = 0; i < rows; i++)
        for (int e = 0; e < length(i); e++)
            fprintf(f, "%d %d\n", i + 1, (int)(((long)i * 7 + (long)e * (cols / length(i))) % cols) + 1);
    fclose(f);
}

static int one(int row) { return row == 0; }
static int dense_row(int row) { return row == 3 ? 1000 : 0; }
static int ragged(int row) { return row % 5 == 0 ? 0 : row % 67; }
static int threes(int row) { return row % 2 ? 3 : 1; }
static int heavy_last(int row) { return row == 300 ? 997 : 2; }
static int full_warps(int row) { return row >= 0 ? 32 : 0; }

static int tried, wrong;
static bool told; /* each case */

static void try_case(struct cb_context *c, const struct cb_op *op, json_t *params)
{
    if (!test_takes()) {
        json_decref(params);
        return;
    }
    const struct op_impl *impl[512], *i;
    int count = 0;
    struct cb_case out;
    void *p = calloc(1, op->params_size);
    char label[CB_ID_MAX];
    for (int k = 0; count < 511 && (i = op->impl(k)); k++)
        impl[count++] = i;
    impl[count] = NULL;
    CHECK(!cb_params_from_json(op, params, p));
    cb_params_label(op, p, label, sizeof label);
    int lost = cb_run_case(c, op, p, impl, &out);
    CHECK(!lost);
    if (lost)
        printf("%s %s: %s\n", op->name, label, cb_error_text());
    else if (told)
        printf("%s %s\n", op->name, label);
    for (int k = 0; k < out.count; k++) {
        const struct cb_outcome *o = &out.out[k];
        if (o->status == CB_SKIPPED || o->status == CB_UNSUPPORTED)
            continue;
        tried++;
        if (o->status != CB_OK) {
            wrong++;
            printf("%s %s: %s: %s: %s\n", op->name, label, o->impl->name, cb_status_name(o->status), o->reason);
        }
        CHECK(o->status == CB_OK);
    }
    cb_case_free(&out);
    free(p);
    json_decref(params);
    if (lost)
        exit(1);
}

int main(int argc, char **argv)
{
    const size_t step = argc < 2 ? 1 : !strcmp(argv[1], "quick") ? 3 : 6;
    const char *const only = argc < 3 ? "" : argv[2];
    setvbuf(stdout, NULL, _IOLBF, 0);
    told = step > 3;
    static const int widths[] = { 1, 2, 3, 4, 5, 8, 16, 20, 31, 32, 33, 48, 64, 100, 128, 200, 256, 512 };
    static const char *const dtypes[] = { "f32", "f16", "tf32" };
    static const struct {
        const char *name;
        int rows, cols, (*length)(int);
    } shapes[] = { { "one", 1, 1, one }, { "dense_row", 9, 1000, dense_row }, { "ragged", 333, 97, ragged },
                   { "threes", 1027, 513, threes }, { "heavy_last", 301, 1000, heavy_last },
                   { "full_warps", 2048, 64, full_warps } };
    /* m, n, k, group: k stays where exact operands are exact in half sums too; the last one is
     * large enough for the check of all rows by sums */
    static const int gemms[][4] = {
        { 1, 8, 8, 8 },         { 3, 5, 7, 7 },         { 16, 256, 128, 128 },  { 17, 100, 65, 65 },
        { 128, 129, 257, 257 }, { 1, 128, 128, 128 },   { 1, 256, 1024, 128 },  { 1, 4096, 1408, 128 },
        { 2, 384, 1024, 128 },  { 3, 640, 384, 128 },   { 4, 1024, 2048, 128 }, { 5, 512, 512, 128 },
        { 7, 256, 1152, 128 },  { 8, 768, 1024, 128 },  { 9, 256, 640, 128 },   { 16, 12288, 1024, 128 },
        { 17, 384, 896, 128 },  { 31, 512, 1024, 128 }, { 32, 256, 2048, 128 }, { 33, 640, 768, 128 },
        { 48, 1024, 512, 128 }, { 64, 4096, 1024, 128 }, { 65, 384, 1152, 128 }, { 100, 512, 256, 128 },
        { 127, 256, 1024, 128 }, { 128, 1024, 1024, 128 }, { 129, 384, 512, 128 }, { 192, 640, 1408, 128 },
        { 193, 256, 384, 128 }, { 256, 2048, 1024, 128 }, { 257, 512, 640, 128 }, { 1, 512, 1088, 64 },
        { 8, 256, 960, 64 },    { 16, 640, 1088, 64 },  { 64, 512, 1024, 64 },  { 200, 384, 1088, 64 },
        { 1, 4544, 1024, 128 }, { 16, 4672, 896, 64 },  { 1, 72, 384, 128 },    { 8, 520, 1152, 128 },
        { 100, 72, 1152, 128 }, { 300, 520, 384, 128 },
        /* of 4 to 16 strips a block on 132 multiprocessors */
        { 1, 8200, 1024, 128 }, { 8, 10512, 640, 128 }, { 5, 12600, 384, 128 }, { 2, 14784, 256, 128 },
        { 6, 16000, 640, 128 }, { 4, 20000, 384, 128 }, { 7, 25000, 256, 128 }, { 3, 29000, 384, 128 },
        { 1, 33000, 640, 128 }, { 1024, 1280, 1024, 128 },
        /* strips of W4A16: shares that differ, clusters of two, rounds of chunks */
        { 9, 4040, 2048, 128 }, { 8, 4616, 2048, 128 }, { 16, 22024, 640, 128 }, { 13, 29000, 384, 128 } };
    static const char *const large[] = { "rmat17x_e32", "longrow_10kx1M_d500" };
    /* for the rows that take A in blocks */
    static const char *const blocks[] = { "gen:blockdiag,m=512,block=64", "gen:blockrand,m=1024,mean=64,block=16",
                                          "gen:blockrand,m=1008,mean=20,block=4",
                                          "gen:fem,m=1200,mean=48,dof=3,window=40" };
    const struct cb_policy policy = { .name = "exact", .invocations = 1, .rotate_l2 = 2, .flush_l2 = 3, .executions_max = 64 };
    struct cb_context c = { .policy = &policy, .cache = CB_HOT, .seed = 11, .order_seed = 5, .exact = true, .once = true, .aa = -1 };
    char path[128];
    int status = cb_device_open("auto", &c.device);
    CHECK(!status);
    if (status)
        return TEST_END();
    if (!cb_device_info(c.device)->sm)
        SKIP("gpu_exact: no GPU, rows of the host only");
    const struct cb_op *spmm = suite_op("spmm"), *gemm = suite_op("gemm");
    if (test_tiny()) { /* spmm's: in gpu_spmm_mma */
        tiny_op(c.device, "gemm");
        cb_device_close(c.device);
        return TEST_END();
    }
    for (size_t s = step > 3 ? 2 : 0; strcmp(only, "gemm") && s < sizeof shapes / sizeof *shapes; s += step > 3 ? 4 : step > 1 ? 2 : 1) {
        snprintf(path, sizeof path, "/tmp/exact_%ld_%s.mtx", (long)getpid(), shapes[s].name);
        write_matrix(path, shapes[s].rows, shapes[s].cols, shapes[s].length);
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w += step)
            for (size_t t = 0; t < sizeof dtypes / sizeof *dtypes; t++)
                try_case(&c, spmm, json_pack("{s:s,s:i,s:s}", "matrix", path, "n", widths[w], "dtype", dtypes[t]));
        unlink(path);
    }
    for (size_t b = 0; b < sizeof blocks / sizeof *blocks && strcmp(only, "gemm"); b += step > 3 ? 4 : 1)
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w += step)
            for (size_t t = 0; t < sizeof dtypes / sizeof *dtypes; t++)
                try_case(&c, spmm, json_pack("{s:s,s:i,s:s}", "matrix", blocks[b], "n", widths[w], "dtype", dtypes[t]));
    /* large enough for the forms that only large matrices get */
    for (int n = 1; n <= 4 && step == 1 && strcmp(only, "gemm"); n++)
        for (size_t g = 0; g < sizeof large / sizeof *large; g++)
            try_case(&c, spmm, json_pack("{s:s,s:i,s:s}", "matrix", large[g], "n", n, "dtype", "f32"));
    for (size_t t = 0; strcmp(only, "spmm") && t < sizeof gemms / sizeof *gemms; t += step)
        try_case(&c, gemm, json_pack("{s:i,s:i,s:i,s:i}", "m", gemms[t][0], "n", gemms[t][1], "k", gemms[t][2],
                                     "group", gemms[t][3]));
    cb_device_close(c.device);
    printf("%d executions of implementations, %d wrong\n", tried, wrong);
    return TEST_END();
}
