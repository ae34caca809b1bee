/* A block of sound of each of many streams to its scores, in one call: what a thousand streams cost is for the most part
 * what is said to the interpreter about each of them. The states are carried on where they lie. */
#include "kernel.h"

#include <stdlib.h>
#include <string.h>

/* As compiled.py has it. */
typedef struct {
    const streamer_tables *features;
    const streamer_lstm_network *network;
    int64_t block_frames, block_rows; /* feature rows, and rows of scores */
    int64_t row_size, labels, state_size;
} hearing;

#define AT_ONCE 32 /* streams: from some 16 on more save nothing, and what they need should fit the cache */

static int hear_some(const hearing *k, int64_t streams, const float *const *sounds, float *const *h, float *const *c,
                     const float *const *near, float *scores, uint8_t *is_near, float *memory) {
    int64_t state = k->state_size, block = k->block_rows * k->labels;
    float *all_h = memory, *all_c = all_h + streams * state, *rows = all_c + streams * state;
    size_t state_bytes = sizeof(float) * (size_t)state;
    streamer_rows_of(k->features, sounds, streams, k->block_frames, rows);
    for (int64_t s = 0; s < streams; s++) {
        memcpy(all_h + s * state, h[s], state_bytes);
        memcpy(all_c + s * state, c[s], state_bytes);
    }
    if (streamer_lstm(k->network, rows, streams, k->block_rows, all_h, all_c, scores)) return -1;
    for (int64_t s = 0; s < streams; s++, scores += block) {
        memcpy(h[s], all_h + s * state, state_bytes);
        memcpy(c[s], all_c + s * state, state_bytes);
        int found = 0;
        for (int64_t i = 0; i < block; i++) found |= !(scores[i] < near[s][i % k->labels]);
        is_near[s] = (uint8_t)found;
    }
    return 0;
}

/* Of each stream: its sound, its states, which become those after the block, and what a score must not reach.
 * `scores` are [streams][block_rows][labels]; `is_near` says where one does. Returns 0, or -1 where there is no memory. */
int streamer_hear(const hearing *k, int64_t streams, const float *const *sounds, float *const *h, float *const *c,
                  const float *const *near, float *scores, uint8_t *is_near) {
    int64_t most = streams < AT_ONCE ? streams : AT_ONCE;
    float *memory = malloc(sizeof(float) * (size_t)(most * (k->block_frames * k->row_size + 2 * k->state_size) + 1));
    int failed = memory ? 0 : -1;
    for (int64_t s = 0; s < streams && !failed; s += most) {
        int64_t some = streams - s < most ? streams - s : most;
        failed = hear_some(k, some, sounds + s, h + s, c + s, near + s, scores + s * k->block_rows * k->labels,
                           is_near + s, memory);
    }
    free(memory);
    return failed;
}
