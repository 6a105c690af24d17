/*
 * spmm_sweep.c - times the candidates of daspmm_select on random matrices.
 *
 *     spmm_sweep [-o FILE.tsv.gz] [-t SECONDS] [-m MATRICES] [-e ENTRIES] [-s SEED]
 *                [-d DEVICE] [-n COLUMNS] [-p] [-r]
 *
 * What train_choice.py learns from needs many matrices and can do with coarse times: three
 * short windows, up to nine where they differ, operands in cache, each candidate once.  A matrix
 * is a family of generate.h with random parameters; families take turns, so that a sweep that
 * is stopped early has seen all alike.  The next matrix is generated while one is timed.
 * -p: the presets instead, on which the trained row is judged.
 * -n: this n alone, one of those that are swept; what was timed is printed too, with set-up.
 * -r: go on with FILE, made by the same program on the same GPU with the same -n; what -t or a kill
 *     left out follows.
 *
 * FILE: lines of matrix, the traits of choose.h, then the candidates' times in
 * microseconds, "-" where one does not cover the problem.  Lines with # come first.
 */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "../harness/error.h"
#include "../harness/device.h"
#include "../harness/stats.h"
#include "../kernels/spmm/choose.h"
#include "../suites/data/build.h"
#include "../suites/data/generate.h"
#include "../suites/ops/bind.h"
#include "sweep_kept.h"

/* Row-major, of each algorithm the form that was ahead of its like somewhere. */
static const char *const candidates[] = {
    "own_row", "own_merge", "own_spmv", "own_scan", "own_stage", "rb_sr_rm", "rb_pr_rm", "eb_sr_rm",
    "eb_pr_rm", "rb_sr_rm_rc", "eb_sr_rm_rc", "cusparse_csr_alg2_pre_rm",
    "cusparse_csr_alg3_pre_rm", "cusparse_coo_alg1_rm", "cusparse_coo_alg4_rm",
    "cusparse_spmv_csr_alg2", "cusparse_spmv_coo_alg1", "host_rb", "host_eb",
};
enum { CANDIDATES = sizeof candidates / sizeof *candidates };

static const int columns[] = { 1, 2, 4, 8, 16, 32, 64, 128, 256 };
enum { COLUMNS = sizeof columns / sizeof *columns, COLUMNS_MAX = 256 };

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- random matrices ---- */

struct draw {
    uint64_t seed, count;
};

static double unit(struct draw *d)
{
    return (double)(data_hash(d->seed, d->count++, 77) >> 11) * 0x1p-53;
}

static double between(struct draw *d, double low, double high)
{
    return low + (high - low) * unit(d);
}

/* Evenly in the logarithm. */
static double scaled(struct draw *d, double low, double high)
{
    return low * pow(high / low, unit(d));
}

static int one_of(struct draw *d, int count)
{
    return (int)(unit(d) * count);
}

