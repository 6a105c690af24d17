/* record.c - cases to JSON, journals to result documents. */
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "error.h"
#include "params.h"
#include "sha.h"

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *text(const char *s)
{
    return s && s[0] ? json_string(s) : json_null();
}

static json_t *pair(double a, double b)
{
    json_t *list = json_array();
    json_array_append_new(list, number(a));
    json_array_append_new(list, number(b));
    return list;
}

static void put(json_t *o, const char *key, json_t *v)
{
    json_object_set_new(o, key, v);
}

json_t *cb_kernel_json(const struct cb_op *op, const struct op_impl *i)
{
    json_t *o = json_object(), *flags = json_array();
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = { { OP_SYNCS, "syncs" }, { OP_NO_CAPTURE, "no_capture" },
                  { OP_KNOWN_WRONG, "known_wrong" }, { OP_CHOOSES, "chooses" } };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        if (i->flags & names[k].bit)
            json_array_append_new(flags, json_string(names[k].name));
    put(o, "id", json_string(i->name));
    put(o, "op", json_string(op->name));
    put(o, "title", json_string(i->title));
    put(o, "role", json_string(op_role_name(i->role)));
    put(o, "origin", text(i->origin));
    put(o, "ablates", text(i->ablates));
    put(o, "stage", json_string(op_stage_name(i->stage)));
    put(o, "layout", text(i->layout));
    put(o, "flags", flags);
    put(o, "known_wrong", text(i->known_wrong));
    return o;
}

static json_t *figures_json(const struct cb_figure *f, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        json_t *o = json_object();
        put(o, "name", json_string(f[i].name));
        put(o, "unit", json_string(f[i].unit));
        put(o, "value", number(f[i].value));
        put(o, "low", number(f[i].low));
        put(o, "high", number(f[i].high));
        json_array_append_new(list, o);
    }
    return list;
}

json_t *cb_time_json(const struct cb_timing *t)
{
    const struct cb_stats *s = &t->stats;
    json_t *o = json_object();
    put(o, "n", json_integer(s->n));
    const struct {
        const char *name;
        double value;
    } list[] = { { "n_eff", s->n_eff }, { "min", s->min },   { "p5", s->p5 },
                 { "p25", s->p25 },     { "median", s->median }, { "p75", s->p75 },
                 { "p95", s->p95 },     { "max", s->max },   { "mean", s->mean },
                 { "stdev", s->stdev }, { "mad", s->mad },   { "robust_cv", s->robust_cv },
                 { "h", s->h },         { "r1", s->r1 },     { "tau", s->tau },
                 { "null_us", t->null_us }, { "estimate_us", t->estimate_us } };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        put(o, list[i].name, number(list[i].value));
    put(o, "ci95", pair(s->ci95.low, s->ci95.high));
    put(o, "stop", text(t->stop));
    if (s->bimodal)
        put(o, "modes", pair(s->mode_low, s->mode_high));
    if (s->spikes)
        put(o, "spikes", json_integer(s->spikes));
    return o;
}

static json_t *accuracy_json(const struct cb_outcome *o)
{
    const struct cb_accuracy *a = &o->r1;
    json_t *j = json_object();
    if (!a->compared) {
        put(j, "status", json_string("unchecked"));
        return j;
    }
    bool fine = o->status == CB_OK;
    put(j, "status", json_string(fine ? "pass" : "fail"));
    put(j, "post_check", json_boolean(o->post_check));
    put(j, "deterministic", o->ran_once ? json_null() : json_boolean(o->deterministic));
    put(j, "rel_fro", number(a->rel_fro));
    put(j, "max_abs", number(a->max_abs));
    put(j, "max_rel", number(a->max_rel));
    put(j, "mean", number(a->mean));
    put(j, "cosine", number(a->cosine));
    put(j, "n_bad", json_integer(a->bad));
    put(j, "n_nan", json_integer(a->nonfinite));
    put(j, "compared", json_integer(a->compared));
    if (o->r2.compared) {
        json_t *r2 = json_object();
        put(r2, "rel_fro", number(o->r2.rel_fro));
        put(r2, "max_abs", number(o->r2.max_abs));
        put(r2, "cosine", number(o->r2.cosine));
        put(j, "r2", r2);
    }
    return j;
}

