/* SPDX-License-Identifier: MIT
 * dashboard.c: shows all agents of a root, live, in a browser.
 *
 *     dashboard ROOT [PORT]        until SIGTERM or Ctrl-C; PORT 0, the default: any that is free. Prints the address
 *
 * It opens the root as an observer: it takes no slot, writes nothing, and may come and go while agents work. A watch tells when a state
 * changed or its owner died; then all states are read, and what is new goes to every browser as a server-sent event.
 *
 *     GET /          the page: dashboard.html, which has to lie beside the program
 *     GET /events    text/event-stream: "event: root", data {"path"}; then "event: state" with one agent in each, all of them first:
 *                    data {"name", "status", "alive": "yes", "no" or "nobody", "count", "last_id", "version", "time_ms", "pid", "extra"}
 *
 * It listens on 127.0.0.1 only, and answers only who calls it by that name (a page of somebody else's cannot make a browser read it under
 * another one). Nothing that a client does makes it keep more than CLIENT_COUNT times (REQUEST_SIZE + BACKLOG_SIZE) bytes: who reads
 * too slowly is dropped, and gets everything anew when it comes back, as browsers do by themselves. */
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <roost/uv.h>

enum {
    CLIENT_COUNT = 32,
    AGENT_COUNT = 1024, /* states of agents that are long gone stay: no more than these are shown */
    REQUEST_SIZE = 8192,
    REQUEST_MS = 5000, /* a client that has not asked by then is dropped */
    BACKLOG_SIZE = 256 * 1024,
    BREATH_MS = 40,       /* between one reading of the states and the next */
    KEEPALIVE_MS = 15000, /* tells connections that are broken from those where nothing happens */
    PAGE_SIZE = 1024 * 1024
};

/* ---- text that grows ---- */

struct text {
    char *bytes;
    size_t size, room;
};

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "dashboard: %s: %s\n", what, detail);
    exit(1);
}
static void must(int err, const char *what)
{
    if (err < 0) die(what, roost_error_detail());
}
static void must_uv(int err, const char *what)
{
    if (err < 0) die(what, uv_strerror(err));
}

static void text_add(struct text *text, const char *bytes, size_t size)
{
    if (text->size + size > text->room) {
        text->room = 2 * (text->size + size);
        text->bytes = realloc(text->bytes, text->room);
        if (!text->bytes) die("text", "no memory");
    }
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
}

__attribute__((format(printf, 2, 3))) static void text_print(struct text *text, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (size < 0 || size >= (int)sizeof line) die("text", "a line is too long");
    text_add(text, line, (size_t)size);
}

/* As a JSON string. All texts in states are UTF-8 (Roost sees to that), so only JSON's own signs and control characters are escaped. */
static void text_json(struct text *text, struct roost_bytes string)
{
    const char *bytes = string.data;
    text_add(text, "\"", 1);
    for (size_t i = 0; i < string.size; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte == '"' || byte == '\\')
            text_print(text, "\\%c", byte);
        else if (byte < 0x20 || byte == 0x7f)
            text_print(text, "\\u%04x", byte);
        else
            text_add(text, bytes + i, 1);
    }
    text_add(text, "\"", 1);
}

/* ---- everything ---- */

/* What is sent to several clients: freed when the last has got it. */
struct message {
    int users;
    size_t size;
    char bytes[];
};

struct agent {
    uint64_t version;
    uint32_t alive;
    struct message *event; /* as it was sent last */
    size_t name_size;
    char name[ROOST_NAME_SIZE_MAX];
};

struct client {
    uv_tcp_t tcp; /* the first member: a pointer to it is one to the client */
    uv_timer_t timer;
    bool listens; /* to events */
    int shown;    /* how many agents it has been told of, in the table's order */
    int open_handles;
    size_t size; /* of what it has sent */
    char request[REQUEST_SIZE + 1];
    struct client *next;
};

static struct {
    uv_loop_t loop;
    uv_tcp_t server;
    uv_signal_t terminated, interrupted;
    int port;
    char *page;
    size_t page_size;
    struct client *clients;
    int client_count;
    uv_timer_t keepalive;
    bool closing;
    /* the root */
    struct message *root_event;
    roost_uv bridge;
    roost_uv_watch watch;
    roost_uv_req read_req;
    uv_timer_t breath;
    bool reading, changed;
    struct text found; /* by read_states, on libuv's pool: made into messages by the loop */
    /* The agents. While `reading`, the pool changes what it likes, but not `event`; the loop looks at the first shown_count's alone. */
    struct agent *agents;
    int agent_count, shown_count;
    int fresh[AGENT_COUNT]; /* those that changed */
    size_t fresh_end[AGENT_COUNT];
    int fresh_count;
} board;

