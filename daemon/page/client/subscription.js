// Follows one session: connects, applies what comes, reconnects, and resumes where it was.

import { Backoff } from "./backoff.js";
import { CLOSE, ProtocolError, parse } from "./protocol.js";
import { OutOfStep } from "./session.js";

/** Closes after which another try would meet the same answer. */
const FINAL = new Map([
    [CLOSE.badRequest, "refused"],
    [CLOSE.tooLarge, "refused"],
    [CLOSE.unauthorised, "unauthorised"],
    [CLOSE.forbidden, "refused"],
    [CLOSE.notFound, "gone"],
]);

/**
 * Keeps a `SessionModel` equal to the server's.
 *
 * The state is `{kind}`, one of: `connecting`; `open`; `waiting` (a try follows in `retryInMs`); `ended` (the session
 * has, and everything was delivered); `gone` (no such session); `unauthorised`; `refused`; `stopped`.
 */
export class Subscription {
    /**
     * @param {import("./address.js").Address} address
     * @param {import("./session.js").SessionModel} model
     * @param {object} [options]
     * @param {(state: object) => void} [options.onState]
     * @param {(message: object) => void} [options.onMessage] every message, after it was applied
     * @param {() => Promise<unknown>} [options.identify] what tells this session from an earlier one of the same id;
     *     asked before each resume, and a changed answer means that nothing that is held may be kept
     * @param {boolean} [options.stays] whether the end of the session is not the end: later corrections follow
     * @param {typeof WebSocket} [options.WebSocket]
     * @param {Backoff} [options.backoff]
     */
    constructor(address, model, options = {}) {
        this.address = address;
        this.model = model;
        this.onState = options.onState ?? (() => {});
        this.onMessage = options.onMessage ?? (() => {});
        this.identify = options.identify;
        this.stays = options.stays ?? false;
        this.WebSocket = options.WebSocket ?? globalThis.WebSocket;
        this.backoff = options.backoff ?? new Backoff();
        this.state = { kind: "stopped" };
        this.socket = undefined;
        this.timer = undefined;
        this.holdsSnapshot = false;
        this.identity = undefined;
        this.lastError = undefined;
        this.reconnects = 0;
        // Counts tries: what an abandoned one answers is not listened to.
        this.attempt = 0;
    }

    /** Connects. */
    start() {
        if (this.state.kind === "stopped") void this.#connect();
        return this;
    }

    /** Disconnects for good. */
    stop() {
        this.#abandon();
        this.#enter({ kind: "stopped" });
    }

    /** Tries at once instead of waiting, as when the network or the person is back. */
    retryNow() {
        if (this.state.kind === "waiting") void this.#connect();
    }

    /** Takes it that the connection is dead although it has not closed, and makes another. */
    reconnect() {
        if (this.state.kind === "open" || this.state.kind === "waiting") void this.#connect();
    }

    /** Sends one message, such as a correction; whether it could be sent. */
    send(message) {
        if (this.state.kind !== "open") return false;
        this.socket.send(JSON.stringify(message));
        return true;
    }

    #enter(state) {
        this.state = state;
        this.onState(state);
    }

    #abandon() {
        this.attempt += 1;
        clearTimeout(this.timer);
        const socket = this.socket;
        this.socket = undefined;
        if (socket && socket.readyState < 2) socket.close(CLOSE.done);
    }

    async #connect() {
        this.#abandon();
        const attempt = this.attempt;
        this.lastError = undefined;
        this.#enter({ kind: "connecting" });
        if (this.identify) {
            const identity = await this.#ask();
            if (attempt !== this.attempt) return;
            if (identity !== undefined && identity !== this.identity) {
                this.identity = identity;
                this.holdsSnapshot = false;
            }
        }
        const since = this.holdsSnapshot ? this.model.seq : undefined;
        const url = this.address.socket("v1/events", {
            session: this.model.id, since, stay: this.stays ? true : undefined,
        });
        const socket = new this.WebSocket(url, this.address.protocols());
        this.socket = socket;
        const mine = (handler) => (event) => {
            if (attempt === this.attempt) handler(event);
        };
        socket.addEventListener("open", mine(() => this.#enter({ kind: "open" })));
        socket.addEventListener("message", mine((event) => this.#hear(event.data)));
        socket.addEventListener("close", mine((event) => this.#closed(event)));
    }

    /** What tells this session from others; nothing if the server is away, which the WebSocket finds out and says. */
    async #ask() {
        try {
            return await this.identify();
        } catch {
            return undefined;
        }
    }

    /** A session that was not there yet when it was asked for is known by now. */
    async #learn() {
        const { attempt } = this;
        const identity = await this.#ask();
        if (attempt === this.attempt) this.identity ??= identity;
    }

    #hear(text) {
        try {
            const message = parse(text);
            if (message.type === "snapshot") {
                this.holdsSnapshot = true;
                if (this.identify && this.identity === undefined) void this.#learn();
            }
            if (message.type === "error") this.lastError = message;
            this.model.apply(message);
            // A connection counts as good when it has delivered something.
            if (message.type !== "error") this.backoff.reset();
            this.onMessage(message);
        } catch (error) {
            if (!(error instanceof OutOfStep || error instanceof ProtocolError)) throw error;
            // What is held cannot be trusted any more: begin again with a snapshot.
            this.holdsSnapshot = false;
            this.#abandon();
            this.#wait(error.message);
        }
    }

    #closed(event) {
        this.socket = undefined;
        // Who stays for later corrections comes back after a break, too.
        const isOver = !this.model.live && (!this.stays || event.code === CLOSE.done);
        const kind = FINAL.get(event.code) ?? (isOver ? "ended" : undefined);
        const reason = this.lastError?.reason ?? event.reason;
        if (kind) {
            this.#enter({ kind, code: event.code, reason });
        } else {
            this.#wait(reason);
        }
    }

    #wait(reason) {
        const retryInMs = this.backoff.next();
        this.reconnects += 1;
        this.timer = setTimeout(() => void this.#connect(), retryInMs);
        this.#enter({ kind: "waiting", retryInMs, reason });
    }
}