static json_t *work_json(const struct cb_work *w)
{
    json_t *o = json_object();
    put(o, "flops", number(w->flops));
    put(o, "bytes_min", number(w->bytes_min));
    put(o, "bytes_model", number(w->bytes_model));
    put(o, "weight_bytes", number(w->weight_bytes));
    put(o, "tensor_ops", number(w->tensor_ops));
    put(o, "core_ops", number(w->core_ops));
    put(o, "peak", text(w->peak));
    return o;
}

static void add_flag(json_t *flags, bool set, const char *name)
{
    if (set)
        json_array_append_new(flags, json_string(name));
}

static json_t *time_flags(const struct cb_timing *t)
{
    json_t *flags = json_array();
    add_flag(flags, t->stats.n < 6 || (t->stop && strcmp(t->stop, "converged") != 0), "not_converged");
    add_flag(flags, t->stats.noisy, "noisy");
    add_flag(flags, t->stats.drift, "drift");
    add_flag(flags, t->stats.bimodal, "bimodal");
    add_flag(flags, t->stats.spikes > 0.01 * t->stats.n, "spikes");
    add_flag(flags, t->null_us > 0.1 * t->stats.median, "launch_bound");
    add_flag(flags, !t->gate, "gate_off");
    return flags;
}

static json_t *samples_json(const struct cb_timing *t)
{
    json_t *list = json_array();
    for (int r = 0; r < t->rounds; r++)
        json_array_append_new(list, number((double)(float)t->us[r]));
    return list;
}

static json_t *outcome_json(const struct cb_outcome *o, bool untimed)
{
    char name[160];
    json_t *j = json_object();
    snprintf(name, sizeof name, o->copy > 1 ? "%s#%d" : "%s", o->impl->name, o->copy);
    put(j, "kernel", json_string(name));
    put(j, "role", json_string(op_role_name(o->impl->role)));
    put(j, "status", json_string(cb_status_name(o->status)));
    put(j, "reason", o->status == CB_OK ? json_null() : text(o->reason));
    if (o->status == CB_UNSUPPORTED || o->status == CB_SKIPPED)
        return j;
    if (o->left_out) {
        put(j, "left_out", json_true());
        return j;
    }
    if (o->choice[0])
        put(j, "choice", json_string(o->choice));
    put(j, "setup_us", number(o->setup_us));
    put(j, "host_us", number(o->host_us));
    if (o->figure_count)
        put(j, "figures", figures_json(o->figures, o->figure_count));
    if (untimed)
        return j;
    put(j, "correctness", accuracy_json(o));
    put(j, "work", work_json(&o->work));
    if (o->status == CB_OK && o->timing.rounds) {
        put(j, "mode", json_string(cb_mode_name(o->timing.mode)));
        put(j, "k_exec", json_integer(o->timing.k_exec));
        if (o->timing.far)
            put(j, "far", json_true());
        if (o->timing.remote)
            put(j, "remote", json_true());
        put(j, "time_us", cb_time_json(&o->timing));
        put(j, "samples_us", samples_json(&o->timing));
        put(j, "flags", time_flags(&o->timing));
    }
    return j;
}

static bool is_baseline(const struct op_impl *i, const struct op_impl *const *baseline)
{
    for (int k = 0; baseline && baseline[k]; k++)
        if (baseline[k] == i)
            return true;
    return false;
}