/* Matrix number i: a spec of about `entries` entries. */
static void random_spec(uint64_t seed, int i, double most, char *out, size_t size)
{
    struct draw d = { seed + 1000003ULL * (uint64_t)i, 0 };
    const double entries = scaled(&d, 60e3 < most / 8 ? 60e3 : most / 8, most);
    const int draws = (int)(data_hash(seed, (uint64_t)i, 3) % 1000000);
    double mean = scaled(&d, 1.5, 128), m = entries / mean;
    m = m < 1500 ? 1500 : m > 3e6 ? 3e6 : m;
    switch (i % 13) {
    case 0:
    case 7: /* uniform; every other time around the diagonal */
        snprintf(out, size, "uniform,seed=%d,m=%.0f,mean=%.2f,width=%.0f,window=%.0f,empty=%.2f",
                 draws, m, mean, floor(between(&d, 0, mean)),
                 one_of(&d, 3) ? 0 : scaled(&d, 64, 20000),
                 one_of(&d, 3) ? 0 : between(&d, 0, .5));
        break;
    case 1:
        mean = scaled(&d, 2, 100);
        m = entries / mean + 1000;
        snprintf(out, size, "bipartite,seed=%d,m=%.0f,k=%.0f,mean=%.2f,width=%.0f", draws, m,
                 mean + scaled(&d, 2e3, fmin(1e6, entries)), mean, floor(between(&d, 0, mean)));
        break;
    case 2:
        mean = scaled(&d, 150, 1500);
        snprintf(out, size, "longrow,seed=%d,m=%.0f,k=%.0f,mean=%.0f,width=%.0f", draws,
                 entries / mean + 64, scaled(&d, 8e3, fmin(1e6, 2 * entries)), mean,
                 floor(between(&d, 0, mean)));
        break;
    case 3:
    case 8:
        mean = scaled(&d, 2, 64);
        snprintf(out, size, "powerlaw,seed=%d,m=%.0f,mean=%.2f,alpha=%.2f,skew=%.1f,empty=%.2f",
                 draws, entries / mean + 1000, mean, between(&d, 1.6, 3.2),
                 one_of(&d, 2) ? 0 : between(&d, 0, 3), one_of(&d, 3) ? 0 : between(&d, 0, .5));
        break;
    case 4:
        mean = scaled(&d, 2, 32);
        m = entries / mean / 2 + 2000;
        snprintf(out, size, "hub,seed=%d,m=%.0f,mean=%.2f,width=%.0f,hubs=%d,share=%.2f,spill=%.2f",
                 draws, m, mean, floor(between(&d, 0, mean)),
                 1 + (int)(scaled(&d, 4, 40) * entries / m / 20), between(&d, .02, .5),
                 one_of(&d, 2) ? 0 : between(&d, 0, .5));
        break;
    case 5:
    case 9: {
        double a = between(&d, .35, .68), b = between(&d, .3, .5) * (1 - a);
        mean = scaled(&d, 4, 40);
        snprintf(out, size, "rmat,seed=%d,m=%.0f,mean=%.2f,a=%.2f,b=%.2f,c=%.2f,scramble=%d", draws,
                 exp2(floor(log2(entries / mean))), mean, a, b, b, one_of(&d, 3) > 0);
        break;
    }
    case 6: {
        static const int kinds[][2] = { { 2, 5 }, { 2, 9 }, { 3, 7 }, { 3, 27 } };
        const int *kind = kinds[one_of(&d, 4)];
        snprintf(out, size, "stencil,seed=%d,dims=%d,points=%d,side=%.0f", draws, kind[0], kind[1],
                 floor(pow(entries / kind[1], 1.0 / kind[0])));
        break;
    }
    case 10:
        mean = scaled(&d, 3, 200);
        snprintf(out, size, "band,seed=%d,m=%.0f,mean=%.0f,window=%.0f", draws,
                 entries / mean + 1000, mean, scaled(&d, mean + 2, 5000));
        break;
    case 11: {
        const int block = 1 << (2 + one_of(&d, 5));
        if (one_of(&d, 2))
            snprintf(out, size, "blockdiag,seed=%d,m=%.0f,block=%d", draws,
                     ceil(entries / block / block) * block, block);
        else
            snprintf(out, size, "blockrand,seed=%d,m=%.0f,mean=%d,block=%d", draws,
                     ceil(entries / (4 * block) / block + 1) * block, 4 * block, block);
        break;
    }
    default:
        switch (one_of(&d, 3)) {
        case 0:
            mean = scaled(&d, 10, 150);
            snprintf(out, size, "sbm,seed=%d,m=%.0f,mean=%.1f,size=%.0f,inside=%.2f,spread=%.2f",
                     draws, entries / mean + 1000, mean, scaled(&d, 64, 4096), between(&d, .2, .95),
                     between(&d, 0, 2));
            break;
        case 1:
            snprintf(out, size, "road,seed=%d,m=%.0f,chain=%.2f,link=%.2f", draws, entries / 2.5,
                     between(&d, .4, 1), between(&d, .1, .6));
            break;
        default: {
            const int dof = 1 + one_of(&d, 6), nodes = 4 + one_of(&d, 20);
            snprintf(out, size, "fem,seed=%d,m=%.0f,mean=%d,dof=%d,window=%.0f", draws,
                     ceil(entries / (nodes * dof) / dof) * dof, nodes * dof, dof,
                     scaled(&d, nodes + 1, 2000));
        }
        }
    }
}

/* ---- the next matrix, generated beside the timing ---- */

struct maker {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t seed;
    int count, next;    /* matrices in all; number of the one in `ready` */
    double entries;
    struct matrix ready;
    bool full, stop, presets;
    int refused;
    char spec[128];
    const struct kept *kept;
};

