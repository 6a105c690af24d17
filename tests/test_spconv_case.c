/*
 * test_spconv_case.c - spconv bound to the harness, on the host: layers of the networks on a
 * small scan, whole cases, and whether the comparison finds what is wrong.
 */
#include <stdlib.h>
#include <unistd.h>

#include "../harness/bench.h"
#include "../harness/error.h"
#include "../harness/params.h"
#include "../kernels/spconv/spconv.h"
#include "../suites/suite.h"
#include "test.h"

static const struct cb_policy policy = { .name = "exact", .invocations = 1, .rotate_l2 = 2,
                                         .flush_l2 = 3, .executions_max = 64 };
static char scan[64];

/* A bent wall and strays, 600 points in 6 m. */
static void write_scan(void)
{
    FILE *f = fopen(scan + strlen("kitti:"), "wb");
    for (int i = 0; i < 600; i++) {
        const float a = (float)(i % 40) * .06f, b = (float)(i / 40) * .05f;
        const float p[4] = { a, i % 7 ? sinf(a) : (float)(i % 91) * .07f, b, (float)i / 600 };
        fwrite(p, sizeof p, 1, f);
    }
    fclose(f);
}

static void *params_of(json_t *j)
{
    const struct cb_op *op = suite_op("spconv");
    void *p = calloc(1, op->params_size);
    CHECK(!cb_params_from_json(op, j, p));
    json_decref(j);
    return p;
}

static json_t *problem(const char *layer, int stride, int cin, int cout, const char *precision,
                       const char *pass)
{
    return json_pack("{s:s,s:s,s:i,s:i,s:i,s:s,s:s}", "scan", scan, "layer", layer, "stride", stride,
                     "cin", cin, "cout", cout, "precision", precision, "pass", pass);
}

static void try_case(struct cb_context *c, json_t *j)
{
    const struct cb_op *op = suite_op("spconv");
    const struct op_impl *impl[64] = { NULL }, *i;
    struct cb_case out;
    void *p = params_of(j);
    int count = 0, ran = 0;
    for (int t = 0; count < 63 && (i = op->impl(t)); t++)
        impl[count++] = i;
    CHECK(count > 20);
    CHECK(!cb_run_case(c, op, p, impl, &out));
    CHECK(out.status == CB_OK);
    if (out.status != CB_OK)
        printf("%s\n", out.reason);
    for (int o = 0; o < out.count; o++) {
        const struct cb_outcome *row = &out.out[o];
        if (row->impl->role != OP_REFERENCE)
            continue;
        ran++;
        CHECK(row->status == CB_OK && row->r1.compared && !row->r1.bad);
        CHECK(!c->exact || row->r1.max_abs == 0);
        CHECK(row->work.flops > 0 && row->work.bytes_min > row->work.weight_bytes);
    }
    CHECK(ran == 1 && out.statistic_count == 4 && out.input_count >= 3);
    cb_case_free(&out);
    free(p);
}

/* One element of the result off: the comparison of either kind must see it. */
static void try_finding(struct cb_context *c, bool exact)
{
    const struct cb_op *op = suite_op("spconv");
    void *p = params_of(problem("same", 2, 8, 8, "f32", "forward")), *in, *b;
    const struct op_impl *ref = op->impl(0);
    struct cb_region y;
    struct cb_accuracy r1 = { 0 }, r2 = { 0 };
    double limit;
    float v;
    c->exact = exact;
    CHECK(!op->open(c, p, &in) && !op->prepare(c, in, 1, 1) && !op->bind(c, in, ref, &b));
    CHECK(op->outputs(b, 0, 0, &y, 1) == 1);
    CHECK(!op->run(b, 0, 0) && !op->expect(c, in, 0, 0) && !cb_sync(c->device));
    CHECK(!op->check(c, b, 0, 0, &r1, &r2, &limit) && !r1.bad);
    float *last = (float *)y.data + y.bytes / sizeof v - 1;
    CHECK(!cb_download(c->device, &v, last, sizeof v));
    v += exact ? 1 : .01f;
    CHECK(!cb_upload(c->device, last, &v, sizeof v));
    r1 = (struct cb_accuracy){ 0 };
    CHECK(!op->check(c, b, 0, 0, &r1, &r2, &limit) && r1.bad == 1);
    op->unbind(b);
    op->close(in);
    free(p);
}

static void try_refusals(struct cb_context *c)
{
    const struct cb_op *op = suite_op("spconv");
    void *p = params_of(problem("same", 3, 8, 8, "f32", "forward")), *in;
    CHECK(op->open(c, p, &in) && strstr(cb_error_text(), "stride 3"));
    free(p);
    p = params_of(problem("down", 16, 8, 8, "f32", "forward"));
    CHECK(op->open(c, p, &in));
    free(p);
    json_t *j = problem("same", 1, 8, 8, "f32", "forward");
    json_object_set_new(j, "scan", json_string("kitti:/nowhere.bin"));
    p = params_of(j);
    CHECK(op->open(c, p, &in));
    free(p);
}

int main(void)
{
    struct cb_context c = { .policy = &policy, .cache = CB_HOT, .seed = 11, .order_seed = 5,
                            .once = true, .aa = -1 };
    static const char *const layer[] = { "same", "down", "up" };
    static const char *const pass[] = { "forward", "dgrad", "wgrad" };
    static const char *const precision[] = { "f16", "tf32", "f32" };
    snprintf(scan, sizeof scan, "kitti:/tmp/spconv_case_%ld.bin", (long)getpid());
    write_scan();
    CHECK(!cb_device_open("host", &c.device));
    for (int l = 0; l < 3; l++)
        for (int p = 0; p < 3; p++)
            for (int t = 0; t < 3; t++)
                for (int exact = 0; exact < 2; exact++) {
                    c.exact = exact;
                    try_case(&c, problem(layer[l], 1 << p, 6, 10, precision[t], pass[p]));
                }
    try_finding(&c, true);
    try_finding(&c, false);
    try_refusals(&c);
    cb_device_close(c.device);
    unlink(scan + strlen("kitti:"));
    return TEST_END();
}
