/*
 * tiny.h - the smallest problems on which every kernel of an operator still runs, for tools under
 * which a kernel takes a hundred times as long (tests/sanitizer.sh).
 *
 * With TEST_TINY=1 a gpu_*.c program runs these and little more: every row that is ours, on every
 * kind of shape its kernels distinguish, small, but long enough that stages of a pipeline come
 * round.  No times, no planted faults, and no rows that are a library's kernels alone.
 * TEST_TINY=I/N runs only every N-th of them, from the I-th on (0 to N - 1).
 * test_tiny.c counts, without a GPU, that every row has a case that it takes.
 */
#ifndef TESTS_TINY_H
#define TESTS_TINY_H

#include <stdbool.h>
#include <unistd.h>

#include "../harness/bench.h"
#include "../harness/error.h"
#include "../harness/params.h"
#include "../suites/suite.h"
#include "sparse_net_scan.h"
#include "test.h"

struct tiny_case {
    const char *op, *rows; /* rows: whose names hold this */
    const char *params;    /* JSON; "@" is a scan of a few hundred points, written here */
};

static const struct tiny_case tiny_cases[] = {
    /* every kind of row and of rest; then every tiling of ours, rings more than once round */
    { "gemm", "", "{'m': 1, 'n': 264, 'k': 384}" },
    { "gemm", "", "{'m': 17, 'n': 256, 'k': 1152}" },
    { "gemm", "", "{'m': 129, 'n': 384, 'k': 640}" },
    { "gemm", "w4a16_small", "{'m': 1, 'n': 4096, 'k': 8192}" },
    { "gemm", "w4a16_small", "{'m': 2, 'n': 8448, 'k': 6144}" },
    { "gemm", "w4a16_small", "{'m': 4, 'n': 4224, 'k': 9216}" },
    { "gemm", "w4a16_small", "{'m': 5, 'n': 10240, 'k': 4096}" },
    { "gemm", "w4a16_small", "{'m': 16, 'n': 12288, 'k': 4096}" },
    { "gemm", "w4a16_small", "{'m': 32, 'n': 12288, 'k': 4096}" },
    { "gemm", "w4a16_large", "{'m': 16, 'n': 8704, 'k': 1280}" },
    { "gemm", "w4a16_large", "{'m': 16, 'n': 520, 'k': 1792}" },
    { "gemm", "w4a16_large", "{'m': 32, 'n': 520, 'k': 1152}" },
    { "gemm", "w4a16_large", "{'m': 32, 'n': 12416, 'k': 1408}" },
    { "gemm", "w4a16_large", "{'m': 64, 'n': 520, 'k': 1152}" },
    { "gemm", "w4a16_large", "{'m': 64, 'n': 12416, 'k': 1408}" },
    { "gemm", "w4a16_large", "{'m': 128, 'n': 128, 'k': 4480}" },
    { "gemm", "w4a16_large", "{'m': 128, 'n': 12416, 'k': 768}" },
    { "gemm", "w4a16_large", "{'m': 257, 'n': 1920, 'k': 2560}" },
    { "gemm", "w4a16_large", "{'m': 129, 'n': 8704, 'k': 768}" },
    { "gemm", "w4a16_strips", "{'m': 1, 'n': 4224, 'k': 6528}" },
    { "gemm", "w4a16_strips", "{'m': 1, 'n': 25856, 'k': 1152}" },
    { "gemm", "w4a16_strips", "{'m': 8, 'n': 2176, 'k': 6528}" },
    { "gemm", "w4a16_strips", "{'m': 9, 'n': 2120, 'k': 4480}" },
    { "gemm", "w4a16_strips", "{'m': 12, 'n': 2120, 'k': 2304}" },
    { "gemm", "w4a16_strips", "{'m': 10, 'n': 4360, 'k': 1152}" },
    { "gemm", "w4a16_strips", "{'m': 16, 'n': 25864, 'k': 2304}" },
    { "gemm", "w4a16_portable", "{'m': 8, 'n': 4224, 'k': 1024}" },
    { "gemm", "w4a16_portable", "{'m': 40, 'n': 520, 'k': 2048}" },
    { "gemm", "own", "{'m': 4, 'n': 4224, 'k': 9216}" },
    { "gemm", "own", "{'m': 16, 'n': 4096, 'k': 5760}" },
    { "gemm", "own", "{'m': 16, 'n': 4352, 'k': 6016}" },
    { "gemm", "own", "{'m': 9, 'n': 264, 'k': 8192}" },
    { "gemm", "own", "{'m': 32, 'n': 6144, 'k': 3072}" },
    { "gemm", "own", "{'m': 32, 'n': 10240, 'k': 4352}" },
    { "gemm", "own", "{'m': 64, 'n': 4096, 'k': 3328}" },
    { "gemm", "own", "{'m': 64, 'n': 10368, 'k': 3456}" },
    { "gemm", "own", "{'m': 128, 'n': 4096, 'k': 4480}" },
    { "gemm", "own", "{'m': 128, 'n': 10368, 'k': 3072}" },
    { "gemm", "own", "{'m': 256, 'n': 2048, 'k': 5376}" },
    { "gemm", "own", "{'m': 300, 'n': 4096, 'k': 1024}" },
    { "gemm", "own", "{'m': 8, 'n': 27136, 'k': 4608}" },
    { "gemm", "own", "{'m': 9, 'n': 27136, 'k': 1408}" },
    { "gemm", "own", "{'m': 33, 'n': 13056, 'k': 1408}" },
    { "gemm", "own", "{'m': 129, 'n': 640, 'k': 11648}" },
    { "gemm", "own", "{'m': 129, 'n': 13056, 'k': 768}" },
    { "gemm", "own", "{'m': 5, 'n': 128, 'k': 4608}" },
    { "gemm", "own", "{'m': 8, 'n': 4736, 'k': 3328}" },
    { "gemm", "own", "{'m': 4, 'n': 6656, 'k': 2688}" },
    { "gemm", "own", "{'m': 1, 'n': 8576, 'k': 2688}" },
    { "gemm", "own", "{'m': 4, 'n': 11136, 'k': 2048}" },
    { "gemm", "own", "{'m': 1, 'n': 13056, 'k': 2048}" },
    { "gemm", "own", "{'m': 5, 'n': 14976, 'k': 1408}" },
    { "gemm", "own", "{'m': 1, 'n': 17536, 'k': 1408}" },
    { "gemm", "own", "{'m': 1, 'n': 21376, 'k': 1408}" },
    { "gemm", "own", "{'m': 1, 'n': 25856, 'k': 1408}" },
    { "gemm", "own", "{'m': 65, 'n': 17536, 'k': 1408}" },
    { "gemm", "own", "{'m': 4, 'n': 14976, 'k': 8448}" },
    { "gemm", "own", "{'m': 9, 'n': 14976, 'k': 8448}" },
    { "gemm", "own", "{'m': 17, 'n': 128, 'k': 6528}" },
    { "gemm", "own", "{'m': 33, 'n': 1664, 'k': 7808}" },
    { "gemm", "own", "{'m': 33, 'n': 17536, 'k': 1408}" },
    { "gemm", "own", "{'m': 33, 'n': 128, 'k': 3328}" },
    { "gemm", "few", "{'m': 1, 'n': 264, 'k': 5760}" },
    { "gemm", "few", "{'m': 9, 'n': 520, 'k': 5760}" },
    { "gemm", "few", "{'m': 19, 'n': 520, 'k': 3456}" },
    { "gemm", "few", "{'m': 8, 'n': 16904, 'k': 1152}" },
    { "gemm", "few", "{'m': 16, 'n': 16904, 'k': 1152}" },
    { "gemm", "few", "{'m': 32, 'n': 16904, 'k': 1152}" },
    /* rows of one entry, of none, of more than a block takes; vectors of 1, 2 and 4 columns */
    { "spmm", "", "{'matrix': 'gen:powerlaw,m=701,mean=9,empty=.1', 'n': 1, 'dtype': 'f32'}" },
    { "spmm", "", "{'matrix': 'gen:powerlaw,m=701,mean=9,empty=.1', 'n': 2, 'dtype': 'f32'}" },
    { "spmm", "", "{'matrix': 'gen:longrow,m=70,k=9000,mean=1200,width=1000', 'n': 3, "
                  "'dtype': 'f32'}" },
    { "spmm", "", "{'matrix': 'gen:longrow,m=70,k=9000,mean=1200,width=1000', 'n': 4, "
                  "'dtype': 'f32'}" },
    { "spmm", "", "{'matrix': 'gen:hub,m=901,mean=4,width=2,hubs=3,share=.9,spill=.2', 'n': 16, "
                  "'dtype': 'f32'}" },
    { "spmm", "", "{'matrix': 'gen:hub,m=901,mean=4,width=2,hubs=3,share=.9,spill=.2', 'n': 33, "
                  "'dtype': 'f32'}" },
    { "spmm", "", "{'matrix': 'gen:blockdiag,m=512,block=8', 'n': 128, 'dtype': 'f32'}" },
    { "spmm", "own", "{'matrix': 'gen:uniform,m=333,mean=20,width=19,empty=.3', 'n': 8, "
                     "'dtype': 'f32'}" },
    { "spmm", "own", "{'matrix': 'gen:uniform,m=333,mean=20,width=19,empty=.3', 'n': 64, "
                     "'dtype': 'f32'}" },
    { "spmm", "own", "{'matrix': 'gen:uniform,m=333,mean=20,width=19,empty=.3', 'n': 256, "
                     "'dtype': 'f32'}" },
    { "spmm", "own_mma", "{'matrix': 'gen:blockdiag,m=2048,block=64', 'n': 128, 'dtype': 'f16'}" },
    { "spmm", "own_mma", "{'matrix': 'gen:blockdiag,m=2048,block=64', 'n': 128, "
                         "'dtype': 'tf32'}" },
    { "quant", "", "{'kernel': 'plain', 'm': 3, 'n': 1000}" },
    { "quant", "", "{'kernel': 'plain', 'm': 2, 'n': 8192}" },
    { "quant", "", "{'kernel': 'norm', 'm': 5, 'n': 4104}" },
    { "quant", "", "{'kernel': 'add_norm', 'm': 5, 'n': 4096}" },
    { "quant", "", "{'kernel': 'add_norm', 'm': 2, 'n': 28672}" },
    { "quant", "", "{'kernel': 'silu', 'm': 3, 'n': 11008}" },
    { "quant", "", "{'kernel': 'add', 'm': 3, 'n': 264}" },
    { "quant", "", "{'kernel': 'rope_kv', 'm': 34, 'length': 17, 'heads': 6, 'kv_heads': 1, "
                   "'head_dim': 96, 'page': 32, 'bits': 4}" },
    { "quant", "", "{'kernel': 'rope_kv', 'm': 3, 'heads': 32, 'kv_heads': 8, 'head_dim': 128, "
                   "'page': 64, 'bits': 8}" },
    { "attn", "", "{'batch': 2, 'heads': 8, 'kv_heads': 2, 'head_dim': 128, 'length': 257, "
                  "'page': 64, 'spread': 50}" },
    { "attn", "", "{'batch': 1, 'heads': 9, 'kv_heads': 1, 'head_dim': 128, 'length': 1100, "
                  "'page': 64}" },
    { "attn", "", "{'batch': 2, 'heads': 4, 'kv_heads': 4, 'head_dim': 64, 'length': 130, "
                  "'page': 64}" },
    { "attn", "", "{'batch': 3, 'heads': 6, 'kv_heads': 3, 'head_dim': 96, 'length': 200, "
                  "'page': 16, 'spread': 70}" },
    { "attn_prefill", "", "{'batch': 1, 'heads': 4, 'kv_heads': 2, 'head_dim': 128, "
                          "'length': 320, 'page': 64}" },
    { "attn_prefill", "", "{'batch': 2, 'heads': 2, 'kv_heads': 1, 'head_dim': 64, "
                          "'length': 144, 'page': 48}" },
    { "attn_prefill", "", "{'batch': 1, 'heads': 3, 'kv_heads': 1, 'head_dim': 96, "
                          "'length': 192, 'page': 64}" },
    { "gnn", "", "{'graph': 'gen:powerlaw,m=301,mean=9,empty=.1', 'model': 'gcn', "
                 "'features': 36, 'hidden': 16, 'classes': 8, 'pass': 'train'}" },
    { "gnn", "", "{'graph': 'gen:hub,m=301,mean=4,width=2,hubs=3,share=.9,spill=.2', "
                 "'model': 'sage', 'features': 20, 'hidden': 256, 'classes': 44, "
                 "'pass': 'train'}" },
    { "gnn", "", "{'graph': 'gen:rmat,m=256,mean=8', 'model': 'gin', 'features': 100, "
                 "'hidden': 12, 'classes': 48, 'pass': 'forward'}" },
    { "rgcn", "", "{'graph': 'gen:relations,nodes=300,edges=2500,relations=5,seed=1', "
                  "'features': 16, 'hidden': 64, 'classes': 16}" },
    { "rgcn", "", "{'graph': 'gen:relations,nodes=300,edges=2500,relations=5,seed=1', "
                  "'features': 36, 'hidden': 100, 'classes': 20}" },
    { "rgcn", "", "{'graph': 'gen:relations,nodes=500,edges=6000,relations=40,seed=2,hubs=.5', "
                  "'features': 128, 'hidden': 64, 'classes': 32}" },
    { "kmap", "", "{'scan': '@', 'maps': 'k3s1'}" },
    { "kmap", "", "{'scan': '@', 'maps': 'k2s2'}" },
    { "kmap", "", "{'scan': '@', 'maps': 'k3s2'}" },
    { "kmap", "", "{'scan': '@', 'maps': 'k131'}" },
    { "kmap", "", "{'scan': '@', 'maps': 'minkunet'}" },
    { "kmap", "", "{'scan': 'nuscenes_1f', 'maps': 'centerpoint', 'task': 'detection'}" },
    { "flatten", "", "{'pillars': 145, 'window': 9, 'group': 69}" },
    { "flatten", "", "{'pillars': 5000, 'window': 13, 'group': 144}" },
    { "group_attn", "", "{'pillars': 145, 'window': 9, 'group': 69}" },
    { "group_attn", "", "{'pillars': 300, 'window': 13, 'group': 144}" },
    { "group_attn", "", "{'pillars': 300, 'window': 5, 'group': 21}" },
    { "encoder", "", "{'pillars': 145, 'window': 9, 'group': 69, 'layers': 2}" },
    { "encoder", "", "{'pillars': 300, 'window': 13, 'group': 144, 'layers': 3}" },
    /* our forms change with how often blocks go round */
    { "encoder", "own", "{'pillars': 9000, 'window': 13, 'group': 144, 'layers': 1}" },
    { "encoder", "own", "{'pillars': 26000, 'window': 9, 'group': 69, 'layers': 1}" },
    { "spconv", "", "{'scan': '@', 'cin': 64, 'cout': 64}" },
    { "spconv", "", "{'scan': '@', 'cin': 64, 'cout': 64, 'pass': 'dgrad'}" },
    { "spconv", "", "{'scan': '@', 'cin': 64, 'cout': 64, 'pass': 'wgrad'}" },
    { "spconv", "", "{'scan': '@', 'cin': 64, 'cout': 64, 'precision': 'tf32'}" },
    { "spconv", "", "{'scan': '@', 'cin': 32, 'cout': 32, 'precision': 'f32'}" },
    { "spconv", "", "{'scan': '@', 'cin': 4, 'cout': 32}" },
    { "spconv", "", "{'scan': '@', 'cin': 32, 'cout': 32, 'pass': 'wgrad'}" },
    { "spconv", "", "{'scan': '@', 'cin': 96, 'cout': 96}" },
    { "spconv", "", "{'scan': '@', 'cin': 128, 'cout': 256, 'layer': 'down'}" },
    { "spconv", "", "{'scan': '@', 'cin': 256, 'cout': 128, 'layer': 'up', 'pass': 'wgrad'}" },
    { "sparse_net", "", "{'scan': '@', 'network': 'minkunet_0.5x', 'samples': 1}" },
    { "sparse_net", "", "{'scan': '@', 'network': 'minkunet_1x', 'samples': 1, 'voxels': 300}" },
    { "sparse_net", "", "{'scan': '@', 'network': 'minkunet_0.5x', 'pass': 'train', 'batch': 2, "
                        "'samples': 1, 'voxels': 300}" },
    { "sparse_net", "", "{'scan': 'nuscenes_1f', 'network': 'centerpoint', 'samples': 1, "
                        "'voxels': 400}" },
    { "pillar_net", "", "{'points': 1500}" },
    { "bev", "", "{'side': 18, 'net': 'flatformer'}" },
    { "bev", "", "{'side': 64, 'net': 'flatformer'}" },
    { "bev", "", "{'side': 34, 'net': 'centerpoint'}" },
    { "boxes", "", "{'side': 20, 'objects': 9, 'net': 'flatformer'}" },
    { "boxes", "", "{'side': 100, 'objects': 60, 'net': 'centerpoint'}" },
};
enum { TINY_CASES = sizeof tiny_cases / sizeof *tiny_cases };

