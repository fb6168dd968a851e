/* json_text.h - JSON as text for people: aligned names and values, lists of objects as tables. */
#ifndef TG_APP_JSON_TEXT_H
#define TG_APP_JSON_TEXT_H

#include <stdbool.h>
#include <stdio.h>

#include "base/buffer.h"
#include "base/json_reader.h"

/* A value on one line, decoded: "-" for null or nothing, lists by commas, of an object its values, with
 * their names when there are more than two. Appends; a lack of memory cuts it short. */
void tg_json_text_line(const struct tg_json_value *value, struct tg_buffer *out);

/* A whole object. Nothing in it can steer the terminal. */
void tg_json_text_print(const struct tg_json_value *object, FILE *out, bool colour);

#endif
