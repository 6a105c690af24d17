/* bind.c - binding by hwloc. */
#include "bind.h"

#include <ctype.h>
#include <hwloc.h>
#include <stdio.h>
#include <string.h>

#include "error.h"

/* Loaded once: reading the topology takes tens of milliseconds. */
static hwloc_topology_t topology;
static struct cb_binding current;
static hwloc_bitmap_t near_cpus; /* of the last cb_bind_near; its text may be cut short */
static bool bound;

static int load(void)
{
    if (topology)
        return 0;
    hwloc_topology_t t;
    if (hwloc_topology_init(&t))
        return cb_error("hwloc: no topology");
    hwloc_topology_set_io_types_filter(t, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
    if (hwloc_topology_load(t)) {
        hwloc_topology_destroy(t);
        return cb_error("hwloc: the topology cannot be read");
    }
    topology = t;
    return 0;
}

/* The NUMA node that the system itself names for the PCI device. */
static int sysfs_node(const char *pci)
{
    char path[128] = "/sys/bus/pci/devices/";
    size_t used = strlen(path);
    int node = -1;
    for (const char *c = pci; *c && used + 16 < sizeof path; c++)
        path[used++] = (char)tolower((unsigned char)*c);
    snprintf(path + used, sizeof path - used, "/numa_node");
    FILE *f = fopen(path, "r");
    if (!f)
        return -1;
    if (fscanf(f, "%d", &node) != 1)
        node = -1;
    fclose(f);
    return node;
}

/* CPUs next to the GPU into near; false where nobody knows. */
static bool find_near(const char *pci, int numa_hint, hwloc_cpuset_t near, struct cb_binding *out)
{
    hwloc_obj_t device = hwloc_get_pcidev_by_busidstring(topology, pci), o = NULL;
    if (device)
        o = hwloc_get_non_io_ancestor_obj(topology, device);
    out->gpu_found = o != NULL;
    if (!o) {
        const int node = numa_hint >= 0 ? numa_hint : sysfs_node(pci);
        if (node >= 0)
            o = hwloc_get_numanode_obj_by_os_index(topology, (unsigned)node);
    }
    if (!o || !o->cpuset)
        return false;
    hwloc_bitmap_copy(near, o->cpuset);
    if (o->nodeset && hwloc_bitmap_weight(o->nodeset) == 1)
        out->numa_node = hwloc_bitmap_first(o->nodeset);
    return true;
}

/* The number-th core of which near has a CPU, counted around; its first such CPU. */
static int cpu_of_core(hwloc_const_cpuset_t near, int number)
{
    int cores = 0;
    for (int pass = 0; pass < 2; pass++) {
        const int want = pass ? number % cores : -1;
        int seen = 0;
        hwloc_obj_t core = NULL;
        while ((core = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, core))) {
            if (!hwloc_bitmap_intersects(core->cpuset, near))
                continue;
            if (seen++ == want) {
                int cpu = hwloc_bitmap_first(core->cpuset);
                while (cpu >= 0 && !hwloc_bitmap_isset(near, (unsigned)cpu))
                    cpu = hwloc_bitmap_next(core->cpuset, cpu);
                return cpu;
            }
        }
        cores = seen;
        if (!cores) /* no cores in the topology of some virtual machines */
            return hwloc_bitmap_first(near);
    }
    return -1;
}

static int find_binding(const char *pci, int numa_hint, int slot, hwloc_bitmap_t near,
                        struct cb_binding *out)
{
    hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
    if (!allowed)
        return cb_error("hwloc: no memory");
    hwloc_bitmap_copy(allowed, hwloc_topology_get_allowed_cpuset(topology));
    if (!hwloc_get_cpubind(topology, near, HWLOC_CPUBIND_PROCESS))
        hwloc_bitmap_and(allowed, allowed, near);
    hwloc_bitmap_list_snprintf(out->allowed, sizeof out->allowed, allowed);
    if (!pci || !*pci || !find_near(pci, numa_hint, near, out))
        goto done;
    hwloc_bitmap_and(near, near, allowed);
    if (hwloc_bitmap_iszero(near)) /* not allowed near the GPU: stay where we are */
        goto done;
    hwloc_bitmap_list_snprintf(out->gpu_cpuset, sizeof out->gpu_cpuset, near);
    /* from the second core on: the first takes most interrupts */
    out->launch_cpu = cpu_of_core(near, 1 + 2 * slot);
    out->poll_cpu = cpu_of_core(near, 2 + 2 * slot);
    if (out->poll_cpu == out->launch_cpu)
        out->poll_cpu = -1;
done:
    hwloc_bitmap_free(allowed);
    return 0;
}