/* The best baseline of this case over every paper and own row. */
static json_t *ratios_json(const struct cb_context *c, const struct cb_place *where,
                           const struct cb_case *out)
{
    json_t *list = json_array();
    const struct cb_outcome *best = NULL;
    for (int i = 0; i < out->count; i++) {
        const struct cb_outcome *o = &out->out[i];
        if (o->timing.rounds && o->copy == 1 && is_baseline(o->impl, where->baseline) &&
            (!best || o->timing.stats.median < best->timing.stats.median))
            best = o;
    }
    for (int i = 0; best && i < out->count; i++) {
        const struct cb_outcome *o = &out->out[i];
        int rounds;
        if (!o->timing.rounds || o == best || o->copy != 1 || is_baseline(o->impl, where->baseline))
            continue;
        struct cb_interval r = cb_ratio(&best->timing, &o->timing, 0.05, &rounds);
        if (!rounds)
            continue;
        double medians = best->timing.stats.median / o->timing.stats.median;
        json_t *j = json_object();
        put(j, "num", json_string(best->impl->name));
        put(j, "den", json_string(o->impl->name));
        put(j, "rounds", json_integer(rounds));
        put(j, "median", number(r.value));
        put(j, "ci95", pair(r.low, r.high));
        put(j, "ratio_of_medians", number(medians));
        put(j, "verdict", json_string(cb_verdict(r, c->policy->delta)));
        if (medians < r.low || medians > r.high)
            put(j, "flags", json_pack("[s]", "ratio_disagrees"));
        json_array_append_new(list, j);
    }
    return list;
}

static json_t *inputs_json(const struct cb_case *out)
{
    json_t *list = json_array();
    for (int i = 0; i < out->input_count; i++) {
        const struct cb_input *in = &out->inputs[i];
        json_t *o = json_object(), *shape = json_array();
        for (int k = 0; k < 4 && in->shape[k]; k++)
            json_array_append_new(shape, json_integer(in->shape[k]));
        put(o, "name", json_string(in->name));
        put(o, "dtype", json_string(in->dtype));
        put(o, "shape", shape);
        put(o, "gen", text(in->gen));
        put(o, "source", text(in->source));
        put(o, "tensor_id", json_integer(in->tensor_id));
        put(o, "sha256", text(in->sha256));
        json_array_append_new(list, o);
    }
    return list;
}

