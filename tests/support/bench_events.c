/* bench_events.c - the client of the bench looks at the events of a run. Apart, because this reads JSON, which
 * the rest of the client does without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json_reader.h"
#include "support/bench.h"

#include <cmocka.h>

const char *bench_expect_event(struct bench *bench, struct bench_client *client, const char *type,
                               int seq, const char *run_id)
{
    char part[80];
    struct tg_json_value document;
    (void)snprintf(part, sizeof part, "{\"type\":\"%s\"", type);
    const char *text = bench_expect(bench, client, part);
    assert_int_equal(tg_json_parse(text, strlen(text), &document, NULL), TG_ERR_OK);
    struct tg_json_value number = tg_json_member(&document, "seq");
    assert_int_equal((int)tg_json_number(&number), seq);
    struct tg_json_value id = tg_json_member(&document, "run_id");
    if (run_id != NULL && !tg_json_equals(&id, run_id))
        fail_msg("%s of %s expected: %s", type, run_id, text);
    return text;
}

void bench_expect_silence(struct bench *bench, struct bench_client *client)
{
    bench_send_text(bench, client, "{\"type\":\"ping\"}");
    (void)bench_expect(bench, client, "\"pong\"");
}
