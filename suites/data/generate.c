/*
 * generate.c - seeded families of sparse matrices (generate.h lists them).
 *
 * A family is a function that says how many columns a row may get and one that
 * draws them, from hashes of (seed, row, draw) only.  Rows are drawn in
 * parallel, then sorted, and columns drawn twice are dropped.  R-MAT and
 * social graphs (social.c) draw edges instead of rows.
 */
#include "generate.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"

/* ---- parameters ---- */

struct parameters {
    double seed, m, k, mean, width, window, empty, alpha, cap, skew, hubs, share, spill, a, b, c,
        scramble, dims, points, side, block, size, inside, spread, chain, link, dof, sigma, scale;
    /* derived */
    uint64_t key;    /* of all hashes */
    int rows, cols;
    double minimum;  /* powerlaw: shortest length before rounding */
};

static const struct parameter {
    const char *name;
    size_t offset;
    bool whole;
    double low, high;
} parameters[] = {
#define P(field, whole, low, high) { #field, offsetof(struct parameters, field), whole, low, high }
    P(seed, true, 0, 1e15),       P(m, true, 1, 2e8),           P(k, true, 1, 2e8),
    P(mean, false, 0, 1e6),       P(width, true, 0, 1e6),       P(window, true, 0, 1e8),
    P(empty, false, 0, 1),        P(alpha, false, 1.05, 10),    P(cap, true, 1, 1e8),
    P(skew, false, 0, 20),        P(hubs, true, 0, 1e6),        P(share, false, 0, 1),
    P(spill, false, 0, 1),        P(a, false, 0, 1),            P(b, false, 0, 1),
    P(c, false, 0, 1),            P(scramble, true, 0, 1),      P(dims, true, 2, 3),
    P(points, true, 5, 27),       P(side, true, 1, 14142),      P(block, true, 1, 4096),
    P(size, true, 1, 1e7),        P(inside, false, 0, 1),       P(spread, false, 0, 20),
    P(chain, false, 0, 1),        P(link, false, 0, 1),         P(dof, true, 1, 64),
    P(sigma, false, 0, 4),        P(scale, false, 1e-6, 1),
#undef P
};
enum { PARAMETERS = sizeof parameters / sizeof *parameters };

struct family {
    const char *name;
    const char *defaults; /* every parameter the family has, a spec itself */
    /* Checks what ranges alone do not; fills rows and cols where m and k do not say them. */
    int (*check)(const char *spec, struct parameters *);
    /* Columns of a row before those drawn twice are dropped, at most. */
    int (*draws)(const struct parameters *, int row);
    /* Draws them; returns how many of them there are. */
    int (*row)(const struct parameters *, int row, int n, uint64_t *key);
    /* Families that draw edges instead of rows: everything but the values. */
    int (*edges)(const char *name, const struct parameters *, struct matrix *out);
};

/* ---- random numbers ---- */

enum stream { LENGTH = 1, COLUMN, EMPTY, PLACE, NODE, LINKS, SPILL, EDGE = 16 };

static uint64_t random_at(const struct parameters *p, enum stream s, int64_t a, int64_t b)
{
    return data_hash(p->key + (uint64_t)s, (uint64_t)a, (uint64_t)b);
}

static double unit(uint64_t bits) /* (0, 1) */
{
    return ((double)(bits >> 11) + 0.5) * 0x1p-53;
}

static int below(uint64_t bits, int n) /* 0 .. n-1; n is far from 2^32, the bias does not show */
{
    return (int)((bits >> 32) * (uint64_t)n >> 32);
}

/* A permutation of 0 .. n-1: four Feistel rounds on the next even number of
 * bits, repeated until the result is below n. */