static inline bool test_tiny(void)
{
    const char *given = getenv("TEST_TINY");
    return given && strcmp(given, "0");
}

/* The part of the cases that TEST_TINY names; returns how many parts there are. */
static inline int tiny_parts(int *part)
{
    const char *given = getenv("TEST_TINY");
    int parts;
    if (given && sscanf(given, "%d/%d", part, &parts) == 2 && *part >= 0 && *part < parts)
        return parts;
    *part = 0;
    return 1;
}

/* Rows that are a library's kernels, or those and one of ours that other rows have too. */
static inline bool tiny_leaves(const struct op_impl *i)
{
    static const char *const begin[] = { "cusparse_", "cublas_f16", "cublas_gathered",
                                         "cublaslt_", "bev_cudnn" };
    for (size_t k = 0; k < sizeof begin / sizeof *begin; k++)
        if (!strncmp(i->name, begin[k], strlen(begin[k])))
            return true;
    return i->sm_min == 0; /* of the host */
}

/* The parameter struct of a case, which the caller frees; scan: what "@" stands for. */
static inline void *tiny_params(const struct tiny_case *t, const struct cb_op *op, const char *scan)
{
    char text[512];
    size_t n = 0;
    for (; t->params[n] && n < sizeof text - 1; n++)
        text[n] = t->params[n] == '\'' ? '"' : t->params[n];
    text[n] = 0;
    json_t *j = json_loads(text, 0, NULL);
    void *p = calloc(1, op->params_size);
    const char *given = json_string_value(json_object_get(j, "scan"));
    if (given && !strcmp(given, "@"))
        json_object_set_new(j, "scan", json_string(scan));
    const bool read = j && p && !cb_params_from_json(op, j, p);
    CHECK(read);
    if (!read)
        printf("%s %s: %s\n", t->op, t->params, cb_error_text());
    json_decref(j);
    return p;
}

