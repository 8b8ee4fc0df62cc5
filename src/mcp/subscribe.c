/* SPDX-License-Identifier: MIT
 * mcp/subscribe.c: telling the client of what others do, at once.
 *
 * One watch on the root for all subscriptions of this client. Events are coalesced: a subscription is told once of any number of changes
 * of one URI that came while the client was not reading, and of one that changes all the time no more than 50 times a second; the last
 * change is never left out.
 *
 * A watch begins with the states that there are. They are no changes: before it is opened their versions are noted, and an event that
 * says no more than that is passed over. The client hears that it is subscribed only when the watch stands. */
#include <stdlib.h>
#include <string.h>

#include "mcp/mcp.h"

enum {
    QUIET_MS = 20,
    SUBSCRIPTION_COUNT_MAX = 64, /* far below MCP_CALL_COUNT_MAX: listen requests alone must not stop the reading */
    URI_COUNT_MAX = 1024,
};

/* One URI that somebody wants to hear of. */
struct topic {
    struct topic *next;
    char text[MCP_URI_SIZE_MAX]; /* as the client wrote it */
    struct mcp_uri uri;
    uint64_t told_ms;
    bool changed;
};

/* A listen request, or all that an older client subscribed to. */
struct subscription {
    struct subscription *next;
    struct mcp_call *call; /* NULL: an older client's */
    struct topic *topics;  /* the newest first */
    size_t count;
    bool list_wanted;
    struct topic list;
};

/* A state that was there when the watch began. */
struct known {
    char name[ROOST_NAME_SIZE_MAX + 1];
    uint64_t version;
    uint32_t alive;
};

struct mcp_subscriptions {
    struct mcp *mcp;
    struct subscription old; /* an older client's: always there, the last of the list */
    struct subscription *list;
    size_t count;
    roost_uv_watch watch;
    bool watching, preparing;
    roost_uv_req prepare;
    struct known *known;
    size_t known_count;
    struct mcp_call *waiting; /* for the watch */
    uv_timer_t timer;
};

/* ---- telling ---- */

static void put_id_meta(struct mcp_note *note, const struct mcp_call *call)
{
    if (!call) return;
    json_open(&note->writer, "_meta", '{');
    json_raw(&note->writer, "io.modelcontextprotocol/subscriptionId", call->id);
    json_close(&note->writer, '}');
}

static void send_updated(struct mcp *mcp, const struct subscription *subscription, struct topic *topic)
{
    struct mcp_note note;
    bool list = topic == &subscription->list;
    topic->changed = false;
    topic->told_ms = uv_now(&mcp->loop);
    if (!mcp_note_begin(&note, list ? "notifications/resources/list_changed" : "notifications/resources/updated")) return;
    if (!list) json_text(&note.writer, "uri", topic->text);
    put_id_meta(&note, subscription->call);
    mcp_note_end(mcp, &note);
}

static void on_timer(uv_timer_t *timer);

static void flush_topic(struct mcp_subscriptions *all, struct subscription *subscription, struct topic *topic, uint64_t *next_ms)
{
    if (!topic->changed) return;
    uint64_t now = uv_now(&all->mcp->loop), due = topic->told_ms ? topic->told_ms + QUIET_MS : now;
    if (due <= now)
        send_updated(all->mcp, subscription, topic);
    else if (due - now < *next_ms)
        *next_ms = due - now;
}