/* ---- clients ---- */

static struct message *message_new(const char *bytes, size_t size)
{
    struct message *message = malloc(sizeof *message + size);
    if (!message) die("a message", "no memory");
    message->users = 1;
    message->size = size;
    memcpy(message->bytes, bytes, size);
    return message;
}
static void message_drop(struct message *message)
{
    if (message && --message->users == 0) free(message);
}

static void on_client_closed(uv_handle_t *handle)
{
    struct client *client = handle->data;
    if (--client->open_handles) return;
    for (struct client **at = &board.clients; *at; at = &(*at)->next) {
        if (*at != client) continue;
        *at = client->next;
        break;
    }
    board.client_count--;
    free(client);
}

static void client_drop(struct client *client)
{
    if (uv_is_closing((uv_handle_t *)&client->tcp)) return;
    uv_close((uv_handle_t *)&client->tcp, on_client_closed);
    uv_close((uv_handle_t *)&client->timer, on_client_closed);
}

struct sending {
    uv_write_t write;
    struct client *client;
    struct message *message;
    bool last;
};

static void on_shut(uv_shutdown_t *shutdown, int status)
{
    (void)status;
    free(shutdown); /* the client is dropped when it hangs up too, or by its timer */
}

static void client_go_on(struct client *client);

static void on_sent(uv_write_t *write, int status)
{
    struct sending *sending = (struct sending *)(void *)write; /* its first member */
    struct client *client = sending->client;
    if (status < 0) {
        client_drop(client);
    } else if (sending->last) {
        /* Our half of the connection ends here; closing all of it at once, with requests unread, would reset it, and what was just
         * answered could be lost. */
        uv_shutdown_t *shutdown = malloc(sizeof *shutdown);
        if (!shutdown || uv_shutdown(shutdown, (uv_stream_t *)&client->tcp, on_shut) < 0) {
            free(shutdown);
            client_drop(client);
        }
    }
    message_drop(sending->message);
    free(sending);
    client_go_on(client);
}

static void client_send(struct client *client, struct message *message, bool last)
{
    if (uv_is_closing((uv_handle_t *)&client->tcp)) return;
    struct sending *sending = malloc(sizeof *sending);
    /* The kernel's own buffer is full, and a good deal waits here already: this one does not keep up. */
    bool slow = uv_stream_get_write_queue_size((uv_stream_t *)&client->tcp) + message->size > BACKLOG_SIZE && !last;
    if (!sending || slow) {
        free(sending);
        client_drop(client);
        return;
    }
    *sending = (struct sending){.client = client, .message = message, .last = last};
    message->users++;
    uv_buf_t buffer = uv_buf_init(message->bytes, (unsigned)message->size);
    if (uv_write(&sending->write, (uv_stream_t *)&client->tcp, &buffer, 1, on_sent) == 0) return;
    message_drop(message);
    free(sending);
    client_drop(client);
}

/* All agents for one that came just now, or came back: as fast as it takes them, so that many agents are not too much for anybody. */
static void client_go_on(struct client *client)
{
    const uv_stream_t *stream = (uv_stream_t *)&client->tcp;
    while (client->listens && !uv_is_closing((uv_handle_t *)&client->tcp) && client->shown < board.shown_count &&
           uv_stream_get_write_queue_size(stream) < BACKLOG_SIZE / 4)
        client_send(client, board.agents[client->shown++].event, false);
}

/* One agent's news, for those that know it already; the others come to it. */
static void send_agent(int number)
{
    for (struct client *client = board.clients; client; client = client->next)
        if (client->listens && number < client->shown) client_send(client, board.agents[number].event, false);
}

static void on_keepalive(uv_timer_t *timer)
{
    (void)timer;
    struct message *comment = message_new(":\n\n", 3);
    for (struct client *client = board.clients; client; client = client->next)
        if (client->listens) client_send(client, comment, false);
    message_drop(comment);
}

/* ---- the states ---- */

