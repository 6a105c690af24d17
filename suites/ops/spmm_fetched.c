/* spmm_fetched.c - see spmm_fetched.h. */
#define _GNU_SOURCE /* O_CLOEXEC */
#include "spmm_fetched.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../harness/error.h"
#include "../home.h"
#include "cache.h"

enum { LINE = 320 };

/* The file, its folder made; "" where there is none. */
static void path_of(char path[CACHE_PATH + 16])
{
    *path = 0;
    if (!cache_folder("spmm", path) && !home_make_folders(path))
        strcat(path, "/fetch-1.tsv");
    else
        *path = 0;
    cb_error_clear();
}

/* What a line begins with, a tab at the end. */
static void key_of(const char *sha256, const struct spmm_problem *p,
                   const struct spmm_caches *caches, char key[LINE])
{
    snprintf(key, LINE, "%.64s\t%d\t%d\t%a\t%a\t%d\t", sha256, p->n, p->dtype == SPMM_F16 ? 2 : 4,
             caches->l2, caches->l1, caches->sms);
}

static bool look_up(const char *path, const char *key, struct spmm_fetch *out)
{
    char line[LINE];
    bool found = false;
    FILE *f = fopen(path, "r");
    while (f && !found && fgets(line, sizeof line, f))
        found = !strncmp(line, key, strlen(key)) &&
                sscanf(line + strlen(key), "%la\t%la", &out->l2, &out->dram) == 2 &&
                isfinite(out->l2) && isfinite(out->dram) && strchr(line, '\n');
    if (f)
        fclose(f);
    return found;
}

/* In one write, so that processes side by side leave whole lines. */
static void append(const char *path, const char *key, const struct spmm_fetch *f)
{
    char line[2 * LINE];
    const int n = snprintf(line, sizeof line, "%s%a\t%a\n", key, f->l2, f->dram);
    const int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0)
        return;
    if (write(file, line, (size_t)n) != n)
        cb_error_clear(); /* a line cut short fits no key: it is computed again */
    close(file);
}

bool spmm_fetched(const char *sha256, const struct spmm_problem *p, const struct spmm_matrix *host,
                  const struct spmm_caches *caches, struct spmm_fetch *out)
{
    char path[CACHE_PATH + 16], key[LINE];
    path_of(path);
    key_of(sha256, p, caches, key);
    if (*path && look_up(path, key, out))
        return true;
    if (spmm_fetch_of(p, host, caches, out) != OP_OK)
        return false;
    if (*path)
        append(path, key, out);
    return true;
}
