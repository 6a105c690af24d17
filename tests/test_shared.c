/* test_shared.c - where files from outside are looked for: the order, and what is said of none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../suites/data/relations.h"
#include "../suites/data/scan.h"
#include "../suites/data/shared.h"
#include "test.h"

static void put(const char *root, const char *folder, const char *file)
{
    char path[DATA_PATH];
    snprintf(path, sizeof path, "%s/%s", root, folder);
    for (char *c = path + strlen(root); *c; c++)
        if (*c == '/') {
            *c = 0;
            mkdir(path, 0777);
            *c = '/';
        }
    mkdir(path, 0777);
    strcat(path, "/");
    strcat(path, file);
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    if (f)
        fclose(f);
}

static void found_at(const char *root, const char *below)
{
    char path[DATA_PATH], want[DATA_PATH];
    snprintf(want, sizeof want, "%s/%s", root, below);
    CHECK(data_find("things", "one.bin", path) && !strcmp(path, want));
    CHECK(!strcmp(data_shared("things/one.bin", path), want));
    CHECK(!unlink(want));
}

int main(void)
{
    char root[] = "/tmp/test_shared_XXXXXX", data[64], shared[64], path[DATA_PATH], command[80];
    CHECK(mkdtemp(root) != NULL);
    snprintf(data, sizeof data, "%s/data", root);
    snprintf(shared, sizeof shared, "%s/shared", root);
    put(data, "things", "one.bin");
    put(data, ".", "one.bin");
    put(shared, "things", "one.bin");
    put(shared, "data/things", "one.bin");
    setenv("CLAIMBENCH_DATA", data, 1);
    setenv("CLAIMBENCH_SHARED", shared, 1);
    found_at(data, "one.bin");
    found_at(data, "things/one.bin");
    found_at(shared, "things/one.bin");
    found_at(shared, "data/things/one.bin");
    CHECK(!data_find("things", "one.bin", path));
    CHECK(strstr(data_shared("things/one.bin", path), "shared/data/things/one.bin") != NULL);

    /* the names of operators go the same way */
    char why[256];
    put(shared, "pointcloud", "nuscenes_keyframe.pcd.bin");
    put(shared, "data/relational", "aifb_stripped.nt.gz");
    CHECK(scan_available("nuscenes_keyframe", why, sizeof why));
    CHECK(relations_available("aifb_triples", why, sizeof why));
    snprintf(command, sizeof command, "rm -r %s", root);
    CHECK(!system(command));

    unsetenv("CLAIMBENCH_DATA");
    unsetenv("CLAIMBENCH_SHARED");
    if (data_find("pointcloud", "semantickitti_000000.bin", path))
        CHECK(scan_available("semantickitti_000000", why, sizeof why));
    else
        SKIP("shared semantickitti_000000: the file is not here");
    return TEST_END();
}
