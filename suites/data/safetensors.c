/* safetensors.c - safetensors files, and the folders of Hugging Face models. */
#include "safetensors.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"

/* Text for a message: cut, and what does not print replaced. */
static const char *printable(const char *text, char out[64])
{
    size_t n = 0;
    for (; text[n] && n < 63; n++)
        out[n] = text[n] >= ' ' && text[n] < 127 ? text[n] : '?';
    out[n] = 0;
    return out;
}

static json_t *parse_json(const char *name, const char *text, size_t size)
{
    json_error_t e;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &e);
    char quoted[64];
    if (!root) {
        cb_error("%s: JSON line %d column %d: %s", name, e.line, e.column,
                 printable(e.text, quoted));
    } else if (!json_is_object(root)) {
        cb_error("%s: JSON, but no object", name);
        json_decref(root);
        root = NULL;
    }
    return root;
}

/* ---- one file ---- */

static int64_t integer_at(const json_t *array, size_t i)
{
    const json_t *n = json_array_get(array, i);
    return json_is_integer(n) ? json_integer_value(n) : -1;
}

static int take_tensor(const char *name, const char *key, const json_t *value,
                       struct named_tensor *t, uint64_t *begin, uint64_t *end)
{
    static const enum tensor_dtype stored[] = { TENSOR_F32, TENSOR_F16, TENSOR_BF16 };
    char quoted[64];
    const json_t *shape = json_object_get(value, "shape");
    const json_t *offsets = json_object_get(value, "data_offsets");
    const char *dtype = json_string_value(json_object_get(value, "dtype"));
    uint64_t bytes;
    printable(key, quoted);
    if (!*key || strlen(key) >= sizeof t->name)
        return cb_error("%s: tensor '%s': a name of %zu bytes", name, quoted, strlen(key));
    data_text(t->name, sizeof t->name, key);
    if (!dtype || !json_is_array(shape) || json_array_size(offsets) != 2)
        return cb_error("%s: tensor '%s': no dtype, shape and data_offsets", name, quoted);
    for (size_t i = 0; i < sizeof stored / sizeof *stored; i++)
        if (!strcmp(dtype, tensor_dtype_name(stored[i])))
            t->dtype = stored[i];
    if (t->dtype == TENSOR_NONE) {
        char type[64];
        return cb_error("%s: tensor '%s': dtype '%s' is none of F32, F16, BF16", name, quoted,
                        printable(dtype, type));
    }
    if (json_array_size(shape) > 4)
        return cb_error("%s: tensor '%s': %zu dimensions", name, quoted, json_array_size(shape));
    t->dims = (int)json_array_size(shape);
    for (int i = 0; i < t->dims; i++) {
        t->shape[i] = integer_at(shape, (size_t)i);
        if (t->shape[i] < 1)
            return cb_error("%s: tensor '%s': shape[%d] is not a positive integer", name, quoted,
                            i);
    }
    const int64_t from = integer_at(offsets, 0), to = integer_at(offsets, 1);
    if (from < 0 || to < from)
        return cb_error("%s: tensor '%s': data_offsets are not ascending", name, quoted);
    if (tensor_list_bytes(name, t, &bytes))
        return -1;
    if (bytes != (uint64_t)(to - from))
        return cb_error("%s: tensor '%s': data_offsets hold %lld bytes, its shape %llu", name,
                        quoted, (long long)(to - from), (unsigned long long)bytes);
    *begin = (uint64_t)from;
    *end = (uint64_t)to;
    return 0;
}

struct range {
    uint64_t begin, end;
    const char *name;
};

static int by_begin(const void *a, const void *b)
{
    const struct range *x = a, *y = b;
    return x->begin != y->begin ? (x->begin > y->begin) - (x->begin < y->begin)
                                : (x->end > y->end) - (x->end < y->end);
}

static int check_cover(const char *name, struct range *range, size_t n, uint64_t bytes)
{
    char quoted[64];
    uint64_t at = 0;
    if (n)
        qsort(range, n, sizeof *range, by_begin);
    for (size_t i = 0; i < n; i++) {
        if (range[i].begin != at)
            return cb_error("%s: tensor '%s': data_offsets start at %llu, not at %llu, where the "
                            "one before ends", name, printable(range[i].name, quoted),
                            (unsigned long long)range[i].begin, (unsigned long long)at);
        at = range[i].end;
    }
    if (at != bytes)
        return cb_error("%s: the tensors end at byte %llu of the data, which has %llu", name,
                        (unsigned long long)at, (unsigned long long)bytes);
    return 0;
}

