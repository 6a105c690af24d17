/*
 * gpu_perplexity.c - models of files on the GPU and on the host: the published model against what
 * is published of it; rows of the project's model on both, calibrated on one and on each.
 *
 * `gpu_perplexity quick` takes fewer windows and rows.
 */
#include <stdlib.h>

#include "../harness/params.h"
#include "../suites/models/llama_machine.h"
#include "../suites/ops/ops.h"
#include "../suites/ops/perplexity_rows.h"
#include "llama_gpu.h"

#ifdef WITH_CUDA
static const char *shared(const char *file, char out[512])
{
    const char *root = getenv("CLAIMBENCH_SHARED");
    snprintf(out, 512, "%s/%s", root ? root : "../shared/data", file);
    return out;
}

static void test_published(struct cb_device *d, bool quick)
{
    char path[512];
    struct checkpoint c;
    struct llama m;
    struct token_set t, greedy;
    double loss[64], mean = 0;
    int out[256];
    const int windows = quick ? 8 : 0;
    if (token_set_load(shared("llm/stories260K_samples_64x512.u16", path), NULL, 512, windows,
                       &t) ||
        token_set_load(shared("llm/stories260K_greedy257.u16", path), NULL, 257, 0, &greedy)) {
        SKIP("gpu_perplexity: stories260K: the test files are not here");
        return;
    }
    ok(checkpoint_load(shared("llm/stories260K.bin", path), &c));
    ok(llama_open(&c, true, &m));
    ok(llama_gpu_open(d, &m.config, false, &m.machine));
    ok(quant_evaluate(&m, &t, NULL, false, loss, NULL));
    for (int i = 0; i < t.count; i++)
        mean += loss[i] / t.count;
    if (!quick) /* published of all windows */
        CHECK_NEAR(mean, 1.298301, 2e-5);
    ok(llama_greedy(&m, greedy.token, 1, 256, out)); /* a token at a time, from the cache */
    CHECK(!memcmp(out, greedy.token + 1, 256 * sizeof *out));
    llama_machine_close(m.machine);
    llama_close(&m);
    checkpoint_free(&c);
    token_set_free(&t);
    token_set_free(&greedy);
}

/* Rows of the project's model that the test compares; in parts of 1. */
static const struct {
    const char *row;
    double near;
    bool quick;
} own_rows[] = { { "fp32", 1e-5, true },        { "rtn", 1e-4, true },
                 { "qoq_1_w8a8", 1e-3, false }, { "qoq_group", 1e-2, true },
                 { "atom_w4a4", 1e-2, false },  { "awq", 3e-3, false } };
enum { OWN_ROWS = sizeof own_rows / sizeof *own_rows };

struct own {
    double perplexity, kl;
};

static struct own own_row(struct cb_context *c, void *instance, const char *row)
{
    struct own o = { NAN, NAN };
    struct cb_figure figure[CB_FIGURES_MAX];
    const struct op_impl *impl = NULL;
    void *bound = NULL;
    for (int i = 0; (impl = op_perplexity.impl(i)) && strcmp(impl->name, row);)
        i++;
    if (!ok(op_perplexity.bind(c, instance, impl, &bound)))
        return o;
    if (ok(op_perplexity.run(bound, 0, 0))) {
        const int n = op_perplexity.figures(bound, figure);
        for (int i = 0; i < n; i++) {
            o.perplexity = strcmp(figure[i].name, "perplexity") ? o.perplexity : figure[i].value;
            o.kl = strcmp(figure[i].name, "kl") ? o.kl : figure[i].value;
        }
    }
    op_perplexity.unbind(bound);
    return o;
}

static void own_machine(struct cb_device *d, const char *machine, bool quick,
                        struct own out[OWN_ROWS])
{
    char json[400];
    struct cb_context c = { .device = d };
    void *params = calloc(1, op_perplexity.params_size), *instance = NULL;
    snprintf(json, sizeof json, "{\"model\": \"own\", \"data\": \"own\", \"windows\": 2, "
             "\"calibration_windows\": 2, \"length\": %d, \"machine\": \"%s\"}",
             quick ? 128 : 256, machine);
    json_t *object = json_loads(json, 0, NULL);
    if (ok(cb_params_from_json(&op_perplexity, object, params)) &&
        ok(op_perplexity.open(&c, params, &instance)))
        for (int i = 0; i < OWN_ROWS; i++)
            if (!quick || own_rows[i].quick) {
                out[i] = own_row(&c, instance, own_rows[i].row);
                printf("  %-8s %-12s perplexity %.6f, kl %.6f, %.1f s\n", machine,
                       own_rows[i].row, out[i].perplexity, out[i].kl, seconds());
            }
    op_perplexity.close(instance);
    json_decref(object);
    free(params);
}

static void test_own(struct cb_device *d, bool quick)
{
    struct own host[OWN_ROWS], gpu[OWN_ROWS], half[OWN_ROWS];
    struct checkpoint c;
    if (checkpoint_load("configs/models/own", &c)) {
        SKIP("gpu_perplexity: configs/models/own is not here");
        return;
    }
    checkpoint_free(&c);
    own_machine(d, "gpu", quick, gpu);
    own_machine(d, "gpu_f16", quick, half);
    own_machine(d, "host", quick, host);
    for (int i = 0; i < OWN_ROWS; i++)
        if (!quick || own_rows[i].quick) {
            CHECK_NEAR(gpu[i].perplexity / host[i].perplexity, 1, own_rows[i].near);
            CHECK_NEAR(half[i].perplexity / host[i].perplexity, 1, own_rows[i].near + 2e-3);
        }
    ok(cb_guards_check(d));
}
#endif

int main(int argc, char **argv)
{
    const bool quick = argc > 1 && !strcmp(argv[1], "quick");
    setvbuf(stdout, NULL, _IOLBF, 0); /* what takes long is known by its last line */
#ifdef WITH_CUDA
    struct cb_device *d;
    if (cb_device_open("cuda:0", &d)) {
        SKIP("gpu_perplexity: no GPU");
        return TEST_END();
    }
    done("device");
    test_published(d, quick);
    done("published");
    test_own(d, quick);
    done("own");
    cb_device_close(d);
#else
    (void)quick;
    SKIP("gpu_perplexity: built without CUDA");
#endif
    return TEST_END();
}
