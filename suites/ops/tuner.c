/* tuner.c - see tuner.h. */
#include "tuner.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../harness/error.h"
#include "../../harness/params.h"
#include "../home.h"
#include "cache.h"

static const double OUTLIER = 5, HOPELESS = 1.03, GAIN = .001;
enum { HOPELESS_AFTER = 2, SLOWER_AFTER = 3, ALONE = 3 };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- search ---- */

/* Whether a trial whose fastest of `taken` samples is this will not beat a mean. */
static bool cannot_win(int taken, double least, double best)
{
    return (taken >= HOPELESS_AFTER && least > HOPELESS * best) ||
           (taken >= SLOWER_AFTER && least > best);
}

/* Mean of a trial; INFINITY: discarded.  best: mean to beat, INFINITY: none yet. */
static int try_setting(const struct tuner_space *space, const struct tuner_subject *subject,
                       const int *setting, double best, struct tuner_result *out, double *mean)
{
    double sum = 0, least = INFINITY, us;
    int kept = 0;
    *mean = INFINITY;
    out->trials++;
    if (subject->choose(subject->context, setting))
        return -1;
    /* the first warms up, where the group that changed did not run alone before */
    if ((!subject->alone || isinf(best)) && subject->sample(subject->context, &us))
        return -1;
    for (int i = 0; i < space->samples; i++) {
        if (subject->sample(subject->context, &us))
            return -1;
        out->samples++;
        least = us < least ? us : least;
        if (kept && us > OUTLIER * sum / kept)
            continue;
        sum += us;
        kept++;
        if (sum > best * space->samples || cannot_win(i + 1, least, best)) {
            out->discarded++;
            return 0;
        }
    }
    *mean = sum / kept;
    return 0;
}

/* The fastest of some runs of group g alone. */
static int time_alone(const struct tuner_subject *subject, const int *setting, int g, int runs,
                      double *least)
{
    double us;
    *least = INFINITY;
    if (subject->choose(subject->context, setting))
        return -1;
    for (int i = 0; i <= runs; i++) {
        if (subject->alone(subject->context, g, &us))
            return -1;
        if (i) /* the first warms up */
            *least = us < *least ? us : *least;
    }
    return 0;
}

/* The settings in order of the group's time alone; that and the time of the setting in force. */
static int estimate(const struct tuner_subject *subject, const int *chosen, int g, int *list,
                    int count, double *alone)
{
    int setting[TUNER_GROUPS_MAX];
    memcpy(setting, chosen, sizeof setting);
    if (time_alone(subject, setting, g, ALONE, &alone[setting[g]]))
        return -1;
    for (int i = 0; i < count; i++) {
        const int s = setting[g] = list[i];
        int at = i;
        if (time_alone(subject, setting, g, ALONE, &alone[s]))
            return -1;
        for (; at && alone[list[at - 1]] > alone[s]; at--)
            list[at] = list[at - 1];
        list[at] = s;
    }
    return 0;
}

/* Among the settings that refine what `refines` says, 0: none. */
static int tune_group(const struct tuner_space *space, const struct tuner_subject *subject, int g,
                      int refines, struct tuner_result *out)
{
    int setting[TUNER_GROUPS_MAX], list[TUNER_SETTINGS_MAX], count = 0;
    double alone[TUNER_SETTINGS_MAX] = { 0 };
    struct tuner_effort *effort = &out->effort[g];
    const double start = now_s();
    memcpy(setting, out->setting, sizeof setting);
    for (int s = 1; s < space->settings; s++)
        if (space->allowed[g] >> s & 1 && space->refines[s] == refines)
            list[count++] = s;
    if (count && subject->alone && estimate(subject, out->setting, g, list, count, alone))
        return -1;
    effort->settings += count;
    for (int i = 0; i < count; i++) {
        const int s = setting[g] = list[i];
        double us;
        if (subject->alone && alone[s] > alone[out->setting[g]] - GAIN * out->us) {
            out->trials++;
            out->discarded++;
            out->estimated++;
            continue;
        }
        effort->trials++;
        if (try_setting(space, subject, setting, out->us, out, &us))
            return -1;
        if (us < out->us) {
            out->us = us;
            out->setting[g] = s;
        }
    }
    effort->seconds += now_s() - start;
    return 0;
}

static bool good_space(const struct tuner_space *space)
{
    bool good = space->groups >= 1 && space->groups <= TUNER_GROUPS_MAX && space->settings >= 1 &&
                space->settings <= TUNER_SETTINGS_MAX && space->samples >= 1;
    for (int s = 0; good && s < space->settings; s++) {
        const int of = space->refines[s];
        good = of >= 0 && of <= s && (!of || !space->refines[of - 1]);
    }
    return good;
}

static int bad_space(const struct tuner_space *space)
{
    return cb_error("tuner: %d groups of %d settings, %d samples, or a setting that refines "
                    "what is not earlier",
                    space->groups, space->settings, space->samples);
}

int tuner_search(const struct tuner_space *space, const struct tuner_subject *subject,
                 struct tuner_result *out)
{
    const double start = now_s();
    *out = (struct tuner_result){ 0 };
    if (!good_space(space))
        return bad_space(space);
    if (try_setting(space, subject, out->setting, INFINITY, out, &out->us))
        return -1;
    out->first_us = out->us;
    for (int g = 0; g < space->groups; g++)
        if (tune_group(space, subject, g, 0, out))
            return -1;
    for (int g = 0; g < space->groups; g++)
        if (tune_group(space, subject, g, 1 + out->setting[g], out))
            return -1;
    if (subject->choose(subject->context, out->setting))
        return -1;
    out->seconds = now_s() - start;
    return 0;
}