static int permuted(const struct parameters *p, int x, int n)
{
    int half = 1;
    while (1L << 2 * half < n)
        half++;
    uint32_t mask = ((uint32_t)1 << half) - 1, v = (uint32_t)x;
    do {
        uint32_t left = v >> half, right = v & mask;
        for (int round = 0; round < 4; round++) {
            uint32_t t = left ^ ((uint32_t)random_at(p, PLACE, round, right) & mask);
            left = right;
            right = t;
        }
        v = left << half | right;
    } while (v >= (uint32_t)n);
    return (int)v;
}

/* ---- row lengths and columns shared by families ---- */

static bool is_empty(const struct parameters *p, int row)
{
    return p->empty > 0 && unit(random_at(p, EMPTY, row, 0)) < p->empty;
}

static int uniform_draws(const struct parameters *p, int row)
{
    int width = (int)p->width, whole = (int)p->mean;
    if (is_empty(p, row))
        return 0;
    uint64_t bits = random_at(p, LENGTH, row, 0);
    whole += unit(bits << 32) < p->mean - whole; /* 2.5: half of the rows one longer */
    return whole - width + below(bits, 2 * width + 1);
}

/* A column within window of where the diagonal passes; window 0: any. */
static int near_column(const struct parameters *p, int row, uint64_t bits)
{
    if (p->window <= 0)
        return below(bits, p->cols);
    int64_t middle = (int64_t)row * p->cols / p->rows, window = (int64_t)p->window;
    int64_t low = middle - window, high = middle + window;
    low = low < 0 ? 0 : low;
    high = high >= p->cols ? p->cols - 1 : high;
    return (int)low + below(bits, (int)(high - low + 1));
}

static int uniform_row(const struct parameters *p, int row, int n, uint64_t *key)
{
    for (int j = 0; j < n; j++)
        key[j] = data_key(near_column(p, row, random_at(p, COLUMN, row, j)), 0);
    return n;
}

static int uniform_check(const char *spec, struct parameters *p)
{
    if (p->width > floor(p->mean))
        return cb_error("%s: width exceeds mean", spec);
    return 0;
}

/* ---- powerlaw ---- */

static double pareto(double minimum, double u, double alpha, double cap)
{
    double x = minimum * pow(u, -1 / (alpha - 1));
    return x < cap ? x : cap;
}

/* The mean of pareto() over u in (0, 1), in closed form. */
static double pareto_mean(double minimum, double alpha, double cap)
{
    double e = alpha - 1, cut = pow(minimum / cap, e); /* share of lengths at the cap */
    double free = fabs(e - 1) < 1e-9 ? minimum * log(cap / minimum)
                                     : minimum * e / (e - 1) * (1 - pow(minimum / cap, e - 1));
    return free + cap * cut;
}

static int powerlaw_check(const char *spec, struct parameters *p)
{
    if (p->cap <= 0)
        p->cap = p->cols < 4 ? 1 : p->cols / 4;
    double low = 1e-9, high = p->cap;
    if (p->cap > p->cols)
        return cb_error("%s: cap exceeds the number of columns", spec);
    if (p->mean > p->cap)
        return cb_error("%s: mean exceeds cap", spec);
    for (int i = 0; i < 200; i++) {
        double middle = (low + high) / 2;
        if (pareto_mean(middle, p->alpha, p->cap) < p->mean)
            low = middle;
        else
            high = middle;
    }
    p->minimum = low;
    return 0;
}

/* Row i takes the quantile of its place in a random order instead of a random
 * number: the lengths follow the law without the luck of the longest few. */
static int powerlaw_draws(const struct parameters *p, int row)
{
    if (is_empty(p, row))
        return 0;
    double u = (permuted(p, row, p->rows) + 0.5) / p->rows;
    double x = pareto(p->minimum, u, p->alpha, p->cap);
    return (int)(x + unit(random_at(p, LENGTH, row, 0))); /* rounds up by chance: keeps the mean */
}

