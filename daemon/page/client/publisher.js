// Sends audio: opens a session, streams PCM into it, and sees it to its end.

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

/** One session that this client feeds with mono signed 16-bit audio. */
export class Publisher {
    /**
     * @param {import("./address.js").Address} address
     * @param {object} [options]
     * @param {string} [options.session] id; without one the server makes one
     * @param {number} [options.sampleRate] 8000 to 48000
     * @param {(message: object) => void} [options.onMessage] every message of the server
     * @param {(error: PublishError) => void} [options.onBreak] the stream broke before `finish`
     * @param {typeof WebSocket} [options.WebSocket]
     */
    constructor(address, options = {}) {
        this.address = address;
        this.session = options.session;
        this.sampleRate = options.sampleRate ?? 16000;
        this.onMessage = options.onMessage ?? (() => {});
        this.onBreak = options.onBreak ?? (() => {});
        this.WebSocket = options.WebSocket ?? globalThis.WebSocket;
        /** Seconds sent, and seconds that the server has confirmed. */
        this.sent_s = 0;
        this.received_s = 0;
        this.socket = undefined;
        this.ended = undefined;
        this.lastError = undefined;
        this.isFinishing = false;
    }

    /**
     * Opens the session.
     *
     * @returns {Promise<object>} the `started` message
     * @throws {PublishError} with the server's reason
     */
    open() {
        const url = this.address.socket("v1/stream", { sample_rate: this.sampleRate, session: this.session });
        const socket = new this.WebSocket(url, this.address.protocols());
        socket.binaryType = "arraybuffer";
        this.socket = socket;
        return new Promise((resolve, reject) => {
            let started = false;
            socket.addEventListener("message", (event) => {
                const message = parse(event.data);
                if (message.type === "started") {
                    started = true;
                    this.session = message.session;
                    resolve(message);
                } else if (message.type === "ack") {
                    this.received_s = message.received_s;
                } else if (message.type === "ended") {
                    this.ended = message;
                } else if (message.type === "error") {
                    this.lastError = message;
                }
                this.onMessage(message);
            });
            socket.addEventListener("close", (event) => {
                const reason = this.lastError?.reason || event.reason || "the connection broke";
                const error = new PublishError(reason, { code: this.lastError?.code, close: event.code });
                if (!started) {
                    reject(error);
                } else if (!this.isFinishing) {
                    this.onBreak(error);
                }
                this.onClosed?.(error);
            });
        });
    }

    /** Bytes that wait in the browser. */
    get buffered() {
        return this.socket?.bufferedAmount ?? 0;
    }

    /** Sends samples at the declared rate; does nothing on a closed connection. */
    send(samples) {
        if (this.socket?.readyState !== 1 || this.isFinishing) return;
        this.socket.send(samples);
        this.sent_s += samples.length / this.sampleRate;
    }

    /** Says that this client is there while it has no audio. */
    keepAlive() {
        if (this.socket?.readyState === 1 && !this.isFinishing) {
            this.socket.send(JSON.stringify({ type: "keep_alive" }));
        }
    }

    /**
     * Ends the session and waits for its last labels.
     *
     * @returns {Promise<object | undefined>} the `ended` message, if the server could still say it
     */
    finish() {
        this.isFinishing = true;
        if (!this.socket || this.socket.readyState > 1) return Promise.resolve(this.ended);
        return new Promise((resolve) => {
            this.onClosed = () => resolve(this.ended);
            if (this.socket.readyState === 1) {
                this.socket.send(JSON.stringify({ type: "close" }));
            } else {
                this.socket.close(CLOSE.done);
            }
        });
    }
}
