/* cache.c - see cache.h. */
#include "cache.h"

#include <stdio.h>
#include <stdlib.h>

#include "../../harness/error.h"

int cache_folder(const char *name, char path[CACHE_PATH])
{
    const char *cache = getenv("CLAIMBENCH_CACHE"), *xdg = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    int n;
    if (cache && *cache)
        n = snprintf(path, CACHE_PATH, "%s/%s", cache, name);
    else if (xdg && *xdg)
        n = snprintf(path, CACHE_PATH, "%s/claimbench/%s", xdg, name);
    else if (home && *home)
        n = snprintf(path, CACHE_PATH, "%s/.cache/claimbench/%s", home, name);
    else
        return cb_error("%s: neither CLAIMBENCH_CACHE nor HOME is set", name);
    return n < CACHE_PATH ? 0 : cb_error("%s: the folder's name is too long", name);
}
