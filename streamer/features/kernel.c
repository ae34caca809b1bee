/* Sound to log-mel or cepstral rows: what mel.py and mfcc.py say in numpy, in one pass that stays in the
 * nearest cache. A daemon that wakes for 80 ms of sound finds its caches cold: then numpy's many small steps
 * cost ten times what their arithmetic does.
 *
 * LANES frames go through side by side, one in each lane, and no sum ever crosses lanes: a row is the same bit
 * for bit whichever others it is computed with, and compilers turn every loop over lanes into vector code.
 */
#include "../kernel.h"

#include <math.h>
#include <stddef.h>

/* Raised, here and in kernel.py, whenever what a function of the kernel is given changes. */
const int32_t streamer_kernel_version = 4;

#define WINDOW 400
#define HOP 160
#define HALF 256 /* complex points: the FFT's 512 real ones in pairs */
#define LANES 4
#define MOST_BINS 80

/* Several versions for x86 processors, of which the loader takes the best. Contraction to fused operations is
 * off (see hatch_build.py), so they give the same bits. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif
#define INLINE static inline __attribute__((always_inline))

struct streamer_tables {
    const double *window;      /* [WINDOW], times the scale of int16 */
    const double *turns;       /* [3][HALF]: e^(-2 pi i k n / 256) of radix-4 steps, as cosine and sine pairs */
    const double *unpack;      /* [HALF][2]: e^(-2 pi i k / 512) */
    const int32_t *first_bin;  /* [mel_bins]: where a triangle begins, */
    const int32_t *width;      /* [mel_bins]: and how many bins it covers */
    const float *triangles;    /* their weights, one after another */
    const float *cepstral;     /* [mel_bins][coefficients], or NULL for log-mel rows */
    double preemphasis;
    float floor;               /* smallest mel energy */
    int32_t mel_bins;
    int32_t coefficients;
};

typedef double lanes[LANES];

/* One pass of Stockham's FFT, radix 4: `length` points apart in groups of `stride`. */
INLINE void radix4(const lanes *re, const lanes *im, lanes *to_re, lanes *to_im, const double *turns, int length,
                   int stride) {
    int quarter = length / 4;
    for (int p = 0; p < quarter; p++) {
        const double *turn = turns + 6 * p * stride;
        for (int q = 0; q < stride; q++) {
            int a = q + stride * p, b = a + stride * quarter, c = b + stride * quarter, d = c + stride * quarter;
            int to = q + stride * 4 * p;
            for (int l = 0; l < LANES; l++) {
                double sum_re = re[a][l] + re[c][l], sum_im = im[a][l] + im[c][l];
                double gap_re = re[a][l] - re[c][l], gap_im = im[a][l] - im[c][l];
                double odd_re = re[b][l] + re[d][l], odd_im = im[b][l] + im[d][l];
                double turned_re = im[b][l] - im[d][l], turned_im = re[d][l] - re[b][l];
                double one_re = gap_re + turned_re, one_im = gap_im + turned_im;
                double two_re = sum_re - odd_re, two_im = sum_im - odd_im;
                double three_re = gap_re - turned_re, three_im = gap_im - turned_im;
                to_re[to][l] = sum_re + odd_re;
                to_im[to][l] = sum_im + odd_im;
                to_re[to + stride][l] = one_re * turn[0] - one_im * turn[1];
                to_im[to + stride][l] = one_re * turn[1] + one_im * turn[0];
                to_re[to + 2 * stride][l] = two_re * turn[2] - two_im * turn[3];
                to_im[to + 2 * stride][l] = two_re * turn[3] + two_im * turn[2];
                to_re[to + 3 * stride][l] = three_re * turn[4] - three_im * turn[5];
                to_im[to + 3 * stride][l] = three_re * turn[5] + three_im * turn[4];
            }
        }
    }
}

/* Windows without their mean, with preemphasis, two samples to a complex point. */
INLINE void load(const streamer_tables *t, const float *const sounds[LANES], lanes *re, lanes *im) {
    lanes mean = {0};
    for (int i = 0; i < WINDOW; i++)
        for (int l = 0; l < LANES; l++) mean[l] += sounds[l][i];
    for (int l = 0; l < LANES; l++) mean[l] /= WINDOW;
    lanes before;
    for (int l = 0; l < LANES; l++) before[l] = sounds[l][0] - mean[l];
    for (int i = 0; i < WINDOW; i += 2) {
        for (int l = 0; l < LANES; l++) {
            double even = sounds[l][i] - mean[l], odd = sounds[l][i + 1] - mean[l];
            re[i / 2][l] = (even - t->preemphasis * before[l]) * t->window[i];
            im[i / 2][l] = (odd - t->preemphasis * even) * t->window[i + 1];
            before[l] = odd;
        }
    }
    for (int i = WINDOW / 2; i < HALF; i++)
        for (int l = 0; l < LANES; l++) re[i][l] = im[i][l] = 0.0;
}