static void add_state(struct text *text, const struct roost_state *state)
{
    static const char *const alive[] = {"no", "yes", "nobody"};
    text_print(text, "event: state\ndata: {\"name\":");
    text_json(text, state->name);
    text_print(text, ",\"status\":");
    text_json(text, state->status);
    /* Numbers of 64 bits as strings: JavaScript's own numbers are exact to 2^53 only. */
    text_print(text, ",\"alive\":\"%s\",\"count\":\"%" PRIu64 "\",\"last_id\":\"%" PRIu64 "\",\"version\":\"%" PRIu64 "\"",
               alive[state->alive < 3 ? state->alive : 0], state->active_memory_count, state->last_updated_id, state->version);
    text_print(text, ",\"time_ms\":%" PRId64 ",\"pid\":%" PRId32 ",\"extra\":[", state->time_ns / 1000000, state->owner_pid);
    for (size_t i = 0; i < state->extra_count; i++) {
        text_add(text, i ? ",[" : "[", i ? 2 : 1);
        text_json(text, state->extra[i].name);
        text_add(text, ",", 1);
        text_json(text, state->extra[i].value);
        text_add(text, "]", 1);
    }
    text_print(text, "]}\n\n");
}

static struct agent *agent_of(struct roost_bytes name)
{
    for (int i = 0; i < board.agent_count; i++)
        if (board.agents[i].name_size == name.size && !memcmp(board.agents[i].name, name.data, name.size))
            return &board.agents[i];
    if (board.agent_count == AGENT_COUNT || name.size > ROOST_NAME_SIZE_MAX) return NULL;
    struct agent *agent = &board.agents[board.agent_count++];
    *agent = (struct agent){.name_size = name.size};
    memcpy(agent->name, name.data, name.size);
    return agent;
}

/* On libuv's pool, where it may take its time. */
static int read_states(roost_root *root, roost_uv_req *req)
{
    struct roost_state state = ROOST_STATE_INIT;
    roost_iter *states;
    int more;
    (void)req;
    board.found.size = 0;
    board.fresh_count = 0;
    int err = roost_state_scan(root, &states);
    if (err < 0) return err;
    while ((more = roost_iter_state(states, &state)) != 0) {
        if (more == ROOST_ECORRUPT && state.name.size) continue; /* one that is damaged is no reason not to show the others */
        if (more < 0) break;
        struct agent *agent = agent_of(state.name);
        if (!agent || (agent->version == state.version && agent->alive == state.alive && agent->event)) continue;
        agent->version = state.version;
        agent->alive = state.alive;
        add_state(&board.found, &state);
        board.fresh[board.fresh_count] = (int)(agent - board.agents);
        board.fresh_end[board.fresh_count++] = board.found.size;
    }
    roost_iter_close(states);
    return more < 0 ? more : 0;
}

static void look(void);

static void on_breath(uv_timer_t *timer)
{
    (void)timer;
    if (board.changed) look();
}

static void on_read(roost_uv_req *req, int status)
{
    board.reading = false;
    if (board.closing) return;
    if (status < 0) die("reading states", req->detail);
    for (int i = 0; i < board.fresh_count; i++) {
        struct agent *agent = &board.agents[board.fresh[i]];
        size_t begin = i ? board.fresh_end[i - 1] : 0;
        message_drop(agent->event);
        agent->event = message_new(board.found.bytes + begin, board.fresh_end[i] - begin);
        send_agent(board.fresh[i]);
    }
    board.shown_count = board.agent_count;
    for (struct client *client = board.clients; client; client = client->next) client_go_on(client);
    uv_timer_start(&board.breath, on_breath, BREATH_MS, 0);
}

/* However often agents publish, the states are read only so often. The first change after a pause is shown at once. */
static void look(void)
{
    board.changed = true;
    if (board.reading || uv_is_active((uv_handle_t *)&board.breath)) return;
    board.reading = true;
    board.changed = false;
    must(roost_uv_work(&board.bridge, &board.read_req, read_states, on_read), "reading states");
}

static void on_event(roost_uv_watch *watch, int status, const struct roost_event *event)
{
    (void)watch;
    (void)event;
    if (status < 0) die("watching", roost_error_detail());
    if (!board.closing) look();
}

/* ---- HTTP: as much of it as this needs ---- */

static void answer(struct client *client, const char *status, const char *headers, const char *body, size_t size)
{
    struct text text = {NULL, 0, 0};
    text_print(&text, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\nX-Content-Type-Options: nosniff\r\n%s\r\n",
               status, size, headers);
    text_add(&text, body, size);
    struct message *message = message_new(text.bytes, text.size);
    client_send(client, message, true);
    message_drop(message);
    free(text.bytes);
}

static void refuse(struct client *client, const char *status, const char *headers)
{
    char lines[128];
    snprintf(lines, sizeof lines, "Content-Type: text/plain\r\n%s", headers);
    answer(client, status, lines, status, strlen(status));
}

