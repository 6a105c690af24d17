/*
 * test_gemm_layout.c - the published 4-bit formats: every code in exactly one
 * place, words equal to those of a packer that writes codes one after another,
 * and fragments that hold what the tensor cores expect of them.
 */
#include <stdlib.h>

#include "../kernels/common/half.h"
#include "../kernels/gemm/awq_layout.h"
#include "../kernels/gemm/awq_tile.h"
#include "../kernels/gemm/dequant.h"
#include "test.h"

enum { CODES_MAX = 64 * 512 };

static unsigned code_of(int j, int p)
{
    return ((unsigned)j * 2654435761u + (unsigned)p * 40503u) >> 13 & 15;
}

/* ---- packers that write nibble after nibble, for comparison ---- */

struct stream {
    uint32_t word[CODES_MAX / 8];
    size_t count; /* of nibbles */
};

static void put(struct stream *s, unsigned code)
{
    const size_t word = s->count / 8;
    if (s->count % 8 == 0)
        s->word[word] = 0;
    s->word[word] |= code << 4 * (s->count++ % 8);
}

static const int interleaved[8] = { 0, 2, 4, 6, 1, 3, 5, 7 };

static void write_awq2023(struct stream *s, int n, int k)
{
    for (int p = 0; p < k; p++)
        for (int j = 0; j < n; j += 8)
            for (int t = 0; t < 8; t++)
                put(s, code_of(j + interleaved[t], p));
}

static void write_awq2023_gemv(struct stream *s, int n, int k)
{
    for (int j = 0; j < n; j++)
        for (int p = 0; p < k; p++)
            put(s, code_of(j, p));
}

/* Four rows take turns every 64 columns; in each 32 the four runs of 8 are
 * dealt out by pairs, and of the eight of a word the even ones come first. */
static void write_awq2024(struct stream *s, int n, int k)
{
    for (int band = 0; band < n; band += 4)
        for (int p = 0; p < k; p += 64)
            for (int j = band; j < band + 4; j++)
                for (int q = p; q < p + 64; q += 32)
                    for (int pair = 0; pair < 4; pair++) {
                        int eight[8];
                        for (int run = 0; run < 4; run++)
                            for (int e = 0; e < 2; e++)
                                eight[2 * run + e] = q + 8 * run + 2 * pair + e;
                        for (int t = 0; t < 8; t++)
                            put(s, code_of(j, eight[interleaved[t]]));
                    }
}

static void write_gptq(struct stream *s, int n, int k)
{
    for (int p = 0; p < k; p += 8)
        for (int j = 0; j < n; j++)
            for (int t = 0; t < 8; t++)
                put(s, code_of(j, p + t));
}

/* ---- the functions of awq_layout.h with one signature ---- */

typedef struct w4_place place_fn(int n, int k, int j, int p);
typedef struct w4_code code_fn(int n, int k, size_t word, int nibble);

static struct w4_place place_2023(int n, int k, int j, int p)
{
    (void)k;
    return awq2023_place(n, j, p);
}

static struct w4_code code_2023(int n, int k, size_t word, int nibble)
{
    (void)k;
    return awq2023_code(n, word, nibble);
}

static struct w4_place place_gemv(int n, int k, int j, int p)
{
    (void)n;
    return awq2023_gemv_place(k, j, p);
}

static struct w4_code code_gemv(int n, int k, size_t word, int nibble)
{
    (void)n;
    return awq2023_gemv_code(k, word, nibble);
}

static struct w4_place place_2024(int n, int k, int j, int p)
{
    (void)n;
    return awq2024_place(k, j, p);
}

static struct w4_code code_2024(int n, int k, size_t word, int nibble)
{
    (void)n;
    return awq2024_code(k, word, nibble);
}

static struct w4_place place_gptq(int n, int k, int j, int p)
{
    (void)k;
    return gptq_place(n, j, p);
}

static struct w4_code code_gptq(int n, int k, size_t word, int nibble)
{
    (void)k;
    return gptq_code(n, word, nibble);
}

static const struct {
    place_fn *place;
    code_fn *code;
    void (*write)(struct stream *, int n, int k);
} formats[] = { { place_2023, code_2023, write_awq2023 },
                { place_gemv, code_gemv, write_awq2023_gemv },
                { place_2024, code_2024, write_awq2024 },
                { place_gptq, code_gptq, write_gptq } };

