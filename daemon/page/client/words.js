// The recognised words of one session, by id and by the segment that holds them.

/** Words with their speakers, kept equal to the server's by its `words` events. */
export class Words {
    /** @param {Iterable<import("./index.js").Word>} [words] */
    constructor(words = []) {
        /** @type {Map<number, import("./index.js").Word>} */
        this.byId = new Map();
        this.bySegment = new Map();
        for (const word of words) this.set(word);
    }

    set({ id, start, end, text, confidence, final, speaker, segment, speaker_confidence }) {
        this.delete(id);
        const word = { id, start, end, text, final };
        if (confidence !== undefined) word.confidence = confidence;
        if (speaker !== undefined) Object.assign(word, { speaker, segment, speaker_confidence });
        this.byId.set(id, word);
        if (!this.bySegment.has(segment)) this.bySegment.set(segment, new Set());
        this.bySegment.get(segment).add(id);
    }

    delete(id) {
        const held = this.byId.get(id);
        if (!held) return;
        this.byId.delete(id);
        const ids = this.bySegment.get(held.segment);
        ids.delete(id);
        if (ids.size === 0) this.bySegment.delete(held.segment);
    }

    /** Words of a segment in the order of their starts; of `undefined` those without a speaker. */
    of(segment) {
        const ids = [...(this.bySegment.get(segment) ?? [])];
        return ids.map((id) => this.byId.get(id)).sort((a, b) => a.start - b.start || a.id - b.id);
    }
}

const CLOSING = /^[.,!?;:…%)。、，！？；：]/u;
const DENSE = "[\\u0e00-\\u0eff\\u1000-\\u109f\\u1780-\\u17ff\\u3000-\\u30ff\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff"
    + "\\uff01-\\uff0f\\uff1a-\\uff1f]";
const DENSE_END = new RegExp(`${DENSE}$`, "u");
const DENSE_START = new RegExp(`^${DENSE}`, "u");

/**
 * Joins words by spaces, without one before punctuation or between characters of scripts that are written without.
 *
 * @param {Iterable<{text: string}>} words
 */
export function joined(words) {
    let out = "";
    for (const { text } of words) {
        const needsSpace = out !== "" && !CLOSING.test(text) && !(DENSE_END.test(out) && DENSE_START.test(text));
        out += needsSpace ? ` ${text}` : text;
    }
    return out;
}
