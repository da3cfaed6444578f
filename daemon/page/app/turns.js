// The turns of a session in the order of time, ready to be searched: only what a message changes is read again.

/** With more turns to read again, all of them are. */
const MANY = 1000;

/** Text as it is searched. */
const folded = (text) => text.toLocaleLowerCase();

/** Whether `a` comes before `b`. */
const isBefore = (a, b) => a.start < b.start || (a.start === b.start && a.id < b.id);

/**
 * One turn as it stands. It never changes: another one takes its place, so that a row knows whether it is up to date.
 *
 * @typedef {{segment: import("../client/index.js").Segment, said: string, note: string, sought: string}} Turn
 */
export class Turns {
    /** @param {import("../client/session.js").SessionModel} model */
    constructor(model) {
        this.model = model;
        /** @type {Map<number, Turn>} */
        this.byId = new Map();
        /** @type {Turn[]} */
        this.inOrder = [];
        /** Turns to read again; all of them where it is missing. */
        this.stale = undefined;
        /** The segment of each word and note, as far as it is known. */
        this.ofWord = new Map();
        this.ofNote = new Map();
        this.unsubscribe = model.subscribe((message, moved) => this.#hear(message, moved));
    }

    /** Listens to the session no longer. */
    close() {
        this.unsubscribe();
    }

    /**
     * Turns in the order of time that are of `speaker`, if one is given, and whose name, label, words or notes hold `wanted`;
     * good until the next message.
     *
     * @returns {Turn[]}
     */
    matching({ speaker = "", wanted = "" } = {}) {
        this.#refresh();
        const needle = folded(wanted.trim());
        if (needle === "" && !speaker) return this.inOrder;
        const isNamed = new Set();
        for (const label of this.model.speakers.keys()) {
            if ([label, this.model.nameOf(label)].some((name) => folded(name).includes(needle))) isNamed.add(label);
        }
        return this.inOrder.filter(({ segment, sought }) => (!speaker || segment.speaker === speaker)
            && (isNamed.has(segment.speaker) || sought.includes(needle)));
    }

    #hear(message, moved) {
        if (message.type === "snapshot") {
            this.stale = undefined;
            return;
        }
        const add = (id) => {
            if (id !== undefined) this.stale?.add(id);
        };
        for (const { id } of moved) add(id);
        if (message.type === "segment" || message.type === "segment_removed") {
            add(message.id);
        } else if (message.type === "words") {
            for (const { id, segment } of message.words) {
                add(this.ofWord.get(id));
                add(segment);
                this.ofWord.set(id, segment);
            }
            for (const id of message.removed ?? []) {
                add(this.ofWord.get(id));
                this.ofWord.delete(id);
            }
        } else if (message.type === "note") {
            add(this.ofNote.get(message.id));
            add(message.segment);
            if (message.text === undefined) this.ofNote.delete(message.id);
            else this.ofNote.set(message.id, message.segment);
        }
    }

    #refresh() {
        if (this.stale === undefined || this.stale.size > MANY) {
            this.#load();
        } else if (this.stale.size > 0) {
            const notes = this.#notes();
            for (const id of this.stale) this.#read(id, notes);
        }
        this.stale = new Set();
    }

    #load() {
        const { model } = this;
        const notes = this.#notes();
        this.ofWord = new Map([...model.words.values()].map(({ id, segment }) => [id, segment]));
        this.ofNote = new Map([...model.notes.values()].map(({ id, segment }) => [id, segment]));
        this.inOrder = [...model.segments.values()].map((segment) => this.#turn(segment, notes));
        this.inOrder.sort((a, b) => (isBefore(a.segment, b.segment) ? -1 : 1));
        this.byId = new Map(this.inOrder.map((turn) => [turn.segment.id, turn]));
    }

    /** The notes on each segment, one behind the other. */
    #notes() {
        const bySegment = new Map();
        for (const { segment, text } of this.model.notes.values()) {
            if (segment === undefined) continue;
            bySegment.set(segment, bySegment.has(segment) ? `${bySegment.get(segment)} · ${text}` : text);
        }
        return bySegment;
    }

    #turn(segment, notes) {
        const said = this.model.textOf(segment.id);
        const note = notes.get(segment.id) ?? "";
        return { segment, said, note, sought: folded(`${said}\n${note}`) };
    }

    /** Reads one turn again. */
    #read(id, notes) {
        const segment = this.model.segments.get(id);
        const before = this.byId.get(id);
        const turn = segment && this.#turn(segment, notes);
        if (turn && before?.segment.start === segment.start) {
            this.inOrder[this.#placeOf(segment)] = turn;
        } else {
            if (before) this.inOrder.splice(this.#placeOf(before.segment), 1);
            if (turn) this.inOrder.splice(this.#placeOf(segment), 0, turn);
        }
        if (turn) this.byId.set(id, turn);
        else this.byId.delete(id);
    }

    /** Index of the first turn that is not before `segment`. */
    #placeOf(segment) {
        let [low, high] = [0, this.inOrder.length];
        while (low < high) {
            const middle = (low + high) >> 1;
            if (isBefore(this.inOrder[middle].segment, segment)) low = middle + 1;
            else high = middle;
        }
        return low;
    }
}
