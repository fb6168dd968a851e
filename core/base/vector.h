/* vector.h - how wide the vectors of the processor are that runs this.
 */
#ifndef TG_BASE_VECTOR_H
#define TG_BASE_VECTOR_H

/* Bytes: 64 (AVX-512), 32 (AVX2), or 0: no more than every processor of this kind has. AVX-512 is asked for with VBMI:
 * the processors without it run slower for a while after such instructions. */
static inline unsigned tg_vector_width(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi"))
        return 64;
    return __builtin_cpu_supports("avx2") ? 32 : 0;
#else
    return 0;
#endif
}

#endif
