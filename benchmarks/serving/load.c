/* A load generator for HTTP/1.1 with keep-alive: one thread, epoll, N connections. Linux.
 *
 *   load --port 8080 --requests FILE --connections 64 --seconds 4              closed loop: asks again when answered
 *   load --port 8080 --requests FILE --connections 64 --seconds 4 --rate 5000  open loop: asks on a timetable
 *
 * FILE holds whole HTTP requests, each behind its length (uint32, little endian); they are sent in turn, so rows vary.
 * In the open loop a latency is counted from the moment the request should have been sent, also when no connection was
 * free then: a server that stalls is charged for everything it kept waiting. Only 2xx answers count as answered.
 * SIGINT and SIGTERM end the run early; the result is printed all the same, as one JSON object.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000ull
#define TICK (SECOND / 100)  /* how often dead, slow and overdue connections are looked at */
#define FINE 7               /* 2^7 buckets for each doubling of a latency: 0.4 % off at most */
#define SERIES 7200          /* seconds that are kept one by one */

typedef struct { const char *bytes; uint32_t length; } Request;
typedef enum { WORKS, SLOW, DIES } Kind;
typedef enum { CLOSED, CONNECTING, IDLE, SENDING, WAITING } State;
typedef struct {
    Kind kind;
    State state;
    int fd;
    const Request *request;
    size_t sent, received, capacity;
    char *in, version[32];
    uint64_t intended, next;  /* when the request should have been sent; when to reconnect, give up or send on */
    unsigned deaths, port;
} Connection;

static struct {
    const char *host, *requests, *ids, *changes, *contains;
    long port, connections, count, slow, die, seed, poisson, per_second;
    double seconds, rate, timeout;
} asked = {.host = "127.0.0.1", .connections = 1, .timeout = 30};

static struct {
    uint64_t sent, answered, in_time, statuses[600], containing;
    uint64_t refused, lost, late, malformed, reopened, slow_ended, died;
    uint64_t buckets[(65 - FINE) << FINE], worst, end;
    uint64_t answered_in[SERIES], worst_in[SERIES];
} seen;

static Request *requests;
static Connection *connections, **idle;
static size_t how_many_requests, turn;
static int how_many, how_many_idle, first_idle, busy, poll_fd, timer_fd;
static uint64_t begun, until, due, patience;  /* `due`: when the next request of the open loop should be sent */
static uint64_t last_wish;                    /* after which nothing more should have been sent */
static FILE *ids_file, *changes_file;
static volatile sig_atomic_t told_to_stop;

static void fail(const char *what) { perror(what); exit(2); }
static void stop(int number) { (void)number; told_to_stop = 1; }

static uint64_t now(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static double uniform(void) {  /* in (0, 1]: xorshift64* */
    static uint64_t state;
    if (!state) state = 0x9E3779B97F4A7C15ull ^ ((uint64_t)asked.seed * 0xD1B54A32D192ED03ull);
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return (double)((state * 0x2545F4914F6CDD1Dull >> 11) + 1) / 9007199254740992.0;
}

/* ---- latencies ---- */

static unsigned bucket(uint64_t ns) {
    if (ns < 1u << FINE) return (unsigned)ns;
    unsigned doublings = 63u - (unsigned)__builtin_clzll(ns) - FINE;
    return ((doublings + 1) << FINE) + (unsigned)((ns >> doublings) - (1u << FINE));
}

static double middle(unsigned index) {
    if (index < 1u << FINE) return index;
    unsigned within = (index & ((1u << FINE) - 1)) + (1u << FINE);
    return (within + 0.5) * (double)(1ull << ((index >> FINE) - 1));
}

static double percentile_ms(double share) {
    uint64_t wanted = (uint64_t)ceil(share * (double)seen.answered), found = 0;
    for (unsigned i = 0; i < sizeof seen.buckets / sizeof *seen.buckets; i++)
        if ((found += seen.buckets[i]) >= wanted && found) return fmin(middle(i), (double)seen.worst) / 1e6;
    return 0;
}

static void note_latency(uint64_t from, uint64_t at) {
    uint64_t took = at > from ? at - from : 0, second = (at - begun) / SECOND;
    seen.answered++, seen.in_time += at <= until, seen.buckets[bucket(took)]++;
    if (took > seen.worst) seen.worst = took;
    if (second >= SERIES) return;
    seen.answered_in[second]++;
    if (took > seen.worst_in[second]) seen.worst_in[second] = took;
}

/* ---- connections ---- */

static void watch(Connection *c, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(poll_fd, operation, c->fd, &event)) fail("epoll_ctl");
}