static void test_format(size_t f, int n, int k)
{
    static struct stream s;
    static unsigned char seen[CODES_MAX];
    const size_t codes = (size_t)n * (size_t)k;
    long twice = 0, outside = 0, differing = 0, astray = 0;
    s.count = 0;
    formats[f].write(&s, n, k);
    CHECK(s.count == codes);
    memset(seen, 0, codes);
    for (int j = 0; j < n; j++)
        for (int p = 0; p < k; p++) {
            const struct w4_place at = formats[f].place(n, k, j, p);
            if (at.word >= codes / 8 || at.nibble < 0 || at.nibble > 7) {
                outside++;
                continue;
            }
            twice += seen[at.word * 8 + (size_t)at.nibble]++;
            differing += (s.word[at.word] >> 4 * at.nibble & 15) != code_of(j, p);
        }
    for (size_t e = 0; e < codes; e++) {
        const struct w4_code c = formats[f].code(n, k, e / 8, (int)(e % 8));
        const struct w4_place back = formats[f].place(n, k, c.j, c.p);
        astray += c.j < 0 || c.j >= n || c.p < 0 || c.p >= k || back.word != e / 8 ||
                  back.nibble != (int)(e % 8);
    }
    CHECK(!outside);
    CHECK(!twice);
    CHECK(!differing);
    CHECK(!astray);
}

static void test_spots(void)
{
    struct w4_place at = awq2023_place(64, 13, 3); /* word 3*8 + 1, element 5 */
    CHECK(at.word == 25 && at.nibble == 6);
    at = awq2023_gemv_place(256, 2, 77); /* word 2*32 + 9, nibble 5 */
    CHECK(at.word == 73 && at.nibble == 5);
    at = awq2024_place(256, 6, 107); /* band 1; 64..127, second half, 11 in it */
    CHECK(at.word == 128 + 32 + 16 + 4 + 1 && at.nibble == 5);
    at = gptq_place(40, 17, 29);
    CHECK(at.word == 3 * 40 + 17 && at.nibble == 5);
    const struct w4_code c = gptq_zero_code(40, 12, 3); /* group 2, word 2 of it */
    CHECK(c.j == 19 && c.p == 2);
    for (int e = 0; e < 8; e++)
        CHECK(interleaved[awq_nibble(e)] == e && awq_element(awq_nibble(e)) == e);
}

/* ---- zero points and the order of rows ---- */

static void test_zeros(void)
{
    CHECK(awq_zero_words(4096, 128) == 4);
    CHECK(awq_zero_words(11008, 128) == 11);
    CHECK(awq_zero_words(128, 128) == 1);
    CHECK(awq_zero_words(4544, 64) == 10); /* nine, padded to pairs */
    CHECK(awq_zero_words(4096, 64) == 8);
    for (unsigned z = 0; z < 16; z++) {
        CHECK(gptq_zero_stored(z) < 16 && gptq_zero_read(gptq_zero_stored(z)) == z);
        CHECK(z == 0 ? gptq_zero_stored(z) == 15 : gptq_zero_stored(z) == z - 1);
    }
}

static void test_order(void)
{
    enum { K = 4096, GROUP = 128 };
    static int order[K];
    static unsigned char seen[K];
    int repeated = 0, neighbours = 0;
    gptq_order(K, order);
    for (int q = 0; q < K; q++) {
        CHECK(order[q] >= 0 && order[q] < K);
        repeated += seen[order[q]]++;
        neighbours += q > 0 && order[q] / GROUP == order[q - 1] / GROUP;
    }
    CHECK(!repeated);
    CHECK(neighbours < K / 16); /* 1/32 of them by chance */
    gptq_order(1, order);
    CHECK(order[0] == 0);
}

/* ---- conversion ---- */

static void test_dequant(void)
{
    for (unsigned low = 0; low < 16; low++)
        for (unsigned high = 0; high < 16; high++)
            for (int t = 0; t < 4; t++) {
                const uint32_t others = 0xa5c3f069u & ~(0x000f000fu << 4 * t);
                const uint32_t word = others | low << 4 * t | high << (4 * t + 16);
                const uint32_t pair = dequant_u4_biased(word, t);
                const float step = t % 2 ? 16 : 1;
                CHECK(half_to_float((half_bits)(pair & 0xffff)) == 1024 + step * (float)low);
                CHECK(half_to_float((half_bits)(pair >> 16)) == 1024 + step * (float)high);
            }
    CHECK(half_to_float(DEQUANT_1024 & 0xffff) == 1024);
    CHECK(half_to_float(DEQUANT_16TH & 0xffff) == 1.0f / 16);
    CHECK(half_to_float(DEQUANT_M64 & 0xffff) == -64);
}

/* ---- what threads and lanes get of format awq2024 ---- */

