// The labels of one session as they stand: a snapshot and the events after it, applied in order.

import { EVENT_TYPES } from "./protocol.js";
import { joined, Words } from "./words.js";

const KEPT_WARNINGS = 20;

/** An event that does not fit what is held: one was lost. Only a new snapshot helps. */
export class OutOfStep extends Error {
    constructor(reason) {
        super(reason);
        this.name = "OutOfStep";
    }
}

/** What the server holds of a session, kept equal by applying its messages. */
export class SessionModel {
    /** @param {string} id */
    constructor(id) {
        this.id = id;
        this.seq = 0;
        this.at = 0;
        this.live = true;
        this.source = "stream";
        this.reason = undefined;
        /** Whether audio of the session is kept. */
        this.audioKept = false;
        this.title = undefined;
        /** @type {Map<number, import("./index.js").Note>} */
        this.notes = new Map();
        /** The corrections that `undo` and `redo` would take back and make again now. */
        this.undo = undefined;
        this.redo = undefined;
        /** @type {Map<string, import("./index.js").Speaker>} */
        this.speakers = new Map();
        /** @type {Map<number, import("./index.js").Segment>} */
        this.segments = new Map();
        this.gaps = [];
        this.spoken = new Words();
        this.warnings = [];
        this.stats = undefined;
        /** Label that is no more → label that took its place. */
        this.mergedInto = new Map();
        /** Counts changes, so that a view knows whether to draw again. */
        this.version = 0;
        this.listeners = new Set();
    }

    /**
     * Calls `listener(message, moved)` after each message that changed something; `moved` lists the segments whose
     * speaker it changed, as `{id, from, to}`. Returns a function that ends it.
     */
    subscribe(listener) {
        this.listeners.add(listener);
        return () => this.listeners.delete(listener);
    }

    /**
     * Applies one message of the server. Events that are held already and messages about something else are passed
     * over.
     *
     * @returns {boolean} whether something changed
     * @throws {OutOfStep} if an event is missing before this one or this one does not fit; nothing is changed then
     */
    apply(message) {
        let moved = [];
        if (message.type === "snapshot") {
            moved = this.#load(message);
        } else if (message.type === "stats") {
            this.stats = message;
        } else if (EVENT_TYPES.includes(message.type)) {
            if (message.seq <= this.seq) return false;
            if (message.seq !== this.seq + 1) {
                throw new OutOfStep(`event ${this.seq + 1} is missing; ${message.seq} came`);
            }
            moved = this.#event(message);
            this.seq = message.seq;
            this.at = Math.max(this.at, message.at);
        } else if (message.seq === this.seq + 1) {
            // An event that this version does not know still has its number.
            this.seq = message.seq;
        } else {
            return false;
        }
        this.version += 1;
        for (const listener of this.listeners) listener(message, moved);
        return true;
    }

