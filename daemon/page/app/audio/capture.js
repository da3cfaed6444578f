// The browser's microphone as blocks of 16-bit samples.

/** What the server wants; where a browser cannot resample, its own rate is declared instead. */
const RATE_HZ = 16000;
const MAX_RATE_HZ = 48000;
const BLOCK_S = 0.1;

/** Why there is no sound: a key of the texts. */
export class CaptureError extends Error {
    constructor(key, cause) {
        super(key, { cause });
        this.name = "CaptureError";
        this.key = key;
    }
}

const KEYS = {
    NotAllowedError: "listen.denied",
    SecurityError: "listen.denied",
    NotFoundError: "listen.absent",
    OverconstrainedError: "listen.absent",
    NotReadableError: "listen.busy",
    AbortError: "listen.busy",
};

/**
 * The microphones of this device, as `{id, name}`; browsers tell names only once a microphone was allowed.
 *
 * @returns {Promise<{id: string, name: string}[]>}
 */
export async function microphones() {
    try {
        const all = await navigator.mediaDevices.enumerateDevices();
        return all.filter((one) => one.kind === "audioinput" && one.deviceId)
            .map(({ deviceId, label }) => ({ id: deviceId, name: label }));
    } catch {
        return [];
    }
}

/**
 * Opens a microphone.
 *
 * @param {object} listeners
 * @param {string} [listeners.device] id of the one that is wanted; where it is not there, the browser chooses
 * @param {(pcm: Int16Array) => void} listeners.onBlock a block of a tenth of a second
 * @param {() => void} listeners.onLost the device is gone
 * @returns {Promise<{sampleRate: number, device: string | undefined, stop: () => Promise<void>}>}
 * @throws {CaptureError}
 */
export async function capture({ device, onBlock, onLost }) {
    if (!navigator.mediaDevices?.getUserMedia) {
        throw new CaptureError(isSecureContext ? "listen.unsupported" : "listen.insecure");
    }
    if (typeof AudioWorkletNode === "undefined") throw new CaptureError("listen.unsupported");
    let stream;
    try {
        // Unprocessed audio distinguishes speakers best: no processing for telephone calls.
        stream = await navigator.mediaDevices.getUserMedia({
            audio: {
                ...(device ? { deviceId: { ideal: device } } : {}), channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false,
            },
        });
    } catch (error) {
        throw new CaptureError(KEYS[error.name] ?? "listen.busy", error);
    }
    const stopTracks = () => stream.getTracks().forEach((track) => track.stop());
    try {
        const { context, source } = open(stream);
        const { sampleRate } = context;
        if (sampleRate > MAX_RATE_HZ) throw new CaptureError("listen.unsupported");
        await context.audioWorklet.addModule(new URL("./worklet.js", import.meta.url));
        const node = new AudioWorkletNode(context, "blocks", {
            numberOfOutputs: 0,
            processorOptions: { blockSamples: Math.round(sampleRate * BLOCK_S) },
        });
        node.port.onmessage = ({ data }) => onBlock(data);
        source.connect(node);
        await context.resume();
        const [track] = stream.getAudioTracks();
        track.addEventListener("ended", onLost);
        return {
            sampleRate,
            device: track.getSettings().deviceId,
            async stop() {
                node.port.onmessage = null;
                stopTracks();
                await context.close();
            },
        };
    } catch (error) {
        stopTracks();
        throw error instanceof CaptureError ? error : new CaptureError("listen.unsupported", error);
    }
}

function open(stream) {
    const context = new AudioContext({ sampleRate: RATE_HZ });
    try {
        return { context, source: context.createMediaStreamSource(stream) };
    } catch {
        // This browser does not resample between a device and a context.
        void context.close();
        const own = new AudioContext();
        return { context: own, source: own.createMediaStreamSource(stream) };
    }
}
