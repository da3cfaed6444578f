// Plays the kept audio of a session: parts of it one behind the other, fetched piece by piece with the page's own token.

/** Longest piece that is fetched at once; long enough that joints are rare, short enough to begin soon. */
export const PIECE_S = 120;
/** Longest moment that answers "who is this?", and how many there are. */
const MOMENT_S = 8;
const MOMENTS = 3;
/** Least length of a moment. */
const LEAST_S = 1;

/** Parts as pieces of at most [`PIECE_S`]. */
export function piecesOf(parts) {
    return parts.flatMap(({ start, end }) => {
        const n = Math.max(1, Math.ceil((end - start) / PIECE_S));
        return Array.from({ length: n }, (_, i) => ({
            start: start + i * PIECE_S, end: Math.min(end, start + (i + 1) * PIECE_S),
        }));
    });
}

/** The best moments of a speaker to listen to, in the order of time: long, clean, surely this speaker's. */
export function bestMoments(model, speaker) {
    const all = [...model.segments.values()].filter((s) => s.speaker === speaker && s.end > s.start);
    const clean = all.filter((s) => s.final && !s.overlap && s.end - s.start >= LEAST_S);
    const worth = (s) => Math.min(MOMENT_S, s.end - s.start) * s.confidence * (1 + Math.max(0, s.snr_db ?? 10) / 40);
    const best = (clean.length > 0 ? clean : all).sort((a, b) => worth(b) - worth(a)).slice(0, MOMENTS);
    return best.sort((a, b) => a.start - b.start).map(({ start, end }) => ({ start, end: Math.min(end, start + MOMENT_S) }));
}

/** One player for the page. */
export class Player {
    /**
     * @param {() => import("../../client/api.js").Api} api
     * @param {(error: Error) => void} onFault
     */
    constructor(api, onFault) {
        this.api = api;
        this.onFault = onFault;
        this.listeners = new Set();
        /** Id of the session that is played; nothing is played without one. */
        this.session = undefined;
        this.isLoading = false;
        this.rate = 1;
        this.pieces = [];
        this.at = 0;
        this.loaded = new Map();
        this.element = undefined;
    }

    subscribe(listener) {
        this.listeners.add(listener);
    }

    #changed() {
        for (const listener of this.listeners) listener();
    }

    get isPlaying() {
        return this.element !== undefined && !this.element.paused && !this.element.ended;
    }

    /** Second on the session's clock. */
    get position() {
        const piece = this.pieces[this.at];
        if (!piece) return 0;
        return Math.min(piece.end, piece.start + (this.isLoading ? 0 : this.element?.currentTime ?? 0));
    }

    /** End of what is played now without a jump. */
    get end() {
        let { end } = this.pieces[this.at] ?? { end: 0 };
        for (const next of this.pieces.slice(this.at + 1)) {
            if (next.start !== end) break;
            end = next.end;
        }
        return end;
    }

    /** Plays parts of a session, each from `start` to `end` in seconds, one behind the other. */
    async play(session, parts) {
        this.stop();
        this.session = session;
        this.pieces = piecesOf(parts);
        await this.#load(0);
    }

    /** Goes on at another second, within the parts where it lies in one, else to the end of what was played. */
    async seek(time) {
        if (this.session === undefined) return;
        const idx = this.pieces.findIndex((piece) => time >= piece.start && time < piece.end);
        if (idx === this.at && !this.isLoading && this.element) {
            this.element.currentTime = time - this.pieces[idx].start;
            this.#changed();
        } else if (idx >= 0) {
            await this.#load(idx, time);
        } else {
            const { session, end } = this;
            await this.play(session, [{ start: Math.max(0, time), end: Math.max(end, time + 1) }]);
        }
    }

    toggle() {
        if (this.session === undefined || !this.element) return;
        if (this.isPlaying) this.element.pause();
        else void this.element.play().catch((error) => this.#failed(error));
        this.#changed();
    }

    /** Plays at this multiple of the speed; voices keep their pitch. */
    setRate(rate) {
        this.rate = rate;
        if (this.element) this.element.playbackRate = rate;
        this.#changed();
    }

    stop() {
        this.task = undefined;
        this.element?.pause();
        this.element = undefined;
        for (const [, piece] of this.loaded) void piece.then((url) => url && URL.revokeObjectURL(url));
        this.loaded.clear();
        this.session = undefined;
        this.pieces = [];
        this.isLoading = false;
        this.#changed();
    }

    /** The address of a piece in this browser, fetched once. */
    #fetch(idx) {
        const { start, end } = this.pieces[idx];
        let piece = this.loaded.get(idx);
        if (!piece) {
            piece = this.api().audio(this.session, { start, end }).then((blob) => URL.createObjectURL(blob));
            // What nobody waits for yet fails when it is needed.
            piece.catch(() => {});
            this.loaded.set(idx, piece);
        }
        return piece;
    }

    async #load(idx, from = this.pieces[idx].start) {
        const task = {};
        this.task = task;
        this.element?.pause();
        this.at = idx;
        this.isLoading = true;
        this.#changed();
        try {
            const url = await this.#fetch(idx);
            if (this.task !== task) return;
            const element = new Audio(url);
            element.playbackRate = this.rate;
            element.preservesPitch = true;
            element.currentTime = Math.max(0, from - this.pieces[idx].start);
            for (const type of ["play", "pause", "seeked"]) element.addEventListener(type, () => this.#changed());
            element.addEventListener("ended", () => this.#next(task));
            element.addEventListener("error", () => {
                if (this.task === task) this.#failed(new Error(element.error?.message || "the browser cannot play it"));
            });
            this.element = element;
            await element.play();
            this.isLoading = false;
            if (idx + 1 < this.pieces.length) void this.#fetch(idx + 1).catch(() => {});
            this.#changed();
        } catch (error) {
            if (this.task === task) this.#failed(error);
        }
    }

    #next(task) {
        if (this.task !== task) return;
        if (this.at + 1 < this.pieces.length) void this.#load(this.at + 1);
        else this.stop();
    }

    #failed(error) {
        this.stop();
        this.onFault(error);
    }
}
