/*
 * test_quant_rows.c - operator quant without a GPU: definitions on small rows by hand, faults
 * that the comparison must find, shapes of the kernels, their bit tricks over all inputs.
 */
#include <math.h>
#include <stdlib.h>

#include "../harness/bench.h"
#include "../harness/error.h"
#include "../harness/params.h"
#include "../kernels/gemm/quantise.h"
#include "../kernels/quant/cache.h"
#include "../kernels/quant/lean.h"
#include "../kernels/quant/shape.h"
#include "../suites/suite.h"
#include "test.h"

/* ---- definitions ---- */

static void test_norm(void)
{
    /* mean square 4: the root is 1/2 but for eps */
    const half_bits x[4] = { 0x4000, 0xC000, 0x4000, 0x4000 };    /* 2 -2 2 2 */
    const half_bits gain[4] = { 0x3C00, 0x4000, 0xB800, 0x0000 }; /* 1 2 -1/2 0 */
    signed char code[4];
    half_bits scale, sum;
    int code_sum;
    const struct quant_problem p = { .kernel = QUANT_NORM, .m = 1, .n = 4 };
    const struct quant_args a = {
        .x = x, .gain = gain, .code = code, .scale = &scale, .sum = &sum, .code_sum = &code_sum
    };
    CHECK(quant_references[0].run(&p, &a, NULL, NULL) == OP_OK);
    CHECK(code[0] == 64 && code[1] == -127 && code[2] == -32 && code[3] == 0); /* 63.5 to even */
    CHECK(scale == half_from_float(2.0f / 127) && code_sum == -95);
    CHECK_NEAR((double)half_to_float(sum), -1.5, 1e-6);
}

static void test_silu(void)
{
    const half_bits x[4] = { 0x0000, 0x4900, 0x3C00, 0x3C00 }; /* gates 0, 10; up 1, 1 */
    double v[2];
    const struct quant_problem p = { .kernel = QUANT_SILU, .m = 1, .n = 2 };
    const struct quant_args a = { .x = x };
    quant_ref_row(&p, &a, 0, v);
    CHECK(v[0] == 0);
    CHECK_NEAR(v[1], 10 / (1 + exp(-10.0)), 1e-12);
}

/* A turn keeps lengths, and by a quarter swaps the halves of a head. */
static void test_turn(void)
{
    half_bits x[96];
    float rotation[64];
    double v[96];
    for (int i = 0; i < 96; i++)
        x[i] = half_from_float((float)(i % 7) - 3);
    for (int i = 0; i < 32; i++)
        rotation[2 * i] = i % 16 ? 0.6f : 0, rotation[2 * i + 1] = i % 16 ? 0.8f : 1;
    const struct quant_problem p = { QUANT_ROPE_KV, 2, 96, 1, 1, 32, 4, 16, 2 };
    const struct quant_args a = { .x = x, .rotation = rotation };
    quant_ref_row(&(struct quant_problem){ QUANT_ROPE_KV, 1, 96, 1, 1, 32, 4, 16, 1 }, &a, 0, v);
    CHECK(quant_valid(&p) == OP_OK);
    for (int h = 0; h < 2; h++) {
        const half_bits *from = x + 32 * h;
        const double *to = v + 32 * h;
        CHECK(to[0] == -(double)half_to_float(from[16]) &&
              to[16] == (double)half_to_float(from[0]));
        for (int d = 0; d < 16; d++)
            CHECK_NEAR(hypot(to[d], to[d + 16]),
                       hypot((double)half_to_float(from[d]), (double)half_to_float(from[d + 16])),
                       1e-6);
    }
    for (int d = 64; d < 96; d++)
        CHECK(v[d] == (double)half_to_float(x[d]));
}

/* ---- planted faults: the reference with one thing wrong ---- */

enum fault {
    NONE,
    CODE,
    SCALE,
    SUM,
    CODE_SUM,
    ROW,
    KEPT,
    PAGE,
    PAGE_SCALE,
    PAGE_BEYOND,
    TURNED,
    NO_ROOT,
    LARGEST,
    FAULTS
};
static enum fault fault;

