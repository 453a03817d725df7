/* SPDX-License-Identifier: Apache-2.0 */
/* ttg - the library.
 *
 * Every function that can fail returns 0 or a negative code of ttg/error.h. Nothing here prints. */
#ifndef TTG_TTG_H
#define TTG_TTG_H

#include <ttg/error.h>
#include <ttg/version.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TTG_API __attribute__((visibility("default")))

/* TTG_VERSION of the library that is linked, which may be another than that of the header. */
TTG_API const char *ttg_version(void);

/* "TTG_ESTALE", one short phrase for people, and whether the same call may succeed later by itself.
 * Static storage; also for 0 and for codes that are not in the table. */
TTG_API const char *ttg_error_name(int code);
TTG_API const char *ttg_error_text(int code);
TTG_API int ttg_error_retry_helps(int code);

#ifdef __cplusplus
}
#endif

#endif