static int powerlaw_row(const struct parameters *p, int row, int n, uint64_t *key)
{
    if (p->skew <= 0 || p->window > 0)
        return uniform_row(p, row, n, key);
    for (int j = 0; j < n; j++) {
        int c = (int)(p->cols * pow(unit(random_at(p, COLUMN, row, j)), 1 + p->skew));
        key[j] = data_key(c < p->cols ? c : p->cols - 1, 0);
    }
    return n;
}

/* ---- hub ---- */

static int hub_check(const char *spec, struct parameters *p)
{
    if (p->hubs > p->rows || p->hubs > p->cols)
        return cb_error("%s: more hubs than rows or columns", spec);
    return uniform_check(spec, p);
}

/* Hubs are spread over the matrix: the first of each of `hubs` equal parts, shifted. */
static bool is_hub(const struct parameters *p, int row)
{
    int64_t hubs = (int64_t)p->hubs, part = hubs ? p->rows / hubs : 0;
    return hubs && row % part == part / 2 && row / part < hubs;
}

static int hub_draws(const struct parameters *p, int row)
{
    return is_hub(p, row) ? (int)(p->share * p->cols) : uniform_draws(p, row);
}

static int hub_row(const struct parameters *p, int row, int n, uint64_t *key)
{
    for (int j = 0; j < n; j++) {
        uint64_t bits = random_at(p, COLUMN, row, j);
        bool spilled = p->spill > 0 && p->hubs > 0 && !is_hub(p, row) &&
                       unit(random_at(p, SPILL, row, j)) < p->spill;
        int c = spilled ? (int)((int64_t)below(bits, (int)p->hubs) * p->cols / (int64_t)p->hubs)
                        : near_column(p, row, bits);
        key[j] = data_key(c, 0);
    }
    return n;
}

/* ---- stencil ---- */

static int stencil_check(const char *spec, struct parameters *p)
{
    int dims = (int)p->dims, points = (int)p->points;
    double m = pow(p->side, dims);
    if (dims == 2 ? points != 5 && points != 9 : points != 7 && points != 27)
        return cb_error("%s: points must be 5 or 9 in 2 dimensions, 7 or 27 in 3", spec);
    if (m > 2e8)
        return cb_error("%s: more than 2e8 points", spec);
    p->rows = p->cols = (int)m;
    return 0;
}

static int stencil_draws(const struct parameters *p, int row)
{
    (void)row;
    return (int)p->points;
}

static int stencil_row(const struct parameters *p, int row, int n, uint64_t *key)
{
    int side = (int)p->side, deep = p->dims > 2, count = 0;
    int x = row % side, y = row / side % side, z = row / side / side;
    bool star = n == 5 || n == 7; /* neighbours along one axis only */
    for (int dz = -deep; dz <= deep; dz++)
        for (int dy = -1; dy <= 1; dy++)
            for (int dx = -1; dx <= 1; dx++) {
                if (star && abs(dx) + abs(dy) + abs(dz) > 1)
                    continue;
                if (x + dx < 0 || x + dx >= side || y + dy < 0 || y + dy >= side ||
                    (deep && (z + dz < 0 || z + dz >= side)))
                    continue;
                key[count++] = data_key(row + (dz * side + dy) * side + dx, 0);
            }
    return count;
}

/* ---- band ---- */

static int band_check(const char *spec, struct parameters *p)
{
    return p->window < 1 ? cb_error("%s: window must be at least 1", spec) : 0;
}

static int band_draws(const struct parameters *p, int row)
{
    (void)row;
    return (int)lround(p->mean) + 1;
}

static int band_row(const struct parameters *p, int row, int n, uint64_t *key)
{
    key[0] = data_key(row, 0);
    return 1 + uniform_row(p, row, n - 1, key + 1);
}

/* ---- dense blocks ---- */

static int block_check(const char *spec, struct parameters *p)
{
    if (p->rows % (int)p->block || p->cols % (int)p->block)
        return cb_error("%s: block does not divide the size", spec);
    return 0;
}