/* Equal keys are comparable across machines: what was asked, not what came out. */
static json_t *key_of(const struct cb_context *c, const struct cb_place *where,
                      const struct cb_op *op, const void *params, const struct cb_case *out)
{
    char hex[65], full[80];
    json_t *o = json_object(), *names = json_array(), *p = cb_params_to_json(op, params);
    for (int i = 0; i < out->count; i++)
        json_array_append_new(names, json_string(out->out[i].impl->name));
    for (const struct cb_param *x = op->params; x->name; x++)
        if (x->type == CB_PATH) { /* where a user keeps a file is no part of the case */
            const char *path = json_string_value(json_object_get(p, x->name));
            const char *slash = path ? strrchr(path, '/') : NULL;
            if (slash)
                put(p, x->name, json_string(slash + 1));
        }
    put(o, "paper", text(where->paper));
    put(o, "experiment", text(where->experiment));
    put(o, "kernels", names);
    put(o, "params", p);
    put(o, "cache", json_string(cb_cache_name(c->cache)));
    put(o, "regime", json_string(cb_regime_name(c->regime)));
    put(o, "inputs", inputs_json(out));
    put(o, "seed", json_integer((json_int_t)c->seed));
    json_t *policy = cb_policy_to_json(c->policy);
    json_object_del(policy, "invocations");
    json_object_del(policy, "timeout_s");
    json_object_del(policy, "settled_s"); /* how long, and only where the clock moves */
    put(o, "policy", policy);
    char *canonical = json_dumps(o, JSON_SORT_KEYS | JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(o);
    if (!canonical || cb_sha256(canonical, strlen(canonical), hex)) {
        free(canonical);
        return json_null();
    }
    free(canonical);
    snprintf(full, sizeof full, "sha256:%s", hex);
    return json_string(full);
}

static json_t *params_for_record(const struct cb_op *op, const void *params)
{
    json_t *p = cb_params_to_json(op, params);
    for (const struct cb_param *x = op->params; x->name; x++)
        if (x->type == CB_PATH) { /* no absolute paths in results */
            const char *path = json_string_value(json_object_get(p, x->name));
            const char *slash = path ? strrchr(path, '/') : NULL;
            if (slash)
                put(p, x->name, json_string(slash + 1));
        }
    return p;
}

json_t *cb_case_json(const struct cb_context *c, const struct cb_place *where,
                     const struct cb_op *op, const void *params, const struct cb_case *out,
                     const json_t *telemetry, const json_t *flags)
{
    json_t *j = json_object(), *rows = json_array(), *session = json_object();
    if (!j || !rows)
        return NULL;
    put(j, "key", key_of(c, where, op, params, out));
    put(j, "id", json_string(where->id));
    put(j, "experiment", json_string(where->experiment));
    put(j, "op", json_string(op->name));
    put(j, "params", params_for_record(op, params));
    put(j, "cache", json_string(op->untimed ? "untimed" : cb_cache_name(c->cache)));
    put(j, "regime", json_string(cb_regime_name(c->regime)));
    put(j, "invocation", json_integer(where->invocation));
    put(j, "device", json_integer(where->device));
    put(j, "status", json_string(cb_status_name(out->status)));
    put(j, "reason", out->status == CB_OK ? json_null() : text(out->reason));
    put(j, "sets", json_integer(out->session.sets));
    if (out->session.flush)
        put(j, "flush", json_true());
    put(j, "inputs", inputs_json(out));
    put(j, "figures", figures_json(out->statistics, out->statistic_count));
    for (int i = 0; i < out->count; i++)
        json_array_append_new(rows, outcome_json(&out->out[i], op->untimed));
    put(j, "implementations", rows);
    put(j, "ratios", op->untimed ? json_array() : ratios_json(c, where, out));
    put(session, "rounds", json_integer(out->session.rounds));
    put(session, "rounds_repeated", json_integer(out->session.rounds_repeated));
    put(session, "refills", json_integer(out->session.refills));
    put(session, "warmup_s", number(out->session.warmup_s));
    put(session, "sampling_s", number(out->session.wall_s));
    put(session, "prepare_s", number(out->prepare_s));
    put(session, "bind_s", number(out->bind_s));
    put(session, "check_s", number(out->check_s));
    put(session, "clock_stable", json_boolean(out->session.clock_stable));
    put(session, "settled", json_boolean(out->session.settled));
    if (out->session.clock_median > 0) {
        put(session, "clock_mhz", json_pack("{s:f,s:f,s:f}", "min", out->session.clock_min, "median",
                                            out->session.clock_median, "max", out->session.clock_max));
    }
    put(j, "session", session);
    put(j, "telemetry", telemetry ? json_incref((json_t *)telemetry) : json_null());
    put(j, "flags", flags ? json_incref((json_t *)flags) : json_array());
    put(j, "wall_s", number(out->wall_s));
    put(j, "child_exit", json_integer(0));
    return j;
}

json_t *cb_case_lost(const struct cb_place *where, const struct cb_op *op, const void *params,
                     enum cb_cache cache, enum cb_regime regime, enum cb_status status,
                     const char *reason)
{
    return json_pack("{s:n,s:s,s:s,s:s,s:o,s:s,s:s,s:i,s:i,s:s,s:s,s:[],s:[],s:[],s:[],s:[]}", "key",
                     "id", where->id, "experiment", where->experiment, "op", op->name, "params",
                     params_for_record(op, params), "cache", cb_cache_name(cache), "regime",
                     cb_regime_name(regime), "invocation", where->invocation, "device", where->device,
                     "status", cb_status_name(status), "reason", reason, "inputs", "figures",
                     "implementations", "ratios", "flags");
}

/* ---- journals ---- */

/* A run that was cut off in the middle of a line, or found the disk full there, left a
 * piece of it: what is appended next must not continue that line. */
static int drop_partial_line(FILE *f)
{
    struct stat s;
    if (fstat(fileno(f), &s) || !S_ISREG(s.st_mode) || s.st_size == 0)
        return 0;
    off_t end = s.st_size;
    for (char block[4096]; end > 0;) {
        size_t n = end < (off_t)sizeof block ? (size_t)end : sizeof block;
        if (fseeko(f, end - (off_t)n, SEEK_SET) || fread(block, 1, n, f) != n)
            return -1;
        while (n && block[n - 1] != '\n')
            n--, end--;
        if (n)
            break;
    }
    if (fseeko(f, 0, SEEK_END))
        return -1;
    return end < s.st_size ? ftruncate(fileno(f), end) : 0;
}

int cb_journal_append(const char *path, const json_t *line)
{
    char *dump = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9));
    FILE *f = dump ? fopen(path, "a+") : NULL;
    if (!f) {
        free(dump);
        return cb_error("%s: cannot be appended to: %s", path, strerror(errno));
    }
    errno = 0;
    int bad = drop_partial_line(f) || fputs(dump, f) == EOF || fputc('\n', f) == EOF || fflush(f) || fsync(fileno(f));
    int reason = errno;
    free(dump);
    if (fclose(f) || bad)
        return cb_error("%s: not written whole: %s", path, strerror(reason ? reason : EIO));
    return 0;
}

