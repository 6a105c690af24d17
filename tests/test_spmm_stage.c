/*
 * test_spmm_stage.c - own_stage by hand: the form that set-up chooses, the format that it stores
 * and the product, lane by lane as stage_sm90.cu has them, on matrices whose windows fit and some
 * whose windows do not. Every element of C is stored once and is right to the bit; a wrong column,
 * a wrong end of a row and a window that is too short are seen.
 */
#include <stdlib.h>

#include "../kernels/spmm/stage.h"
#include "test.h"

enum { LANES = 32 };

static unsigned state = 1;

static int below(int n)
{
    state = state * 1664525u + 1013904223u;
    return (int)((state >> 8) % (unsigned)n);
}

/* ---- matrices ---- */

struct csr {
    struct spmm_problem p;
    int *row_ptr, *col;
    float *val, *b;
};

/* Entries of row i, ascending in first .. first + width - 1, about so many of 1000. */
typedef void shape(int i, int m, int k, int *first, int *width, int *chance);

static void band(int i, int m, int k, int *first, int *width, int *chance)
{
    *first = (int)((long)i * k / m) - 40;
    *width = 80;
    *chance = 300;
}

static void diagonal(int i, int m, int k, int *first, int *width, int *chance)
{
    (void)m, (void)k;
    *first = i;
    *width = 1;
    *chance = 1000;
}

static void holes(int i, int m, int k, int *first, int *width, int *chance)
{
    band(i, m, k, first, width, chance);
    *chance = i % 7 && i < m - 9 ? 20 : 0;
}

static void anywhere(int i, int m, int k, int *first, int *width, int *chance)
{
    (void)i, (void)m;
    *first = 0;
    *width = k;
    *chance = 1 + 10000 / k;
}

/* Long rows between short ones, one of them longer than several chunks. */
static void heavy(int i, int m, int k, int *first, int *width, int *chance)
{
    (void)m;
    *first = 0;
    *width = k;
    *chance = i == 40 || i == 41 || i == m - 1 ? 900 : i % 50 == 7 ? 0 : 1 + 1500 / k;
}

/* A row that is cut stands alone in what is looked at together. */
static void alone(int i, int m, int k, int *first, int *width, int *chance)
{
    (void)m;
    *first = i % 64 ? k - 9 : (12 - i / 64) * (k / 20);
    *width = i % 64 ? 9 : k / 3;
    *chance = i % 64 && i % 64 < 40 ? 0 : 1000;
}

static void blocks(int i, int m, int k, int *first, int *width, int *chance)
{
    (void)m, (void)k;
    *first = i / 16 * 16;
    *width = 16;
    *chance = 1000;
}

static int *more(int *p, int count)
{
    return realloc(p, (size_t)count * sizeof *p);
}

static struct csr csr_new(int m, int k, shape *of)
{
    struct csr a = { .p = { .n = 1 }, .row_ptr = more(NULL, m + 1), .col = more(NULL, 64) };
    int nnz = 0, room = 64;
    for (int i = 0; i < m; i++) {
        int first, width, chance;
        a.row_ptr[i] = nnz;
        of(i, m, k, &first, &width, &chance);
        int j = first < 0 ? 0 : first;
        while (chance && j < first + width && j < k) {
            if (nnz == room)
                a.col = more(a.col, room *= 2);
            a.col[nnz++] = j;
            j += 1 + below(2 * (1000 / chance) - 1);
        }
    }
    a.row_ptr[m] = nnz;
    a.val = malloc(((size_t)nnz + 1) * sizeof *a.val);
    a.b = malloc((size_t)k * sizeof *a.b);
    for (int e = 0; e < nnz; e++)
        a.val[e] = (float)(below(2) ? 1 + below(2) : -1 - below(2));
    for (int j = 0; j < k; j++)
        a.b[j] = (float)(1 + j % 251);
    spmm_describe(m, k, a.row_ptr, &a.p);
    a.p.n = 1;
    return a;
}

static void csr_free(struct csr *a)
{
    free(a->row_ptr);
    free(a->col);
    free(a->val);
    free(a->b);
}

/* ---- set-up ---- */

struct format {
    struct stage_form form;
    struct own_bound *bound;
    struct stage_window *window;
    struct stage_reach *reach;
    uint32_t (*col)[4];
    float (*val)[8];
    unsigned short *note;
    int *rows, *before, slots, pieces;
    float *carry;
    int *arrived; /* pieces a cut */
};

