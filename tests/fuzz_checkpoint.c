/*
 * fuzz_checkpoint.c - libFuzzer target for the readers of checkpoints and tokenizers.
 * `make fuzz` builds it with the sanitizers and runs it.
 * Every reader gets the whole input.  What is taken must be whole: every tensor can be
 * decoded from its first to its last row, and texts come back from their tokens.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../suites/data/alloc.h"
#include "../suites/data/gguf.h"
#include "../suites/data/llama2c.h"
#include "../suites/data/safetensors.h"
#include "../suites/data/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition)
{
    if (!condition)
        abort();
}

static void read_tensor(const struct tensor *t)
{
    float *row;
    if (t->dtype == TENSOR_NONE)
        return;
    must(t->rows > 0 && t->cols > 0 && t->data && tensor_row_bytes(t->dtype, t->cols) > 0);
    row = data_malloc((size_t)t->cols, sizeof *row);
    must(row != NULL);
    tensor_rows(t, 0, 1, row);
    tensor_rows(t, t->rows - 1, 1, row);
    data_free(row);
}

static void check_checkpoint(struct checkpoint *c)
{
    read_tensor(&c->embedding);
    read_tensor(&c->norm);
    read_tensor(&c->output);
    read_tensor(&c->rope_factors);
    for (int l = 0; l < c->config.layers; l++)
        for (int s = 0; s < SLOTS; s++)
            read_tensor(&c->layer[l][s]);
    checkpoint_free(c);
    must(data_alloc_live() == 0);
}

/* As a text, the input, or what it ends with. */
static void check_tokenizer(struct tokenizer *t, const uint8_t *data, size_t size)
{
    const size_t n = size < 256 ? size : 256;
    int *token, count;
    char *text;
    size_t length;
    if (!tokenizer_encode(t, (const char *)data + size - n, n, true, &token, &count)) {
        must(count >= 0);
        must(!tokenizer_decode(t, token, count, &text, &length));
        data_free(text);
        data_free(token);
    }
    tokenizer_free(t);
    must(data_alloc_live() == 0);
}

/* The file without a config, and the config with tensors of the file. */
static void check_safetensors(const uint8_t *data, size_t size)
{
    struct tensor_list l = { 0 };
    struct llama_config config;
    if (!safetensors_parse("file", data, size, &l))
        for (int i = 0; i < l.count; i++) {
            uint64_t bytes;
            must(!tensor_list_bytes("file", &l.tensor[i], &bytes));
            const uint8_t *at = l.tensor[i].data;
            must(at >= data && bytes <= size && at <= data + size - bytes);
        }
    tensor_list_free(&l);
    if (!safetensors_config("file", (const char *)data, size, &config))
        must(config.layers > 0 && config.heads % config.kv_heads == 0);
    must(data_alloc_live() == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int (*const readers[])(const char *, const void *, size_t, struct checkpoint *) = {
        llama2c_parse, gguf_checkpoint
    };
    static int (*const tokenizers[])(const char *, const void *, size_t, struct tokenizer *) = {
        tokenizer_parse_bin, tokenizer_parse_gguf, tokenizer_parse_json,
        tokenizer_parse_sentencepiece
    };
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        struct checkpoint c;
        if (!readers[i]("file", data, size, &c))
            check_checkpoint(&c);
        else
            must(!c.layer && !c.file);
    }
    for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++) {
        struct tokenizer t;
        if (!tokenizers[i]("file", data, size, &t))
            check_tokenizer(&t, data, size);
        else
            must(!t.token && !t.text && !t.by_text && !t.merge);
    }
    check_safetensors(data, size);
    must(data_alloc_live() == 0);
    return 0;
}
