// The list of turns: what is found, and what is copied.

import assert from "node:assert/strict";
import { test } from "node:test";

import { SessionModel } from "../../../daemon/page/client/index.js";
import { asText, matching } from "../../../daemon/page/app/views/turns.js";

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

const ids = (segments) => segments.map((segment) => segment.id);

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

test("ten thousand turns are searched in a moment", () => {
    const many = new SessionModel("s");
    many.apply({
        type: "snapshot", session: "s", seq: 1, at: 9, live: false, source: "stream", gaps: [],
        speakers: [{ id: "S1", name: "Ann", first_s: 0 }],
        segments: Array.from({ length: 10_000 }, (_, id) => ({
            id, start: id, end: id + 1, speaker: "S1", confidence: 1, final: true,
        })),
    });
    const began = performance.now();
    assert.equal(matching(many, { speaker: "", wanted: "ann" }).length, 10_000);
    assert.ok(performance.now() - began < 1000);
});