static void *make_matrices(void *arg)
{
    struct maker *k = arg;
    for (int i = 0; i < k->count; i++) {
        struct matrix m = { 0 };
        const char *preset = NULL;
        char spec[128];
        random_spec(k->seed, i, k->entries, spec, sizeof spec);
        if (k->presets && !generate_preset_name(i, &preset))
            break;
        if (preset)
            snprintf(spec, sizeof spec, "%s", preset);
        if (is_kept(k->kept, spec))
            continue;
        int status = generate(spec, spec, &m);
        if (status)
            fprintf(stderr, "%s\n", cb_error_text());
        pthread_mutex_lock(&k->lock);
        k->refused += status != 0;
        while (k->full && !k->stop)
            pthread_cond_wait(&k->changed, &k->lock);
        if (k->stop || status) {
            matrix_free(&m);
        } else {
            k->ready = m;
            snprintf(k->spec, sizeof k->spec, "%s", spec);
            k->full = true;
            pthread_cond_broadcast(&k->changed);
        }
        bool stop = k->stop;
        pthread_mutex_unlock(&k->lock);
        if (stop)
            break;
    }
    pthread_mutex_lock(&k->lock);
    k->next = -1;
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

/* false: there is none left. */
static bool take_matrix(struct maker *k, struct matrix *out, char *spec, size_t size)
{
    pthread_mutex_lock(&k->lock);
    while (!k->full && k->next >= 0)
        pthread_cond_wait(&k->changed, &k->lock);
    bool have = k->full;
    if (have) {
        *out = k->ready;
        k->ready = (struct matrix){ 0 };
        snprintf(spec, size, "%s", k->spec);
        k->full = false;
        pthread_cond_broadcast(&k->changed);
    }
    pthread_mutex_unlock(&k->lock);
    return have;
}

/* ---- timing ---- */

enum { WINDOWS_LEAST = 3, WINDOWS_MOST = 9 };

struct operands {
    struct cb_device *d;
    struct spmm_problem p;
    struct spmm_matrix host;
    struct spmm_args args; /* on the device */
};

struct launch {
    const struct operands *o;
    const struct spmm_impl *impl;
    void *state;
};

static int enqueue(void *arg, int step)
{
    struct launch *l = arg;
    (void)step;
    return op_result(l->impl->run(&l->o->p, &l->o->args, l->state, cb_device_stream(l->o->d)),
                     l->impl->base.name, "launch");
}

/* The middle half lies within 1.5 %: of three, all within 3 %. */
static bool agree(const double *t, int count)
{
    struct cb_stats of;
    return !cb_stats(t, count, &of) && of.p75 <= 1.015 * of.p25;
}

/* Median of windows of about 80 us, three or until most agree; one execution where that is `slow`
 * already. */
static int time_bound(struct cb_device *d, struct launch *l, double slow, double *us)
{
    struct cb_window w = { 0 };
    struct cb_graph *g = NULL;
    double t[WINDOWS_MOST] = { 0 };
    int count = 0;
    if (enqueue(l, 0) || cb_sync(d) || cb_window(d, enqueue, l, 0, 1, true, &w))
        return -1;
    *us = w.us;
    if (w.us > slow)
        return 0;
    int times = (int)fmin(CB_GATE_MAX / 2, fmax(1, 80 / fmax(w.us, 1)));
    int status = cb_graph_make(d, enqueue, l, times, &g);
    while (!status && (count < WINDOWS_LEAST ||
                       (count < WINDOWS_MOST && (count % 2 == 0 || !agree(t, count))))) {
        status = g ? cb_graph_window(d, g, true, &w) : cb_window(d, enqueue, l, 0, times, true, &w);
        t[count++] = w.us / times;
    }
    cb_graph_free(d, g);
    *us = count ? cb_median(t, count) : *us;
    return status;
}

static bool runs_here(const struct cb_device *d, const struct spmm_impl *i,
                      const struct spmm_problem *p)
{
    const int sm = cb_device_info(d)->sm;
    return i && sm >= i->base.sm_min && sm <= i->base.sm_max && spmm_choosable(i, p);
}

/* Microseconds of each candidate, 0: it does not cover the problem; and of its set-up. */
static int time_candidates(struct operands *o, double *us, double *set_up)
{
    double best = 1e30;
    for (int c = 0; c < CANDIDATES; c++) {
        struct launch l = { o, spmm_find(candidates[c]), NULL };
        struct op_pool pool = { .device = o->d };
        struct op_memory memory = op_pool_memory(&pool);
        enum op_status s = OP_OK;
        int status = 0;
        us[c] = set_up[c] = 0;
        if (!runs_here(o->d, l.impl, &o->p))
            continue;
        const double begin = seconds();
        if (l.impl->setup)
            s = l.impl->setup(&o->p, &o->host, &o->args, &memory, cb_device_stream(o->d), &l.state);
        status = cb_sync(o->d);
        set_up[c] = 1e6 * (seconds() - begin);
        if (!s && !status)
            status = time_bound(o->d, &l, 4 * best, &us[c]);
        if (!s && l.impl->teardown)
            l.impl->teardown(l.state);
        op_pool_free(&pool);
        if (status)
            return -1;
        if (us[c] > 0 && us[c] < best)
            best = us[c];
    }
    return 0;
}

static void write_line(gzFile f, const char *spec, const double *x, const double *us)
{
    gzprintf(f, "%s", spec);
    for (int i = 0; i < SPMM_TRAITS; i++)
        gzprintf(f, "\t%.9g", x[i]);
    for (int c = 0; c < CANDIDATES; c++)
        if (us[c] > 0)
            gzprintf(f, "\t%.5g", us[c]);
        else
            gzprintf(f, "\t-");
    gzprintf(f, "\n");
}

static int put(struct cb_device *d, const void **to, const void *from, size_t bytes)
{
    void *p = NULL;
    if (cb_alloc(d, bytes, &p))
        return -1;
    *to = p;
    return cb_upload(d, p, from, bytes);
}

/* Each candidate with its set-up, and what it is against the fastest of cuSPARSE. */
static void print_times(const char *spec, int n, const double *us, const double *set_up)
{
    double best = 0;
    for (int c = 0; c < CANDIDATES; c++)
        if (us[c] > 0 && !strncmp(candidates[c], "cusparse_", 9) && (best == 0 || us[c] < best))
            best = us[c];
    printf("%s n %d\n", spec, n);
    for (int c = 0; c < CANDIDATES; c++)
        if (us[c] > 0)
            printf("  %-26s %9.2f us %6.3f of cuSPARSE, set-up %9.0f us\n", candidates[c], us[c],
                   best / us[c], set_up[c]);
    fflush(stdout);
}

/* All n of one matrix, or `only`, if not 0. */
static int sweep_matrix(struct cb_device *d, const struct matrix *m, const char *spec, int only,
                        gzFile f)
{
    struct operands o = { .d = d };
    const void **mine[] = { (const void **)&o.args.a.row_ptr, (const void **)&o.args.a.col,
                            (const void **)&o.args.a.row, &o.args.a.val };
    const size_t nnz = (size_t)m->nnz, rows = (size_t)m->rows;
    int *row = malloc((nnz + 1) * sizeof *row), status = -1;
    void *b = NULL;
    if (!row) {
        cb_error("no memory for row numbers");
        goto done;
    }
    for (int i = 0; i < m->rows; i++)
        for (int e = m->row_ptr[i]; e < m->row_ptr[i + 1]; e++)
            row[e] = i;
    o.host = (struct spmm_matrix){ m->row_ptr, m->col, row, m->val };
    spmm_describe(m->rows, m->cols, m->row_ptr, &o.p);
    if (put(d, mine[0], m->row_ptr, (rows + 1) * sizeof(int)) ||
        put(d, mine[1], m->col, nnz * sizeof(int)) || put(d, mine[2], row, nnz * sizeof(int)) ||
        put(d, mine[3], m->val, nnz * sizeof(float)) ||
        cb_alloc(d, (size_t)m->cols * COLUMNS_MAX * sizeof(float), &b) ||
        cb_random(d, b, CB_F32, CB_UNIFORM, 1, 1, 0, m->cols, COLUMNS_MAX, false) ||
        cb_alloc(d, rows * COLUMNS_MAX * sizeof(float), &o.args.c))
        goto done;
    o.args.b = b;
    for (int i = 0; i < COLUMNS; i++) {
        double x[SPMM_TRAITS], us[CANDIDATES], set_up[CANDIDATES];
        if (only && only != columns[i])
            continue;
        o.p.n = columns[i];
        spmm_traits(&o.p, &o.host, x);
        if (time_candidates(&o, us, set_up))
            goto done;
        write_line(f, spec, x, us);
        if (only)
            print_times(spec, only, us, set_up);
    }
    status = 0;
done:
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++)
        cb_free(d, (void *)*mine[i]);
    cb_free(d, b);
    cb_free(d, o.args.c);
    free(row);
    return status;
}

