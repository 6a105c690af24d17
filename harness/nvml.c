/*
 * nvml.c - NVML by dlopen, with prototypes of our own.
 *
 * Names and types follow NVML's documented interface, which is stable: a
 * function keeps its name and gets a _vN sibling when it changes.  Only Get
 * functions are looked up.
 */
#define _GNU_SOURCE /* pthread_setaffinity_np */
#include "nvml.h"

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "error.h"

enum { NO_LIBRARY = 12, NO_FUNCTION = 13, TOO_SMALL = 7 };
enum { CLOCK_SM = 1, CLOCK_MEMORY = 2 };
enum { PERIOD_MS = 50, SERIES = 5 };

/* What a poll reads, beside the reasons. */
enum series { SM_CLOCK, MEMORY_CLOCK, TEMPERATURE, POWER, PSTATE };

typedef struct nvmlDevice_st *device_handle;

/* nvmlProcessInfo_t of the _v2 and _v3 calls. */
struct process {
    unsigned pid;
    unsigned long long bytes;
    unsigned gpu_instance, compute_instance;
};

struct nvml {
    void *library;
    device_handle device;
    int (*shutdown)(void);
    /* polling */
    pthread_t thread;
    bool polling;
    atomic_bool stop, throttled;
    double started, *sample[SERIES];
    int count[SERIES], code[SERIES], room, polls, capped, reasons_code;
    bool reasons_known;
    uint64_t reasons;
    struct nvml_number energy_start;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_RAW, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* dlsym gives an object pointer; ISO C has no cast from it to a function. */
static bool find(void *library, const char *name, void *function)
{
    void *symbol = library ? dlsym(library, name) : NULL;
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

/* ---- getters by shape ---- */

static struct nvml_number absent(int code)
{
    return (struct nvml_number){ code, NAN };
}

static struct nvml_number get(struct nvml *n, const char *name)
{
    int (*f)(device_handle, unsigned *);
    unsigned value = 0;
    if (!n)
        return absent(NO_LIBRARY);
    if (!find(n->library, name, &f))
        return absent(NO_FUNCTION);
    const int code = f(n->device, &value);
    return code ? absent(code) : (struct nvml_number){ 0, value };
}

static struct nvml_number get_of(struct nvml *n, const char *name, unsigned kind)
{
    int (*f)(device_handle, unsigned, unsigned *);
    unsigned value = 0;
    if (!n)
        return absent(NO_LIBRARY);
    if (!find(n->library, name, &f))
        return absent(NO_FUNCTION);
    const int code = f(n->device, kind, &value);
    return code ? absent(code) : (struct nvml_number){ 0, value };
}

static int get_long(struct nvml *n, const char *name, unsigned long long *value)
{
    int (*f)(device_handle, unsigned long long *);
    if (!n)
        return NO_LIBRARY;
    return find(n->library, name, &f) ? f(n->device, value) : NO_FUNCTION;
}

/* First of two states: the current one, then the one after a reboot. */
static struct nvml_number get_state(struct nvml *n, const char *name)
{
    int (*f)(device_handle, unsigned *, unsigned *);
    unsigned current = 0, pending = 0;
    if (!n)
        return absent(NO_LIBRARY);
    if (!find(n->library, name, &f))
        return absent(NO_FUNCTION);
    const int code = f(n->device, &current, &pending);
    return code ? absent(code) : (struct nvml_number){ 0, current };
}

static int get_text(struct nvml *n, const char *name, char *out, unsigned size)
{
    int (*f)(device_handle, char *, unsigned);
    out[0] = 0;
    if (!n)
        return NO_LIBRARY;
    return find(n->library, name, &f) ? f(n->device, out, size) : NO_FUNCTION;
}

/* ---- open and close ---- */

struct nvml *nvml_open(const char *pci_bus_id)
{
    int (*init)(void), (*by_pci)(const char *, device_handle *), code;
    if (!pci_bus_id || !*pci_bus_id) {
        cb_error("NVML: no PCI bus id");
        return NULL;
    }
    struct nvml *n = calloc(1, sizeof *n);
    if (!n) {
        cb_error("NVML: no memory");
        return NULL;
    }
    n->library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!n->library || !find(n->library, "nvmlInit_v2", &init) ||
        !find(n->library, "nvmlDeviceGetHandleByPciBusId_v2", &by_pci)) {
        cb_error("NVML: libnvidia-ml.so.1 is absent");
        goto failed;
    }
    code = init();
    if (code) {
        cb_error("NVML: does not start, code %d", code);
        goto failed;
    }
    find(n->library, "nvmlShutdown", &n->shutdown);
    code = by_pci(pci_bus_id, &n->device);
    if (code) {
        cb_error("NVML: no device %s, code %d", pci_bus_id, code);
        goto failed;
    }
    return n;
failed:
    nvml_close(n);
    return NULL;
}

void nvml_close(struct nvml *n)
{
    if (!n)
        return;
    nvml_stop(n, NULL);
    if (n->shutdown)
        n->shutdown();
    if (n->library)
        dlclose(n->library);
    free(n);
}

/* ---- polling ---- */

static struct nvml_number energy(struct nvml *n)
{
    unsigned long long value = 0;
    const int code = get_long(n, "nvmlDeviceGetTotalEnergyConsumption", &value);
    return code ? absent(code) : (struct nvml_number){ 0, (double)value };
}

static void poll_reasons(struct nvml *n)
{
    unsigned long long mask = 0;
    int code = get_long(n, "nvmlDeviceGetCurrentClocksEventReasons", &mask);
    if (code == NO_FUNCTION) /* the name before driver 535 */
        code = get_long(n, "nvmlDeviceGetCurrentClocksThrottleReasons", &mask);
    if (code) {
        n->reasons_code = code;
        return;
    }
    n->reasons_known = true;
    n->reasons |= mask;
    n->capped += (mask & NVML_POWER_CAP) != 0;
    if (mask & NVML_THROTTLED)
        atomic_store(&n->throttled, true);
}

/* A case of hours would fill the memory: the series are thinned by halves. */
static void make_room(struct nvml *n)
{
    for (int s = 0; s < SERIES; s++) {
        if (n->count[s] < n->room)
            continue;
        n->count[s] /= 2;
        for (int i = 0; i < n->count[s]; i++)
            n->sample[s][i] = n->sample[s][2 * i];
    }
}

static void poll_once(struct nvml *n)
{
    const struct nvml_number value[SERIES] = {
        [SM_CLOCK] = get_of(n, "nvmlDeviceGetClockInfo", CLOCK_SM),
        [MEMORY_CLOCK] = get_of(n, "nvmlDeviceGetClockInfo", CLOCK_MEMORY),
        [TEMPERATURE] = get_of(n, "nvmlDeviceGetTemperature", 0),
        [POWER] = get(n, "nvmlDeviceGetPowerUsage"),
        [PSTATE] = get(n, "nvmlDeviceGetPerformanceState"),
    };
    make_room(n);
    for (int s = 0; s < SERIES; s++)
        if (value[s].code)
            n->code[s] = value[s].code;
        else
            n->sample[s][n->count[s]++] = value[s].value;
    poll_reasons(n);
    n->polls++;
}

static void *poller(void *arg)
{
    struct nvml *n = arg;
    const struct timespec period = { 0, PERIOD_MS * 1000000L };
    while (!atomic_load(&n->stop)) {
        poll_once(n);
        nanosleep(&period, NULL);
    }
    return NULL;
}

static void release(struct nvml *n)
{
    for (int s = 0; s < SERIES; s++) {
        free(n->sample[s]);
        n->sample[s] = NULL;
    }
}

int nvml_start(struct nvml *n, int cpu)
{
    if (!n)
        return 0;
    nvml_stop(n, NULL);
    n->room = 1 << 14;
    for (int s = 0; s < SERIES; s++) {
        n->count[s] = n->code[s] = 0;
        n->sample[s] = malloc((size_t)n->room * sizeof *n->sample[s]);
        if (!n->sample[s]) {
            release(n);
            return cb_error("NVML: no memory for the polls");
        }
    }
    n->polls = n->capped = n->reasons_code = 0;
    n->reasons = 0;
    n->reasons_known = false;
    atomic_store(&n->stop, false);
    atomic_store(&n->throttled, false);
    n->energy_start = energy(n);
    n->started = now();
    /* signals go to the thread that measures: the poller is born with all blocked */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int refused = pthread_create(&n->thread, NULL, poller, n);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (refused) {
        release(n);
        return cb_error("NVML: no thread for the polls");
    }
    n->polling = true;
    if (cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        /* a refusal leaves it where the system puts it */
        pthread_setaffinity_np(n->thread, sizeof set, &set);
    }
    return 0;
}

bool nvml_throttled(struct nvml *n)
{
    return n && atomic_exchange(&n->throttled, false);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct nvml_range range_of(double *x, int count, int code, double unit)
{
    struct nvml_range r = { code, count, 0, 0, 0 };
    if (count) {
        qsort(x, (size_t)count, sizeof *x, ascending);
        r.min = x[0] * unit;
        r.median = (x[(count - 1) / 2] + x[count / 2]) / 2 * unit;
        r.max = x[count - 1] * unit;
    }
    return r;
}

static void set_absent(struct nvml_reading *out)
{
    const struct nvml_range none = { NO_LIBRARY, 0, 0, 0, 0 };
    *out = (struct nvml_reading){
        .sm_clock_mhz = none, .memory_clock_mhz = none, .temperature_c = none, .power_w = none,
        .pstate = none, .reasons = absent(NO_LIBRARY), .energy_mj = absent(NO_LIBRARY),
    };
}

void nvml_stop(struct nvml *n, struct nvml_reading *out)
{
    if (out)
        set_absent(out);
    if (!n || !n->polling)
        return;
    atomic_store(&n->stop, true);
    pthread_join(n->thread, NULL);
    n->polling = false;
    if (out) {
        const struct nvml_number end = energy(n);
        out->seconds = now() - n->started;
        out->polls = n->polls;
        out->sm_clock_mhz = range_of(n->sample[SM_CLOCK], n->count[SM_CLOCK], n->code[SM_CLOCK], 1);
        out->memory_clock_mhz = range_of(n->sample[MEMORY_CLOCK], n->count[MEMORY_CLOCK],
                                         n->code[MEMORY_CLOCK], 1);
        out->temperature_c = range_of(n->sample[TEMPERATURE], n->count[TEMPERATURE],
                                      n->code[TEMPERATURE], 1);
        out->power_w = range_of(n->sample[POWER], n->count[POWER], n->code[POWER], 1e-3);
        out->pstate = range_of(n->sample[PSTATE], n->count[PSTATE], n->code[PSTATE], 1);
        out->reasons = n->reasons_known ? (struct nvml_number){ 0, (double)n->reasons }
                                        : absent(n->reasons_code ? n->reasons_code : NVML_SHORT);
        out->power_cap_fraction = n->polls ? (double)n->capped / n->polls : 0;
        if (end.code || n->energy_start.code)
            out->energy_mj = absent(end.code ? end.code : n->energy_start.code);
        else if (out->seconds < 1) /* the counter itself moves in steps of a tenth of it */
            out->energy_mj = absent(NVML_SHORT);
        else
            out->energy_mj = (struct nvml_number){ 0, end.value - n->energy_start.value };
    }
    release(n);
}

bool nvml_was_throttled(const struct nvml_reading *r)
{
    return r->reasons.code == 0 && ((uint64_t)r->reasons.value & NVML_THROTTLED);
}

bool nvml_was_power_capped(const struct nvml_reading *r)
{
    return r->power_cap_fraction > 0.5;
}

/* ---- as JSON ---- */

static json_t *number_json(struct nvml_number x)
{
    return x.code ? json_null() : json_real(x.value);
}

static json_t *integer_json(struct nvml_number x)
{
    return x.code ? json_null() : json_integer((json_int_t)x.value);
}

static json_t *range_json(const struct nvml_range *r)
{
    return r->polls ? json_pack("{s:f, s:f, s:f}", "min", r->min, "median", r->median, "max",
                                r->max)
                    : json_null();
}

json_t *nvml_reading_json(const struct nvml_reading *r)
{
    json_t *o = json_object(), *mask = json_null();
    if (!r->reasons.code)
        mask = json_sprintf("0x%llx", (unsigned long long)r->reasons.value);
    json_object_set_new(o, "sm_clock_mhz", range_json(&r->sm_clock_mhz));
    json_object_set_new(o, "mem_clock_mhz", range_json(&r->memory_clock_mhz));
    json_object_set_new(o, "temp_c", range_json(&r->temperature_c));
    json_object_set_new(o, "power_w", range_json(&r->power_w));
    json_object_set_new(o, "pstate", range_json(&r->pstate));
    json_object_set_new(o, "energy_mj", number_json(r->energy_mj));
    json_object_set_new(o, "reasons_mask_or", mask);
    json_object_set_new(o, "power_cap_fraction",
                        r->reasons.code ? json_null() : json_real(r->power_cap_fraction));
    json_object_set_new(o, "polls", json_integer(r->polls));
    json_object_set_new(o, "seconds", json_real(r->seconds));
    return o;
}

struct nvml_number nvml_other_processes(struct nvml *n, bool own_context)
{
    int (*f)(device_handle, unsigned *, struct process *);
    enum { ROOM = 256 };
    unsigned count = ROOM, others = 0;
    bool self = false;
    if (!n)
        return absent(NO_LIBRARY);
    if (!find(n->library, "nvmlDeviceGetComputeRunningProcesses_v3", &f) &&
        !find(n->library, "nvmlDeviceGetComputeRunningProcesses_v2", &f))
        return absent(NO_FUNCTION);
    struct process *list = calloc(ROOM, sizeof *list);
    if (!list)
        return absent(TOO_SMALL);
    const int code = f(n->device, &count, list);
    for (unsigned i = 0; !code && i < count; i++) {
        if (list[i].pid == (unsigned)getpid())
            self = true;
        else
            others++;
    }
    free(list);
    if (code)
        return absent(code);
    /* in a container the list has the ids of the host: one of them is this process */
    if (own_context && !self && others)
        others--;
    return (struct nvml_number){ 0, others };
}

void nvml_driver(struct nvml *n, char out[80])
{
    int (*f)(char *, unsigned);
    out[0] = 0;
    if (n && find(n->library, "nvmlSystemGetDriverVersion", &f) && f(out, 80))
        out[0] = 0;
}

/* Sets o[key]; a code goes to codes[key]. */
static void put(json_t *o, json_t *codes, const char *key, struct nvml_number x, json_t *value)
{
    json_object_set_new(o, key, value);
    if (x.code)
        json_object_set_new(codes, key, json_integer(x.code));
}

static void put_integer(json_t *o, json_t *codes, const char *key, struct nvml_number x)
{
    put(o, codes, key, x, integer_json(x));
}

static void put_watts(json_t *o, json_t *codes, const char *key, struct nvml_number x)
{
    x.value *= 1e-3;
    put(o, codes, key, x, number_json(x));
}

static void put_onoff(json_t *o, json_t *codes, const char *key, struct nvml_number x)
{
    put(o, codes, key, x, x.code ? json_null() : json_boolean(x.value != 0));
}

static void put_text(struct nvml *n, json_t *o, json_t *codes, const char *key, const char *name)
{
    char text[96];
    const struct nvml_number x = { get_text(n, name, text, sizeof text), 0 };
    put(o, codes, key, x, x.code ? json_null() : json_string(text));
}

static struct nvml_number ecc_errors(struct nvml *n, unsigned uncorrected)
{
    int (*f)(device_handle, unsigned, unsigned, unsigned long long *);
    unsigned long long count = 0;
    if (!n)
        return absent(NO_LIBRARY);
    if (!find(n->library, "nvmlDeviceGetTotalEccErrors", &f))
        return absent(NO_FUNCTION);
    const int code = f(n->device, uncorrected, 0, &count); /* 0: since the driver was loaded */
    return code ? absent(code) : (struct nvml_number){ 0, (double)count };
}

json_t *nvml_facts(struct nvml *n, bool own_context)
{
    static const char *const compute_modes[] = { "default", "exclusive_thread", "prohibited",
                                                 "exclusive_process" };
    json_t *o = json_object(), *codes = json_object(), *pcie = json_object();
    put_text(n, o, codes, "nvml_name", "nvmlDeviceGetName");
    put_text(n, o, codes, "nvml_uuid", "nvmlDeviceGetUUID");
    put_text(n, o, codes, "vbios", "nvmlDeviceGetVbiosVersion");
    put_integer(o, codes, "max_sm_clock_mhz", get_of(n, "nvmlDeviceGetMaxClockInfo", CLOCK_SM));
    put_integer(o, codes, "max_mem_clock_mhz",
                get_of(n, "nvmlDeviceGetMaxClockInfo", CLOCK_MEMORY));
    put_onoff(o, codes, "ecc", get_state(n, "nvmlDeviceGetEccMode"));
    put_integer(o, codes, "ecc_corrected", ecc_errors(n, 0));
    put_integer(o, codes, "ecc_uncorrected", ecc_errors(n, 1));
    put_onoff(o, codes, "persistence", get(n, "nvmlDeviceGetPersistenceMode"));

    struct nvml_number x = get_state(n, "nvmlDeviceGetMigMode");
    put(o, codes, "mig", x, x.code ? json_null() : json_string(x.value != 0 ? "on" : "off"));
    x = get(n, "nvmlDeviceGetComputeMode");
    put(o, codes, "compute_mode", x,
        x.code || x.value > 3 ? json_null() : json_string(compute_modes[(int)x.value]));

    put_watts(o, codes, "power_limit_w", get(n, "nvmlDeviceGetEnforcedPowerLimit"));
    put_watts(o, codes, "default_power_limit_w",
              get(n, "nvmlDeviceGetPowerManagementDefaultLimit"));
    put_integer(o, codes, "temperature_c", get_of(n, "nvmlDeviceGetTemperature", 0));
    put_integer(o, codes, "slowdown_c", get_of(n, "nvmlDeviceGetTemperatureThreshold", 1));
    put_integer(pcie, codes, "gen", get(n, "nvmlDeviceGetCurrPcieLinkGeneration"));
    put_integer(pcie, codes, "width", get(n, "nvmlDeviceGetCurrPcieLinkWidth"));
    put_integer(pcie, codes, "max_gen", get(n, "nvmlDeviceGetMaxPcieLinkGeneration"));
    put_integer(pcie, codes, "max_width", get(n, "nvmlDeviceGetMaxPcieLinkWidth"));
    json_object_set_new(o, "pcie", pcie);
    put_integer(o, codes, "other_processes", nvml_other_processes(n, own_context));
    json_object_set_new(o, "nvml_codes", codes);
    return o;
}