static int find(const char *pci, int numa_hint, int slot, hwloc_bitmap_t near,
                struct cb_binding *out)
{
    memset(out, 0, sizeof *out);
    out->numa_node = out->launch_cpu = out->poll_cpu = -1;
    strcpy(out->text, "none");
    if (!near || load())
        return near ? -1 : cb_error("hwloc: no memory");
    return find_binding(pci, numa_hint, slot, near, out);
}

int cb_bind_find(const char *pci, int numa_hint, int slot, struct cb_binding *out)
{
    hwloc_bitmap_t near = hwloc_bitmap_alloc();
    const int status = find(pci, numa_hint, slot, near, out);
    hwloc_bitmap_free(near);
    return status;
}

static void bind_memory(int node)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    if (set) {
        hwloc_bitmap_only(set, (unsigned)node);
        /* containers often forbid it; the cores near the node then touch first */
        hwloc_set_membind(topology, set, HWLOC_MEMBIND_BIND,
                          HWLOC_MEMBIND_PROCESS | HWLOC_MEMBIND_BYNODESET);
    }
    hwloc_bitmap_free(set);
}

int cb_bind_near(const char *pci, int numa_hint, int slot, struct cb_binding *out)
{
    if (!near_cpus)
        near_cpus = hwloc_bitmap_alloc();
    if (find(pci, numa_hint, slot, near_cpus, out))
        return -1;
    bound = true;
    current = *out;
    if (out->launch_cpu < 0)
        return 0;
    if (out->numa_node >= 0)
        bind_memory(out->numa_node);
    return cb_bind_release(out);
}

int cb_bind_launch(struct cb_binding *b)
{
    if (b->launch_cpu < 0)
        return 0;
    hwloc_bitmap_t one = hwloc_bitmap_alloc();
    int status = -1;
    if (one)
        hwloc_bitmap_only(one, (unsigned)b->launch_cpu);
    if (!one || hwloc_set_cpubind(topology, one, HWLOC_CPUBIND_THREAD)) {
        cb_error("hwloc: cannot bind to CPU %d", b->launch_cpu);
    } else {
        snprintf(b->text, sizeof b->text, "core %d", b->launch_cpu);
        current = *b;
        status = 0;
    }
    hwloc_bitmap_free(one);
    return status;
}

int cb_bind_release(struct cb_binding *b)
{
    if (b->launch_cpu < 0)
        return 0;
    if (hwloc_set_cpubind(topology, near_cpus, HWLOC_CPUBIND_THREAD))
        return cb_error("hwloc: cannot bind to CPUs %s", b->gpu_cpuset);
    snprintf(b->text, sizeof b->text, "cpus %.100s", b->gpu_cpuset);
    current = *b;
    return 0;
}

const struct cb_binding *cb_bind_current(void)
{
    return bound ? &current : NULL;
}

json_t *cb_binding_json(const struct cb_binding *b)
{
    const unsigned version = hwloc_get_api_version();
    json_t *o = json_object();
    json_object_set_new(o, "hwloc", json_sprintf("%u.%u.%u", version >> 16, version >> 8 & 255,
                                                 version & 255));
    json_object_set_new(o, "numa_node", b->numa_node < 0 ? json_null()
                                                         : json_integer(b->numa_node));
    json_object_set_new(o, "gpu_cpuset", *b->gpu_cpuset ? json_string(b->gpu_cpuset)
                                                        : json_null());
    json_object_set_new(o, "gpu_found", json_boolean(b->gpu_found));
    json_object_set_new(o, "allowed_cpuset", json_string(b->allowed));
    json_object_set_new(o, "binding", json_string(b->text));
    return o;
}
