// What the page knows: the sessions there are, the one that is followed, the connection, and what happened.

import { Address, Api, LiveClock, SessionModel, Subscription, isToken, speakingAt } from "../client/index.js";
import { known } from "./texts/index.js";
import { TimelineModel } from "./timeline/model.js";

const POLL_MS = 2500;
const KEPT_LOG = 60;
const KEPT_STATS = 150;
/** A live session without a message for this long gets no audio: its statistics arrive every two seconds otherwise. */
const SILENT_MS = 7000;

export class Store {
    /**
     * @param {string} base address of the page
     * @param {import("./settings.js").Settings} settings
     */
    constructor(base, settings) {
        this.settings = settings;
        this.address = new Address(base, settings.token);
        this.api = new Api(this.address);
        this.sessions = [];
        this.server = {};
        this.hasAnswered = false;
        this.isAway = false;
        this.wantsToken = false;
        /** Why the server refuses this page, as `{status, reason}`. */
        this.refusal = undefined;
        this.roundTrip = undefined;
        /** The session that the person chose; without one the newest is followed. */
        this.chosen = undefined;
        /** @type {Followed | undefined} */
        this.followed = undefined;
        this.log = [];
        this.listeners = new Set();
        this.timer = undefined;
    }

    /** Calls `listener` after every change. */
    subscribe(listener) {
        this.listeners.add(listener);
    }

    changed() {
        for (const listener of this.listeners) listener();
    }

    /** Tells what happened, as a key of the texts and its values. */
    tell(key, values = {}) {
        this.log.unshift({ at: new Date(), key, values });
        this.log.length = Math.min(this.log.length, KEPT_LOG);
        this.changed();
    }

    /** Begins to ask the server what there is. */
    start() {
        void this.poll();
        const back = () => {
            this.followed?.subscription.retryNow();
            void this.poll();
        };
        addEventListener("online", back);
        document.addEventListener("visibilitychange", () => {
            if (!document.hidden) back();
        });
    }

    /** Asks once, and again after a while. */
    async poll() {
        clearTimeout(this.timer);
        const polled = {};
        this.polled = polled;
        try {
            const began = performance.now();
            const { sessions, ...server } = await this.api.sessions();
            if (polled !== this.polled) return;
            this.roundTrip = performance.now() - began;
            this.server = server;
            this.#took(sessions);
        } catch (error) {
            if (polled !== this.polled) return;
            this.#failed(error);
        }
        this.timer = setTimeout(() => void this.poll(), POLL_MS);
        this.changed();
    }

    #took(sessions) {
        this.sessions = sessions;
        this.hasAnswered = true;
        this.isAway = false;
        this.wantsToken = false;
        this.refusal = undefined;
        const { followed } = this;
        if (followed) {
            const listed = sessions.find((s) => s.session === followed.id);
            const isBack = listed && ["gone", "refused", "unauthorised"].includes(followed.subscription.state.kind);
            // A session that was deleted leaves its id to another one.
            const isOther = listed && followed.hasSnapshot && !followed.model.live
                && followed.began !== undefined && listed.began_unix_s !== followed.began;
            if (!listed && !followed.model.live) followed.isForgotten = true;
            if (isBack || isOther) {
                this.#follow(followed.id);
                return;
            }
            if (listed && followed.subscription.state.kind === "waiting") followed.subscription.retryNow();
        }
        this.#choose();
    }

    #failed(error) {
        if (error.isUnauthorised) {
            this.isAway = false;
            // Without a token a 403 is about the page's address, which no token mends.
            const wantsToken = error.status === 401 || this.address.token !== undefined;
            if (wantsToken && !this.wantsToken) this.tell("log.unauthorised");
            this.wantsToken = wantsToken;
            this.refusal = wantsToken && this.address.token === undefined
                ? undefined : { status: error.status, reason: error.message };
            return;
        }
        // Without an answer over HTTP, an open WebSocket counts as lost.
        if (this.isAway && error.status === undefined) this.followed?.subscription.reconnect();
        this.isAway = error.status === undefined;
        this.roundTrip = undefined;
    }

    /** The session that should be followed when the person chose none. */
    #newest() {
        const newest = (list) => list.reduce((a, b) => (a && a.began_unix_s > b.began_unix_s ? a : b), undefined);
        return newest(this.sessions.filter((s) => s.live)) ?? newest(this.sessions);
    }

    #choose() {
        const { followed } = this;
        if (this.chosen !== undefined) {
            if (followed?.id !== this.chosen) this.#follow(this.chosen);
            return;
        }
        const isOver = !followed?.model.live || followed.subscription.state.kind === "gone";
        const newest = this.#newest();
        if (isOver && newest && newest.session !== followed?.id && (newest.live || !followed)) {
            this.#follow(newest.session);
        }
    }

    /** Follows the session that a person chose; `undefined` follows the newest. */
    choose(id) {
        if (this.chosen === id && this.followed) return;
        this.chosen = id;
        this.#choose();
        this.changed();
    }

    #follow(id) {
        this.followed?.stop();
        this.followed = new Followed(this, id);
        this.changed();
    }

    /** Uses a token from now on; what cannot be one is refused at once. */
    useToken(token, isRemembered) {
        if (!isToken(token)) {
            this.refusal = { status: 401, reason: "" };
            this.changed();
            return undefined;
        }
        this.settings.setToken(token, isRemembered);
        this.address.token = token;
        this.refusal = undefined;
        if (this.followed) this.#follow(this.followed.id);
        return this.poll();
    }

    /** What people call a session: its title, or else its id. */
    nameOf(id) {
        return this.sessions.find((s) => s.session === id)?.title ?? id;
    }

    /** Ends or forgets a session. */
    async delete(id) {
        await this.api.delete(id);
        await this.poll();
    }
}