static void begin_events(struct client *client)
{
    static const char head[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n"
        "X-Content-Type-Options: nosniff\r\n\r\nretry: 500\n\n";
    struct message *message = message_new(head, sizeof head - 1);
    uv_timer_stop(&client->timer);
    int size = 64 * 1024; /* of the kernel's buffer, which would else keep megabytes for a client that does not read */
    (void)uv_send_buffer_size((uv_handle_t *)&client->tcp, &size);
    client->listens = true;
    client_send(client, message, false);
    message_drop(message);
    client_send(client, board.root_event, false);
    client_go_on(client);
}

/* The Host line names us: else somebody's page has a name of its own point to 127.0.0.1. */
static bool names_us(const char *request)
{
    char numeric[32], named[32];
    size_t size;
    snprintf(numeric, sizeof numeric, "127.0.0.1:%d", board.port);
    snprintf(named, sizeof named, "localhost:%d", board.port);
    const char *host = NULL;
    for (const char *line = strstr(request, "\r\n"); line && !host; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, "host:", 5) == 0) host = line + 7;
    if (!host) return false;
    host += strspn(host, " \t");
    size = strcspn(host, " \t\r");
    return (size == strlen(numeric) && !strncmp(host, numeric, size)) ||
           (size == strlen(named) && !strncasecmp(host, named, size));
}

/* The request's head is there: "GET /path HTTP/1.1", lines, an empty line. A body is not looked at. */
static void on_request(struct client *client)
{
    static const char page_headers[] =
        "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\nContent-Security-Policy: "
        "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'\r\n";
    char method[16], path[256], version;
    int end = 0;
    sscanf(client->request, "%15[A-Z]%*1[ ]%255[!-~]%*1[ ]HTTP/1.%c%n", method, path, &version, &end);
    if (!end || (version != '0' && version != '1') || strncmp(client->request + end, "\r\n", 2) != 0 || path[0] != '/')
        refuse(client, "400 Bad Request", "");
    else if (!names_us(client->request))
        refuse(client, "421 Misdirected Request", "");
    else if (strcmp(method, "GET") != 0)
        refuse(client, "405 Method Not Allowed", "Allow: GET\r\n");
    else if (strcmp(path, "/") == 0)
        answer(client, "200 OK", page_headers, board.page, board.page_size);
    else if (strcmp(path, "/events") == 0)
        begin_events(client);
    else
        refuse(client, "404 Not Found", "");
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    static char ignored[4096]; /* what comes after the request */
    struct client *client = handle->data;
    (void)suggested;
    if (client->size < REQUEST_SIZE)
        *buffer = uv_buf_init(client->request + client->size, (unsigned)(REQUEST_SIZE - client->size));
    else
        *buffer = uv_buf_init(ignored, sizeof ignored);
}

static void on_bytes(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct client *client = stream->data;
    (void)buffer;
    if (count < 0) client_drop(client);
    if (count <= 0 || client->size == REQUEST_SIZE) return;
    client->size += (size_t)count;
    client->request[client->size] = '\0';
    bool nul = memchr(client->request, '\0', client->size) != NULL;
    bool whole = strstr(client->request, "\r\n\r\n") != NULL;
    if (!nul && !whole && client->size < REQUEST_SIZE) return;
    client->size = REQUEST_SIZE; /* one request is answered, what follows is not looked at */
    if (nul)
        refuse(client, "400 Bad Request", "");
    else if (!whole)
        refuse(client, "431 Request Header Fields Too Large", "");
    else
        on_request(client);
}

static void on_client_timer(uv_timer_t *timer) { client_drop(timer->data); }

static void on_connection(uv_stream_t *server, int status)
{
    if (status < 0) return;
    struct client *client = malloc(sizeof *client);
    if (!client) return;
    *client = (struct client){.open_handles = 2, .next = board.clients};
    uv_tcp_init(&board.loop, &client->tcp);
    uv_timer_init(&board.loop, &client->timer);
    client->tcp.data = client->timer.data = client;
    board.clients = client;
    board.client_count++;
    uv_timer_start(&client->timer, on_client_timer, REQUEST_MS, 0);
    if (uv_accept(server, (uv_stream_t *)&client->tcp) < 0)
        client_drop(client);
    else if (board.client_count > CLIENT_COUNT)
        client_drop(client); /* no more than these */
    else if (uv_read_start((uv_stream_t *)&client->tcp, on_room, on_bytes) < 0)
        client_drop(client);
}

/* ---- life ---- */

