"""How to read each picture, in a sentence or two."""

SUMMARY = """A word counts as heard when its hit comes during its clip or within 0.45 s after it, a sound
when an event overlaps it. False hits of words are counted on speech and sounds that hold none of them,
false starts of sounds on speech and words, both in whole recordings as well, where they are not marked.
F1 and PSDS are means over labels; 1 is perfect."""

BUDGET = """The threshold for the budget is the one that misses least among those that kept the budget on
every stream. "Proves at most" is what so few hours can say with 95 % confidence: with no false alarm in
<i>H</i> hours the true rate may still be 3 / <i>H</i>, and more recordings would be needed to know better."""

CURVES = """Each line is one condition as the threshold moves; down and left is better. The dot is the
bundle's own threshold. The coloured band is what so few clips and hours leave open of the first
condition (95 %); in the grey strip the hours are too few to tell a rate from none."""

CONFUSIONS = """One decision a clip, the hit with the highest score. A row is what was said, a column
what was told, darker is more of the row; whatever lies off the diagonal is an error."""

TIMES = """From the end of a word, found by its energy, to the moment at which the daemon has heard
enough to tell it. Left of the broken line the word was told before it ended. The daemon's hop adds up to
80 ms."""

NOISE = """The same streams in louder and louder noise. <q>Clip by clip</q> starts each clip from a fresh
state, as papers do; where the stream's line lies lower, carrying the state costs so much."""

SOUNDS = """By clip: was the clip told at all. By frame: how much of the time is right. By onset: one
event for one sound, begun within 200 ms of it, and for the last column ended as well; where the times of
sounds were found by their energy, that is a hard measure."""

CASES = """Three seconds of sound, low tones at the bottom, brighter is louder. The lines are smoothed
scores from 0 to 1, the dotted level is the threshold, the upright line the moment of the miss or false
alarm."""

ALARMS = """At the bundle's own thresholds, in the conditions in which the budget must hold. The clip's
place is that in its data set: listen to it first, it may hold what was told."""

JUDGED = """the daemon's own pipeline and decoder, on long streams of clips with pauses between them;
noise is recorded and made, mixed at the level named. Thresholds that were chosen on these very clips
flatter."""