static void head_of(const struct cb_device *d, uint64_t seed, int only, char *out, size_t size)
{
    size_t at = (size_t)snprintf(out, size,
                                 "# claimbench/spmm_times 1.0.0\n# gpu\t%s\n# seed\t%llu\n",
                                 cb_device_info(d)->name, (unsigned long long)seed);
    if (only)
        at += (size_t)snprintf(out + at, size - at, "# n\t%d\n", only);
    at += (size_t)snprintf(out + at, size - at, "matrix");
    for (int i = 0; i < SPMM_TRAITS; i++)
        at += (size_t)snprintf(out + at, size - at, "\t%s", spmm_trait_names[i]);
    for (int c = 0; c < CANDIDATES; c++)
        at += (size_t)snprintf(out + at, size - at, "\t%s", candidates[c]);
    snprintf(out + at, size - at, "\n");
}

static int sweep(struct cb_device *d, gzFile f, struct maker *k, int only, double limit)
{
    const double begin = seconds();
    struct matrix m = { 0 };
    char spec[128];
    int done = 0, status = 0;
    while (!status && seconds() - begin < limit && take_matrix(k, &m, spec, sizeof spec)) {
        status = sweep_matrix(d, &m, spec, only, f);
        matrix_free(&m);
        gzflush(f, Z_SYNC_FLUSH); /* what is there survives a kill */
        if (!status && ++done % 20 == 0)
            fprintf(stderr, "%d of %d matrices, %.0f s\n", done, k->count, seconds() - begin);
    }
    fprintf(stderr, "%d matrices timed, %d specs refused, %.0f s\n", done, k->refused,
            seconds() - begin);
    return status;
}

