/* runner.c - parent and child of a run. */
#define _GNU_SOURCE /* pipe2 */
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bind.h"
#include "env.h"
#include "error.h"
#include "nvml.h"
#include "params.h"
#include "record.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int s)
{
    (void)s;
    interrupted = 1;
}

void cb_signals(void)
{
    struct sigaction a = { .sa_handler = on_signal };
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    signal(SIGPIPE, SIG_IGN);
}

bool cb_interrupted(void)
{
    return interrupted;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int cb_device_lock(const char *name, bool wait, int *fd)
{
    char path[256];
    const char *folder = getenv("CLAIMBENCH_LOCKS");
    snprintf(path, sizeof path, "%s/claimbench-%s.lock", folder ? folder : "/tmp", name);
    *fd = open(path, O_RDONLY | O_CLOEXEC); /* there already, perhaps made by another user */
    if (*fd < 0 && errno == ENOENT)
        *fd = open(path, O_CREAT | O_RDONLY | O_CLOEXEC, 0666);
    if (*fd < 0)
        return cb_error("%s: the lock cannot be opened: %s", path, strerror(errno));
    if (!flock(*fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB))
        return 0;
    int reason = errno;
    close(*fd);
    *fd = -1;
    if (reason != EWOULDBLOCK)
        return cb_error("%s: cannot be locked: %s", path, strerror(reason));
    return cb_error("device %s is being measured by another run (%s)", name, path);
}

/* ---- a child, from the parent's side ---- */

struct child {
    pid_t pid;
    int events;      /* reading end; -1: closed */
    char *line;      /* of an event that has not ended yet */
    size_t length, room;
    double deadline; /* of the case in flight */
};

static char *self_path(char *path, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", path, size - 1);
    path[n > 0 ? n : 0] = 0;
    return path;
}

static int start_child(const json_t *plan, const char *log, struct child *c)
{
    int in[2], events[2];
    char self[4096];
    char *text = json_dumps(plan, JSON_COMPACT);
    *c = (struct child){ .events = -1 };
    if (!text)
        return cb_error("no memory for a plan");
    /* O_CLOEXEC: several children run at once, none may hold another's pipe open */
    if (pipe2(in, O_CLOEXEC) || pipe2(events, O_CLOEXEC)) {
        free(text);
        return cb_error("pipe: %s", strerror(errno));
    }
    self_path(self, sizeof self);
    c->pid = fork();
    if (c->pid == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a parent killed outright takes its child along */
        dup2(in[0], 0);
        int out = log ? open(log, O_CREAT | O_WRONLY | O_APPEND, 0666) : open("/dev/null", O_WRONLY);
        if (out >= 0) {
            dup2(out, 1);
            dup2(out, 2);
        }
        dup2(events[1], CB_EVENTS_FD);
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        execl(self, self, "worker", (char *)NULL);
        _exit(14);
    }
    int reason = errno;
    close(in[0]);
    close(events[1]);
    if (c->pid < 0) {
        close(in[1]);
        close(events[0]);
        free(text);
        return cb_error("fork: %s", strerror(reason));
    }
    setpgid(c->pid, c->pid);
    for (size_t at = 0, n = strlen(text); at < n;) {
        ssize_t w = write(in[1], text + at, n - at);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            break; /* it died: its end will be seen on the other pipe */
        at += (size_t)w;
    }
    close(in[1]);
    free(text);
    c->events = events[0];
    fcntl(c->events, F_SETFL, O_NONBLOCK);
    return 0;
}

/* SIGTERM, five seconds, SIGKILL, to that process group only. */
static int end_child(struct child *c, bool force)
{
    int status = 0;
    if (c->pid <= 0)
        return 0;
    if (force) {
        kill(-c->pid, SIGTERM);
        for (int i = 0; i < 100; i++) {
            if (waitpid(c->pid, &status, WNOHANG) == c->pid)
                goto gone;
            usleep(50000);
        }
        kill(-c->pid, SIGKILL);
    }
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
        ;
gone:
    kill(-c->pid, SIGKILL); /* what it left behind */
    if (c->events >= 0)
        close(c->events);
    free(c->line);
    *c = (struct child){ .events = -1 };
    return status;
}

/* Waits up to seconds for one event.  1 and *event; 0: none yet; -1: the child is at its end. */
static int next_event(struct child *c, double seconds, json_t **event)
{
    *event = NULL;
    for (double end = now_s() + seconds;;) {
        char *newline = c->length ? memchr(c->line, '\n', c->length) : NULL;
        if (newline) {
            size_t n = (size_t)(newline - c->line);
            *event = json_loadb(c->line, n, 0, NULL);
            memmove(c->line, newline + 1, c->length - n - 1);
            c->length -= n + 1;
            if (*event)
                return 1;
            continue;
        }
        if (c->room - c->length < 65536) {
            char *more = realloc(c->line, c->room = 2 * c->room + (1 << 20));
            if (!more)
                return -1;
            c->line = more;
        }
        ssize_t n = read(c->events, c->line + c->length, c->room - c->length);
        if (n > 0) {
            c->length += (size_t)n;
            continue;
        }
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            return -1;
        double left = end - now_s();
        if (left <= 0 || interrupted)
            return 0;
        struct pollfd p = { .fd = c->events, .events = POLLIN };
        poll(&p, 1, left > 1 ? 1000 : (int)(left * 1000) + 1);
    }
}

json_t *cb_child_ask(const json_t *plan, double timeout_s)
{
    struct child c;
    json_t *all = json_array(), *event;
    int got = 0;
    double end = now_s() + timeout_s;
    if (start_child(plan, NULL, &c)) {
        json_decref(all);
        return NULL;
    }
    while (now_s() < end && !interrupted && (got = next_event(&c, 1, &event)) >= 0)
        if (got)
            json_array_append_new(all, event);
    bool late = got >= 0;
    int status = end_child(&c, late);
    if (late || !WIFEXITED(status) || WEXITSTATUS(status)) {
        size_t i;
        const char *why = NULL;
        json_array_foreach(all, i, event)
            if (json_object_get(event, "error"))
                why = json_string_value(json_object_get(event, "error"));
        if (why)
            cb_error("%s", why);
        else if (late)
            cb_error("the probe of the device did not answer within %.0f s", timeout_s);
        else
            cb_error("the probe of the device ended with status %#x", (unsigned)status);
        json_decref(all);
        return NULL;
    }
    return all;
}

/* ---- the plan of a run ---- */

struct slot {          /* one (case, invocation) */
    int item, invocation;
    bool done;
};

struct lane {          /* one device with the child that works on it */
    struct child child;
    int *queue;        /* slots of the child, in order */
    int count, next;   /* next: first without a line */
    int failed_probes;
    bool busy;
    int in_flight;     /* slot, or -1 */
    int invocation;
    const char *experiment;
    char failure[160]; /* what the child said before it gave up; "" */
};

struct parent {
    const struct cb_run *run;
    const struct cb_plan_item *item;
    struct cb_tally *tally;
    struct slot *slot;
    int slots, done;
    json_t *far; /* case id -> rows that were far in invocation 1 */
    int chunk; /* next chunk: (invocation, experiment) pairs are dealt in order */
    char journal[4096];
    double start;
    int done_before;
};

static bool final_status(const char *status)
{
    static const char *const list[] = { "ok", "wrong", "unsupported", "skipped", NULL };
    for (int i = 0; list[i]; i++)
        if (!strcmp(status, list[i]))
            return true;
    return false;
}

static int find_slot(const struct parent *p, const char *id, int invocation)
{
    for (int s = 0; s < p->slots; s++)
        if (p->slot[s].invocation == invocation && !strcmp(p->item[p->slot[s].item].id, id))
            return s;
    return -1;
}

/* Later invocations leave out what the first found far from the fastest. */
static void note_far(struct parent *p, const json_t *line)
{
    size_t i;
    json_t *row, *list;
    if (!p->run->policy->far_once || json_integer_value(json_object_get(line, "invocation")) != 1)
        return;
    list = json_array();
    json_array_foreach(json_object_get(line, "implementations"), i, row)
        if (json_is_true(json_object_get(row, "far")))
            json_array_append(list, json_object_get(row, "kernel"));
    json_object_set_new(p->far, cb_json_text(line, "id"), list);
}

static void count_line(struct cb_tally *t, const json_t *line)
{
    const char *s = cb_json_text(line, "status");
    size_t i, k;
    json_t *r, *f;
    bool known = false, quality = false;
    t->done++;
    t->wrong += !strcmp(s, "wrong");
    t->crashed += !strcmp(s, "crashed");
    t->timeout += !strcmp(s, "timeout");
    t->oom += !strcmp(s, "oom");
    t->skipped += !strcmp(s, "skipped");
    t->unsupported += !strcmp(s, "unsupported");
    json_array_foreach(json_object_get(line, "implementations"), i, r)
    {
        known = known || !strcmp(cb_json_text(r, "status"), "wrong");
        json_array_foreach(json_object_get(r, "flags"), k, f)
            quality = quality || !strcmp(json_string_value(f), "not_converged") ||
                      !strcmp(json_string_value(f), "bimodal");
    }
    json_array_foreach(json_object_get(line, "flags"), k, f)
        quality = quality || !strcmp(json_string_value(f), "throttled") ||
                  !strcmp(json_string_value(f), "other_process");
    t->wrong_known += known && strcmp(s, "wrong") != 0;
    t->quality += quality;
}

static int load_journal(struct parent *p)
{
    json_t *lines = cb_journal_read(p->journal), *line;
    size_t i;
    if (!lines)
        return -1;
    json_array_foreach(lines, i, line)
    {
        int s = find_slot(p, cb_json_text(line, "id"), (int)json_integer_value(json_object_get(line, "invocation")));
        if (s >= 0 && !p->slot[s].done && final_status(cb_json_text(line, "status"))) {
            p->slot[s].done = true;
            p->done++;
            note_far(p, line);
            count_line(p->tally, line);
        }
    }
    p->done_before = p->done;
    json_decref(lines);
    return 0;
}

/* The value of the first parameter: cases that share it share an input, and
 * stay together when the order is shuffled. */
static void group_of(const struct cb_plan_item *item, char *out, size_t size)
{
    cb_params_label(item->op, item->params, out, size);
    out[strcspn(out, ",")] = 0;
}

/* Cases of this experiment and invocation without a line yet, in random order by groups. */
static int *deal(const struct parent *p, const char *experiment, int invocation, int *count)
{
    int *list = malloc((size_t)(p->slots + 1) * sizeof *list), n = 0;
    int *order = malloc((size_t)(p->slots + 1) * sizeof *order), groups = 0;
    int *group = malloc((size_t)(p->slots + 1) * sizeof *group);
    char a[CB_ID_MAX], b[CB_ID_MAX];
    uint64_t state = p->run->order_seed + (uint64_t)invocation * 0x9E3779B97F4A7C15u;
    *count = 0;
    if (!list || !order || !group) {
        free(list), free(order), free(group);
        return NULL;
    }
    for (int s = 0; s < p->slots; s++)
        if (!p->slot[s].done && p->slot[s].invocation == invocation &&
            !strcmp(p->item[p->slot[s].item].experiment, experiment))
            order[n++] = s;
    cb_shuffle(order, n, &state);
    for (int i = 0; i < n; i++) { /* groups in the order of their first member */
        group[i] = -1;
        group_of(&p->item[p->slot[order[i]].item], a, sizeof a);
        for (int k = 0; k < i && group[i] < 0; k++) {
            group_of(&p->item[p->slot[order[k]].item], b, sizeof b);
            if (!strcmp(a, b))
                group[i] = group[k];
        }
        if (group[i] < 0)
            group[i] = groups++;
    }
    for (int g = 0; g < groups; g++)
        for (int i = 0; i < n; i++)
            if (group[i] == g)
                list[(*count)++] = order[i];
    free(order);
    free(group);
    return list;
}

static double timeout_of(const struct cb_run *run, const struct cb_plan_item *item)
{
    int n = 0;
    if (run->policy->timeout_s > 0)
        return run->policy->timeout_s;
    while (item->impl[n])
        n++;
    /* what is not timed computes as long as it must: a perplexity, a search */
    return fmax(item->op->untimed ? 900 : 60, 3 * (run->policy->t_max_s + 0.5 * n + 20));
}

static void log_path(const struct parent *p, const struct lane *l, char *path, size_t size)
{
    snprintf(path, size, "%s/log/%s_%d.txt", p->run->directory, l->experiment, l->invocation);
}

static int start_lane(struct parent *p, struct lane *l, int device)
{
    json_t *plan = json_deep_copy(p->run->child_plan), *ids = json_array();
    json_t *leave_out = json_object();
    char log[4608];
    for (int i = l->next; i < l->count; i++) {
        const char *id = p->item[p->slot[l->queue[i]].item].id;
        json_array_append_new(ids, json_string(id));
        if (l->invocation > 1 && json_object_get(p->far, id))
            json_object_set(leave_out, id, json_object_get(p->far, id));
    }
    json_object_set_new(plan, "leave_out", leave_out);
    json_object_set_new(plan, "cases", ids);
    json_object_set_new(plan, "experiment", json_string(l->experiment));
    json_object_set_new(plan, "invocation", json_integer(l->invocation));
    json_object_set_new(plan, "device", json_string(p->run->devices[device]));
    json_object_set_new(plan, "device_index", json_integer(device));
    json_object_set_new(plan, "seed", json_integer((json_int_t)p->run->seed));
    json_object_set_new(plan, "order_seed", json_integer((json_int_t)(p->run->order_seed + (uint64_t)l->invocation)));
    json_object_set_new(plan, "once", json_boolean(p->run->once));
    log_path(p, l, log, sizeof log);
    int status = start_child(plan, log, &l->child);
    json_decref(plan);
    l->busy = !status;
    l->in_flight = -1;
    l->failure[0] = 0;
    l->child.deadline = now_s() + 120; /* until its first case: start of the device, of libraries */
    return status;
}

/* Gives the lane the next (invocation, experiment) with cases left; false: none. */
static bool next_chunk(struct parent *p, struct lane *l)
{
    free(l->queue);
    l->queue = NULL;
    l->count = l->next = 0;
    int invocations = p->run->policy->invocations, pairs = 0;
    for (;; p->chunk++) {
        int at = p->chunk, seen = 0;
        const char *experiment = NULL;
        pairs = 0;
        /* the chunk-th pair: invocation by invocation, experiments in plan order */
        for (int inv = 1; inv <= invocations && !experiment; inv++)
            for (int s = 0; s < p->slots; s++) {
                if (p->slot[s].invocation != inv)
                    continue;
                const char *e = p->item[p->slot[s].item].experiment;
                bool first = true;
                for (int k = s - 1; k >= 0 && p->slot[k].invocation == inv; k--)
                    if (!strcmp(p->item[p->slot[k].item].experiment, e)) {
                        first = false;
                        break;
                    }
                if (!first)
                    continue;
                pairs++;
                if (seen++ == at) {
                    experiment = e;
                    l->invocation = inv;
                    break;
                }
            }
        if (!experiment)
            return false;
        l->experiment = experiment;
        free(l->queue);
        l->queue = deal(p, experiment, l->invocation, &l->count);
        l->next = 0;
        if (l->queue && l->count) {
            p->chunk++;
            return true;
        }
    }
}

/* ---- progress and journal ---- */

static void headline(const json_t *line, char *out, size_t size)
{
    size_t i;
    json_t *r;
    const char *best = "";
    double least = INFINITY;
    json_array_foreach(json_object_get(line, "implementations"), i, r)
    {
        double us = json_number_value(json_object_get(json_object_get(r, "time_us"), "median"));
        if (us > 0 && us < least && strcmp(cb_json_text(r, "role"), "ablation")) {
            least = us;
            best = cb_json_text(r, "kernel");
        }
    }
    const json_t *ratio = json_array_get(json_object_get(line, "ratios"), 0);
    double s = 0;
    json_array_foreach(json_object_get(line, "ratios"), i, r)
    {
        double v = json_number_value(json_object_get(r, "median"));
        if (v > s) {
            s = v;
            ratio = r;
        }
    }
    if (ratio)
        snprintf(out, size, "%.2f us %s | %.3fx over %s", least, best, s, cb_json_text(ratio, "num"));
    else if (best[0])
        snprintf(out, size, "%.2f us %s", least, best);
    else
        snprintf(out, size, "%s", cb_json_text(line, "reason"));
}

static void show(struct parent *p, const json_t *line)
{
    char what[200] = "";
    const struct cb_tally *t = p->tally;
    int total = p->slots, now = p->done;
    double spent = now_s() - p->start;
    double eta = now > p->done_before ? spent / (now - p->done_before) * (total - now) : 0;
    if (!strcmp(p->run->progress, "none"))
        return;
    headline(line, what, sizeof what);
    if (!strcmp(p->run->progress, "json")) {
        json_t *o = json_pack("{s:i,s:i,s:s,s:i,s:s,s:s,s:f}", "done", now, "total", total, "id",
                              cb_json_text(line, "id"), "invocation",
                              (int)json_integer_value(json_object_get(line, "invocation")), "status",
                              cb_json_text(line, "status"), "headline", what, "eta_s", eta);
        char *dump = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(6));
        fprintf(stderr, "%s\n", dump ? dump : "{}");
        free(dump);
        json_decref(o);
        return;
    }
    bool tty = isatty(2) && !getenv("NO_COLOR");
    double mhz = json_number_value(json_object_get(json_object_get(json_object_get(line, "session"), "clock_mhz"), "median"));
    fprintf(stderr, "%s[%d/%d] %s #%d %s | %s", tty ? "\r\033[K" : "", now, total, cb_json_text(line, "id"),
            (int)json_integer_value(json_object_get(line, "invocation")), cb_json_text(line, "status"), what);
    double rounds = json_number_value(json_object_get(json_object_get(line, "session"), "rounds"));
    if (rounds > 0)
        fprintf(stderr, " | r%.0f", rounds);
    if (mhz > 0)
        fprintf(stderr, " | %.0f MHz", mhz);
    fprintf(stderr, " | ETA %d:%02d", (int)eta / 60, (int)eta % 60);
    bool stay = strcmp(cb_json_text(line, "status"), "ok") != 0;
    fprintf(stderr, "%s", tty && !stay ? "" : "\n");
    fflush(stderr);
    (void)t;
}

