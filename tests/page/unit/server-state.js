// A server's session written a second time, plainly: makes random but lawful events, and snapshots of its own state.

/** Random numbers of a seed (mulberry32), so that a failure can be repeated. */
export function randomOf(seed) {
    let a = seed >>> 0;
    return () => {
        a = (a + 0x6d2b79f5) >>> 0;
        let t = a;
        t = Math.imul(t ^ (t >>> 15), t | 1);
        t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
}

export class ServerState {
    constructor(seed, id = "s") {
        this.random = randomOf(seed);
        this.id = id;
        this.seq = 0;
        this.ms = 0;
        this.nextSegment = 1;
        this.nextSpeaker = 1;
        this.segments = [];
        this.speakers = [];
        this.merged = [];
        this.gaps = [];
        this.words = [];
        this.nextWord = 1;
        this.reason = undefined;
        this.title = undefined;
        this.notes = [];
        this.undo = undefined;
        this.redo = undefined;
    }

    pick(list) {
        return list[Math.floor(this.random() * list.length)];
    }

    event(type, fields) {
        this.seq += 1;
        return { type, session: this.id, seq: this.seq, at: this.ms / 1000, ...fields };
    }

    view(segment) {
        const name = this.speakers.find((s) => s.id === segment.speaker).name;
        const { from, to, ...rest } = segment;
        return { ...rest, start: from / 1000, end: to / 1000, ...(name === undefined ? {} : { name }) };
    }

    /** The next event; `null` when what was drawn is not possible now. */
    step() {
        this.ms += Math.floor(this.random() * 700);
        const draw = this.random();
        const segment = this.pick(this.segments);
        const speaker = this.pick(this.speakers);
        if (draw < 0.02 && this.merged.length > 0) return this.returned();
        if (draw < 0.1 || !speaker) return this.newSpeaker();
        if (draw < 0.4 || !segment) return this.newSegment(speaker);
        if (draw < 0.7) return this.changedSegment(segment);
        if (draw < 0.75) {
            this.segments = this.segments.filter((s) => s !== segment);
            return this.event("segment_removed", { id: segment.id });
        }
        if (draw < 0.85) return this.revision();
        if (draw < 0.9) return this.renamed(speaker);
        if (draw < 0.95) return this.mergedAway(speaker);
        if (draw < 0.96) {
            this.title = this.pick(["Weekly", "<img src=x>", "Совещание", undefined]);
            return this.event("title", this.title === undefined ? {} : { title: this.title });
        }
        if (draw < 0.965) return this.note(segment);
        if (draw < 0.97) return this.correction();
        if (draw < 0.98) {
            const gap = { start: this.ms / 1000, end: (this.ms + 250) / 1000, reason: "overrun" };
            this.ms += 250;
            this.gaps.push(gap);
            return this.event("gap", gap);
        }
        if (draw < 0.99) return this.wordsEvent(segment);
        return this.event("warning", { code: "non_finite_samples", reason: "heard as silence" });
    }

    /** A speaker who was merged away is split off again. */
    returned() {
        const back = { id: this.merged.pop(), first_s: this.ms / 1000 };
        this.speakers.push(back);
        this.speakers.sort((a, b) => Number(a.id.slice(1)) - Number(b.id.slice(1)));
        return this.event("speaker", back);
    }

    newSpeaker() {
        const made = { id: `S${this.nextSpeaker++}`, first_s: this.ms / 1000 };
        this.speakers.push(made);
        return this.event("speaker", made);
    }

    newSegment(speaker) {
        const length = Math.floor(this.random() * 4000);
        const made = {
            id: this.nextSegment++, from: this.ms, to: this.ms + length, speaker: speaker.id,
            confidence: Math.round(this.random() * 1000) / 1000, final: false,
        };
        if (this.random() < 0.2) made.overlap = true;
        if (this.random() < 0.2) made.snr_db = 12.5;
        if (this.random() < 0.2) made.c50_db = 7.5;
        if (this.random() < 0.2) made.speech = [[made.from / 1000, made.from / 1000]];
        this.segments.push(made);
        return this.event("segment", this.view(made));
    }

    changedSegment(segment) {
        segment.to += Math.floor(this.random() * 900);
        segment.final = this.random() < 0.5;
        if (this.random() < 0.1) delete segment.overlap;
        if (this.random() < 0.5) delete segment.speech;
        return this.event("segment", this.view(segment));
    }

    revision() {
        const changed = this.segments.filter(() => this.random() < 0.3);
        if (changed.length === 0) return null;
        const changes = changed.map((s) => ({ id: s.id, from: s.speaker, to: this.pick(this.speakers).id }));
        changed.forEach((s, i) => { s.speaker = changes[i].to; });
        return this.event("revision", { changes, reason: this.pick(["merge", "split", "final_pass"]) });
    }

    renamed(speaker) {
        const name = this.pick(["Ada", "<script>alert(1)</script>", "Гость", undefined]);
        if (name === undefined) delete speaker.name;
        else speaker.name = name;
        return this.event("speaker", { ...speaker });
    }

    /** Only a speaker without segments goes. */
    mergedAway(speaker) {
        const into = this.pick(this.speakers.filter((s) => s !== speaker));
        if (!into || this.segments.some((s) => s.speaker === speaker.id)) return null;
        this.speakers = this.speakers.filter((s) => s !== speaker);
        this.merged.push(speaker.id);
        return this.event("speaker_merged", { from: speaker.id, into: into.id });
    }

    /** A note is new, changed or withdrawn. */
    note(segment) {
        const id = Math.floor(this.random() * 4) + 1;
        this.notes = this.notes.filter((note) => note.id !== id);
        const note = this.random() < 0.7 ? { id, text: "<b>who?</b>" } : { id };
        if (note.text !== undefined && this.random() < 0.5) note.segment = segment.id;
        if (note.text !== undefined) this.notes.push(note);
        return this.event("note", note);
    }

    correction() {
        const next = (kind) => (this.random() < 0.3 ? undefined : { id: Math.floor(this.random() * 9), kind });
        [this.undo, this.redo] = [next("merge"), next("rename")];
        return this.event("correction", {
            id: 3, kind: "undo", of: 2, unix_s: 1,
            ...(this.undo ? { undo: this.undo } : {}), ...(this.redo ? { redo: this.redo } : {}),
        });
    }

    /** Some words are new, some change, some are withdrawn. */
    wordsEvent(segment) {
        const removed = this.words.filter((w) => !w.final && this.random() < 0.5).map((w) => w.id);
        this.words = this.words.filter((w) => !removed.includes(w.id));
        const changed = this.words.filter(() => this.random() < 0.3);
        for (const word of changed) {
            word.final = true;
            delete word.speaker;
            delete word.segment;
            delete word.speaker_confidence;
        }
        for (let n = 0; n < 3; n += 1) {
            const word = { id: this.nextWord++, start: this.ms / 1000, end: this.ms / 1000, text: "so", final: this.random() < 0.5 };
            if (this.random() < 0.5) word.confidence = 0.5;
            if (this.random() < 0.7) {
                Object.assign(word, { speaker: segment.speaker, segment: segment.id, speaker_confidence: 0.9 });
            }
            this.words.push(word);
            changed.push(word);
        }
        return this.event("words", { words: structuredClone(changed), ...(removed.length === 0 ? {} : { removed }) });
    }

    end() {
        this.reason = "closed";
        const fields = { duration_s: this.ms / 1000, speakers: this.speakers.length, reason: "closed" };
        return this.event("ended", fields);
    }

    snapshot() {
        const byNumber = (a, b) => Number(a.id.slice(1)) - Number(b.id.slice(1));
        const total = (id) => this.segments
            .filter((s) => s.speaker === id)
            .reduce((sum, s) => sum + s.to - s.from, 0) / 1000;
        return structuredClone({
            type: "snapshot", session: this.id, seq: this.seq, at: this.at(), live: this.reason === undefined,
            source: "stream",
            ...(this.reason === undefined ? {} : { reason: this.reason }),
            ...(this.title === undefined ? {} : { title: this.title }),
            ...(this.undo === undefined ? {} : { undo: this.undo }),
            ...(this.redo === undefined ? {} : { redo: this.redo }),
            ...(this.notes.length === 0 ? {} : { notes: [...this.notes].sort((a, b) => a.id - b.id) }),
            speakers: [...this.speakers].sort(byNumber).map((s) => ({ ...s, total_s: total(s.id) })),
            segments: this.segments.map((s) => this.view(s)),
            gaps: this.gaps,
            ...(this.words.length === 0 ? {} : { words: this.words }),
        });
    }

    // Like the server's, the clock of a snapshot is that of its last event.
    at() {
        return this.lastAt ?? 0;
    }

    /** `n` events; each is passed to `each`. */
    run(n, each) {
        for (let i = 0; i < n; i += 1) {
            const event = this.step();
            if (event) {
                this.lastAt = event.at;
                each(structuredClone(event));
            }
        }
    }
}
