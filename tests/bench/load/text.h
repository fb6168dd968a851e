/* text.h - what echoes are filled with. */
#ifndef TG_TESTS_BENCH_LOAD_TEXT_H
#define TG_TESTS_BENCH_LOAD_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* SCRIPTS: words of eight of them, most in letters of one length. VIETNAMESE: as that is written, letters
 * of 1, 2 and 3 bytes by turns. */
enum text { TEXT_ASCII, TEXT_SCRIPTS, TEXT_VIETNAMESE };

enum text text_named(const char *name); /* dies when there is none */
void text_write(enum text kind, uint8_t *at, size_t len);

#endif