int safetensors_parse(const char *name, const void *data, size_t size, struct tensor_list *l)
{
    enum { LONGEST = 100000000 }; /* of a header, by the format */
    uint64_t length;
    if (size < sizeof length)
        return cb_error("%s: %zu bytes: shorter than the length of the header", name, size);
    memcpy(&length, data, sizeof length);
    if (length > LONGEST || length > size - sizeof length)
        return cb_error("%s: byte 0: a header of %llu bytes in a file of %zu", name,
                        (unsigned long long)length, size);
    const char *header = (const char *)data + sizeof length;
    const unsigned char *start = (const unsigned char *)header + length;
    const uint64_t bytes = size - sizeof length - length;
    json_t *root = parse_json(name, header, (size_t)length);
    if (!root)
        return -1;
    struct range *range = data_malloc(json_object_size(root), sizeof *range);
    const char *key;
    json_t *value;
    size_t n = 0;
    int status = -1;
    if (!range) {
        cb_error("%s: no memory for %zu tensors", name, json_object_size(root));
        goto done;
    }
    json_object_foreach(root, key, value) {
        if (!strcmp(key, "__metadata__"))
            continue;
        struct named_tensor *t = tensor_list_add(l, name);
        if (!t || take_tensor(name, key, value, t, &range[n].begin, &range[n].end))
            goto done;
        if (range[n].end > bytes) {
            char quoted[64];
            cb_error("%s: tensor '%s': ends at byte %llu of the data, which has %llu", name,
                     printable(key, quoted), (unsigned long long)range[n].end,
                     (unsigned long long)bytes);
            goto done;
        }
        t->data = start + range[n].begin;
        range[n++].name = key;
    }
    status = check_cover(name, range, n, bytes);
done:
    data_free(range);
    json_decref(root);
    return status;
}

/* ---- config.json ---- */

static int number(const char *name, const json_t *root, const char *key, bool required, int *out)
{
    const json_t *v = json_object_get(root, key);
    if (!v || json_is_null(v))
        return required ? cb_error("%s: key '%s' is missing", name, key) : 0;
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT_MAX)
        return cb_error("%s: key '%s': not an integer between 0 and %d", name, key, INT_MAX);
    *out = (int)json_integer_value(v);
    return 0;
}

static int real(const char *name, const json_t *root, const char *key, double *out)
{
    const json_t *v = json_object_get(root, key);
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_number(v))
        return cb_error("%s: key '%s': not a number", name, key);
    *out = json_number_value(v);
    return 0;
}

static int truth(const char *name, const json_t *root, const char *key, bool *out)
{
    const json_t *v = json_object_get(root, key);
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_boolean(v))
        return cb_error("%s: key '%s': not true or false", name, key);
    *out = json_is_true(v);
    return 0;
}

/* "rope_scaling", or "rope_parameters" of later writers, which holds the base too. */
static int scaling(const char *name, const json_t *root, struct llama_config *c)
{
    const char *key = "rope_parameters";
    const json_t *v = json_object_get(root, key);
    char quoted[64];
    if (!v || json_is_null(v))
        v = json_object_get(root, key = "rope_scaling");
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_object(v))
        return cb_error("%s: key '%s': not an object", name, key);
    const char *type = json_string_value(json_object_get(v, "rope_type"));
    if (!type)
        type = json_string_value(json_object_get(v, "type"));
    if (!type)
        return cb_error("%s: key '%s': no rope_type", name, key);
    if (!strcmp(type, "linear"))
        c->rope_scaling = ROPE_LINEAR;
    else if (!strcmp(type, "llama3"))
        c->rope_scaling = ROPE_LLAMA3;
    else if (strcmp(type, "default"))
        return cb_error("%s: key '%s': rope scaling '%s' is not known", name, key,
                        printable(type, quoted));
    if (real(name, v, "rope_theta", &c->rope_theta) || real(name, v, "factor", &c->rope_factor) ||
        real(name, v, "low_freq_factor", &c->rope_low) ||
        real(name, v, "high_freq_factor", &c->rope_high) ||
        number(name, v, "original_max_position_embeddings", false, &c->rope_original))
        return cb_error_in("%s: key '%s'", name, key);
    return 0;
}