static enum op_status faulty(const struct quant_problem *p, const struct quant_args *a, void *state,
                             op_stream s)
{
    const size_t n = (size_t)p->n, last = (size_t)p->m - 1;
    half_bits *scale = (half_bits *)a->scale, *sum = (half_bits *)a->sum, *y = (half_bits *)a->y;
    signed char *kept = fault == ROW ? malloc(n) : NULL;
    if (kept)
        memcpy(kept, a->code + last * n, n);
    const enum op_status status = quant_references[0].run(p, a, state, s);
    unsigned char *page = p->kernel == QUANT_ROPE_KV ? (unsigned char *)a->page[0] : NULL;
    const size_t data = page ? attn_scale_at(p->bits == 4 ? ATTN_KV4 : ATTN_KV8, p->kv_heads,
                                             p->head_dim, p->page, 0, 0)
                             : 0;
    switch (fault) {
    case CODE:
        a->code[last * n + n / 2] += a->code[last * n + n / 2] > 0 ? -1 : 1;
        break;
    case SCALE:
        scale[last] += 2;
        break;
    case SUM:
        sum[last] += 8;
        break;
    case CODE_SUM:
        a->code_sum[last]++;
        break;
    case ROW:
        memcpy(a->code + last * n, kept, n);
        break;
    case KEPT:
        y[last * n + n - 1] ^= 1;
        break;
    case PAGE:
        page[0] ^= 1;
        break;
    case PAGE_SCALE:
        page[data] ^= 1;
        break;
    case PAGE_BEYOND:
        page[data - 1] ^= 1;
        break;
    case TURNED:
        y[1] += 3;
        break;
    case NO_ROOT: /* as if one square were missing from the sum of a row */
    case LARGEST:
        for (size_t j = 0; j < n; j++)
            a->code[j] = (signed char)(a->code[j] * (fault == LARGEST ? 126 : 125) / 127);
        break;
    default:
        break;
    }
    free(kept);
    return status;
}

static enum op_status all(const struct quant_problem *p, const char **why)
{
    (void)p, (void)why;
    return OP_OK;
}

static enum cb_status status_with(struct cb_context *c, enum fault f, const char *kernel, int m,
                                  int n, bool exact)
{
    static const struct quant_impl impl = {
        .base = { .name = "faulty", .title = "faulty", .origin = "test", .role = OP_OWN },
        .code_sums = 1,
        .supports = all,
        .run = faulty
    };
    const struct op_impl *list[] = { &impl.base, NULL };
    const struct cb_op *op = suite_op("quant");
    const bool rotates = !strcmp(kernel, "rope_kv");
    json_t *json = rotates ? json_pack("{s:s,s:i,s:i,s:i,s:i,s:i}", "kernel", kernel, "m", m,
                                       "heads", 4, "kv_heads", 2, "head_dim", 64, "length", m)
                           : json_pack("{s:s,s:i,s:i}", "kernel", kernel, "m", m, "n", n);
    void *params = calloc(1, op->params_size);
    struct cb_case out;
    enum cb_status status = CB_CRASHED;
    c->exact = exact;
    fault = f;
    CHECK(!cb_params_from_json(op, json, params));
    if (!cb_run_case(c, op, params, list, &out)) {
        status = out.out[0].status;
        cb_case_free(&out);
    }
    free(params);
    json_decref(json);
    return status;
}

static void test_faults(void)
{
    static const char *const rows[] = { "plain", "norm", "add_norm", "silu" };
    static const enum fault of_rows[] = { CODE, SCALE, SUM, CODE_SUM, ROW, NO_ROOT, LARGEST };
    static const enum fault of_pages[] = { PAGE, PAGE_SCALE, PAGE_BEYOND, TURNED };
    const struct cb_policy policy = {
        .name = "test", .invocations = 1, .rotate_l2 = 2, .flush_l2 = 3, .executions_max = 64
    };
    struct cb_context c = {
        .policy = &policy, .cache = CB_HOT, .seed = 7, .order_seed = 5, .once = true, .aa = -1
    };
    CHECK(!cb_device_open("host", &c.device));
    for (int exact = 0; exact < 2; exact++) {
        for (size_t k = 0; k < 4; k++) {
            CHECK(status_with(&c, NONE, rows[k], 3, 200, exact) == CB_OK);
            for (size_t f = 0; f < sizeof of_rows / sizeof *of_rows; f++) {
                const bool found = status_with(&c, of_rows[f], rows[k], 3, 200, exact) == CB_WRONG;
                CHECK(found);
                if (!found)
                    printf("  %s, exact %d: fault %d\n", rows[k], exact, (int)of_rows[f]);
            }
        }
        CHECK(status_with(&c, KEPT, "add", 3, 200, exact) == CB_WRONG);
        CHECK(status_with(&c, KEPT, "add_norm", 3, 200, exact) == CB_WRONG);
        CHECK(status_with(&c, NONE, "rope_kv", 5, 0, exact) == CB_OK);
        for (size_t f = 0; f < sizeof of_pages / sizeof *of_pages; f++)
            CHECK(status_with(&c, of_pages[f], "rope_kv", 5, 0, exact) == CB_WRONG);
    }
    /* rows drawn at random from more than are compared */
    CHECK(status_with(&c, NONE, "plain", 3000, 1400, false) == CB_OK);
    cb_device_close(c.device);
}

