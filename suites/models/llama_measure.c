/* llama_measure.c - what is measured of a model, by its forward pass; see llama.h. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "../../harness/error.h"
#include "llama.h"
#include "llama_part.h"

double llama_log_prob(const float *logits, int vocab, int token)
{
    float top = logits[0];
    double sum = 0;
    for (int i = 1; i < vocab; i++)
        top = logits[i] > top ? logits[i] : top;
    for (int i = 0; i < vocab; i++)
        sum += (double)expf(logits[i] - top);
    return (double)(logits[token] - top) - log(sum);
}

struct score {
    const int *token;
    int n, vocab;
    double *log_prob;
};

static int see_score(void *context, int position, const float *logits)
{
    const struct score *s = context;
    if (position + 1 < s->n)
        s->log_prob[position + 1] = llama_log_prob(logits, s->vocab, s->token[position + 1]);
    return 0;
}

int llama_score(const struct llama *m, const int *token, int n, double *log_prob)
{
    struct score score = { token, n, m->config.vocab, log_prob };
    struct llama_state *s = llama_begin(m, n);
    if (!s)
        return -1;
    log_prob[0] = 0;
    const int status = llama_each(s, token, n, see_score, &score);
    llama_end(s);
    return status;
}

int llama_greedy(const struct llama *m, const int *token, int n, int count, int *out)
{
    const int vocab = m->config.vocab;
    if (count < 1)
        return 0;
    if (n < 1 || n > INT_MAX - count)
        return cb_error("%s: %d tokens to continue by %d", m->checkpoint->name, n, count);
    struct llama_state *s = llama_begin(m, n + count - 1); /* the last is not fed */
    float *logits = llama_take((size_t)vocab, sizeof *logits);
    int status = -1;
    if (!s || !logits || llama_feed(s, token, n, logits))
        goto done;
    for (int i = 0; i < count; i++) {
        int best = 0;
        for (int j = 1; j < vocab; j++)
            if (logits[j] > logits[best])
                best = j;
        out[i] = best;
        if (i + 1 < count && llama_feed(s, &best, 1, logits))
            goto done;
    }
    status = 0;
done:
    free(logits);
    llama_end(s);
    return status;
}
