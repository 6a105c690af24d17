/* env.c - environment capture. */
#define _GNU_SOURCE /* dladdr, RTLD_DEFAULT, sched_getaffinity */
#include "env.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bind.h"
#include "error.h"
#include "nvml.h"
#include "sha.h"

/* Written by the build; a build without it knows less of itself. */
#if __has_include("stamp.h")
#include "stamp.h"
#endif
#ifndef CB_COMMIT
#define CB_COMMIT ""
#endif
#ifndef CB_DESCRIBE
#define CB_DESCRIBE ""
#endif
#ifndef CB_DIRTY
#define CB_DIRTY 0
#endif
#ifndef CB_DIFF_SHA256
#define CB_DIFF_SHA256 ""
#endif
#ifndef CB_VERSION
#define CB_VERSION ""
#endif
#ifndef CB_CONFIGS_SHA256
#define CB_CONFIGS_SHA256 ""
#endif
#ifndef CB_SUITES_SHA256
#define CB_SUITES_SHA256 ""
#endif
#ifndef CB_NVCC_FLAGS
#define CB_NVCC_FLAGS ""
#endif
#ifndef CB_NVCC_VERSION
#define CB_NVCC_VERSION ""
#endif
#ifndef CB_CFLAGS
#define CB_CFLAGS ""
#endif
#ifndef CB_CC_VERSION
#define CB_CC_VERSION ""
#endif
#ifndef CB_SM
#define CB_SM ""
#endif

extern char **environ;

static bool keep_hostname;

void cb_env_keep_hostname(bool keep)
{
    keep_hostname = keep;
}

const char *cb_build_version(void)
{
    return CB_VERSION;
}

const char *cb_build_commit(void)
{
    return CB_COMMIT;
}

bool cb_build_dirty(void)
{
    return CB_DIRTY;
}

/* ---- pieces ---- */

/* A string; null for NULL, "" and what is not UTF-8. */
static json_t *text_json(const char *text)
{
    json_t *s = text && *text ? json_string(text) : NULL;
    return s ? s : json_null();
}

/* The same with absolute paths replaced: "-I/usr/include" becomes "-I<path>". */
static json_t *flags_json(const char *text)
{
    char out[1024];
    size_t used = 0;
    for (size_t i = 0; text[i] && used + 8 < sizeof out; i++) {
        const char before = i ? text[i - 1] : ' ';
        const bool option = i >= 2 && text[i - 2] == '-' && (before == 'I' || before == 'L');
        if (text[i] == '/' && (strchr(" =:,\"", before) || option)) {
            used += (size_t)snprintf(out + used, sizeof out - used, "<path>");
            i += strcspn(text + i, " :,\"") - 1;
        } else {
            out[used++] = text[i];
        }
    }
    out[used] = 0;
    return text_json(out);
}

static json_t *count_json(double value)
{
    return value > 0 ? json_integer((json_int_t)value) : json_null();
}

/* First line of a file without its end; "" if it cannot be read. */
static const char *first_line(const char *path, char *out, int size)
{
    FILE *f = fopen(path, "r");
    out[0] = 0;
    if (f) {
        if (!fgets(out, size, f))
            out[0] = 0;
        fclose(f);
    }
    out[strcspn(out, "\n")] = 0;
    return out;
}

/* 13000 -> "13.0" */
static json_t *cuda_version_json(int version)
{
    return version > 0 ? json_sprintf("%d.%d", version / 1000, version % 1000 / 10) : json_null();
}

/* ---- GPU ---- */