static int configure(const char *name, const json_t *root, struct llama_config *c)
{
    char quoted[64];
    const char *type = json_string_value(json_object_get(root, "model_type"));
    const char *act = json_string_value(json_object_get(root, "hidden_act"));
    bool mlp_bias = false, attention_bias = false, use_window = true;
    if (!type)
        return cb_error("%s: key 'model_type' is missing", name);
    const bool qwen2 = !strcmp(type, "qwen2");
    if (strcmp(type, "llama") && strcmp(type, "mistral") && !qwen2)
        return cb_error("%s: key 'model_type': '%s' is none of llama, mistral, qwen2", name,
                        printable(type, quoted));
    if (act && strcmp(act, "silu"))
        return cb_error("%s: key 'hidden_act': '%s' is not silu", name, printable(act, quoted));
    const json_t *quantized = json_object_get(root, "quantization_config");
    if (quantized && !json_is_null(quantized))
        return cb_error("%s: key 'quantization_config': quantised weights are not read", name);
    *c = (struct llama_config){ .rope_theta = 10000, .rope_halves = true, .norm_eps = 1e-6,
                                .context = 2048, .qkv_bias = qwen2 };
    if (number(name, root, "vocab_size", true, &c->vocab) ||
        number(name, root, "hidden_size", true, &c->dim) ||
        number(name, root, "intermediate_size", true, &c->hidden) ||
        number(name, root, "num_hidden_layers", true, &c->layers) ||
        number(name, root, "num_attention_heads", true, &c->heads) ||
        number(name, root, "max_position_embeddings", false, &c->context) ||
        number(name, root, "head_dim", false, &c->head_dim) ||
        number(name, root, "sliding_window", false, &c->window) ||
        real(name, root, "rms_norm_eps", &c->norm_eps) ||
        real(name, root, "rope_theta", &c->rope_theta) ||
        truth(name, root, "tie_word_embeddings", &c->tied) ||
        truth(name, root, "use_sliding_window", &use_window) ||
        truth(name, root, "mlp_bias", &mlp_bias) ||
        truth(name, root, "attention_bias", &attention_bias) || scaling(name, root, c))
        return -1;
    c->kv_heads = c->heads;
    if (number(name, root, "num_key_value_heads", false, &c->kv_heads))
        return -1;
    if (mlp_bias || (attention_bias && !qwen2))
        return cb_error("%s: key '%s': such biases are not known", name,
                        mlp_bias ? "mlp_bias" : "attention_bias");
    if (qwen2 && !json_object_get(root, "use_sliding_window"))
        use_window = false; /* that is its default there */
    if (!use_window)
        c->window = 0;
    if (!c->head_dim && c->heads > 0) {
        if (c->dim % c->heads)
            return cb_error("%s: %d heads do not divide width %d", name, c->heads, c->dim);
        c->head_dim = c->dim / c->heads;
    }
    return checkpoint_check_config(name, c);
}

int safetensors_config(const char *name, const char *text, size_t size, struct llama_config *out)
{
    *out = (struct llama_config){ 0 };
    json_t *root = parse_json(name, text, size);
    if (!root)
        return -1;
    const int status = configure(name, root, out);
    json_decref(root);
    if (status)
        *out = (struct llama_config){ 0 };
    return status;
}

/* ---- folders ---- */

static const struct checkpoint_names names = {
    .embedding = "model.embed_tokens.weight",
    .norm = "model.norm.weight",
    .output = "lm_head.weight",
    .slot = { [SLOT_ATTN_NORM] = "model.layers.%d.input_layernorm.weight",
              [SLOT_Q] = "model.layers.%d.self_attn.q_proj.weight",
              [SLOT_K] = "model.layers.%d.self_attn.k_proj.weight",
              [SLOT_V] = "model.layers.%d.self_attn.v_proj.weight",
              [SLOT_O] = "model.layers.%d.self_attn.o_proj.weight",
              [SLOT_FFN_NORM] = "model.layers.%d.post_attention_layernorm.weight",
              [SLOT_GATE] = "model.layers.%d.mlp.gate_proj.weight",
              [SLOT_UP] = "model.layers.%d.mlp.up_proj.weight",
              [SLOT_DOWN] = "model.layers.%d.mlp.down_proj.weight",
              [SLOT_Q_BIAS] = "model.layers.%d.self_attn.q_proj.bias",
              [SLOT_K_BIAS] = "model.layers.%d.self_attn.k_proj.bias",
              [SLOT_V_BIAS] = "model.layers.%d.self_attn.v_proj.bias" },
    .ignored = { ".rotary_emb.inv_freq" }, /* a table that the config gives */
};

static int path_in(const char *folder, const char *file, char out[4096])
{
    const int n = snprintf(out, 4096, "%s/%s", folder, file);
    return n < 4096 ? 0 : cb_error("%.100s...: path too long", folder);
}

