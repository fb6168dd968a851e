/* sanitizer.h - whether AddressSanitizer or ThreadSanitizer watches, and telling the first what is not to be touched.
 */
#ifndef TG_BASE_SANITIZER_H
#define TG_BASE_SANITIZER_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TG_UNDER_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define TG_UNDER_TSAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define TG_UNDER_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define TG_UNDER_TSAN 1
#endif

#ifndef TG_UNDER_TSAN
#define TG_UNDER_TSAN 0
#endif

#ifdef TG_UNDER_ASAN
#include <sanitizer/asan_interface.h>
#define TG_POISON(at, size) ASAN_POISON_MEMORY_REGION(at, size)
#define TG_UNPOISON(at, size) ASAN_UNPOISON_MEMORY_REGION(at, size)
#else
#define TG_UNDER_ASAN 0
#define TG_POISON(at, size) ((void)(at), (void)(size))
#define TG_UNPOISON(at, size) ((void)(at), (void)(size))
#endif

#endif