json_t *cb_journal_read(const char *path)
{
    json_t *list = json_array();
    struct stat s;
    bool odd = !stat(path, &s) && !S_ISREG(s.st_mode); /* a device may never end */
    gzFile f = odd ? NULL : gzopen(path, "rb");        /* reads plain text too */
    if (!f) {
        if (!odd && errno == ENOENT)
            return list;
        cb_error("%s: cannot be opened: %s", path, odd ? "no regular file" : strerror(errno));
        json_decref(list);
        return NULL;
    }
    size_t room = 1 << 20, n = 0;
    char *line = malloc(room);
    long number_of = 0;
    int status = list && line ? 0 : cb_error("%s: no memory to read it", path), c;
    while (!status && (c = gzgetc(f)) != -1) {
        if (n == room) {
            char *more = realloc(line, room *= 2);
            if (!more) {
                status = cb_error("%s: no memory to read it", path);
                break;
            }
            line = more;
        }
        if (c != '\n') {
            line[n++] = (char)c;
            continue;
        }
        number_of++;
        json_error_t e;
        json_t *j = json_loadb(line, n, JSON_REJECT_DUPLICATES, &e);
        if (!json_is_object(j)) {
            status = cb_error("%s:%ld: %s", path, number_of, j ? "no object" : e.text);
            json_decref(j);
        } else if (json_array_append_new(list, j)) {
            status = cb_error("%s: no memory to read it", path);
        }
        n = 0;
    }
    /* what is left has no end of line: it is dropped and its case runs again */
    int code;
    const char *why = gzerror(f, &code);
    if (!status && code != Z_OK && code != Z_BUF_ERROR)
        status = cb_error("%s: cannot be read: %s", path, code == Z_ERRNO ? strerror(errno) : why);
    gzclose(f);
    free(line);
    if (status) {
        json_decref(list);
        return NULL;
    }
    return list;
}

/* ---- merging invocations ---- */

struct store {
    double *x;
    size_t count, room;
};

static int keep_samples(struct store *s, const json_t *list, json_t *parts)
{
    size_t n = json_array_size(list), i;
    json_t *v;
    if (s->count + n > s->room) {
        size_t room = 2 * (s->count + n) + 1024;
        double *more = realloc(s->x, room * sizeof *more);
        if (!more)
            return cb_error("no memory for samples");
        s->x = more;
        s->room = room;
    }
    json_array_append_new(parts, json_pack("{s:I,s:I}", "offset", (json_int_t)s->count, "count",
                                           (json_int_t)n));
    json_array_foreach((json_t *)list, i, v)
        s->x[s->count++] = json_is_number(v) ? json_number_value(v) : NAN;
    return 0;
}