static void forget_idle(const Connection *c) {
    for (int i = 0; i < how_many_idle; i++)
        if (idle[(first_idle + i) % how_many] == c) {
            idle[(first_idle + i) % how_many] = idle[(first_idle + --how_many_idle) % how_many];
            return;
        }
}

static void shut(Connection *c, uint64_t again) {
    if (c->kind == WORKS && c->state == IDLE) forget_idle(c);
    if (c->kind == WORKS && c->state >= SENDING) busy--;
    if (c->fd >= 0) close(c->fd);
    c->fd = -1, c->state = CLOSED, c->received = 0, c->version[0] = 0, c->next = again;
}

static void lose(Connection *c, uint64_t at, uint64_t *counter) {
    (*counter)++;
    shut(c, at + TICK);
}

static void open_connection(Connection *c, uint64_t at) {
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)asked.port)};
    if (inet_pton(AF_INET, asked.host, &there.sin_addr) != 1) fail(asked.host);
    if ((c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0) fail("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(c->fd, (struct sockaddr *)&there, sizeof there) && errno != EINPROGRESS) {
        lose(c, at, &seen.refused);
        return;
    }
    c->state = CONNECTING, c->next = at + patience;
    watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
}

static void rest(Connection *c) {
    c->state = IDLE, c->received = c->sent = 0;
    if (c->kind == WORKS) idle[(first_idle + how_many_idle++) % how_many] = c;
    else c->request = &requests[turn++ % how_many_requests], c->next = 0;
}

static void connected(Connection *c, uint64_t at) {
    struct sockaddr_in mine;
    int error = 0;
    socklen_t error_length = sizeof error, mine_length = sizeof mine;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &error_length);
    if (error || getsockname(c->fd, (struct sockaddr *)&mine, &mine_length)) { lose(c, at, &seen.refused); return; }
    c->port = ntohs(mine.sin_port);
    watch(c, EPOLLIN, EPOLL_CTL_MOD);
    rest(c);
}

/* ---- requests ---- */

