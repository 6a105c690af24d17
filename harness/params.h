/*
 * params.h - parameters of operators and policies to and from JSON.
 *
 * A misspelt key or a wrong type is an error: a parameter must not silently
 * become its default.
 */
#ifndef HARNESS_PARAMS_H
#define HARNESS_PARAMS_H

#include <jansson.h>

#include "bench.h"

/* Parameters that a JSON object sets, the rest at their fallbacks; params has
 * op->params_size bytes.  0 or -1. */
int cb_params_from_json(const struct cb_op *op, const json_t *object, void *params);
json_t *cb_params_to_json(const struct cb_op *op, const void *params); /* NULL: no memory */

/* "matrix=uni_16k_d10,n=2,dtype=f32": keys in table order; a path enters by its
 * base name. */
void cb_params_label(const struct cb_op *op, const void *params, char *out, size_t size);

/* A policy from an object with the field names of struct cb_policy. 0 or -1. */
int cb_policy_from_json(const json_t *object, const char *name, struct cb_policy *out);
json_t *cb_policy_to_json(const struct cb_policy *p);
/* One field from text, as a command line gives it. 0 or -1. */
int cb_policy_set(struct cb_policy *p, const char *key, const char *value);

/* Text of a member; "" if there is none or it is no text. */
const char *cb_json_text(const json_t *object, const char *key);
/* Are all keys of the object among known, ended by NULL? 0 or -1. */
int cb_json_known_keys(const json_t *object, const char *const *known);

/* A whole file; errors name FILE:LINE. NULL with cb_error set.  Refuses duplicate keys. */
json_t *cb_json_read(const char *path);
/* Writes to PATH.new and renames: an interrupted write leaves the old file. */
int cb_json_write(const char *path, const json_t *document, size_t flags);

#endif
