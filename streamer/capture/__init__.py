"""Where sound comes in: microphone, file or pipe, the ring between device and pipeline, and the resampler.

Every way in is a `source.Source`: mono float32 chunks, each with its place on the source's sample clock.

- `source`      the Source protocol, EndOfSound, and the one downmix to mono
- `ring`        RingReader: sound in memory that we share with the recorder, which has a RingWriter
- `devices`     list_input_devices, find_input_device, InputDevice, NoInputDevice
- `microphone`  Microphone: an input device that may come and go, on `recording` (one opening of it);
                `recorder`, `recorder_process`, `recorder_wire`: the process that captures; `stream_clock`
                and `conform`: one clock and rate for all; `patience`: time-outs; `device_clock`: drift
- `files`       SoundFileSource: a file, paced like a microphone or as fast as possible
- `pipe`        PcmPipeSource: raw PCM on standard input
- `remote`      RemoteSource: a microphone on another machine, fed by `reception` and `ingest`
- `sender`      Sender: the other end of it, on `cutter`, `send_buffer`, `link` and `line`
- `resample`    Resampler: any rate to 16 kHz, bit-equal for any chunking

Import from the module itself: importing this package loads neither PortAudio nor libsndfile nor soxr.
"""
