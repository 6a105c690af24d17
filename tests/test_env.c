/* test_env.c - environment capture, binding, NVML and hashes, on any machine. */
#include <stdlib.h>
#include <unistd.h>

#include "../harness/bind.h"
#include "../harness/env.h"
#include "../harness/error.h"
#include "../harness/nvml.h"
#include "../harness/sha.h"
#include "test.h"

static void test_sha(void)
{
    char hash[65];
    CHECK(cb_sha256("abc", 3, hash) == 0);
    CHECK_STR(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(cb_sha256("", 0, hash) == 0);
    CHECK_STR(hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(cb_sha256_file("/dev/null", hash) == 0);
    CHECK_STR(hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(cb_sha256_file("/nonexistent/file", hash) == -1);
    CHECK_STR(hash, "");
    char name[] = P_tmpdir "/test_env_XXXXXX";
    const int fd = mkstemp(name);
    CHECK(fd >= 0);
    if (fd < 0)
        return;
    char whole[65], *data = calloc(1, 700001);
    memset(data, 'x', 700001); /* more than one piece */
    CHECK(write(fd, data, 700001) == 700001);
    CHECK(cb_sha256(data, 700001, whole) == 0 && cb_sha256_file(name, hash) == 0);
    CHECK_STR(hash, whole);
    close(fd);
    unlink(name);
    free(data);
}

/* No string in it is an absolute path. */
static bool no_paths(const json_t *o)
{
    size_t i;
    const char *key;
    json_t *value;
    if (json_is_string(o)) {
        const char *text = json_string_value(o);
        return text[0] != '/' && !strstr(text, " /") && !strstr(text, "=/") &&
               !strstr(text, "-I/") && !strstr(text, ":/");
    }
    json_array_foreach(o, i, value)
        if (!no_paths(value))
            return false;
    json_object_foreach((json_t *)(size_t)o, key, value)
        if (!no_paths(value))
            return false;
    return true;
}

static const json_t *at(const json_t *o, const char *first, const char *second)
{
    return json_object_get(json_object_get(o, first), second);
}

static void test_env(void)
{
    static const char *const groups[] = { "gpu", "driver", "cuda_driver", "cuda_runtime", "nvcc",
                                          "libs", "lib_sha256", "build", "host", "topology",
                                          "scheduler", "vars" };
    char name[256] = "";
    setenv("CUDA_MODULE_LOADING", "LAZY", 1);
    setenv("CUDA_SECRET_TOKEN", "hunter2", 1);
    setenv("OMP_PLACES", "{0:4}", 1);
    setenv("NVIDIA_REQUIRE_CUDA", "a /b/c d=/e/f,g", 1);
    setenv("UNRELATED", "x", 1);
    unsetenv("SLURM_JOB_ID");
    unsetenv("SLURM_PROCID");
    unsetenv("OMPI_COMM_WORLD_RANK");
    unsetenv("PMI_RANK");
    json_t *env = cb_env(NULL);
    CHECK(env != NULL);
    if (!env)
        return;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        CHECK(json_object_get(env, groups[i]) != NULL);
    CHECK(json_array_size(json_object_get(env, "gpu")) == 0);
    CHECK(json_integer_value(at(env, "host", "cpus")) >= 1);
    CHECK(json_integer_value(at(env, "host", "mem_bytes")) > 1 << 20);
    CHECK(json_is_string(at(env, "host", "kernel")));
    CHECK(json_array_size(at(env, "host", "load_start")) == 3);
    CHECK(json_is_null(at(env, "host", "load_end")));
    CHECK(cb_env_finish(env) == 0 && json_array_size(at(env, "host", "load_end")) == 3);
    CHECK(json_is_null(json_object_get(env, "scheduler")));
    CHECK(json_object_size(at(env, "build", "binaries")) == 1);
    const char *jansson = json_string_value(at(env, "libs", "jansson"));
    CHECK(jansson && !strncmp(jansson, "2.", 2));
    CHECK_STR(json_string_value(at(env, "vars", "CUDA_MODULE_LOADING")), "LAZY");
    CHECK_STR(json_string_value(at(env, "vars", "CUDA_SECRET_TOKEN")), "(set)");
    CHECK_STR(json_string_value(at(env, "vars", "OMP_PLACES")), "{0:4}");
    CHECK_STR(json_string_value(at(env, "vars", "NVIDIA_REQUIRE_CUDA")), "a <path> d=<path>,g");
    CHECK(at(env, "vars", "UNRELATED") == NULL);
    CHECK(no_paths(env));
    CHECK_STR(json_string_value(at(env, "topology", "binding")), "none");

    gethostname(name, sizeof name - 1);
    const char *hidden = json_string_value(at(env, "host", "hostname"));
    CHECK(hidden && !strncmp(hidden, "sha256:", 7) && strlen(hidden) == 7 + 16);
    json_decref(env);

    cb_env_keep_hostname(true);
    setenv("SLURM_JOB_ID", "17", 1);
    setenv("SLURM_PROCID", "3", 1);
    env = cb_env(NULL);
    CHECK_STR(json_string_value(at(env, "host", "hostname")), name);
    CHECK_STR(json_string_value(at(env, "scheduler", "slurm_job_id")), "17");
    CHECK_STR(json_string_value(at(env, "scheduler", "rank")), "3");
    CHECK(json_is_null(at(env, "scheduler", "size")));
    cb_env_keep_hostname(false);
    char *text = json_dumps(env, JSON_SORT_KEYS);
    CHECK(text != NULL);
    free(text);
    json_decref(env);
    json_t *empty = json_object();
    CHECK(cb_env_finish(empty) == -1);
    json_decref(empty);
    CHECK(cb_build_commit() != NULL);
}

static void test_nvml(void)
{
    struct nvml_reading r;
    char driver[80];
    CHECK(nvml_open(NULL) == NULL && strstr(cb_error_text(), "PCI") != NULL);
    CHECK(nvml_open("ffff:ff:1f.7") == NULL);
    /* all of it works, and finds nothing, without a device */
    CHECK(nvml_start(NULL, -1) == 0);
    CHECK(!nvml_throttled(NULL));
    nvml_stop(NULL, &r);
    CHECK(r.polls == 0 && r.sm_clock_mhz.polls == 0 && r.sm_clock_mhz.code != 0);
    CHECK(r.energy_mj.code != 0 && r.reasons.code != 0);
    CHECK(!nvml_was_throttled(&r) && !nvml_was_power_capped(&r));
    json_t *o = nvml_reading_json(&r);
    CHECK(json_is_null(json_object_get(o, "sm_clock_mhz")));
    CHECK(json_is_null(json_object_get(o, "reasons_mask_or")));
    json_decref(o);
    o = nvml_facts(NULL, true);
    CHECK(json_is_null(json_object_get(o, "ecc")) && json_is_null(at(o, "pcie", "gen")));
    CHECK(json_integer_value(at(o, "nvml_codes", "ecc")) == 12);
    json_decref(o);
    nvml_driver(NULL, driver);
    CHECK_STR(driver, "");
    nvml_close(NULL);

    r.reasons = (struct nvml_number){ 0, 0x4 };
    r.power_cap_fraction = 0.6;
    CHECK(!nvml_was_throttled(&r) && nvml_was_power_capped(&r));
    r.reasons.value = 0x4 | 0x40;
    CHECK(nvml_was_throttled(&r));
    o = nvml_reading_json(&r);
    CHECK_STR(json_string_value(json_object_get(o, "reasons_mask_or")), "0x44");
    json_decref(o);
}

static void test_bind(void)
{
    struct cb_binding b;
    CHECK(cb_bind_current() == NULL);
    CHECK(cb_bind_find(NULL, -1, 0, &b) == 0); /* the host */
    CHECK_STR(b.text, "none");
    CHECK(b.launch_cpu == -1 && b.poll_cpu == -1 && b.numa_node == -1 && *b.allowed);
    CHECK(cb_bind_launch(&b) == 0 && cb_bind_release(&b) == 0);
    CHECK(cb_bind_near("ffff:ff:1f.7", -1, 0, &b) == 0); /* a GPU that nobody knows */
    CHECK(!b.gpu_found && b.launch_cpu == -1);
    CHECK(cb_bind_current() != NULL);

    CHECK(cb_bind_near("ffff:ff:1f.7", 0, 0, &b) == 0); /* the driver names node 0 */
    if (b.launch_cpu < 0) {
        SKIP("test_env: binding: no NUMA node 0 with CPUs that may be used");
        return;
    }
    CHECK(!strncmp(b.text, "cpus ", 5) && !b.gpu_found && b.numa_node == 0);
    CHECK(cb_bind_launch(&b) == 0 && !strncmp(b.text, "core ", 5));
    CHECK(b.poll_cpu != b.launch_cpu);
    CHECK_STR(cb_bind_current()->text, b.text);
    struct cb_binding now;
    CHECK(cb_bind_find(NULL, -1, 0, &now) == 0);
    json_t *o = cb_binding_json(&b);
    CHECK_STR(json_string_value(json_object_get(o, "binding")), b.text);
    CHECK(json_is_false(json_object_get(o, "gpu_found")));
    json_decref(o);
    CHECK(cb_bind_release(&b) == 0 && !strncmp(b.text, "cpus ", 5));
}

int main(void)
{
    test_sha();
    test_nvml();
    test_env();
    test_bind();
    return TEST_END();
}
