/* SPDX-License-Identifier: Apache-2.0 */
/* list - doubly linked, circular, intrusive: the link lives in the element, nothing allocates. */
#ifndef TTG_BASE_LIST_H
#define TTG_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev, *next;
};

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* The loop variable may be removed in the body. */
#define list_each(it, head)                                                                        \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head);                      \
         it = it##_next, it##_next = it->next)

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_insert(struct list *before, struct list *element)
{
    element->prev = before->prev;
    element->next = before;
    before->prev->next = element;
    before->prev = element;
}

static inline void list_push_back(struct list *head, struct list *element)
{
    list_insert(head, element);
}

static inline void list_push_front(struct list *head, struct list *element)
{
    list_insert(head->next, element);
}

/* The element is then a list of its own and may be removed again. */
static inline void list_remove(struct list *element)
{
    element->prev->next = element->next;
    element->next->prev = element->prev;
    list_init(element);
}

/* NULL when empty. */
static inline struct list *list_first(const struct list *head)
{
    return list_empty(head) ? NULL : head->next;
}

static inline struct list *list_pop_front(struct list *head)
{
    struct list *first = list_first(head);
    if (first)
        list_remove(first);
    return first;
}

#endif
