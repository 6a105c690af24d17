/* kernel_sass.c - see kernel_sass.h. */
#include "kernel_sass.h"

#include <stdlib.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../harness/sass.h"
#include "home.h"

struct kernel_sass {
    struct sass_table *table;
    struct sass_listing listing;
};

struct kernel_sass *kernel_sass_open(const char *const *symbol, int count)
{
    char tool[4096], path[4200], self[4096], *text = NULL;
    struct kernel_sass *k = calloc(1, sizeof *k);
    /* the link means another program to the tool that opens it */
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    if (!k || !count || sass_tool(tool, sizeof tool) ||
        sass_table_load(home_path("configs/sass.json", path, sizeof path), &k->table) ||
        sass_dump(tool, self, symbol, count, &text) || sass_parse(text, &k->listing)) {
        cb_error_clear(); /* a run without counts is a run all the same */
        kernel_sass_close(k);
        k = NULL;
    }
    free(text);
    return k;
}

void kernel_sass_close(struct kernel_sass *k)
{
    if (!k)
        return;
    sass_listing_free(&k->listing);
    sass_table_free(k->table);
    free(k);
}

void kernel_sass_add(const struct kernel_sass *k, const struct op_impl *i, int sm, json_t *kernel)
{
    struct sass_report report;
    json_t *counts = NULL;
    if (!i->symbol || !sm)
        return;
    const struct sass_function *f = k ? sass_find(&k->listing, i->symbol, sm) : NULL;
    if (f && !sass_analyse(k->table, f, &report))
        counts = sass_report_json(k->table, f, &report);
    if (!counts)
        json_array_append_new(json_object_get(kernel, "flags"), json_string("sass_unverified"));
    json_object_set_new(kernel, "sass", counts ? counts : json_null());
}