static int blockdiag_draws(const struct parameters *p, int row)
{
    (void)row;
    return (int)p->block;
}

static int blockdiag_row(const struct parameters *p, int row, int n, uint64_t *key)
{
    int first = row / n * n;
    (void)p;
    for (int j = 0; j < n; j++)
        key[j] = data_key(first + j, 0);
    return n;
}

static int blockrand_draws(const struct parameters *p, int row)
{
    (void)row;
    return (int)lround(p->mean / p->block) * (int)p->block;
}

static int blockrand_row(const struct parameters *p, int row, int n, uint64_t *key)
{
    int block = (int)p->block;
    for (int j = 0; j < n; j++) {
        uint64_t bits = random_at(p, COLUMN, row / block, j / block);
        key[j] = data_key(below(bits, p->cols / block) * block + j % block, 0);
    }
    return n;
}

/* ---- sbm ---- */

/* mean * (1 + spread) * u^spread: mean stays, spread 0 makes all rows alike. */
static int sbm_draws(const struct parameters *p, int row)
{
    double u = unit(random_at(p, LENGTH, row, 0));
    return (int)(p->mean * (1 + p->spread) * pow(u, p->spread) + 0.5);
}

static int sbm_row(const struct parameters *p, int row, int n, uint64_t *key)
{
    int size = (int)p->size, first = row / size * size;
    int own = first + size <= p->rows ? size : p->rows - first;
    int inside = (int)lround(n * p->inside);
    for (int j = 0; j < n; j++) {
        uint64_t bits = random_at(p, COLUMN, row, j);
        key[j] = data_key(j < inside ? first + below(bits, own) : below(bits, p->cols), 0);
    }
    return n;
}

/* ---- road ---- */

static int road_draws(const struct parameters *p, int row)
{
    (void)p, (void)row;
    return 4;
}

/* Along the chain each edge exists with probability chain.  Two links, each with
 * probability link: within 64 consecutive nodes the partner is the node with
 * some bits flipped, so that both ends agree without being asked. */
static int road_row(const struct parameters *p, int row, int n, uint64_t *key)
{
    int count = 0;
    (void)n;
    if (row > 0 && unit(random_at(p, COLUMN, row - 1, 0)) < p->chain)
        key[count++] = data_key(row - 1, 0);
    if (row + 1 < p->rows && unit(random_at(p, COLUMN, row, 0)) < p->chain)
        key[count++] = data_key(row + 1, 0);
    for (int l = 0; l < 2; l++) {
        int flip = 16 * (l + 1) + below(random_at(p, NODE, row / 64, l), 16);
        int partner = row ^ flip, first = partner < row ? partner : row;
        if (partner < p->rows && unit(random_at(p, LINKS, first, l)) < p->link)
            key[count++] = data_key(partner, 0);
    }
    return count;
}

/* ---- fem ---- */

static int fem_check(const char *spec, struct parameters *p)
{
    if (p->rows % (int)p->dof)
        return cb_error("%s: dof does not divide m", spec);
    if (p->window < 1)
        return cb_error("%s: window must be at least 1", spec);
    return 0;
}

static int fem_draws(const struct parameters *p, int row)
{
    (void)row;
    return (int)lround(p->mean / p->dof) * (int)p->dof;
}

static int fem_row(const struct parameters *p, int row, int n, uint64_t *key)
{
    int dof = (int)p->dof, node = row / dof, nodes = p->rows / dof, window = (int)p->window;
    int low = node < window ? 0 : node - window;
    int high = nodes - 1 - node < window ? nodes - 1 : node + window;
    for (int j = 0; j < n; j++) {
        int other = low + below(random_at(p, NODE, node, j / dof), high - low + 1);
        key[j] = data_key(other * dof + j % dof, 0);
    }
    return n;
}

/* ---- rmat ---- */