    #load(snapshot) {
        const before = this.segments;
        this.segments = new Map(snapshot.segments.map((s) => [s.id, plainSegment(s)]));
        this.speakers = new Map(snapshot.speakers.map((s) => [s.id, plainSpeaker(s)]));
        this.gaps = snapshot.gaps.map(({ start, end, reason }) => ({ start, end, reason }));
        this.spoken = new Words(snapshot.words);
        this.seq = snapshot.seq;
        this.at = snapshot.at;
        this.live = snapshot.live;
        this.source = snapshot.source;
        this.reason = snapshot.reason;
        this.audioKept = snapshot.audio_kept ?? false;
        this.title = snapshot.title;
        this.notes = new Map((snapshot.notes ?? []).map((note) => [note.id, plainNote(note)]));
        this.undo = snapshot.undo;
        this.redo = snapshot.redo;
        this.mergedInto.clear();
        const moved = [];
        for (const segment of this.segments.values()) {
            const from = before.get(segment.id)?.speaker;
            if (from !== undefined && from !== segment.speaker) {
                moved.push({ id: segment.id, from, to: segment.speaker });
            }
        }
        return moved;
    }

    /** Applies an event; the changes of speaker that it brings. */
    #event(event) {
        switch (event.type) {
        case "segment":
            this.#setSegment(event);
            return [];
        case "segment_removed":
            this.#segment(event.id);
            this.segments.delete(event.id);
            return [];
        case "revision":
            this.#revise(event.changes);
            return event.changes;
        case "speaker":
            this.speakers.set(event.id, plainSpeaker(event));
            this.mergedInto.delete(event.id);
            return [];
        case "speaker_merged":
            this.#speaker(event.into);
            this.#speaker(event.from);
            this.speakers.delete(event.from);
            this.mergedInto.set(event.from, event.into);
            return [];
        case "words":
            this.#setWords(event.words, event.removed ?? []);
            return [];
        case "title":
            this.title = event.title;
            return [];
        case "note":
            if (event.text === undefined) this.notes.delete(event.id);
            else this.notes.set(event.id, plainNote(event));
            return [];
        case "correction":
            this.undo = event.undo;
            this.redo = event.redo;
            return [];
        case "gap":
            this.#addGap(event);
            return [];
        case "warning":
            this.warnings.push({ at: event.at, code: event.code, reason: event.reason });
            this.warnings.splice(0, this.warnings.length - KEPT_WARNINGS);
            return [];
        case "ended":
            this.live = false;
            this.reason = event.reason;
            return [];
        default:
            throw new OutOfStep(`no such event: ${event.type}`);
        }
    }

    #setSegment(event) {
        this.#speaker(event.speaker);
        const held = this.segments.get(event.id);
        if (held && held.speaker !== event.speaker) {
            throw new OutOfStep(`segment ${event.id} belongs to ${held.speaker}, not to ${event.speaker}`);
        }
        this.segments.set(event.id, plainSegment(event));
    }

    /** All changes or, where one does not fit, none. */
    #revise(changes) {
        for (const { id, from, to } of changes) {
            const { speaker } = this.#segment(id);
            if (speaker !== from) throw new OutOfStep(`segment ${id} belongs to ${speaker}, not to ${from}`);
            this.#speaker(to);
        }
        for (const { id, to } of changes) this.segments.set(id, { ...this.segments.get(id), speaker: to });
    }

    #setWords(words, removed) {
        for (const { speaker } of words) if (speaker !== undefined) this.#speaker(speaker);
        for (const id of removed) {
            if (!this.spoken.byId.has(id)) throw new OutOfStep(`there is no word ${id}`);
        }
        for (const word of words) this.spoken.set(word);
        for (const id of removed) this.spoken.delete(id);
    }

    /** A gap that follows one of the same reason makes that longer. */
    #addGap({ start, end, reason }) {
        const last = this.gaps.at(-1);
        if (last?.reason === reason && last.end === start) last.end = Math.max(last.end, end);
        else this.gaps.push({ start, end, reason });
    }

    #segment(id) {
        const segment = this.segments.get(id);
        if (!segment) throw new OutOfStep(`there is no segment ${id}`);
        return segment;
    }

    #speaker(id) {
        const speaker = this.speakers.get(id);
        if (!speaker) throw new OutOfStep(`there is no speaker ${id}`);
        return speaker;
    }

    /** Name of a speaker, or else the label. */
    nameOf(speaker) {
        return this.speakers.get(speaker)?.name ?? speaker;
    }

    /** Recognised words by id. */
    get words() {
        return this.spoken.byId;
    }

    /** Words of a segment, in the order of their starts. */
    wordsOf(segment) {
        return this.spoken.of(segment);
    }

    /** The words of a segment as text; empty without words. */
    textOf(segment) {
        return joined(this.wordsOf(segment));
    }

    /** Length of the stream so far, in seconds. */
    get heard() {
        return Math.max(this.at, this.stats?.heard_s ?? 0);
    }

    /** The state as the server's `snapshot` would tell it. */
    toSnapshot() {
        const totals = new Map();
        for (const { speaker, start, end } of this.segments.values()) {
            totals.set(speaker, (totals.get(speaker) ?? 0) + end - start);
        }
        const byNumber = (a, b) => numberOf(a.id) - numberOf(b.id);
        return {
            type: "snapshot",
            session: this.id,
            seq: this.seq,
            at: this.at,
            live: this.live,
            source: this.source,
            ...(this.reason === undefined ? {} : { reason: this.reason }),
            ...(this.audioKept ? { audio_kept: true } : {}),
            ...(this.title === undefined ? {} : { title: this.title }),
            ...(this.undo === undefined ? {} : { undo: this.undo }),
            ...(this.redo === undefined ? {} : { redo: this.redo }),
            ...(this.notes.size === 0 ? {} : { notes: [...this.notes.values()].sort((a, b) => a.id - b.id) }),
            speakers: [...this.speakers.values()].sort(byNumber).map((speaker) => ({
                ...speaker,
                total_s: Math.round((totals.get(speaker.id) ?? 0) * 1000) / 1000,
            })),
            segments: [...this.segments.values()].sort((a, b) => a.id - b.id).map((segment) => {
                const name = this.speakers.get(segment.speaker)?.name;
                return name === undefined ? { ...segment } : { ...segment, name };
            }),
            gaps: this.gaps.map((gap) => ({ ...gap })),
            ...(this.words.size === 0 ? {} : {
                words: [...this.words.values()].sort((a, b) => a.id - b.id).map((word) => ({ ...word })),
            }),
        };
    }
}

/** The number in a label such as `S12`; labels without one come last. */
export function numberOf(label) {
    const number = Number(/^S(\d+)$/.exec(label)?.[1]);
    return Number.isNaN(number) ? Number.MAX_SAFE_INTEGER : number;
}

// The name in a segment message may be old; the speaker's own name is current.
function plainSegment({ id, start, end, speech, speaker, confidence, final, overlap, snr_db, c50_db }) {
    const segment = { id, start, end, speaker, confidence, final };
    if (speech !== undefined) segment.speech = speech;
    if (overlap) segment.overlap = true;
    if (snr_db !== undefined) segment.snr_db = snr_db;
    if (c50_db !== undefined) segment.c50_db = c50_db;
    return segment;
}

function plainNote({ id, segment, text }) {
    return segment === undefined ? { id, text } : { id, segment, text };
}

function plainSpeaker({ id, name, voice, probability, first_s }) {
    const speaker = { id, first_s };
    if (name !== undefined) speaker.name = name;
    if (voice !== undefined) speaker.voice = voice;
    if (probability !== undefined) speaker.probability = probability;
    return speaker;
}
