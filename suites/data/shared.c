/* shared.c - see shared.h. */
#include "shared.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A path made of parts; false if there is no readable file of that name. */
__attribute__((format(printf, 2, 3))) static bool try_path(char path[DATA_PATH],
                                                           const char *format, ...)
{
    va_list list;
    va_start(list, format);
    const int n = vsnprintf(path, DATA_PATH, format, list);
    va_end(list);
    return n > 0 && n < DATA_PATH && !access(path, R_OK);
}

/* shared/data in the folders above the program. */
static bool above_program(const char *folder, const char *file, char path[DATA_PATH])
{
    char at[DATA_PATH / 2], *slash;
    const ssize_t n = readlink("/proc/self/exe", at, sizeof at - 1);
    at[n > 0 ? n : 0] = 0;
    while ((slash = strrchr(at, '/')) && slash != at) {
        *slash = 0;
        if (try_path(path, "%s/shared/data/%s/%s", at, folder, file))
            return true;
    }
    return false;
}

bool data_find(const char *folder, const char *file, char path[DATA_PATH])
{
    const char *data = getenv("CLAIMBENCH_DATA"), *shared = getenv("CLAIMBENCH_SHARED");
    return (data && (try_path(path, "%s/%s", data, file) ||
                     try_path(path, "%s/%s/%s", data, folder, file))) ||
           (shared && (try_path(path, "%s/%s/%s", shared, folder, file) ||
                       try_path(path, "%s/data/%s/%s", shared, folder, file))) ||
           try_path(path, "shared/data/%s/%s", folder, file) ||
           above_program(folder, file, path) ||
           try_path(path, "../shared/data/%s/%s", folder, file);
}

const char *data_shared(const char *name, char path[DATA_PATH])
{
    const char *slash = strchr(name, '/');
    char folder[64];
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - name) : 0, name);
    data_find(folder, slash ? slash + 1 : name, path);
    return path;
}