static int rmat_check(const char *spec, struct parameters *p)
{
    if (p->rows & (p->rows - 1))
        return cb_error("%s: m must be a power of two", spec);
    if (p->a + p->b + p->c > 1)
        return cb_error("%s: a + b + c exceeds 1", spec);
    if (p->mean * p->rows > INT_MAX)
        return cb_error("%s: more than 2^31 draws", spec);
    return 0;
}

/* One edge: a quadrant for each bit of row and column. */
static void rmat_edge(const struct parameters *p, int levels, const uint32_t limit[3],
                      long e, int *row, int *col)
{
    uint64_t bits = 0;
    int r = 0, c = 0;
    for (int l = 0; l < levels; l++) {
        bits = l % 2 ? bits >> 32 : random_at(p, EDGE, e, l / 2);
        uint32_t u = (uint32_t)bits;
        int right = (u >= limit[0] && u < limit[1]) || u >= limit[2];
        r = 2 * r + (u >= limit[1]);
        c = 2 * c + right;
    }
    *row = r;
    *col = c;
}

static uint32_t threshold(double probability)
{
    double t = probability * 0x1p32;
    return t >= 0xffffffffp0 ? 0xffffffff : (uint32_t)t;
}

static int rmat(const char *name, const struct parameters *p, struct matrix *out)
{
    long edges = (long)(p->mean * p->rows);
    int m = p->rows, levels = 0, status = -1;
    const uint32_t limit[3] = { threshold(p->a), threshold(p->a + p->b),
                                threshold(p->a + p->b + p->c) };
    int *row = data_malloc((size_t)edges, sizeof *row);
    int *col = data_malloc((size_t)edges, sizeof *col);
    int *scrambled = p->scramble > 0 ? data_malloc((size_t)m, sizeof *scrambled) : NULL;
    if (!row || !col || (p->scramble > 0 && !scrambled)) {
        cb_error("%s: no memory for %ld edges", name, edges);
        goto done;
    }
    while (1L << levels < m)
        levels++;
    if (scrambled) {
#pragma omp parallel for schedule(static, 1024)
        for (int i = 0; i < m; i++)
            scrambled[i] = permuted(p, i, m);
    }
#pragma omp parallel for schedule(static, 1024)
    for (long e = 0; e < edges; e++) {
        rmat_edge(p, levels, limit, e, &row[e], &col[e]);
        if (scrambled) {
            row[e] = scrambled[row[e]];
            col[e] = scrambled[col[e]];
        }
    }
    status = data_csr_triples(name, m, m, edges, row, col, NULL, true, NULL, out);
done:
    data_free(row);
    data_free(col);
    data_free(scrambled);
    return status;
}

/* ---- social ---- */

static int social_check(const char *spec, struct parameters *p)
{
    p->rows = p->cols = (int)lround(p->m * p->scale);
    if (p->rows < 2)
        return cb_error("%s: fewer than 2 nodes", spec);
    if (p->cap <= 0)
        p->cap = p->rows;
    if (p->mean > p->cap || p->mean >= p->rows)
        return cb_error("%s: mean exceeds cap or the number of nodes", spec);
    return 0;
}

static int social(const char *name, const struct parameters *p, struct matrix *out)
{
    const struct data_social s = { p->key, p->rows, p->mean, p->sigma, p->cap };
    return data_social(name, &s, out);
}

/* ---- the families ---- */

