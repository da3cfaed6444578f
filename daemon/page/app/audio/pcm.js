// Samples as the wire carries them.

/**
 * Signed 16-bit samples of floats from -1 to 1; what is beyond is clipped, what is no number is silence. Samples that
 * were 16 bits wide before a browser decoded them come out as they were.
 */
export function toPcm(floats, into = new Int16Array(floats.length)) {
    for (let i = 0; i < floats.length; i += 1) {
        into[i] = Math.max(-32768, Math.min(32767, Math.round(floats[i] * 32768))) || 0;
    }
    return into;
}

/** The mean of the channels of a decoded file. */
export function mixDown(channels) {
    if (channels.length === 1) return channels[0];
    const mono = new Float32Array(channels[0].length);
    for (const channel of channels) for (let i = 0; i < mono.length; i += 1) mono[i] += channel[i] / channels.length;
    return mono;
}

/** Level of samples in dB below full scale; -120 for silence. */
export function levelOf(pcm) {
    let sum = 0;
    for (const sample of pcm) sum += (sample / 32768) ** 2;
    return pcm.length === 0 || sum === 0 ? -120 : Math.max(-120, 10 * Math.log10(sum / pcm.length));
}

/** Number of samples due after `elapsedMs`, at the given multiple of real time. */
export function dueSamples(elapsedMs, speed, sampleRate, total) {
    if (!Number.isFinite(speed)) return total;
    return Math.min(total, Math.floor((elapsedMs / 1000) * speed * sampleRate));
}
