/* json_number.h - doubles as text.
 */
#ifndef TG_BASE_JSON_NUMBER_H
#define TG_BASE_JSON_NUMBER_H

#include <stddef.h>

#define TG_JSON_NUMBER_SIZE 32

/* A finite number as JSON that reads back as it; returns its length. No NUL follows. */
size_t tg_json_write_number(char out[TG_JSON_NUMBER_SIZE], double number);

#endif