static void push(Connection *c, uint64_t at) {
    ssize_t sent = send(c->fd, c->request->bytes + c->sent, c->request->length - c->sent, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) { lose(c, at, &seen.lost); return; }
    State before = c->state;
    c->sent += sent > 0 ? (size_t)sent : 0;
    c->state = c->sent == c->request->length ? WAITING : SENDING;
    if (c->state != (before == SENDING ? SENDING : WAITING))  /* from now on, or no more, wait for room to send */
        watch(c, c->state == SENDING ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
}

static void ask(Connection *c, uint64_t intended, uint64_t at) {
    c->request = &requests[turn++ % how_many_requests];
    c->intended = intended, c->next = at + patience, c->state = WAITING;
    seen.sent++, busy++;
    push(c, at);
}

static int more_to_ask(uint64_t at) {
    return !told_to_stop && (asked.rate > 0 ? due : at) < until && (!asked.count || seen.sent < (uint64_t)asked.count);
}

static void ask_what_is_due(uint64_t at) {
    while (how_many_idle && more_to_ask(at) && (asked.rate <= 0 || due <= at)) {
        /* The one that was idle longest: if the last one were asked again, the others' workers would hardly be asked. */
        Connection *next = idle[first_idle];
        first_idle = (first_idle + 1) % how_many, how_many_idle--;
        ask(next, asked.rate > 0 ? due : at, at);
        if (asked.rate > 0) due += (uint64_t)((asked.poisson ? -log(uniform()) : 1.0) * 1e9 / asked.rate);
    }
}

/* ---- answers ---- */

static int text_field(const char *body, size_t length, const char *name, char *out, size_t room) {
    char key[64];
    size_t used = 0;
    const char *end = body + length, *at = memmem(body, length, key, (size_t)snprintf(key, sizeof key, "\"%s\"", name));
    if (!at) return 0;
    for (at += strlen(key); at < end && strchr(": \"", *at); at++) {}
    while (at < end && !strchr("\",} ", *at) && used + 1 < room) out[used++] = *at++;
    out[used] = 0;
    return used > 0;
}

static void note_answer(Connection *c, int status, const char *body, size_t length, uint64_t at) {
    char id[80], version[sizeof c->version];
    seen.statuses[status]++, seen.end = at;
    if (status > 299) return;
    note_latency(c->intended, at);
    if (asked.contains) seen.containing += memmem(body, length, asked.contains, strlen(asked.contains)) != NULL;
    if (ids_file && text_field(body, length, "request_id", id, sizeof id)) fprintf(ids_file, "%s\n", id);
    if (!changes_file || !text_field(body, length, "model_version", version, sizeof version)) return;
    if (!strcmp(version, c->version)) return;
    memcpy(c->version, version, sizeof version);
    fprintf(changes_file, "%.6f %u %s\n", (double)now(CLOCK_REALTIME) / 1e9, c->port, version);
}

static void take_answer(Connection *c, uint64_t at) {
    c->in[c->received] = 0;
    char *end = strstr(c->in, "\r\n\r\n");
    if (!end) return;
    end[2] = 0;  /* look for headers in the head only */
    const char *field = strcasestr(c->in, "\r\ncontent-length:");
    int status = strncmp(c->in, "HTTP/1.1 ", 9) ? 0 : atoi(c->in + 9);
    int closes = strcasestr(c->in, "\r\nconnection: close") != NULL;
    int chunked = strcasestr(c->in, "\r\ntransfer-encoding: chunked") != NULL;
    size_t head = (size_t)(end + 4 - c->in), length = field ? strtoul(field + 17, NULL, 10) : 0;
    end[2] = '\r';
    if (chunked) length = strcmp(c->in + c->received - 5, "0\r\n\r\n") ? c->received : c->received - head;
    if (status < 200 || status > 599 || (!field && !chunked)) { lose(c, at, &seen.malformed); return; }
    if (c->received < head + length) return;
    if (c->received > head + length) { lose(c, at, &seen.malformed); return; }
    note_answer(c, status, end + 4, length, at);
    busy--;
    rest(c);
    if (closes) { seen.reopened++; shut(c, at); }
}

static ssize_t take_bytes(Connection *c) {
    if (c->capacity - c->received < 4096) {
        c->capacity = c->capacity ? c->capacity * 2 : 16384;
        if (!(c->in = realloc(c->in, c->capacity))) fail("realloc");
    }
    ssize_t got = recv(c->fd, c->in + c->received, c->capacity - c->received - 1, 0);
    c->received += got > 0 ? (size_t)got : 0;
    return got;
}

static void readable(Connection *c, uint64_t at) {
    ssize_t got = take_bytes(c);
    if (got < 0 && errno == EAGAIN) return;
    if (c->kind != WORKS) {
        c->received = 0;
        seen.slow_ended += c->kind == SLOW && got <= 0;
        if (got <= 0) shut(c, at + SECOND);
    }
    else if (c->state == IDLE) { seen.reopened++; shut(c, at); }  /* the server closed it between two requests */
    else if (got <= 0) lose(c, at, &seen.lost);
    else take_answer(c, at);
}

/* ---- bad company: one byte a second; and hanging up with a request half or wholly sent ---- */

static void send_one_byte(Connection *c, uint64_t at) {
    if (c->sent + 1 >= c->request->length) c->sent = 0;
    if (send(c->fd, c->request->bytes + c->sent++, 1, MSG_NOSIGNAL) < 0 && errno != EAGAIN) shut(c, at + SECOND);
    else c->next = at + SECOND;
}

static void send_and_hang_up(Connection *c, uint64_t at) {
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    if (!c->sent) {
        c->sent = c->deaths % 2 ? c->request->length : c->request->length / 2;
        if (send(c->fd, c->request->bytes, c->sent, MSG_NOSIGNAL) < 0) shut(c, at + TICK);
        return;
    }
    if (c->deaths++ / 2 % 2) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    lose(c, at, &seen.died);
}

/* ---- the run ---- */

static void look_at(Connection *c, uint64_t at) {
    if (c->state == CLOSED && at >= c->next) open_connection(c, at);
    else if (c->state == CONNECTING && at >= c->next) lose(c, at, &seen.refused);
    else if (c->state == IDLE && c->kind == SLOW && at >= c->next) send_one_byte(c, at);
    else if (c->state == IDLE && c->kind == DIES) send_and_hang_up(c, at);
    else if (c->state >= SENDING && at >= c->next) lose(c, at, &seen.late);
}

static void serve_event(Connection *c, uint32_t events, uint64_t at) {
    if (c->state == CONNECTING) { connected(c, at); return; }
    if (c->state == SENDING && events & EPOLLOUT) push(c, at);
    if (c->state != CLOSED && events & ~(uint32_t)EPOLLOUT) readable(c, at);
}

static void wait_and_serve(uint64_t wake) {
    static uint64_t set_to;
    struct epoll_event events[256];
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(wake / SECOND), .tv_nsec = (long)(wake % SECOND)}};
    uint64_t at = now(CLOCK_MONOTONIC);
    if (wake > at && wake != set_to) timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL), set_to = wake;
    int ready = epoll_wait(poll_fd, events, 256, wake > at ? -1 : 0);
    at = now(CLOCK_MONOTONIC);
    for (int i = 0; i < ready; i++)
        if (events[i].data.ptr) serve_event(events[i].data.ptr, events[i].events, at);
}

