/*
 * gpu_w4a8.c - our W4A8 kernels for few tokens, whatever the rule chooses, on a GPU of compute
 * capability 9.0: on operands that no correct kernel rounds, to the bit, twice, Y poisoned before;
 * on shapes of every number of strips a block and of slices, with groups that warps, fragments and
 * slices do not divide, rings more than once round and launches that overlap.
 *
 * TEST_TINY: the smallest of each kind.
 */
#include "test.h"

#ifdef WITH_CUDA
#include "../kernels/gemm/w4a8.h"
#include "../kernels/gemm/w4a8_stream.h"
#include "../kernels/gemm/w4a8_strips.h"
#include "../tools/gemm_sweep.h"
#include "tiny.h"

/* Kernels, each per channel and of groups. */
enum { STRIPS, STREAM, FORMS = 4 };

static struct gemm_problem problem_of(const struct sweep_layer *l)
{
    return (struct gemm_problem){ l->p.m, l->p.n, l->p.k, l->p.group };
}

/* Whether the layer can have it, which is when the plan says so. */
static bool try_strips(struct sweep_layer *l, bool grouped)
{
    struct gemm_impl row = *sweep_find(grouped ? "w4a8_group_own" : "w4a8_channel_own");
    int wrong = 0;
    row.setup = grouped ? gemm_w4a8_group_strips_setup : gemm_w4a8_channel_strips_setup;
    row.run = gemm_w4a8_strips;
    row.teardown = gemm_w4a8_strips_teardown;
    const struct gemm_problem p = problem_of(l);
    const int sms = cb_device_info(l->c.device)->multiprocessors;
    const int tried = sweep_try(l, &row, NULL, &wrong);
    CHECK(tried == (w4a8_strips_take(&p, grouped, sms) != 0) && !wrong);
    if (wrong)
        printf("strips%s: m %d n %d k %d: wrong\n", grouped ? ", groups" : "", l->p.m, l->p.n,
               l->p.k);
    return tried == 1;
}

/* The same of the kernel that streams slices. */
static bool try_stream(struct sweep_layer *l, bool grouped)
{
    struct gemm_impl row = *sweep_find(grouped ? "w4a8_group_own" : "w4a8_channel_own");
    int wrong = 0;
    row.setup = grouped ? gemm_w4a8_group_stream_setup : gemm_w4a8_channel_stream_setup;
    row.run = gemm_w4a8_stream;
    row.teardown = gemm_w4a8_stream_teardown;
    const struct gemm_problem p = problem_of(l);
    const int sms = cb_device_info(l->c.device)->multiprocessors;
    struct w4a8_stream plan;
    const int tried = sweep_try(l, &row, NULL, &wrong);
    CHECK(tried == !w4a8_stream_plan(&p, grouped, sms, &plan) && !wrong);
    if (wrong)
        printf("stream%s: m %d n %d k %d: wrong\n", grouped ? ", groups" : "", l->p.m, l->p.n,
               l->p.k);
    return tried == 1;
}

static void try_layer(struct cb_device *d, const int (*shape)[3], int *taken)
{
    static const struct cb_policy policy = {
        .name = "exact", .invocations = 1, .rotate_l2 = 2, .flush_l2 = 3, .executions_max = 64
    };
    static const char *const rows[] = { "w4a8_channel_own", "w4a8_group_own", NULL };
    const int k = (*shape)[2]; /* of parts of a group: per channel only */
    struct sweep_layer l = { .c = { .device = d,
                                    .policy = &policy,
                                    .cache = CB_HOT,
                                    .seed = 11,
                                    .order_seed = 5,
                                    .exact = true,
                                    .aa = -1 },
                             .p = { (*shape)[0], (*shape)[1], k,
                                    k % W4A8_GROUP ? k : W4A8_GROUP } };
    printf("m %d n %d k %d\n", l.p.m, l.p.n, l.p.k); /* before: what hangs is known by it */
    fflush(stdout);
    /* as if there were no cache: two sets */
    const int opened = !sweep_open(&l, rows, 1e12);
    CHECK(opened);
    if (!opened) {
        printf("%s\n", cb_error_text());
        return;
    }
    for (int grouped = 0; grouped < 2; grouped++) {
        taken[2 * STRIPS + grouped] += try_strips(&l, grouped);
        taken[2 * STREAM + grouped] += try_stream(&l, grouped);
    }
    op_gemm.close(l.instance);
}

static void try_all(struct cb_device *d)
{
    /* m, n, k: of 2 to 16 strips a block on 132 multiprocessors, 1 to 113 groups */
    static const int shapes[][3] = {
        { 1, 128, 128 },
        { 8, 264, 384 },
        { 3, 4096, 1152 },
        { 1, 4104, 4096 },
        { 2, 4096, 14336 },
        { 1, 4096, 14464 },
        { 8, 6144, 4096 },
        { 5, 8448, 4224 },
        { 1, 8192, 28672 },
        { 7, 10240, 2048 },
        { 2, 12600, 8192 },
        { 4, 14776, 1408 },
        { 6, 16384, 4096 },
        { 8, 20480, 4096 },
        { 1, 25000, 5120 },
        { 1, 28672, 4096 },
        { 8, 28680, 3968 },
        { 3, 33000, 1152 },
        /* slices: 2 to 8, of one group and of many, with more stages than groups and fewer */
        { 9, 8, 256 },
        { 16, 4096, 4096 },
        { 11, 264, 1136 },
        { 15, 4096, 14336 },
        { 9, 4104, 4224 },
        { 13, 6144, 4096 },
        { 16, 10240, 8192 },
        { 16, 8192, 8192 },
        { 16, 16896, 2048 },
        { 12, 8192, 28672 },
    };
    /* launches that come round their rings, and the last group of a few warps only */
    static const int tiny[][3] = {
        { 1, 128, 128 },   { 8, 264, 384 },    { 5, 4096, 4224 },  { 2, 6144, 2688 },
        { 8, 8200, 2048 }, { 1, 10600, 1408 }, { 3, 21000, 1152 }, { 1, 33000, 1152 },
        { 9, 264, 6528 },  { 13, 520, 7168 },  { 16, 8448, 1280 },
    };
    const bool small = test_tiny();
    const int(*shape)[3] = small ? tiny : shapes;
    const int count = small ? sizeof tiny / sizeof *tiny : sizeof shapes / sizeof *shapes;
    int part = 0, taken[FORMS] = { 0 };
    const int parts = tiny_parts(&part);
    for (int i = 0; i < count; i++)
        if (!small || i % parts == part)
            try_layer(d, &shape[i], taken);
    for (int of = 0; of < FORMS; of++) {
        CHECK(taken[of] > 0 || parts > 1);
        printf("%s%s: %d shapes\n", of / 2 == STRIPS ? "strips" : "stream",
               of % 2 ? ", groups" : "", taken[of]);
    }
}
#endif

int main(void)
{
#ifdef WITH_CUDA
    struct cb_device *d = NULL;
    if (cb_device_open("cuda:0", &d)) {
        SKIP("gpu_w4a8: no GPU");
        return TEST_END();
    }
    if (cb_device_info(d)->sm != 90)
        SKIP("gpu_w4a8: needs a GPU of compute capability 9.0");
    else
        try_all(d);
    cb_device_close(d);
#else
    SKIP("gpu_w4a8: built without CUDA");
#endif
    return TEST_END();
}