static void look(const struct csr *a, struct format *f)
{
    const int groups = (a->p.m + STAGE_GROUP - 1) / STAGE_GROUP;
    f->reach = calloc((size_t)groups, sizeof *f->reach);
    for (int i = 0; i < a->p.m; i++) {
        struct stage_reach *r = &f->reach[i / STAGE_GROUP];
        const int from = a->row_ptr[i], to = a->row_ptr[i + 1];
        if (from == to)
            continue;
        if (!r->end || a->col[from] < r->first)
            r->first = a->col[from];
        if (a->col[to - 1] + 1 > r->end)
            r->end = a->col[to - 1] + 1;
    }
}

/* As place_bounds of own_plan.cu, one after the other. */
static void place(const struct csr *a, struct format *f)
{
    const int chunks = f->form.chunks;
    f->bound = calloc((size_t)chunks + 1, sizeof *f->bound);
    for (int c = 0; c <= chunks; c++) {
        struct own_bound *b = &f->bound[c];
        int first;
        *b = own_bound_at(a->row_ptr, a->p.m, (long long)c * f->form.items, f->form.whole);
        if (!own_bound_cuts(a->row_ptr, b))
            continue;
        const int cuts = own_first_cut(a->row_ptr, b->row, f->form.items, &first);
        b->slot = first == c ? f->pieces : f->bound[c - 1].slot + 1;
        f->pieces += first == c ? cuts + 1 : 0;
    }
    f->carry = calloc((size_t)f->pieces + 1, sizeof *f->carry);
}

static void fill_slot(const struct csr *a, struct format *f, int c, int at, unsigned before)
{
    const int begin = f->bound[c].entry, end = f->bound[c + 1].entry;
    const int slot = stage_base(begin, c) + at;
    const struct stage_window w = f->window[c / f->form.warps];
    unsigned ends = 0;
    CHECK(slot < f->slots && f->note[slot] == 0xffff); /* no slot twice */
    for (int e = 0; e < STAGE_SLOT; e++) {
        const int p = begin + at * STAGE_SLOT + e;
        unsigned col = 0;
        f->val[slot][e] = 0;
        if (p < end) {
            int row = 0;
            col = (unsigned)(a->col[p] - w.first + STAGE_ZERO);
            CHECK(a->col[p] >= w.first && a->col[p] < w.first + w.columns && col < 65536);
            f->val[slot][e] = a->val[p];
            /* the row of the entry: the last one that begins at or before it */
            for (int low = 0, high = a->p.m; high - low > 1; row = low) {
                const int middle = (low + high) / 2;
                *(a->row_ptr[middle] <= p ? &low : &high) = middle;
            }
            ends |= (unsigned)(a->row_ptr[row + 1] == p + 1) << e;
        }
        f->col[slot][e / 2] = e % 2 ? f->col[slot][e / 2] | col << 16 : col;
    }
    CHECK(before <= 255);
    f->note[slot] = (unsigned short)stage_note(ends, before);
}

/* cut: a is a panel of it; NULL: a is whole. false: no form. */
static int format_new(const struct csr *a, const struct stage_device *d,
                      const struct stage_cut *cut, struct format *f)
{
    *f = (struct format){ 0 };
    look(a, f);
    if (cut)
        f->form = (struct stage_form){ .warps = STAGE_WIDEST, .items = cut->items };
    if (cut ? stage_complete(&a->p, a->row_ptr, f->reach, d, &f->form)
            : stage_choose(&a->p, a->row_ptr, f->reach, d, &f->form))
        return 0;
    place(a, f);
    const int chunks = f->form.chunks, rows = a->p.m - a->p.empty_rows;
    f->slots = stage_base((int)a->p.nnz, chunks);
    f->window = calloc((size_t)f->form.blocks, sizeof *f->window);
    stage_windows(&a->p, a->row_ptr, f->reach, &f->form, f->window);
    f->col = calloc((size_t)f->slots, sizeof *f->col);
    f->val = calloc((size_t)f->slots, sizeof *f->val);
    f->note = malloc((size_t)f->slots * sizeof *f->note);
    memset(f->note, 0xff, (size_t)f->slots * sizeof *f->note);
    for (int c = 0; c < chunks; c++) {
        const int slots = stage_slots(f->bound[c + 1].entry - f->bound[c].entry);
        const int base = stage_base(f->bound[c].entry, c);
        unsigned before = 0;
        for (int at = 0; at < slots; at++) {
            before = at % LANES ? before : 0;
            fill_slot(a, f, c, at, before);
            before += (unsigned)__builtin_popcount(stage_ends(f->note[base + at]));
        }
    }
    f->rows = calloc((size_t)rows + 1, sizeof *f->rows);
    f->before = calloc((size_t)chunks + 1, sizeof *f->before);
    stage_rows(&a->p, a->row_ptr, &f->form, f->rows, f->before);
    return 1;
}

