// Sends audio: opens a session, streams PCM into it, takes it up again after a break, and sees it to its end.

import { Backoff } from "./backoff.js";
import { CLOSE, parse } from "./protocol.js";

/** The stream could not be opened, or broke. */
export class PublishError extends Error {
    /**
     * @param {string} reason
     * @param {{code?: string, close?: number}} [details] word of the server's error, and the close code
     */
    constructor(reason, { code, close } = {}) {
        super(reason);
        this.name = "PublishError";
        this.code = code;
        this.close = close;
    }
}

/** Closes by accident, after which a session can be resumed; every other one is meant. */
const ACCIDENTS = new Set([1005, 1006, 1011, 1012, 1013, 1014, 1015]);

/** Refusals of a resume after which another try may succeed, here or at another node behind the same address. */
const PASSING = new Set(["elsewhere", "overloaded", "shutting_down", "too_many_connections", "too_many_sessions"]);

/** Close of a client that comes back; all but 1000 and 1001 are accidents to the server. */
const LEFT = 4000;

/** One session that this client feeds with mono signed 16-bit audio. */
export class Publisher {
    /**
     * @param {import("./address.js").Address} address
     * @param {object} [options]
     * @param {string} [options.session] id; without one the server makes one
     * @param {string} [options.title] at most 200 characters
     * @param {boolean} [options.keepAudio] false: the server may not keep the audio
     * @param {boolean} [options.asr] false: the server's speech recogniser may not get the audio
     * @param {number} [options.expectedSpeakers] 1 to 1000
     * @param {number} [options.sampleRate] 8000 to 48000
     * @param {(message: object) => void} [options.onMessage] every message of the server
     * @param {(error: PublishError) => void} [options.onBreak] the stream broke before `finish` and is not resumed
     * @param {(state: "open" | "resuming") => void} [options.onState]
     * @param {typeof WebSocket} [options.WebSocket]
     * @param {Backoff} [options.backoff]
     */
    constructor(address, options = {}) {
        this.address = address;
        this.session = options.session;
        this.title = options.title;
        this.keepAudio = options.keepAudio;
        this.asr = options.asr;
        this.expectedSpeakers = options.expectedSpeakers;
        this.sampleRate = options.sampleRate ?? 16000;
        this.onMessage = options.onMessage ?? (() => {});
        this.onBreak = options.onBreak ?? (() => {});
        this.onState = options.onState ?? (() => {});
        this.WebSocket = options.WebSocket ?? globalThis.WebSocket;
        this.backoff = options.backoff ?? new Backoff();
        /** Seconds that the server has confirmed. */
        this.received_s = 0;
        this.socket = undefined;
        this.ended = undefined;
        this.isFinishing = false;
        this.isLeaving = false;
        this.isOpen = false;
        // What a resume needs: the secret, how long it is good for, the last event, and the audio not yet confirmed.
        this.token = undefined;
        this.graceMs = 0;
        this.seq = 0;
        this.nSent = 0;
        this.kept = [];
        this.closed = new Promise((resolve) => { this.resolveClosed = resolve; });
    }

    /** Seconds sent. */
    get sent_s() {
        return this.nSent / this.sampleRate;
    }

    /** Bytes that wait in the browser. */
    get buffered() {
        return this.socket?.bufferedAmount ?? 0;
    }

