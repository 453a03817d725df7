/* SPDX-License-Identifier: Apache-2.0 */
#include "io/thread.h"

#include <signal.h>

int thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg)
{
    sigset_t all, before; /* a thread inherits the mask of who starts it */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int errnum = pthread_create(ret_thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return errnum;
}

int thread_start_detached(void *(*run)(void *arg), void *arg)
{
    pthread_t thread;
    int errnum = thread_start(&thread, run, arg);
    return errnum ? errnum : pthread_detach(thread);
}