static const struct family families[] = {
    { "uniform", "seed=1,m=65536,k=0,mean=16,width=0,window=0,empty=0", uniform_check,
      uniform_draws, uniform_row, NULL },
    { "bipartite", "seed=1,m=65536,k=4096,mean=16,width=0,window=0,empty=0", uniform_check,
      uniform_draws, uniform_row, NULL },
    { "longrow", "seed=1,m=4096,k=262144,mean=500,width=0,window=0,empty=0", uniform_check,
      uniform_draws, uniform_row, NULL },
    { "powerlaw", "seed=1,m=65536,k=0,mean=16,alpha=2.1,cap=0,skew=0,window=0,empty=0",
      powerlaw_check, powerlaw_draws, powerlaw_row, NULL },
    { "hub", "seed=1,m=65536,k=0,mean=8,width=0,window=0,empty=0,hubs=16,share=0.25,spill=0",
      hub_check, hub_draws, hub_row, NULL },
    { "rmat", "seed=1,m=65536,mean=16,a=0.57,b=0.19,c=0.19,scramble=1", rmat_check, NULL, NULL,
      rmat },
    { "stencil", "seed=1,dims=2,points=5,side=256", stencil_check, stencil_draws,
      stencil_row, NULL },
    { "band", "seed=1,m=65536,mean=16,window=256", band_check, band_draws, band_row, NULL },
    { "blockdiag", "seed=1,m=65536,block=16", block_check, blockdiag_draws, blockdiag_row, NULL },
    { "blockrand", "seed=1,m=65536,k=0,mean=128,block=16", block_check, blockrand_draws,
      blockrand_row, NULL },
    { "sbm", "seed=1,m=65536,mean=64,size=512,inside=0.7,spread=1", NULL, sbm_draws, sbm_row,
      NULL },
    { "road", "seed=1,m=65536,chain=0.75,link=0.33", NULL, road_draws, road_row, NULL },
    { "fem", "seed=1,m=65536,mean=48,dof=4,window=128", fem_check, fem_draws, fem_row, NULL },
    { "social", "seed=1,m=65536,mean=16,sigma=1.2,cap=0,scale=1", social_check, NULL, NULL,
      social },
};
enum { FAMILIES = sizeof families / sizeof *families };

/*
 * The presets.  Rows, entries, mean, deviation and maximum were set as targets;
 * the parameters were found by matching them.  A round "1 M" is 10^6 throughout:
 * 2.0 M entries at a mean of 2.0 leave no other reading, and the sides of the
 * stencils (2000^2, 100^3) and the rectangular ones agree with it.
 */
static const struct preset {
    const char *name, *spec;
} presets[] = {
    { "uni_16k_d10", "uniform,m=16384,mean=10,width=3" },
    { "uni_256k_d16", "uniform,m=262144,mean=16,width=8" },
    { "uni_1M_d2", "uniform,m=1000000,mean=2,width=2" },
    { "uni_2M_d16", "uniform,m=2000000,mean=16,width=4" },
    /* 1024 draws of 16,384 leave 993 */
    { "dl_16k_6pct", "uniform,m=16384,mean=1024,width=64" },
    { "rmat14_e16", "rmat,m=16384,mean=16" },
    { "rmat17_e16", "rmat,m=131072,mean=16" },
    { "rmat20_e16", "rmat,m=1048576,mean=16" },
    { "rmat17x_e32", "rmat,m=131072,mean=32,a=0.65,b=0.15,c=0.15" },
    { "rmat18m_e8", "rmat,m=262144,mean=8,a=0.45,b=0.22,c=0.22,scramble=0" },
    { "powerlaw_a2.1_500k", "powerlaw,m=500000,mean=14.6,alpha=2.1,cap=60000,skew=1" },
    { "powerlaw_a1.8_100k", "powerlaw,m=100000,mean=103.5,alpha=1.8,cap=25000" },
    { "arrow_200k", "hub,m=200000,mean=6,width=2,hubs=13,share=0.335,spill=0.3" },
    { "hub_100k", "hub,m=100000,mean=12.5,width=3,hubs=66,share=0.25" },
    { "st2d5_2000", "stencil,dims=2,points=5,side=2000" },
    { "st2d9_1024", "stencil,dims=2,points=9,side=1024" },
    { "st3d7_100", "stencil,dims=3,points=7,side=100" },
    { "st3d27_64", "stencil,dims=3,points=27,side=64" },
    /* 16 draws among 241 nodes leave 15.5 */
    { "fem3_150k_d48", "fem,m=150000,mean=48,dof=3,window=120" },
    { "band_64k_d100", "band,m=65536,mean=100,window=1000" },
    { "road_2M", "road,m=2000000,chain=0.757,link=0.329" },
    { "bdiag64_64k", "blockdiag,m=65536,block=64" },
    { "blockrand16_128k", "blockrand,m=131072,mean=128,block=16" },
    { "sbm_233k_d100", "sbm,m=232960,mean=97,size=512,inside=0.7,spread=1.35" },
    { "bip_500kx20k_d3", "bipartite,m=500000,k=20000,mean=3,width=2" },
    { "longrow_10kx1M_d500", "longrow,m=10240,k=1000000,mean=500,width=250" },
    /* Nodes, edges and the deviation of the degrees of graphs that papers on graph networks
     * train on; mean and sigma were found by matching them (a pair drawn twice counts once).
     * A log-normal law has no hub as far out as Cora's with 169 edges. */
    { "cora_size", "social,m=2708,mean=4.53,sigma=0.88,cap=169" },
    { "citeseer_size", "social,m=3327,mean=1.8,sigma=1.15,cap=99" },
    { "pubmed_size", "social,m=19717,mean=3.93,sigma=1.22,cap=171" },
    { "reddit_size", "social,m=232965,mean=499,sigma=1.17,cap=24000" },
    { "reddit_hundredth", "social,m=232965,mean=499,sigma=1.17,cap=24000,scale=0.01" },
    { "products_size", "social,m=2449029,mean=50.49,sigma=1.24,cap=20000" },
};
enum { PRESETS = sizeof presets / sizeof *presets };