    /**
     * Opens the session.
     *
     * @returns {Promise<object>} the `started` message
     * @throws {PublishError} with the server's reason
     */
    open() {
        return this.#connect({
            sample_rate: this.sampleRate, session: this.session, title: this.title,
            keep_audio: this.keepAudio, asr: this.asr, expected_speakers: this.expectedSpeakers,
        });
    }

    /**
     * Takes a session up that another publisher of this client opened and left, such as that of a page before it was loaded
     * again. Audio that is lost meanwhile is declared as a gap.
     *
     * @param {{session: string, token: string, gap_s?: number}} left
     * @returns {Promise<object>} the `started` message
     * @throws {PublishError} with the server's reason
     */
    async takeUp({ session, token, gap_s = 0 }) {
        const started = await this.#connect({}, { type: "start", resume: { session, token } });
        this.gap(gap_s);
        return started;
    }

    /**
     * Declares that this number of seconds of audio is missing here; nothing while there is no connection.
     *
     * @param {number} seconds at most a day
     */
    gap(seconds) {
        if (!(seconds > 0) || !this.isOpen || this.isFinishing) return;
        this.socket.send(JSON.stringify({ type: "gap", duration_s: seconds }));
        this.nSent += Math.round(seconds * this.sampleRate);
    }

    /** Disconnects without `close`: the session waits for a publisher that resumes it. */
    leave() {
        this.isLeaving = true;
        this.socket?.close(LEFT);
    }

    /** Connects with these parameters, or with this `start` message. */
    #connect(parameters, start) {
        const socket = new this.WebSocket(this.address.socket("v1/stream", parameters), this.address.protocols());
        socket.binaryType = "arraybuffer";
        this.socket = socket;
        let fault;
        return new Promise((resolve, reject) => {
            let isStarted = false;
            if (start) socket.addEventListener("open", () => socket.send(JSON.stringify(start)));
            socket.addEventListener("message", (event) => {
                const message = parse(event.data);
                if (message.seq !== undefined) this.seq = Math.max(this.seq, message.seq);
                if (message.type === "started") {
                    isStarted = true;
                    this.#started(message);
                    resolve(message);
                } else if (message.type === "ack") {
                    this.#confirmed(message.received_s);
                } else if (message.type === "ended") {
                    this.ended = message;
                } else if (message.type === "error") {
                    fault = message;
                }
                this.onMessage(message);
            });
            socket.addEventListener("close", (event) => {
                if (this.socket === socket) this.isOpen = false;
                const reason = fault?.reason || event.reason || "the connection broke";
                const error = new PublishError(reason, { code: fault?.code, close: event.code });
                if (isStarted) this.#broke(error);
                else reject(error);
            });
        });
    }

    #started(message) {
        this.session = message.session;
        this.token = message.token;
        this.graceMs = (message.resume_grace_s ?? 0) * 1000;
        this.isOpen = true;
        this.backoff.reset();
        if (message.resumed) {
            // A publisher that takes a session up has sent nothing of what the server holds.
            this.nSent = Math.max(this.nSent, message.received_samples);
            // The server says to the sample what it holds; the rest goes again.
            this.#forget(message.received_samples);
            const first = this.kept[0]?.at ?? this.nSent;
            if (first > message.received_samples) {
                // A server that lost more than it may: the clock goes on all the same.
                const duration_s = (first - message.received_samples) / this.sampleRate;
                this.socket.send(JSON.stringify({ type: "gap", duration_s }));
            }
            for (const { samples } of [...this.kept]) this.socket.send(samples);
            if (this.isFinishing) this.#close();
        }
        this.onState("open");
    }

    #confirmed(received_s) {
        this.received_s = received_s;
        this.#forget(Math.floor(received_s * this.sampleRate));
    }

    /** Lets go of the samples before the `n`-th. */
    #forget(n) {
        while (this.kept.length > 0 && this.kept[0].at + this.kept[0].samples.length <= n) this.kept.shift();
        const first = this.kept[0];
        if (first && first.at < n) this.kept[0] = { at: n, samples: first.samples.subarray(n - first.at) };
    }

    #broke(error) {
        if (this.isLeaving) this.resolveClosed();
        else if (!this.ended && this.graceMs > 0 && ACCIDENTS.has(error.close)) {
            void this.#resume(error);
        } else {
            this.#over(error);
        }
    }

    async #resume(error) {
        const deadline = Date.now() + this.graceMs;
        this.onState("resuming");
        while (Date.now() < deadline) {
            await new Promise((resolve) => { setTimeout(resolve, this.backoff.next()); });
            const resume = { session: this.session, token: this.token, since: this.seq };
            try {
                await this.#connect({}, { type: "start", resume });
                return;
            } catch (next) {
                error = next;
                if (!ACCIDENTS.has(next.close) && !PASSING.has(next.code)) break;
            }
        }
        this.#over(error);
    }

    #over(error) {
        this.resolveClosed();
        if (!this.isFinishing) this.onBreak(error);
    }

    /** Sends samples at the declared rate; while the client reconnects they are kept and follow then. */
    send(samples) {
        if (this.isFinishing) return;
        if (this.graceMs > 0) {
            this.kept.push({ at: this.nSent, samples });
            // What would be older than a resume may be is lost.
            this.#forget(this.nSent - (this.graceMs / 1000) * this.sampleRate);
        } else if (!this.isOpen) {
            return;
        }
        this.nSent += samples.length;
        if (this.isOpen) this.socket.send(samples);
    }

    /** Says that this client is there while it has no audio. */
    keepAlive() {
        if (this.isOpen && !this.isFinishing) this.socket.send(JSON.stringify({ type: "keep_alive" }));
    }

    /**
     * Sends recognised words, at most a thousand; provisional ones are replaced by the next.
     *
     * @param {import("./index.js").NewWord[]} words seconds on the session's clock
     * @param {{final?: boolean}} [options]
     * @returns {boolean} whether there was a connection to send them
     */
    words(words, { final = true } = {}) {
        if (!this.isOpen || this.isFinishing) return false;
        this.socket.send(JSON.stringify({ type: "words", words, final }));
        return true;
    }

    #close() {
        this.socket.send(JSON.stringify({ type: "close" }));
    }

    /**
     * Ends the session and waits for its last labels.
     *
     * @returns {Promise<object | undefined>} the `ended` message, if the server could still say it
     */
    async finish() {
        if (!this.isFinishing) {
            this.isFinishing = true;
            if (this.isOpen) this.#close();
            else if (this.token === undefined) this.socket?.close(CLOSE.done);
        }
        if (this.token !== undefined) await this.closed;
        return this.ended;
    }
}
