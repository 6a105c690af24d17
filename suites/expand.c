/* expand.c - grids of parameters: lists, named lists and ranges multiplied out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/error.h"
#include "suite.h"

enum { VALUES_MAX = 100000 };

/* "a:b:*c" or "a:b:+c", both ends included. */
static json_t *range(const char *text)
{
    long from, to, step;
    char how;
    int used = 0;
    if (sscanf(text, "%ld:%ld:%c%ld%n", &from, &to, &how, &step, &used) != 4 || text[used])
        return NULL;
    if (from < 1 || to < from || (how == '*' ? step < 2 : how == '+' ? step < 1 : 1) || to > 1L << 40) {
        cb_error("range '%s': 1 <= from <= to and a step *2 or more, or +1 or more, are meant", text);
        return NULL;
    }
    json_t *list = json_array();
    for (long v = from; list && v <= to && json_array_size(list) < VALUES_MAX;
         v = how == '*' ? v * step : v + step)
        json_array_append_new(list, json_integer(v));
    return list;
}

json_t *suite_values(const json_t *value, const json_t *lists)
{
    const char *text = json_string_value(value);
    if (text && text[0] == '@') {
        const json_t *named = json_object_get(lists, text + 1);
        if (!json_is_array(named)) {
            cb_error("there is no list '%s'", text + 1);
            return NULL;
        }
        return json_deep_copy(named);
    }
    if (text && strchr(text, ':') && text[0] >= '0' && text[0] <= '9') {
        json_t *list = range(text);
        if (!list)
            cb_error("'%s' is no range FROM:TO:*STEP or FROM:TO:+STEP", text);
        return list;
    }
    if (json_is_array(value)) {
        json_t *all = json_array();
        size_t i;
        json_t *v;
        json_array_foreach((json_t *)value, i, v)
        {
            json_t *part = json_is_array(v) ? NULL : suite_values(v, lists);
            if (!part) {
                if (json_is_array(v))
                    cb_error("a list inside a list");
                json_decref(all);
                return NULL;
            }
            json_array_extend(all, part);
            json_decref(part);
        }
        return all;
    }
    json_t *one = json_array();
    json_array_append(one, (json_t *)value);
    return one;
}

/* Sets the remaining keys of `lists_of` from `iter` on, one value after another. */
static int multiply(json_t *lists_of, void *iter, json_t *params, json_t *caches, suite_emit *emit,
                    void *arg, long *count)
{
    if (!iter) {
        size_t i;
        json_t *c;
        if (!caches)
            return ++*count > VALUES_MAX ? cb_error("a grid of more than %d problems", VALUES_MAX)
                                         : emit(arg, params, NULL);
        json_array_foreach(caches, i, c)
        {
            if (!json_is_string(c))
                return cb_error("'cache' must be a text");
            if (++*count > VALUES_MAX)
                return cb_error("a grid of more than %d problems", VALUES_MAX);
            if (emit(arg, params, json_string_value(c)))
                return -1;
        }
        return 0;
    }
    const char *key = json_object_iter_key(iter);
    json_t *list = json_object_iter_value(iter), *v;
    size_t i;
    json_array_foreach(list, i, v)
    {
        json_object_set(params, key, v);
        if (multiply(lists_of, json_object_iter_next(lists_of, iter), params, caches, emit, arg, count))
            return -1;
    }
    return 0;
}

int suite_expand(const json_t *grids, const json_t *lists, suite_emit *emit, void *arg)
{
    size_t i;
    json_t *grid;
    if (!json_is_array(grids))
        return cb_error("problems must be a list of objects");
    json_array_foreach((json_t *)grids, i, grid)
    {
        const char *key;
        json_t *value, *all = json_object(), *params = json_object(), *caches = NULL;
        long count = 0;
        int status = json_is_object(grid) ? 0 : cb_error("must be an object");
        json_object_foreach(grid, key, value)
        {
            json_t *list = status ? NULL : suite_values(value, lists);
            if (!list) {
                status = -1;
                break;
            }
            if (!strcmp(key, "cache"))
                caches = list;
            else
                json_object_set_new(all, key, list);
        }
        if (!status)
            status = multiply(all, json_object_iter(all), params, caches, emit, arg, &count);
        json_decref(all);
        json_decref(params);
        json_decref(caches);
        if (status)
            return cb_error_in("problem %zu", i);
    }
    return 0;
}
