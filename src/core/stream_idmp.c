/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream_idmp.h"

#include "base/ensure.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

struct idmp_message {
    struct tree_node node; /* in producer->messages, by iid */
    struct list link;      /* in producer->order, the oldest first */
    struct stream_id entry;
    uint64_t added_ms;
    struct str iid; /* behind this struct */
};

struct idmp_producer {
    struct tree_node node;
    struct list link; /* in by_use */
    struct tree messages;
    struct list order;
    struct str pid; /* behind this struct */
};

static struct idmp_producer *of_producers(const struct tree_node *n)
{
    return n ? container_of(n, struct idmp_producer, node) : NULL;
}

static struct idmp_message *of_messages(const struct tree_node *n)
{
    return n ? container_of(n, struct idmp_message, node) : NULL;
}

static int cmp_pid(const struct tree_node *n, const void *key)
{
    return str_cmp(of_producers(n)->pid, *(const struct str *)key);
}

static int cmp_iid(const struct tree_node *n, const void *key)
{
    return str_cmp(of_messages(n)->iid, *(const struct str *)key);
}

static struct idmp_producer *producer_find(const struct stream_idmp *m, struct str pid)
{
    return of_producers(tree_find(&m->producers, &pid, cmp_pid));
}

static struct idmp_message *message_find(const struct idmp_producer *p, struct str iid)
{
    return p ? of_messages(tree_find(&p->messages, &iid, cmp_iid)) : NULL;
}

/* `bytes` for the struct, and the text behind it. */
static void *new_with_text(size_t bytes, struct str text, struct str *ret_copy)
{
    char *at = mem_zalloc(bytes + text.len);
    if (!at)
        return NULL;
    if (text.len > 0)
        memcpy(at + bytes, text.ptr, text.len);
    *ret_copy = str_make(at + bytes, text.len);
    return at;
}

static struct idmp_producer *producer_new(struct str pid)
{
    struct str copy;
    struct idmp_producer *p = new_with_text(sizeof *p, pid, &copy);
    if (!p)
        return NULL;
    p->pid = copy;
    list_init(&p->order);
    return p;
}

static struct idmp_message *message_new(struct str iid)
{
    struct str copy;
    struct idmp_message *message = new_with_text(sizeof *message, iid, &copy);
    if (message)
        message->iid = copy;
    return message;
}

static void message_remove(struct stream_idmp *m, struct idmp_producer *p,
                           struct idmp_message *message)
{
    tree_remove(&p->messages, &message->node);
    list_remove(&message->link);
    mem_free(message);
    m->ids--;
}

static struct idmp_message *oldest(const struct idmp_producer *p)
{
    return list_empty(&p->order) ? NULL : container_of(p->order.next, struct idmp_message, link);
}

static void producer_remove(struct stream_idmp *m, struct idmp_producer *p)
{
    for (struct idmp_message *first; (first = oldest(p));)
        message_remove(m, p, first);
    tree_remove(&m->producers, &p->node);
    list_remove(&p->link);
    mem_free(p);
}

struct stream_idmp *idmp_new(void)
{
    struct stream_idmp *m = mem_zalloc(sizeof *m);
    if (!m)
        return NULL;
    m->duration_s = IDMP_DURATION_S;
    m->ids_max = IDMP_IDS;
    list_init(&m->by_use);
    return m;
}

void idmp_clear(struct stream_idmp *m)
{
    while (m->producers.first)
        producer_remove(m, of_producers(m->producers.first));
}

void idmp_free(struct stream_idmp *m)
{
    if (!m)
        return;
    idmp_clear(m);
    mem_free(m);
}

static bool is_over(const struct stream_idmp *m, const struct idmp_message *message,
                    uint64_t now_ms)
{
    return now_ms >= message->added_ms && now_ms - message->added_ms >= m->duration_s * 1000;
}

bool idmp_find(const struct stream_idmp *m, struct str pid, struct str iid, uint64_t now_ms,
               struct stream_id *ret_entry)
{
    const struct idmp_message *message = m ? message_find(producer_find(m, pid), iid) : NULL;
    if (!message || is_over(m, message, now_ms))
        return false;
    *ret_entry = message->entry;
    return true;
}

int idmp_prepare(struct stream_idmp *m, struct str pid, struct str iid, struct idmp_note *ret_note)
{
    struct idmp_producer *known = producer_find(m, pid);
    struct idmp_note note = {
        .producer = known ? known : producer_new(pid),
        .message = message_new(iid),
        .fresh = !known,
    };
    if (!note.producer || !note.message) {
        idmp_cancel(&note);
        return TTG_ENOMEM;
    }
    *ret_note = note;
    return 0;
}

void idmp_cancel(struct idmp_note *note)
{
    if (note->fresh)
        mem_free(note->producer);
    mem_free(note->message);
}

/* What is over, of this producer and of those that have gone quiet. */
static void forget(struct stream_idmp *m, struct idmp_producer *p, uint64_t now_ms)
{
    for (struct idmp_message *first; (first = oldest(p)) && is_over(m, first, now_ms);)
        message_remove(m, p, first);
    while (!list_empty(&m->by_use)) {
        struct idmp_producer *quiet = container_of(m->by_use.next, struct idmp_producer, link);
        const struct idmp_message *newest =
            container_of(quiet->order.prev, struct idmp_message, link);
        if (quiet == p || !is_over(m, newest, now_ms))
            break;
        producer_remove(m, quiet);
    }
}