/* ---- shapes ---- */

static bool is_built(const struct quant_shape *s)
{
#define PAIR(vectors, blocks) { vectors, blocks },
    static const int built[][2] = { QUANT_EACH_SHAPE(PAIR) };
#undef PAIR
    for (size_t i = 0; i < sizeof built / sizeof *built; i++)
        if (built[i][0] == s->vectors && built[i][1] == s->blocks)
            return true;
    return false;
}

/* Every vector of a row belongs to one thread; the shapes chosen are among those compiled. */
static void test_shapes(void)
{
    static const int ms[] = { 1, 16, 64, 300, 1000, 5000 };
    long wrong = 0;
    for (size_t i = 0; i < 4 * (sizeof ms / sizeof *ms); i++)
        for (int n = 8; n <= 65536; n += n < 20000 ? 8 : 1048) {
            const struct quant_problem p = { .kernel = (enum quant_kernel)(i % 4),
                                             .m = ms[i / 4],
                                             .n = n };
            const struct quant_shape s = quant_shape_of(&p);
            wrong += s.threads < 32 || s.threads > QUANT_THREADS_MAX || s.threads % 32 ||
                     !is_built(&s) || !quant_has_form(p.kernel, s.form);
            wrong += (long)s.threads * s.vectors * s.blocks * QUANT_VECTOR < n;
        }
    CHECK(wrong == 0);
    unsigned char seen[2000] = { 0 };
    const struct quant_shape s = quant_shape_with(11008, 2, 2, QUANT_ONCE);
    for (int v = 0; v < s.vectors; v++)
        for (int b = 0; b < s.blocks; b++)
            for (int t = 0; t < s.threads; t++)
                seen[(v * s.blocks + b) * s.threads + t]++;
    for (int i = 0; i < 11008 / QUANT_VECTOR; i++)
        wrong += seen[i] != 1;
    CHECK(wrong == 0);
}

/* ---- bit tricks of the kernels ---- */

static uint32_t bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* __byte_perm */
static uint32_t permute(uint32_t a, uint32_t b, uint32_t selector)
{
    const uint64_t both = (uint64_t)b << 32 | a;
    uint32_t to = 0;
    for (int i = 0; i < 4; i++)
        to |= (uint32_t)(both >> (selector >> 4 * i & 7) * 8 & 0xff) << 8 * i;
    return to;
}

static uint32_t low_bytes(const uint32_t *w)
{
    return permute(permute(w[0], w[1], 0x0040), permute(w[2], w[3], 0x0040), 0x5410);
}

/* Adding 1.5 2^23 rounds as rint does and leaves the code in the low byte. */
static void test_codes(void)
{
    long wrong = 0;
    for (int i = -32767; i <= 32767; i++) {
        const float t = (float)i / 256; /* every tie among them */
        const volatile float sum = t + 12582912.0f;
        wrong += (signed char)(bits(sum) & 0xff) != (signed char)rintf(fminf(t, 127));
    }
    CHECK(wrong == 128);                    /* those beyond 127.5: the kernels have none */
    for (unsigned h = 0; h < 0x7c00; h++) { /* every half as v, and as the largest */
        const float v = half_to_float((half_bits)h), most = half_to_float((half_bits)(h | 0x03ff));
        const volatile float product = v * ((float)W8_TOP / int_range(most));
        const volatile float sum = product + 12582912.0f;
        wrong += (signed char)(bits(sum) & 0xff) != int_x_code(v, most, W8_TOP);
    }
    CHECK(wrong == 128);
    const uint32_t w[4] = { 0x4B400011, 0x4B3FFF22, 0x4B400033, 0x4B4000F4 };
    CHECK(low_bytes(w) == 0xF4332211);
}