static double real_of(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static double ceiling_of(const json_t *ceilings, const char *id)
{
    size_t i;
    json_t *c;
    json_array_foreach((json_t *)ceilings, i, c)
        if (!strcmp(cb_json_text(c, "id"), id))
            return real_of(c, "value");
    return 0;
}

/* The largest of the times that bytes, tensor cores and CUDA cores need at the
 * measured ceilings, over the time taken. */
static json_t *speed_of_light(const json_t *work, const json_t *ceilings, bool in_l2, double us)
{
    const char *peak = cb_json_text(work, "peak");
    double bandwidth = ceiling_of(ceilings, in_l2 ? "l2_read" : "dram_read");
    double rate = peak[0] ? ceiling_of(ceilings, peak) : 0;
    double memory = bandwidth > 0 ? real_of(work, "bytes_min") / bandwidth * 1e6 : 0;
    double compute = rate > 0 ? real_of(work, "flops") / rate * 1e6 : 0;
    double least = fmax(memory, compute);
    if (!(least > 0) || !(us > 0))
        return json_null();
    return json_pack("{s:f,s:f,s:s}", "t_sol_us", least, "fraction", least / us, "bound",
                     memory >= compute ? (in_l2 ? "l2" : "dram") : peak);
}

static void worse_correctness(json_t *into, const json_t *c)
{
    if (!c)
        return;
    const char *const status = cb_json_text(c, "status");
    if (!strcmp(status, "fail"))
        put(into, "status", json_string(status));
    static const char *const and[] = { "post_check", "deterministic" };
    for (int i = 0; i < 2; i++)
        if (json_is_false(json_object_get(c, and[i])))
            put(into, and[i], json_false());
    static const char *const most[] = { "rel_fro", "max_abs", "max_rel", "n_bad", "n_nan" };
    for (int i = 0; i < 5; i++)
        if (real_of(c, most[i]) > real_of(into, most[i]))
            json_object_set(into, most[i], json_object_get(c, most[i]));
}

static void join_flags(json_t *into, const json_t *flags)
{
    size_t i, k;
    json_t *f, *g;
    json_array_foreach((json_t *)flags, i, f)
    {
        bool known = false;
        json_array_foreach(into, k, g)
            known = known || json_equal(f, g);
        if (!known)
            json_array_append(into, f);
    }
}

/* One implementation over the invocations of its case. */
static int merge_row(json_t *row, const json_t *lines, size_t index, const json_t *ceilings, double l2,
                     bool hot, struct store *s)
{
    json_t *medians = json_array(), *parts = json_array(), *stats = NULL;
    double m[256], low = INFINITY, high = 0, setup[256];
    double least = INFINITY, most = 0;
    int count = 0, total = 0;
    size_t i;
    json_t *line;
    json_array_foreach((json_t *)lines, i, line)
    {
        const json_t *r = json_array_get(json_object_get(line, "implementations"), index);
        const json_t *t = json_object_get(r, "time_us");
        if (i > 0) {
            if (strcmp(cb_json_text(r, "status"), "ok") && !strcmp(cb_json_text(row, "status"), "ok")) {
                json_object_set(row, "status", json_object_get(r, "status"));
                json_object_set(row, "reason", json_object_get(r, "reason"));
            }
            json_t *c = json_object_get(row, "correctness");
            if (c)
                worse_correctness(c, json_object_get(r, "correctness"));
            if (json_object_get(row, "flags"))
                join_flags(json_object_get(row, "flags"), json_object_get(r, "flags"));
            /* a row at the limit may be remote in one invocation only */
            if (json_is_true(json_object_get(r, "remote")))
                put(row, "remote", json_true());
        }
        if (!t || count == 256) {
            json_array_append_new(medians, json_null());
            json_array_append_new(parts, json_pack("{s:i,s:i}", "offset", 0, "count", 0));
            continue;
        }
        const json_t *ci = json_object_get(t, "ci95");
        m[count] = real_of(t, "median");
        setup[count++] = real_of(r, "setup_us");
        low = fmin(low, json_number_value(json_array_get(ci, 0)));
        high = fmax(high, json_number_value(json_array_get(ci, 1)));
        least = fmin(least, real_of(t, "min"));
        most = fmax(most, real_of(t, "max"));
        total += (int)real_of(t, "n");
        json_array_append(medians, json_object_get(t, "median"));
        if (!stats)
            stats = json_deep_copy(t);
        if (keep_samples(s, json_object_get(r, "samples_us"), parts))
            return -1;
    }
    json_object_del(row, "samples_us");
    if (!count || strcmp(cb_json_text(row, "status"), "ok")) {
        json_object_del(row, "time_us"); /* what is wrong once has no time */
        json_decref(medians);
        json_decref(parts);
        json_decref(stats);
        return 0;
    }
    double median = cb_median(m, count), first = m[0], last = m[0];
    for (int k = 1; k < count; k++) {
        first = fmin(first, m[k]);
        last = fmax(last, m[k]);
    }
    put(stats, "n", json_integer(total));
    put(stats, "min", number(least));
    put(stats, "max", number(most));
    put(stats, "median", number(median));
    put(stats, "medians", medians);
    put(stats, "between_spread", number((last - first) / median));
    put(stats, "ci95", pair(fmin(low, first), fmax(high, last)));
    put(row, "time_us", stats);
    put(row, "samples", parts);
    put(row, "setup_us", number(cb_median(setup, count)));
    const json_t *work = json_object_get(row, "work");
    json_t *sol = speed_of_light(work, ceilings, hot && real_of(work, "bytes_min") < l2 / 2, median);
    if (real_of(sol, "fraction") > 1.02 && json_object_get(row, "flags"))
        json_array_append_new(json_object_get(row, "flags"), json_string("above_sol"));
    put(row, "sol", sol);
    return 0;
}

static json_t *merge_case(json_t *lines, const json_t *ceilings, double l2, struct store *s)
{
    const json_t *first = NULL;
    size_t i;
    json_t *line;
    /* the first line that has rows gives the form */
    json_array_foreach(lines, i, line)
        if (!first && json_array_size(json_object_get(line, "implementations")))
            first = line;
    if (!first)
        first = json_array_get(lines, 0);
    json_t *c = json_deep_copy(first), *whole = json_array(), *machines = json_array();
    size_t rows = json_array_size(json_object_get(c, "implementations"));
    bool hot = !strcmp(cb_json_text(c, "cache"), "hot");
    json_object_del(c, "invocation");
    put(c, "invocations", json_integer((json_int_t)json_array_size(lines)));
    json_array_foreach(lines, i, line)
    {
        const char *status = cb_json_text(line, "status");
        if (strcmp(status, "ok") && !strcmp(cb_json_text(c, "status"), "ok")) {
            json_object_set(c, "status", json_object_get(line, "status"));
            json_object_set(c, "reason", json_object_get(line, "reason"));
        }
        join_flags(json_object_get(c, "flags"), json_object_get(line, "flags"));
        if (json_object_get(line, "machine"))
            json_array_append(machines, json_object_get(line, "machine"));
        if (json_array_size(json_object_get(line, "implementations")) == rows)
            json_array_append(whole, line);
    }
    json_object_del(c, "machine");
    if (json_array_size(machines))
        put(c, "machines", machines); /* in the order of the invocations */
    else
        json_decref(machines);
    int status = 0;
    for (size_t r = 0; !status && r < rows; r++)
        status = merge_row(json_array_get(json_object_get(c, "implementations"), r), whole, r,
                           ceilings, l2, hot, s);
    json_decref(whole);
    if (status) {
        json_decref(c);
        return NULL;
    }
    return c;
}

static int by_invocation(const void *a, const void *b)
{
    json_t *const *x = a, *const *y = b;
    double d = real_of(*x, "invocation") - real_of(*y, "invocation");
    return d < 0 ? -1 : d > 0;
}

json_t *cb_cases_merge(const json_t *lines, const json_t *ceilings, double l2, double **samples,
                       size_t *count)
{
    struct store s = { 0 };
    json_t *by_id = json_object(), *order = json_array(), *cases = json_array(), *line, *group;
    size_t i, k;
    json_array_foreach((json_t *)lines, i, line)
    {
        const char *id = cb_json_text(line, "id");
        group = json_object_get(by_id, id);
        if (!group) {
            group = json_array();
            json_object_set_new(by_id, id, group);
            json_array_append_new(order, json_string(id));
        }
        bool replaced = false; /* a case that ran again replaces what it left before */
        json_array_foreach(group, k, line)
            if (real_of(line, "invocation") == real_of(json_array_get(lines, i), "invocation")) {
                json_array_set(group, k, json_array_get(lines, i));
                replaced = true;
                break;
            }
        if (!replaced)
            json_array_append(group, json_array_get(lines, i));
    }
    int status = 0;
    json_array_foreach(order, i, line)
    {
        json_t *c = NULL;
        group = json_object_get(by_id, json_string_value(line));
        size_t n = json_array_size(group);
        json_t **list = malloc(n * sizeof *list);
        for (k = 0; list && k < n; k++)
            list[k] = json_incref(json_array_get(group, k));
        if (list) {
            qsort(list, n, sizeof *list, by_invocation);
            for (k = 0; k < n; k++)
                json_array_set_new(group, k, list[k]);
            free(list);
            c = merge_case(group, ceilings, l2, &s);
        }
        if (!c) {
            status = -1;
            break;
        }
        json_array_append_new(cases, c);
    }
    json_decref(by_id);
    json_decref(order);
    if (status) {
        json_decref(cases);
        free(s.x);
        return NULL;
    }
    *samples = s.x;
    *count = s.count;
    return cases;
}

static int gz_write(const char *path, const char *bytes, size_t left)
{
    gzFile f = gzopen(path, "wb9");
    if (!f)
        return cb_error("%s: cannot be written: %s", path, strerror(errno));
    bool bad = false;
    while (left && !bad) {
        unsigned part = left > 1 << 20 ? 1 << 20 : (unsigned)left;
        bad = gzwrite(f, bytes, part) != (int)part;
        bytes += part;
        left -= part;
    }
    return gzclose(f) != Z_OK || bad ? cb_error("%s: not written whole", path) : 0;
}

int cb_details_write(const char *directory, const json_t *cases)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/cases.json.gz", directory);
    char *dump = json_dumps(cases, JSON_SORT_KEYS | JSON_COMPACT | JSON_REAL_PRECISION(9));
    int status = dump ? gz_write(path, dump, strlen(dump)) : cb_error("no memory for %s", path);
    free(dump);
    return status;
}

