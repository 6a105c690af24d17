/*
 * test_qserve_layout.c - the order of codes in QServe's W4A8 kernels against a
 * packer that writes them one after another, fragments against what the tensor
 * cores expect, and the conversions over every input.
 */
#include <stdlib.h>

#include "../kernels/gemm/qserve_dequant.h"
#include "../kernels/gemm/qserve_layout.h"
#include "../kernels/gemm/qserve_tile.h"
#include "test.h"

enum { CODES_MAX = 128 * 256 };

static unsigned code_of(int j, int p)
{
    return ((unsigned)j * 2654435761u + (unsigned)p * 40503u) >> 13 & 15;
}

/* ---- codes of W4A8 ---- */

static unsigned char stream[CODES_MAX / 2];

/* The eight dimensions that n and k are cut into, in the order of the bytes; of
 * two codes the one of the lower sixteen channels comes first. */
static size_t write_stream(int n, int k)
{
    size_t count = 0;
    for (int a = 0; a < n; a += 32)
        for (int e = 0; e < k; e += 32)
            for (int d = 0; d < 8; d++)
                for (int g = 0; g < 4; g++)
                    for (int f = 0; f < 2; f++)
                        for (int c = 0; c < 2; c++)
                            for (int h = 0; h < 4; h++) {
                                const int j = a + 8 * c + d, p = e + 16 * f + 4 * g + h;
                                stream[count++] =
                                    (unsigned char)(code_of(j, p) | code_of(j + 16, p) << 4);
                            }
    return count;
}

static void test_codes(int n, int k)
{
    static unsigned char seen[CODES_MAX];
    const size_t codes = (size_t)n * (size_t)k;
    long twice = 0, outside = 0, differing = 0, astray = 0;
    CHECK(write_stream(n, k) == codes / 2);
    memset(seen, 0, codes);
    for (int j = 0; j < n; j++)
        for (int p = 0; p < k; p++) {
            const struct qserve_place at = qserve_code_place(k, j, p);
            if (at.byte >= codes / 2 || at.high < 0 || at.high > 1) {
                outside++;
                continue;
            }
            twice += seen[at.byte * 2 + (size_t)at.high]++;
            differing += (stream[at.byte] >> 4 * at.high & 15u) != code_of(j, p);
        }
    for (size_t e = 0; e < codes; e++) {
        const struct qserve_code c = qserve_code_at(k, e / 2, (int)(e % 2));
        const struct qserve_place back = qserve_code_place(k, c.j, c.p);
        astray += c.j < 0 || c.j >= n || c.p < 0 || c.p >= k || back.byte != e / 2 ||
                  back.high != (int)(e % 2);
    }
    CHECK(!outside);
    CHECK(!twice);
    CHECK(!differing);
    CHECK(!astray);
}

static void test_spots(void)
{
    /* 27 = 16 + 8 + 3, 55 = 32 + 16 + 4 + 3: tile 1 of 2, lane 13, byte 15 */
    struct qserve_place at = qserve_code_place(64, 27, 55);
    CHECK(at.byte == 512 + 13 * 16 + 15 && at.high == 1);
    at = qserve_code_place(64, 36, 9); /* tile 2, lane 4*4 + 2, byte 1 */
    CHECK(at.byte == 1024 + 18 * 16 + 1 && at.high == 0);
}

/* ---- what belongs to groups ---- */

static void test_groups(void)
{
    static const int order[8] = { 0, 8, 16, 24, 1, 9, 17, 25 };
    for (int at = 0; at < 8; at++)
        CHECK(qserve_group_channel(at) == order[at]);
    for (int j = 0; j < 192; j++) {
        const size_t at = qserve_group_place(192, j, 3);
        CHECK(at / 192 == 3 && qserve_group_channel((int)(at % 192)) == j);
    }
    for (int scale = 1; scale <= 16; scale++)
        for (int zero = 0; zero <= 15; zero++)
            CHECK((qserve_subtrahend(scale, zero) + scale * zero) % 256 == 0);
}