static void format_free(struct format *f)
{
    free(f->bound);
    free(f->window);
    free(f->reach);
    free(f->col);
    free(f->val);
    free(f->note);
    free(f->rows);
    free(f->before);
    free(f->carry);
}

/* ---- product ---- */

/* add_slots of all lanes: the sums of rows that ended, open, and how many rows did. */
static int add_step(const struct format *f, int slot, int there, const float *window, float *sums,
                    float *open)
{
    float sum[LANES], next[LANES];
    unsigned mask = 0, ends[LANES], before[LANES];
    for (int lane = 0; lane < LANES; lane++) {
        static const uint32_t no_col[4];
        static const float no_val[8];
        const int is = lane < there;
        const uint32_t *words = is ? f->col[slot + lane] : no_col;
        float x[STAGE_SLOT];
        for (int e = 0; e < STAGE_SLOT; e++)
            x[e] = window[stage_column(words, e)];
        ends[lane] = is ? stage_ends(f->note[slot + lane]) : 0;
        before[lane] = is ? stage_before(f->note[slot + lane]) : 0;
        sum[lane] = stage_walk(is ? f->val[slot + lane] : no_val, x, ends[lane], lane ? 0 : *open,
                               sums + before[lane]);
        mask |= (unsigned)(ends[lane] != 0) << lane;
    }
    for (int d = 1; d < LANES; d *= 2) {
        for (int lane = 0; lane < LANES; lane++)
            next[lane] = sum[lane] + (stage_since(mask, lane) >= d ? sum[lane - d] : 0);
        memcpy(sum, next, sizeof sum);
    }
    *open = sum[LANES - 1];
    for (int lane = 1; lane < LANES; lane++)
        if (ends[lane])
            sums[before[lane]] += sum[lane - 1];
    return (int)before[there - 1] + __builtin_popcount(ends[there - 1]);
}

/* Stored: how often each element of C was. */
static void run_chunk(const struct csr *a, const struct format *f, int c, const float *window,
                      float *out, int *stored)
{
    const struct own_bound from = f->bound[c], to = f->bound[c + 1];
    const int slots = stage_slots(to.entry - from.entry), base = stage_base(from.entry, c);
    const int *rows = a->p.empty_rows ? f->rows + f->before[c] : NULL;
    float open = 0, sums[STAGE_STEP + STAGE_SLOT];
    int ended = 0;
    for (int i = from.row; rows && i < to.row; i++)
        if (a->row_ptr[i] == a->row_ptr[i + 1]) {
            out[i] = 0;
            stored[i]++;
        }
    for (int first = 0; first < slots; first += LANES) {
        const int there = slots - first < LANES ? slots - first : LANES;
        const int count = add_step(f, base + first, there, window, sums, &open);
        CHECK(count <= STAGE_STEP);
        for (int i = 0; i < count; i++) {
            const int row = rows ? rows[ended + i] : from.row + ended + i;
            if (ended + i == 0 && from.slot >= 0) {
                f->carry[from.slot + 1] = sums[i];
            } else {
                out[row] = sums[i];
                stored[row]++;
            }
        }
        ended += count;
    }
    if (to.slot >= 0)
        f->carry[to.slot] = open;
}

/* What the last piece's warp does, for each cut. */
static void add_pieces(const struct csr *a, const struct format *f, float *out, int *stored)
{
    for (int c = 1; c < f->form.chunks; c++) {
        const struct own_bound *b = &f->bound[c];
        int first;
        if (b->slot < 0)
            continue;
        const int cuts = own_first_cut(a->row_ptr, b->row, f->form.items, &first);
        if (first != c)
            continue;
        out[b->row] = 0;
        for (int i = 0; i <= cuts; i++)
            out[b->row] += f->carry[b->slot + i];
        stored[b->row]++;
    }
}