static void run(void) {
    uint64_t at = begun, tick = begun;
    last_wish = until;
    while ((more_to_ask(at) || busy) && at < last_wish + patience) {
        if (at >= tick) {
            for (int i = 0; i < how_many; i++) look_at(&connections[i], at);
            tick = at + TICK;
        }
        ask_what_is_due(at);
        wait_and_serve(asked.rate > 0 && how_many_idle && more_to_ask(at) && due < tick ? due : tick);
        at = now(CLOCK_MONOTONIC);
        if (told_to_stop && at < last_wish) last_wish = at;
    }
}

static void read_requests(void) {
    FILE *file = fopen(asked.requests, "rb");
    struct stat about;
    if (!file || fstat(fileno(file), &about)) fail(asked.requests);
    char *at = malloc((size_t)about.st_size + 1), *end = at + about.st_size;
    if (fread(at, 1, (size_t)about.st_size, file) != (size_t)about.st_size) fail(asked.requests);
    fclose(file);
    for (; at < end; at += 4 + requests[how_many_requests++].length) {
        requests = realloc(requests, (how_many_requests + 1) * sizeof *requests);
        memcpy(&requests[how_many_requests].length, at, 4);
        requests[how_many_requests].bytes = at + 4;
    }
    if (!how_many_requests) { fprintf(stderr, "%s holds no request\n", asked.requests); exit(2); }
}

static void start(void) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    poll_fd = epoll_create1(EPOLL_CLOEXEC), timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (poll_fd < 0 || timer_fd < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer_fd, &event)) fail("epoll");
    how_many = (int)(asked.connections + asked.slow + asked.die);
    connections = calloc((size_t)how_many, sizeof *connections), idle = calloc((size_t)how_many, sizeof *idle);
    for (int i = 0; i < how_many; i++) {
        connections[i].fd = -1;
        connections[i].kind = i < asked.connections ? WORKS : i < asked.connections + asked.slow ? SLOW : DIES;
    }
    begun = due = seen.end = now(CLOCK_MONOTONIC);
    patience = (uint64_t)(asked.timeout * 1e9);
    until = asked.seconds > 0 ? begun + (uint64_t)(asked.seconds * 1e9) : UINT64_MAX / 2;
}

static void print_series(const char *name, const uint64_t *values, double scale) {
    printf(", \"%s\": [", name);
    for (uint64_t i = 0; i <= (seen.end - begun) / SECOND && i < SERIES; i++)
        printf("%s%g", i ? ", " : "", (double)values[i] / scale);
    printf("]");
}

