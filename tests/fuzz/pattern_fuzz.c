/* pattern_fuzz.c - any pattern against any text. The input is the pattern, a zero byte, the text; its first
 * byte chooses how it is used. What is found lies inside the text, and every look asks for time.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "script/sandbox/pattern.h"

/* Looks at the budget before time is up: enough for all that is not hostile. */
#define LOOKS_MAX 5

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int looks;

static bool is_out_of_time(void *ud)
{
    (void)ud;
    return ++looks > LOOKS_MAX;
}

static void check(bool condition)
{
    if (!condition)
        abort();
}

static void check_captures(const struct tg_pattern *m, const char *text, size_t len)
{
    check(m->from >= text && m->from <= m->to && m->to <= text + len);
    check(m->captures >= 0 && m->captures <= TG_PATTERN_CAPTURES);
    for (int i = -1; i <= m->captures; i++) {
        const char *at = NULL;
        size_t n = 0;
        const char *wrong = tg_pattern_capture(m, i, &at, &n);
        check(wrong == NULL || wrong[0] != '\0');
        check(wrong != NULL || (i >= 0 && at >= text && at <= text + len));
        check(wrong != NULL || n == TG_PATTERN_POSITION || n <= (size_t)(text + len - at));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    bool anchors = (data[0] & 1) != 0;
    size_t start = data[0] >> 4;
    size_t pattern_len = strnlen((const char *)data + 1, size - 1);
    size_t skip = pattern_len + 2 <= size ? pattern_len + 2 : size;
    size_t len = size - skip;
    /* Blocks of their own, exactly as large: a sanitizer sees a read past either end. */
    char *pattern = malloc(pattern_len + 1);
    char *text = malloc(len == 0 ? 1 : len);
    check(pattern != NULL && text != NULL);
    memcpy(pattern, data + 1, pattern_len);
    pattern[pattern_len] = '\0';
    memcpy(text, data + skip, len);

    struct tg_pattern m;
    tg_pattern_init(&m, text, len, pattern, anchors);
    m.expired = is_out_of_time;
    looks = 0;
    size_t at = start < len ? start : len;
    enum tg_pattern_result result = TG_PATTERN_FOUND;
    for (int matches = 0; matches < 100 && at <= len && result == TG_PATTERN_FOUND; matches++) {
        result = tg_pattern_search(&m, at);
        check(result != TG_PATTERN_WRONG || m.error != NULL);
        check(result != TG_PATTERN_EXPIRED || looks > LOOKS_MAX);
        if (result != TG_PATTERN_FOUND)
            break;
        check_captures(&m, text, len);
        check((size_t)(m.from - text) >= at);
        at = (size_t)(m.to - text) + (m.to == m.from ? 1 : 0);
    }
    (void)tg_pattern_is_special(pattern, pattern_len);
    free(pattern);
    free(text);
    return 0;
}
