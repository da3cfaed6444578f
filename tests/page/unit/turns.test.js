// The list of turns: what is found, and what is copied.

import assert from "node:assert/strict";
import { test } from "node:test";

import { SessionModel } from "../../../daemon/page/client/index.js";
import { Turns } from "../../../daemon/page/app/turns.js";
import { asText } from "../../../daemon/page/app/views/turns.js";

function model() {
    const made = new SessionModel("s");
    const segment = (id, start, speaker) => ({ id, start, end: start + 1, speaker, confidence: 1, final: true });
    made.apply({
        type: "snapshot", session: "s", seq: 1, at: 9, live: false, source: "stream", reason: "closed", gaps: [],
        speakers: [{ id: "S1", name: "Ann", first_s: 0 }, { id: "S2", first_s: 2 }],
        segments: [segment(3, 4, "S1"), segment(1, 0, "S1"), segment(2, 2, "S2")],
        notes: [{ id: 1, segment: 2, text: "who is this?" }],
        words: [{ id: 1, start: 4, end: 4.5, text: "Budget", final: true, speaker: "S1", segment: 3, speaker_confidence: 1 }],
    });
    return made;
}

const ids = (turns) => turns.map((turn) => turn.segment.id);
const matching = (model, query) => new Turns(model).matching(query);

test("turns come in the order of time, of all or of one", () => {
    assert.deepEqual(ids(matching(model(), { speaker: "", wanted: "" })), [1, 2, 3]);
    assert.deepEqual(ids(matching(model(), { speaker: "S1", wanted: "" })), [1, 3]);
});

test("names, labels, words and notes are searched", () => {
    const found = (wanted) => ids(matching(model(), { speaker: "", wanted }));
    assert.deepEqual([found(" ann "), found("s2"), found("BUDGET"), found("who is"), found("nothing")], [[1, 3], [2], [3], [2], []]);
    assert.deepEqual(ids(matching(model(), { speaker: "S2", wanted: "budget" })), []);
});

test("what is copied reads like a transcript", () => {
    const all = model();
    const said = asText(all, matching(all, { speaker: "", wanted: "" }));
    assert.equal(said, "0:00.0  Ann:\n0:02.0  S2:\n0:04.0  Ann: Budget\n");
});

test("after any messages the turns are those that are read from the start", () => {
    const live = model();
    const turns = new Turns(live);
    let number = 0;
    // Numbers that look random and are the same each time.
    const some = (n) => {
        number = (number * 1103515245 + 12345) % 2147483648;
        return Math.floor((number / 2147483648) * n);
    };
    const pick = (keys) => [...keys][some([...keys].length)];
    const word = (id, segment) => ({
        id, start: 0, end: 1, text: `w${some(9)}`, final: true,
        ...(segment === undefined ? {} : { segment, speaker: live.segments.get(segment).speaker, speaker_confidence: 1 }),
    });
    const made = {
        segment: () => {
            const id = some(3) === 0 ? pick(live.segments.keys()) : 4 + some(60);
            const start = some(40) / 2;
            return { id, start, end: start + 1, speaker: live.segments.get(id)?.speaker ?? pick(live.speakers.keys()), confidence: 1, final: true };
        },
        segment_removed: () => ({ id: pick(live.segments.keys()) }),
        revision: () => {
            const id = pick(live.segments.keys());
            return { changes: [{ id, from: live.segments.get(id).speaker, to: pick(live.speakers.keys()) }], reason: "merge" };
        },
        words: () => (some(3) === 0 && live.words.size > 0 ? { words: [], removed: [pick(live.words.keys())] }
            : { words: [word(1 + some(30), some(5) === 0 ? undefined : pick(live.segments.keys()))] }),
        note: () => (some(3) === 0 && live.notes.size > 0 ? { id: pick(live.notes.keys()) }
            : { id: 1 + some(9), text: `n${some(9)}`, ...(some(3) === 0 ? {} : { segment: pick(live.segments.keys()) }) }),
        speaker: () => ({ id: pick(live.speakers.keys()), name: `p${some(5)}`, first_s: 0 }),
    };
    for (let round = 0; round < 3000; round += 1) {
        const type = pick(Object.keys(made));
        if (type === "segment_removed" && live.segments.size < 20) continue;
        live.apply({ type, session: "s", seq: live.seq + 1, at: 9, ...made[type]() });
        if (round % 7 > 0) continue;
        for (const query of [{}, { speaker: "S2" }, { wanted: "w3" }, { wanted: "n4" }, { speaker: "S1", wanted: "p2" }]) {
            assert.deepEqual(turns.matching(query), matching(live, query), `${round}: ${type} ${JSON.stringify(query)}`);
        }
    }
    assert.ok(live.segments.size > 10 && live.words.size > 5, "there is something to compare");
});

test("ten thousand turns are searched in a moment", () => {
    const many = new SessionModel("s");
    many.apply({
        type: "snapshot", session: "s", seq: 1, at: 9, live: false, source: "stream", gaps: [],
        speakers: [{ id: "S1", name: "Ann", first_s: 0 }],
        segments: Array.from({ length: 10_000 }, (_, id) => ({
            id, start: id, end: id + 1, speaker: "S1", confidence: 1, final: true,
        })),
    });
    const turns = new Turns(many);
    const began = performance.now();
    assert.equal(turns.matching({ wanted: "ann" }).length, 10_000);
    assert.equal(turns.matching({ wanted: "nobody" }).length, 0);
    assert.ok(performance.now() - began < 1000);
});
