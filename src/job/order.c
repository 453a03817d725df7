/* SPDX-License-Identifier: Apache-2.0 */
#include "job/order.h"

#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct waiting {
    struct map_node node;
    uint64_t chunk, offset;
    size_t len;
};

struct order {
    int fd;
    uint64_t next, end; /* end: of the file */
    struct map waiting;
};

static bool same_chunk(const struct map_node *node, const void *key)
{
    return container_of(node, struct waiting, node)->chunk == *(const uint64_t *)key;
}

int order_new(struct order **ret_order, const char *dir, uint64_t next, struct err *err)
{
    struct order *o = mem_zalloc(sizeof *o);
    if (!o)
        return err_set(err, TTG_ENOMEM, "out of memory");
    map_init(&o->waiting);
    o->next = next;
    o->fd = open(dir ? dir : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (o->fd < 0) { /* not every file system has unnamed files */
        char path[4096];
        snprintf(path, sizeof path, "%s/ttg-order-XXXXXX", dir ? dir : "/tmp");
        o->fd = mkostemp(path, O_CLOEXEC);
        if (o->fd >= 0)
            unlink(path);
    }
    if (o->fd < 0) {
        int rc = err_set_errno(err, errno, "cannot make a file in %s", dir ? dir : "/tmp");
        order_free(o);
        return rc;
    }
    *ret_order = o;
    return 0;
}

void order_free(struct order *o)
{
    if (!o)
        return;
    for (struct map_node *n = map_next(&o->waiting, NULL), *next; n; n = next) {
        next = map_next(&o->waiting, n);
        map_remove(&o->waiting, n);
        mem_free(container_of(n, struct waiting, node));
    }
    map_done(&o->waiting);
    if (o->fd >= 0)
        close(o->fd);
    mem_free(o);
}

static int keep(struct order *o, uint64_t chunk, struct str line, struct err *err)
{
    struct waiting *w = mem_alloc(sizeof *w);
    if (!w || map_add(&o->waiting, &w->node, hash_u64(chunk))) {
        mem_free(w);
        return err_set(err, TTG_ENOMEM, "out of memory");
    }
    w->chunk = chunk;
    w->offset = o->end;
    w->len = line.len;
    for (size_t done = 0; done < line.len;) {
        ssize_t n = pwrite(o->fd, line.ptr + done, line.len - done, (off_t)(o->end + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            map_remove(&o->waiting, &w->node);
            mem_free(w);
            return err_set_errno(err, n < 0 ? errno : ENOSPC, "cannot keep lines for their order");
        }
        done += (size_t)n;
    }
    o->end += line.len;
    return 0;
}

static int bring(struct order *o, struct waiting *w, struct buf *out, struct err *err)
{
    char *at;
    int rc = buf_reserve(out, w->len, &at);
    if (rc)
        return err_set(err, rc, "lines in order: %s", err_text(rc));
    for (size_t done = 0; done < w->len;) {
        ssize_t n = pread(o->fd, at + done, w->len - done, (off_t)(w->offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set_errno(err, n < 0 ? errno : EIO, "cannot read back lines");
        done += (size_t)n;
    }
    buf_grew(out, w->len);
    map_remove(&o->waiting, &w->node);
    mem_free(w);
    if (o->waiting.count == 0) { /* starts over instead of growing for ever */
        o->end = 0;
        if (ftruncate(o->fd, 0) != 0)
            return err_set_errno(err, errno, "cannot cut the file of waiting lines");
    }
    return 0;
}

int order_add(struct order *o, uint64_t chunk, struct str line, struct buf *out, struct err *err)
{
    if (chunk < o->next || map_find(&o->waiting, hash_u64(chunk), same_chunk, &chunk))
        return 0;
    if (chunk > o->next)
        return keep(o, chunk, line, err);
    int rc = buf_add_str(out, line);
    if (rc)
        return err_set(err, rc, "lines in order: %s", err_text(rc));
    o->next++;
    for (struct map_node *n;
         (n = map_find(&o->waiting, hash_u64(o->next), same_chunk, &o->next));) {
        rc = bring(o, container_of(n, struct waiting, node), out, err);
        if (rc)
            return rc;
        o->next++;
    }
    return 0;
}

static int by_chunk(const void *a, const void *b)
{
    const struct waiting *x = *(struct waiting *const *)a, *y = *(struct waiting *const *)b;
    return (x->chunk > y->chunk) - (x->chunk < y->chunk);
}

int order_end(struct order *o, struct buf *out, struct err *err)
{
    size_t count = o->waiting.count, n = 0;
    struct waiting **all = mem_array(count, sizeof(struct waiting *));
    if (!all)
        return err_set(err, TTG_ENOMEM, "out of memory");
    for (struct map_node *node = NULL; (node = map_next(&o->waiting, node));)
        all[n++] = container_of(node, struct waiting, node);
    qsort(all, count, sizeof(struct waiting *), by_chunk);
    int rc = 0;
    for (size_t i = 0; i < count && !rc; i++) {
        uint64_t chunk = all[i]->chunk;
        rc = bring(o, all[i], out, err);
        if (!rc)
            o->next = chunk + 1;
    }
    mem_free(all);
    return rc;
}

uint64_t order_next(const struct order *o)
{
    return o->next;
}