static void test_w4a4_scales(void)
{
    CHECK(w4a4_room(1) == 128 && w4a4_room(128) == 128 && w4a4_room(129) == 256);
    for (int i = 0; i < 256; i++)
        CHECK(w4a4_scale_token(w4a4_scale_place(i)) == i);
    for (int lane = 0; lane < 32; lane++) /* rows r, r+8 of a fragment are neighbours */
        for (int h = 0; h < 2; h++)
            CHECK(w4a4_scale_place(48 + lane / 4 + 8 * h) == 48 + lane / 4 * 2 + h);
}

/* ---- conversion ---- */

static int signed_byte(uint32_t word, int t)
{
    return (signed char)(word >> 8 * t & 0xff);
}

static void test_add_bytes(void)
{
    int wrong = 0;
    for (uint32_t a = 0; a < 256; a++)
        for (uint32_t b = 0; b < 256; b++)
            for (int t = 0; t < 4; t++) {
                const uint32_t others = ~(0xffu << 8 * t);
                const uint32_t sum = qserve_add_bytes(a << 8 * t | others, b << 8 * t | others);
                wrong += (sum >> 8 * t & 0xff) != ((a + b) & 0xff);
                wrong += (sum & others) != (0xfefefefeu & others);
            }
    CHECK(!wrong);
}

/* Every code, scale and zero point whose result fits a byte, between neighbours of
 * the least and of the greatest code. */
static void test_scaled(void)
{
    int wrong = 0, tried = 0;
    for (int scale = 1; scale <= 16; scale++)
        for (int zero = 0; zero <= 15; zero++)
            for (int code = 0; code <= 15; code++)
                for (int t = 0; t < 4; t++)
                    for (int full = 0; full < 2; full++) {
                        const uint32_t others = full ? 0x0f0f0f0fu & ~(0xffu << 8 * t) : 0;
                        const uint32_t subtrahends =
                            qserve_broadcast((uint32_t)qserve_subtrahend(scale, zero) << 16, 2);
                        const uint32_t bytes = qserve_scaled((uint32_t)code << 8 * t | others,
                                                             (uint32_t)scale, subtrahends);
                        const int want = (code - zero) * scale;
                        if (want < -128 || want > 127)
                            continue;
                        tried++;
                        wrong += signed_byte(bytes, t) != want;
                    }
    CHECK(tried > 20000);
    CHECK(!wrong);
}

static void test_unpack(void)
{
    const uint32_t word = 0xfedcba98u;
    CHECK(qserve_low(word) == 0x0e0c0a08u && qserve_high(word) == 0x0f0d0b09u);
    for (int t = 0; t < 4; t++) {
        CHECK(qserve_byte(word, t) == (word >> 8 * t & 0xff));
        CHECK(qserve_broadcast(word, t) == (word >> 8 * t & 0xff) * 0x01010101u);
    }
    for (int code = -8; code < 8; code++)
        for (int e = 0; e < 8; e++) {
            const uint32_t others = 0x5a3c1e07u & ~(15u << 4 * e);
            const uint32_t from = others | ((uint32_t)code & 15u) << 4 * e;
            CHECK(signed_byte(int4_bytes(from, e % 2), e / 2) == 16 * code);
        }
}

/* ---- fragments ---- */

/* Register f of the B fragment of channels 8t of a tile holds four bytes of k. */
static void test_w4a8_fragments(void)
{
    enum { N = 64, K = 128 };
    static const int word_of[2][2] = { { 0, 2 }, { 1, 3 } }; /* x and z, y and w of a load */
    int wrong = 0;
    write_stream(N, K);
    for (int tile = 0; tile < N * K / 1024; tile++)
        for (int lane = 0; lane < 32; lane++)
            for (int t = 0; t < 4; t++)
                for (int f = 0; f < 2; f++) {
                    uint32_t word;
                    memcpy(&word, stream + tile * 512 + lane * 16 + word_of[t % 2][f] * 4, 4);
                    const uint32_t b = t < 2 ? qserve_low(word) : qserve_high(word);
                    for (int h = 0; h < 4; h++)
                        wrong += qserve_byte(b, h) !=
                                 code_of(tile / (K / 32) * 32 + 8 * t + lane / 4,
                                         tile % (K / 32) * 32 + 16 * f + lane % 4 * 4 + h);
                }
    CHECK(!wrong);
}

