// An audio file, decoded by the browser to 16 kHz mono and played into a publisher.

import { dueSamples, mixDown, toPcm } from "./pcm.js";

export const RATE_HZ = 16000;
/** Decoded audio is held whole: a file of this size is hours of compressed speech. */
const MAX_MEGABYTES = 300;
const BLOCK = RATE_HZ / 10;
/** What may wait in the browser; the server stops reading when it is behind. */
const MAX_BUFFERED = 256 * 1024;
const TICK_MS = 40;

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** A file that is not what it should be: a key of the texts, and its values. */
export class FileError extends Error {
    constructor(key, values) {
        super(key);
        this.name = "FileError";
        this.key = key;
        this.values = values;
    }
}

/**
 * Decodes a file.
 *
 * @param {File} file
 * @returns {Promise<Int16Array>} mono at 16 kHz
 * @throws {FileError}
 */
export async function decode(file) {
    const megabytes = file.size / 1e6;
    const values = { file: file.name, size: Math.round(megabytes), limit: MAX_MEGABYTES };
    if (megabytes > MAX_MEGABYTES) throw new FileError("listen.tooLarge", values);
    let buffer;
    try {
        const context = new OfflineAudioContext(1, 1, RATE_HZ);
        buffer = await context.decodeAudioData(await file.arrayBuffer());
    } catch {
        throw new FileError("listen.notAudio", values);
    }
    if (buffer.length === 0) throw new FileError("listen.emptyFile", values);
    const channels = Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i));
    return toPcm(mixDown(channels));
}

/**
 * Sends samples at a multiple of real time, or with `Infinity` as fast as the server takes them. What a throttled
 * tab could not send in time follows at once, so that the speed holds.
 *
 * @param {object} publisher `send(pcm)` and `buffered`
 * @param {Int16Array} pcm
 * @param {object} options
 * @param {number} options.speed
 * @param {() => boolean} options.isStopped
 * @param {(sentSeconds: number) => void} options.onProgress
 * @param {(ms: number) => Promise<unknown>} [options.wait] waits so long, or less if there is a reason to look again
 */
export async function play(publisher, pcm, { speed, isStopped, onProgress, wait = pause }) {
    const began = performance.now();
    let sent = 0;
    while (sent < pcm.length && !isStopped()) {
        const due = dueSamples(performance.now() - began, speed, RATE_HZ, pcm.length);
        while (sent < due && publisher.buffered < MAX_BUFFERED && !isStopped()) {
            const end = Math.min(sent + BLOCK, due);
            publisher.send(pcm.slice(sent, end));
            sent = end;
        }
        onProgress(sent / RATE_HZ);
        await wait(sent < pcm.length && publisher.buffered < MAX_BUFFERED && !Number.isFinite(speed) ? 0 : TICK_MS);
    }
}