/** A session that is followed. */
export class Followed {
    constructor(store, id) {
        this.store = store;
        this.id = id;
        this.model = new SessionModel(id);
        this.timeline = new TimelineModel(this.model);
        this.clock = new LiveClock();
        this.began = undefined;
        this.isForgotten = false;
        this.hasSnapshot = false;
        this.history = [];
        this.stateAt = performance.now();
        this.heardAt = this.stateAt;
        this.wasOpen = false;
        this.subscription = new Subscription(store.address, this.model, {
            identify: () => this.#identify(),
            stays: true,
            onState: (state) => this.#entered(state),
            onMessage: (message) => this.#heard(message),
        }).start();
    }

    stop() {
        this.subscription.stop();
        this.timeline.close();
    }

    async #identify() {
        const { sessions } = await this.store.api.sessions();
        const listed = sessions.find((s) => s.session === this.id);
        this.began = listed?.began_unix_s;
        return this.began;
    }

    #entered(state) {
        this.stateAt = performance.now();
        const { store, id } = this;
        if (state.kind === "waiting" && this.wasOpen) {
            this.wasOpen = false;
            // A server that closed without a fault says no more than that it is done.
            if (state.reason === "restarting") store.tell("state.restarting");
            else if (state.reason && state.reason !== "done") store.tell("log.lostWhy", { reason: state.reason });
            else store.tell("log.lost");
        } else if (state.kind === "gone") {
            store.tell("log.gone", { session: id });
        } else if (state.kind === "unauthorised") {
            void store.poll();
        }
        store.changed();
    }

    #heard(message) {
        const now = performance.now();
        if (!this.wasOpen && message.type !== "error") {
            this.wasOpen = true;
            if (!this.hasSnapshot) this.store.tell("log.connected", { session: this.id });
            else if (message.type === "snapshot") this.store.tell("log.restarted");
            else this.store.tell("log.resumed", { seq: this.model.seq - (message.seq === undefined ? 0 : 1) });
        }
        switch (message.type) {
        case "snapshot":
            this.hasSnapshot = true;
            this.heardAt = now;
            this.clock.reset();
            this.clock.hear(this.model.at, now);
            break;
        case "stats":
            this.heardAt = now;
            this.clock.hear(message.heard_s, now);
            this.history.push(message);
            if (this.history.length > KEPT_STATS) this.history.shift();
            break;
        case "lagged":
            this.store.tell("log.lagged", { n: message.missed });
            break;
        case "ended":
            this.clock.hear(message.at, now);
            this.store.tell("log.ended", { session: this.store.nameOf(this.id), reason: known("reason", message.reason) });
            break;
        case "warning":
            this.store.tell("log.warning", { reason: message.reason });
            break;
        case "error":
            if (!message.fatal) this.store.onRefusal?.(message);
            break;
        default:
            if (message.at !== undefined) this.clock.hear(message.at, now);
        }
        this.store.changed();
    }

    /** Position in the stream now, in seconds. */
    position(nowMs = performance.now()) {
        return this.model.live ? this.clock.tick(nowMs) : this.model.heard;
    }

    /** Why the present speaker is unknown: `lost` (no connection) or `silent` (no audio arrives); else nothing. */
    blindness(nowMs = performance.now()) {
        if (!this.model.live) return undefined;
        if (this.subscription.state.kind !== "open") return "lost";
        return nowMs - this.heardAt > SILENT_MS ? "silent" : undefined;
    }

    /** Who speaks now: `{segments, overlap, isSomebody}`. */
    speaking(nowMs) {
        const position = this.position(nowMs);
        if (!this.model.live) return { segments: [], overlap: false, isSomebody: false, position };
        const now = speakingAt(this.model, position);
        const isSomebody = now.segments.length === 0 && this.model.stats?.speech === true
            && position - this.model.stats.heard_s < 2.5;
        return { ...now, isSomebody, position };
    }

    /** Whether a correction can be made now. */
    get canCorrect() {
        return !this.isForgotten && this.subscription.state.kind === "open";
    }
}
