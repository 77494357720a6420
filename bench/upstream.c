/*
 * A stand-in for an inference provider over HTTP/1.1 keep-alive: OpenAI's chat completions, and
 * Anthropic's messages at every path that ends in /messages.
 *
 *   upstream PORT CHUNKS DELAY_MS
 *
 * A plain request gets a canned answer of about 1 KB at once. A request with "stream":true gets
 * server-sent events of about 250 bytes (Anthropic's: 130), one write each and DELAY_MS apart, then
 * the usage and the end. There are CHUNKS of them, or "max_tokens" if that is less. The text of each
 * event is "T" and the monotonic clock in nanoseconds, so that a client on the same machine can tell
 * how long the event was on its way.
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

#include "answers.h"

#define LISTEN_BACKLOG 4096
#define MOST_EVENTS 512
#define MOST_REQUEST_BYTES (1 << 20)
#define FIRST_BUFFER 8192
/* The fields beside the messages are at the begin or the end of a body, so that no long prompt has
 * to be searched for them. */
#define SEARCHED_BYTES 4096

typedef struct connection {
    int fd;
    int closed;              /* freed at the end of the round, or when its turn in the queue comes */
    int streaming;
    int queued;
    int chunks, chunks_sent;
    wire format;
    uint64_t due_ns;
    struct connection *next; /* in the queue, or among the dead */
    char *in;
    size_t in_len, in_cap;
    size_t needed;           /* bytes of the first request with its head, 0 while not known */
    char *out;               /* what the socket would not take yet */
    size_t out_len, out_cap, out_sent;
} connection;

static int poller, most_chunks;
static uint64_t delay_ns;
static connection *queue_head, *queue_tail, *dead;
static char plain[2][MOST_ANSWER_BYTES], head[2][MOST_ANSWER_BYTES];
static size_t plain_len[2], head_len[2];

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

static void send_events(connection *c, const char *events, size_t length) {
    char framed[MOST_ANSWER_BYTES + 32];
    write_now_or_later(c, framed, add_http_chunk(framed, events, length));
}

static void send_begin(connection *c) {
    char events[MOST_ANSWER_BYTES];
    write_now_or_later(c, head[c->format], head_len[c->format]);
    size_t length = stream_opening(c->format, events);
    if (length) send_events(c, events, length);
    if (!c->closed) enqueue(c);
}

static void send_content(connection *c) {
    char events[MOST_ANSWER_BYTES];
    send_events(c, events, stream_content(c->format, events, c->chunks_sent, c->chunks, now_ns()));
    c->chunks_sent++;
    if (!c->closed) enqueue(c);
}

static void send_end(connection *c) {
    char events[MOST_ANSWER_BYTES], framed[MOST_ANSWER_BYTES + 32];
    size_t length = add_http_chunk(framed, events, stream_ending(c->format, events, c->chunks));
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
        else if (c->chunks_sent < c->chunks) send_content(c);
        else send_end(c);
        if (c == last) break;
    }
}

/* --- requests ------------------------------------------------------------------------------ */

/* Finds `field` where the fields beside the messages are. */
static const char *find_field(const char *body, size_t length, const char *field) {
    size_t part = length < SEARCHED_BYTES ? length : SEARCHED_BYTES;
    const char *found = memmem(body, part, field, strlen(field));
    return found ? found : memmem(body + length - part, part, field, strlen(field));
}

/* The number behind `field`, which ends in a colon, or `otherwise`. A body is followed by a 0. */
static int number_in(const char *body, size_t length, const char *field, int otherwise) {
    const char *found = find_field(body, length, field);
    return found ? atoi(found + strlen(field)) : otherwise;
}

static int wants_stream(const char *body, size_t length) {
    const char *found = find_field(body, length, "\"stream\":");
    if (found == NULL) return 0;
    found += strlen("\"stream\":");
    return strncmp(found + (*found == ' '), "true", 4) == 0;
}

/* The bytes of the request with its head; 0 if it is chunked and its end has not come yet. */
static size_t length_of_request(connection *c, char *head_end, size_t head_bytes) {
    *head_end = 0;
    const char *field = strcasestr(c->in, "\r\ncontent-length:");
    size_t body = field ? strtoul(field + 17, NULL, 10) : 0;
    int chunked = field == NULL && strcasestr(c->in, "\r\ntransfer-encoding: chunked") != NULL;
    *head_end = '\r';
    if (!chunked) return head_bytes + body;
    /* Nobody sends a second request before the answer, so the end is where the bytes end. */
    int is_whole = c->in_len >= head_bytes + 5 && memcmp(c->in + c->in_len - 5, "0\r\n\r\n", 5) == 0;
    return is_whole ? c->in_len : 0;
}

static void answer(connection *c, const char *body, size_t length) {
    const char *line_end = memchr(c->in, '\r', c->in_len);
    c->format = memmem(c->in, (size_t)(line_end - c->in), "/messages ", 10) ? ANTHROPIC : OPENAI;
    if (!wants_stream(body, length)) {
        write_now_or_later(c, plain[c->format], plain_len[c->format]);
        return;
    }
    int tokens = number_in(body, length, "\"max_tokens\":", most_chunks);
    c->chunks = tokens > 0 && tokens < most_chunks ? tokens : most_chunks;
    c->chunks_sent = 0;
    c->streaming = 1;
    send_begin(c);
}

/* Answers the first request in the buffer if it is whole. */
static void answer_one(connection *c) {
    char *head_end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
    if (head_end == NULL) return;
    size_t head_bytes = (size_t)(head_end - c->in) + 4;
    c->needed = length_of_request(c, head_end, head_bytes);
    if (c->needed == 0 || c->needed > c->in_len) return;
    char behind = c->in[c->needed];
    c->in[c->needed] = 0;
    answer(c, c->in + head_bytes, c->needed - head_bytes);
    c->in[c->needed] = behind;
    c->in_len -= c->needed;
    memmove(c->in, c->in + c->needed, c->in_len);
    c->needed = 0;
}

/* For all of the request where its length is known, and always one byte more than is read. */
static void make_room(connection *c) {
    size_t wanted = c->needed > c->in_len ? c->needed + 1 : c->in_len + FIRST_BUFFER / 2;
    if (wanted <= c->in_cap) return;
    c->in_cap = wanted > c->in_cap * 2 ? wanted : c->in_cap * 2;
    c->in = checked(realloc(c->in, c->in_cap));
}

static void read_from(connection *c) {
    size_t room;
    ssize_t n;
    do {
        make_room(c);
        room = c->in_cap - c->in_len - 1;
        n = recv(c->fd, c->in + c->in_len, room, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0 || c->in_len + (size_t)n > MOST_REQUEST_BYTES) {
            hang_up(c);
            return;
        }
        c->in_len += (size_t)n;
        if (!c->streaming && c->in_len >= c->needed) answer_one(c);
    } while (!c->closed && (size_t)n == room);
}

static void accept_all(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0) return;
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connection *c = checked(calloc(1, sizeof *c));
        c->fd = fd;
        c->in_cap = FIRST_BUFFER;
        c->in = checked(malloc(c->in_cap));
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
}

/* --- start --------------------------------------------------------------------------------- */

static void prepare_answers(void) {
    for (wire format = OPENAI; format <= ANTHROPIC; format++) {
        plain_len[format] = plain_answer(format, plain[format]);
        head_len[format] = stream_head(format, head[format]);
    }
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
    most_chunks = atoi(argv[2]);
    delay_ns = (uint64_t)atoi(argv[3]) * 1000000u;
    prepare_answers();
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