static int enter(struct parent *p, int slot, const json_t *line)
{
    if (cb_journal_append(p->journal, line))
        return -1;
    if (!p->slot[slot].done) {
        p->slot[slot].done = true;
        p->done++;
    }
    note_far(p, line);
    count_line(p->tally, line);
    show(p, line);
    return 0;
}

static int lose(struct parent *p, struct lane *l, int device, enum cb_status status, const char *reason)
{
    int s = l->in_flight >= 0 ? l->in_flight : l->queue[l->next];
    const struct cb_plan_item *item = &p->item[p->slot[s].item];
    struct cb_place where = { p->run->paper, item->experiment, item->id, NULL, l->invocation, device, 0 };
    json_t *line = cb_case_lost(&where, item->op, item->params, item->cache, item->regime, status, reason);
    if (!line)
        return cb_error("no memory for a journal line");
    int result = enter(p, s, line);
    json_decref(line);
    for (int i = l->next; i < l->count; i++)
        if (l->queue[i] == s)
            l->next = i + 1;
    return result;
}

/* After a crash: does the device still answer? */
static bool probe(struct parent *p, int device)
{
    json_t *plan = json_pack("{s:s,s:s}", "probe", "check", "device", p->run->devices[device]);
    json_t *events = cb_child_ask(plan, 60);
    json_decref(plan);
    json_decref(events);
    return events != NULL;
}

