/* SPDX-License-Identifier: Apache-2.0 */
/* tap - what every cmocka test includes: cmocka itself, and output that tools/run-tests counts. */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the four above */
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

#define tap_run(tests)                                                                             \
    (cmocka_set_message_output(CM_OUTPUT_TAP), cmocka_run_group_tests(tests, NULL, NULL))

#endif
