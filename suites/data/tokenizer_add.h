/* tokenizer_add.h - what the readers of tokenizers share: tokenizer_files.c has it. */
#ifndef SUITES_DATA_TOKENIZER_ADD_H
#define SUITES_DATA_TOKENIZER_ADD_H

#include "tokenizer.h"

/* tokenizer_add of a text as the vocabulary writes it: U+2581 is a space, and where t->bytes
 * every character is a byte.  What is no text of bytes is taken for control. */
int tokenizer_add_spaced(struct tokenizer *t, const char *text, size_t length, float score,
                         enum token_kind kind);

#endif
