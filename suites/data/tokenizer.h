/*
 * tokenizer.h - text to tokens and back, as the model's own files say.
 *
 *     tok512.bin          llama2.c: characters, joined in order of scores
 *     NAME.gguf           its tokenizer: the same, or bytes joined by merges
 *     tokenizer.json      Hugging Face: bytes, or characters, joined by merges
 *     NAME.model          SentencePiece: characters, joined in order of scores, or cut into
 *                         the pieces with the largest sum of scores (unigram)
 *
 * Characters (SentencePiece's way): a space stands before the text, and what the
 * vocabulary does not have becomes one token per byte.  Bytes (GPT-2's way): the text
 * is first split into words, numbers and the rest, and tokens never cross a split.
 *
 * Text is taken as it is: not normalised, and the name of a special token inside it is
 * text.  Decoding what was encoded gives the same bytes, whatever they are.  Two things
 * differ with a .model: if it says so, runs of spaces become one and those at the ends go, and
 * pieces defined by the user are taken out of the text first; U+2581 comes back as a space.
 *
 * Functions return 0, or -1 after cb_error; a failed load leaves *out all zero.
 */
#ifndef SUITES_DATA_TOKENIZER_H
#define SUITES_DATA_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How text is split before tokens are made; patterns in tokenizer_split.c. */
enum tokenizer_split {
    SPLIT_NONE,
    SPLIT_GPT2,
    SPLIT_GPT2_DIGITS, /* every digit alone first, then GPT-2 between */
    SPLIT_LLAMA3,      /* digits by three */
    SPLIT_QWEN2        /* Llama 3 with every digit alone */
};

enum token_kind {
    TOKEN_TEXT,
    TOKEN_USER,   /* text that is always this token, never part of another */
    TOKEN_BYTE,   /* one byte, used where no text token fits */
    TOKEN_CONTROL /* never made from text; decodes to nothing */
};

struct token {
    size_t at;       /* of its bytes, in text */
    unsigned length;
    float score;
    unsigned char kind;
};

struct tokenizer {
    char name[64];        /* base name of its file */
    int count;
    int bos, eos;         /* -1: none */
    bool add_bos;         /* a sequence starts with bos */
    bool bytes;           /* starts from bytes, not from characters */
    bool space_first;     /* characters: a space stands before the text */
    bool by_merges;       /* joins by merges, not by scores */
    bool whole_words;     /* a word that is a token is not joined from parts */
    bool by_unigram;      /* not joined: the cut with the largest sum of scores */
    bool trim;            /* runs of spaces become one, at the ends none */
    bool blank_is_space;  /* U+2581 in a text is a space, but not one of a run */
    bool unknown_once;    /* neighbouring unknown characters are one token */
    float score_min, score_max; /* by_unigram: of TOKEN_TEXT */
    enum tokenizer_split split;
    int unknown;          /* -1: none */
    int byte_token[256];  /* TOKEN_BYTE, or -1 */

    /* What follows is of tokenizer.c alone. */
    struct token *token;  /* [count] */
    int room;
    char *text;           /* bytes of all tokens */
    size_t text_used, text_room;
    int *by_text;         /* hash table of TOKEN_TEXT and TOKEN_USER, -1: free */
    unsigned longest, longest_user; /* bytes of those */
    size_t by_text_size;  /* a power of two */
    struct tokenizer_merge *merge; /* hash table */
    size_t merge_size, merges;     /* merge_size: a power of two or 0 */
};

/* path: a file of one of the formats, or a folder with a tokenizer.json or .model. */
int tokenizer_load(const char *path, struct tokenizer *out);
void tokenizer_free(struct tokenizer *t); /* accepts NULL and { 0 }; leaves { 0 } */

/* The same from memory; name stands in messages. */
int tokenizer_parse_bin(const char *name, const void *data, size_t size, struct tokenizer *out);
int tokenizer_parse_gguf(const char *name, const void *data, size_t size, struct tokenizer *out);
int tokenizer_parse_json(const char *name, const void *data, size_t size, struct tokenizer *out);
int tokenizer_parse_sentencepiece(const char *name, const void *data, size_t size,
                                  struct tokenizer *out);

/* *out [*count], to be freed with data_free (alloc.h); NULL if there are none.  start:
 * puts bos first if the tokenizer asks for it.  -1 too if a byte of the text has no token. */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t size, bool start,
                     int **out, int *count);
/* *out [*size], followed by a NUL that *size does not count; data_free. */
int tokenizer_decode(const struct tokenizer *t, const int *token, int count, char **out,
                     size_t *size);

/* The bytes of a token, not ended by a NUL; *length is set. */
const char *tokenizer_text(const struct tokenizer *t, int token, size_t *length);

/* ---- for the readers, in this order ---- */

void tokenizer_begin(struct tokenizer *t, const char *name);
int tokenizer_add(struct tokenizer *t, const char *text, size_t length, float score,
                  enum token_kind kind);
/* All tokens are there: TOKEN_TEXT can be found. */
int tokenizer_seal(struct tokenizer *t);
/* The token of a text, or -1. */
int tokenizer_find(const struct tokenizer *t, const char *text, size_t length);
/* Room for that many merges; then each in order of rank.  -1 if the joined token does
 * not exist.  A pair given twice keeps its first rank. */
int tokenizer_merges(struct tokenizer *t, size_t count);
int tokenizer_merge(struct tokenizer *t, int left, int right);

/* Length of the first word of text, size > 0 bytes long. */
size_t tokenizer_word(enum tokenizer_split split, const char *text, size_t size);

#endif
