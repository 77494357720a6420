/*
 * A stand-in for an inference provider: OpenAI's chat completions over HTTP/1.1 keep-alive.
 *
 *   upstream PORT CHUNKS DELAY_MS
 *
 * A plain request gets a canned answer of about 1 KB at once. A request with "stream":true gets
 * CHUNKS server-sent events of about 250 bytes, one write each and DELAY_MS apart, then an event
 * with the usage and [DONE]. The text of each event is "T" and the monotonic clock in nanoseconds,
 * so that a client on the same machine can tell how long the event was on its way.
 *
 * One thread around epoll. All streams have the same pace, so the queue of connections that wait
 * for their next event is always in the order of their due times.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LISTEN_BACKLOG 4096
#define MOST_EVENTS 512
#define MOST_REQUEST_BYTES (1 << 20)

typedef struct connection {
    int fd;
    int closed;              /* freed at the end of the round, or when its turn in the queue comes */
    int streaming;
    int queued;
    int chunks_sent;
    uint64_t due_ns;
    struct connection *next; /* in the queue, or among the dead */
    char *in;
    size_t in_len, in_cap;
    char *out;               /* what the socket would not take yet */
    size_t out_len, out_cap, out_sent;
} connection;

static int poller, chunks_per_stream;
static uint64_t delay_ns;
static connection *queue_head, *queue_tail, *dead;
static char plain_answer[4096];
static size_t plain_answer_len;

static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\n"
    "Content-Type: text/event-stream; charset=utf-8\r\n"
    "Cache-Control: no-cache\r\n"
    "x-request-id: req_0123456789\r\n"
    "Transfer-Encoding: chunked\r\n\r\n";

static const char CHUNK_START[] =
    "data: {\"id\":\"chatcmpl-ABCDEFGHIJKLMNOPQRSTUVWX\",\"object\":\"chat.completion.chunk\","
    "\"created\":1700000000,\"model\":\"bench-model\",\"system_fingerprint\":\"fp_0123456789\","
    "\"choices\":[";

static void *checked(void *memory) {
    if (memory == NULL) {
        fprintf(stderr, "upstream: out of memory\n");
        exit(1);
    }
    return memory;
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void watch(connection *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    epoll_ctl(poller, operation, c->fd, &event);
}

static void release(connection *c) {
    free(c->in);
    free(c->out);
    free(c);
}

static void hang_up(connection *c) {
    if (c->closed) return;
    c->closed = 1;
    epoll_ctl(poller, EPOLL_CTL_DEL, c->fd, NULL);
    close(c->fd);
    if (c->queued) return;
    c->next = dead;
    dead = c;
}

static void bury_the_dead(void) {
    while (dead) {
        connection *c = dead;
        dead = c->next;
        release(c);
    }
}

/* --- writing ------------------------------------------------------------------------------- */

static void keep_for_later(connection *c, const char *data, size_t length) {
    if (c->out_len + length > c->out_cap) {
        c->out_cap = (c->out_len + length) * 2;
        c->out = checked(realloc(c->out, c->out_cap));
    }
    memcpy(c->out + c->out_len, data, length);
    c->out_len += length;
}

static void write_now_or_later(connection *c, const char *data, size_t length) {
    if (c->closed) return;
    ssize_t sent = 0;
    if (c->out_len == 0) {
        sent = send(c->fd, data, length, MSG_NOSIGNAL);
        if (sent == (ssize_t)length) return;
        if (sent < 0 && errno != EAGAIN) {
            hang_up(c);
            return;
        }
        if (sent < 0) sent = 0;
        watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
    keep_for_later(c, data + sent, length - (size_t)sent);
}

static void flush(connection *c) {
    while (c->out_sent < c->out_len) {
        ssize_t sent = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN) hang_up(c);
            return;
        }
        c->out_sent += (size_t)sent;
    }
    c->out_sent = c->out_len = 0;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static size_t add_http_chunk(char *target, const char *body, size_t length) {
    size_t n = (size_t)sprintf(target, "%zx\r\n", length);
    memcpy(target + n, body, length);
    memcpy(target + n + length, "\r\n", 2);
    return n + length + 2;
}

/* --- streams ------------------------------------------------------------------------------- */

static void enqueue(connection *c) {
    c->next = NULL;
    c->queued = 1;
    c->due_ns = now_ns() + delay_ns;
    if (queue_tail) queue_tail->next = c;
    else queue_head = c;
    queue_tail = c;
}

static void send_content(connection *c) {
    char event[1024], framed[1100];
    int last = c->chunks_sent == chunks_per_stream - 1;
    int n = sprintf(event,
                    "%s{\"index\":0,\"delta\":{%s\"content\":\"T%016llu tok\"},"
                    "\"logprobs\":null,\"finish_reason\":%s}]}\n\n",
                    CHUNK_START, c->chunks_sent == 0 ? "\"role\":\"assistant\"," : "",
                    (unsigned long long)now_ns(), last ? "\"stop\"" : "null");
    c->chunks_sent++;
    write_now_or_later(c, framed, add_http_chunk(framed, event, (size_t)n));
    if (!c->closed) enqueue(c);
}

static void send_end(connection *c) {
    char event[1024], framed[1200];
    int n = sprintf(event,
                    "%s],\"usage\":{\"prompt_tokens\":57,\"completion_tokens\":%d,"
                    "\"total_tokens\":%d,\"prompt_tokens_details\":{\"cached_tokens\":16}}}\n\n",
                    CHUNK_START, chunks_per_stream, chunks_per_stream + 57);
    size_t length = add_http_chunk(framed, event, (size_t)n);
    length += add_http_chunk(framed + length, "data: [DONE]\n\n", 14);
    memcpy(framed + length, "0\r\n\r\n", 5);
    c->streaming = 0;
    write_now_or_later(c, framed, length + 5);
}

static void send_what_is_due(void) {
    uint64_t now = now_ns();
    connection *last = queue_tail; /* those queued meanwhile are not due yet */
    while (queue_head && queue_head->due_ns <= now) {
        connection *c = queue_head;
        queue_head = c->next;
        if (queue_head == NULL) queue_tail = NULL;
        c->queued = 0;
        if (c->closed) release(c);
        else if (c->chunks_sent < chunks_per_stream) send_content(c);
        else send_end(c);
        if (c == last) break;
    }
}

/* --- requests ------------------------------------------------------------------------------ */

static size_t length_of_request(connection *c, char *head_end, size_t head) {
    *head_end = 0;
    char *field = strcasestr(c->in, "\r\ncontent-length:");
    size_t body = field ? strtoul(field + 17, NULL, 10) : 0;
    int chunked = field == NULL && strcasestr(c->in, "\r\ntransfer-encoding: chunked") != NULL;
    *head_end = '\r';
    if (!chunked) return head + body;
    char *end = memmem(c->in + head, c->in_len - head, "0\r\n\r\n", 5);
    return end ? (size_t)(end + 5 - c->in) : SIZE_MAX;
}

/* Answers the first whole request in the buffer and returns its length, or 0 if there is none. */
static size_t answer_one(connection *c) {
    char *head_end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
    if (head_end == NULL) return 0;
    size_t head = (size_t)(head_end - c->in) + 4;
    size_t total = length_of_request(c, head_end, head);
    if (total > c->in_len) return 0;
    const char *body = c->in + head;
    size_t body_len = total - head;
    if (memmem(body, body_len, "\"stream\":true", 13) || memmem(body, body_len, "\"stream\": true", 14)) {
        c->streaming = 1;
        c->chunks_sent = 0;
        write_now_or_later(c, STREAM_HEAD, sizeof STREAM_HEAD - 1);
        if (!c->closed) enqueue(c);
    } else {
        write_now_or_later(c, plain_answer, plain_answer_len);
    }
    return total;
}

static void read_from(connection *c) {
    if (c->in_cap - c->in_len < 4096) {
        c->in_cap *= 2;
        c->in = checked(realloc(c->in, c->in_cap));
    }
    ssize_t n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0 || c->in_len > MOST_REQUEST_BYTES) {
        hang_up(c);
        return;
    }
    c->in_len += (size_t)n;
    if (c->streaming) return;
    size_t used = answer_one(c);
    if (used && !c->closed) {
        memmove(c->in, c->in + used, c->in_len - used);
        c->in_len -= used;
    }
}

