/* A filter applied to groups of GROUP outputs: each group is a product of the sound below it with one of a few
 * matrices, as prompt_resample.py lays them out. Sums go in one order, whatever the pieces sound came in. */
#include "../kernel.h"

#define GROUP 16
#define CHAINS 4 /* sums side by side, so that one addition need not wait for another */

#if defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx512f", "arch=haswell", "default"), optimize("fp-contract=fast")))
#else
#define FOR_EACH_PROCESSOR
#endif

typedef float vector __attribute__((vector_size(4 * GROUP), aligned(4), may_alias));

/* Groups `first` to `first + count`; `heard` begins with the first sample that group `first` looks at.
 * `starts` are where a round's groups begin, `period` is from one round to the next; `weights` are their
 * matrices, [rounds][width][GROUP]. `width` is a multiple of CHAINS. */
FOR_EACH_PROCESSOR
void streamer_resample(const float *weights, const int64_t *starts, int64_t rounds, int64_t period, int64_t width,
                       const float *heard, int64_t first, int64_t count, float *out) {
    int64_t begin = first / rounds * period + starts[first % rounds];
    for (int64_t group = first; group < first + count; group++, out += GROUP) {
        const float *in = heard + (group / rounds * period + starts[group % rounds] - begin);
        const float *w = weights + group % rounds * width * GROUP;
        vector sums[CHAINS] = {{0}};
        for (int64_t i = 0; i < width; i += CHAINS, w += CHAINS * GROUP)
            for (int c = 0; c < CHAINS; c++) sums[c] += in[i + c] * *(const vector *)(w + c * GROUP);
        *(vector *)out = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    }
}