/* Every mantissa: other exponents scale all numbers of the quotient. */
static void test_quotient(void)
{
    static const float levels[] = { 15, 127, 255 };
    for (int l = 0; l < 3; l++) {
        const float one = 1 / levels[l];
        long wrong = 0;
#pragma omp parallel for reduction(+ : wrong)
        for (uint32_t i = 0; i < 1 << 23; i++) {
            const float range = half_bits_float(0x3f800000 | i), want = levels[l] / range;
            const uint32_t near = bits(1 / range);
            for (uint32_t off = 0; off < 3; off++) /* what hardware may say is 1 / range */
                wrong += bits(quant_quotient(levels[l], range, half_bits_float(near + off - 1))) !=
                         bits(want);
            wrong += bits(quant_quotient(range, levels[l], one)) != bits(range / levels[l]);
        }
        CHECK(wrong == 0);
    }
    CHECK(bits(quant_quotient(15, 1.1f, 0.5f)) != bits(15 / 1.1f)); /* far off, it shows */
}

/* HalfTotal of lean.cuh: where m16n8k16 has the halves of a lane, and where it leaves its sums. */
static void test_half_total(void)
{
    float a[16][16], d[16][8], c[32], want = 0;
    for (int lane = 0; lane < 32; lane++)
        for (int t = 0; t < 8; t++) { /* word t / 2: rows lane / 4 and 8 further, columns too */
            const int row = lane / 4 + 8 * (t / 2 % 2), column = lane % 4 * 2 + 8 * (t / 4) + t % 2;
            want += a[row][column] = (float)(exact_word(3, (uint64_t)(8 * lane + t)) % 1000);
        }
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 8; j++) {
            d[i][j] = 0;
            for (int k = 0; k < 16; k++)
                d[i][j] += a[i][k];
        }
    for (int lane = 0; lane < 32; lane++)
        c[lane] = d[lane / 4][lane % 4 * 2] + d[lane / 4 + 8][lane % 4 * 2];
    for (int distance = 4; distance < 32; distance *= 2) {
        float next[32];
        for (int lane = 0; lane < 32; lane++)
            next[lane] = c[lane] + c[lane ^ distance];
        memcpy(c, next, sizeof c);
    }
    for (int lane = 0; lane < 32; lane++)
        CHECK_NEAR((double)c[lane], (double)want, 0);
}

/* Every gate beside small, large and ordinary ones: the value, times the largest half, is that of
 * the definition but for 2^-18 of it, or both are 0 as halves. */
static void test_lean_silu(void)
{
    static const half_bits beside[] = { 0, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF, 0x4A40, 0xCA40, 0xD140 };
    long wrong = 0;
    for (uint32_t h = 0; h < 1 << 16; h++)
        for (size_t b = 0; (h & 0x7c00) != 0x7c00 && b < sizeof beside / sizeof *beside; b++) {
            const double gate = (double)half_to_float((half_bits)h);
            const double want = gate / (1 + exp(-gate)) * 65504;
            float x = half_to_float((half_bits)h), y = half_to_float(beside[b]);
            const float other = y;
            if (b % 2)
                lean_silu(&x, &y);
            else
                lean_silu(&y, &x);
            const double got = (double)(x * 65504.0f), least = 0x1p-25;
            wrong += fabs(got - want) > 0x1p-18 * fabs(want) &&
                     (fabs(got) > least || fabs(want) > least);
            wrong += !(fabs((double)y) <= fabs((double)other)); /* nor is the other one lost */
        }
    CHECK(wrong == 0);
}

int main(void)
{
    test_norm();
    test_silu();
    test_turn();
    test_faults();
    test_shapes();
    test_codes();
    test_quotient();
    test_half_total();
    test_lean_silu();
    return TEST_END();
}