/* At the end of all orders. */
static void link_message(struct stream_idmp *m, struct idmp_producer *p,
                         struct idmp_message *message)
{
    struct tree_node *other = tree_add(&p->messages, &message->node, &message->iid, cmp_iid);
    ensure(!other || other == &message->node);
    list_push_back(&p->order, &message->link);
    m->ids++;
}

void idmp_commit(struct stream_idmp *m, struct idmp_note *note, struct stream_id entry,
                 uint64_t now_ms)
{
    struct idmp_producer *p = note->producer;
    struct idmp_message *message = note->message;
    message->entry = entry;
    message->added_ms = now_ms;
    if (note->fresh)
        tree_add(&m->producers, &p->node, &p->pid, cmp_pid);
    else
        list_remove(&p->link);
    list_push_back(&m->by_use, &p->link);
    forget(m, p, now_ms);
    struct idmp_message *same = message_find(p, message->iid);
    if (same)
        message_remove(m, p, same);
    link_message(m, p, message);
    while (p->messages.count > m->ids_max)
        message_remove(m, p, oldest(p));
    m->added++;
}

static void put_u64(char *out, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        out[i] = (char)(value >> 8 * i);
}

void idmp_auto(const struct str *fields, size_t pairs, char *out)
{
    uint64_t low = 0, high = 0;
    for (size_t i = 0; i < pairs; i++) {
        struct str name = fields[2 * i], value = fields[2 * i + 1];
        /* the length of the name parts the two */
        low += hash_xxh3_two(name.ptr, name.len, value.ptr, value.len, name.len);
        high += hash_xxh3_two(name.ptr, name.len, value.ptr, value.len, ~(uint64_t)name.len);
    }
    put_u64(out, low);
    put_u64(out + 8, high);
}

/* ---- snapshot ---- */

void idmp_save(const struct stream_idmp *m, struct core_saver *out)
{
    struct packer *p = &out->p;
    pack_u64(p, m->duration_s);
    pack_u64(p, m->ids_max);
    pack_u64(p, m->added);
    pack_u64(p, m->duplicates);
    pack_u64(p, m->producers.count);
    list_each(it, &m->by_use)
    {
        const struct idmp_producer *producer = container_of(it, struct idmp_producer, link);
        pack_str(p, producer->pid);
        pack_u64(p, producer->messages.count);
        list_each(jt, &producer->order)
        {
            const struct idmp_message *message = container_of(jt, struct idmp_message, link);
            pack_str(p, message->iid);
            pack_u64(p, message->entry.ms);
            pack_u64(p, message->entry.seq);
            pack_u64(p, message->added_ms);
            core_save_some(out);
        }
    }
}

static void load_message(struct stream_idmp *m, struct idmp_producer *p, struct unpacker *u)
{
    struct str iid = unpack_str(u);
    struct stream_id entry = {0};
    entry.ms = unpack_u64(u);
    entry.seq = unpack_u64(u);
    uint64_t added_ms = unpack_u64(u);
    if (!u->rc && message_find(p, iid))
        u->rc = TTG_ECORRUPT;
    struct idmp_message *message = u->rc ? NULL : message_new(iid);
    if (!message) {
        u->rc = u->rc ? u->rc : TTG_ENOMEM;
        return;
    }
    message->entry = entry;
    message->added_ms = added_ms;
    link_message(m, p, message);
}

static void load_producer(struct stream_idmp *m, struct unpacker *u)
{
    struct str pid = unpack_str(u);
    uint64_t count = unpack_count(u, 4);
    if (!u->rc && (producer_find(m, pid) || count == 0 || count > m->ids_max))
        u->rc = TTG_ECORRUPT;
    struct idmp_producer *p = u->rc ? NULL : producer_new(pid);
    if (!p) {
        u->rc = u->rc ? u->rc : TTG_ENOMEM;
        return;
    }
    tree_add(&m->producers, &p->node, &p->pid, cmp_pid);
    list_push_back(&m->by_use, &p->link);
    for (; count > 0 && !u->rc; count--)
        load_message(m, p, u);
}

struct stream_idmp *idmp_load(struct unpacker *u)
{
    struct stream_idmp *m = idmp_new();
    if (!m) {
        u->rc = TTG_ENOMEM;
        return NULL;
    }
    m->duration_s = unpack_u64(u);
    m->ids_max = unpack_u64(u);
    m->added = unpack_u64(u);
    m->duplicates = unpack_u64(u);
    if (m->duration_s < 1 || m->duration_s > IDMP_DURATION_S_MAX || m->ids_max < 1 ||
        m->ids_max > IDMP_IDS_MAX)
        u->rc = TTG_ECORRUPT;
    for (uint64_t left = unpack_count(u, 2); left > 0 && !u->rc; left--)
        load_producer(m, u);
    if (!u->rc)
        return m;
    idmp_free(m);
    return NULL;
}

static uint64_t mix(uint64_t h, uint64_t value)
{
    return hash_u64(h ^ hash_u64(value + 0x9e3779b97f4a7c15u));
}

uint64_t idmp_digest(const struct stream_idmp *m)
{
    uint64_t h = mix(mix(mix(mix(1, m->duration_s), m->ids_max), m->added), m->duplicates);
    list_each(it, &m->by_use)
    {
        const struct idmp_producer *p = container_of(it, struct idmp_producer, link);
        h = hash_xxh3(p->pid.ptr, p->pid.len, mix(h, p->messages.count));
        list_each(jt, &p->order)
        {
            const struct idmp_message *message = container_of(jt, struct idmp_message, link);
            h = hash_xxh3(message->iid.ptr, message->iid.len, h);
            h = mix(mix(mix(h, message->entry.ms), message->entry.seq), message->added_ms);
        }
    }
    return h;
}
