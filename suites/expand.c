/* expand.c - grids of parameters: lists, named lists and ranges multiplied out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/error.h"
#include "suite.h"

/* Of a list, and of problems of one experiment in one profile; parameters of a problem. */
enum { VALUES_MAX = 10000, PARAMETERS_MAX = 64 };

static json_t *no_memory(json_t *list)
{
    json_decref(list);
    cb_error("no memory for a grid");
    return NULL;
}

/* "a:b:*c" or "a:b:+c", both ends included. */
static json_t *range(const char *text)
{
    long from, to, step;
    char how;
    int used = 0;
    if (sscanf(text, "%ld:%ld:%c%ld%n", &from, &to, &how, &step, &used) != 4 || text[used]) {
        cb_error("'%s' is no range FROM:TO:*STEP or FROM:TO:+STEP", text);
        return NULL;
    }
    if (from < 1 || to < from || (how == '*' ? step < 2 : how == '+' ? step < 1 : 1) || to > 1L << 40) {
        cb_error("range '%s': 1 <= from <= to and a step *2 or more, or +1 or more, are meant", text);
        return NULL;
    }
    json_t *list = json_array();
    if (!list)
        return no_memory(NULL);
    for (long v = from;; v = how == '*' ? v * step : v + step) {
        if (json_array_size(list) == VALUES_MAX) {
            json_decref(list);
            cb_error("range '%s' has more than %d values", text, VALUES_MAX);
            return NULL;
        }
        if (json_array_append_new(list, json_integer(v)))
            return no_memory(list);
        if (how == '*' ? v > to / step : step > to - v) /* the next one would be beyond */
            return list;
    }
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
        return suite_values(named, NULL); /* a list of lists would be a grid by another name */
    }
    if (text && strchr(text, ':') && text[0] >= '0' && text[0] <= '9')
        return range(text);
    if (json_is_array(value)) {
        json_t *all = json_array();
        size_t i;
        json_t *v;
        if (!all)
            return no_memory(NULL);
        json_array_foreach((json_t *)value, i, v)
        {
            json_t *part = NULL;
            if (json_is_array(v))
                cb_error("a list inside a list");
            else
                part = suite_values(v, lists);
            if (!part) {
                json_decref(all);
                return NULL;
            }
            int failed = json_array_extend(all, part);
            json_decref(part);
            if (failed)
                return no_memory(all);
        }
        return all;
    }
    json_t *one = json_array();
    if (!one || json_array_append(one, (json_t *)value))
        return no_memory(one);
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
            return ++*count > VALUES_MAX ? cb_error("more than %d problems", VALUES_MAX)
                                         : emit(arg, params, NULL);
        json_array_foreach(caches, i, c)
        {
            if (!json_is_string(c))
                return cb_error("'cache' must be a text");
            if (++*count > VALUES_MAX)
                return cb_error("more than %d problems", VALUES_MAX);
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
        if (json_object_set(params, key, v))
            return cb_error("no memory for a grid");
        if (multiply(lists_of, json_object_iter_next(lists_of, iter), params, caches, emit, arg, count))
            return -1;
    }
    return 0;
}

int suite_expand(const json_t *grids, const json_t *lists, suite_emit *emit, void *arg)
{
    size_t i;
    json_t *grid;
    long count = 0;
    if (!json_is_array(grids))
        return cb_error("problems must be a list of objects");
    json_array_foreach((json_t *)grids, i, grid)
    {
        const char *key;
        json_t *value, *all = json_object(), *params = json_object(), *caches = NULL;
        int status = all && params ? 0 : cb_error("no memory for a grid");
        if (!status && !json_is_object(grid))
            status = cb_error("must be an object");
        /* multiply() calls itself for each */
        if (!status && json_object_size(grid) > PARAMETERS_MAX)
            status = cb_error("more than %d parameters", PARAMETERS_MAX);
        if (!status)
            json_object_foreach(grid, key, value)
            {
                json_t *list = suite_values(value, lists);
                if (!list)
                    status = cb_error_in("'%s'", key);
                else if (!json_array_size(list))
                    status = cb_error("'%s' has no values", key);
                if (list && !strcmp(key, "cache"))
                    caches = list;
                else if (list && json_object_set_new(all, key, list))
                    status = cb_error("no memory for a grid");
                if (status)
                    break;
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