/* All settings of group g, the other groups at their first. */
static int every_setting(const struct tuner_space *space, const struct tuner_subject *subject,
                         int g, struct tuner_result *out)
{
    int setting[TUNER_GROUPS_MAX] = { 0 };
    struct tuner_effort *effort = &out->effort[g];
    const double start = now_s();
    double best = INFINITY;
    for (int s = 0; s < space->settings; s++) {
        double us;
        setting[g] = s;
        if (s && !(space->allowed[g] >> s & 1))
            continue;
        if (time_alone(subject, setting, g, space->samples, &us))
            return -1;
        effort->settings++;
        effort->trials++;
        if (us < best) {
            best = us;
            out->setting[g] = s;
        }
    }
    effort->seconds = now_s() - start;
    out->trials += effort->trials;
    out->samples += effort->trials * space->samples;
    return 0;
}

int tuner_every(const struct tuner_space *space, const struct tuner_subject *subject,
                struct tuner_result *out)
{
    const double start = now_s();
    const int first[TUNER_GROUPS_MAX] = { 0 };
    double us;
    *out = (struct tuner_result){ 0 };
    if (!good_space(space))
        return bad_space(space);
    if (!subject->alone)
        return cb_error("tuner: no group can be timed alone");
    if (subject->choose(subject->context, first) || subject->sample(subject->context, &us))
        return -1; /* groups alone read what a whole left */
    for (int g = 0; g < space->groups; g++)
        if (every_setting(space, subject, g, out))
            return -1;
    if (subject->choose(subject->context, out->setting))
        return -1;
    out->seconds = now_s() - start;
    return 0;
}

/* ---- record ---- */

static int path_of(const struct tuner_key *key, char *path, size_t size)
{
    char folder[CACHE_PATH], name[600];
    if (cache_folder("tuned", folder))
        return -1;
    snprintf(name, sizeof name, "%s-%s-%s-%s-%s-%s", key->row, key->network, key->workload,
             key->gpu, key->precision, key->pass);
    for (char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
            *c = '_';
    return (size_t)snprintf(path, size, "%s/%s.json", folder, name) < size
               ? 0
               : cb_error("tuned settings: the name is too long");
}

static bool is_text(const json_t *o, const char *key, const char *want)
{
    return !strcmp(cb_json_text(o, key), want);
}

static bool fits(const json_t *o, const struct tuner_key *key)
{
    return is_text(o, "schema", "claimbench/tuned") &&
           json_integer_value(json_object_get(o, "version")) == 1 && is_text(o, "row", key->row) &&
           is_text(o, "network", key->network) && is_text(o, "workload", key->workload) &&
           is_text(o, "gpu", key->gpu) && is_text(o, "precision", key->precision) &&
           is_text(o, "pass", key->pass);
}

static bool read_groups(const json_t *groups, const struct tuner_key *key,
                        const struct tuner_space *space, int *setting)
{
    if ((int)json_array_size(groups) != space->groups)
        return false;
    for (int g = 0; g < space->groups; g++) {
        const json_t *o = json_array_get(groups, (size_t)g);
        int s = 0;
        while (s < space->settings && !is_text(o, "setting", key->setting[s]))
            s++;
        if (!is_text(o, "group", key->group[g]) || s == space->settings ||
            (s && !(space->allowed[g] >> s & 1)))
            return false;
        setting[g] = s;
    }
    return true;
}

static int whole(const json_t *o, const char *name)
{
    return (int)json_integer_value(json_object_get(o, name));
}

bool tuner_load(const struct tuner_key *key, const struct tuner_space *space, char *path,
                size_t size, struct tuner_result *out)
{
    *out = (struct tuner_result){ 0 };
    *path = 0;
    json_t *o = path_of(key, path, size) ? NULL : cb_json_read(path);
    const bool good =
        o && fits(o, key) && read_groups(json_object_get(o, "groups"), key, space, out->setting);
    if (good) {
        out->us = json_number_value(json_object_get(o, "us"));
        out->first_us = json_number_value(json_object_get(o, "first_us"));
        out->seconds = json_number_value(json_object_get(o, "seconds"));
        out->trials = whole(o, "trials");
        out->discarded = whole(o, "discarded");
        out->estimated = whole(o, "estimated");
        out->samples = whole(o, "samples");
    }
    json_decref(o);
    return good;
}

int tuner_save(const struct tuner_key *key, const struct tuner_space *space,
               const struct tuner_result *r, char *path, size_t size)
{
    char folder[CACHE_PATH];
    if (path_of(key, path, size) || cache_folder("tuned", folder) || home_make_folders(folder))
        return -1;
    json_t *groups = json_array();
    for (int g = 0; g < space->groups; g++)
        json_array_append_new(groups, json_pack("{s:s,s:s}", "group", key->group[g], "setting",
                                                key->setting[r->setting[g]]));
    json_t *o = json_pack("{s:s,s:i,s:s,s:s,s:s,s:s,s:s,s:s,s:o,s:f,s:f,s:f,s:i,s:i,s:i,s:i}",
                          "schema", "claimbench/tuned", "version", 1, "row", key->row, "network",
                          key->network, "workload", key->workload, "gpu", key->gpu, "precision",
                          key->precision, "pass", key->pass, "groups", groups, "us", r->us,
                          "first_us", r->first_us, "seconds", r->seconds, "trials", r->trials,
                          "discarded", r->discarded, "estimated", r->estimated, "samples",
                          r->samples);
    const int status = o ? cb_json_write(path, o, JSON_INDENT(1)) : cb_error("no memory");
    json_decref(o);
    return status;
}
