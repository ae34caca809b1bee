/* What the rooms' C gives to other rooms. */
#ifndef STREAMER_KERNEL_H
#define STREAMER_KERNEL_H

#include <stdint.h>

typedef struct streamer_tables streamer_tables;             /* features/kernel.c */
typedef struct streamer_lstm_network streamer_lstm_network; /* inference/kernel.c */

void streamer_resample(const float *weights, const int64_t *starts, int64_t rounds, int64_t period, int64_t width,
                       const float *heard, int64_t first, int64_t count, float *out);
void streamer_rows(const streamer_tables *t, const float *sounds, int64_t streams, int64_t samples, int64_t frames,
                   float *rows);
void streamer_rows_of(const streamer_tables *t, const float *const *sounds, int64_t streams, int64_t frames,
                      float *rows);
int streamer_lstm(const streamer_lstm_network *n, const float *features, int64_t streams, int64_t rows, float *h,
                  float *c, float *scores);

/* What recorder.c writes, and recorder_wire.py reads. */
typedef struct {
    char kind;
    uint32_t overflows;
    uint64_t frames;
    double captured_s, captured_utc_s, cpu_s;
} streamer_told;

#endif
