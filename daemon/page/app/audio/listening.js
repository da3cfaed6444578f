// This device as a microphone of the server: captures or plays, publishes, and goes on after a break.

import { Backoff, CLOSE, PublishError, Publisher } from "../../client/index.js";
import { CaptureError, capture } from "./capture.js";
import { FileError, RATE_HZ, decode, play } from "./file.js";
import { levelOf } from "./pcm.js";
import { forget, left, remember } from "./left.js";

const SESSION_ID = /^[A-Za-z0-9_-]{1,64}$/;
const MAX_TITLE = 200;
const UNSEEN = /[\p{Cc}\u2028\u2029\p{Bidi_Control}]/gu;

/** What a session is called by a text: its title, and its id where the text can be one. */
export function naming(text) {
    const title = [...text.replace(UNSEEN, "").trim()].slice(0, MAX_TITLE).join("").trimEnd();
    return { title: title || undefined, session: SESSION_ID.test(title) ? title : undefined };
}

const RETRIED = new Set([CLOSE.shuttingDown, CLOSE.restarting, CLOSE.conflict, CLOSE.tooMany, CLOSE.internal, 1005, 1006]);
const MAX_TRIES = 60;
/** Interval of the sign of life while there is no microphone; a session without audio ends after a minute. */
const KEEP_ALIVE_MS = 10_000;

export class Listening {
    /** @param {import("../../client/address.js").Address} address */
    constructor(address) {
        this.address = address;
        this.listeners = new Set();
        /** What the microphone does: `off`, `starting`, `on`, `again`, and `lost` while it waits for one. */
        this.microphone = { kind: "off" };
        /** What the file does: `none`, `decoding`, `playing`, `finishing`, `done`. */
        this.file = { kind: "none" };
        /** Level of this device in dBFS while it listens. */
        this.level = undefined;
    }

    subscribe(listener) {
        this.listeners.add(listener);
    }