int main(int argc, char **argv)
{
    struct maker k = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER,
                       .seed = 1, .count = 420, .entries = 4e6 };
    const char *out = "times.tsv.gz", *device = "auto";
    double limit = 180;
    struct cb_device *d = NULL;
    struct kept kept = { 0 };
    pthread_t thread;
    char head[4096];
    bool resume = false;
    int c, only = 0, status = 1;
    while ((c = getopt(argc, argv, "o:t:m:e:s:d:n:pr")) >= 0)
        switch (c) {
        case 'o': out = optarg; break;
        case 't': limit = atof(optarg); break;
        case 'm': k.count = atoi(optarg); break;
        case 'e': k.entries = atof(optarg); break;
        case 's': k.seed = strtoull(optarg, NULL, 10); break;
        case 'd': device = optarg; break;
        case 'n': only = atoi(optarg); break;
        case 'p': k.presets = true; break;
        case 'r': resume = true; break;
        default:
            fprintf(stderr, "usage: %s [-o FILE.tsv.gz] [-t SECONDS] [-m MATRICES] [-e ENTRIES] "
                            "[-s SEED] [-d DEVICE] [-n COLUMNS] [-p] [-r]\n", argv[0]);
            return 2;
        }
    if (cb_device_open(device, &d)) {
        fprintf(stderr, "%s\n", cb_error_text());
        return 1;
    }
    head_of(d, k.seed, only, head, sizeof head);
    if (resume && keep_file(out, head, only ? 1 : COLUMNS, &kept)) {
        fprintf(stderr, "%s\n", cb_error_text());
        return 1;
    }
    gzFile f = gzopen(out, "wb");
    if (!f) {
        fprintf(stderr, "%s: cannot be written\n", out);
        return 1;
    }
    gzputs(f, head);
    gzwrite(f, kept.lines, (unsigned)kept.length);
    if (kept.matrices)
        fprintf(stderr, "%d matrices are there\n", kept.matrices);
    k.kept = &kept;
    if (pthread_create(&thread, NULL, make_matrices, &k) == 0) {
        status = sweep(d, f, &k, only, limit) ? 1 : 0;
        if (status)
            fprintf(stderr, "%s\n", cb_error_text());
        pthread_mutex_lock(&k.lock);
        k.stop = true;
        pthread_cond_broadcast(&k.changed);
        pthread_mutex_unlock(&k.lock);
        pthread_join(thread, NULL);
        matrix_free(&k.ready);
    }
    if (gzclose(f) != Z_OK)
        status = 1;
    free(kept.lines);
    cb_device_close(d);
    return status;
}