static void load_page(void)
{
    char path[4096];
    size_t size = sizeof path - sizeof "dashboard.html";
    must_uv(uv_exepath(path, &size), "where the program is");
    path[size] = '\0';
    strcpy(strrchr(path, '/') + 1, "dashboard.html");
    FILE *file = fopen(path, "rb");
    if (!file) die(path, "cannot be opened: it has to lie beside the program");
    board.page = malloc(PAGE_SIZE);
    board.page_size = board.page ? fread(board.page, 1, PAGE_SIZE, file) : 0;
    fclose(file);
    if (!board.page_size || board.page_size == PAGE_SIZE) die(path, "is empty or too large");
}

static void serve(int port)
{
    struct sockaddr_in address;
    int size = sizeof address;
    must_uv(uv_ip4_addr("127.0.0.1", port, &address), "the address");
    must_uv(uv_tcp_init(&board.loop, &board.server), "a socket");
    must_uv(uv_tcp_bind(&board.server, (const struct sockaddr *)&address, 0), "the port");
    must_uv(uv_listen((uv_stream_t *)&board.server, CLIENT_COUNT, on_connection), "listening");
    must_uv(uv_tcp_getsockname(&board.server, (struct sockaddr *)&address, &size), "the port");
    board.port = ntohs(address.sin_port);
    printf("http://127.0.0.1:%d/\n", board.port); /* tidy-allow: its own address */
    fflush(stdout);
}

static void observe(const char *path)
{
    struct roost_options options = ROOST_OPTIONS_INIT;
    const struct roost_topic topic = {ROOST_TOPIC_STATES, 0, {NULL, 0}};
    struct text event = {NULL, 0, 0};
    roost_root *root;
    options.flags = ROOST_OPEN_OBSERVE;
    must(roost_open(path, &options, &root), "opening the root");
    must(roost_uv_init(&board.loop, &board.bridge, root), "joining the loop");
    must(roost_close(root), "closing the root"); /* the bridge owns it too: it is closed with that */
    must(roost_uv_watch_start(&board.bridge, &board.watch, &topic, 1, on_event), "watching");
    char *full = realpath(path, NULL);
    text_print(&event, "event: root\ndata: {\"path\":");
    text_json(&event, roost_text(full ? full : path));
    text_print(&event, "}\n\n");
    board.root_event = message_new(event.bytes, event.size);
    free(event.bytes);
    free(full);
    board.agents = calloc(AGENT_COUNT, sizeof *board.agents);
    if (!board.agents) die("agents", "no memory");
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)handle;
    (void)number;
    if (board.closing) return;
    board.closing = true;
    roost_uv_close(&board.bridge, NULL);
    for (struct client *client = board.clients; client; client = client->next) client_drop(client);
    uv_close((uv_handle_t *)&board.server, NULL);
    uv_close((uv_handle_t *)&board.breath, NULL);
    uv_close((uv_handle_t *)&board.keepalive, NULL);
    uv_close((uv_handle_t *)&board.terminated, NULL);
    uv_close((uv_handle_t *)&board.interrupted, NULL);
}

int main(int argc, char **argv)
{
    int port = argc > 2 ? atoi(argv[2]) : 0;
    if (argc < 2 || argc > 3 || port < 0 || port > 65535) return fprintf(stderr, "usage: dashboard ROOT [PORT]\n"), 2;
    load_page();
    must_uv(uv_loop_init(&board.loop), "a loop");
    must_uv(uv_timer_init(&board.loop, &board.breath), "a timer");
    must_uv(uv_timer_init(&board.loop, &board.keepalive), "a timer");
    must_uv(uv_signal_init(&board.loop, &board.terminated), "signals");
    must_uv(uv_signal_init(&board.loop, &board.interrupted), "signals");
    must_uv(uv_signal_start(&board.terminated, on_signal, SIGTERM), "signals");
    must_uv(uv_signal_start(&board.interrupted, on_signal, SIGINT), "signals");
    signal(SIGPIPE, SIG_IGN); /* a client that went away is an error of its write, not of the program */
    observe(argv[1]);
    serve(port);
    uv_timer_start(&board.keepalive, on_keepalive, KEEPALIVE_MS, KEEPALIVE_MS);
    uv_run(&board.loop, UV_RUN_DEFAULT);
    must_uv(uv_loop_close(&board.loop), "the loop");
    for (int i = 0; i < board.agent_count; i++) message_drop(board.agents[i].event);
    message_drop(board.root_event);
    free(board.agents);
    free(board.found.bytes);
    free(board.page);
    return 0;
}