/* "kitti:PATH" of a scan that the caller unlinks behind the colon. */
static inline void tiny_scan(char name[64])
{
    snprintf(name, 64, "kitti:/tmp/tiny_%ld.bin", (long)getpid());
    sparse_net_scan(name, 700);
}

enum { TINY_ROWS = 160 };

/* The rows of a case into impl [TINY_ROWS], ended by NULL; their places in the operator's table. */
static inline int tiny_rows(const struct tiny_case *t, const struct cb_op *op,
                            const struct op_impl **impl, int *place)
{
    const struct op_impl *i;
    int count = 0;
    for (int k = 0; count < TINY_ROWS - 1 && (i = op->impl(k)); k++)
        if (!tiny_leaves(i) && strstr(i->name, t->rows)) {
            place[count] = k;
            impl[count++] = i;
        }
    impl[count] = NULL;
    return count;
}

/* Runs one case, if it is of the part; turns [2 * TINY_ROWS]: rows that ran are counted. */
static inline void tiny_run(struct cb_device *d, const struct tiny_case *t, const char *scan,
                            int *turns)
{
    static const struct cb_policy policy = { .name = "exact", .invocations = 1, .rotate_l2 = 2,
                                             .flush_l2 = 3, .executions_max = 64 };
    struct cb_context c = { .device = d, .policy = &policy, .cache = CB_HOT, .seed = 11,
                            .order_seed = 5, .once = true, .aa = -1 };
    const struct cb_op *op = suite_op(t->op);
    const struct op_impl *impl[TINY_ROWS];
    static int next;
    struct cb_case out;
    int place[TINY_ROWS], part;
    const int parts = tiny_parts(&part);
    if (next++ % parts != part)
        return;
    void *p = tiny_params(t, op, scan);
    printf("%s %s\n", t->op, t->params); /* before: what hangs is known by its last line */
    fflush(stdout);
    tiny_rows(t, op, impl, place);
    const int lost = cb_run_case(&c, op, p, impl, &out);
    CHECK(!lost && out.status == CB_OK);
    if (lost || out.status != CB_OK)
        printf("failed: %s %s: %s\n", t->op, t->params, lost ? cb_error_text() : out.reason);
    for (int k = 0; k < out.count; k++)
        turns[place[k]] += out.out[k].status == CB_OK ||
                           (impl[k]->flags & OP_KNOWN_WRONG && out.out[k].status == CB_WRONG);
    cb_case_free(&out);
    free(p);
    if (lost) /* what follows would fail for that */
        exit(1);
}

/* Runs the cases of an operator; at the end every row that the GPU can run has had a turn, if
   the cases are not of one part. */
static inline void tiny_op(struct cb_device *d, const char *name)
{
    const struct cb_op *op = suite_op(name);
    const struct op_impl *i;
    const int sm = cb_device_info(d)->sm;
    int turns[2 * TINY_ROWS] = { 0 };
    char scan[64];
    int part;
    tiny_scan(scan);
    for (int t = 0; t < TINY_CASES; t++)
        if (!strcmp(tiny_cases[t].op, name))
            tiny_run(d, &tiny_cases[t], scan, turns);
    for (int k = 0; tiny_parts(&part) == 1 && (i = op->impl(k)); k++) {
        const bool had = tiny_leaves(i) || sm < i->sm_min || sm > i->sm_max || turns[k];
        CHECK(had);
        if (!had)
            printf("%s: %s had no turn\n", name, i->name);
    }
    unlink(scan + strlen("kitti:"));
}

#endif
