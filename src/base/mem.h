/* SPDX-License-Identifier: Apache-2.0 */
/* mem - allocation that can be made to fail.
 *
 * All of ttg allocates here. A test arms `mem_fail_at(n)` and loops over n until the code under
 * test succeeds: each failure path has then been taken once. */
#ifndef TTG_BASE_MEM_H
#define TTG_BASE_MEM_H

#include <stddef.h>

/* NULL when there is no memory; size 0 gives a pointer that can be freed. */
void *mem_alloc(size_t bytes);
void *mem_zalloc(size_t bytes);

/* count * bytes, NULL on overflow. */
void *mem_array(size_t count, size_t bytes);

/* On failure the old block stays as it was. */
void *mem_realloc(void *ptr, size_t bytes);

/* Copies `len` bytes and adds a NUL. */
char *mem_dup(const void *bytes, size_t len);
char *mem_strdup(const char *text);

/* Accepts NULL. */
void mem_free(void *ptr);

enum { MEM_LARGE_BYTES = 512 << 10 };
/* For a program of ours, first thing: what is large goes back to the system as soon as it is freed.
 * Left alone, the allocator keeps blocks of some megabytes once it has seen them come and go, and
 * holes between what lives longer. A library leaves that to its host. */
void mem_return_large(void);

/* Gives the pages back that nothing lies on: the holes, too. Takes some 0.1 ms a MB of holes. */
void mem_return_holes(void);

/* The n-th allocation of this thread from now on (1 is the next) fails, and only that one. 0
 * disarms. */
void mem_fail_at(size_t n);

/* Whether the armed failure has happened. */
int mem_failed(void);

#endif
