/*
 * A closed-loop load client for OpenAI's chat completions: each connection sends its next request
 * when the last answer is complete.
 *
 *   load --port N --body FILE [--header "Name: value"]... [--connections N] [--requests N]
 *        [--seconds S] [--ramp-ms N] [--one-each]
 *
 * --requests    stop after so many requests (no limit if 0)
 * --ramp-ms     open the connections over this time instead of at once
 * --one-each    each connection sends one request only
 *
 * Ten digits behind "Request " in the body become the request's number, so that no two prompts are
 * the same.
 *
 * Prints one line of JSON. Events of a stream are recognised by the clock that the upstream writes
 * into them: "T" and 16 digits of monotonic nanoseconds. A stream that ends without [DONE], a plain
 * answer without the upstream's words, a status other than 200 and a connection that breaks are
 * errors.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
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

#define MOST_EVENTS 512
#define MOST_HEAD 16384
#define MOST_BODY (1 << 20)
#define NUMBER_MARK "Request 0000000000"
#define NUMBER_DIGITS 10
#define ANSWER_WORDS "xxxxx xxxxx"
#define CARRY 48        /* an event's clock may be cut by the end of a read */
#define MOST_ERRORS 2000
#define PATIENCE_S 60   /* after the end of the run, for answers that are still coming */

typedef enum { CONNECTING, WAITING, FINISHED } phase;

typedef struct {
    int fd;
    phase phase;
    int head_done, status, chunked, closes;
    size_t content_length, body_received, request_sent;
    uint64_t sent_ns, first_byte_ns;
    char head[MOST_HEAD];
    size_t head_len;
    char carry[CARRY];
    size_t carry_len;
    int saw_end, is_stream; /* the end: [DONE], or of a plain answer the words */
} connection;

typedef struct {
    float *values;
    size_t n, cap;
} samples;

static int poller, port, one_each;
static char *request, *number;
static size_t request_len;
static uint64_t most_requests, started, done, errors, chunks, end_ns;
static samples latencies_us, first_bytes_us, chunk_delays_us;
static char first_error[400];

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void add_sample(samples *s, double value) {
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 4096;
        s->values = realloc(s->values, s->cap * sizeof *s->values);
        if (s->values == NULL) exit(1);
    }
    s->values[s->n++] = (float)value;
}

static void note_error(const char *what) {
    errors++;
    if (first_error[0] == 0) snprintf(first_error, sizeof first_error, "%s", what);
}

/* --- connections and requests -------------------------------------------------------------- */

static void watch(connection *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    epoll_ctl(poller, operation, c->fd, &event);
}

static void open_connection(connection *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connect(c->fd, (void *)&address, sizeof address);
    c->phase = CONNECTING;
    watch(c, EPOLL_CTL_ADD, EPOLLOUT);
}

static void close_connection(connection *c) {
    epoll_ctl(poller, EPOLL_CTL_DEL, c->fd, NULL);
    close(c->fd);
    c->phase = FINISHED;
}

static int nothing_left(void) {
    return started >= most_requests || now_ns() >= end_ns || errors > MOST_ERRORS;
}

static void write_number(uint64_t value) {
    for (int i = NUMBER_DIGITS - 1; number && i >= 0; i--, value /= 10)
        number[i] = (char)('0' + value % 10);
}

/* A long request does not fit into the socket at once; the rest follows when there is room. */
static void send_more(connection *c) {
    size_t left = request_len - c->request_sent;
    ssize_t n = send(c->fd, request + c->request_sent, left, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        note_error("the connection broke while the request was sent");
        close_connection(c);
        return;
    }
    int had_waited = c->request_sent > 0;
    if (n > 0) c->request_sent += (size_t)n;
    int is_whole = c->request_sent == request_len;
    if (!is_whole || had_waited) watch(c, EPOLL_CTL_MOD, is_whole ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

static void send_request(connection *c) {
    if (nothing_left()) {
        close_connection(c);
        return;
    }
    write_number(started++);
    c->head_done = c->chunked = c->closes = c->saw_end = c->is_stream = 0;
    c->content_length = c->body_received = c->head_len = c->carry_len = c->request_sent = 0;
    c->first_byte_ns = 0;
    c->phase = WAITING;
    c->sent_ns = now_ns();
    send_more(c);
}

static void connected(connection *c) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) {
        note_error(strerror(error));
        close_connection(c);
        return;
    }
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    send_request(c);
}

