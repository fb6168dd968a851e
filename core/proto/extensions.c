/* extensions.c - reads and answers Sec-WebSocket-Extensions.
 *
 * Owns nothing. Two kinds of wrong are kept apart: a list that breaks the grammar fails the handshake
 * (RFC 6455 §9.1); a well-formed offer with an unknown, repeated or invalid parameter is only passed
 * over, and the next one may do (RFC 7692 §7).
 *
 * A window of 8 bits is legal and cannot be had from zlib: it compresses with 9 where it does not
 * refuse. So an offer that limits the server to 8 is passed over, and a client is never told to use 8:
 * many are built on zlib too, would use 9 without a word, and write what a window of 8 cannot read.
 */
#include "proto/extensions.h"

#include <stdio.h>
#include <string.h>

#define DEFLATE "permessage-deflate"

/* A token, or the token inside of a quoted string. `text` has its beginning, which is all of any word
 * that is known here. */
struct word {
    char text[32];
    size_t len;
};

struct scanner {
    const char *at;
    const char *end;
};

/* One element of the list. The two sides write the same parameters. */
struct element {
    struct word name;
    struct tg_deflate_offer params;
    const char *why; /* what keeps it from being used; static; NULL: nothing */
};

static bool word_is(const struct word *word, const char *text)
{
    return word->len == strlen(text) && memcmp(word->text, text, word->len) == 0;
}

static void word_add(struct word *word, char c)
{
    if (word->len < sizeof word->text)
        word->text[word->len] = c;
    word->len++;
}

/* RFC 2616 §2.2, which RFC 6455 refers to. */
static bool is_token_char(char c)
{
    return c > ' ' && c < 0x7f && strchr("()<>@,;:\\\"/[]?={}", c) == NULL;
}

static void skip_blanks(struct scanner *scanner)
{
    while (scanner->at < scanner->end && (*scanner->at == ' ' || *scanner->at == '\t'))
        scanner->at++;
}

static bool take_char(struct scanner *scanner, char c)
{
    skip_blanks(scanner);
    if (scanner->at == scanner->end || *scanner->at != c)
        return false;
    scanner->at++;
    return true;
}

static bool take_token(struct scanner *scanner, struct word *word)
{
    word->len = 0;
    skip_blanks(scanner);
    while (scanner->at < scanner->end && is_token_char(*scanner->at))
        word_add(word, *scanner->at++);
    return word->len > 0;
}

/* After the opening quote. What is in quotes must be a token once it is unescaped (§9.1). */
static bool take_quoted(struct scanner *scanner, struct word *word)
{
    word->len = 0;
    while (scanner->at < scanner->end && *scanner->at != '"') {
        if (*scanner->at == '\\' && ++scanner->at == scanner->end)
            return false;
        if (!is_token_char(*scanner->at))
            return false;
        word_add(word, *scanner->at++);
    }
    return take_char(scanner, '"') && word->len > 0;
}

/* A decimal from 8 to 15 without leading zeros (RFC 7692 §7.1.2). */
static bool read_bits(const struct word *value, uint8_t *bits)
{
    if (value->len == 1 && (value->text[0] == '8' || value->text[0] == '9'))
        *bits = (uint8_t)(value->text[0] - '0');
    else if (value->len == 2 && value->text[0] == '1' && value->text[1] >= '0' &&
             value->text[1] <= '5')
        *bits = (uint8_t)(10 + value->text[1] - '0');
    else
        return false;
    return true;
}

static const char *set_flag(bool *flag, const struct word *value)
{
    if (*flag)
        return "a parameter is there twice";
    if (value != NULL)
        return "a parameter has a value that takes none";
    *flag = true;
    return NULL;
}

static const char *set_bits(uint8_t *bits, const struct word *value, bool value_needed)
{
    if (*bits != 0)
        return "a parameter is there twice";
    *bits = TG_DEFLATE_ANY_BITS;
    if (value == NULL)
        return value_needed ? "a window size is missing" : NULL;
    return read_bits(value, bits) ? NULL : "a window size is not one of 8 to 15";
}

