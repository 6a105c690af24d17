/*
 * safetensors.h - safetensors files, and the folders of Hugging Face models.
 *
 *   u64 length of the header, JSON header, data:
 *   { "NAME": { "dtype": "F16", "shape": [rows, cols], "data_offsets": [begin, end] }, ... }
 *
 * Offsets count from the end of the header.  As the format asks, the tensors
 * cover the data without holes or overlaps.
 */
#ifndef SUITES_DATA_SAFETENSORS_H
#define SUITES_DATA_SAFETENSORS_H

#include "checkpoint.h"

/* Adds the tensors of one file in memory, which has to outlive the list. */
int safetensors_parse(const char *name, const void *data, size_t size, struct tensor_list *l);

/* The text of a config.json; model_type llama, mistral or qwen2. */
int safetensors_config(const char *name, const char *text, size_t size, struct llama_config *out);

/* path: a folder, or the model.safetensors inside one. */
int safetensors_load(const char *path, struct checkpoint *out);

#endif