/* The spectrum of 512 real points from that of 256 complex ones; bin 256 is in no triangle. */
INLINE void unpack(const streamer_tables *t, const lanes *re, const lanes *im, float power[HALF][LANES]) {
    for (int k = 0; k < HALF; k++) {
        int mirror = (HALF - k) % HALF;
        double turn_re = t->unpack[2 * k], turn_im = t->unpack[2 * k + 1];
        for (int l = 0; l < LANES; l++) {
            double even_re = 0.5 * (re[k][l] + re[mirror][l]), even_im = 0.5 * (im[k][l] - im[mirror][l]);
            double odd_re = 0.5 * (im[k][l] + im[mirror][l]), odd_im = 0.5 * (re[mirror][l] - re[k][l]);
            double bin_re = even_re + odd_re * turn_re - odd_im * turn_im;
            double bin_im = even_im + odd_re * turn_im + odd_im * turn_re;
            power[k][l] = (float)(bin_re * bin_re + bin_im * bin_im);
        }
    }
}

FOR_EACH_PROCESSOR
static void some_rows(const streamer_tables *t, const float *const sounds[LANES], int count, float *rows) {
    lanes re[HALF], im[HALF], other_re[HALF], other_im[HALF];
    float power[HALF][LANES], mel[MOST_BINS][LANES];
    load(t, sounds, re, im);
    radix4((const lanes *)re, (const lanes *)im, other_re, other_im, t->turns, 256, 1);
    radix4((const lanes *)other_re, (const lanes *)other_im, re, im, t->turns, 64, 4);
    radix4((const lanes *)re, (const lanes *)im, other_re, other_im, t->turns, 16, 16);
    radix4((const lanes *)other_re, (const lanes *)other_im, re, im, t->turns, 4, 64);
    unpack(t, (const lanes *)re, (const lanes *)im, power);
    const float *weight = t->triangles;
    for (int b = 0; b < t->mel_bins; b++) {
        float sum[LANES] = {0};
        for (int k = t->first_bin[b]; k < t->first_bin[b] + t->width[b]; k++, weight++)
            for (int l = 0; l < LANES; l++) sum[l] += power[k][l] * *weight;
        for (int l = 0; l < LANES; l++) mel[b][l] = sum[l] > t->floor ? sum[l] : t->floor;
    }
    for (int b = 0; b < t->mel_bins; b++)
        for (int l = 0; l < count; l++) mel[b][l] = logf(mel[b][l]);
    int size = t->cepstral ? t->coefficients : t->mel_bins;
    for (int l = 0; l < count; l++) {
        float *row = rows + (long)l * size;
        if (!t->cepstral) {
            for (int b = 0; b < size; b++) row[b] = mel[b][l];
            continue;
        }
        for (int c = 0; c < size; c++) row[c] = 0.0f;
        for (int b = 0; b < t->mel_bins; b++)
            for (int c = 0; c < size; c++) row[c] += mel[b][l] * t->cepstral[(long)b * size + c];
    }
}

/* The rows of `frames` windows in each of `streams` sounds: those that are listed, or, where there is no list, those that
 * lie `samples` apart from `first` on. */
INLINE void all_rows(const streamer_tables *t, const float *const *listed, const float *first, int64_t samples,
                     int64_t streams, int64_t frames, float *rows) {
    int size = t->cepstral ? t->coefficients : t->mel_bins;
    int64_t total = streams * frames;
    for (int64_t start = 0; start < total; start += LANES) {
        const float *windows[LANES];
        int count = (int)(total - start < LANES ? total - start : LANES);
        for (int l = 0; l < LANES; l++) {
            int64_t frame = start + (l < count ? l : 0), stream = frame / frames;
            windows[l] = (listed ? listed[stream] : first + stream * samples) + frame % frames * HOP;
        }
        some_rows(t, windows, count, rows + start * size);
    }
}

void streamer_rows(const streamer_tables *t, const float *sounds, int64_t streams, int64_t samples, int64_t frames,
                   float *rows) {
    all_rows(t, NULL, sounds, samples, streams, frames, rows);
}

void streamer_rows_of(const streamer_tables *t, const float *const *sounds, int64_t streams, int64_t frames,
                      float *rows) {
    all_rows(t, sounds, NULL, 0, streams, frames, rows);
}