    #changed() {
        for (const listener of this.listeners) listener();
    }

    get isOn() {
        return ["on", "again", "lost"].includes(this.microphone.kind) || this.file.kind === "playing";
    }

    /** Whether what is sent is a file, and the microphone is off. */
    get isFileOnly() {
        return this.file.kind === "playing" && this.microphone.kind === "off";
    }

    #enterMicrophone(state) {
        this.microphone = state;
        this.#changed();
    }

    #enterFile(state) {
        this.file = state;
        this.#changed();
    }

    /** Goes on with the session that this tab recorded before it was loaded again, if there is one. */
    async takeUp(device) {
        const before = left();
        if (before) await this.start({}, device, before);
    }

    /** The page goes: the session waits for it to come back. */
    leave() {
        const { publisher } = this.run ?? {};
        if (this.microphone.kind === "off" || !publisher) return;
        remember(publisher);
        publisher.leave();
    }

    /**
     * Opens the microphone and a session for it, or takes one up that the page has left.
     *
     * @param {{session?: string, title?: string, keepAudio?: boolean, expectedSpeakers?: number}} called what the session
     *     shall be called, and what is known of it
     * @param {string} [device] id of the microphone
     * @returns {Promise<string | undefined>} the session's id
     */
    async start(called = {}, device = undefined, before = undefined) {
        if (this.microphone.kind !== "off") return undefined;
        this.#enterMicrophone({ kind: "starting" });
        const run = { called, publisher: undefined, isStopped: false };
        this.run = run;
        try {
            run.device = await this.#capture(run, device);
            if (run.isStopped) {
                await run.device.stop();
                return undefined;
            }
            await this.#publish(run, before);
        } catch (error) {
            await run.device?.stop();
            this.level = undefined;
            const key = error instanceof CaptureError ? error.key : "listen.broke";
            this.#enterMicrophone({ kind: "off", fault: { key, reason: error.message } });
            return undefined;
        }
        this.#enterMicrophone({ kind: "on", publisher: run.publisher });
        return run.publisher.session;
    }

    #capture(run, device) {
        return capture({
            device,
            onBlock: (pcm) => {
                this.level = levelOf(pcm);
                // Before the gap is declared, sound would lie in its place.
                if (run.lostAt === undefined) run.publisher?.send(pcm);
                this.#changed();
            },
            onLost: () => this.#lost(run),
        });
    }

    /** The microphone is gone: the session waits for it, or for another one. */
    #lost(run) {
        if (run.isStopped || run.lostAt !== undefined) return;
        run.lostAt = Date.now();
        void run.device?.stop();
        run.device = undefined;
        this.level = undefined;
        this.#enterMicrophone({ kind: "lost", publisher: run.publisher });
        const alive = setInterval(() => run.publisher?.keepAlive(), KEEP_ALIVE_MS);
        const retry = () => void this.goOn();
        navigator.mediaDevices.addEventListener("devicechange", retry);
        run.await = () => {
            clearInterval(alive);
            navigator.mediaDevices.removeEventListener("devicechange", retry);
        };
    }

    /** Goes on after the loss of the microphone, with this one or with the one that the browser offers. */
    async goOn(device) {
        const { run } = this;
        if (!run || run.isStopped || run.lostAt === undefined || run.isOpening) return;
        run.isOpening = true;
        try {
            const found = await this.#capture(run, device);
            const { publisher } = run;
            if (run.isStopped || !publisher?.isOpen) {
                // Without a connection it stays lost, and is tried again.
                await found.stop();
                return;
            }
            run.device = found;
            if (found.sampleRate !== publisher.sampleRate) {
                await this.stop("listen.lost");
                return;
            }
            publisher.gap((Date.now() - run.lostAt) / 1000);
            run.lostAt = undefined;
            run.await();
            this.#enterMicrophone({ kind: "on", publisher });
        } catch (error) {
            if (run.isStopped) return;
            const key = error instanceof CaptureError ? error.key : "listen.broke";
            this.#enterMicrophone({ kind: "lost", publisher: run.publisher, fault: { key, reason: error.message } });
        } finally {
            run.isOpening = false;
        }
    }

    async #publish(run, before) {
        const publisher = new Publisher(this.address, {
            ...run.called,
            sampleRate: run.device.sampleRate,
            onMessage: ({ type }) => {
                // Whatever ends the page, its last second is known.
                if (type === "ack" && run.publisher === publisher && !run.isStopped) remember(publisher);
                this.#changed();
            },
            onBreak: (error) => void this.#again(run, error),
            onState: (state) => {
                if (run.publisher !== publisher || run.isStopped || run.lostAt !== undefined) return;
                this.#enterMicrophone(state === "open" ? { kind: "on", publisher } : { kind: "again" });
            },
        });
        if (before?.sampleRate === publisher.sampleRate) {
            await publisher.takeUp({ ...before, gap_s: (Date.now() - before.at) / 1000 });
        } else {
            await publisher.open();
        }
        run.publisher = publisher;
    }

    /** The stream broke: a new session goes on where there is a server. */
    async #again(run, error) {
        run.publisher = undefined;
        const backoff = new Backoff();
        for (let tries = 0; tries < MAX_TRIES && !run.isStopped; tries += 1) {
            if (error.close !== undefined && !RETRIED.has(error.close)) break;
            this.#enterMicrophone({ kind: "again" });
            await new Promise((resolve) => { setTimeout(resolve, backoff.next()); });
            if (run.isStopped) return;
            try {
                await this.#publish(run);
                const { session } = run.publisher;
                this.#enterMicrophone({ kind: "on", publisher: run.publisher, note: { key: "listen.again", session } });
                return;
            } catch (next) {
                error = next;
            }
        }
        if (run.isStopped) return;
        await run.device.stop();
        this.level = undefined;
        this.#enterMicrophone({ kind: "off", fault: { key: "listen.broke", reason: error.message } });
    }

    /** Ends the session and gives the microphone back. */
    async stop(why) {
        const { run } = this;
        if (!run || run.isStopped) return;
        run.isStopped = true;
        run.await?.();
        forget();
        this.level = undefined;
        this.#enterMicrophone({ kind: "off", ...(why ? { fault: { key: why } } : {}) });
        await run.device?.stop();
        await run.publisher?.finish();
    }

    /**
     * Sends a file.
     *
     * @param {File} file
     * @param {object} options
     * @param {{session?: string, title?: string, keepAudio?: boolean, expectedSpeakers?: number}} [options.called] the file's name is the title otherwise
     * @param {number} options.speed times real time
     * @param {(session: string) => void} options.onStarted
     */
    async send(file, { called = {}, speed, onStarted }) {
        if (!["none", "done"].includes(this.file.kind)) return;
        const task = { isStopped: false };
        this.task = task;
        const { name } = file;
        this.#enterFile({ kind: "decoding", name });
        try {
            const pcm = await decode(file);
            if (task.isStopped) return;
            let broken;
            let speakers = 0;
            // Timers of a hidden tab may fire once a minute only; messages of the server arrive at once.
            let wake = () => {};
            const wait = (ms) => new Promise((resolve) => {
                wake = resolve;
                setTimeout(resolve, ms);
            });
            const publisher = new Publisher(this.address, {
                ...called,
                title: called.title ?? naming(name).title,
                sampleRate: RATE_HZ,
                onMessage: (message) => {
                    wake();
                    if (message.type === "ended") speakers = message.speakers;
                },
                onBreak: (error) => {
                    broken = error;
                    task.isStopped = true;
                },
            });
            await publisher.open();
            onStarted(publisher.session);
            const total_s = pcm.length / RATE_HZ;
            await play(publisher, pcm, {
                speed,
                isStopped: () => task.isStopped,
                onProgress: (sent_s) => this.#enterFile({ kind: "playing", name, sent_s, total_s }),
                wait,
            });
            if (broken) throw broken;
            this.#enterFile({ kind: "finishing", name });
            await publisher.finish();
            this.#enterFile({ kind: "done", name, speakers });
        } catch (error) {
            const isOwn = error instanceof FileError;
            if (!isOwn && !(error instanceof PublishError)) throw error;
            const fault = isOwn
                ? { key: error.key, values: error.values }
                : { key: "listen.broke", values: { reason: error.message } };
            this.#enterFile({ kind: "none", fault });
        }
    }

    /** Sends no more of the file; what was sent is labelled. */
    stopFile() {
        if (this.task) this.task.isStopped = true;
        if (this.file.kind === "decoding") this.#enterFile({ kind: "none" });
    }
}
