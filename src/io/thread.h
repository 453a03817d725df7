/* SPDX-License-Identifier: Apache-2.0 */
/* thread - a thread beside a loop: signals are the loop's, so that it blocks them all. */
#ifndef TTG_IO_THREAD_H
#define TTG_IO_THREAD_H

#include <pthread.h>

/* Both return an errno, as pthread_create does. */
int thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg);
/* Nobody joins it. */
int thread_start_detached(void *(*run)(void *arg), void *arg);

#endif
