#include "answers.h"

#include <stdio.h>

#define PROMPT_TOKENS 57
#define CACHED_TOKENS 16
#define TEXT_BYTES 520
#define JSON "application/json"
#define EVENTS "text/event-stream; charset=utf-8"

#define CHUNK_START                                                                               \
    "data: {\"id\":\"chatcmpl-ABCDEFGHIJKLMNOPQRSTUVWX\",\"object\":\"chat.completion.chunk\","   \
    "\"created\":1700000000,\"model\":\"bench-model\",\"system_fingerprint\":\"fp_0123456789\","  \
    "\"choices\":["

/* Anthropic counts what was read from the cache apart. */
#define ANTHROPIC_INPUT                                                                           \
    "\"input_tokens\":41,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":16,"       \
    "\"cache_creation\":{\"ephemeral_5m_input_tokens\":0,\"ephemeral_1h_input_tokens\":0},"

static const char *request_id_header(wire format) {
    return format == ANTHROPIC ? "request-id: req_011CSHoEeqs5C35K2UUqR7Fy"
                               : "x-request-id: req_0123456789";
}

/* --- plain --------------------------------------------------------------------------------- */

static const char *text(void) {
    static char made[TEXT_BYTES + 1];
    for (int i = 0; i < TEXT_BYTES; i++) made[i] = i % 6 == 5 ? ' ' : 'x';
    return made;
}

static int openai_body(char *target) {
    return sprintf(target,
                   "{\"id\":\"chatcmpl-ABCDEFGHIJKLMNOPQRSTUVWX\",\"object\":\"chat.completion\","
                   "\"created\":1700000000,\"model\":\"bench-model\","
                   "\"system_fingerprint\":\"fp_0123456789\",\"choices\":[{\"index\":0,"
                   "\"message\":{\"role\":\"assistant\",\"content\":\"%s\",\"refusal\":null},"
                   "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{"
                   "\"prompt_tokens\":%d,\"completion_tokens\":100,\"total_tokens\":%d,"
                   "\"prompt_tokens_details\":{\"cached_tokens\":%d,\"audio_tokens\":0},"
                   "\"completion_tokens_details\":{\"reasoning_tokens\":0}}}",
                   text(), PROMPT_TOKENS, PROMPT_TOKENS + 100, CACHED_TOKENS);
}

static int anthropic_body(char *target) {
    return sprintf(target,
                   "{\"model\":\"claude-sonnet-4-5-20250929\",\"id\":\"msg_01ABCDEFGHIJKLMNOPQRSTUV\","
                   "\"type\":\"message\",\"role\":\"assistant\","
                   "\"content\":[{\"type\":\"text\",\"text\":\"%s\"}],"
                   "\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{" ANTHROPIC_INPUT
                   "\"output_tokens\":100,\"service_tier\":\"standard\"}}",
                   text());
}

size_t plain_answer(wire format, char *target) {
    char body[MOST_ANSWER_BYTES / 2];
    int length = format == ANTHROPIC ? anthropic_body(body) : openai_body(body);
    return (size_t)sprintf(target,
                           "HTTP/1.1 200 OK\r\nContent-Type: " JSON "\r\n%s\r\n"
                           "Content-Length: %d\r\n\r\n%s",
                           request_id_header(format), length, body);
}

/* --- streams ------------------------------------------------------------------------------- */

size_t stream_head(wire format, char *target) {
    return (size_t)sprintf(target,
                           "HTTP/1.1 200 OK\r\nContent-Type: " EVENTS "\r\n"
                           "Cache-Control: no-cache\r\n%s\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n",
                           request_id_header(format));
}

size_t stream_opening(wire format, char *target) {
    if (format == OPENAI) return 0;
    return (size_t)sprintf(
        target,
        "event: message_start\n"
        "data: {\"type\":\"message_start\",\"message\":{\"model\":\"claude-sonnet-4-5-20250929\","
        "\"id\":\"msg_01ABCDEFGHIJKLMNOPQRSTUV\",\"type\":\"message\",\"role\":\"assistant\","
        "\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{" ANTHROPIC_INPUT
        "\"output_tokens\":1,\"service_tier\":\"standard\"}}}\n\n"
        "event: content_block_start\n"
        "data: {\"type\":\"content_block_start\",\"index\":0,"
        "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
        "event: ping\ndata: {\"type\":\"ping\"}\n\n");
}

size_t stream_content(wire format, char *target, int number, int count, uint64_t clock_ns) {
    unsigned long long clock = clock_ns;
    if (format == ANTHROPIC)
        return (size_t)sprintf(target,
                               "event: content_block_delta\n"
                               "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
                               "{\"type\":\"text_delta\",\"text\":\"T%016llu tok\"}}\n\n",
                               clock);
    return (size_t)sprintf(target,
                           CHUNK_START "{\"index\":0,\"delta\":{%s\"content\":\"T%016llu tok\"},"
                                       "\"logprobs\":null,\"finish_reason\":%s}]}\n\n",
                           number == 0 ? "\"role\":\"assistant\"," : "", clock,
                           number == count - 1 ? "\"stop\"" : "null");
}

size_t stream_ending(wire format, char *target, int count) {
    if (format == ANTHROPIC)
        return (size_t)sprintf(
            target,
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
            "\"end_turn\",\"stop_sequence\":null},\"usage\":{" ANTHROPIC_INPUT
            "\"output_tokens\":%d}}\n\n"
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
            count);
    return (size_t)sprintf(target,
                           CHUNK_START
                           "],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,"
                           "\"total_tokens\":%d,\"prompt_tokens_details\":{\"cached_tokens\":%d}}}"
                           "\n\ndata: [DONE]\n\n",
                           PROMPT_TOKENS, count, count + PROMPT_TOKENS, CACHED_TOKENS);
}