/* The code that half h of pair t of a word holds. */
static struct w4_code in_pair(int k, size_t word, int t, int h)
{
    return awq2024_code(k, word, t + 4 * h);
}

/* awq2024_gemv: 16 bytes at t of the step, for one row and 32 input channels. */
static void test_gemv_threads(void)
{
    enum { K = 4096 };
    int wrong = 0;
    for (int step = 0; step < 2; step++)
        for (int t = 0; t < 256; t++) {
            const int row = t / 2 % 4, p = step * 2048 + t / 8 * 64 + t % 2 * 32;
            for (int a = 0; a < 4; a++)
                for (int pair = 0; pair < 4; pair++)
                    for (int h = 0; h < 2; h++) {
                        const struct w4_code c =
                            in_pair(K, (size_t)(step * 256 + t) * 4 + (size_t)a, pair, h);
                        wrong += c.j != row || c.p != p + 8 * pair + 2 * a + h;
                    }
        }
    CHECK(!wrong);
}

/* Eight rows of a matrix of ldmatrix must lie in different sixteenths of 256 bytes. */
static int conflicts(const int *row)
{
    int seen = 0, again = 0;
    for (int i = 0; i < 8; i++) {
        again += seen >> row[i] % 8 & 1;
        seen |= 1 << row[i] % 8;
    }
    return again;
}

/* awq2024_gemm: tiles laid out by chunk as it stores them, then each lane's words
 * by the definition of ldmatrix, its pairs by that of mma m16n8k16. */
static void test_gemm_fragments(int tile_k)
{
    const int chunks = tile_k / 8, bands = 32;
    size_t w[32 * 16];     /* chunk of W in a matrix of tile_k columns, by place */
    int x[64 * 16][2];     /* row, first column of X's chunk, by place */
    int wrong = 0, banks = 0;
    for (int band = 0; band < bands; band++)
        for (int c = 0; c < chunks; c++)
            w[awq2024_w_chunk(chunks, band, c)] = (size_t)(band * chunks + c);
    for (int row = 0; row < 64; row++)
        for (int c = 0; c < chunks; c++) {
            x[awq2024_x_chunk(chunks, row, c)][0] = row;
            x[awq2024_x_chunk(chunks, row, c)][1] = c * 8;
        }
    for (int j0 = 0; j0 < 128; j0 += 16)
        for (int part = 0; part < tile_k / 64; part++) {
            int row[32];
            for (int lane = 0; lane < 32; lane++)
                row[lane] = awq2024_w_row(chunks, j0, part, lane);
            for (int m = 0; m < 4; m++) {
                banks += conflicts(row + 8 * m);
                for (int lane = 0; lane < 32; lane++)
                    for (int t = 0; t < 4; t++)
                        for (int h = 0; h < 2; h++) {
                            const size_t word = w[row[8 * m + lane / 4]] * 4 + (size_t)(lane % 4);
                            const struct w4_code c = in_pair(tile_k, word, t, h);
                            const int fragment = t / 2, b = t % 2; /* of 16 columns; b0, b1 */
                            wrong += c.j != j0 + m / 2 * 8 + lane / 4 ||
                                     c.p != part * 64 + m % 2 * 32 + fragment * 16 + b * 8 +
                                                lane % 4 * 2 + h;
                        }
            }
        }
    CHECK(!wrong);
    CHECK(!banks);
    for (int row0 = 0; row0 < 64; row0 += 16)
        for (int p0 = 0; p0 < tile_k; p0 += 16) {
            int row[32];
            for (int lane = 0; lane < 32; lane++)
                row[lane] = awq2024_x_row(chunks, row0, p0, lane);
            for (int m = 0; m < 4; m++) {
                banks += conflicts(row + 8 * m);
                for (int r = 0; r < 8; r++) /* a0 .. a3: rows 0, 8, 0, 8; columns 0, 0, 8, 8 */
                    wrong += x[row[8 * m + r]][0] != row0 + m % 2 * 8 + r ||
                             x[row[8 * m + r]][1] != p0 + m / 2 * 8;
            }
        }
    CHECK(!wrong);
    CHECK(!banks);
}

int main(void)
{
    static const int sizes[][2] = { { 8, 64 }, { 16, 128 }, { 64, 512 }, { 24, 192 } };
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            test_format(f, sizes[s][0], sizes[s][1]);
    test_spots();
    test_zeros();
    test_order();
    test_dequant();
    test_gemv_threads();
    test_gemm_fragments(64);
    test_gemm_fragments(128);
    return TEST_END();
}