static json_t *gpu_json(const struct cb_device_info *info, struct nvml *n)
{
    json_t *o = nvml_facts(n, true);
    json_object_set_new(o, "name", text_json(info->name));
    json_object_set_new(o, "uuid", text_json(info->uuid));
    json_object_set_new(o, "pci", text_json(info->pci));
    json_object_set_new(o, "cc", json_sprintf("%d.%d", info->sm / 10, info->sm % 10));
    json_object_set_new(o, "slug", json_string(info->slug));
    json_object_set_new(o, "sm_count", count_json(info->multiprocessors));
    json_object_set_new(o, "l2_bytes", count_json((double)info->l2));
    json_object_set_new(o, "mem_bytes", count_json((double)info->memory));
    json_object_set_new(o, "mem_bus_bits", count_json(info->memory_bus_bits));
    json_object_set_new(o, "clock_khz", count_json(info->clock_khz));
    json_object_set_new(o, "mem_clock_khz", count_json(info->memory_clock_khz));
    json_object_del(o, "nvml_name"); /* the same as name and uuid, which CUDA told */
    json_object_del(o, "nvml_uuid");
    return o;
}

/* ---- libraries as loaded ---- */

struct library {
    const char *name, *property; /* property: type -> value, 0 1 2 = major minor patch */
    const char *text;            /* or a function that returns the version as text */
    char sha256[65];
    bool hashed;
};
static struct library libraries[] = {
    { .name = "cublas", .property = "cublasGetProperty" },
    { .name = "cublaslt", .property = "cublasLtGetProperty" },
    { .name = "cusparse", .property = "cusparseGetProperty" },
    { .name = "openblas", .text = "openblas_get_config" },
    { .name = "jansson", .text = "jansson_version_str" },
    { .name = "zlib", .text = "zlibVersion" },
};

/* Its file's hash; null for what is linked into the program itself. */
static json_t *library_hash(struct library *l, void *symbol)
{
    Dl_info at, self;
    if (!l->hashed) {
        l->hashed = true;
        if (!dladdr(symbol, &at) || !at.dli_fname ||
            !dladdr((void *)&libraries, &self) || !strcmp(at.dli_fname, self.dli_fname) ||
            cb_sha256_file(at.dli_fname, l->sha256))
            l->sha256[0] = 0;
    }
    return text_json(l->sha256);
}

static void libraries_json(json_t *versions, json_t *hashes)
{
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        struct library *l = &libraries[i];
        void *symbol = dlsym(RTLD_DEFAULT, l->property ? l->property : l->text);
        json_t *version = NULL;
        if (symbol && l->property) {
            int (*property)(int, int *), part[3] = { 0, 0, 0 };
            memcpy(&property, &symbol, sizeof property);
            if (!property(0, &part[0]) && !property(1, &part[1]) && !property(2, &part[2]))
                version = json_sprintf("%d.%d.%d", part[0], part[1], part[2]);
        } else if (symbol) {
            const char *(*text)(void);
            memcpy(&text, &symbol, sizeof text);
            version = text_json(text());
        }
        json_object_set_new(versions, l->name, version ? version : json_null());
        json_object_set_new(hashes, l->name, symbol ? library_hash(l, symbol) : json_null());
    }
}

/* ---- build ---- */

static json_t *build_json(void)
{
    char path[4096], hash[65];
    json_t *o = json_object(), *binaries = json_object();
    const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length > 0) {
        path[length] = 0;
        const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
        if (!cb_sha256_file("/proc/self/exe", hash))
            json_object_set_new(binaries, name, json_sprintf("sha256:%s", hash));
    }
    json_object_set_new(o, "commit", text_json(CB_COMMIT));
    json_object_set_new(o, "dirty", *CB_COMMIT ? json_boolean(CB_DIRTY) : json_null());
    json_object_set_new(o, "describe", text_json(CB_DESCRIBE));
    json_object_set_new(o, "diff_sha256", text_json(CB_DIFF_SHA256));
    json_object_set_new(o, "version", text_json(CB_VERSION));
    json_object_set_new(o, "configs_sha256", text_json(CB_CONFIGS_SHA256));
    json_object_set_new(o, "suites_sha256", text_json(CB_SUITES_SHA256));
    json_object_set_new(o, "nvcc_flags", flags_json(CB_NVCC_FLAGS));
    json_object_set_new(o, "cc", text_json(CB_CC_VERSION));
    json_object_set_new(o, "cc_flags", flags_json(CB_CFLAGS));
    json_object_set_new(o, "sm", text_json(CB_SM));