/* All chunks: C, and how often each element was stored. */
static void run_all(const struct csr *a, const struct format *f, float *out, int *stored)
{
    const size_t room = (size_t)f->form.columns + STAGE_ZERO;
    float *window = malloc(room * sizeof *window);
    memset(out, 0xff, (size_t)a->p.m * sizeof *out);
    for (int b = 0; b < f->form.blocks; b++) {
        const struct stage_window w = f->window[b];
        CHECK(w.first % 4 == 0 && w.columns <= f->form.columns && w.first + w.columns <= a->p.k);
        memset(window, 0xff, room * sizeof *window);
        memset(window, 0, STAGE_ZERO * sizeof *window);
        memcpy(window + STAGE_ZERO, a->b + w.first, (size_t)w.columns * sizeof *window);
        for (int c = b * f->form.warps; c < (b + 1) * f->form.warps && c < f->form.chunks; c++)
            run_chunk(a, f, c, window, out, stored);
    }
    add_pieces(a, f, out, stored);
    free(window);
}

static double wanted(const struct csr *a, int i)
{
    double want = 0;
    for (int e = a->row_ptr[i]; e < a->row_ptr[i + 1]; e++)
        want += (double)a->val[e] * a->b[a->col[e]];
    return want;
}

/* Elements of C that are wrong, not stored, or stored twice. */
static long product_off(const struct csr *a, const struct format *f)
{
    float *out = malloc((size_t)a->p.m * sizeof *out);
    int *stored = calloc((size_t)a->p.m, sizeof *stored);
    long off = 0;
    run_all(a, f, out, stored);
    for (int i = 0; i < a->p.m; i++)
        off += !(out[i] == wanted(a, i)) || stored[i] != 1;
    free(out);
    free(stored);
    return off;
}

static void check_room(const struct format *f, const struct stage_device *d)
{
    const size_t bytes = stage_shared(&f->form) + (size_t)f->form.columns * sizeof(float);
    CHECK(stage_shared(&f->form) % 16 == 0);
    CHECK((bytes + 1024) * (size_t)stage_resident(f->form.warps) <= (size_t)d->shared);
    CHECK(f->form.blocks * f->form.warps >= f->form.chunks);
}

/* ---- panels ---- */

/* Panel q of a, as count_entries and move_entries make it; b is a's. */
static struct csr panel_of(const struct csr *a, const struct stage_cut *cut, int q)
{
    const size_t nnz = (size_t)a->p.nnz + 1;
    struct csr of = { .row_ptr = more(NULL, a->p.m + 1),
                      .col = more(NULL, (int)nnz),
                      .val = malloc(nnz * sizeof *of.val),
                      .b = a->b };
    of.row_ptr[0] = 0;
    for (int i = 0; i < a->p.m; i++) {
        const int end = a->row_ptr[i + 1];
        const int begin = stage_first_from(a->col, a->row_ptr[i], end, q * cut->width);
        const int stop = stage_first_from(a->col, begin, end, (q + 1) * cut->width);
        const int at = of.row_ptr[i];
        memcpy(of.col + at, a->col + begin, (size_t)(stop - begin) * sizeof *of.col);
        memcpy(of.val + at, a->val + begin, (size_t)(stop - begin) * sizeof *of.val);
        of.row_ptr[i + 1] = at + stop - begin;
    }
    spmm_describe(a->p.m, a->p.k, of.row_ptr, &of.p);
    of.p.n = 1;
    return of;
}

/* Elements of C that are wrong; *blocks of all panels. */
static long panels_off(const struct csr *a, const struct stage_device *d,
                       const struct stage_cut *cut, int *blocks)
{
    float *sum = calloc((size_t)a->p.m, sizeof *sum), *out = malloc((size_t)a->p.m * sizeof *out);
    long off = 0, entries = 0;
    *blocks = 0;
    for (int q = 0; q < cut->panels; q++) {
        struct csr part = panel_of(a, cut, q);
        int *stored = calloc((size_t)a->p.m, sizeof *stored);
        struct format f;
        const int have = format_new(&part, d, cut, &f);
        CHECK(have);
        if (have) {
            check_room(&f, d);
            run_all(&part, &f, out, stored);
            for (int i = 0; i < a->p.m; i++) {
                off += stored[i] != 1;
                sum[i] += out[i];
            }
            *blocks += f.form.blocks;
        }
        entries += part.p.nnz;
        format_free(&f);
        part.b = NULL;
        csr_free(&part);
        free(stored);
    }
    CHECK(entries == a->p.nnz);
    for (int i = 0; i < a->p.m; i++)
        off += !(sum[i] == wanted(a, i));
    free(sum);
    free(out);
    return off;
}

/* ---- tests ---- */