/* What is wrong with the parameter, or NULL. */
static const char *set_param(struct tg_deflate_offer *params, const struct word *name,
                             const struct word *value)
{
    if (word_is(name, "server_no_context_takeover"))
        return set_flag(&params->server_no_context_takeover, value);
    if (word_is(name, "client_no_context_takeover"))
        return set_flag(&params->client_no_context_takeover, value);
    if (word_is(name, "server_max_window_bits"))
        return set_bits(&params->server_max_window_bits, value, true);
    if (word_is(name, "client_max_window_bits"))
        return set_bits(&params->client_max_window_bits, value, false);
    return "a parameter is unknown";
}

/* False when the grammar is broken. */
static bool parse_element(struct tg_http_text text, struct element *element)
{
    struct scanner scanner = {text.data, text.data + text.len};

    *element = (struct element){.why = NULL};
    if (!take_token(&scanner, &element->name))
        return false;
    bool is_deflate = word_is(&element->name, DEFLATE);
    while (take_char(&scanner, ';')) {
        struct word name;
        struct word value;
        bool has_value = false;
        if (!take_token(&scanner, &name))
            return false;
        if (take_char(&scanner, '=')) {
            has_value = true;
            if (take_char(&scanner, '"') ? !take_quoted(&scanner, &value)
                                         : !take_token(&scanner, &value))
                return false;
        }
        if (is_deflate && element->why == NULL)
            element->why = set_param(&element->params, &name, has_value ? &value : NULL);
    }
    skip_blanks(&scanner);
    return scanner.at == scanner.end;
}

bool tg_extensions_valid(const struct tg_http *http)
{
    struct tg_http_text item;
    struct element element;
    uint64_t cursor = 0;

    while (tg_http_next_item(http, TG_HEADER_SEC_WEBSOCKET_EXTENSIONS, &cursor, &item)) {
        if (!parse_element(item, &element))
            return false;
    }
    return true;
}

static uint8_t smaller(uint8_t a, uint8_t b)
{
    return a < b ? a : b;
}

static void write_params(const struct tg_deflate_offer *params, char out[TG_EXTENSIONS_SIZE])
{
    char server[32] = "";
    char client[32] = "";

    if (params->server_max_window_bits != 0)
        (void)snprintf(server, sizeof server, "; server_max_window_bits=%u",
                       (unsigned)params->server_max_window_bits);
    if (params->client_max_window_bits == TG_DEFLATE_ANY_BITS)
        (void)snprintf(client, sizeof client, "; client_max_window_bits");
    else if (params->client_max_window_bits != 0)
        (void)snprintf(client, sizeof client, "; client_max_window_bits=%u",
                       (unsigned)params->client_max_window_bits);
    (void)snprintf(out, TG_EXTENSIONS_SIZE, DEFLATE "%s%s%s%s",
                   params->server_no_context_takeover ? "; server_no_context_takeover" : "",
                   params->client_no_context_takeover ? "; client_no_context_takeover" : "", server,
                   client);
}

/* The answer to an offer; false when it cannot be kept. */
static bool answer_offer(const struct tg_deflate_offer *offer, const struct tg_deflate_terms *terms,
                         struct tg_deflate_offer *answer)
{
    *answer = (struct tg_deflate_offer){
        .server_no_context_takeover = offer->server_no_context_takeover || !terms->server_takeover,
        .client_no_context_takeover = offer->client_no_context_takeover || !terms->client_takeover,
    };
    if (offer->server_max_window_bits != 0) {
        if (offer->server_max_window_bits < TG_DEFLATE_BITS_MIN)
            return false;
        answer->server_max_window_bits = smaller(offer->server_max_window_bits, terms->window_bits);
    }
    if (offer->client_max_window_bits !=
        0) { /* without it the client's window is not ours to set */
        uint8_t bits = smaller(offer->client_max_window_bits, terms->window_bits);
        if (bits >= TG_DEFLATE_BITS_MIN && bits < TG_DEFLATE_BITS_MAX)
            answer->client_max_window_bits = bits;
    }
    return true;
}