#ifdef WITH_CUDA
    json_object_set_new(o, "cuda", json_true());
#else
    json_object_set_new(o, "cuda", json_false());
#endif
    json_object_set_new(o, "binaries", binaries);
    return o;
}

/* ---- host ---- */

struct cpus {
    char model[128];
    int sockets, cores;
    bool hypervisor;
};

/* Cores are the distinct (socket, core) pairs: threads of one core repeat its pair. */
static void read_cpuinfo(struct cpus *out)
{
    enum { PAIRS = 4096 };
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[8192]; /* the line of flags is long */
    int *seen = calloc(PAIRS, sizeof *seen), pairs = 0, socket = 0, core;
    memset(out, 0, sizeof *out);
    while (f && seen && fgets(line, sizeof line, f)) {
        const char *value = strchr(line, ':');
        if (!value)
            continue;
        value += strspn(value, ": \t");
        if (!strncmp(line, "model name", 10) && !*out->model) {
            snprintf(out->model, sizeof out->model, "%.*s", (int)strcspn(value, "\n"), value);
        } else if (!strncmp(line, "physical id", 11)) {
            socket = atoi(value);
            if (socket + 1 > out->sockets)
                out->sockets = socket + 1;
        } else if (!strncmp(line, "core id", 7)) {
            const int pair = socket << 16 | atoi(value);
            for (core = 0; core < pairs && seen[core] != pair; core++)
                continue;
            if (core == pairs && pairs < PAIRS)
                seen[pairs++] = pair;
        } else if (!strncmp(line, "flags", 5) && strstr(line, " hypervisor")) {
            out->hypervisor = true;
        }
    }
    out->cores = pairs;
    free(seen);
    if (f)
        fclose(f);
}

static json_t *os_json(void)
{
    FILE *f = fopen("/etc/os-release", "r");
    char line[256], name[128] = "";
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "PRETTY_NAME=", 12)) {
            const char *value = line + 12 + (line[12] == '"');
            snprintf(name, sizeof name, "%.*s", (int)strcspn(value, "\"\n"), value);
        }
    if (f)
        fclose(f);
    return text_json(name);
}

static json_t *container_json(void)
{
    const char *name = getenv("container");
    char line[256];
    if (name && *name)
        return text_json(name);
    if (!access("/.dockerenv", F_OK))
        return json_string("docker");
    if (!access("/run/.containerenv", F_OK))
        return json_string("podman");
    if (getenv("APPTAINER_CONTAINER") || getenv("SINGULARITY_CONTAINER"))
        return json_string("apptainer");
    first_line("/proc/1/cgroup", line, sizeof line);
    return strstr(line, "docker") || strstr(line, "kubepods") ? json_string("cgroup")
                                                              : json_null();
}

static json_t *load_json(void)
{
    double load[3];
    if (getloadavg(load, 3) != 3)
        return json_null();
    return json_pack("[f, f, f]", load[0], load[1], load[2]);
}

/* A name that tells where one is: hashed unless it may be kept. */
static json_t *private_json(const char *name)
{
    char hash[65];
    if (!name || !*name || keep_hostname)
        return text_json(name);
    if (cb_sha256(name, strlen(name), hash))
        return json_null();
    return json_sprintf("sha256:%.16s", hash);
}