static int on_event(struct parent *p, struct lane *l, const json_t *event)
{
    const char *what = cb_json_text(event, "event");
    if (!strcmp(what, "start")) {
        l->in_flight = find_slot(p, cb_json_text(event, "id"), l->invocation);
        if (l->in_flight >= 0)
            l->child.deadline = now_s() + timeout_of(p->run, &p->item[p->slot[l->in_flight].item]);
    } else if (!strcmp(what, "case")) {
        const json_t *line = json_object_get(event, "line");
        int s = find_slot(p, cb_json_text(line, "id"), l->invocation);
        if (s < 0)
            return cb_error("a child answered for '%s', which was not asked", cb_json_text(line, "id"));
        if (enter(p, s, line))
            return -1;
        for (int i = l->next; i < l->count; i++)
            if (l->queue[i] == s)
                l->next = i + 1;
        l->in_flight = -1;
        l->failed_probes = 0;
        l->child.deadline = now_s() + 120;
    } else if (!strcmp(what, "failed")) {
        snprintf(l->failure, sizeof l->failure, "%.159s", cb_json_text(event, "error"));
    }
    return 0;
}

/* One look at a lane. 0 or -1. */
static int tend(struct parent *p, struct lane *l, int device)
{
    json_t *event;
    int got = next_event(&l->child, p->run->device_count > 1 ? 0.02 : 0.5, &event);
    if (got > 0) {
        int status = on_event(p, l, event);
        json_decref(event);
        return status;
    }
    bool late = got == 0 && now_s() > l->child.deadline;
    if (got == 0 && !late)
        return 0;
    int status = end_child(&l->child, late);
    l->busy = false;
    if (interrupted)
        return 0;
    if (l->next < l->count) { /* a child that hangs after its last case has lost nothing */
        char reason[160];
        if (l->failure[0] && !late)
            snprintf(reason, sizeof reason, "%s", l->failure);
        else if (late)
            snprintf(reason, sizeof reason, "no answer in time");
        else if (WIFSIGNALED(status))
            snprintf(reason, sizeof reason, "ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
        else
            snprintf(reason, sizeof reason, "ended with exit code %d", WEXITSTATUS(status));
        /* a child that reported its crash itself ends in order, with cases left */
        bool told = !late && WIFEXITED(status) && WEXITSTATUS(status) == 0 && l->in_flight < 0;
        if (!told && lose(p, l, device, late ? CB_TIMEOUT : CB_CRASHED, reason))
            return -1;
        while (!probe(p, device)) {
            if (interrupted)
                return 0;
            if (++l->failed_probes >= 2) {
                p->tally->wedged = true;
                return cb_error("device %s does not answer after a crash: the run stops", p->run->devices[device]);
            }
        }
        l->failed_probes = 0;
        if (l->next < l->count)
            return start_lane(p, l, device);
    }
    return 0;
}

int cb_run(const struct cb_run *run, const struct cb_plan_item *item, int count, struct cb_tally *tally)
{
    struct parent p = { .run = run, .item = item, .tally = tally, .start = now_s() };
    struct lane *lane = calloc((size_t)run->device_count, sizeof *lane);
    char path[4608];
    int status = 0;
    *tally = (struct cb_tally){ 0 };
    snprintf(p.journal, sizeof p.journal, "%s/journal.jsonl", run->directory);
    snprintf(path, sizeof path, "%s/log", run->directory);
    if (mkdir(path, 0777) && errno != EEXIST)
        status = cb_error("%s: cannot be made: %s", path, strerror(errno));
    p.slot = malloc(((size_t)count * (size_t)run->policy->invocations + 1) * sizeof *p.slot);
    p.far = json_object();
    if (!p.slot || !lane || !p.far)
        status = cb_error("no memory for a plan");
    for (int inv = 1; !status && inv <= run->policy->invocations; inv++)
        for (int i = 0; i < count; i++)
            if (inv == 1 || !item[i].op->untimed) /* what is not timed runs once */
                p.slot[p.slots++] = (struct slot){ i, inv, false };
    if (!status)
        status = load_journal(&p);
    for (bool working = true; !status && working && !interrupted;) {
        working = false;
        for (int d = 0; d < run->device_count && !status && !interrupted; d++) {
            if (!lane[d].busy && next_chunk(&p, &lane[d]))
                status = start_lane(&p, &lane[d], d);
            if (!status && lane[d].busy)
                status = tend(&p, &lane[d], d);
            working = working || lane[d].busy || (!status && p.done < p.slots && lane[d].next < lane[d].count);
        }
        if (!working && !status && p.done < p.slots && !interrupted) {
            /* a chunk may have been left by a child that lost its device */
            int before = p.chunk;
            struct lane spare = { 0 };
            working = next_chunk(&p, &spare);
            free(spare.queue);
            p.chunk = before;
        }
    }
    for (int d = 0; lane && d < run->device_count; d++) {
        end_child(&lane[d].child, lane[d].busy);
        free(lane[d].queue);
    }
    if (isatty(2) && !strcmp(run->progress, "line"))
        fputc('\n', stderr);
    tally->interrupted = interrupted;
    tally->left = p.slots - p.done;
    free(lane);
    free(p.slot);
    json_decref(p.far);
    return status;
}

/* ---- the child ---- */

int cb_child_tell(json_t *event)
{
    char *dump = json_dumps(event, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(event);
    if (!dump)
        return cb_error("no memory for an event");
    size_t n = strlen(dump);
    dump[n++] = '\n'; /* in place of the final NUL */
    for (size_t at = 0; at < n;) {
        ssize_t w = write(CB_EVENTS_FD, dump + at, n - at);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0) {
            free(dump);
            return cb_error("the parent does not listen: %s", strerror(errno));
        }
        at += (size_t)w;
    }
    free(dump);
    return 0;
}

struct watching {
    struct nvml *nvml;
    struct cb_binding *binding;
    struct nvml_reading reading;
    bool read;
};

static void watch_begin(void *arg)
{
    struct watching *w = arg;
    cb_bind_launch(w->binding);
    nvml_start(w->nvml, w->binding->poll_cpu);
}

static void watch_end(void *arg)
{
    struct watching *w = arg;
    nvml_stop(w->nvml, &w->reading);
    w->read = true;
    cb_bind_release(w->binding);
}

static bool watch_throttled(void *arg)
{
    struct watching *w = arg;
    return nvml_throttled(w->nvml);
}

static json_t *case_flags(const struct cb_case *out, const struct watching *w, bool other_process, bool cold_unverified, enum cb_cache cache)
{
    json_t *flags = json_array();
    if (w->read && nvml_was_throttled(&w->reading))
        json_array_append_new(flags, json_string("throttled"));
    if (w->read && nvml_was_power_capped(&w->reading))
        json_array_append_new(flags, json_string("power_capped"));
    if (other_process)
        json_array_append_new(flags, json_string("other_process"));
    if (cold_unverified && cache != CB_HOT)
        json_array_append_new(flags, json_string("cold_unverified"));
    int slow = 0, rounds = 0;
    double least = INFINITY, most = 0;
    for (int i = 0; i < out->count; i++) {
        const struct cb_timing *t = &out->out[i].timing;
        double sum = 0;
        int n = 0;
        for (int r = 0; r < t->rounds; r++)
            if (t->clock_mhz[r] > 0) {
                rounds++, n++;
                sum += t->clock_mhz[r];
                slow += t->clock_mhz[r] < 0.97 * out->session.clock_median;
            }
        if (n) {
            least = fmin(least, sum / n);
            most = fmax(most, sum / n);
        }
    }
    if (rounds && slow > 0.1 * rounds)
        json_array_append_new(flags, json_string("clock_unstable"));
    if (most > 1.02 * least)
        json_array_append_new(flags, json_string("clock_differs"));
    return flags;
}

/* One row that stands twice must be as fast as itself: the 99 % interval of the
 * ratio holds 1, its median lies within 1 %. */
static bool aa_fails(const struct cb_case *out)
{
    for (int i = 0; i < out->count; i++)
        for (int k = 0; k < i && out->out[i].copy > 1; k++) {
            int n;
            if (out->out[k].impl != out->out[i].impl)
                continue;
            struct cb_interval r = cb_ratio(&out->out[k].timing, &out->out[i].timing, 0.01, &n);
            return n > 0 && (r.low > 1 || r.high < 1 || r.value > 1.01 || r.value < 0.99);
        }
    return false;
}

int cb_worker(const json_t *plan, const struct cb_plan_item *item, int count,
              const struct cb_policy *policy)
{
    struct cb_context c = { .policy = policy, .aa = -1, .first = true };
    struct cb_binding binding = { .launch_cpu = -1, .poll_cpu = -1 };
    struct watching w = { .binding = &binding };
    const struct cb_watch watch = { watch_begin, watch_end, watch_throttled, &w };
    const char *device = cb_json_text(plan, "device");
    int index = (int)json_integer_value(json_object_get(plan, "device_index")), code = 0;
    bool bind = !json_is_false(json_object_get(plan, "bind"));
    bool cold_unverified = json_is_true(json_object_get(plan, "cold_unverified"));
    size_t i;
    json_t *id;
    if (cb_device_open(device, &c.device)) {
        fprintf(stderr, "%s\n", cb_error_text());
        cb_child_tell(json_pack("{s:s,s:s}", "event", "failed", "error", cb_error_text()));
        return 14;
    }
    const struct cb_device_info *info = cb_device_info(c.device);
    if (info->sm) {
        w.nvml = nvml_open(info->pci);
        if (bind)
            cb_bind_near(info->pci, -1, index, &binding);
        c.watch = &watch;
    }
    c.seed = (uint64_t)json_integer_value(json_object_get(plan, "seed"));
    c.once = json_is_true(json_object_get(plan, "once"));
    uint64_t order = (uint64_t)json_integer_value(json_object_get(plan, "order_seed"));
    json_array_foreach(json_object_get(plan, "cases"), i, id)
    {
        const struct cb_plan_item *it = NULL;
        struct cb_case out;
        for (int k = 0; k < count && !it; k++)
            if (!strcmp(item[k].id, json_string_value(id)))
                it = &item[k];
        if (!it || cb_child_tell(json_pack("{s:s,s:s}", "event", "start", "id", json_string_value(id)))) {
            code = 14;
            break;
        }
        if (policy->cooldown_s > 0)
            usleep((useconds_t)(policy->cooldown_s * 1e6));
        c.cache = it->cache;
        c.regime = it->regime;
        c.aa = it->aa;
        const json_t *out_list = json_object_get(json_object_get(plan, "leave_out"), it->id);
        const char *leave_out[256] = { NULL };
        for (size_t k = 0; k < json_array_size(out_list) && k < 255; k++)
            leave_out[k] = json_string_value(json_array_get(out_list, k));
        c.leave_out = leave_out;
        c.order_seed = order + i * 0x9E3779B97F4A7C15u;
        w.read = false;
        fprintf(stderr, "%s\n", it->id);
        int lost = cb_run_case(&c, it->op, it->params, it->impl, &out);
        struct nvml_number others = nvml_other_processes(w.nvml, true);
        bool again = !lost && (aa_fails(&out) || (others.code == 0 && others.value > 0));
        if (again) { /* once: chance, or a process that has gone, passes */
            cb_case_free(&out);
            c.order_seed ^= 0x5DEECE66Du;
            lost = cb_run_case(&c, it->op, it->params, it->impl, &out);
            others = nvml_other_processes(w.nvml, true);
        }
        struct cb_place where = { cb_json_text(plan, "paper"), it->experiment, it->id, it->baseline,
                                  (int)json_integer_value(json_object_get(plan, "invocation")), index, 0 };
        json_t *telemetry = w.read ? nvml_reading_json(&w.reading) : NULL;
        json_t *flags = case_flags(&out, &w, others.code == 0 && others.value > 0, cold_unverified, it->cache);
        json_t *line = cb_case_json(&c, &where, it->op, it->params, &out, telemetry, flags);
        if (line)
            json_object_set_new(line, "machine", cb_env_machine(info));
        if (line && again)
            json_object_set_new(line, "repeated", json_true());
        int told = line ? cb_child_tell(json_pack("{s:s,s:o}", "event", "case", "line", line)) : -1;
        json_decref(telemetry);
        json_decref(flags);
        cb_case_free(&out);
        c.first = c.first && lost;
        if (lost || told) { /* a lost device: the rest goes on in a new child */
            code = told ? 14 : 0;
            fprintf(stderr, "%s: %s\n", it->id, cb_error_text());
            _exit(code); /* closing a faulted device may hang */
        }
    }
    nvml_close(w.nvml);
    cb_device_close(c.device);
    return code;
}