void mcp_subscriptions_flush(struct mcp *mcp)
{
    struct mcp_subscriptions *all = mcp->subscriptions;
    uint64_t next_ms = UINT64_MAX;
    if (!all || mcp->ending) return;
    uv_update_time(&mcp->loop);
    for (struct subscription *subscription = all->list; subscription; subscription = subscription->next) {
        for (struct topic *topic = subscription->topics; topic && !mcp_stdio_full(mcp); topic = topic->next)
            flush_topic(all, subscription, topic, &next_ms);
        if (!mcp_stdio_full(mcp)) flush_topic(all, subscription, &subscription->list, &next_ms);
    }
    if (next_ms != UINT64_MAX) uv_timer_start(&all->timer, on_timer, next_ms, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct mcp_subscriptions *all = timer->data;
    mcp_subscriptions_flush(all->mcp);
}

/* ---- what changed ---- */

static bool concerns(const struct topic *topic, const struct roost_event *event)
{
    if (event->kind == ROOST_CHANGE_SKIPPED) return true;
    switch (topic->uri.kind) {
    case MCP_URI_MEMORY:
        return event->kind == ROOST_CHANGE_FORGET && event->id == topic->uri.id;
    case MCP_URI_MEMORIES:
        return event->kind == ROOST_CHANGE_MEMORY || event->kind == ROOST_CHANGE_FORGET;
    case MCP_URI_STATES:
        return event->kind == ROOST_CHANGE_STATE && event->name.size;
    case MCP_URI_STATE:
        return event->kind == ROOST_CHANGE_STATE && event->name.size == topic->uri.name_size &&
               memcmp(event->name.data, topic->uri.name, event->name.size) == 0;
    case MCP_URI_NONE:
        break;
    }
    return false;
}

/* Does this event say only what was known when the watch began? Each state has one such event. */
static bool was_known(struct mcp_subscriptions *all, const struct roost_event *event)
{
    for (size_t i = 0; i < all->known_count && event->kind == ROOST_CHANGE_STATE; i++) {
        struct known *known = &all->known[i];
        if (strlen(known->name) != event->name.size || memcmp(known->name, event->name.data, event->name.size) != 0) continue;
        /* Its owner may have died since: that has no version of its own, so it is looked at. */
        struct roost_state state = ROOST_STATE_INIT;
        bool same = known->version == event->id && roost_state_get(all->mcp->bridge.root, event->name, &state) >= 0 &&
                    state.alive == known->alive;
        roost_unpin(all->mcp->bridge.root, &state.pin);
        *known = all->known[--all->known_count];
        return same;
    }
    return false;
}

static void on_event(roost_uv_watch *watch, int status, const struct roost_event *event)
{
    struct mcp_subscriptions *all = watch->data;
    if (status < 0) {
        cli_say("mcp: subscriptions ended: %s", roost_error_detail());
        return;
    }
    if (was_known(all, event)) return;
    bool list = event->kind == ROOST_CHANGE_MEMORY || event->kind == ROOST_CHANGE_FORGET || event->kind == ROOST_CHANGE_SKIPPED;
    for (struct subscription *subscription = all->list; subscription; subscription = subscription->next) {
        for (struct topic *topic = subscription->topics; topic; topic = topic->next) topic->changed |= concerns(topic, event);
        subscription->list.changed |= subscription->list_wanted && list;
    }
    mcp_subscriptions_flush(all->mcp);
}

/* ---- the watch ---- */

static int note_states(roost_root *root, roost_uv_req *req)
{
    struct mcp_subscriptions *all = req->data;
    struct roost_state state = ROOST_STATE_INIT;
    roost_iter *iter = NULL;
    int got = roost_state_scan(root, &iter);
    while (got >= 0 && ((got = roost_iter_state(iter, &state)) > 0 || (got == ROOST_ECORRUPT && state.name.size))) {
        if (got < 0 || !state.name.size) continue;
        struct known *grown = realloc(all->known, (all->known_count + 1) * sizeof *grown);
        if (!grown) break;
        all->known = grown;
        struct known *known = &grown[all->known_count++];
        memcpy(known->name, state.name.data, state.name.size);
        known->name[state.name.size] = '\0';
        known->version = state.version;
        known->alive = state.alive;
    }
    roost_iter_close(iter);
    return 0;
}

static void subscribed(struct mcp_subscriptions *all, struct mcp_call *call);

static void refuse(struct mcp_call *call, const char *format, const char *why)
{
    char text[400];
    snprintf(text, sizeof text, format, why);
    mcp_fail(call, MCP_INTERNAL_ERROR, "%s", text);
    (void)mcp_listen_end(call);
    mcp_finish(call);
}

static void on_noted(roost_uv_req *req, int status)
{
    static const struct roost_topic topics[] = {{ROOST_TOPIC_COMMITS, 0, {NULL, 0}}, {ROOST_TOPIC_STATES, 0, {NULL, 0}}};
    struct mcp_subscriptions *all = req->data;
    struct mcp *mcp = all->mcp;
    all->preparing = false;
    all->watch.data = all;
    if (status >= 0 && !mcp->ending) status = roost_uv_watch_start(&mcp->bridge, &all->watch, topics, 2, on_event);
    all->watching = status >= 0 && !mcp->ending;
    if (all->watching) roost_uv_watch_unref(&all->watch);
    while (all->waiting) {
        struct mcp_call *call = all->waiting;
        all->waiting = call->behind;
        if (all->watching)
            subscribed(all, call);
        else
            refuse(call, "no subscription could be made: %s", mcp->ending ? "the server is ending" : roost_error_detail());
    }
}

int mcp_subscriptions_start(struct mcp *mcp)
{
    struct mcp_subscriptions *all = calloc(1, sizeof *all);
    if (!all) return UV_ENOMEM;
    mcp->subscriptions = all;
    all->mcp = mcp;
    all->list = &all->old;
    uv_timer_init(&mcp->loop, &all->timer);
    all->timer.data = all;
    return 0;
}

static void begin_watch(struct mcp_subscriptions *all, struct mcp_call *call)
{
    call->behind = all->waiting;
    all->waiting = call;
    if (all->preparing) return;
    all->prepare.data = all;
    all->preparing = roost_uv_work(&all->mcp->bridge, &all->prepare, note_states, on_noted) >= 0;
    if (!all->preparing) on_noted(&all->prepare, ROOST_ECANCELED);
}

/* ---- requests ---- */

static bool same_text(const struct topic *topic, struct roost_bytes text)
{
    return strlen(topic->text) == text.size && memcmp(topic->text, text.data, text.size) == 0;
}

/* False: there can never be such a resource, or these are too many. */
static bool add_topic(struct subscription *subscription, struct roost_bytes text)
{
    struct mcp_uri uri;
    if (text.size >= MCP_URI_SIZE_MAX || mcp_uri_parse(text, &uri) == MCP_URI_NONE || subscription->count == URI_COUNT_MAX)
        return false;
    struct topic **last = &subscription->topics;
    for (; *last; last = &(*last)->next)
        if (same_text(*last, text)) return true;
    struct topic *topic = calloc(1, sizeof *topic);
    if (!topic) return false;
    snprintf(topic->text, sizeof topic->text, "%.*s", (int)text.size, (const char *)text.data);
    topic->uri = uri;
    *last = topic;
    subscription->count++;
    return true;
}

static void free_topics(struct subscription *subscription)
{
    for (struct topic *topic = subscription->topics, *next; topic; topic = next) {
        next = topic->next;
        free(topic);
    }
    subscription->topics = NULL;
}

static struct subscription *find(const struct mcp_subscriptions *all, const struct mcp_call *call)
{
    struct subscription *subscription = all ? all->list : NULL;
    while (subscription && subscription->call != call) subscription = subscription->next;
    return subscription;
}

static struct subscription *make(struct mcp_subscriptions *all, struct mcp_call *call)
{
    struct subscription *subscription = all->count < SUBSCRIPTION_COUNT_MAX ? calloc(1, sizeof *subscription) : NULL;
    if (!subscription) return NULL;
    subscription->call = call;
    subscription->next = all->list;
    all->list = subscription;
    all->count++;
    return subscription;
}

static void drop(struct mcp_subscriptions *all, struct subscription *subscription)
{
    for (struct subscription **at = &all->list; *at; at = &(*at)->next) {
        if (*at != subscription) continue;
        *at = subscription->next;
        all->count--;
        break;
    }
    free_topics(subscription);
    free(subscription);
}

/* The watch stands: the client may know. */
static void subscribed(struct mcp_subscriptions *all, struct mcp_call *call)
{
    struct subscription *subscription = find(all, call);
    struct mcp_note note;
    if (!call->modern) {
        mcp_finish(call);
        return;
    }
    if (!subscription || !mcp_note_begin(&note, "notifications/subscriptions/acknowledged")) return;
    json_open(&note.writer, "notifications", '{');
    if (subscription->list_wanted) json_bool(&note.writer, "resourcesListChanged", true);
    if (subscription->count) {
        json_open(&note.writer, "resourceSubscriptions", '[');
        for (const struct topic *topic = subscription->topics; topic; topic = topic->next)
            json_text(&note.writer, NULL, topic->text);
        json_close(&note.writer, ']');
    }
    json_close(&note.writer, '}');
    put_id_meta(&note, call);
    mcp_note_end(all->mcp, &note);
}

/* The root is open. */
static void watch_for(struct mcp_call *call)
{
    struct mcp_subscriptions *all = call->mcp->subscriptions;
    if (all->watching)
        subscribed(all, call);
    else
        begin_watch(all, call);
}

void mcp_listen(struct mcp_call *call)
{
    struct mcp_subscriptions *all = call->mcp->subscriptions;
    const struct rst_json_value *wanted = rst_json_member(call->params, "notifications");
    const struct rst_json_value *uris = rst_json_member(wanted, "resourceSubscriptions");
    const struct rst_json_value *list = rst_json_member(wanted, "resourcesListChanged");
    if (!wanted || wanted->kind != RST_JSON_OBJECT)
        mcp_fail(call, MCP_INVALID_PARAMS, "params.notifications must be there and be an object");
    if (list && list->kind != RST_JSON_TRUE && list->kind != RST_JSON_FALSE)
        mcp_fail(call, MCP_INVALID_PARAMS, "resourcesListChanged must be true or false");
    if (uris && uris->kind != RST_JSON_ARRAY)
        mcp_fail(call, MCP_INVALID_PARAMS, "resourceSubscriptions must be an array of URIs");
    for (const struct rst_json_value *uri = uris ? uris->first : NULL; uri && !call->error; uri = uri->next)
        if (uri->kind != RST_JSON_STRING) mcp_fail(call, MCP_INVALID_PARAMS, "resourceSubscriptions must be an array of URIs");
    struct subscription *subscription = call->error ? NULL : make(all, call);
    if (!subscription) {
        mcp_fail(call, MCP_INTERNAL_ERROR, "too many subscriptions, or out of memory");
        mcp_finish(call);
        return;
    }
    subscription->list_wanted = list && list->kind == RST_JSON_TRUE;
    /* One that there can never be is not honoured, and left out of the acknowledgement. */
    for (const struct rst_json_value *uri = uris ? uris->first : NULL; uri; uri = uri->next)
        (void)add_topic(subscription, uri->text);
    mcp_when_open(call, watch_for);
}

void mcp_subscribe(struct mcp_call *call)
{
    const struct rst_json_value *uri = mcp_param_text(call, "uri", true);
    if (uri && !add_topic(&call->mcp->subscriptions->old, uri->text))
        mcp_fail_uri(call, MCP_NO_SUCH_RESOURCE, uri->text, "there is no such resource");
    if (call->error)
        mcp_finish(call);
    else
        mcp_when_open(call, watch_for);
}

void mcp_unsubscribe(struct mcp_call *call)
{
    struct subscription *subscription = &call->mcp->subscriptions->old;
    const struct rst_json_value *uri = mcp_param_text(call, "uri", true);
    for (struct topic **at = &subscription->topics; uri && *at; at = &(*at)->next) {
        struct topic *topic = *at;
        if (!same_text(topic, uri->text)) continue;
        *at = topic->next;
        subscription->count--;
        free(topic);
        return;
    }
}

/* ---- the end ---- */

bool mcp_listen_end(struct mcp_call *call)
{
    struct mcp_subscriptions *all = call->mcp->subscriptions;
    struct subscription *subscription = call->modern ? find(all, call) : NULL;
    if (!subscription) return false;
    drop(all, subscription);
    for (struct mcp_call **at = &all->waiting; *at; at = &(*at)->behind) {
        if (*at != call) continue;
        *at = call->behind;
        break;
    }
    return true;
}

void mcp_listen_end_all(struct mcp *mcp)
{
    for (struct mcp_call *call = mcp->calls, *next; call; call = next) {
        next = call->next;
        if (call->waiting || !mcp_listen_end(call)) continue; /* in the queue for the root: ends when it is its turn */
        mcp_finish(call);
        next = mcp->calls;
    }
}

void mcp_subscriptions_close(struct mcp *mcp)
{
    struct mcp_subscriptions *all = mcp->subscriptions;
    if (!all) return;
    uv_timer_stop(&all->timer);
    if (all->watching) roost_uv_watch_close(&all->watch, NULL);
    all->watching = false;
}

void mcp_subscriptions_free(struct mcp *mcp)
{
    struct mcp_subscriptions *all = mcp->subscriptions;
    if (!all) return;
    while (all->list != &all->old) drop(all, all->list);
    free_topics(&all->old);
    free(all->known);
    free(all);
    mcp->subscriptions = NULL;
}