static json_t *host_json(void)
{
    json_t *o = json_object();
    char line[256], name[256] = "";
    struct cpus cpus;
    struct utsname system;
    cpu_set_t allowed;
    read_cpuinfo(&cpus);
    json_object_set_new(o, "cpu", text_json(cpus.model));
    json_object_set_new(o, "sockets", count_json(cpus.sockets));
    json_object_set_new(o, "cores", count_json(cpus.cores));
    json_object_set_new(o, "cpus", count_json((double)sysconf(_SC_NPROCESSORS_ONLN)));
    const bool known = !sched_getaffinity(0, sizeof allowed, &allowed);
    json_object_set_new(o, "cpus_allowed", count_json(known ? CPU_COUNT(&allowed) : 0));
    json_object_set_new(o, "mem_bytes", count_json((double)sysconf(_SC_PHYS_PAGES) *
                                                   (double)sysconf(_SC_PAGESIZE)));
    const bool named = !uname(&system);
    json_object_set_new(o, "kernel", text_json(named ? system.release : NULL));
    json_object_set_new(o, "machine", text_json(named ? system.machine : NULL));
    json_object_set_new(o, "os", os_json());
    json_object_set_new(o, "virt", cpus.hypervisor ? json_string("hypervisor") : json_null());
    json_object_set_new(o, "container", container_json());
    json_object_set_new(o, "governor", text_json(first_line(
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", line, sizeof line)));
    json_object_set_new(o, "load_start", load_json());
    json_object_set_new(o, "load_end", json_null());
    gethostname(name, sizeof name - 1);
    json_object_set_new(o, "hostname", private_json(name));
    return o;
}

/* ---- topology, scheduler, variables ---- */

static json_t *topology_json(const struct cb_device_info *info)
{
    struct cb_binding found;
    char line[256];
    const struct cb_binding *b = cb_bind_current();
    if (!b) {
        if (cb_bind_find(info ? info->pci : NULL, -1, 0, &found))
            return json_null();
        b = &found;
    }
    json_t *o = cb_binding_json(b);
    if (!*first_line("/sys/fs/cgroup/cpuset.cpus.effective", line, sizeof line))
        first_line("/sys/fs/cgroup/cpuset/cpuset.cpus", line, sizeof line);
    json_object_set_new(o, "cgroup_cpuset", text_json(line));
    return o;
}

static const char *first_set(const char *const *names)
{
    for (; *names; names++)
        if (getenv(*names))
            return getenv(*names);
    return NULL;
}

static json_t *scheduler_json(void)
{
    static const char *const rank[] = { "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", NULL };
    static const char *const size[] = { "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", NULL };
    const char *job = getenv("SLURM_JOB_ID");
    if (!job && !first_set(rank))
        return json_null();
    json_t *o = json_object();
    json_object_set_new(o, "slurm_job_id", text_json(job));
    json_object_set_new(o, "nodes", private_json(getenv("SLURM_JOB_NODELIST")));
    json_object_set_new(o, "cuda_visible_devices", text_json(getenv("CUDA_VISIBLE_DEVICES")));
    json_object_set_new(o, "rank", text_json(first_set(rank)));
    json_object_set_new(o, "size", text_json(first_set(size)));
    return o;
}

/* Names with these beginnings are recorded ... */
static const char *const prefixes[] = { "CUDA_", "CUBLAS_", "CUSPARSE_", "NVIDIA_", "OMP_",
                                        "OPENBLAS_", "GOMP_", NULL };
/* ... but the value only of those that are known to hold no secret. */
static const char *const open_names[] = {
    "CUBLAS_WORKSPACE_CONFIG", "CUBLAS_LOGINFO_DBG", "CUBLASLT_LOG_LEVEL",
    "CUDA_AUTO_BOOST", "CUDA_CACHE_DISABLE", "CUDA_CACHE_MAXSIZE", "CUDA_DEVICE_MAX_CONNECTIONS",
    "CUDA_DEVICE_ORDER", "CUDA_DEVICE_WAITS_ON_EXCEPTION", "CUDA_DISABLE_PTX_JIT",
    "CUDA_FORCE_PTX_JIT", "CUDA_LAUNCH_BLOCKING", "CUDA_MODULE_DATA_LOADING",
    "CUDA_MODULE_LOADING", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "CUDA_SCALE_LAUNCH_QUEUES",
    "CUDA_VERSION", "CUDA_VISIBLE_DEVICES", "CUSPARSE_LOG_LEVEL", "GOMP_CPU_AFFINITY",
    "GOMP_SPINCOUNT", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_REQUIRE_CUDA", "NVIDIA_TF32_OVERRIDE",
    "NVIDIA_VISIBLE_DEVICES", "OMP_DYNAMIC", "OMP_NUM_THREADS", "OMP_PLACES", "OMP_PROC_BIND",
    "OMP_SCHEDULE", "OMP_THREAD_LIMIT", "OMP_WAIT_POLICY", "OPENBLAS_CORETYPE",
    "OPENBLAS_NUM_THREADS", NULL,
};

static json_t *vars_json(void)
{
    json_t *o = json_object();
    for (char **e = environ; *e; e++) {
        char name[128];
        const size_t length = strcspn(*e, "=");
        bool wanted = false, open = false;
        if (length >= sizeof name || !(*e)[length])
            continue;
        memcpy(name, *e, length);
        name[length] = 0;
        for (int i = 0; prefixes[i]; i++)
            wanted |= !strncmp(name, prefixes[i], strlen(prefixes[i]));
        for (int i = 0; open_names[i]; i++)
            open |= !strcmp(name, open_names[i]);
        if (wanted)
            json_object_set_new(o, name, open ? flags_json(*e + length + 1)
                                              : json_string("(set)"));
    }
    return o;
}

json_t *cb_env_machine(const struct cb_device_info *info)
{
    const char *node = getenv("SLURMD_NODENAME"); /* may be another name than the host's own */
    const bool gpu = info && info->sm > 0;
    char name[256] = "";
    gethostname(name, sizeof name - 1);
    json_t *o = json_object();
    json_object_set_new(o, "node", private_json(node ? node : name));
    json_object_set_new(o, "gpu", text_json(gpu ? info->name : NULL));
    json_object_set_new(o, "uuid", text_json(gpu ? info->uuid : NULL));
    return o;
}

json_t *cb_env(struct cb_device *d)
{
    const struct cb_device_info *info = d ? cb_device_info(d) : NULL;
    const bool gpu = info && info->sm > 0;
    struct nvml *n = gpu ? nvml_open(info->pci) : NULL;
    json_t *env = json_object(), *gpus = json_array(), *versions = json_object(),
           *hashes = json_object();
    char driver[80];
    if (!env || !gpus || !versions || !hashes) {
        cb_error("environment: no memory");
        json_decref(env);
        json_decref(gpus);
        json_decref(versions);
        json_decref(hashes);
        nvml_close(n);
        return NULL;
    }
    if (gpu)
        json_array_append_new(gpus, gpu_json(info, n));
    nvml_driver(n, driver);
    libraries_json(versions, hashes);
    json_object_set_new(env, "gpu", gpus);
    json_object_set_new(env, "driver", text_json(driver));
    json_object_set_new(env, "cuda_driver", cuda_version_json(gpu ? info->driver_cuda : 0));
    json_object_set_new(env, "cuda_runtime", cuda_version_json(gpu ? info->runtime_cuda : 0));
    json_object_set_new(env, "nvcc", text_json(CB_NVCC_VERSION));
    json_object_set_new(env, "libs", versions);
    json_object_set_new(env, "lib_sha256", hashes);
    json_object_set_new(env, "build", build_json());
    json_object_set_new(env, "host", host_json());
    json_object_set_new(env, "topology", topology_json(info));
    json_object_set_new(env, "scheduler", scheduler_json());
    json_object_set_new(env, "vars", vars_json());
    nvml_close(n);
    return env;
}

int cb_env_finish(json_t *env)
{
    json_t *host = json_object_get(env, "host");
    if (!host)
        return cb_error("environment: has no host");
    return json_object_set_new(host, "load_end", load_json()) ? cb_error("environment: no memory")
                                                              : 0;
}