static void try_faults(const struct csr *a, struct format *f)
{
    const int slot = stage_base(f->bound[f->form.chunks / 2].entry, f->form.chunks / 2);
    const uint32_t col = f->col[slot][0];
    const unsigned short note = f->note[slot];
    f->col[slot][0]--; /* its neighbour, or a zero */
    CHECK(product_off(a, f) > 0);
    f->col[slot][0] = col;
    f->note[slot] ^= 0x10;
    CHECK(product_off(a, f) > 0);
    f->note[slot] = note;
    CHECK(product_off(a, f) == 0);
}

static void test_products(void)
{
    static const struct {
        shape *of;
        int m, k;
    } cases[] = {
        { diagonal, 1, 1 },      { diagonal, 25000, 25000 }, { band, 5000, 5000 },
        { band, 9000, 700 },     { band, 700, 90003 },       { holes, 7001, 7001 },
        { anywhere, 1500, 997 }, { anywhere, 40, 20011 },    { heavy, 300, 6003 },
        { heavy, 90, 40 },       { blocks, 2048, 2048 },     { alone, 200, 60 },
        { alone, 777, 9001 },
    };
    /* an SM that holds all; eight of a quarter of it, so that chunks are long */
    static const struct stage_device devices[] = { { 132, 233472 }, { 1, 233472 }, { 4, 100000 } };
    int taken = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct csr a = csr_new(cases[i].m, cases[i].k, cases[i].of);
        for (size_t d = 0; d < sizeof devices / sizeof *devices; d++) {
            struct format f;
            const int have = format_new(&a, &devices[d], NULL, &f);
            if (have) {
                taken++;
                check_room(&f, &devices[d]);
                CHECK(product_off(&a, &f) == 0);
                CHECK(product_off(&a, &f) == 0);
                if (a.p.nnz > 100)
                    try_faults(&a, &f);
            }
            format_free(&f);
        }
        csr_free(&a);
    }
    CHECK(taken >= 34);
}

/* Forms that an H200 gets. */
static void test_forms(void)
{
    const struct stage_device d = { 132, 233472 };
    struct csr a = csr_new(200000, 200000, anywhere);
    struct format f;
    CHECK(!format_new(&a, &d, NULL, &f)); /* B does not fit, and every block wants all of it */
    format_free(&f);
    csr_free(&a);
    a = csr_new(60000, 60000, band);
    CHECK(format_new(&a, &d, NULL, &f) && f.form.warps == 8 && f.form.columns < 2000);
    CHECK(f.form.blocks > 500 && f.form.blocks <= 530);
    format_free(&f);
    csr_free(&a);
}

static void test_panels(void)
{
    static const struct {
        shape *of;
        int m, k;
    } cases[] = { { anywhere, 9000, 90001 },
                  { anywhere, 300, 200000 },
                  { heavy, 60, 110007 },
                  { band, 40000, 400003 } };
    static const struct stage_device devices[] = { { 132, 233472 }, { 40, 233472 } };
    struct stage_cut cut;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct csr a = csr_new(cases[i].m, cases[i].k, cases[i].of);
        for (size_t d = 0; d < sizeof devices / sizeof *devices; d++) {
            int blocks;
            CHECK(stage_cut_of(&a.p, &devices[d], &cut) == OP_OK);
            CHECK(cut.width % 4 == 0 && (long)cut.width * cut.panels >= a.p.k);
            CHECK(cut.width * (cut.panels - 1) < a.p.k && cut.panels > 1);
            CHECK(panels_off(&a, &devices[d], &cut, &blocks) == 0);
            CHECK(blocks <= devices[d].sms);
        }
        csr_free(&a);
    }
    /* too many panels; too few entries for two sums a row */
    struct spmm_problem p = { .m = 1000, .k = 700000, .n = 1, .nnz = 1000000 };
    CHECK(stage_cut_of(&p, devices, &cut) == OP_EUNSUPPORTED);
    p.k = 90000;
    CHECK(stage_cut_of(&p, devices, &cut) == OP_OK && cut.panels == 2 && cut.width == 45000);
    p.nnz = 1900;
    CHECK(stage_cut_of(&p, devices, &cut) == OP_EUNSUPPORTED);
}

static void test_since(void)
{
    for (int i = 0; i < 20000; i++) {
        const unsigned mask = (unsigned)below(1 << 16) << 16 | (unsigned)below(1 << 16);
        const unsigned some = below(3) ? mask & (unsigned)below(1 << 16) << below(17) : mask;
        const int lane = below(LANES);
        int want = 0;
        while (want < lane && !(some >> (lane - want) & 1))
            want++;
        CHECK(stage_since(some, lane) == want);
    }
}

int main(void)
{
    test_since();
    test_products();
    test_panels();
    test_forms();
    return TEST_END();
}