static void finish(connection *c, const char *problem) {
    if (problem == NULL && c->status == 200 && !c->saw_end)
        problem = c->is_stream ? "the stream ended without [DONE]" : "the answer is not the upstream's";
    if (c->request_sent < request_len) c->closes = 1; /* answered before it was heard to the end */
    if (problem) {
        note_error(problem);
    } else if (c->status == 200) {
        done++;
        add_sample(&latencies_us, (double)(now_ns() - c->sent_ns) / 1e3);
        add_sample(&first_bytes_us, (double)(c->first_byte_ns - c->sent_ns) / 1e3);
    } else {
        errors++; /* the text was noted when the head came */
    }
    if (one_each) {
        close_connection(c);
    } else if (problem || c->closes) {
        close_connection(c);
        if (!nothing_left()) open_connection(c);
    } else {
        send_request(c);
    }
}

/* --- answers ------------------------------------------------------------------------------- */

static void find_chunks(const char *data, const char *end, uint64_t now, const char **read_to) {
    const char *at = data;
    for (;;) {
        const char *mark = memmem(at, (size_t)(end - at), "\"T0", 3);
        if (mark == NULL || end - mark < 18) return;
        uint64_t sent = 0;
        for (int i = 0; i < 16; i++) sent = sent * 10 + (uint64_t)(mark[2 + i] - '0');
        add_sample(&chunk_delays_us, ((double)now - (double)sent) / 1e3);
        chunks++;
        at = *read_to = mark + 18;
    }
}

static void take_body(connection *c, const char *data, size_t length, uint64_t now) {
    static char joined[65536 + CARRY];
    if (c->first_byte_ns == 0) c->first_byte_ns = now;
    c->body_received += length;
    memcpy(joined, c->carry, c->carry_len);
    memcpy(joined + c->carry_len, data, length);
    const char *end = joined + c->carry_len + length;
    const char *read_to = joined;
    find_chunks(joined, end, now, &read_to);
    const char *sign = c->is_stream ? "[DONE]" : ANSWER_WORDS;
    if (memmem(joined, (size_t)(end - joined), sign, strlen(sign))) c->saw_end = 1;
    size_t keep = (size_t)(end - read_to) < CARRY ? (size_t)(end - read_to) : CARRY;
    memcpy(c->carry, end - keep, keep);
    c->carry_len = keep;
}

static int body_is_complete(const connection *c) {
    if (c->chunked)
        return c->carry_len >= 5 && memcmp(c->carry + c->carry_len - 5, "0\r\n\r\n", 5) == 0;
    return c->content_length && c->body_received >= c->content_length;
}

static void take_head(connection *c, char *end) {
    *end = 0;
    c->head_done = 1;
    c->status = atoi(c->head + 9);
    char *field = strcasestr(c->head, "\r\ncontent-length:");
    if (field) c->content_length = strtoul(field + 17, NULL, 10);
    c->chunked = field == NULL && strcasestr(c->head, "\r\ntransfer-encoding: chunked") != NULL;
    c->closes = strcasestr(c->head, "\r\nconnection: close") != NULL;
    c->is_stream = strcasestr(c->head, "text/event-stream") != NULL;
}

/* Returns 0 when there is nothing more to read now, or the request is over. */
static int read_head(connection *c) {
    ssize_t n = recv(c->fd, c->head + c->head_len, sizeof c->head - c->head_len - 1, 0);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n <= 0) {
        finish(c, "the connection was closed before an answer");
        return 0;
    }
    c->head_len += (size_t)n;
    char *end = memmem(c->head, c->head_len, "\r\n\r\n", 4);
    if (end == NULL) return 1;
    take_head(c, end);
    size_t head = (size_t)(end - c->head) + 4;
    if (c->status != 200 && first_error[0] == 0)
        snprintf(first_error, sizeof first_error, "%d %.*s", c->status,
                 (int)(c->head_len - head), c->head + head);
    if (c->head_len > head) take_body(c, c->head + head, c->head_len - head, now_ns());
    return 1;
}

static int read_body(connection *c) {
    static char buffer[65536];
    ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n <= 0) {
        int to_the_end = n == 0 && !c->chunked && c->content_length == 0;
        c->closes = 1;
        finish(c, to_the_end ? NULL : "the connection broke in the middle of an answer");
        return 0;
    }
    take_body(c, buffer, (size_t)n, now_ns());
    return 1;
}

static void read_from(connection *c) {
    while (c->head_done ? read_body(c) : read_head(c)) {
        if (c->head_done && body_is_complete(c)) {
            finish(c, NULL);
            return;
        }
    }
}

/* --- start and report ---------------------------------------------------------------------- */