/* Maps one more file of the checkpoint and adds its tensors. */
static int add_file(const char *path, struct checkpoint *c, struct tensor_list *l)
{
    struct checkpoint_file *more =
        data_realloc(c->file, (size_t)c->files + 1, sizeof *c->file);
    if (!more)
        return cb_error("%s: no memory", path);
    c->file = more;
    if (checkpoint_map(path, &c->file[c->files]))
        return -1;
    const struct checkpoint_file *f = &c->file[c->files++];
    return safetensors_parse(path, f->data, f->size, l);
}

/* Files that the index names, each once, and every tensor where it says. */
static int add_parts(const char *folder, const char *index, const json_t *map,
                     struct checkpoint *c, struct tensor_list *l)
{
    char path[4096], quoted[64];
    const char *key;
    json_t *value;
    json_t *seen = json_object();
    int status = -1;
    if (!seen)
        return cb_error("%s: no memory", index);
    json_object_foreach((json_t *)map, key, value) {
        const char *file = json_string_value(value);
        if (!file || !*file || strchr(file, '/') || file[0] == '.') {
            cb_error("%s: weight_map: tensor '%s': not the name of a file in this folder", index,
                     printable(key, quoted));
            goto done;
        }
        if (json_object_get(seen, file))
            continue;
        const int before = l->count;
        if (path_in(folder, file, path) || add_file(path, c, l) ||
            json_object_set_new(seen, file, json_true()))
            goto done;
        for (int i = before; i < l->count; i++) {
            const char *where = json_string_value(json_object_get(map, l->tensor[i].name));
            if (!where || strcmp(where, file)) {
                cb_error("%s: tensor '%s': the index has it in %s%s%s", path,
                         printable(l->tensor[i].name, quoted), where ? "'" : "",
                         where ? where : "no file", where ? "'" : "");
                goto done;
            }
        }
    }
    if ((size_t)l->count != json_object_size(map))
        json_object_foreach((json_t *)map, key, value) {
            bool found = false;
            for (int i = 0; i < l->count && !found; i++)
                found = !strcmp(l->tensor[i].name, key);
            if (!found) {
                cb_error("%s: weight_map: tensor '%s' is not in '%s'", index,
                         printable(key, quoted), json_string_value(value));
                goto done;
            }
        }
    status = 0;
done:
    json_decref(seen);
    return status;
}

static int add_index(const char *folder, const char *index, struct checkpoint *c,
                     struct tensor_list *l)
{
    struct checkpoint_file f;
    if (checkpoint_map(index, &f))
        return -1;
    int status = -1;
    json_t *root = parse_json(index, f.data, f.size);
    const json_t *map = json_object_get(root, "weight_map");
    if (root && !json_is_object(map))
        cb_error("%s: key 'weight_map' is missing", index);
    else if (root)
        status = add_parts(folder, index, map, c, l);
    json_decref(root);
    checkpoint_unmap(&f);
    return status;
}

int safetensors_load(const char *path, struct checkpoint *out)
{
    char folder[4096], config[4096], single[4096], index[4096];
    struct tensor_list l = { 0 };
    struct checkpoint_file f = { 0 };
    struct stat st;
    int status = -1;
    *out = (struct checkpoint){ 0 };
    if (strlen(path) >= sizeof folder)
        return cb_error("%.100s...: path too long", path);
    data_text(folder, sizeof folder, path);
    if (stat(path, &st))
        return cb_error("%s: %s", path, strerror(errno));
    const bool given = !S_ISDIR(st.st_mode);
    if (given) {
        char *slash = strrchr(folder, '/');
        data_text(slash ? slash : folder, 2, slash ? "" : ".");
        if (slash == folder)
            data_text(folder, sizeof folder, "/");
    }
    if (path_in(folder, "config.json", config) ||
        path_in(folder, "model.safetensors", single) ||
        path_in(folder, "model.safetensors.index.json", index) || checkpoint_map(config, &f))
        return -1;
    if (safetensors_config(config, f.data, f.size, &out->config))
        goto done;
    if (given ? add_file(path, out, &l)
              : !access(index, F_OK) ? add_index(folder, index, out, &l)
                                     : add_file(single, out, &l))
        goto done;
    status = checkpoint_assign(given ? path : folder, &l, &names, out);
    data_text(out->format, sizeof out->format, "safetensors");
done:
    checkpoint_unmap(&f);
    tensor_list_free(&l);
    if (status)
        checkpoint_free(out);
    return status;
}