/* Rows that share banks with another of the eight of a matrix. */
static int conflicts(const int *chunk)
{
    int seen = 0, again = 0;
    for (int i = 0; i < 8; i++) {
        again += seen >> chunk[i] % 8 & 1;
        seen |= 1 << chunk[i] % 8;
    }
    return again;
}

/* Chunks stored by place; then each lane's address by the definition of ldmatrix,
 * its registers by that of mma m16n8k32. */
static void test_row_fragments(int chunks, int shared_banks)
{
    int row_at[64 * 8], chunk_at[64 * 8], wrong = 0, again = 0, matrices = 0;
    for (int row = 0; row < 64; row++)
        for (int c = 0; c < chunks; c++) {
            row_at[qserve_chunk(chunks, row, c)] = row;
            chunk_at[qserve_chunk(chunks, row, c)] = c;
        }
    for (int row0 = 0; row0 < 64; row0 += 16)
        for (int c = 0; c < chunks; c += 2) {
            int a[32], b[32];
            for (int lane = 0; lane < 32; lane++) {
                a[lane] = qserve_a_row(chunks, row0, c, lane);
                b[lane] = qserve_b_row(chunks, row0, c, lane);
            }
            for (int m = 0; m < 4; m++) {
                again += conflicts(a + 8 * m) + conflicts(b + 8 * m);
                matrices += 2;
                for (int r = 0; r < 8; r++) {
                    const int at = a[8 * m + r], bt = b[8 * m + r];
                    wrong += row_at[at] != row0 + m % 2 * 8 + r || chunk_at[at] != c + m / 2;
                    wrong += row_at[bt] != row0 + m / 2 * 8 + r || chunk_at[bt] != c + m % 2;
                }
            }
        }
    CHECK(!wrong);
    CHECK(again == shared_banks * matrices);
}

/* ---- the order of blocks ---- */

static void test_blocks(void)
{
    CHECK(qserve_order_bits(1) == 0 && qserve_order_bits(2) == 1 && qserve_order_bits(3) == 2);
    CHECK(qserve_order_bits(5) == 2 && qserve_order_bits(6) == 3 && qserve_order_bits(99) == 3);
    for (int down = 1; down <= 20; down++)
        for (int across = 1; across <= 5; across++) {
            const int bits = qserve_order_bits(down), turns = (down + (1 << bits) - 1) >> bits;
            int seen[20 * 5] = { 0 }, outside = 0, missing = 0;
            for (int y = 0; y < turns; y++)
                for (int x = 0; x < across << bits; x++) {
                    const struct qserve_block b = qserve_block_of(x, y, bits);
                    CHECK(b.j >= 0 && b.j < across && b.i >= 0);
                    if (b.i < down)
                        seen[b.i * across + b.j]++;
                    else
                        outside++;
                }
            for (int e = 0; e < down * across; e++)
                missing += seen[e] != 1;
            CHECK(!missing);
            CHECK(outside == ((turns << bits) - down) * across);
        }
}

int main(void)
{
    test_codes(32, 32);
    test_codes(64, 128);
    test_codes(128, 256);
    test_codes(96, 160);
    test_spots();
    test_groups();
    test_w4a4_scales();
    test_add_bytes();
    test_scaled();
    test_unpack();
    test_w4a8_fragments();
    test_row_fragments(4, 0);
    test_row_fragments(8, 4); /* rows in pairs, as published */
    test_blocks();
    return TEST_END();
}
