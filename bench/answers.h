/* What the stand-in for a provider says, in OpenAI's wire format and in Anthropic's. */
#ifndef BENCH_ANSWERS_H
#define BENCH_ANSWERS_H

#include <stddef.h>
#include <stdint.h>

#define MOST_ANSWER_BYTES 4096

typedef enum { OPENAI, ANTHROPIC } wire;

/* Each writes to `target`, which has room for MOST_ANSWER_BYTES, and returns the length.
 * `plain_answer` and `stream_head` begin with the status line; the others give one or more whole
 * server-sent events, to be framed as HTTP chunks. */
size_t plain_answer(wire format, char *target);
size_t stream_head(wire format, char *target);
size_t stream_opening(wire format, char *target); /* may be 0: OpenAI has none */
size_t stream_content(wire format, char *target, int number, int count, uint64_t clock_ns);
size_t stream_ending(wire format, char *target, int count);

#endif