static char *contents_of(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    char *text = malloc(MOST_BODY);
    if (text == NULL) exit(1);
    *length = fread(text, 1, MOST_BODY, file);
    if (!feof(file)) {
        fprintf(stderr, "load: %s is longer than %d bytes\n", path, MOST_BODY);
        exit(1);
    }
    fclose(file);
    return text;
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double percentile(const samples *s, double share) {
    return s->n ? s->values[(size_t)(share * (double)(s->n - 1) + 0.5)] : 0;
}

static void print_text(const char *text) {
    for (; *text; text++)
        if (*text == '"' || *text == '\\') putchar('\'');
        else if (*text >= 32) putchar(*text);
}

static void report(double seconds) {
    samples *all[] = {&latencies_us, &first_bytes_us, &chunk_delays_us};
    for (int i = 0; i < 3; i++)
        if (all[i]->n) qsort(all[i]->values, all[i]->n, sizeof(float), by_value);
    printf("{\"seconds\":%.3f,\"done\":%lu,\"errors\":%lu,\"chunks\":%lu,", seconds,
           (unsigned long)done, (unsigned long)errors, (unsigned long)chunks);
    printf("\"latency_p50_us\":%.1f,\"latency_p99_us\":%.1f,\"first_byte_p50_us\":%.1f,",
           percentile(&latencies_us, .5), percentile(&latencies_us, .99),
           percentile(&first_bytes_us, .5));
    printf("\"chunk_delay_p50_us\":%.1f,\"chunk_delay_p99_us\":%.1f,\"first_error\":\"",
           percentile(&chunk_delays_us, .5), percentile(&chunk_delays_us, .99));
    print_text(first_error);
    printf("\"}\n");
}

static void add_header(char **head, size_t *length, const char *line) {
    *head = realloc(*head, *length + strlen(line) + 3);
    *length += (size_t)sprintf(*head + *length, "%s\r\n", line);
}

int main(int argc, char **argv) {
    static const struct option OPTIONS[] = {
        {"port", 1, 0, 'p'},     {"body", 1, 0, 'b'},    {"header", 1, 0, 'h'},
        {"connections", 1, 0, 'c'}, {"requests", 1, 0, 'n'}, {"seconds", 1, 0, 's'},
        {"ramp-ms", 1, 0, 'r'},  {"one-each", 0, 0, 'o'}, {0, 0, 0, 0}};
    const char *body_path = NULL;
    int count = 1, ramp_ms = 0;
    double seconds = 1;
    char *head = NULL;
    size_t head_len = 0, body_len;
    add_header(&head, &head_len, "POST /v1/chat/completions HTTP/1.1");
    add_header(&head, &head_len, "Host: 127.0.0.1\r\nContent-Type: application/json");
    for (int option; (option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        switch (option) {
            case 'p': port = atoi(optarg); break;
            case 'b': body_path = optarg; break;
            case 'h': add_header(&head, &head_len, optarg); break;
            case 'c': count = atoi(optarg); break;
            case 'n': most_requests = strtoull(optarg, NULL, 10); break;
            case 's': seconds = atof(optarg); break;
            case 'r': ramp_ms = atoi(optarg); break;
            case 'o': one_each = 1; break;
            default: return 2;
        }
    }
    if (port == 0 || body_path == NULL || count < 1) {
        fprintf(stderr, "load: --port and --body are needed, and at least one connection\n");
        return 2;
    }
    if (most_requests == 0) most_requests = UINT64_MAX;
    char *body = contents_of(body_path, &body_len);
    request = malloc(head_len + body_len + 64);
    request_len = (size_t)sprintf(request, "%.*sContent-Length: %zu\r\n\r\n", (int)head_len, head,
                                  body_len);
    memcpy(request + request_len, body, body_len);
    number = memmem(request + request_len, body_len, NUMBER_MARK, strlen(NUMBER_MARK));
    if (number) number += strlen(NUMBER_MARK) - NUMBER_DIGITS;
    request_len += body_len;

    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(0);
    connection *all = calloc((size_t)count, sizeof *all);
    if (all == NULL) return 1;
    uint64_t start = now_ns();
    end_ns = start + (uint64_t)(seconds * 1e9);
    uint64_t give_up_ns = end_ns + (uint64_t)PATIENCE_S * 1000000000u;
    int opened = 0;
    for (;;) {
        int wanted = ramp_ms ? (int)((now_ns() - start) / 1000000 * (uint64_t)count / (uint64_t)ramp_ms) + 1 : count;
        while (opened < wanted && opened < count) open_connection(&all[opened++]);
        struct epoll_event events[MOST_EVENTS];
        int n = epoll_wait(poller, events, MOST_EVENTS, opened < count ? 1 : 50);
        for (int i = 0; i < n; i++) {
            connection *c = events[i].data.ptr;
            if (c->phase == CONNECTING) {
                connected(c);
                continue;
            }
            if (c->phase == WAITING && events[i].events & EPOLLOUT) send_more(c);
            if (c->phase == WAITING && events[i].events & ~(uint32_t)EPOLLOUT) read_from(c);
        }
        int busy = opened < count;
        for (int i = 0; i < opened && !busy; i++) busy = all[i].phase != FINISHED;
        if (!busy) break;
        if (now_ns() > give_up_ns) {
            note_error("answers were still missing at the end");
            break;
        }
    }
    report((double)(now_ns() - start) / 1e9);
    return 0;
}