static size_t gz_read(void *buffer, size_t size, void *file)
{
    int n = gzread(file, buffer, size > 1 << 20 ? 1 << 20 : (unsigned)size);
    return n < 0 ? (size_t)-1 : (size_t)n;
}

int cb_details_load(const char *directory, json_t *doc)
{
    char path[4096];
    json_error_t e;
    const char *name = cb_json_text(json_object_get(doc, "run"), "details");
    if (!name[0])
        return 0;
    if (strcmp(name, "cases.json.gz"))
        return cb_error("%s: run: details: '%.40s' is no file of a result", directory, name);
    snprintf(path, sizeof path, "%s/%s", directory, name);
    gzFile f = gzopen(path, "rb");
    if (!f)
        return cb_error("%s: cannot be opened: %s", path, strerror(errno));
    json_t *cases = json_load_callback(gz_read, f, JSON_REJECT_DUPLICATES, &e);
    gzclose(f);
    if (!json_is_array(cases)) {
        json_decref(cases);
        return cb_error("%s: %s", path, cases ? "is no list" : e.text);
    }
    json_object_set_new(doc, "cases", cases);
    return 0;
}

void cb_cases_slim(json_t *cases)
{
    static const char *const kept[] = { "key", "id", "experiment", "op", "params", "cache", "regime",
                                        "status", "reason", "invocations", "flags", "implementations" };
    size_t i, k;
    json_t *c, *row;
    json_array_foreach(cases, i, c)
    {
        json_t *slim = json_object(), *rows = json_array();
        for (size_t n = 0; n < sizeof kept / sizeof *kept; n++)
            json_object_set(slim, kept[n], json_object_get(c, kept[n]));
        json_array_foreach(json_object_get(c, "implementations"), k, row)
        {
            const json_t *t = json_object_get(row, "time_us");
            json_t *r = json_object();
            if (!t && !json_object_get(row, "figures") && strcmp(cb_json_text(row, "status"), "wrong")) {
                json_decref(r); /* what does not apply here is in the complete cases */
                continue;
            }
            json_object_set(r, "kernel", json_object_get(row, "kernel"));
            json_object_set(r, "status", json_object_get(row, "status"));
            if (json_is_string(json_object_get(row, "reason")))
                json_object_set(r, "reason", json_object_get(row, "reason"));
            if (json_object_get(row, "figures"))
                json_object_set(r, "figures", json_object_get(row, "figures"));
            if (t) {
                json_t *us = json_object();
                json_object_set(us, "median", json_object_get(t, "median"));
                json_object_set(us, "ci95", json_object_get(t, "ci95"));
                json_object_set_new(r, "time_us", us);
            }
            json_array_append_new(rows, r);
        }
        json_object_set_new(slim, "implementations", rows);
        json_array_set_new(cases, i, slim);
    }
}

int cb_samples_write(const char *directory, const double *samples, size_t count)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/samples.f64le.gz", directory);
    return gz_write(path, (const char *)samples, count * sizeof *samples);
}
