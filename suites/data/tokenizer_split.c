/*
 * tokenizer_split.c - text into words, before tokens are made of their bytes.
 *
 * The patterns, first alternative that matches, L and N the letters and numbers of Unicode:
 *
 *     GPT-2      's|'t|'re|'ve|'m|'ll|'d
 *                | ?L+| ?N+| ?[^\sLN]+|\s+(?!\S)|\s+
 *     Llama 3    (the same, of either case)
 *                |[^\r\nLN]?L+|N{1,3}| ?[^\sLN]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 *     Qwen 2     Llama 3 with N for N{1,3}
 *
 * Bytes that are no UTF-8 count as characters that are neither space, letter nor number.
 */
#include "tokenizer.h"
#include "unicode.h"

enum class { NOTHING, SPACE, LETTER, NUMBER, OTHER };

/* The class of the character at byte at, NOTHING at the end, and where the next one is. */
static enum class look(const char *text, size_t size, size_t at, size_t *next)
{
    uint32_t c;
    if (at >= size)
        return NOTHING;
    *next = at + utf8_next(text + at, size - at, &c);
    return unicode_letter(c) ? LETTER : unicode_number(c) ? NUMBER
         : unicode_space(c)  ? SPACE  : OTHER;
}

/* The end of the run of a class from byte at, of at most limit characters. */
static size_t run(const char *text, size_t size, size_t at, enum class of, int limit)
{
    size_t next = at;
    for (int i = 0; i < limit && look(text, size, at, &next) == of; i++)
        at = next;
    return at;
}

static size_t contraction(const char *text, size_t size, bool any_case)
{
    if (size < 2 || text[0] != '\'')
        return 0;
    const int lower = any_case ? 0x20 : 0;
    const int a = text[1] | lower, b = size > 2 ? text[2] | lower : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

static bool line_end(char c)
{
    return c == '\r' || c == '\n';
}

/* \s+(?!\S)|\s+: the last space before something else belongs to that. */
static size_t spaces(const char *text, size_t size)
{
    size_t end = 0, last = 0, next = 0;
    while (look(text, size, end, &next) == SPACE) {
        last = end;
        end = next;
    }
    return end < size && last ? last : end;
}

static size_t gpt2(const char *text, size_t size)
{
    size_t next, n = contraction(text, size, false);
    if (n)
        return n;
    const size_t at = text[0] == ' ' ? 1 : 0;
    const enum class c = look(text, size, at, &next);
    if (c != NOTHING && c != SPACE)
        return run(text, size, at, c, INT32_MAX);
    return spaces(text, size);
}

static size_t llama3(const char *text, size_t size, int digits)
{
    size_t next = 0, after = 0, n = contraction(text, size, true);
    if (n)
        return n;
    const enum class c = look(text, size, 0, &next);
    if (c == LETTER)
        return run(text, size, 0, LETTER, INT32_MAX);
    if (c == NUMBER)
        return run(text, size, 0, NUMBER, digits);
    if (!line_end(text[0]) && look(text, size, next, &after) == LETTER)
        return run(text, size, next, LETTER, INT32_MAX);
    const size_t at = text[0] == ' ' ? 1 : 0;
    if (look(text, size, at, &after) == OTHER) {
        n = run(text, size, at, OTHER, INT32_MAX);
        while (n < size && line_end(text[n]))
            n++;
        return n;
    }
    const size_t end = run(text, size, 0, SPACE, INT32_MAX);
    for (n = end; n > 0; n--)
        if (line_end(text[n - 1]))
            return n;
    return spaces(text, size);
}

size_t tokenizer_word(enum tokenizer_split split, const char *text, size_t size)
{
    size_t next = 0;
    switch (split) {
    case SPLIT_NONE:
        return size;
    case SPLIT_GPT2:
        return gpt2(text, size);
    case SPLIT_LLAMA3:
        return llama3(text, size, 3);
    case SPLIT_QWEN2:
        return llama3(text, size, 1);
    case SPLIT_GPT2_DIGITS:
        break;
    }
    if (look(text, size, 0, &next) == NUMBER)
        return next;
    /* GPT-2's pattern sees nothing behind the text between two digits.  Only the end of a run
     * of spaces depends on what follows, so the words before are the same either way. */
    const size_t n = gpt2(text, size);
    const size_t end = run(text, size, 0, SPACE, INT32_MAX);
    if (end > n && look(text, size, end, &next) == NUMBER)
        return end;
    if (text[0] == ' ' && look(text, size, 1, &next) == NUMBER)
        return 1;
    return n;
}
