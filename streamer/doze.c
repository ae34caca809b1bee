/* Listening while nothing is going on: sleep, and take each block of a microphone's sound all the way to its scores,
 * until a score is worth a look, or somebody else wants something. An interpreter that wakes eleven times a second for
 * that, on caches that others have used meanwhile, costs three times what all the arithmetic does.
 *
 * Each step does what the stage of that name does in Python, to the bit (doze.py names them). Whatever is out of the
 * ordinary is left alone, for Python to find: a block is passed as a whole or not at all.
 */
#define _GNU_SOURCE
#include "kernel.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/epoll.h>
#endif

#define WINDOW 400
#define HOP 160
#define GROUP 16 /* as in capture/kernel.c */
#define LOUDEST 32.0f
#define READ_BYTES (100 * sizeof(streamer_told))

/* As doze.py has it. */
typedef struct {
    /* the recorder's ring and words */
    const uint64_t *claimed;
    uint64_t *wanted;
    const float *storage;
    char *records; /* room for what is read of its pipe */
    /* the resampler's matrices, as in capture/kernel.c, or NULL */
    const float *weights;
    const int64_t *starts;
    float *heard; /* sound at the source's rate from the next group's first input on */
    /* 16 kHz on */
    float *sound; /* what the framer held, and all that follows */
    const streamer_tables *features;
    float *rows; /* room for a block's */
    const streamer_lstm_network *network;
    float *h, *c;           /* after the last block */
    float *next_h, *next_c; /* room for those after the next */
    float *scores;
    const float *near; /* what a score must not reach */

    double until_s;    /* on the monotonic clock */
    double patience_s; /* without sound */
    double hole_s;     /* between two records: something else is the matter */
    double heard_s;    /* when sound last came, on the monotonic clock */
    double captured_s, captured_utc_s, lag_s;
    double square_sum;
    double peak;

    int64_t capacity_frames, channels, most_frames;
    int64_t records_size, records_used, overflows;
    int64_t frames; /* read from the ring, since the recording began */
    int64_t rounds, period, width, reach;
    int64_t heard_used, taken, groups, group_begin;
    int64_t sound_size, sound_used, window_begin;
    int64_t block_frames, block_rows, labels, state_size;
    int64_t scores_size, scores_used; /* rows */
    int64_t clipped;
    int32_t selector, bell, pipe, clock;
} doze;

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

/* What the recorder has said; 0 where that is anything but more sound, which Python must hear as well. */
static int receive(doze *d, streamer_told *newest) {
    ssize_t got = read(d->pipe, d->records + d->records_used, READ_BYTES);
    if (got < 0) return errno == EAGAIN;
    int ordinary = got > 0 && (size_t)got % sizeof(streamer_told) == 0;
    double before_s = newest->captured_s;
    for (ssize_t at = 0; ordinary && at < got; at += (ssize_t)sizeof(streamer_told)) {
        memcpy(newest, d->records + d->records_used + at, sizeof *newest);
        ordinary = newest->kind == 'S' && (int64_t)newest->overflows == d->overflows &&
                   newest->captured_s - before_s < d->hole_s;
        before_s = newest->captured_s;
    }
    d->records_used += got;
    return ordinary;
}

