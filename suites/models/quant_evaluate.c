/* quant_evaluate.c - losses of a model, and how far its distributions are from another's. */
#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../harness/error.h"
#include "llama_machine.h"
#include "llama_part.h"
#include "quant_model.h"

int quant_reference_new(const struct llama *m, const struct token_set *t, size_t bytes_max,
                        struct quant_reference *out)
{
    const size_t row = (size_t)(t->length - 1) * (size_t)m->config.vocab * sizeof(float);
    const size_t most = bytes_max / row;
    *out = (struct quant_reference){ .length = t->length, .vocab = m->config.vocab };
    out->sequences = most < (size_t)t->count ? (int)most : t->count;
    if (!out->sequences)
        return 0;
    if (m->machine) {
        out->device = m->machine->device;
        return cb_alloc(out->device, (size_t)out->sequences * row, (void **)&out->log_prob);
    }
    out->log_prob = malloc((size_t)out->sequences * row);
    return out->log_prob ? 0 : cb_error("no memory for the distributions of the model");
}

void quant_reference_free(struct quant_reference *r)
{
    if (r->device)
        cb_free(r->device, r->log_prob);
    else
        free(r->log_prob);
    *r = (struct quant_reference){ 0 };
}

struct seeing {
    const int *token;
    int length, vocab;
    float *reference; /* [length - 1][vocab] of this window, or NULL */
    bool fill;
    double loss, kl;
};

static int see(void *context, int position, const float *logits)
{
    struct seeing *s = context;
    double sum = 0, kl = 0;
    if (position + 1 >= s->length)
        return 0;
    const float top = llama_top(logits, s->vocab);
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < s->vocab; i++)
        sum += (double)llama_exp(logits[i] - top);
    const float norm = top + (float)log(sum);
    s->loss += (double)top + log(sum) - (double)logits[s->token[position + 1]];
    if (!s->reference)
        return 0;
    float *r = s->reference + (size_t)position * (size_t)s->vocab;
    if (s->fill)
        for (int i = 0; i < s->vocab; i++)
            r[i] = logits[i] - norm;
    else
#pragma omp simd reduction(+ : kl)
        for (int i = 0; i < s->vocab; i++)
            kl += (double)(llama_exp(r[i]) * (r[i] - (logits[i] - norm)));
    s->kl += kl;
    return 0;
}

int quant_evaluate(const struct llama *m, const struct token_set *t, struct quant_reference *ref,
                   bool fill, double *loss, double *kl)
{
    const int vocab = m->config.vocab, positions = t->length - 1;
    char failure[256] = "";
    if (t->vocab_min > vocab)
        return cb_error("%s: token %d; the vocabulary has %d", t->name, t->vocab_min - 1, vocab);
    if (llama_refresh_all(m))
        return -1;
    const int threads = calibration_threads(m, t->count), blas = openblas_get_num_threads();
    if (threads > 1)
        openblas_set_num_threads(1); /* threads that set and restore it find what they leave */
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        struct llama_state *state = llama_begin(m, t->length);
#pragma omp for schedule(dynamic)
        for (int i = 0; i < t->count; i++) {
            struct seeing s = { .token = t->token + (size_t)i * (size_t)t->length,
                                .length = t->length, .vocab = vocab, .fill = fill };
            if (ref && i < ref->sequences)
                s.reference = ref->log_prob + (size_t)i * (size_t)positions * (size_t)vocab;
            if (state)
                llama_rewind(state);
            if (!state ||
                (m->machine ? llama_losses_of(state, s.token, t->length, s.reference, fill,
                                              &s.loss, &s.kl)
                            : llama_each(state, s.token, t->length, see, &s)))
#pragma omp critical
                snprintf(failure, sizeof failure, "%s", cb_error_text()); /* one per thread */
            loss[i] = s.loss / positions;
            if (kl)
                kl[i] = s.reference ? s.kl / positions : NAN;
        }
        llama_end(state);
    }
    openblas_set_num_threads(blas);
    return *failure ? cb_error("%s", failure) : 0;
}