static void accept_all(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0) return;
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connection *c = checked(calloc(1, sizeof *c));
        c->fd = fd;
        c->in_cap = 8192;
        c->in = checked(malloc(c->in_cap));
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
}

/* --- start --------------------------------------------------------------------------------- */

static void prepare_plain_answer(void) {
    char text[521], body[2048];
    for (int i = 0; i < 520; i++) text[i] = i % 6 == 5 ? ' ' : 'x';
    text[520] = 0;
    int n = sprintf(body,
                    "{\"id\":\"chatcmpl-ABCDEFGHIJKLMNOPQRSTUVWX\",\"object\":\"chat.completion\","
                    "\"created\":1700000000,\"model\":\"bench-model\","
                    "\"system_fingerprint\":\"fp_0123456789\",\"choices\":[{\"index\":0,"
                    "\"message\":{\"role\":\"assistant\",\"content\":\"%s\",\"refusal\":null},"
                    "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{"
                    "\"prompt_tokens\":57,\"completion_tokens\":100,\"total_tokens\":157,"
                    "\"prompt_tokens_details\":{\"cached_tokens\":16,\"audio_tokens\":0},"
                    "\"completion_tokens_details\":{\"reasoning_tokens\":0}}}",
                    text);
    plain_answer_len = (size_t)sprintf(plain_answer,
                                       "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                       "x-request-id: req_0123456789\r\nContent-Length: %d\r\n\r\n%s",
                                       n, body);
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (void *)&address, sizeof address) || listen(fd, LISTEN_BACKLOG)) {
        perror("upstream: cannot listen");
        exit(1);
    }
    return fd;
}

static int wait_ms(void) {
    if (queue_head == NULL) return -1;
    uint64_t now = now_ns();
    if (queue_head->due_ns <= now) return 0;
    return (int)((queue_head->due_ns - now + 999999) / 1000000);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: upstream PORT CHUNKS DELAY_MS\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    chunks_per_stream = atoi(argv[2]);
    delay_ns = (uint64_t)atoi(argv[3]) * 1000000u;
    prepare_plain_answer();
    int listener = listen_on(atoi(argv[1]));
    poller = epoll_create1(0);
    struct epoll_event listening = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &listening);

    struct epoll_event events[MOST_EVENTS];
    for (;;) {
        int n = epoll_wait(poller, events, MOST_EVENTS, wait_ms());
        for (int i = 0; i < n; i++) {
            connection *c = events[i].data.ptr;
            if (c == NULL) {
                accept_all(listener);
                continue;
            }
            if (events[i].events & EPOLLOUT) flush(c);
            if (!c->closed && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_from(c);
        }
        send_what_is_due();
        bury_the_dead();
    }
}