/* ---- specs ---- */

static double *parameter_of(struct parameters *p, const struct parameter *which)
{
    return (double *)(void *)((char *)p + which->offset);
}

/* One name=value of a spec, from at to its comma; checked against ranges only
 * if ranged (defaults may hold 0 for "as m"). */
static int set_parameter(const char *spec, const char *at, size_t length, const char *allowed,
                         bool ranged, struct parameters *p)
{
    const char *equals = memchr(at, '=', length);
    char pattern[32], text[32], *end;
    if (!equals || equals == at || (size_t)(equals - at) > 16)
        return cb_error("%s: '%.*s' is not name=value", spec, (int)length, at);
    int n = (int)(equals - at);
    size_t digits = length - (size_t)n - 1;
    const struct parameter *which = NULL;
    for (int i = 0; i < PARAMETERS; i++)
        if (strlen(parameters[i].name) == (size_t)n && !memcmp(parameters[i].name, at, (size_t)n))
            which = &parameters[i];
    snprintf(pattern, sizeof pattern, ",%.*s=", n, at);
    if (!which || (!strstr(allowed, pattern) && strncmp(allowed, pattern + 1, (size_t)n + 1)))
        return cb_error("%s: no parameter '%.*s'; there are %s", spec, n, at, allowed);
    if (!digits || digits >= sizeof text || strspn(equals + 1, "0123456789.eE+-") < digits)
        return cb_error("%s: '%.*s' is not a number", spec, (int)digits, equals + 1);
    memcpy(text, equals + 1, digits);
    text[digits] = 0;
    double v = strtod(text, &end);
    if (*end)
        return cb_error("%s: '%s' is not a number", spec, text);
    if (ranged && (!(v >= which->low && v <= which->high) || (which->whole && v != floor(v))))
        return cb_error("%s: %s must be %s from %.15g to %.15g", spec, which->name,
                        which->whole ? "a whole number" : "a number", which->low, which->high);
    *parameter_of(p, which) = v;
    return 0;
}

static int set_all(const char *spec, const char *list, const char *allowed, bool ranged,
                   struct parameters *p)
{
    while (*list) {
        size_t n = strcspn(list, ",");
        if (set_parameter(spec, list, n, allowed, ranged, p))
            return -1;
        list += n + (list[n] == ',');
    }
    return 0;
}