static struct tg_deflate_way way_of(bool no_takeover, uint8_t bits)
{
    return (struct tg_deflate_way){
        .takeover = !no_takeover,
        .window_bits = bits == 0 || bits > TG_DEFLATE_BITS_MAX ? TG_DEFLATE_BITS_MAX : bits,
    };
}

static struct tg_deflate_agreement agreement_of(const struct tg_deflate_offer *answer)
{
    return (struct tg_deflate_agreement){
        .from_server = way_of(answer->server_no_context_takeover, answer->server_max_window_bits),
        .from_client = way_of(answer->client_no_context_takeover, answer->client_max_window_bits),
    };
}

bool tg_extensions_negotiate(const struct tg_http *request, const struct tg_deflate_terms *terms,
                             struct tg_deflate_agreement *agreed, char answer[TG_EXTENSIONS_SIZE])
{
    struct tg_http_text item;
    struct element element;
    struct tg_deflate_offer params;
    uint64_t cursor = 0;

    while (tg_http_next_item(request, TG_HEADER_SEC_WEBSOCKET_EXTENSIONS, &cursor, &item)) {
        if (!parse_element(item, &element))
            return false;
        if (!word_is(&element.name, DEFLATE) || element.why != NULL ||
            !answer_offer(&element.params, terms, &params))
            continue;
        *agreed = agreement_of(&params);
        /* A window smaller than the client knows of is readable to it all the same. */
        agreed->from_server.window_bits =
            smaller(agreed->from_server.window_bits, terms->window_bits);
        write_params(&params, answer);
        return true;
    }
    return false;
}

void tg_extensions_write_offer(const struct tg_deflate_offer *offer, char out[TG_EXTENSIONS_SIZE])
{
    write_params(offer, out);
}

/* RFC 7692 §7.1: what keeps a client from using this answer, or NULL. */
static const char *judge_answer(const struct element *element, const struct tg_deflate_offer *offer)
{
    const struct tg_deflate_offer *params = &element->params;

    if (element->why != NULL)
        return element->why;
    if (offer->server_no_context_takeover && !params->server_no_context_takeover)
        return "server_no_context_takeover was asked for and not granted";
    if (offer->server_max_window_bits != 0 &&
        (params->server_max_window_bits == 0 ||
         params->server_max_window_bits > offer->server_max_window_bits))
        return "server_max_window_bits was asked for and not granted";
    if (params->client_max_window_bits == TG_DEFLATE_ANY_BITS)
        return "a window size is missing";
    if (params->client_max_window_bits != 0 && offer->client_max_window_bits == 0)
        return "client_max_window_bits was not offered";
    if (params->client_max_window_bits > offer->client_max_window_bits)
        return "client_max_window_bits is more than was offered";
    if (params->client_max_window_bits != 0 && params->client_max_window_bits < TG_DEFLATE_BITS_MIN)
        return "a window of 8 bits cannot be kept to";
    return NULL;
}

enum tg_err tg_extensions_verify(const struct tg_http *response,
                                 const struct tg_deflate_offer *offer, bool *used,
                                 struct tg_deflate_agreement *agreed, struct tg_error *error)
{
    struct tg_http_text item;
    struct element element;
    uint64_t cursor = 0;

    *used = false;
    while (tg_http_next_item(response, TG_HEADER_SEC_WEBSOCKET_EXTENSIONS, &cursor, &item)) {
        if (!parse_element(item, &element))
            return tg_error_set(error, TG_ERR_PROTO,
                                "the server's Sec-WebSocket-Extensions is malformed");
        if (offer == NULL || *used || !word_is(&element.name, DEFLATE))
            return tg_error_set(error, TG_ERR_PROTO,
                                "the server chose an extension that was not offered");
        const char *why = judge_answer(&element, offer);
        if (why != NULL)
            return tg_error_set(error, TG_ERR_PROTO, "the server's answer on compression: %s", why);
        *used = true;
        *agreed = agreement_of(&element.params);
        if (agreed->from_server.window_bits < TG_DEFLATE_BITS_MIN) /* reads 8 as well */
            agreed->from_server.window_bits = TG_DEFLATE_BITS_MIN;
    }
    return TG_ERR_OK;
}
