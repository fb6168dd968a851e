/* websocket_inflate.c - compressed messages on their way in (RFC 7692 §7.2.2).
 *
 * Payload bytes are inflated as they arrive, straight into the message, and the limit holds for what
 * comes out: a bomb fails at the limit, however little of it has been read. UTF-8 is judged on what
 * came out, and first, so that the verdict does not depend on how the input was split.
 *
 * Broken DEFLATE data is 1002: it breaks the format of the extension's frames. 1007 is for payloads
 * that are whole and say the wrong thing, which nobody can know of these.
 */
#include "base/memory.h"
#include "base/metrics.h"
#include "proto/websocket_internal.h"

enum tg_err tg_ws_use_deflate(struct tg_ws *ws, const struct tg_deflate_agreement *agreed,
                              const struct tg_deflate_tuning *tuning, struct tg_metrics *metrics)
{
    struct tg__ws_codec *codec = tg_calloc(1, sizeof *codec);
    bool server = ws->role == TG_WS_SERVER;

    if (codec == NULL)
        return TG_ERR_NOMEM;
    codec->out.way = server ? agreed->from_server : agreed->from_client;
    codec->out.tuning = *tuning;
    codec->in.way = server ? agreed->from_client : agreed->from_server;
    codec->metrics = metrics;
    ws->codec = codec;
    return TG_ERR_OK;
}

static void count(const struct tg__ws_codec *codec, size_t compressed, size_t plain)
{
    if (codec->metrics == NULL)
        return;
    tg_counter_add(&codec->metrics->compression_bytes[TG_IN][TG_COMPRESSED], compressed);
    tg_counter_add(&codec->metrics->compression_bytes[TG_IN][TG_PLAIN], plain);
}

/* Judges what was appended behind `before`, then how inflating it ended. */
static bool judge(struct tg_ws *ws, size_t before, enum tg_err err)
{
    size_t grown = ws->message.len - before;

    if (err == TG_ERR_NOMEM)
        return tg__ws_fail(ws, err, 1011, "out of memory");
    if (ws->kind == TG_WS_TEXT && grown > 0 &&
        !tg_utf8_feed(&ws->utf8, tg_buffer_head(&ws->message) + before, grown))
        return tg__ws_fail_utf8(ws);
    if (err == TG_ERR_OK)
        return true;
    if (err == TG_ERR_LIMIT)
        return tg__ws_fail(ws, err, 1009, "message too big");
    return tg__ws_fail(ws, TG_ERR_PROTO, 1002, "a compressed message is corrupt");
}

bool tg__ws_inflate(struct tg_ws *ws, const uint8_t *data, size_t len)
{
    size_t before = ws->message.len;
    enum tg_err err = tg_inflate(&ws->codec->in, data, len, &ws->message, ws->message_max);

    count(ws->codec, len, ws->message.len - before);
    return judge(ws, before, err);
}

bool tg__ws_inflate_end(struct tg_ws *ws)
{
    size_t before = ws->message.len;
    enum tg_err err = tg_inflate_end(&ws->codec->in, &ws->message, ws->message_max);

    return judge(ws, before, err);
}

void tg__ws_inflate_drop(struct tg_ws *ws)
{
    if (ws->codec != NULL)
        tg_inflater_fini(&ws->codec->in);
}

void tg__ws_codec_destroy(struct tg_ws *ws)
{
    if (ws->codec == NULL)
        return;
    tg_inflater_fini(&ws->codec->in);
    tg_deflater_fini(&ws->codec->out);
    tg_free(ws->codec);
    ws->codec = NULL;
}

size_t tg__ws_codec_held(const struct tg_ws *ws)
{
    if (ws->codec == NULL)
        return 0;
    return tg_inflater_held(&ws->codec->in) + tg_deflater_held(&ws->codec->out);
}