static void print_result(void) {
    int counted_out = asked.count && seen.sent >= (uint64_t)asked.count;
    int whole_time = until < UINT64_MAX / 2 && !told_to_stop && !counted_out;
    double seconds = (double)((whole_time ? until : seen.end) - begun) / 1e9;
    double overdue = asked.rate > 0 && !counted_out && due < last_wish ? (double)(last_wish - due) / 1e9 : 0;
    printf("{\"requests\": %lu, \"answered\": %lu, \"errors\": %lu, ", seen.sent, seen.answered,
           seen.refused + seen.lost + seen.late + seen.malformed);
    printf("\"kinds\": {\"refused\": %lu, \"lost\": %lu, \"timeout\": %lu, \"malformed\": %lu}, \"statuses\": {",
           seen.refused, seen.lost, seen.late, seen.malformed);
    for (int i = 0, first = 1; i < 600; i++)
        if (seen.statuses[i]) printf("%s\"%d\": %lu", first ? "" : ", ", i, seen.statuses[i]), first = 0;
    printf("}, \"unsent\": %.0f, \"seconds\": %.4f, \"rate\": %.2f, ", floor(overdue * asked.rate), seconds,
           seconds > 0 ? (double)(whole_time ? seen.in_time : seen.answered) / seconds : 0.0);
    printf("\"p50\": %.4f, \"p95\": %.4f, \"p99\": %.4f, \"p99.9\": %.4f, \"max\": %.4f, ", percentile_ms(.5),
           percentile_ms(.95), percentile_ms(.99), percentile_ms(.999), (double)seen.worst / 1e6);
    printf("\"containing\": %lu, \"reopened\": %lu, \"slow_ended\": %lu, \"died\": %lu", seen.containing, seen.reopened,
           seen.slow_ended, seen.died);
    if (asked.per_second) print_series("answered_in", seen.answered_in, 1);
    if (asked.per_second) print_series("worst_ms_in", seen.worst_in, 1e6);
    printf("}\n");
}

static const struct { const char *name; char type; void *to; } options[] = {
    {"--host", 's', &asked.host}, {"--port", 'd', &asked.port}, {"--requests", 's', &asked.requests},
    {"--connections", 'd', &asked.connections}, {"--seconds", 'f', &asked.seconds}, {"--count", 'd', &asked.count},
    {"--rate", 'f', &asked.rate}, {"--poisson", '1', &asked.poisson}, {"--seed", 'd', &asked.seed},
    {"--timeout", 'f', &asked.timeout},      /* seconds a request may take */
    {"--ids", 's', &asked.ids},              /* file for the `request_id` of each answered request */
    {"--changes", 's', &asked.changes},      /* file: when, local port and `model_version` whenever it changes */
    {"--contains", 's', &asked.contains},    /* counts answers with this text in them */
    {"--per-second", '1', &asked.per_second},
    {"--slow", 'd', &asked.slow}, {"--die", 'd', &asked.die},  /* that many more connections of bad company */
};

static int read_option(char *name, char *value) {  /* how many words it took */
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (strcmp(name, options[i].name)) continue;
        if (options[i].type == '1') return *(long *)options[i].to = 1;
        if (!value) break;
        if (options[i].type == 's') *(const char **)options[i].to = value;
        if (options[i].type == 'd') *(long *)options[i].to = atol(value);
        if (options[i].type == 'f') *(double *)options[i].to = atof(value);
        return 2;
    }
    fprintf(stderr, "%s is no option, or lacks its value\n", name);
    exit(2);
}

int main(int count, char **words) {
    for (int i = 1; i < count; i += read_option(words[i], words[i + 1])) {}
    if (!asked.port || !asked.requests || (asked.seconds <= 0 && !asked.count)) {
        fprintf(stderr, "give --port, --requests, and --seconds or --count\n");
        return 2;
    }
    read_requests();
    if (asked.ids && !(ids_file = fopen(asked.ids, "w"))) fail(asked.ids);
    if (asked.changes && !(changes_file = fopen(asked.changes, "w"))) fail(asked.changes);
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGINT, &action, NULL), sigaction(SIGTERM, &action, NULL);
    start();
    run();
    print_result();
    if ((ids_file && fclose(ids_file)) || (changes_file && fclose(changes_file))) fail("closing files");
    return 0;
}