static int parse(const char *spec, struct parameters *p, const struct family **family)
{
    size_t n = strcspn(spec, ",");
    *p = (struct parameters){ 0 };
    *family = NULL;
    if (strlen(spec) >= sizeof((struct matrix *)0)->gen)
        return cb_error("%.40s...: longer than %zu characters", spec,
                        sizeof((struct matrix *)0)->gen - 1);
    for (int i = 0; i < FAMILIES; i++)
        if (strlen(families[i].name) == n && !memcmp(families[i].name, spec, n))
            *family = &families[i];
    if (!*family)
        return cb_error("%s: no generator '%.*s'", spec, (int)n, spec);
    if (set_all(spec, (*family)->defaults, (*family)->defaults, false, p) ||
        set_all(spec, spec + n + (spec[n] == ','), (*family)->defaults, true, p))
        return -1;
    p->rows = (int)p->m;
    p->cols = p->k > 0 ? (int)p->k : p->rows;
    p->key = data_mix((uint64_t)p->seed + 1);
    if ((*family)->check && (*family)->check(spec, p))
        return -1;
    return 0;
}

int generate_check(const char *spec)
{
    struct parameters p;
    const struct family *f;
    return parse(spec, &p, &f);
}

const char *generate_preset(const char *name)
{
    for (int i = 0; i < PRESETS; i++)
        if (!strcmp(presets[i].name, name))
            return presets[i].spec;
    return NULL;
}

const char *generate_preset_name(int i, const char **spec)
{
    if (i < 0 || i >= PRESETS)
        return NULL;
    if (spec)
        *spec = presets[i].spec;
    return presets[i].name;
}

const char *generate_family_name(int i)
{
    return i >= 0 && i < FAMILIES ? families[i].name : NULL;
}

/* ---- generating ---- */

static int by_rows(const char *name, const struct family *f, const struct parameters *p,
                   struct matrix *out)
{
    int status = -1;
    long *start = data_malloc((size_t)p->rows + 1, sizeof *start);
    int *count = data_malloc((size_t)p->rows, sizeof *count);
    uint64_t *key = NULL;
    if (!start || !count) {
        cb_error("%s: no memory for %d rows", name, p->rows);
        goto done;
    }
#pragma omp parallel for schedule(static, 1024)
    for (int i = 0; i < p->rows; i++)
        count[i] = f->draws(p, i);
    start[0] = 0;
    for (int i = 0; i < p->rows; i++)
        start[i + 1] = start[i] + count[i];
    if (start[p->rows] > INT_MAX) {
        cb_error("%s: %ld draws, more than %d", name, start[p->rows], INT_MAX);
        goto done;
    }
    key = data_malloc((size_t)start[p->rows], sizeof *key);
    if (!key) {
        cb_error("%s: no memory for %ld entries", name, start[p->rows]);
        goto done;
    }
#pragma omp parallel for schedule(dynamic, 256)
    for (int i = 0; i < p->rows; i++)
        count[i] = f->row(p, i, count[i], key + start[i]);
    status = data_csr(name, p->rows, p->cols, start, count, key, true, NULL, out);
done:
    data_free(start);
    data_free(count);
    data_free(key);
    return status;
}

int generate(const char *name, const char *spec, struct matrix *out)
{
    struct parameters p;
    const struct family *f;
    *out = (struct matrix){ 0 };
    if (parse(spec, &p, &f))
        return -1;
    data_text(out->name, sizeof out->name, name);
    data_text(out->source, sizeof out->source, "generated");
    data_text(out->gen, sizeof out->gen, spec);
    if (f->edges ? f->edges(name, &p, out) : by_rows(name, f, &p, out)) {
        *out = (struct matrix){ 0 };
        return -1;
    }
    data_hash_values(out, p.key);
    if (data_seal(out)) {
        matrix_free(out);
        return -1;
    }
    return 0;
}