/* RingReader.read, mix_to_mono: all of these frames, or 0 where the recorder has come round to them. */
static int read_ring(const doze *d, int64_t count, float *out) {
    int64_t at = d->frames % d->capacity_frames;
    for (int64_t i = 0; i < count; i++, at = at + 1 == d->capacity_frames ? 0 : at + 1) {
        const float *frame = d->storage + at * d->channels;
        float sum = frame[0];
        for (int64_t channel = 1; channel < d->channels; channel++) sum += frame[channel];
        out[i] = d->channels > 1 ? sum / (float)d->channels : sum;
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return (int64_t)__atomic_load_n(d->claimed, __ATOMIC_SEQ_CST) - d->capacity_frames <= d->frames;
}

/* PromptResampler: where a group begins, and how many groups so much sound is enough for. */
static int64_t group_start(const doze *d, int64_t group) {
    return group / d->rounds * d->period + d->starts[group % d->rounds];
}

static int64_t groups_ready(const doze *d, int64_t heard) {
    int64_t room = d->group_begin + heard - d->width;
    if (room < 0) return 0;
    int64_t whole = room / d->period, rest = room % d->period, begun = 0;
    while (begun < d->rounds && d->starts[begun] <= rest) begun++;
    int64_t count = whole * d->rounds + begun - d->groups;
    return count > 0 ? count : 0;
}

/* Shared.missing_samples, Resampler.missing_for: what completes the next block. */
static int64_t missing_frames(const doze *d) {
    int64_t samples = (d->block_frames - 1) * HOP + WINDOW - (d->sound_used - d->window_begin);
    if (!d->weights) return samples;
    int64_t last = (d->groups * GROUP + samples + GROUP - 1) / GROUP - 1;
    int64_t missing = group_start(d, last) - d->reach + d->width - d->taken;
    return missing > 0 ? missing : 0;
}

/* A block of rows into the room for what comes next; 0 where a score is worth a look. */
static int block_is_quiet(doze *d, int64_t begin, float *scores) {
    streamer_rows(d->features, d->sound + begin, 1, 0, d->block_frames, d->rows);
    if (streamer_lstm(d->network, d->rows, 1, d->block_rows, d->next_h, d->next_c, scores)) return 0;
    int near = 0;
    for (int64_t row = 0; row < d->block_rows; row++)
        for (int64_t label = 0; label < d->labels; label++)
            near |= !(scores[row * d->labels + label] < d->near[label]);
    return !near;
}

/* The sound up to what the recorder has told; 0, and nothing is changed, where Python is to have it. */
static int pass(doze *d, const streamer_told *told) {
    int64_t count = (int64_t)told->frames - d->frames;
    if (count < 0 || count > d->most_frames) return 0;
    float *fresh = d->weights ? d->heard + d->heard_used : d->sound + d->sound_used;
    if (!read_ring(d, count, fresh)) return 0;
    float peak = 0.0f;
    double squares = 0.0;
    int64_t clipped = 0;
    for (int64_t i = 0; i < count; i++) {
        float size = fabsf(fresh[i]);
        if (!(size <= LOUDEST)) return 0; /* NaN as well */
        peak = size > peak ? size : peak;
        clipped += size >= 1.0f;
        squares += (double)size * size;
    }
    int64_t made = count, groups = 0;
    if (d->weights) {
        groups = groups_ready(d, d->heard_used + count);
        made = groups * GROUP;
        streamer_resample(d->weights, d->starts, d->rounds, d->period, d->width, d->heard, d->groups, groups,
                          d->sound + d->sound_used);
    }
    int64_t window = d->window_begin, rows = d->scores_used, end = d->sound_used + made;
    size_t state_bytes = sizeof(float) * (size_t)d->state_size;
    memcpy(d->next_h, d->h, state_bytes);
    memcpy(d->next_c, d->c, state_bytes);
    for (; end - window >= (d->block_frames - 1) * HOP + WINDOW; window += d->block_frames * HOP) {
        if (!block_is_quiet(d, window, d->scores + rows * d->labels)) return 0;
        rows += d->block_rows;
    }
    if (rows > d->scores_used) {
        memcpy(d->h, d->next_h, state_bytes);
        memcpy(d->c, d->next_c, state_bytes);
        d->lag_s = seconds(d->clock) - told->captured_s;
    }
    if (d->weights) {
        d->groups += groups;
        int64_t begin = group_start(d, d->groups), rest = d->heard_used + count - (begin - d->group_begin);
        memmove(d->heard, d->heard + (begin - d->group_begin), sizeof(float) * (size_t)rest);
        d->group_begin = begin, d->heard_used = rest;
    }
    d->frames += count, d->taken += count;
    d->sound_used = end, d->window_begin = window, d->scores_used = rows;
    d->square_sum += squares, d->clipped += clipped;
    d->peak = peak > d->peak ? peak : d->peak;
    d->heard_s = seconds(CLOCK_MONOTONIC);
    d->captured_s = told->captured_s, d->captured_utc_s = told->captured_utc_s;
    __atomic_store_n(d->wanted, (uint64_t)(d->frames + missing_frames(d)), __ATOMIC_RELAXED);
    return 1;
}

static int has_room(const doze *d) {
    int64_t sound = d->most_frames;
    if (d->weights) sound = (d->heard_used + d->most_frames) * d->rounds * GROUP / d->period + 2 * GROUP;
    return d->records_used + (int64_t)READ_BYTES <= d->records_size && d->sound_used + sound <= d->sound_size &&
           d->scores_used + (sound / (d->block_frames * HOP) + 1) * d->block_rows <= d->scores_size;
}

/* Returns when it is time, when it has become quiet for too long, or where Python is needed. */
void streamer_doze(doze *d) {
#ifdef __linux__
    streamer_told newest = {.captured_s = d->captured_s};
    while (has_room(d)) {
        double end_s = d->heard_s + d->patience_s < d->until_s ? d->heard_s + d->patience_s : d->until_s;
        double left_ms = ceil(1e3 * (end_s - seconds(CLOCK_MONOTONIC)));
        if (left_ms <= 0) return;
        struct epoll_event events[2];
        int ready = epoll_wait(d->selector, events, 2, (int)left_ms);
        if (ready == 0) continue;
        if (ready != 1 || events[0].data.fd != d->bell) return;
        if (!receive(d, &newest)) return;
        if ((int64_t)newest.frames > d->frames && !pass(d, &newest)) return;
    }
#else
    (void)d;
#endif
}
